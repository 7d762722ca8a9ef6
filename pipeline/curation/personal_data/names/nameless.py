"""Lines of manuals in which nobody is named: what looks like a name there is a program, a type or a heading."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import xxhash

from pipeline.curation.personal_data.names.lists import FIRST_NAMES
from pipeline.errors import UserError

MOST = 12_000  # lines, those with the lowest hashes
SHORTEST, LONGEST = 10, 300  # characters
# Who wrote, translated or is thanked stands in manuals too.
SAYS_WHO = re.compile(
    r"author|writ|edit|translat|contribut|maintain|thank|credit|copyright|©|\bby\b|\bMrs?\b|\bDr\b|@|et al|19\d\d|"
    r"저자|지은이|옮긴|번역|감수|감사|편집|기여|작성자|이름|님|씨|교수|박사",
    re.IGNORECASE,
)
CAPITALISED = re.compile(r"\b[A-Z][a-z]+\b")


def nameless_lines(paths: Sequence[Path], sources: Sequence[str] = ()) -> list[str]:
    """Up to MOST different lines of the files that name nobody as far as a list of first names can tell, in an order
    that depends on nothing but the lines.

    sources: of Parquet files, only documents whose `source` is one of these. Raises UserError for one that none has.
    """
    known = frozenset(FIRST_NAMES)
    for source in sources:
        if not any(texts_of(path, [source]) for path in paths if path.suffix == ".parquet"):
            raise UserError(f"No Parquet file of `--nameless` has a document of {source}: name a source that one has.")
    lines = {line for path in paths for line in _lines(path, sources) if _names_nobody(line, known)}
    return sorted(lines, key=lambda line: (xxhash.xxh3_64_intdigest(line.encode()), line))[:MOST]


def texts_of(path: Path, sources: Sequence[str] = ()) -> list[str]:
    """The texts of a Parquet file, all or those of `sources`; of any other file, with or without gzip, its lines."""
    if path.suffix != ".parquet":
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8").splitlines()
    frame = pl.read_parquet(path, columns=["text", "source"] if sources else ["text"])
    if sources:
        frame = frame.filter(pl.col("source").is_in(list(sources)))
    return frame["text"].drop_nulls().to_list()


def _lines(path: Path, sources: Sequence[str]) -> Iterator[str]:
    for text in texts_of(path, sources):
        for line in text.splitlines():
            if SHORTEST <= len(line.strip()) <= LONGEST:
                yield line.strip()


def _names_nobody(line: str, known: frozenset[str]) -> bool:
    return not SAYS_WHO.search(line) and not any(word.lower() in known for word in CAPITALISED.findall(line))

"""Documents to measure with, made from real text.

Pieces of installed source and documentation files, with edited copies (`pieces_and_copies`) or mixed line by line
(`mixed`); and a corpus of any size, mixed word by word from real text (`write_corpus`).
"""

from __future__ import annotations

import os
import random
import sysconfig
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa


def megabytes(texts: pl.Series) -> float:
    """Of UTF-8."""
    return int(texts.str.len_bytes().sum()) / 1e6


# -- pieces of installed files -----------------------------------------------------------------------------------------

PIECES, COPIES, LENGTH = 25_000, 3_600, 2_300
SUFFIXES = (".py", ".pyi", ".md", ".rst", ".txt", ".html")


def installed_pieces(number: int = PIECES) -> list[str]:
    """Pieces of LENGTH characters of the files that are installed with this Python, always in the same order."""
    folders = [Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("stdlib"))]
    pieces = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix not in SUFFIXES or "site-packages" in path.relative_to(folder).parts:
                continue
            try:
                text = path.read_text(encoding="utf-8")[:40_000]
            except (UnicodeDecodeError, OSError):
                continue
            pieces += [text[start : start + LENGTH] for start in range(0, len(text), LENGTH)]
    pieces = [piece for piece in pieces if len(piece) > 200]
    random.Random(3).shuffle(pieces)
    assert len(pieces) >= number, f"only {len(pieces)} pieces are installed"
    return pieces[:number]


def edited(text: str, draw: random.Random) -> str:
    """A copy of the kinds that occur in practice: words changed, a frame around it, the end missing, or identical."""
    kind = draw.randrange(4)
    if kind == 0:
        return text
    if kind == 1:
        return f"Home | News | About\nYou are here: Articles\n\n{text}\n\nAll rights reserved. Terms of use | Privacy"
    if kind == 2:
        return text[: int(len(text) * draw.uniform(0.6, 0.98))]
    words, share = text.split(" "), draw.choice([0.01, 0.02, 0.04, 0.08])
    return " ".join(draw.choice(words) if draw.random() < share else word for word in words)


def pieces_and_copies() -> list[str]:
    """PIECES installed pieces and COPIES edited copies of them, shuffled."""
    texts = installed_pieces()
    draw = random.Random(5)
    texts += [edited(draw.choice(texts[:PIECES]), draw) for _ in range(COPIES)]
    draw.shuffle(texts)
    return texts


def installed_lines() -> list[str]:
    """The longer lines of all installed pieces."""
    return [line for text in installed_pieces() for line in text.splitlines() if len(line) > 20]


def mixed(number: int, draw: random.Random, lines: list[str], copies: float) -> list[str]:
    """Documents of 2 KB, each of six runs of real lines; a share `copies` of them are edited copies of others."""
    texts: list[str] = []
    for _ in range(number):
        if texts and draw.random() < copies:
            texts.append(edited(texts[draw.randrange(len(texts))], draw))
            continue
        pieces: list[str] = []
        for _ in range(6):
            start = draw.randrange(len(lines))
            pieces += lines[start : start + 7]
        texts.append("\n".join(pieces)[:2048])
    return texts


def short(number: int, draw: random.Random, lines: list[str], copies: float) -> list[str]:
    """Documents of five real lines each, some 250 characters; a share `copies` of them are edited copies of others."""
    texts: list[str] = []
    for _ in range(number):
        if texts and draw.random() < copies:
            texts.append(edited(texts[draw.randrange(len(texts))], draw))
        else:
            texts.append("\n".join(draw.choices(lines, k=5)))
    return texts


# -- a corpus of any size ----------------------------------------------------------------------------------------------

WORDS = 330  # of a document: about 2 KB
REPLACED = 0.25
NEAR_COPIES = 0.05
DOCUMENTS_OF_A_FILE = 50_000
SHORT_WORDS = 40  # of a short document: about 250 bytes
SHORT_DOCUMENTS_OF_A_FILE = 500_000
EXACT_COPIES = 0.03


def real_texts() -> dict[str, list[str]]:
    """Texts by language: those of SLM_SHARED_DATA where it is set, else those that come with installed packages."""
    shared = os.environ.get("SLM_SHARED_DATA")
    if shared:
        frames = [pl.read_parquet(path) for path in sorted(Path(shared, "text").glob("*.parquet"))]
        table = pl.concat(frames).filter(pl.col("lang").is_in(["ko", "en", "code"]))
        parts = {str(lang): part["text"].to_list() for (lang,), part in table.group_by("lang")}
        return dict(sorted(parts.items()))
    from pipeline.ingest.bundled import DATASETS

    chosen = {"en": "sotu", "code": "python-stdlib", "ko": "jupyterlab-ko"}
    return {lang: [str(row["text"]) for row in DATASETS[name][0]()] for lang, name in chosen.items()}


def write_corpus(directory: Path, documents: int, seed: int = 0) -> None:
    """Write so many documents as Parquet files (id, text, lang) into `directory`; files that are there stay.

    A document is a window of WORDS words of real text, of which a share REPLACED is exchanged for words from anywhere
    in the texts of the same language. A share NEAR_COPIES are copies of other documents with three words changed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    words = {lang: column.to_numpy() for lang, column in real_words().items()}
    for number, first in enumerate(range(0, documents, DOCUMENTS_OF_A_FILE)):
        path = directory / f"part-{number:04d}.parquet"
        if not path.exists():
            draw = np.random.default_rng([seed, number])
            frame = mixed_words(words, min(DOCUMENTS_OF_A_FILE, documents - first), draw)
            ids = pl.Series("id", [f"{first + row}" for row in range(frame.height)])
            temporary = path.with_suffix(".tmp")
            frame.insert_column(0, ids).write_parquet(temporary)
            temporary.rename(path)


def real_words() -> dict[str, pl.Series]:
    """The words of the real texts, by language. A word keeps the white space behind it, so that lines and indentation
    stay as they are."""
    return {lang: pl.Series(texts).str.extract_all(r"\S+\s*").explode() for lang, texts in real_texts().items()}


def write_short_corpus(directory: Path, documents: int, seed: int = 0) -> None:
    """The same with documents of SHORT_WORDS words, and fast enough for ten millions.

    Of each file, a share EXACT_COPIES are copies of other documents, and a share NEAR_COPIES copies of which one of the
    last three words is another one, so that most shingles are the same.
    """
    directory.mkdir(parents=True, exist_ok=True)
    known = real_words()
    words = pl.concat(known.values()).rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    ends = dict(zip(known, np.cumsum([len(column) for column in known.values()]).tolist(), strict=True))
    for number, first in enumerate(range(0, documents, SHORT_DOCUMENTS_OF_A_FILE)):
        path = directory / f"part-{number:04d}.parquet"
        if not path.exists():
            draw = np.random.default_rng([seed, number])
            frame = short_documents(words, ends, min(SHORT_DOCUMENTS_OF_A_FILE, documents - first), draw)
            ids = pl.Series("id", np.arange(first, first + frame.height)).cast(pl.String)
            temporary = path.with_suffix(".tmp")
            frame.insert_column(0, ids).write_parquet(temporary)
            temporary.rename(path)


def short_documents(words: pa.Array, ends: dict[str, int], number: int, draw: np.random.Generator) -> pl.DataFrame:
    """Documents (text, lang). words: of all languages, one after the other. ends: where those of each language end."""
    begins, of = 0, np.sort(draw.integers(0, words.offset + len(words), number))
    langs, places = [], []
    for lang, end in ends.items():
        count = int(np.searchsorted(of, end) - np.searchsorted(of, begins))
        place = draw.integers(begins, end - SHORT_WORDS, (count, 1)) + np.arange(SHORT_WORDS)
        replaced = draw.random(place.shape) < REPLACED
        place[replaced] = draw.integers(begins, end, int(replaced.sum()))
        copies, near = np.flatnonzero(draw.random(count) < EXACT_COPIES + NEAR_COPIES), NEAR_COPIES / EXACT_COPIES
        place[copies] = place[draw.integers(0, count, len(copies))]
        changed = copies[draw.random(len(copies)) < near / (1 + near)]
        last = draw.integers(SHORT_WORDS - 3, SHORT_WORDS, len(changed))
        place[changed, last] = draw.integers(begins, end, len(changed))
        langs += [lang] * count
        places.append(place)
        begins = end
    order = draw.permutation(number)
    chosen = words.take(pa.array(np.concatenate(places)[order].ravel()))
    offsets, values = chosen.buffers()[1:]
    starts = np.frombuffer(offsets, np.int64)[: number * SHORT_WORDS + 1 : SHORT_WORDS].copy()
    texts = pa.LargeStringArray.from_buffers(number, pa.py_buffer(starts), values)
    return pl.DataFrame({"text": pl.from_arrow(texts), "lang": np.array(langs)[order].tolist()})


def mixed_words(words: dict[str, np.ndarray], number: int, draw: np.random.Generator) -> pl.DataFrame:
    """Documents (text, lang) of the words of each language, languages by their share of all words."""
    langs, total = sorted(words), sum(map(len, words.values()))
    languages = draw.choice(langs, number, p=[len(words[lang]) / total for lang in langs])
    texts: list[str] = []
    for lang in languages:
        if len(texts) > 100 and draw.random() < NEAR_COPIES:
            copy = np.array(texts[int(draw.integers(len(texts)))].split(" "), dtype=object)
            copy[draw.integers(len(copy), size=3)] = "changed"
            texts.append(" ".join(copy))
            continue
        known = words[lang]
        start = int(draw.integers(len(known) - WORDS))
        window = known[start : start + WORDS].copy()
        replaced = draw.random(WORDS) < REPLACED
        window[replaced] = known[draw.integers(len(known), size=int(replaced.sum()))]
        texts.append("".join(window))
    return pl.DataFrame({"text": texts, "lang": languages.tolist()})

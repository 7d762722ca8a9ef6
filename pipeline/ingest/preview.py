"""Looking at sources before anything runs: what a recipe names, whether it is there, and what its text is like.

`listing` asks each source what is there, without reading it. `check` reads the first documents of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import polars as pl

from pipeline.errors import UserError
from pipeline.ingest import raw_documents
from pipeline.ingest.catalogue import catalogue
from pipeline.ingest.records import SKIPPED, Reading, Tally
from pipeline.ingest.source import Source
from pipeline.printing import size
from pipeline.store.store import Store

# Documents that a check reads of a source, and how many of them it shows.
LOOKED_AT = 1000
SHOWN = 3


@dataclass(frozen=True)
class Seen:
    """What is known of a source: what is there now, and what is in force of it."""

    source: Source
    observed: dict[str, Any] | None  # None where it cannot be seen
    problem: str | None  # why it cannot
    documents: int | None  # in the raw documents in force; None where it is not in them
    changed: bool  # whether what is there now is not what is in force


@dataclass(frozen=True)
class Checked:
    """What the first documents of a source are like."""

    source: Source
    observed: dict[str, Any]
    documents: int
    bytes: int
    whole: bool  # whether these are all of its documents
    languages: dict[str, int]  # as declared; of documents that declare none, as found
    licenses: dict[str, int]
    lengths: dict[str, int]  # characters: shortest, median, longest
    skipped: dict[str, int]
    samples: list[dict[str, str | None]] = field(default_factory=list)


def listing(sources: Sequence[Source], store: Store, log: Callable[[str], None] = print) -> Iterator[Seen]:
    """Each source of a recipe, seen without being read."""
    current = store.current(raw_documents.ASSET)
    known: dict[str, Any] = current.facts["sources"] if current is not None else {}
    for source in sources:
        facts = known.get(source.name)
        documents = facts["documents"] if facts else None
        try:
            observed = raw_documents.observe(source, store, log)
        except UserError as error:
            yield Seen(source, None, str(error), documents, False)
            continue
        changed = facts is None or facts["identity"] != source.identity(observed["digest"])
        yield Seen(source, observed, None, documents, changed)


def check(
    source: Source,
    store: Store,
    log: Callable[[str], None] = print,
    most: int = LOOKED_AT,
    find: Callable[[pl.DataFrame], pl.Series] | None = None,
) -> Checked:
    """Read the first `most` documents of a source; UserError where it cannot be read or holds none.

    find: the languages of documents that declare none.
    """
    observed = raw_documents.observe(source, store, log)
    tally = Tally()
    found, whole = first_records(source, observed, Reading(raw_documents.cache_of(store), tally, log), most)
    lengths, declared = found["text"].str.len_chars(), found["lang"]
    if find is not None and declared.null_count():
        declared = declared.fill_null(find(found).cast(pl.String))
    middle = found.gather_every(max(1, found.height // SHOWN)).head(SHOWN)
    return Checked(
        source=source,
        observed=observed,
        documents=found.height,
        bytes=int(found["text"].str.len_bytes().sum()),
        whole=whole,
        languages=counts_of(declared),
        licenses=counts_of(found["license"]),
        lengths={"shortest": lengths.min(), "median": int(lengths.sort()[found.height // 2]), "longest": lengths.max()},  # type: ignore[dict-item]
        skipped=dict(tally.skipped),
        samples=middle.to_dicts(),
    )


def first_records(source: Source, observed: dict[str, Any], reading: Reading, most: int) -> tuple[pl.DataFrame, bool]:
    """(the first `most` records of a source, whether these are all); UserError where it holds none."""
    frames, count = [], 0
    few = source.model_copy(update={"limit": min(source.limit or most + 1, most + 1)})
    for frame in raw_documents.records(few, observed, reading):
        frames.append(frame)
        count += frame.height
        if count > most:
            break
    if not frames:
        raise UserError(raw_documents.no_document(source, reading.tally))
    return pl.concat(frames).head(most), count <= most


def described(checked: Checked, width: int = 100) -> Iterator[str]:
    """The lines that a person sees of a check."""
    all_of_it = "all of it" if checked.whole else "the first documents"
    documents = f"{checked.documents:,} document{'s' if checked.documents != 1 else ''}"
    yield f"{checked.source.name} ({checked.source.kind}): {documents}, {size(checked.bytes)}, {all_of_it}"
    yield "  characters: {shortest:,} to {longest:,}, half of them up to {median:,}".format(**checked.lengths)
    yield f"  languages: {listed(checked.languages)}"
    yield f"  judged as: {checked.source.judged_as} (`content`)"
    yield f"  licences: {listed(checked.licenses)}"
    for reason, count in sorted(checked.skipped.items()):
        yield f"  left out: {count:,} {reason} ({SKIPPED[reason]})"
    for sample in checked.samples:
        text = " ".join((sample["text"] or "")[: 4 * width].split())
        yield f"  {sample['id']}: {text[:width]}"


def entries() -> Iterator[tuple[str, str, str]]:
    """(name, what it is, size) of each entry of the catalogue."""
    for name, entry in catalogue().items():
        yield name, entry["about"], entry["size"]


def counts_of(column: pl.Series) -> dict[str, int]:
    counted = column.fill_null("unknown").value_counts(sort=True, name="count")
    return dict(islice(counted.sort(["count", column.name], descending=[True, False]).iter_rows(), 10))


def listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())

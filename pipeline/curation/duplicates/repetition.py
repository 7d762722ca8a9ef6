"""`repetition_edits`: sentences and lines that occur in many documents are cut, as edits.

Only hashes are counted across documents. Each fragment's sentences are remembered in a side table
`sentences/<fragment>.parquet` (document, hash, position). A range of hashes is counted at a time, each a task that can
run anywhere, so that memory does not grow with the corpus. The frequent sentences are a short list that each fragment's
table is joined with.

Headings stay where they are, and so do the lines of a page's code (passages.py).

In code only comment lines are cut (and, between Markdown's fences, what reads as a sentence): `return None` is in every
program, and cutting it would break them all. Which documents are code is what the language stage found, whatever their
source declares; and a text that Python can parse says the same to Python after the cuts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from pipeline.context import Inputs, RunContext
from pipeline.curation.duplicates.near import source_order
from pipeline.curation.duplicates.passages import in_their_place
from pipeline.curation.duplicates.sentences import Sentences, sentences_of
from pipeline.curation.programs import which_change
from pipeline.curation.rules import Limit, Rule, decided_by
from pipeline.documents.document import EDIT
from pipeline.documents.execution import ExecutionSettings
from pipeline.documents.fragment_tables import fragment_task, make_tables
from pipeline.documents.known_rows import EarlierVersions, Remembered, rows_found, same_but_documents
from pipeline.documents.partitions import RANGES, by_range, hash_ranges, written
from pipeline.documents.reasons import meanings_of
from pipeline.documents.stage import (
    CorpusStage,
    decision_facts,
    decision_table,
    refuse_to_remove_all,
    scatter,
    stage_inputs,
    total_counts,
)
from pipeline.documents.view import Documents
from pipeline.settings import MAX_DOCUMENTS, StageSettings
from pipeline.store.artifact import Artifact, digest
from pipeline.store.draft import Draft
from pipeline.store.tables import in_batches, scan_tables, write_table
from pipeline.text.kinds import detect_code
from pipeline.text.words import run_hashes

# 3: code is what was found to be code; cuts never change a program; headings and lines of a page's code stay; wrapped
# lines are joined; more documents may share a sentence where there are more than 10,000
VERSION = "3"
ASSET = "repetition_edits"
RULES = (
    Rule(
        "too_short_after_cuts",
        "fewer than `min_words_left` words remain after repeated sentences are cut",
        limits=(Limit("words left", "<", "min_words_left", figure=pl.col("score")),),
    ),
)
REASONS = meanings_of(RULES)
LABEL = "repeated_sentence"
COUNTED_AT_ONCE = 1 << 23  # sentences whose hashes one task has in memory at the same time
COUNTING_TASKS = 16
BYTES_OF_SENTENCE = 12  # of a side table, that are read to count
READ_AT_ONCE = 1 << 21  # most sentences of the tables read together
SENTENCE = ("row", "hash", "start", "after", "words", "spare")  # columns of a side table


class Settings(StageSettings):
    max_documents: int | None = Field(
        None,
        ge=1,
        le=MAX_DOCUMENTS,
        description="A sentence may occur in this many documents; if it occurs in more, it is cut from all. Default: "
        "10, of more than 10,000 documents a tenth of the square root of their number (100 of a million)",
    )
    window: int = Field(
        1, ge=1, le=10, description="Consecutive sentences that count as one unit; C4 uses 3 (Raffel et al. 2020, 2.2)"
    )
    min_bytes: int = Field(
        30, ge=1, le=10**6, description="Shorter sentences are never cut (30 letters, 10 Korean syllables)"
    )
    keep_first: bool = Field(False, description="true: leave the sentence in the first document that contains it (C4)")
    min_words_left: int = Field(10, ge=0, le=10**9, description="Remove a document if cuts leave fewer words than this")


def most_documents(settings: Settings, documents: int) -> int:
    """How many of so many documents a sentence may occur in.

    What belongs in a text (a greeting, a saying) occurs in a share of all documents; what a site repeats on each page,
    in as many as the site has, however large the corpus is. Between a fixed number and a fixed share: the square root.
    """
    return settings.max_documents or max(10, math.isqrt(documents // 100))


def make(context: RunContext, inputs: Inputs, settings: Settings) -> Artifact:
    """Cut what is repeated across documents. inputs: raw_documents, previous.

    The recipe's order of sources decides which document is the first that contains a sentence.
    """
    documents, named = stage_inputs(inputs)
    order = source_order(documents, context.sources, ())
    identity = {**settings.model_dump(mode="json"), "source_order": order}

    def build(draft: Draft) -> None:
        if settings.enabled:
            fits = same_but_documents(VERSION, identity, named, documents)
            earlier = EarlierVersions(draft, context.store, documents, fits, only_kept=True)
            find_all(draft, documents, settings, context.execution, earlier)
            most = most_documents(settings, sum(int(documents.kept(name).sum()) for name in documents.fragments))
            frequent = frequent_sentences(draft, documents, most, order, context.execution)
        else:
            frequent = None
        for fragment, cuts in cuts_by_fragment(draft, documents, frequent):
            _write(draft, documents, fragment, settings, cuts)
        draft.counts = total_counts(draft.entries)
        if frequent is not None:
            draft.facts = {
                "sentences": sum(draft.entries[f"{side_table(name)}.parquet"]["rows"] for name in documents.fragments),
                "repeated": frequent.height,
                "max_documents": most,
            }
        refuse_to_remove_all(ASSET, draft.counts)

    return context.store.make(
        ASSET, code_version=VERSION, settings=identity, inputs=named, build=build, log=context.log
    )


# -- sentences, by fragment --------------------------------------------------------------------------------------------


def side_table(fragment: str) -> str:
    return f"sentences/{fragment}"


def find_all(
    draft: Draft, documents: Documents, settings: Settings, execution: ExecutionSettings, earlier: EarlierVersions
) -> None:
    """Write the sentences of every fragment to the draft; remembered tables are linked without reading text."""
    about = digest({"version": VERSION, "window": settings.window, "min_bytes": settings.min_bytes})
    tables = [
        fragment_task(documents, name, side_table(name), {"sentences": about}, settings, earlier=earlier)
        for name in documents.fragments
    ]
    make_tables(draft, tables, find_in_fragment, execution, "sentences")


def find_in_fragment(
    documents: Documents, fragment: str, settings: Settings, earlier: Remembered | None, target: Path
) -> tuple[int, dict[str, Any]]:
    """Write the table of a fragment's sentences; returns (rows, no facts). Runs in a worker."""
    find = partial(sentences_among, documents, settings)
    table = rows_found(documents, fragment, ["text", "lang"], earlier, find, ["row", "start", "after"])
    write_table(table, target)
    return table.height, {}


def sentences_among(documents: Documents, settings: Settings, frame: pl.DataFrame) -> pl.DataFrame:
    """The sentences of documents (text, lang), `row` by row: the columns SENTENCE."""
    code = code_among(documents, frame).to_numpy()
    found = windows(sentences_of(frame["text"], code, spare_lines=settings.window == 1), settings.window)
    # A line of one word is an address or a number; one without letters is a rule.
    says_something = (found.words > 1) & (2 * found.letters >= found.size)
    long_enough = (found.size >= settings.min_bytes) & says_something & found.comment
    return pl.DataFrame(
        {
            "row": found.document[long_enough].astype(np.uint32),
            "hash": found.hash[long_enough],
            "start": found.start[long_enough].astype(np.uint32),
            "after": found.after[long_enough].astype(np.uint32),
            "words": found.words[long_enough].astype(np.uint32),
            "spare": found.spare[long_enough],
        }
    )


def code_among(documents: Documents, frame: pl.DataFrame) -> pl.Series:
    """Which rows of a frame with `text` and `lang` are code."""
    code = (frame["lang"] == "code").fill_null(False)
    # Where no stage has looked, what the source declares is not enough.
    return code | detect_code(frame)[0] if documents.languages is None else code


def windows(one: Sentences, number: int) -> Sentences:
    """Runs of `number` consecutive sentences of a document as one each; shorter documents have none."""
    if number == 1 or len(one.hash) < number:
        return one if number == 1 else Sentences(*(column[:0] for column in one))
    first = np.arange(len(one.hash) - number + 1)
    last = first + number - 1
    first = first[one.document[first] == one.document[last]]
    last = first + number - 1
    sizes = np.concatenate([[0], np.cumsum(one.size)])
    letters = np.concatenate([[0], np.cumsum(one.letters)])
    words = np.concatenate([[0], np.cumsum(one.words)])
    comments = np.concatenate([[0], np.cumsum(one.comment)])
    return Sentences(
        one.document[first], one.start[first], one.end[last], one.after[last],
        sizes[last + 1] - sizes[first], letters[last + 1] - letters[first],
        words[last + 1] - words[first], run_hashes(one.hash, first, last + 1),
        comments[last + 1] - comments[first] == number, one.spare[first],
    )  # fmt: skip


# -- counting ----------------------------------------------------------------------------------------------------------


def frequent_sentences(
    draft: Draft, documents: Documents, most: int, order: list[str], execution: ExecutionSettings
) -> pl.DataFrame:
    """Sentences in more than `most` documents: `hash` (sorted), `documents`, `first` (doc_id of the first)."""
    batches = list(sentence_tables(draft, documents))
    total = sum(draft.entries[f"{side_table(fragment)}.parquet"]["rows"] for fragment in documents.fragments)
    ranges = [(*task, most) for task in counting_tasks(total)]
    read = BYTES_OF_SENTENCE * total
    counted = written(draft, "repeated sentences", count_range, batches, ranges, execution, read)
    frequent = pl.concat([pl.read_parquet(path) for path in counted])
    firsts = [pl.DataFrame(schema={"hash": pl.UInt64, "source": pl.Int64, "first": pl.String})]
    for batch in batches:
        rows = (
            scan_tables(batch)
            .filter(~pl.col("spare"))
            .select("fragment", "row", "hash")
            .join(frequent.lazy(), on="hash", how="semi")
        )
        first_rows = rows.group_by("fragment", "hash").agg(pl.col("row").min()).collect()
        for (fragment,), first in first_rows.group_by("fragment"):
            ids = documents.read(str(fragment), ["doc_id"]).filter("kept")["doc_id"]
            place = order.index(documents.source(str(fragment)))
            firsts.append(
                first.select("hash", pl.lit(place, pl.Int64).alias("source"), ids.gather(first["row"]).alias("first"))
            )
    first_of = pl.concat(firsts).sort("hash", "source", "first").unique("hash", keep="first", maintain_order=True)
    return frequent.join(first_of.select("hash", "first"), on="hash", how="left", maintain_order="left")


def counting_tasks(sentences: int) -> list[tuple[int, int, int]]:
    """First and last hash of each task that counts so many sentences, and how many ranges it takes one by one.

    Each task looks at all sentences, so there are at most COUNTING_TASKS.
    """
    ranges = -(-sentences // COUNTED_AT_ONCE)
    bounds = hash_ranges(sentences, max(COUNTED_AT_ONCE, -(-sentences // COUNTING_TASKS)))
    return [(first, last, max(1, -(-ranges // len(bounds)))) for first, last in bounds]


def count_range(batches: list[dict[str, Path]], first: int, last: int, ranges: int, most: int, target: Path) -> int:
    """Write the sentences from one hash to another that are in more than `most` documents: `hash`, `documents`.

    batches: the side tables of all fragments, which are read once. ranges: how many are counted one by one. Returns the
    number of sentences written. Runs in a worker.
    """
    within = pl.col("hash").is_between(pl.lit(first, pl.UInt64), pl.lit(last, pl.UInt64)) & ~pl.col("spare")
    width = last - first + 1

    def hashes_of(batch: dict[str, Path]) -> np.ndarray:
        rows = scan_tables(batch).filter(within).select("fragment", "row", "hash").unique()
        return rows.select("hash").collect()["hash"].to_numpy()

    def spread(hashes: np.ndarray) -> np.ndarray:
        return (hashes - np.uint64(first)) * np.uint64(2**64 // width)

    found = [pl.DataFrame(schema={"hash": pl.UInt64, "documents": pl.Int64})]
    for hashes in by_range(map(hashes_of, batches), spread, ranges, target.with_name(f"{target.name}{RANGES}")):
        counts = pl.Series("hash", hashes).to_frame().group_by("hash").agg(pl.len().cast(pl.Int64).alias("documents"))
        found.append(counts.filter(pl.col("documents") > most).sort("hash"))
    frequent = pl.concat(found)
    write_table(frequent, target)
    return frequent.height


def sentence_tables(draft: Draft, documents: Documents) -> Iterator[dict[str, Path]]:
    """The side tables by fragment, in batches that are read together."""
    tables = {fragment: draft.path(f"{side_table(fragment)}.parquet") for fragment in documents.fragments}
    rows = {fragment: draft.entries[f"{side_table(fragment)}.parquet"]["rows"] for fragment in documents.fragments}
    return in_batches(tables, rows, READ_AT_ONCE)


def cuts_by_fragment(
    draft: Draft, documents: Documents, frequent: pl.DataFrame | None
) -> Iterator[tuple[str, pl.DataFrame | None]]:
    """For each fragment, its frequent sentences in order, with `documents` and `first`."""
    if frequent is None:
        yield from ((fragment, None) for fragment in documents.fragments)
        return
    columns = [*SENTENCE, "documents", "first"]
    for batch in sentence_tables(draft, documents):
        cuts = scan_tables(batch).join(frequent.lazy(), on="hash", how="inner", maintain_order="left").collect()
        by_fragment = cuts.partition_by("fragment", as_dict=True, maintain_order=True)
        for fragment in batch:
            yield fragment, by_fragment.get((fragment,), cuts.head(0)).select(columns)


# -- decisions ---------------------------------------------------------------------------------------------------------


def _write(draft: Draft, documents: Documents, fragment: str, settings: Settings, cuts: pl.DataFrame | None) -> None:
    """Write the edits of one fragment. cuts: see `cuts_by_fragment`."""
    source = documents.source(fragment)
    key: dict[str, Any] = {**documents.key(fragment), "version": VERSION, "settings": settings.model_dump(mode="json")}
    if cuts is not None:
        key["cuts"] = hashlib.sha256(cuts.write_ndjson().encode()).hexdigest()
    draft.table(
        fragment,
        key,
        lambda: decision_table_of(documents, fragment, settings, cuts),
        partial(decision_facts, source=source),
    )


def decision_table_of(
    documents: Documents, fragment: str, settings: Settings, cuts: pl.DataFrame | None
) -> pl.DataFrame:
    """The decision table of a fragment. cuts: its frequent sentences, with `documents` and `first`."""
    if cuts is None:
        frame = documents.read(fragment, ["doc_id"])
        return decision_table(frame["doc_id"], frame["kept"])
    frame = documents.read(fragment, ["doc_id", "text", "lang"] if cuts.height else ["doc_id"])
    kept = frame["kept"]
    left = frame.filter("kept").with_row_index("row")
    if settings.keep_first:
        cuts = cuts.join(left.select("row", "doc_id"), on="row", maintain_order="left")
        earlier = pl.int_range(pl.len()).over("hash", "row") > 0
        cuts = cuts.filter((pl.col("doc_id") != pl.col("first")) | earlier)
    if cuts.height:
        cuts = cuts.filter(~in_their_place(cuts, left["text"], code_among(documents, left)))
        cuts = harmless(cuts, left["text"])
    edit = pl.struct(
        pl.col("start").cast(pl.Int64), pl.col("after").cast(pl.Int64).alias("end"),
        replacement=pl.lit(""), label=pl.lit(LABEL),
    )  # fmt: skip
    by_row = cuts.group_by("row", maintain_order=True).agg(
        edits=edit.cast(EDIT),
        repeated=pl.struct("start", "documents", "first"),
    )
    rows = left.select("row").join(by_row, on="row", how="left", maintain_order="left")
    if by_row.height:
        remaining = by_row.select("row", words_left=_words_left(left["text"].gather(by_row["row"]), by_row["edits"]))
        rows = rows.join(remaining, on="row", how="left", maintain_order="left")
    else:
        rows = rows.with_columns(words_left=pl.lit(None, pl.Int64))
    rows = rows.with_columns(score=pl.col("words_left").cast(pl.Float64))
    chosen = decided_by(rows, RULES, settings, pl.col("score"))
    signals = scatter(rows.select("repeated"), kept)
    return decision_table(frame["doc_id"], kept, chosen.hstack(rows.select("edits")), signals)


def harmless(cuts: pl.DataFrame, texts: pl.Series) -> pl.DataFrame:
    """The cuts (row, start, after) that leave every program among the texts as it is to a machine.

    A program that was not recognised as code, or has a line that only looks like a comment, keeps what would change it.
    """
    stay = []
    for row, starts, ends in cuts.group_by("row", maintain_order=True).agg("start", "after").iter_rows():
        spans = [(start, end, "") for start, end in zip(starts, ends, strict=True)]
        stay += [not alone for alone in which_change(texts[row], spans)]
    return cuts.filter(pl.Series(stay, dtype=pl.Boolean))


def _words_left(texts: pl.Series, edits: pl.Series) -> pl.Series:
    """The number of words of each text outside its edits."""
    left = []
    for text, spans in zip(texts, edits, strict=True):
        pieces, done = [], 0
        for span in spans:
            pieces.append(text[done : max(done, span["start"])])
            done = max(done, span["end"])
        left.append(len("".join([*pieces, text[done:]]).split()))
    return pl.Series(left, dtype=pl.Int64)


STAGE = CorpusStage(
    name=ASSET,
    block="repetition",
    description="Passages that occur in many documents, such as licences, menus and boilerplate openings, are cut.",
    kinds=("python", "numpy", "parquet"),
    after=("duplicates",),
    settings=Settings,
    version=VERSION,
    rules=RULES,
    run=make,
)

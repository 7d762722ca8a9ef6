"""`contamination_decisions`: training documents that contain evaluation items, and the items that they cover.

The index of the items is small and the text is large. So each fragment is read once, the hashes of its n-grams are
looked up in the index (evaluation_items.py defines tokens and the lengths of n-grams), and only hits are examined.
The hits of a fragment are remembered in a side table `hits/<fragment>.parquet`. The decisions follow from it, and so
does `report/items.parquet`: for each item, how much of it the training text contains, and where.
"""

from __future__ import annotations

import hashlib
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from pipeline.context import Inputs, RunContext
from pipeline.curation.evaluation_items import Index, ItemSet, all_items, held_back_items, index_of, tokens_of
from pipeline.curation.program_cuts import CLASS, FUNCTION, STATEMENT, cut_from_program
from pipeline.curation.programs import python_tree, with_edits
from pipeline.curation.rules import Limit, Rule
from pipeline.documents.execution import ExecutionSettings
from pipeline.documents.fragment_tables import fragment_task, make_tables
from pipeline.documents.known_rows import EarlierVersions, Remembered, rows_found, same_but_documents
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
from pipeline.ingest.cache import cache_of
from pipeline.settings import StageSettings
from pipeline.store.artifact import Artifact, digest
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table
from pipeline.text.words import RunHashes, blocks, code_points, compose

# 4: of a program that a cut would break, the whole function, class or statement is cut, and the program stays
# 3: runs of numbers are no n-grams; `span` by default, of which a program that it would break is removed; bundled
# conversations are searched for only if the recipe names them
VERSION = "4"
ASSET = "contamination_decisions"
EVALUATION_ITEM = Rule(
    "evaluation_item",
    "contains n-grams of an evaluation item (`item_set`, `item_id`), at the given spans",
    "GPT-3 (Brown et al. 2020, appendix C): any n-gram",
    limits=(Limit("share", ">=", "min_share"),),
)
RULES = (EVALUATION_ITEM,)
REASONS = meanings_of(RULES)
LABEL = "evaluation_item"
# Where more than the span is cut, so that what is left of a program is one.
WHOLE_LABELS = {what: f"{LABEL}_{what}" for what in (CLASS, FUNCTION, STATEMENT)}
ITEMS = "report/items"
HIT_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "row": pl.UInt32,  # among the fragment's kept documents
    "item": pl.UInt32,  # row of report/items
    "grams": pl.UInt32,  # distinct n-grams of the item in the document
    "spans": pl.List(pl.Struct({"start": pl.Int64, "end": pl.Int64})),  # code points, merged
}


class Settings(StageSettings):
    sets: tuple[ItemSet, ...] = Field((), description="Files of evaluation items to keep out of the training text")
    held_back: bool | None = Field(
        None,
        description="Also search for the conversations held back from fine-tuning; default: if the recipe says "
        "something in `instructions`, or in `sft` without switching it off",
    )
    min_share: float = Field(
        0.0, ge=0, le=1, description="Least share of an item's n-grams that is contamination; 0: any n-gram (GPT-3)"
    )
    action: Literal["document", "span"] = Field(
        "span",
        description="What to remove: the span, as an edit (of a Python program that this would break, the whole "
        "function, class or statement; other code that holds an item goes), or the document",
    )

    @field_validator("sets")
    @classmethod
    def _names_differ(cls, sets: tuple[ItemSet, ...]) -> tuple[ItemSet, ...]:
        names = [chosen.name for chosen in sets]
        for name in names:
            if names.count(name) > 1 or name == "held_back":
                raise ValueError(f"two sets of evaluation items are called `{name}`: give each a different name")
        return sets


def make(context: RunContext, inputs: Inputs, settings: Settings) -> Artifact:
    """Decide which documents contain evaluation items, and report which items are covered.

    inputs: raw_documents, previous, and instruction_data, whose held-back conversations are searched for too.
    """
    documents, named = stage_inputs(inputs)
    held_back = inputs.get("instruction_data") if settings.enabled and settings.held_back is not False else None
    if settings.enabled:
        cache = cache_of(context.store)
        contents = {chosen.name: chosen.contents(cache, context.log) for chosen in settings.sets}
        named.update({f"items {chosen.name}": chosen.digest(contents[chosen.name]) for chosen in settings.sets})
    if held_back is not None:
        named["instruction_data"] = held_back
    identity = settings.model_dump(mode="json", exclude={"sets"}) | {"sets": [c.as_recorded() for c in settings.sets]}

    def build(draft: Draft) -> None:
        if settings.enabled:
            items = all_items(settings.sets, contents, cache_of(context.store), context.log)
            if held_back is not None:
                items += held_back_items(held_back.file("held_back.parquet"))
            index = index_of(items)
            fits = same_but_documents(VERSION, identity, named, documents)
            earlier = EarlierVersions(draft, context.store, documents, fits, only_kept=True)
            find_all(draft, documents, index, context.execution, earlier)
            write_report(draft, documents, index)
        known = items_found(draft) if settings.enabled else None
        for fragment in documents.fragments:
            _write(draft, documents, fragment, settings, known)
        draft.counts = total_counts(draft.entries)
        refuse_to_remove_all(ASSET, draft.counts)

    return context.store.make(
        ASSET, code_version=VERSION, settings=identity, inputs=named, build=build, log=context.log
    )


# -- hits, by fragment -------------------------------------------------------------------------------------------------


def side_table(fragment: str) -> str:
    return f"hits/{fragment}"


def find_all(
    draft: Draft, documents: Documents, index: Index, execution: ExecutionSettings, earlier: EarlierVersions
) -> None:
    """Write the hits of each fragment; remembered tables are linked without reading text."""
    content = hashlib.sha256()
    for table in (*index.grams.values(), *index.whole_texts.values()):
        for column in table:
            content.update(column.to_numpy().tobytes())
    about = digest({"version": VERSION, "items": content.hexdigest()})
    tables = [
        fragment_task(documents, name, side_table(name), {"hits": about}, index, earlier=earlier)
        for name in documents.fragments
    ]
    make_tables(draft, tables, find_in_fragment, execution, "contamination")


def find_in_fragment(
    documents: Documents, fragment: str, index: Index, earlier: Remembered | None, target: Path
) -> tuple[int, dict[str, Any]]:
    """Write the hits of a fragment; returns (rows, no facts). Runs in a worker."""
    if index.grams or index.whole_texts:
        order = ["row", "item"]
        hits = rows_found(documents, fragment, ["text"], earlier, lambda frame: find(frame["text"], index), order)
    else:
        hits = pl.DataFrame(schema=HIT_SCHEMA)
    write_table(hits, target)
    return hits.height, {}


def find(texts: pl.Series, index: Index) -> pl.DataFrame:
    """The items contained in the texts: one row per text and item (HIT_SCHEMA)."""
    parts = [pl.DataFrame(schema=HIT_SCHEMA)]
    sieves = {n: Sieve(table["gram"].to_numpy()) for n, table in index.grams.items()}
    sieves.update({n: Sieve(table["anchor"].to_numpy()) for n, table in index.whole_texts.items()})
    for first, _, data, offsets in blocks(texts):
        composed, where = compose(data, offsets)
        found = _in_block(composed, where, index, sieves)
        if found.height:
            points = code_points(composed)
            owner = found["document"].to_numpy()
            zero = points[where[owner]]
            found = found.with_columns(
                start=pl.Series(points[found["start"].to_numpy()] - zero),
                end=pl.Series(points[found["end"].to_numpy()] - zero),
            )
            if composed is not data:
                found = _as_written(found, texts, first)
            parts.append(_merged(found.with_columns(row=(pl.col("document") + first).cast(pl.UInt32))))
    return pl.concat(parts)


class Sieve:
    """A filter for values that may be in a given set: one bit per prefix of a value, of which at most one in 16 is
    set."""

    def __init__(self, values: np.ndarray):
        self.bits = np.uint64(64 - max(12, min(30, (16 * len(values)).bit_length())))
        places = np.unique(values >> self.bits)
        self.table = np.zeros(1 << (61 - int(self.bits)), np.uint8)
        np.bitwise_or.at(self.table, places >> np.uint64(3), np.uint8(1) << (places & np.uint64(7)).astype(np.uint8))

    def passing(self, values: np.ndarray) -> np.ndarray:
        """Positions of the values that may be in the set."""
        places = values >> self.bits
        byte = self.table[places >> np.uint64(3)]
        return np.flatnonzero((byte >> (places & np.uint64(7)).astype(np.uint8)) & np.uint8(1))


def _in_block(data: np.ndarray, offsets: np.ndarray, index: Index, sieves: dict[int, Sieve]) -> pl.DataFrame:
    """All hits in a block: document, item, gram (its hash), start and end (bytes)."""
    tokens = tokens_of(data, offsets)
    all_runs = RunHashes(tokens.hashes)
    found: list[pl.DataFrame] = []

    def passing(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(positions, hashes, tokens up to the end of the document) of the n-grams that may be in the index."""
        values = all_runs.of_length(n)
        places = sieves[n].passing(values)
        remaining = tokens.bounds[np.searchsorted(tokens.bounds, places, side="right")] - places
        inside = remaining >= n
        return places[inside], values[places[inside]], remaining[inside]

    def add(places: np.ndarray, lengths: np.ndarray, grams: np.ndarray, items: np.ndarray) -> None:
        if len(places):
            document = np.searchsorted(tokens.bounds, places, side="right") - 1
            start, end = tokens.starts[places], tokens.ends[places + lengths - 1]
            found.append(pl.DataFrame({"document": document, "item": items, "gram": grams, "start": start, "end": end}))

    for n, table in index.grams.items():
        places, values, _ = passing(n)
        which, entry = _entries(table["gram"].to_numpy(), values)
        add(places[which], np.full(len(which), n), values[which], table["item"].to_numpy()[entry])
    for entered, table in index.whole_texts.items():
        places, values, remaining = passing(entered)
        which, entry = _entries(table["anchor"].to_numpy(), values)
        length, text_hash = table["length"].to_numpy()[entry], table["gram"].to_numpy()[entry]
        fits = np.flatnonzero(remaining[which] >= length)
        same = fits[all_runs.between(places[which[fits]], length[fits]) == text_hash[fits]]
        add(places[which[same]], length[same], text_hash[same], table["item"].to_numpy()[entry[same]])
    return pl.concat(found) if found else pl.DataFrame()


def _entries(known: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All (position in values, position in known) of equal values; `known` is sorted."""
    low, high = np.searchsorted(known, values, side="left"), np.searchsorted(known, values, side="right")
    return _spread(low, high)


def _spread(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All (position, entry) with low[position] <= entry < high[position]."""
    number = high - low
    which = np.repeat(np.arange(len(low)), number)
    return which, np.arange(len(which)) - np.repeat(np.cumsum(number) - number, number) + low[which]


def _merged(found: pl.DataFrame) -> pl.DataFrame:
    """One row per document and item: the number of distinct n-grams, and the spans that they cover, merged."""
    ordered = found.sort("row", "item", "start", "end")
    reach = pl.col("end").cum_max().shift(1).over("row", "item")
    ordered = ordered.with_columns(piece=((pl.col("start") > reach).fill_null(True)).cum_sum())
    by_piece = ordered.group_by("row", "item", "piece", maintain_order=True)
    spans = by_piece.agg(pl.col("start").min(), pl.col("end").max())
    joined = spans.group_by("row", "item", maintain_order=True).agg(spans=pl.struct("start", "end"))
    grams = found.group_by("row", "item").agg(grams=pl.col("gram").n_unique())
    merged = joined.join(grams, on=["row", "item"], maintain_order="left")
    return merged.select(pl.col(name).cast(dtype) for name, dtype in HIT_SCHEMA.items())


def _as_written(found: pl.DataFrame, texts: pl.Series, first: int) -> pl.DataFrame:
    """Spans in composed texts converted to spans in the original texts; the few texts not in NFC are done one by
    one."""
    starts, ends = found["start"].to_list(), found["end"].to_list()
    for place, document in enumerate(found["document"].to_list()):
        text = texts[first + document]
        if not unicodedata.is_normalized("NFC", text):
            starts[place], ends[place] = (_raw_place(text, offset) for offset in (starts[place], ends[place]))
    return found.with_columns(start=pl.Series(starts, dtype=pl.Int64), end=pl.Series(ends, dtype=pl.Int64))


def _raw_place(text: str, offset: int) -> int:
    """The shortest prefix of `text` that composes to `offset` characters, including marks that join the last one."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high) // 2
        if len(unicodedata.normalize("NFC", text[:middle])) < offset:
            low = middle + 1
        else:
            high = middle
    while 0 < low < len(text) and len(unicodedata.normalize("NFC", text[: low + 1])) <= offset:
        low += 1
    return low


# -- the report -----------------------------------------------------------------------------------------------


def write_report(draft: Draft, documents: Documents, index: Index) -> None:
    """For each item: `checked`, the number of documents that contain any of it, and the largest `share` with its
    document."""
    parts = []
    for fragment in documents.fragments:
        if draft.entries[f"{side_table(fragment)}.parquet"]["rows"]:
            hits = pl.read_parquet(draft.path(f"{side_table(fragment)}.parquet"), columns=["row", "item", "grams"])
            ids = documents.read(fragment, ["doc_id"]).filter("kept")["doc_id"]
            parts.append(hits.select("item", "grams", doc_id=ids.gather(hits["row"])))
    items = index.items.with_row_index("item").with_columns(checked=pl.col("grams") > 0)
    schema = {"item": pl.UInt32, "grams": pl.UInt32, "doc_id": pl.String}
    hits = pl.concat(parts) if parts else pl.DataFrame(schema=schema)
    most_first = hits.sort("item", pl.col("grams").cast(pl.Int64) * -1, "doc_id")
    best = most_first.group_by("item", maintain_order=True).agg(
        pl.col("doc_id").first(),
        found=pl.col("grams").first().cast(pl.Int64),
        documents=pl.col("doc_id").n_unique(),
    )
    report = items.join(best, on="item", how="left", maintain_order="left").select(
        "set", "id", "tokens", "grams", "checked",
        documents=pl.col("documents").fill_null(0).cast(pl.Int64),
        share=(pl.col("found").fill_null(0) / pl.col("grams")).fill_nan(0.0),
        doc_id=pl.col("doc_id"),
    )  # fmt: skip
    write_table(report, draft.path(f"{ITEMS}.parquet"))
    by_set = report.group_by("set", maintain_order=True).agg(
        items=pl.len(), checked=pl.col("checked").sum(), found=(pl.col("documents") > 0).sum(),
        most=(pl.col("share") >= 0.8).sum(),
    )  # fmt: skip
    draft.facts = {"sets": {row.pop("set"): row for row in by_set.to_dicts()}}


def covered_items(artifact: Artifact) -> pl.DataFrame:
    """The report of a finished artifact: the items that the training text contains, largest share first."""
    path = artifact.file(f"{ITEMS}.parquet")
    if f"{ITEMS}.parquet" not in artifact.manifest["files"]:
        return pl.DataFrame()
    found = pl.read_parquet(path).filter(pl.col("documents") > 0)
    return found.sort("share", "set", "id", descending=[True, False, False])


# -- decisions ---------------------------------------------------------------------------------------------------------


def items_found(draft: Draft) -> pl.DataFrame:
    """The items of the report in the draft, as `contaminated_documents` needs them."""
    return pl.read_parquet(draft.path(f"{ITEMS}.parquet"), columns=["set", "id", "grams"]).with_row_index("item")


def _write(draft: Draft, documents: Documents, fragment: str, settings: Settings, items: pl.DataFrame | None) -> None:
    """Write the decisions of one fragment. items: None if the stage is off."""
    source = documents.source(fragment)
    key: dict[str, Any] = {**documents.key(fragment), "version": VERSION, "enabled": settings.enabled}
    chosen = None
    if items is not None:
        name = f"{side_table(fragment)}.parquet"
        if draft.entries[name]["rows"]:
            chosen = contaminated_documents(pl.read_parquet(draft.path(name)), items, settings)
        else:
            chosen = none_contaminated(settings.min_share)
        written = chosen.write_ndjson() if chosen.height else ""
        key |= {"action": settings.action, "accused": hashlib.sha256(written.encode()).hexdigest()}

    def compute() -> pl.DataFrame:
        frame = documents.read(fragment, ["doc_id"])
        accused = chosen
        if accused is not None:
            accused = accused.with_columns(remove=pl.lit(settings.action == "document"), cuts=_cuts_of_spans())
            if accused.height and settings.action == "span":
                accused = _with_programs_whole(documents, fragment, accused)
        return decision_table_of(frame["doc_id"], frame["kept"], accused)

    draft.table(fragment, key, compute, facts=lambda table: decision_facts(table, source))


@cache
def none_contaminated(min_share: float) -> pl.DataFrame:
    """The result of `contaminated_documents` without hits, as in most fragments."""
    items = pl.DataFrame(schema={"item": pl.UInt32, "set": pl.String, "id": pl.String, "grams": pl.Int64})
    return contaminated_documents(pl.DataFrame(schema=HIT_SCHEMA), items, Settings(min_share=min_share))


def contaminated_documents(hits: pl.DataFrame, items: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Documents with at least `min_share` of an item: `row`, the item with the largest share, and all spans.

    items: `item`, `set`, `id`, `grams`. The columns are the signals of the decisions.
    """
    known = hits.join(items.rename({"grams": "of"}), on="item", maintain_order="left")
    known = known.with_columns(share=pl.col("grams") / pl.col("of")).filter(pl.col("share") >= settings.min_share)
    known = known.sort("row", pl.col("share") * -1, pl.col("grams").cast(pl.Int64) * -1, "item")
    return known.group_by("row", maintain_order=True).agg(
        item_set=pl.col("set").first(),
        item_id=pl.col("id").first(),
        share=pl.col("share").first(),
        items=pl.len().cast(pl.Int64),
        spans=pl.col("spans").first(),
        all_spans=pl.col("spans").explode(empty_as_null=False),
    )


def _cuts_of_spans() -> pl.Expr:
    """The edits that cut the spans themselves."""
    place = [pl.element().struct.field(name) for name in ("start", "end")]
    edit = pl.struct(*place, replacement=pl.lit(""), label=pl.lit(LABEL))
    return pl.col("all_spans").list.eval(edit)


def _with_programs_whole(documents: Documents, fragment: str, accused: pl.DataFrame) -> pl.DataFrame:
    """The accused documents with other `cuts` for Python programs that the cut of their spans would break.

    What encloses a span goes as a whole: the function, the member of a class, the statement; the edit's label says
    which. A program of which nothing would be left is removed (`remove`). So is a document that was found to be code in
    another language: what a cut does to it is not known.
    """
    frame = documents.read(fragment, ["text", "lang"]).filter("kept")
    flags, cuts = [], accused["cuts"].to_list()
    for number, (row, spans) in enumerate(accused.select("row", "all_spans").iter_rows()):
        text, places = frame["text"][row], [(span["start"], span["end"]) for span in spans]
        if python_tree(text) is None:
            flags.append(frame["lang"][row] == "code")
            continue
        if python_tree(with_edits(text, sorted((start, end, "") for start, end in places))) is None:
            whole = cut_from_program(text, places)
            cuts[number] = [
                {"start": start, "end": end, "replacement": "", "label": WHOLE_LABELS.get(what, LABEL)}
                for start, end, what in whole or ()
            ]
            flags.append(whole is None)
        else:
            flags.append(False)
    return accused.with_columns(
        remove=pl.Series(flags, dtype=pl.Boolean), cuts=pl.Series(cuts, dtype=accused.schema["cuts"])
    )


def decision_table_of(doc_ids: pl.Series, kept: pl.Series, chosen: pl.DataFrame | None) -> pl.DataFrame:
    """The decision table of a fragment.

    chosen: as `contaminated_documents` gives it, with the columns `remove` and `cuts`; None where the stage is off.
    """
    if chosen is None:
        return decision_table(doc_ids, kept)
    left = pl.DataFrame({"row": np.arange(int(kept.sum()), dtype=np.uint32)})
    rows = left.join(chosen, on="row", how="left", maintain_order="left")
    hit = pl.col("share").is_not_null()
    rows = rows.with_columns(
        keep=~(hit & pl.col("remove")).fill_null(False),
        reason=pl.when(hit & pl.col("remove")).then(pl.lit(EVALUATION_ITEM.name)),
        score=pl.col("share"),
        edits=pl.when(hit & ~pl.col("remove")).then(pl.col("cuts")),
    )
    signals = scatter(rows.select("item_set", "item_id", "share", "items", "spans"), kept)
    return decision_table(doc_ids, kept, rows.select("keep", "reason", "score", "edits"), signals)


STAGE = CorpusStage(
    name=ASSET,
    block="contamination",
    description="Documents that contain items of evaluation sets; each decision names the item and the shared words.",
    kinds=("python", "numpy", "parquet"),
    inputs=("instruction_data",),
    settings=Settings,
    version=VERSION,
    rules=RULES,
    run=make,
)

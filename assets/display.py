"""The metadata of an asset in the UI: tables and small pictures, from its manifest and a few rows.

Every builder takes a finished artifact, so that `make reindex` can show an old one again, and reads a few fragments at
most. Pictures are drawn with matplotlib's Agg canvas (no window, no global state), embedded in the metadata, and
smaller than 200 kB.
"""

import base64
import functools
import hashlib
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pyarrow.parquet as pq
from dagster import (
    JsonMetadataValue,
    MarkdownMetadataValue,
    MetadataValue,
    TableColumn,
    TableColumnDep,
    TableColumnLineage,
    TableMetadataValue,
    TableRecord,
    TableSchema,
    TextMetadataValue,
)

from assets import columns, small_pictures
from assets.keys import key
from pipeline import locations
from pipeline.curation.duplicates import review
from pipeline.documents.document import DECISION_SCHEMA
from pipeline.documents.reasons import Reason, meanings_of
from pipeline.experiments import drawing as experiment_drawing
from pipeline.experiments import worth_drawing
from pipeline.inspect import curves, margins, rules_reference, signals, standings
from pipeline.inspect import in_short as in_short_of
from pipeline.inspect.curves import KEPT, figure_of
from pipeline.inspect.in_short import in_short, rounded
from pipeline.settings import StageSettings
from pipeline.store.artifact import Artifact

LARGEST_PICTURE = 200_000  # bytes; the event log keeps every picture of every run
EXCERPT = 160  # characters of a sample
SAMPLES = 5
CELL = 60  # characters of a nested value in a table
ID = 12  # characters of an id; `slm documents` and `slm lineage` take the beginning of one
FRAGMENTS_READ = 4  # for samples and histograms


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> TableMetadataValue:
    """Rows as a table for the UI; numbers stay numbers, everything else becomes text."""
    names = list(columns or (rows[0] if rows else ()))
    kinds = {name: _kind([row.get(name) for row in rows]) for name in names}
    schema = TableSchema(columns=[TableColumn(name, kinds[name]) for name in names])
    return MetadataValue.table(
        [TableRecord({name: _cell(row.get(name)) for name in names}) for row in rows], schema=schema
    )


def _kind(values: Iterable[Any]) -> str:
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, bool) for value in present):
        return "bool"
    if present and all(isinstance(value, int) for value in present):
        return "int"
    if present and all(isinstance(value, int | float) for value in present):
        return "float"
    return "string"


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return float(rounded(value)) if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else json.dumps(value, ensure_ascii=False)


@functools.cache
def code_digest() -> str:
    """Digest of the code and rules that pages depend on: metadata from other code is created again."""
    files = [
        *sorted(Path(__file__).parent.glob("*.py")),
        Path(review.__file__),
        Path(curves.__file__),
        Path(margins.__file__),
        Path(signals.__file__),
        Path(in_short_of.__file__),
        Path(experiment_drawing.__file__),
        Path(worth_drawing.__file__),
        Path(standings.__file__),
    ]
    content = b"".join(path.read_bytes() for path in files) + rules_reference.page().encode()
    return hashlib.sha256(content).hexdigest()[:16]


# -- every artifact ---------------------------------------------------------------------------------------------------


def of_artifact(artifact: Artifact) -> dict[str, Any]:
    """The metadata of every asset: its path, what it was made of and how long that took, its columns and rows."""
    manifest = artifact.manifest
    shown: dict[str, Any] = {
        "state": state_of(artifact),
        "path": MetadataValue.path(str(artifact.directory)),
        "version": MetadataValue.text(artifact.version),
        "drawn by": MetadataValue.text(code_digest()),
        "recipe": MetadataValue.text(manifest["recipe"]),
        "seconds": MetadataValue.float(float(rounded(float(manifest["seconds"].get("total", 0.0))))),
        "size (MB)": MetadataValue.float(
            float(rounded(sum(file["bytes"] for file in manifest["files"].values()) / 1e6))
        ),
        "fragments": MetadataValue.json(manifest["fragments"]),
        "made of": MetadataValue.json(manifest["made_of"]),
    }
    if artifact.fragments:
        shown["dagster/row_count"] = MetadataValue.int(rows_in(artifact))
        schema = pl.read_parquet_schema(artifact.table(artifact.fragments[0]))
        shown["dagster/column_schema"] = TableSchema(
            columns=[
                TableColumn(name, columns.kind_of(dtype), columns.described(name)) for name, dtype in schema.items()
            ]
        )
    return shown


# What says which artifact it is and how it was made: of interest last.
IDENTITY = (
    "state", "recipe", "version", "path", "seconds", "size (MB)", "fragments", "made of", "drawn by",
)  # fmt: skip
REPORT, SHORT, PICTURE = "report", "in short", "picture"
REPORT_ADDRESS, REPORT_DEFAULT = "SLM_REPORT_UI", "http://127.0.0.1:3001"  # `make ui` sets it


def arranged(artifact: Artifact, shown: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata in the order in which a person wants to see it.

    The link to the report, a sentence of three figures, a picture that needs no click, samples, everything else in the
    order of `shown`, the large pictures, JSON, what identifies the artifact.
    """
    # A page may have a sentence of its own, where there is none that the artifact's manifest can give.
    said = shown[SHORT].text if SHORT in shown else in_short(artifact)
    small = small_pictures.of_artifact(artifact)
    first: dict[str, Any] = {REPORT: MetadataValue.url(report_address(artifact.manifest["recipe"]))}
    first |= {SHORT: MetadataValue.text(said)} if said else {}
    first |= {PICTURE: small} if small is not None else {}
    apart = {SHORT, *IDENTITY}
    own = {name: value for name, value in shown.items() if not name.startswith("dagster/") and name not in apart}
    groups: list[dict[str, Any]] = [{}, {}, {}, {}]
    for name, value in own.items():
        groups[_place(name, value)][name] = value
    last = {name: shown[name] for name in IDENTITY if name in shown}
    return {**first, **{name: value for group in groups for name, value in group.items()}, **last, **shown}


def _place(name: str, value: Any) -> int:
    """Samples first, then figures and tables, then what Dagster shows behind a click."""
    if name.startswith("sample"):
        return 0
    return 2 if is_picture(value) else 3 if isinstance(value, JsonMetadataValue) else 1


def report_address(recipe: str) -> str:
    """Where `make ui` serves the report of a recipe (assets/report_server.py)."""
    return f"{os.environ.get(REPORT_ADDRESS, REPORT_DEFAULT)}/{quote(locations.scoped(recipe))}"


def is_picture(value: Any) -> bool:
    return isinstance(value, MarkdownMetadataValue) and (value.value or "").startswith("![")


def state_of(artifact: Artifact) -> TextMetadataValue:
    return MetadataValue.text("made in this run" if artifact.made else "up to date: answered from the store")


def rows_in(artifact: Artifact) -> int:
    return sum(rows_of(artifact, f"{fragment}.parquet") for fragment in artifact.fragments)


def rows_of(artifact: Artifact, name: str) -> int:
    """Rows of one table, from the manifest or else from the table's footer."""
    rows = artifact.manifest["files"][name].get("rows")
    return pq.read_metadata(artifact.file(name)).num_rows if rows is None else rows


def lineage(dependencies: Mapping[str, Sequence[tuple[str, str]]]) -> TableColumnLineage:
    """Column lineage: for each column, the (asset, column) pairs that it is made from."""
    return TableColumnLineage(
        deps_by_column={
            name: [TableColumnDep(asset_key=key(asset), column_name=column) for asset, column in sources]
            for name, sources in dependencies.items()
        }
    )


def document_lineage(upstream: str, columns: Iterable[str]) -> TableColumnLineage:
    return lineage({name: [(upstream, name)] for name in columns})


def decision_lineage(artifact: Artifact, previous: str | None) -> TableColumnLineage:
    """The columns of decisions depend on the text, and `keep` also on the previous stage."""
    names = pl.read_parquet_schema(artifact.table(artifact.fragments[0])) if artifact.fragments else {}
    dependencies: dict[str, list[tuple[str, str]]] = {name: [("raw_documents", "text")] for name in names}
    dependencies["doc_id"] = [("raw_documents", "doc_id")]
    if previous:
        dependencies["keep"] = [("raw_documents", "text"), (previous, "keep")]
    return lineage(dependencies)


# -- documents and decisions ------------------------------------------------------------------------------------------


def of_documents(artifact: Artifact) -> dict[str, Any]:
    """Documents by source, and a few examples."""
    shown: dict[str, Any] = {}
    by_source = artifact.counts.get("by_source", {})
    if by_source:
        rows = [{"source": name, **_row(counts)} for name, counts in by_source.items()]
        shown["by source"] = table(rows)
    if artifact.fragments:
        names = ("text", "source", "lang", "license", "source_id")
        frame = pl.concat([_head(artifact, fragment, names, 3) for fragment in across_sources(artifact.fragments)])
        shown["sample"] = table([{**row, "text": excerpt(row["text"])} for row in frame.head(8).to_dicts()])
    return shown


def of_decisions(artifact: Artifact, raw: Artifact, rules: Sequence[Reason], settings: StageSettings) -> dict[str, Any]:
    """The effect of a curation stage: removals by reason and source, its signals, samples removed and kept."""
    counts = artifact.counts
    shown: dict[str, Any] = {
        "documents in": MetadataValue.int(counts["in"]),
        "kept": MetadataValue.int(counts["kept"]),
        "removed": MetadataValue.int(counts["in"] - counts["kept"]),
        "removed by reason": removals(counts, rules),
    }
    by_source = counts.get("by_source", {})
    if by_source:
        shown["by source"] = table([_source_row(name, source) for name, source in by_source.items()])
    if counts.get("edits"):
        shown["edits by label"] = table([{"label": name, "edits": number} for name, number in counts["edits"].items()])
    if counts["removed"] and by_source:
        shown["removed, by source and reason"] = picture(_removals_chart(by_source))
    frame = _decisions(artifact, raw)
    drawn = signals.drawing(frame, rules, settings)
    if drawn is not None:
        shown["signals"] = picture(drawn)
    for label, condition in (("sample removed", ~pl.col("keep")), ("sample kept", pl.col("keep"))):
        samples = _samples_by_reason(frame.filter(condition))
        if samples:
            shown[label] = table(samples)
    return shown


def removals(counts: Mapping[str, Any], reasons: Iterable[Reason]) -> TableMetadataValue:
    """Removed documents by reason. An artifact of older code may have a reason that no longer exists."""
    documents, words = max(counts["in"], 1), meanings_of(reasons)
    rows = [
        {"reason": name, "documents": number, "share": number / documents, "meaning": words.get(name, "")}
        for name, number in sorted(counts["removed"].items(), key=lambda pair: -pair[1])
    ]
    return table(rows, ("reason", "documents", "share", "meaning"))


def _source_row(name: str, counts: Mapping[str, Any]) -> dict[str, Any]:
    reasons = ", ".join(f"{reason} {number}" for reason, number in counts.get("removed", {}).items())
    row = {"source": name, "in": counts["in"], "kept": counts["kept"], "removed": counts["in"] - counts["kept"]}
    return {**row, "reasons": reasons}


def _decisions(artifact: Artifact, raw: Artifact) -> pl.DataFrame:
    """Rows of a few fragments: decisions with the start of the document's text."""
    frames = []
    for fragment in across_sources(artifact.fragments):
        decided = pl.read_parquet(artifact.table(fragment))
        texts = pl.read_parquet(raw.table(fragment), columns=["source", "lang", "text"])
        texts = texts.with_columns(pl.col("text").str.slice(0, 4 * EXCERPT))
        frames.append(decided.hstack(texts.rename({"lang": "declared_lang"})).filter(pl.col("keep").is_not_null()))
    return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame(schema=DECISION_SCHEMA)


def _samples_by_reason(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """A few rows for each of several reasons."""
    if frame.is_empty():
        return []
    samples = frame.group_by("reason", maintain_order=True).head(2).head(2 * SAMPLES)
    extra = [name for name in ("label", "confidence", "kept_id", "jaccard", "item", "span") if name in frame.columns]
    score = ["score"] if samples["score"].drop_nulls().len() else []
    ids = [name for name in ("doc_id", "kept_id") if name in samples.columns]
    samples = samples.with_columns(pl.col(ids).str.slice(0, ID))  # longer ones would leave the text no room
    rows = samples.select("text", "reason", *score, "source", *extra, "doc_id").to_dicts()
    return [{**row, "text": excerpt(row["text"])} for row in rows]


def excerpt(text: str, length: int = EXCERPT) -> str:
    """The start of a text on one line, with anything that looks like personal data masked."""
    shown = masked(" ".join(text[: 4 * length].split()))
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def masked(text: str) -> str:
    """Text with e-mail addresses and long numbers (telephone, card, identity) masked.

    Deliberately cruder than the stage `personal_data_edits`: it is cheap, and may mask too much.
    """
    return _series_masked(pl.Series([text]))[0]


def _series_masked(texts: pl.Series) -> pl.Series:
    hidden = texts.str.replace_all(r"[\w.+%-]+@[\w-]+(\.[\w-]+)+", "<e-mail>")
    return hidden.str.replace_all(r"\+?\d[\d\-. ()]{6,}\d", "<number>")


def across_sources(fragments: list[str]) -> list[str]:
    """A few fragments, of as many sources as possible."""
    by_source: dict[str, list[str]] = {}
    for fragment in fragments:
        by_source.setdefault(fragment.rpartition("-")[0], []).append(fragment)
    first = [names[0] for names in by_source.values()]
    rest = [name for names in by_source.values() for name in names[1:]]
    return (first + rest)[: max(FRAGMENTS_READ, len(first)) if len(first) <= 12 else 12]


def _head(artifact: Artifact, fragment: str, columns: Sequence[str], rows: int) -> pl.DataFrame:
    return pl.read_parquet(artifact.table(fragment), columns=list(columns), n_rows=rows)


def _row(counts: Mapping[str, Any]) -> dict[str, Any]:
    """A table row of `counts`: what is nested in words, long texts (digests, mostly) by their beginning."""
    return {name: value if isinstance(value, int | float) else _in_words(value) for name, value in counts.items()}


def _in_words(value: Any) -> str:
    """`gopher_short 3, markup 20`; `a, b`; nothing for what is empty."""
    if isinstance(value, Mapping):
        value = ", ".join(f"{name} {_in_words(inner)}" for name, inner in value.items())
    elif isinstance(value, list | tuple):
        value = ", ".join(map(_in_words, value))
    text = "" if value is None else f"{rounded(value):,}" if isinstance(value, int | float) else str(value)
    return text if len(text) <= CELL else text[: CELL - 1] + "…"


# -- tokens, models, evaluation ---------------------------------------------------------------------------------------


def of_facts(artifact: Artifact) -> dict[str, Any]:
    """The counts and facts of the manifest: plain values by name, mappings as tables."""
    shown: dict[str, Any] = {}
    for name, value in {**artifact.counts, **artifact.facts}.items():
        label = name.replace("_", " ")
        if isinstance(value, float) and math.isfinite(value):
            shown[label] = MetadataValue.float(float(rounded(value)))
        elif isinstance(value, bool | int | float | str):
            shown[label] = value
        elif isinstance(value, dict) and value and all(isinstance(item, int | float) for item in value.values()):
            shown[label] = table([{label: key, "value": item} for key, item in value.items()])
        elif isinstance(value, dict) and value and all(isinstance(item, dict) for item in value.values()):
            shown[label] = table([{label: key, **_row(item)} for key, item in value.items()])
        elif value not in (None, {}, []):
            shown[label] = MetadataValue.json(value)
    return shown


def bar_chart(values: Mapping[str, float], label: str) -> Any:
    figure, axes = figure_of(1, 1, height=0.6 + 0.28 * max(len(values), 2))
    axes[0].barh(list(values), list(values.values()), color=KEPT)
    axes[0].invert_yaxis()
    axes[0].set_xlabel(label)
    return figure


def _removals_chart(by_source: Mapping[str, Mapping[str, Any]]) -> Any:
    """One bar per source, divided by reason."""
    sources = sorted(by_source, key=lambda name: by_source[name]["kept"] - by_source[name]["in"])[:20]
    reasons = sorted({reason for source in sources for reason in by_source[source].get("removed", {})})
    # The list of reasons stands beside the bars, and must fit as well.
    figure, axes = figure_of(1, 1, height=max(1.0 + 0.3 * len(sources), 0.4 + 0.17 * len(reasons)))
    from matplotlib import colormaps

    left = [0.0] * len(sources)
    for index, reason in enumerate(reasons):
        counts = [by_source[source] for source in sources]
        share = [count.get("removed", {}).get(reason, 0) / max(count["in"], 1) for count in counts]
        axes[0].barh(sources, share, left=left, label=reason, color=colormaps["tab20"](index % 20))
        left = [start + width for start, width in zip(left, share, strict=True)]
    axes[0].invert_yaxis()
    axes[0].set_xlabel("share of the documents that reached this stage")
    axes[0].legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def png(figure: Any) -> bytes:
    """The figure as a PNG of less than 200 kB, at a lower resolution if necessary."""
    for dots in (96, 72, 50, 36):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dots, metadata={"Software": None})
        if buffer.tell() <= LARGEST_PICTURE:
            break
    return buffer.getvalue()


def picture(figure: Any) -> MarkdownMetadataValue:
    """A figure as an inline picture."""
    return MetadataValue.md(f"![picture](data:image/png;base64,{base64.b64encode(png(figure)).decode()})")

"""The checks of artifacts: conditions that one must meet before anything is made from it, and one that only warns.

Each check returns a problem in one sentence ("" if it passed) and the figures that it examined. Checks read manifests,
column statistics and a few rows, never the full text.
"""

import math
from collections.abc import Mapping
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from assets import display
from assets.asset import Check
from pipeline.curation.stages import decision_assets
from pipeline.evaluation.report import figures_of
from pipeline.graph import CURATED, Project
from pipeline.inspect import planted
from pipeline.store.artifact import Artifact

Answer = tuple[str, Mapping[str, Any]]
ROUND_TRIP_TEXTS = 200
# The sample that is read for personal data: some five CPU-seconds.
SAMPLED_TEXTS, SAMPLED_FRAGMENTS, SAMPLED_CHARACTERS = 200, 20, 4_000


def not_empty(project: Project, artifact: Artifact) -> Answer:
    rows = display.rows_in(artifact)
    return ("" if rows else f"{artifact.asset} has no rows"), {"rows": rows, "tables": len(artifact.fragments)}


def files_complete(project: Project, artifact: Artifact) -> Answer:
    """Every file of the manifest exists with its recorded size, and at least one is not empty."""
    files = artifact.manifest["files"]
    wrong = [
        name
        for name, entry in files.items()
        if not artifact.place(name).exists() or artifact.place(name).stat().st_size != entry["bytes"]
    ]
    size = sum(entry["bytes"] for entry in files.values())
    problem = f"missing or changed: {', '.join(wrong[:5])}" if wrong else "" if size else "all files are empty"
    return problem, {"files": len(files), "bytes": size}


def sources_all_there(project: Project, artifact: Artifact) -> Answer:
    """Every source of the recipe has documents."""
    by_source = artifact.counts.get("by_source", {})
    counts = {name: source.get("kept", source.get("in", 0)) for name, source in by_source.items()}
    missing = [source.name for source in project.recipe.sources if not counts.get(source.name)]
    return (f"no documents from {', '.join(missing)}" if missing else ""), {"documents by source": counts}


def adds_up(project: Project, artifact: Artifact) -> Answer:
    """Documents in = kept + removed, and in = kept by the previous stage."""
    counts = artifact.counts
    removed = sum(counts["removed"].values())
    figures = {"in": counts["in"], "kept": counts["kept"], "removed": removed}
    if counts["in"] != counts["kept"] + removed:
        return f"{counts['in']} documents in, but {counts['kept']} kept and {removed} removed", figures
    before = _stage_before(project, artifact.asset)
    if before is not None:
        kept = before.counts.get("kept", before.counts.get("in"))
        if kept is not None and before.asset != "raw_documents" and kept != counts["in"]:
            return f"{before.asset} kept {kept} documents, but {counts['in']} were examined here", figures
    return "", figures


def one_row_a_document(project: Project, artifact: Artifact) -> Answer:
    """One decision for each raw document, in tables of the same names and lengths."""
    raw = project["raw_documents"]
    wrong = [name for name in raw.fragments if name not in artifact.fragments]
    wrong += [name for name in artifact.fragments if name not in wrong and _rows(artifact, name) != _rows(raw, name)]
    problem = f"tables without one row for each raw document: {', '.join(wrong[:5])}" if wrong else ""
    return problem, {"tables": len(artifact.fragments), "wrong": len(wrong)}


def _rows(artifact: Artifact, fragment: str) -> int | None:
    entry = artifact.manifest["files"].get(f"{fragment}.parquet")
    return None if entry is None else entry["rows"]


def _stage_before(project: Project, name: str) -> Artifact | None:
    """The decisions that a stage starts from: those of the previous stage, or of the last one for curated documents."""
    inputs = project.nodes[name].inputs
    before = list(inputs)[-1] if name == CURATED else inputs.get("previous")
    return project.store.current(before) if before else None


def no_personal_data_left(project: Project, artifact: Artifact) -> Answer:
    """What every recogniser finds, unscreened, in a sample of curated text: counts by kind, no value."""
    from pipeline.curation.personal_data.personal_data import STAGE, Settings
    from pipeline.curation.personal_data.unscreened import counts_by_kind

    settings = project.recipe.curation.of(STAGE)
    assert isinstance(settings, Settings)
    if not settings.enabled:
        return "", {"texts": 0}
    fragments = artifact.fragments
    spread = fragments[:: max(1, len(fragments) // SAMPLED_FRAGMENTS)][:SAMPLED_FRAGMENTS]
    each = -(-SAMPLED_TEXTS // max(1, len(spread)))
    parts = [pl.read_parquet(artifact.table(name), columns=["text"]) for name in spread]
    # The documents of a fragment are in the order of a hash, so its first ones are a sample.
    texts = pl.concat([part["text"].head(each).str.head(SAMPLED_CHARACTERS) for part in parts])
    found = counts_by_kind(texts, settings)
    kinds = ", ".join(f"{count} {label}" for label, count in found.items())
    problem = f"found in {len(texts)} sampled texts: {kinds}" if found else ""
    return problem, {"texts": len(texts), **{f"found: {label}": count for label, count in found.items()}}


def round_trip(project: Project, artifact: Artifact) -> Answer:
    """Encoding and decoding reproduces a few hundred curated documents, and text that looks like special tokens."""
    from pipeline.tokens import tokenizer

    documents = project["curated_documents"]
    texts: list[str] = []
    for fragment in documents.fragments[:4]:
        frame = pl.read_parquet(documents.table(fragment), columns=["text"], n_rows=ROUND_TRIP_TEXTS // 4)
        texts += [text[:2000] for text in frame["text"]]
    texts += ["", " ", "  two  spaces \n\n and a\ttab ", "한국어와 English 😀", "<bos><|im_start|>"]
    loaded = tokenizer.load(artifact.local_directory())
    wrong = [text for text, ids in zip(texts, loaded.encode(texts), strict=True) if loaded.decode(ids) != text]
    problem = f"{len(wrong)} of {len(texts)} texts are not reproduced, the first: {wrong[0][:80]!r}" if wrong else ""
    return problem, {"texts": len(texts), "vocabulary": loaded.vocab_size}


def no_shard_empty(project: Project, artifact: Artifact) -> Answer:
    empty = [name for name in tables(artifact) if not display.rows_of(artifact, name)]
    problem = f"empty shards: {', '.join(empty[:5])}" if empty else "" if tables(artifact) else "there is no shard"
    return problem, {"shards": len(tables(artifact)), "empty": len(empty)}


def ids_within_vocabulary(project: Project, artifact: Artifact) -> Answer:
    """The smallest and largest token id are in the vocabulary, according to Parquet's column statistics."""
    from pipeline.tokens import tokenizer

    vocabulary = tokenizer.load(project["tokenizer"].local_directory()).vocab_size
    extremes = [_extremes(artifact, name) for name in tables(artifact)]
    low = min((lowest for lowest, _ in extremes), default=0)
    high = max((highest for _, highest in extremes), default=0)
    problem = "" if low >= 0 and high < vocabulary else f"token ids {low} to {high} in a vocabulary of {vocabulary}"
    return problem, {"smallest id": low, "largest id": high, "vocabulary": vocabulary}


def suffixes_in_order(project: Project, artifact: Artifact) -> Answer:
    """In a sample of each part, every suffix comes before the next."""
    from pipeline.trace.index import problem_in

    wrong = [problem for name in artifact.facts["parts"] if (problem := problem_in(artifact, name))]
    return "; ".join(wrong[:5]), {"parts": len(artifact.facts["parts"])}


def tables(artifact: Artifact) -> list[str]:
    """Names of all Parquet files with tokens, in all subfolders."""
    names = [name for name in artifact.manifest["files"] if name.endswith(".parquet")]
    return [name for name in names if "tokens" in pl.read_parquet_schema(artifact.file(name))]


def _extremes(artifact: Artifact, name: str) -> tuple[int, int]:
    metadata = pq.read_metadata(artifact.file(name))
    index = next(i for i in range(metadata.num_columns) if metadata.schema.column(i).path.startswith("tokens"))
    statistics = [metadata.row_group(group).column(index).statistics for group in range(metadata.num_row_groups)]
    if statistics and all(group is not None and group.has_min_max for group in statistics):
        return min(group.min for group in statistics), max(group.max for group in statistics)
    tokens = pl.scan_parquet(artifact.file(name)).select(pl.col("tokens").explode())
    low, high = tokens.select(pl.min("tokens").alias("low"), pl.max("tokens").alias("high")).collect().row(0)
    return int(low or 0), int(high or 0)


def learned(project: Project, artifact: Artifact) -> Answer:
    """Every loss is finite, and the mean of the last tenth is below the first loss."""
    log = pl.read_parquet(artifact.file("log.parquet"), columns=["loss"]).drop_nulls()
    losses = log["loss"]
    if losses.is_empty():
        return "the training log is empty", {}
    tenth = max(1, len(losses) // 10)
    first, last = float(losses[0]), float(losses.tail(tenth).mean() or 0.0)  # type: ignore[arg-type]
    figures = {"first loss": first, "mean of the last tenth": last, "steps": len(losses)}
    if not losses.is_finite().all():
        return "the loss is not finite at some step", figures
    if len(losses) > 1 and last >= first:
        return f"the loss did not fall: {first:.4f} at first, {last:.4f} at the end", figures
    return "", figures


def finite(project: Project, artifact: Artifact) -> Answer:
    """Every loss is finite (a preference loss need not fall)."""
    losses = pl.read_parquet(artifact.file("log.parquet"), columns=["loss"]).drop_nulls()["loss"]
    all_finite = bool(losses.is_finite().all())
    return ("" if all_finite else "the loss is not finite at some step"), {"steps": len(losses)}


def figures_are_numbers(project: Project, artifact: Artifact) -> Answer:
    """Every figure of the report is finite."""
    known = figures_of(artifact)
    wrong = [name for name, value in known.items() if not math.isfinite(value)]
    return (f"not finite: {', '.join(wrong[:5])}" if wrong else ""), {"figures": len(known)}


def found_of_planted(project: Project) -> planted.Findings:
    """What the stages found of what the generated sources planted."""
    recipe = project.recipe
    sources = [source.name for source in recipe.sources if source.kind == "generated"]
    return planted.of_store(project.store, decision_assets(recipe.curation), sources)


def planted_is_found(project: Project, artifact: Artifact) -> Answer:
    """Everything that the generated sources planted was found by the stage that it was planted for."""
    found = found_of_planted(project)
    missed = {one.kind: len(one.missed) for one in found.kinds if one.missed}
    problem = "not found: " + ", ".join(f"{count} of {kind}" for kind, count in missed.items()) if missed else ""
    return problem, {one.kind: f"{one.found} of {one.planted}, {one.removed_before} gone before" for one in found.kinds}


def nothing_wrongly_taken(project: Project, artifact: Artifact) -> Answer:
    """No stage took a document, or a part of one, in which nothing was planted for it."""
    taken = {stage: ids for stage, ids in found_of_planted(project).wrongly_taken.items() if ids}
    problem = "; ".join(f"{stage} took {', '.join(ids[:5])}" for stage, ids in taken.items())
    return problem, {stage: len(ids) for stage, ids in taken.items()}


ADDS_UP = Check("adds_up", "Documents in = kept + removed, and in = kept by the previous stage", adds_up)
ONE_ROW = Check("one_row_a_document", "One decision for each raw document, table by table", one_row_a_document)
NOT_EMPTY = Check("not_empty", "There is at least one row", not_empty)
FILES_COMPLETE = Check("files_complete", "Every file exists with its recorded size", files_complete)
SOURCES = Check("sources_all_there", "Every source of the recipe has documents", sources_all_there)
NO_PERSONAL_DATA = Check(
    "no_personal_data_left",
    "All recognisers of personal data, on a sample of whole texts without the search for candidates, find none",
    no_personal_data_left,
    blocking=False,
    slow=True,
)
ROUND_TRIP = Check("round_trip", "Encoding and decoding a text reproduces it", round_trip)
NO_SHARD_EMPTY = Check("no_shard_empty", "Every shard has documents", no_shard_empty)
IDS = Check("ids_within_vocabulary", "Every token id is one of the tokenizer's", ids_within_vocabulary)
IN_ORDER = Check("suffixes_in_order", "A sample of each part of the index is in order", suffixes_in_order)
LEARNED = Check("learned", "The loss is finite, and lower at the end than at the start", learned)
FINITE = Check("finite", "The loss is finite at every step", finite)
NUMBERS = Check("figures_are_numbers", "Every figure of the report is finite", figures_are_numbers)
PLANTED = Check("planted_is_found", "The stages found all that was planted for them", planted_is_found, False)
NOT_WRONGLY = Check(
    "nothing_wrongly_taken", "No stage took anything of a made-up document that was not planted for it",
    nothing_wrongly_taken, False,
)  # fmt: skip

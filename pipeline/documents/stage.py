"""Running a curation stage: a by-fragment stage is two functions, and everything else about it is here, once.

`signals` reads text and is expensive; it is a pure function of each document's text. `decide` turns signals into
decisions and is cheap. The signals stand in the decision table as columns, so they are remembered with it: a changed
threshold runs `decide` alone, and a change upstream that lets more documents through computes signals only for them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from pipeline import own_code
from pipeline.context import Inputs, RunContext
from pipeline.documents.document import DECISION_SCHEMA, mask_digest
from pipeline.documents.execution import ExecutionSettings
from pipeline.documents.fragment_tables import TableTask, make_tables
from pipeline.documents.reasons import Reason, meanings_of
from pipeline.documents.view import Documents
from pipeline.errors import UserError
from pipeline.settings import StageSettings
from pipeline.store.artifact import Artifact, digest
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table

Signals = Callable[[pl.DataFrame, Any, dict[str, Path]], pl.DataFrame]
Decide = Callable[[pl.DataFrame, Any], pl.DataFrame]
Make = Callable[[RunContext, Inputs, Any], Artifact]


@dataclass(frozen=True)
class TrainedFilter:
    """A small model that a stage judges by; made just before the stage, of what the stages before it kept."""

    name: str  # of the asset
    version: str
    description: str
    kinds: tuple[str, ...]
    make: Make  # inputs: raw_documents, previous; settings: those of the stage


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What every curation stage declares. Its place among the others stands in `pipeline/curation/stages.py`."""

    name: str  # of the asset
    settings: type[StageSettings]
    version: str  # of the code; a change of behaviour changes it
    description: str  # one or two sentences for a person who looks at the graph
    rules: Sequence[Reason]  # every reason for which a document can be removed; a Rule also says where it cuts
    block: str = ""  # of the recipe under `curation`; a person's own stage has none
    kinds: tuple[str, ...] = ("python", "polars", "parquet")  # labels in Dagster
    after: tuple[str, ...] = ()  # blocks of the stages that have to come before this one
    inputs: tuple[str, ...] = ()  # artifacts that it is given beside raw documents and the stage before
    filters: tuple[TrainedFilter, ...] = ()
    file: str = ""  # of a person's own stage; set when it is loaded

    @property
    def reasons(self) -> dict[str, str]:
        """What each reason means, in plain words."""
        return meanings_of(self.rules)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A worker process cannot import a person's own file by a module's name, so it loads it again. What is sent
        # after the stage, such as its settings, then finds the module.
        return (own_stage, (self.file,)) if self.file else super().__reduce_ex__(protocol)

    def make(self, context: RunContext, inputs: Inputs, settings: Any) -> Artifact:
        """The decisions on every document. inputs: raw_documents, `previous` unless it is the first, and its own."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class FragmentStage(Stage):
    """A stage that judges each document by itself."""

    signals: Signals
    decide: Decide
    signal_settings: tuple[str, ...] = ()  # settings that `signals` reads; all others are thresholds

    def make(self, context: RunContext, inputs: Inputs, settings: Any) -> Artifact:
        return run_stage(self, context, inputs, settings)


@dataclass(frozen=True, kw_only=True)
class CorpusStage(Stage):
    """A stage that compares documents with one another, or with something else, in its own way."""

    run: Make

    def make(self, context: RunContext, inputs: Inputs, settings: Any) -> Artifact:
        return self.run(context, inputs, settings)


def own_stage(file: str) -> Stage:
    """The stage that a person's own file defines as `STAGE`. Its code version holds the hash of the file.

    Raises UserError where the file cannot be loaded or defines something else.
    """
    path = Path(file)
    found = own_code.load(path, ("STAGE",)).STAGE
    if not isinstance(found, Stage) or not issubclass(found.settings, StageSettings):
        raise UserError(
            f"`STAGE` in {path} has to be a FragmentStage of pipeline.documents.stage, with settings that are a "
            "subclass of pipeline.settings.StageSettings."
        )
    return replace(found, block="", file=file, version=f"{found.version}+{own_code.digest_of(path)[:16]}")


def stage_inputs(inputs: Inputs) -> tuple[Documents, dict[str, Artifact | str]]:
    """The documents that the stage before left, and how the manifest of what is made of them names its inputs."""
    raw, previous = inputs["raw_documents"], inputs.get("previous")
    named: dict[str, Artifact | str] = {"raw_documents": raw}
    if previous is not None:
        named[previous.asset] = previous
    return Documents(raw, previous), named


def run_stage(stage: FragmentStage, context: RunContext, inputs: Inputs, settings: StageSettings) -> Artifact:
    """The decisions of `stage` on every fragment of the raw documents, after those of the stage before."""
    documents, named = stage_inputs(inputs)
    models = {filter.name: inputs[filter.name] for filter in stage.filters}

    def build(draft: Draft) -> None:
        decide_by_fragment(stage, draft, documents, settings, context.execution, models)
        draft.counts = total_counts(draft.entries)
        refuse_to_remove_all(stage.name, draft.counts)

    return context.store.make(
        stage.name,
        code_version=stage.version,
        settings=settings.model_dump(mode="json"),
        inputs={**named, **models},
        build=build,
        log=context.log,
    )


def decide_by_fragment(
    stage: FragmentStage,
    draft: Draft,
    documents: Documents,
    settings: StageSettings,
    execution: ExecutionSettings,
    models: dict[str, Artifact],
) -> None:
    """Write the decision table of each fragment into the draft, remembered ones without reading any text."""
    all_settings = settings.model_dump(mode="json")
    about_signals = {
        "stage": stage.name,
        "version": stage.version,
        "settings": {name: all_settings[name] for name in stage.signal_settings},
        "models": {name: model.digest for name, model in models.items()},
    }
    model_paths = {name: model.local_directory() for name, model in models.items()}

    def wanted(fragment: str) -> TableTask:
        signals_key = digest({"raw": documents.key(fragment)["raw"], **about_signals})
        key = {**documents.key(fragment), "signals": signals_key, "settings": all_settings}

        def task(target: Path) -> tuple[Any, ...]:
            remembered = draft.earlier_part(fragment, "signals", signals_key)
            return stage, documents.only(fragment), fragment, settings, model_paths, remembered, target

        parts = {"signals": signals_key} if settings.enabled else None
        return TableTask(fragment, key, 4 * documents.bytes(fragment), task, parts)

    make_tables(draft, map(wanted, documents.fragments), decide_fragment, execution, stage.name)


def decide_fragment(
    stage: FragmentStage,
    documents: Documents,
    fragment: str,
    settings: StageSettings,
    models: dict[str, Path],
    remembered: Path | None,
    target: Path,
) -> tuple[int, dict[str, Any]]:
    """Decide one fragment and write its table; returns (rows, facts). Runs in a worker."""
    if settings.enabled:
        frame = documents.read(fragment)
        kept = frame["kept"]
        with own_code.failures_of(stage.file, f"on the table {fragment}"):
            signals = _signals(stage, frame.drop("kept"), kept, settings, models, remembered)
            chosen = stage.decide(signals.filter(kept), settings)
        check_reasons(stage, chosen)
        table = decision_table(frame["doc_id"], kept, chosen, signals)
    else:
        frame = documents.read(fragment, ["doc_id"])
        table = decision_table(frame["doc_id"], frame["kept"])
    write_table(table, target)
    return table.height, decision_facts(table, documents.source(fragment))


def check_reasons(stage: Stage, chosen: pl.DataFrame) -> None:
    """UserError where a decision gives a reason that the stage does not declare: nobody could say what it means."""
    given = chosen["reason"].drop_nulls().unique().sort().to_list() if "reason" in chosen.columns else []
    for reason in given:
        if reason not in stage.reasons:
            raise UserError(
                f"`{stage.name}` removes documents as `{reason}`, which it does not declare: add a rule or a reason of "
                "this name to its `rules`."
            )


def _signals(
    stage: FragmentStage,
    frame: pl.DataFrame,
    kept: pl.Series,
    settings: StageSettings,
    models: dict[str, Path],
    remembered: Path | None,
) -> pl.DataFrame:
    """Signals for every row that is left (null elsewhere), computed only where they are not remembered."""
    earlier = None if remembered is None else pl.read_parquet(remembered)
    wanted = kept if earlier is None else kept & earlier["keep"].is_null()
    computed = stage.signals(frame.filter(wanted), settings, models)
    if computed.height != int(wanted.sum()):
        raise ValueError(f"{stage.name}: signals for {computed.height} rows of {int(wanted.sum())}")
    spread = scatter(computed, wanted)
    if earlier is None:
        return spread
    return spread.select(
        earlier[name].zip_with(earlier["keep"].is_not_null(), spread[name]).alias(name) for name in spread.columns
    )


def decision_table(
    doc_ids: pl.Series, kept: pl.Series, chosen: pl.DataFrame | None = None, signals: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The decision table of a fragment.

    doc_ids, kept: one value a row of the fragment. chosen: one row a *kept* row, with `keep` and any of `reason`,
    `score`, `edits` (None: all are kept). signals: further columns, one row a row of the fragment.
    """
    if chosen is None:
        chosen = pl.DataFrame({"keep": pl.repeat(True, int(kept.sum()), dtype=pl.Boolean, eager=True)})
    missing = [
        pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in DECISION_SCHEMA.items()
        if name != "doc_id" and name not in chosen.columns
    ]
    core = chosen.with_columns(missing).select(
        pl.col(name).cast(dtype) for name, dtype in DECISION_SCHEMA.items() if name != "doc_id"
    )
    table = scatter(core, kept).insert_column(0, doc_ids.alias("doc_id"))
    return table if signals is None else table.hstack(signals)


def scatter(rows: pl.DataFrame, where: pl.Series) -> pl.DataFrame:
    """Put `rows` at the places where `where` is true; all other places are null."""
    if where.all():
        return rows
    place = pl.when(where).then(where.cast(pl.Int64).cum_sum() - 1).otherwise(None)
    return rows.select(pl.all().gather(pl.select(place).to_series()))


def decision_facts(table: pl.DataFrame, source: str) -> dict[str, Any]:
    """The small figures of a decision table that stand in the manifest."""
    kept = table["keep"].fill_null(False)
    removed = table.filter(~pl.col("keep")).group_by("reason").len().sort("reason")
    labels = table.filter("keep").select(pl.col("edits").explode(empty_as_null=False)).drop_nulls()
    facts: dict[str, Any] = {
        "source": source,
        "in": table.height - table["keep"].null_count(),
        "kept": int(kept.sum()),
        "removed": dict(removed.iter_rows()),
        "mask": mask_digest(kept),
    }
    if labels.height:
        by_label = labels.select(pl.col("edits").struct.field("label")).to_series().value_counts().sort("label")
        facts["edits"] = dict(by_label.iter_rows())
        edited = table.select(pl.int_range(pl.len()).alias("row"), "keep", "edits").filter("keep")
        rows = edited.filter(pl.col("edits").list.len() > 0).select("row", "edits")
        facts["edits_digest"] = hashlib.sha256(rows.write_ndjson().encode()).hexdigest()
    return facts


def total_counts(entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Counts of a stage, summed over its fragments: in, kept, removed by reason, edits by label; also by source."""
    total: dict[str, Any] = _sum(entry["facts"] for entry in entries.values() if "mask" in entry["facts"])
    by_source: dict[str, list[dict[str, Any]]] = {}
    for entry in entries.values():
        if "mask" in entry["facts"]:
            by_source.setdefault(entry["facts"]["source"], []).append(entry["facts"])
    total["by_source"] = {source: _sum(facts) for source, facts in sorted(by_source.items())}
    return total


def _sum(facts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    documents_in = kept = 0
    removed: Counter[str] = Counter()
    edits: Counter[str] = Counter()
    for fact in facts:
        documents_in += fact["in"]
        kept += fact["kept"]
        removed.update(fact["removed"])
        edits.update(fact.get("edits", {}))
    return {
        "in": documents_in,
        "kept": kept,
        "removed": dict(sorted(removed.items())),
        "edits": dict(sorted(edits.items())),
    }


def refuse_to_remove_all(asset: str, counts: dict[str, Any]) -> None:
    """A stage that leaves nothing is a mistake in the recipe, and what comes after it could only fail unclearly."""
    if counts["in"] and not counts["kept"]:
        worst = max(counts["removed"], key=lambda reason: counts["removed"][reason])
        raise UserError(
            f"`{asset}` removes all of the {counts['in']} documents that it is given, most of them as `{worst}` "
            f"({counts['removed'][worst]}): loosen this stage in the recipe, or switch it off with `enabled: false`."
        )

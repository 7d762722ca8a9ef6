"""Running curation stages. A stage that judges each document by itself is two functions; the rest is shared.

`signals` reads text and is expensive; it is a pure function of each document's text. `decide` turns signals into
decisions and is cheap. Signals are stored as columns of the decision table and so are remembered with it: after a
change of a threshold only `decide` runs, and if an upstream change lets more documents through, or a fragment has new
ones, signals are computed for these documents alone (known_rows.py).
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
from pipeline.documents.known_rows import EarlierVersions, Remembered, Rows, asset_names
from pipeline.documents.reasons import Reason, meanings_of
from pipeline.documents.view import LABEL, LANGUAGES, Documents
from pipeline.errors import UserError
from pipeline.settings import StageSettings
from pipeline.store.artifact import Artifact, digest, file_digest
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table

# Documents of a fragment whose worker was killed or crashed, with `execution.on_crash: skip`.
CRASHED = Reason("crashed_worker", "its fragment was set aside, since the process that judged it was killed or crashed")

Signals = Callable[[pl.DataFrame, Any, dict[str, Path]], pl.DataFrame]
Decide = Callable[[pl.DataFrame, Any], pl.DataFrame]
Make = Callable[[RunContext, Inputs, Any], Artifact]


@dataclass(frozen=True)
class TrainedFilter:
    """A small model that a stage judges by; trained just before the stage on what the previous stages kept."""

    name: str  # of the asset
    version: str
    description: str
    kinds: tuple[str, ...]
    make: Make  # inputs: raw_documents, previous; settings: those of the stage


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What every curation stage declares. `pipeline/curation/stages.py` holds the order of stages."""

    name: str  # of the asset
    settings: type[StageSettings]
    version: str  # of the code; a change of behaviour changes it
    description: str  # one or two sentences, shown in the graph
    rules: Sequence[Reason]  # every reason for removing a document; a Rule also has its condition
    block: str = ""  # of the recipe, under `curation`; a user's own stage has none
    kinds: tuple[str, ...] = ("python", "polars", "parquet")  # labels in Dagster
    after: tuple[str, ...] = ()  # blocks of the stages that have to precede this one
    inputs: tuple[str, ...] = ()  # its inputs in addition to raw documents and the previous stage
    filters: tuple[TrainedFilter, ...] = ()
    file: str = ""  # of a user's own stage; set when it is loaded

    @property
    def reasons(self) -> dict[str, str]:
        """What each reason means, in plain words."""
        return meanings_of((*self.rules, CRASHED))

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A worker process cannot import a user's own file by module name, so it loads the file again. Objects that are
        # unpickled after the stage, such as its settings, then find the module.
        return (own_stage, (self.file,)) if self.file else super().__reduce_ex__(protocol)

    def make(self, context: RunContext, inputs: Inputs, settings: Any) -> Artifact:
        """The decisions on every document. inputs: raw_documents, `previous` (if there is one), and its own."""
        raise NotImplementedError


def no_files(settings: Any) -> tuple[str, ...]:
    """The files of a stage that reads nothing but documents and its models."""
    return ()


@dataclass(frozen=True, kw_only=True)
class FragmentStage(Stage):
    """A stage that judges each document by itself."""

    signals: Signals
    decide: Decide
    signal_settings: tuple[str, ...] = ()  # settings that `signals` reads; all others are thresholds
    in_models: tuple[str, ...] = ()  # settings, such as paths, whose contents a trained filter holds; not recorded here
    # The settings' values that are paths of files that `signals` reads: their content counts, not their path.
    files: Callable[[Any], tuple[str, ...]] = no_files
    # Whether its signal `label` is the language of each document, which all later stages go by.
    finds_languages: bool = False

    def make(self, context: RunContext, inputs: Inputs, settings: Any) -> Artifact:
        return run_stage(self, context, inputs, settings)


@dataclass(frozen=True, kw_only=True)
class CorpusStage(Stage):
    """A stage that compares documents with one another or with something else, by a function of its own."""

    run: Make

    def make(self, context: RunContext, inputs: Inputs, settings: Any) -> Artifact:
        return self.run(context, inputs, settings)


def own_stage(file: str) -> Stage:
    """The stage that a user's own file defines as `STAGE`. Its code version includes the hash of the file.

    Raises UserError if the file cannot be loaded or `STAGE` is something else.
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
    """The documents that the previous stage kept, and the inputs to record in the manifest, by asset."""
    raw, previous, languages = inputs["raw_documents"], inputs.get("previous"), inputs.get("languages")
    named: dict[str, Artifact | str] = {"raw_documents": raw}
    for decisions in (previous, languages):
        if decisions is not None:
            named[decisions.asset] = decisions
    return Documents(raw, previous, languages), named


def run_stage(stage: FragmentStage, context: RunContext, inputs: Inputs, settings: StageSettings) -> Artifact:
    """The decisions of `stage` on every fragment of the raw documents, following those of the previous stage."""
    documents, named = stage_inputs(inputs)
    models = {filter.name: inputs[filter.name] for filter in stage.filters}

    def build(draft: Draft) -> None:
        decide_by_fragment(stage, draft, context, documents, settings, models)
        draft.counts = total_counts(draft.entries)
        refuse_to_remove_all(stage.name, draft.counts)

    return context.store.make(
        stage.name,
        code_version=stage.version,
        # What is set aside after a crash is not in the artifact, so one that may lack it is another artifact.
        settings={**identified(stage, settings), **on_crash(context.execution)},
        inputs={**named, **models},
        build=build,
        log=context.log,
    )


def identified(stage: FragmentStage, settings: StageSettings) -> dict[str, Any]:
    """The settings as they are part of an identity: in place of a file's path, the hash of its content.

    Raises UserError if a file is missing.
    """
    files = set(stage.files(settings)) if settings.enabled else set()
    for path in sorted(files):
        if not Path(path).is_file():
            raise UserError(f"There is no file {path}, which `curation.{stage.block}` names: correct the path.")
    dumped = settings.model_dump(mode="json", exclude=set(stage.in_models))
    return {
        name: f"file {file_digest(Path(value))}" if isinstance(value, str) and value in files else value
        for name, value in dumped.items()
    }


def on_crash(execution: ExecutionSettings) -> dict[str, str]:
    """What the settings of execution add to the identity of decisions: nothing unless fragments may be left out."""
    return {"on_crash": "skip"} if execution.on_crash == "skip" else {}


def decide_by_fragment(
    stage: FragmentStage,
    draft: Draft,
    context: RunContext,
    documents: Documents,
    settings: StageSettings,
    models: dict[str, Artifact],
) -> None:
    """Write the decision table of each fragment to the draft; remembered tables are linked without reading text."""
    all_settings = identified(stage, settings)
    given = {name: model.digest for name, model in models.items()}
    about_signals = signals_of(stage, stage.version, all_settings, given)
    model_paths = {name: model.local_directory() for name, model in models.items()}
    names = asset_names(documents) | given.keys()

    def fits(made: dict[str, Any]) -> bool:
        then = signals_of(stage, made["code_version"], made["settings"], made["inputs"])
        return made["inputs"].keys() == names and then == about_signals

    earlier = EarlierVersions(draft, context.store, documents, fits)

    def table_task(fragment: str) -> TableTask:
        signals_key = digest({**documents.content_key(fragment), **about_signals})
        key = {**documents.key(fragment), "signals": signals_key, "settings": all_settings}

        def arguments(target: Path) -> tuple[Any, ...]:
            part = draft.earlier_part(fragment, "signals", signals_key)
            remembered = earlier.remembered(fragment) if part is None else Remembered(part)
            return stage, documents.only(fragment), fragment, settings, model_paths, remembered, target

        parts = {"signals": signals_key} if settings.enabled else None
        return TableTask(fragment, key, 4 * documents.bytes(fragment), arguments, parts)

    def aside(task: TableTask, target: Path) -> tuple[int, dict[str, Any]]:
        return set_fragment_aside(stage, documents, task.name, settings, model_paths, target)

    make_tables(draft, map(table_task, documents.fragments), decide_fragment, context.execution, stage.name, aside)


def signals_of(stage: FragmentStage, version: str, settings: dict[str, Any], inputs: dict[str, str]) -> dict[str, Any]:
    """What the stage's signals depend on in addition to their rows. inputs: digests, of its models at least."""
    return {
        "stage": stage.name,
        "version": version,
        "settings": {name: settings[name] for name in stage.signal_settings if name in settings},
        "models": {filter.name: inputs.get(filter.name) for filter in stage.filters},
    }


def decide_fragment(
    stage: FragmentStage,
    documents: Documents,
    fragment: str,
    settings: StageSettings,
    models: dict[str, Path],
    remembered: Remembered | None,
    target: Path,
) -> tuple[int, dict[str, Any]]:
    """Decide on the documents of one fragment and write the table; returns (rows, facts). Runs in a worker."""
    if settings.enabled:
        rows = Rows(documents, fragment, remembered)
        earlier = rows.earlier()
        with own_code.failures_of(stage.file, f"on the table {fragment}"):
            signals = _signals(stage, rows, rows.kept, settings, models, earlier)
            chosen = stage.decide(signals.filter(rows.kept), settings)
        check_reasons(stage, chosen)
        table = decision_table(rows.plain["doc_id"], rows.kept, chosen, signals)
    else:
        frame = documents.read(fragment, ["doc_id"])
        table = decision_table(frame["doc_id"], frame["kept"])
    write_table(table, target)
    facts = decision_facts(table, documents.source(fragment))
    if stage.finds_languages and settings.enabled:
        facts[LANGUAGES] = digest(table[LABEL].to_list())
    return table.height, facts


def set_fragment_aside(
    stage: FragmentStage,
    documents: Documents,
    fragment: str,
    settings: StageSettings,
    models: dict[str, Path],
    target: Path,
) -> tuple[int, dict[str, Any]]:
    """Write decisions that remove all documents of a fragment, because its worker died; returns (rows, facts)."""
    rows = Rows(documents, fragment, None)
    none = pl.repeat(False, len(rows.kept), dtype=pl.Boolean, eager=True)
    signals = _signals(stage, rows, none, settings, models, None)  # columns without a value
    count = int(rows.kept.sum())
    columns = {"keep": pl.repeat(False, count, eager=True), "reason": pl.repeat(CRASHED.name, count, eager=True)}
    removed = pl.DataFrame(columns, schema={"keep": pl.Boolean, "reason": pl.String})
    table = decision_table(rows.plain["doc_id"], rows.kept, removed, signals)
    write_table(table, target)
    return table.height, decision_facts(table, documents.source(fragment))


def check_reasons(stage: Stage, chosen: pl.DataFrame) -> None:
    """Raises UserError if a decision gives a reason that the stage does not declare, whose meaning would be unknown."""
    given = chosen["reason"].drop_nulls().unique().sort().to_list() if "reason" in chosen.columns else []
    for reason in given:
        if reason not in stage.reasons:
            raise UserError(
                f"`{stage.name}` removes documents as `{reason}`, which it does not declare: add a rule or a reason of "
                "this name to its `rules`."
            )


def _signals(
    stage: FragmentStage,
    rows: Rows,
    kept: pl.Series,
    settings: StageSettings,
    models: dict[str, Path],
    earlier: pl.DataFrame | None,
) -> pl.DataFrame:
    """Signals for every kept row (null elsewhere), computed only where `earlier`, its rows of a version before, has
    none."""
    missing = kept if earlier is None else kept & earlier["keep"].is_null()
    computed = stage.signals(rows.frame(missing), settings, models)
    if computed.height != int(missing.sum()):
        raise ValueError(f"{stage.name}: signals for {computed.height} rows of {int(missing.sum())}")
    spread = scatter(computed, missing)
    if earlier is None:
        return spread
    known = kept & earlier["keep"].is_not_null()  # what is removed by now has no signals, as in a run from nothing
    return spread.select(earlier[name].zip_with(known, spread[name]).alias(name) for name in spread.columns)


def decision_table(
    doc_ids: pl.Series, kept: pl.Series, chosen: pl.DataFrame | None = None, signals: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The decision table of a fragment.

    doc_ids, kept: one value per row of the fragment. chosen: one row per *kept* row, with `keep` and any of `reason`,
    `score`, `edits` (None: all are kept). signals: further columns, one row per row of the fragment.
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
    """Spread `rows` over the positions where `where` is true; all other positions are null."""
    if where.all():
        return rows
    place = pl.when(where).then(where.cast(pl.Int64).cum_sum() - 1).otherwise(None)
    return rows.select(pl.all().gather(pl.select(place).to_series()))


def decision_facts(table: pl.DataFrame, source: str) -> dict[str, Any]:
    """The figures of a decision table that the manifest records."""
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
    """Counts of a stage over all fragments: in, kept, removed by reason, edits by label; also by source."""
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
    """Raises UserError if a stage kept nothing: a mistake in the recipe, and later errors would be less clear."""
    if counts["in"] and not counts["kept"]:
        worst = max(counts["removed"], key=lambda reason: counts["removed"][reason])
        raise UserError(
            f"`{asset}` removes all of its {counts['in']} documents, most of them as `{worst}` "
            f"({counts['removed'][worst]}): loosen this stage in the recipe, or switch it off with `enabled: false`."
        )

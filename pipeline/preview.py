"""A look at what curation would do to a sample of the documents, before or after it was done to all of them.

Where the decisions in force are those of the recipe, they are read. Else the stages run over the sample in a store of
its own, which is deleted afterwards: no version of any artifact is made or put in force. What a stage needs besides the
documents (trained filters, held-back conversations) comes from the project's store where it is in force.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.curation.duplicates import near
from pipeline.curation.stages import stages_of
from pipeline.documents import browse
from pipeline.documents.document import DOCUMENT_SCHEMA
from pipeline.documents.stage import Stage
from pipeline.errors import UserError
from pipeline.graph import RAW, Project
from pipeline.ingest import raw_documents
from pipeline.ingest.cache import cache_of
from pipeline.ingest.forgetting import forgotten
from pipeline.ingest.fragments import documents_of
from pipeline.ingest.records import Reading, Tally
from pipeline.inspect import margins
from pipeline.run import why
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store

SAMPLE = 500  # documents, if a person names no number
PAIRS = 50  # of documents that are just not similar enough
READ_FROM_SOURCES = 4  # times as many are read of each source as are asked for, if nothing was read before


@dataclass(frozen=True)
class Looked:
    """Documents, what each stage decided about them, and the cases that follow (pipeline/inspect/margins.py)."""

    project: Project  # its recipe
    raw: Artifact
    rows: dict[str, pl.Series | None]  # of each fragment of `raw`; None: all
    stages: list[Stage]
    tables: dict[str, Artifact]  # the decisions, by the name of their asset
    cases: pl.DataFrame
    from_tables: bool  # whether the decisions are those in force

    @property
    def documents(self) -> int:
        return sum(int(self.raw.entry(name)["rows"]) if rows is None else len(rows) for name, rows in self.rows.items())


@contextmanager
def look(project: Project, sample: int | None, seed: int, only: str | None = None) -> Iterator[Looked]:
    """The cases of a seeded sample of `sample` documents; None: of all documents, if the decisions are in force.

    only: the stage (its asset) that a person asks about; stages after it need not run. Raises UserError for one that
    the recipe does not have.
    """
    stages = stages_up_to(project, only)
    asked = [stage for stage in stages if only in (None, stage.name)]
    with ExitStack() as stack:
        if decided(project, stages):
            raw = stack.enter_context(project.store.reading(RAW))
            tables = {stage.name: stack.enter_context(project.store.reading(stage.name)) for stage in asked}
            rows = rows_of_all(raw) if sample is None else sampled(raw, sample, seed)
            found = cases_of(project, asked, tables, rows)
            yield Looked(project, raw, rows, stages, tables, found, True)
            return
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slm-preview-")))
        store = Store(folder, project.recipe.name)
        cache_of(store).symlink_to(cache_of(project.store).resolve())  # nothing is fetched twice
        quiet = replace(project, store=store, log=lambda line: None)
        raw = copied(store, sample_of(project, SAMPLE if sample is None else sample, seed))
        tables = run_stages(project, quiet, stages, raw, stack)
        rows = rows_of_all(raw)
        found = cases_of(project, asked, tables, rows)
        yield Looked(project, raw, rows, stages, tables, found, False)


def stages_up_to(project: Project, only: str | None) -> list[Stage]:
    """The stages of the recipe up to and with the one that is asked about, by the name of its asset or its block."""
    stages = stages_of(project.recipe.curation)
    if only is None:
        return stages
    names = [stage.name for stage in stages]
    if only not in names:
        raise UserError(f"`{only}` is not a stage: use one of {', '.join(names)}.")
    return stages[: names.index(only) + 1]


def decided(project: Project, stages: list[Stage]) -> bool:
    """Whether the decisions in force of all these stages are what the recipe would make now."""
    if any(project.store.current(name) is None for name in (RAW, *(stage.name for stage in stages))):
        return False
    return not any(status.reasons for status in why(project, stages[-1].name).values())


def rows_of_all(raw: Artifact) -> dict[str, pl.Series | None]:
    return dict.fromkeys(raw.fragments)


def sampled(raw: Artifact, number: int, seed: int) -> dict[str, pl.Series | None]:
    """The rows of `number` documents drawn by the hash of id and seed; exact copies come together."""
    ids = [pl.read_parquet(raw.table(name), columns=["doc_id"])["doc_id"] for name in raw.fragments]
    keys = [drawing(column, seed) for column in ids]
    everything = np.unique(np.concatenate(keys)) if keys else np.zeros(0, np.uint64)
    bound = everything[min(number, len(everything)) - 1] if len(everything) else 0
    rows = {name: pl.Series(np.flatnonzero(own <= bound)) for name, own in zip(raw.fragments, keys, strict=True)}
    return {name: chosen for name, chosen in rows.items() if len(chosen)}


def drawing(doc_ids: pl.Series, seed: int) -> np.ndarray:
    """A number for each id (u64); the documents with the lowest ones are the sample of this seed."""
    first = doc_ids.str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64).to_numpy()
    mixed = (first ^ np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)


def sample_of(project: Project, number: int, seed: int) -> pl.DataFrame:
    """A sample of the raw documents in force, or, before there are any, of the first documents of each source."""
    if project.store.current(RAW) is not None:
        with project.store.reading(RAW) as raw:
            parts = [
                pl.read_parquet(raw.table(name), columns=list(DOCUMENT_SCHEMA))[rows]
                for name, rows in sampled(raw, number, seed).items()
                if rows is not None
            ]
        return pl.concat(parts)
    documents = first_documents(project, READ_FROM_SOURCES * number)
    return documents[np.argsort(drawing(documents["doc_id"], seed), kind="stable")[:number]]


def first_documents(project: Project, most: int) -> pl.DataFrame:
    """The first documents of each source of the recipe, at most `most` of each, without those to be forgotten."""
    gone, frames = forgotten(project.store), []
    for source in project.recipe.sources:
        few = source.model_copy(update={"limit": min(source.limit or most, most)})
        observed = raw_documents.observe(source, project.store, project.log)
        reading = Reading(cache_of(project.store), Tally(), project.log)
        frames += [documents_of(frame, source.name) for frame in raw_documents.records(few, observed, reading)]
    if not frames:
        raise UserError("The sources of the recipe hold no document: `slm sources check` says what they hold.")
    return pl.concat(frames).filter(~pl.col("doc_id").is_in(list(gone)))


def copied(store: Store, documents: pl.DataFrame) -> Artifact:
    """Raw documents of the sample alone, a table a source."""

    def build(draft: Any) -> None:
        for (source,), part in documents.sort("doc_id", "source_id").group_by("source", maintain_order=True):
            draft.table(f"{source}-all", {"sample": str(source)}, lambda part=part: part)

    return store.make(RAW, code_version="sample", settings={}, inputs={}, build=build, log=lambda line: None)


def run_stages(
    project: Project, quiet: Project, stages: list[Stage], raw: Artifact, stack: ExitStack
) -> dict[str, Artifact]:
    """The decisions of the stages on the sample, in the store of `quiet`; by the name of the asset."""
    made: dict[str, Artifact] = {RAW: raw}
    recipe = quiet.recipe
    here = recipe.execution.model_copy(update={"executor": "in_process"})
    context = replace(quiet.context, execution=here)

    def given(name: str) -> Artifact:
        if name not in made:
            node = project.nodes[name]
            if project.store.current(name) is not None:
                made[name] = stack.enter_context(project.store.reading(name))
            else:
                if node.group == "curation" and node.settings.enabled:
                    project.log(f"{name} is not in force: for this preview it is trained on the sample")
                made[name] = node.make(
                    context, {role: given(asset) for role, asset in node.inputs.items()}, node.settings
                )
        return made[name]

    for stage in stages:
        node = project.nodes[stage.name]
        inputs = {role: given(asset) for role, asset in node.inputs.items()}
        made[stage.name] = node.make(context, inputs, node.settings)
    return made


def cases_of(
    project: Project, stages: list[Stage], tables: dict[str, Artifact], rows: dict[str, pl.Series | None]
) -> pl.DataFrame:
    """The cases of all these stages on these rows."""
    parts = [pl.DataFrame(schema=margins.CASE)]
    for stage in stages:
        table = margins.judged(tables[stage.name], rows)
        parts.append(margins.cases(stage, project.recipe.curation.of(stage), table))
        if stage.name == near.STAGE.name:
            parts.append(margins.near_pairs(tables[stage.name], PAIRS))
    return pl.concat(parts)


def document_of(looked: Looked, case: dict[str, Any]) -> dict[str, Any]:
    """The document of a case, with `lang` as the source declares it."""
    place = (case["fragment"], case["row"])
    fragment, row = place if place[0] is not None else browse.find(looked.raw, case["doc_id"])[0]
    return browse.document(looked.raw, fragment, row)


def passages_cut(looked: Looked, case: dict[str, Any]) -> list[tuple[int, int]]:
    """The passages of a document that a stage cuts out or replaces under one label."""
    row = pl.scan_parquet(looked.tables[case["stage"]].table(case["fragment"])).slice(case["row"], 1)
    edits = row.select("edits").collect()["edits"][0]
    return sorted((edit["start"], edit["end"]) for edit in edits if edit["label"] == case["reason"])

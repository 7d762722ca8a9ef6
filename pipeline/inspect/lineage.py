"""Lineage: from a model to the documents that it was trained on, and from a document to the models trained on it.

Nothing is recorded just for this. Manifests name the inputs of each artifact, decisions match the documents row by row,
shards contain document ids, and a batch is a pure function of its step. So every answer is a look-up, which does not
depend on the databases of Dagster and MLflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.documents import browse
from pipeline.documents.document import source_of
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from pipeline.store.tables import write_table
from pipeline.trained_models import IMPORTED, MODELS
from pipeline.training import slots
from pipeline.training.model_facts import ModelFacts

if TYPE_CHECKING:
    from pipeline.training.data.feed import Feed
    from pipeline.training.data.whereabouts import TracedFeed


# -- from a model to its documents -------------------------------------------------------------------------------------


def find_model(store: Store, name: str) -> Artifact:
    """The model identified by `name`: an asset (its version in force), `asset/version`, or the start of a version."""
    asset, _, version = name.partition("/")
    models = [artifact for model in MODELS for artifact in store.versions(model)]
    if asset in MODELS and not version:
        return store.require(asset)
    prefix = version or asset
    matching = [model for model in models if model.version.startswith(prefix) and (not version or model.asset == asset)]
    if len(matching) != 1:
        available = (
            ", ".join(f"{model.asset}/{model.version}" for model in models)
            or "none; run `dagster job execute -j pretrain_job`"
        )
        problem = "is ambiguous" if matching else "is not in the store"
        raise UserError(f"The model `{name}` {problem}; models: {available}.")
    return matching[0]


def inputs_of(store: Store, artifact: Artifact) -> dict[str, Artifact | str]:
    """The inputs of an artifact: artifacts, or the digest of one that is no longer in the store."""
    inputs: dict[str, Artifact | str] = {}
    for name, reference in artifact.manifest["inputs"].items():
        if isinstance(reference, str):
            inputs[name] = reference
            continue
        exact = store.version(reference["asset"], reference["version"])
        if exact is None:  # another version with the same bytes stands in for one that was pruned
            same = (other for other in store.versions(reference["asset"]) if other.digest == reference["digest"])
            inputs[name] = next(same, reference["digest"])
        else:
            inputs[name] = exact
    return inputs


def ancestry(store: Store, artifact: Artifact) -> dict[str, Artifact]:
    """The artifact and everything that it was made of, down to the raw documents; by asset, the artifact first."""
    by_asset = {artifact.asset: artifact}
    pending = [artifact]
    while pending:
        for made_from in inputs_of(store, pending.pop()).values():
            if isinstance(made_from, Artifact) and made_from.asset not in by_asset:
                by_asset[made_from.asset] = made_from
                pending.append(made_from)
    return by_asset


def in_order(made_of: dict[str, Artifact]) -> dict[str, Artifact]:
    """The same artifacts, each after those that it was made of."""
    inputs = {
        name: [reference["asset"] for reference in artifact.manifest["inputs"].values() if isinstance(reference, dict)]
        for name, artifact in made_of.items()
    }
    return {name: made_of[name] for name in TopologicalSorter(inputs).static_order() if name in made_of}


def sources_of(made_of: dict[str, Artifact]) -> list[dict[str, Any]]:
    """One record per source: licences, documents read, documents kept, training tokens.

    An imported model is a source whose documents nobody counted.
    """
    raw, curated, shards = (made_of.get(name) for name in ("raw_documents", "curated_documents", "token_shards"))
    imported = [
        {"source": of.facts["origin"], "licences": of.facts["license"], "documents": 0, "kept": 0, "tokens": 0}
        for name, of in made_of.items()
        if name == IMPORTED
    ]
    if raw is None:
        if imported:
            return imported
        raise UserError(
            "The raw documents of this model are no longer in the store: its manifest only has their digest."
        )
    kept = curated.counts["by_source"] if curated else {}
    tokens = shards.facts["tokens_by_source"] if shards else {}
    return imported + [
        {
            "source": name,
            "licences": ", ".join(facts.get("licenses", {})) or "not stated",
            "documents": facts["documents"],
            "kept": kept.get(name, {}).get("kept", 0),
            "tokens": tokens.get(name, 0),
        }
        for name, facts in raw.facts["sources"].items()
    ]


# -- training steps ----------------------------------------------------------------------------------------------------


def feed_of(store: Store, model: Artifact) -> tuple[TracedFeed, int]:
    """The feed of the pretraining behind `model`, reconstructed, and its number of steps.

    Batches are a pure function of the shards and of settings in the manifest, so nothing had to be recorded.
    """
    from model.config import ModelConfig
    from pipeline.training.data.feed import FeedSettings
    from pipeline.training.data.whereabouts import TracedFeed

    made_of = ancestry(store, model)
    trained = made_of.get("distilled_model") or made_of.get("pretrained_model")
    shards = made_of.get("token_shards")
    if trained is None or shards is None:
        raise UserError(f"The token shards behind `{model.asset}/{model.version}` are no longer in the store.")
    settings = trained.manifest["made_of"]["settings"]
    context = ModelConfig(**settings["model"]).context
    facts = ModelFacts.of(trained)
    sequences = facts.batch_tokens // context
    feed = TracedFeed(shards, FeedSettings(**settings["pretraining"]["feed"]), settings["seed"], context, sequences)
    empty = slots.read(made_of.get(slots.OF_SHARDS))
    if empty is not None:
        feed.leave_empty(empty)
    return feed, facts.steps


def documents_of_step(store: Store, model: Artifact, step: int) -> list[dict[str, Any]]:
    """The documents in the batch of one training step (counted from 1): doc_id, source, source_id."""
    feed, steps = feed_of(store, model)
    if not 1 <= step <= steps:
        raise UserError(
            f"`{model.asset}/{model.version}` was trained in steps 1 to {steps:,}; there is no step {step:,}."
        )
    ids = feed.documents(step - 1)
    curated = ancestry(store, model)["curated_documents"]
    tables = pl.scan_parquet([curated.table(fragment) for fragment in curated.fragments])
    documents = tables.filter(pl.col("doc_id").is_in(ids)).select("doc_id", "source", "source_id")
    return documents.collect().sort("doc_id").to_dicts()


def write_documents(store: Store, model: Artifact, path: Path) -> int:
    """Write every document that pretraining used: doc_id, source, lang, tokens, passes, first_step, last_step.

    Steps count from 1. Returns the number of documents.
    """
    feed, steps = feed_of(store, model)
    used = (
        pl.concat(list(feed.documents_before(steps))).group_by("doc_id", "source", "lang").agg(pl.col("passes").max())
    )
    shards = ancestry(store, model)["token_shards"]
    tables = pl.scan_parquet([shards.table(fragment) for fragment in shards.fragments])
    lengths = tables.filter(pl.col("split") == "train").select("doc_id", pl.col("tokens").list.len().alias("tokens"))
    documents = used.join(lengths.collect().unique("doc_id"), on="doc_id", how="left")
    documents = documents.join(steps_of(feed, steps), on="doc_id", how="left").sort("doc_id")
    write_table(documents.select("doc_id", "source", "lang", "tokens", "passes", "first_step", "last_step"), path)
    return documents.height


def steps_of(feed: Feed, steps: int) -> pl.DataFrame:
    """doc_id, first_step, last_step (from 1) of every document in the first `steps` batches."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for step in range(steps):
        for doc_id in feed.documents(step):
            first.setdefault(doc_id, step + 1)
            last[doc_id] = step + 1
    schema = {"doc_id": pl.String, "first_step": pl.Int64, "last_step": pl.Int64}
    return pl.DataFrame(
        {"doc_id": list(first), "first_step": list(first.values()), "last_step": list(last.values())}, schema
    )


def seen_by(store: Store, doc_id: str) -> list[str]:
    """One sentence for each model that was trained on shards with this document."""
    lines, rows = [], {}
    for model, _ in models_with(store, {doc_id}):
        feed, steps = feed_of(store, model)
        shards = ancestry(store, model)["token_shards"]
        if shards.version not in rows:
            rows[shards.version] = rows_with(shards, doc_id)
        passes = max((feed.passes_of(fragment, row, steps) for fragment, row, _, _ in rows[shards.version]), default=0)
        use = f"in {passes} passes, up to step {steps:,}" if passes else f"in none of its {steps:,} steps"
        lines.append(f"{model.asset}/{model.version}: {use}")
    return lines


# -- from a document to its models -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """One copy of a document in the raw documents."""

    fragment: str
    row: int
    record: dict[str, Any]


def places(store: Store, doc_id: str) -> list[Place]:
    """All copies of a document."""
    raw = store.require("raw_documents")
    return [Place(fragment, row, browse.document(raw, fragment, row)) for fragment, row in browse.find(raw, doc_id)]


def decisions_about(store: Store, place: Place, stages: Sequence[str]) -> list[dict[str, Any]]:
    """What each of `stages` decided about a copy; stages not run on the current raw documents are omitted."""
    raw = store.require("raw_documents")
    in_store = [stage for name in stages if (stage := store.current(name)) is not None]
    current = [stage for stage in in_store if stage.manifest["inputs"]["raw_documents"]["digest"] == raw.digest]
    return browse.decisions(current, place.fragment, place.row)


def shards_with(store: Store, doc_id: str) -> Iterator[tuple[Artifact, str, str, int]]:
    """Shards that contain a document: (artifact, fragment, split, tokens), in all versions in the store."""
    for shards in store.versions("token_shards"):
        for fragment, _, split, count in rows_with(shards, doc_id):
            yield shards, fragment, split, count


def rows_with(shards: Artifact, doc_id: str) -> list[tuple[str, int, str, int]]:
    """Where a document stands in some shards: (fragment, row, split, tokens).

    The shards have no statistics of their ids, so the ids of a fragment are read, and of no other column more than the
    pages around the document.
    """
    found = []
    for fragment in shards.fragments:
        if browse.may_hold(fragment, doc_id):
            path = shards.table(fragment)
            ids = pl.read_parquet(path, columns=["doc_id"])["doc_id"]
            for row in (ids == doc_id).arg_true().to_list():
                split, count = pl.scan_parquet(path).select("split", "length").slice(row, 1).collect().row(0)
                found.append((fragment, row, split, count))
    return found


def models_with(store: Store, doc_ids: set[str]) -> list[tuple[Artifact, int]]:
    """(model, number of these documents that it was trained on) for each model that was trained on any."""
    by_shards: dict[tuple[str, str], int] = {}
    models = []
    for name in MODELS:
        for model in store.versions(name):
            made_of = ancestry(store, model)
            shards, empty = made_of.get("token_shards"), made_of.get(slots.OF_SHARDS)
            if shards is None:
                continue
            both = shards.version, empty.version if empty else ""
            if both not in by_shards:
                by_shards[both] = _training_documents(shards, doc_ids - _in_slots(shards, slots.read(empty)))
            if by_shards[both]:
                models.append((model, by_shards[both]))
    return models


def _in_slots(shards: Artifact, empty: slots.Slots | None) -> set[str]:
    """Ids of the documents whose slots are left empty."""
    found: set[str] = set()
    for table, rows in (empty.rows if empty else {}).items():
        found |= set(pl.read_parquet(shards.table(table), columns=["doc_id"])["doc_id"].gather(rows).to_list())
    return found


def _training_documents(shards: Artifact, doc_ids: set[str]) -> int:
    """How many of the documents are in the training split, not counting near-duplicates of validation documents."""
    tables = [
        shards.table(name) for name in shards.fragments if any(browse.may_hold(name, doc_id) for doc_id in doc_ids)
    ]
    if not tables:
        return 0
    near_validation = shards.file("checks/near_validation.parquet")
    if near_validation.exists():
        doc_ids = doc_ids - set(pl.read_parquet(near_validation)["doc_id"])
    selected = pl.col("doc_id").is_in(sorted(doc_ids)) & (pl.col("split") == "train")
    return int(pl.scan_parquet(tables).filter(selected).select(pl.col("doc_id").n_unique()).collect().item())


def ids_of_source(store: Store, source: str) -> list[str]:
    """Ids of all raw documents of a source, sorted. Raises UserError if there is no such source."""
    raw = store.require("raw_documents")
    tables = [raw.table(fragment) for fragment in raw.fragments if source_of(fragment) == source]
    if not tables:
        known = ", ".join(sorted({source_of(fragment) for fragment in raw.fragments}))
        raise UserError(f"There is no source `{source}`: use one of {known}.")
    found: list[str] = pl.scan_parquet(tables).select(pl.col("doc_id").unique().sort()).collect()["doc_id"].to_list()
    return found


def not_there(store: Store, doc_ids: Sequence[str]) -> list[str]:
    """Those of some whole ids that no raw document has, in their order."""
    raw = store.require("raw_documents")
    tables = pl.scan_parquet([raw.table(fragment) for fragment in raw.fragments]).select("doc_id")
    known = set(tables.filter(pl.col("doc_id").is_in(list(doc_ids))).collect()["doc_id"])
    return [doc_id for doc_id in doc_ids if doc_id not in known]


def grep(store: Store, pattern: str, limit: int | None = 1000, column: str = "text") -> pl.DataFrame:
    """Raw documents whose text (or `meta`) matches a regular expression: doc_id, source, source_id. limit=None: all."""
    raw = store.require("raw_documents")
    tables = pl.scan_parquet([raw.table(fragment) for fragment in raw.fragments])
    found = tables.filter(pl.col(column).str.contains(pattern)).select("doc_id", "source", "source_id")
    try:
        return (found if limit is None else found.head(limit)).collect()
    except pl.exceptions.ComputeError as error:
        raise UserError(f"`{pattern}` is not a regular expression: {str(error).splitlines()[0]}.") from error

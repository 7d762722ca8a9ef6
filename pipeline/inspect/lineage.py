"""Lineage: from a model down to the documents that taught it, and from a document up to the models that saw it.

Nothing here is recorded separately. Manifests name what each artifact was made of, decisions stand beside the
documents, shards carry document ids, and a batch is a pure function of its step; so every answer is a look-up, and it
outlives the databases of Dagster and MLflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.documents import browse
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from pipeline.store.tables import write_table
from pipeline.trained_models import MODELS
from pipeline.training.model_facts import ModelFacts

if TYPE_CHECKING:
    from pipeline.training.data.feed import Feed


# -- from a model down ------------------------------------------------------------------------------------------------


def find_model(store: Store, name: str) -> Artifact:
    """The model called `name`: an asset (its version in force), `asset/version`, or a version's beginning."""
    asset, _, version = name.partition("/")
    known = [found for model in MODELS for found in store.versions(model)]
    if asset in MODELS and not version:
        return store.require(asset)
    wanted = version or asset
    matching = [found for found in known if found.version.startswith(wanted) and (not version or found.asset == asset)]
    if len(matching) != 1:
        there = (
            ", ".join(f"{found.asset}/{found.version}" for found in known)
            or "none; run `dagster job execute -j pretrain_job`"
        )
        problem = "is not clear" if matching else "is not in the store"
        raise UserError(f"The model `{name}` {problem}; models: {there}.")
    return matching[0]


def inputs_of(store: Store, artifact: Artifact) -> dict[str, Artifact | str]:
    """What an artifact was made of: artifacts, or the digest where the version is no longer in the store."""
    found: dict[str, Artifact | str] = {}
    for name, given in artifact.manifest["inputs"].items():
        if isinstance(given, str):
            found[name] = given
            continue
        exact = store.version(given["asset"], given["version"])
        if exact is None:  # an input that was made anew with the same bytes stands for the one that was pruned
            same = (other for other in store.versions(given["asset"]) if other.digest == given["digest"])
            found[name] = next(same, given["digest"])
        else:
            found[name] = exact
    return found


def ancestry(store: Store, artifact: Artifact) -> dict[str, Artifact]:
    """The artifact and everything that it was made of, down to the raw documents; by asset, the artifact first."""
    found = {artifact.asset: artifact}
    waiting = [artifact]
    while waiting:
        for given in inputs_of(store, waiting.pop()).values():
            if isinstance(given, Artifact) and given.asset not in found:
                found[given.asset] = given
                waiting.append(given)
    return found


def in_order(made_of: dict[str, Artifact]) -> dict[str, Artifact]:
    """The same artifacts, each after those that it was made of."""
    given = {
        name: [of["asset"] for of in found.manifest["inputs"].values() if isinstance(of, dict)]
        for name, found in made_of.items()
    }
    return {name: made_of[name] for name in TopologicalSorter(given).static_order() if name in made_of}


def sources_of(made_of: dict[str, Artifact]) -> list[dict[str, Any]]:
    """A record a source: licences, documents read, documents left, training tokens."""
    raw, curated, shards = (made_of.get(name) for name in ("raw_documents", "curated_documents", "token_shards"))
    if raw is None:
        raise UserError(
            "The raw documents of this model are no longer in the store: its manifest names their digest alone."
        )
    left = curated.counts["by_source"] if curated else {}
    tokens = shards.facts["tokens_by_source"] if shards else {}
    return [
        {
            "source": name,
            "licences": ", ".join(facts.get("licenses", {})) or "not stated",
            "documents": facts["documents"],
            "kept": left.get(name, {}).get("kept", 0),
            "tokens": tokens.get(name, 0),
        }
        for name, facts in raw.facts["sources"].items()
    ]


# -- steps ------------------------------------------------------------------------------------------------------------


def feed_of(store: Store, model: Artifact) -> tuple[Feed, int]:
    """The feed that the pretraining behind `model` read, made again, and its number of steps.

    Batches are a pure function of the shards and of settings that the manifest holds, so nothing was recorded.
    """
    from model.config import ModelConfig
    from pipeline.training.data.feed import Feed, FeedSettings

    made_of = ancestry(store, model)
    trained, shards = made_of.get("pretrained_model"), made_of.get("token_shards")
    if trained is None or shards is None:
        raise UserError(f"The token shards behind `{model.asset}/{model.version}` are no longer in the store.")
    settings = trained.manifest["made_of"]["settings"]
    context = ModelConfig(**settings["model"]).context
    facts = ModelFacts.of(trained)
    sequences = facts.batch_tokens // context
    feed = Feed(shards, FeedSettings(**settings["pretraining"]["feed"]), settings["seed"], context, sequences)
    return feed, facts.steps


def documents_of_step(store: Store, model: Artifact, step: int) -> list[dict[str, Any]]:
    """The documents in the batch of one training step, counted from 1: doc_id, source, source_id."""
    feed, steps = feed_of(store, model)
    if not 1 <= step <= steps:
        raise UserError(
            f"`{model.asset}/{model.version}` was trained in steps 1 to {steps:,}; there is no step {step:,}."
        )
    ids = feed.documents(step - 1)
    curated = ancestry(store, model)["curated_documents"]
    tables = pl.scan_parquet([curated.table(fragment) for fragment in curated.fragments])
    wanted = tables.filter(pl.col("doc_id").is_in(ids)).select("doc_id", "source", "source_id")
    return wanted.collect().sort("doc_id").to_dicts()


def write_documents(store: Store, model: Artifact, path: Path) -> int:
    """Write every document that pretraining used: doc_id, source, lang, tokens, passes, first_step, last_step.

    Steps count from 1. Returns how many documents there are.
    """
    feed, steps = feed_of(store, model)
    used = (
        pl.concat(list(feed.documents_before(steps))).group_by("doc_id", "source", "lang").agg(pl.col("passes").max())
    )
    shards = ancestry(store, model)["token_shards"]
    tables = pl.scan_parquet([shards.table(fragment) for fragment in shards.fragments])
    lengths = tables.filter(pl.col("split") == "train").select("doc_id", pl.col("tokens").list.len().alias("tokens"))
    found = used.join(lengths.collect().unique("doc_id"), on="doc_id", how="left")
    found = found.join(steps_of(feed, steps), on="doc_id", how="left").sort("doc_id")
    write_table(found.select("doc_id", "source", "lang", "tokens", "passes", "first_step", "last_step"), path)
    return found.height


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
    lines = []
    for model, _ in models_with(store, {doc_id}):
        feed, steps = feed_of(store, model)
        fragments = {name for name in ancestry(store, model)["token_shards"].fragments if browse.may_hold(name, doc_id)}
        seen = [frame.filter(pl.col("doc_id") == doc_id) for frame in feed.documents_before(steps, fragments)]
        passes = max((value for frame in seen for value in frame["passes"].to_list()), default=0)
        how = f"in {passes} passes, up to step {steps:,}" if passes else f"of {steps:,} steps none came to it"
        lines.append(f"{model.asset}/{model.version}: {how}")
    return lines


# -- from a document up -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """One copy of a document among the raw ones."""

    fragment: str
    row: int
    record: dict[str, Any]


def places(store: Store, doc_id: str) -> list[Place]:
    """All copies of a document."""
    raw = store.require("raw_documents")
    return [Place(fragment, row, browse.document(raw, fragment, row)) for fragment, row in browse.find(raw, doc_id)]


def decisions_about(store: Store, place: Place, stages: Sequence[str]) -> list[dict[str, Any]]:
    """What each of `stages` decided about a copy, as far as they were run on these raw documents."""
    raw = store.require("raw_documents")
    made = [stage for name in stages if (stage := store.current(name)) is not None]
    current = [stage for stage in made if stage.manifest["inputs"]["raw_documents"]["digest"] == raw.digest]
    return browse.decisions(current, place.fragment, place.row)


def shards_with(store: Store, doc_id: str) -> Iterator[tuple[Artifact, str, str, int]]:
    """Shards that hold a document: (artifact, fragment, split, tokens), over all versions in the store."""
    for shards in store.versions("token_shards"):
        for fragment in shards.fragments:
            if not browse.may_hold(fragment, doc_id):
                continue
            rows = (
                pl.scan_parquet(shards.table(fragment))
                .filter(pl.col("doc_id") == doc_id)
                .select("split", pl.col("tokens").list.len().alias("count"))
                .collect()
            )
            for split, count in rows.iter_rows():
                yield shards, fragment, split, count


def models_with(store: Store, doc_ids: set[str]) -> list[tuple[Artifact, int]]:
    """Models that were trained on any of these documents, each with how many of them."""
    held: dict[str, int] = {}
    found = []
    for name in MODELS:
        for model in store.versions(name):
            shards = ancestry(store, model).get("token_shards")
            if shards is None:
                continue
            if shards.version not in held:
                held[shards.version] = _training_documents(shards, doc_ids)
            if held[shards.version]:
                found.append((model, held[shards.version]))
    return found


def _training_documents(shards: Artifact, doc_ids: set[str]) -> int:
    """How many of the documents are in the training part; twins of validation documents are left out of it."""
    tables = [
        shards.table(name) for name in shards.fragments if any(browse.may_hold(name, doc_id) for doc_id in doc_ids)
    ]
    if not tables:
        return 0
    twins = shards.file("checks/near_validation.parquet")
    if twins.exists():
        doc_ids = doc_ids - set(pl.read_parquet(twins)["doc_id"])
    wanted = pl.col("doc_id").is_in(sorted(doc_ids)) & (pl.col("split") == "train")
    return int(pl.scan_parquet(tables).filter(wanted).select(pl.col("doc_id").n_unique()).collect().item())


def grep(store: Store, pattern: str, limit: int = 1000) -> pl.DataFrame:
    """Raw documents whose text matches a regular expression: doc_id, source, source_id."""
    raw = store.require("raw_documents")
    tables = pl.scan_parquet([raw.table(fragment) for fragment in raw.fragments])
    try:
        return (
            tables.filter(pl.col("text").str.contains(pattern))
            .select("doc_id", "source", "source_id")
            .head(limit)
            .collect()
        )
    except pl.exceptions.ComputeError as error:
        raise UserError(f"`{pattern}` is not a regular expression: {str(error).splitlines()[0]}.") from error

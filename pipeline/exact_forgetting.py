"""`slm forget --exact`: trains the models again with what is forgotten left out, proves it, and checks such a proof.

The check is a training from nothing, in a store of its own that holds nothing but the list: it sees no checkpoint, and
no model, of the one that it checks.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from model.files import write_whole
from pipeline.curation.duplicates.near import ASSET as DUPLICATES
from pipeline.curation.duplicates.review import removed
from pipeline.curation.stages import stages_of
from pipeline.errors import UserError
from pipeline.forgetting import record as records
from pipeline.graph import Project
from pipeline.ingest import forgetting
from pipeline.inspect.lineage import ancestry
from pipeline.run import make_with_inputs
from pipeline.store.artifact import Artifact, file_digest
from pipeline.store.store import Store
from pipeline.trained_models import enabled, models_of
from pipeline.training import slots
from pipeline.training.measured import FOLDER as MEASURED

FOLDER = "forgotten"  # of the records, beside the artifacts
WEIGHTS = "model.safetensors"


def twins_of(store: Store, doc_ids: list[str]) -> list[str]:
    """Ids of the documents that were removed as near-duplicates in favour of one of these, without these, sorted."""
    decisions = store.current(DUPLICATES)
    table = removed(decisions) if decisions is not None else pl.DataFrame()
    if not table.height:
        return []
    found: set[str] = set(table.filter(pl.col("kept_id").is_in(doc_ids))["doc_id"].to_list())
    return sorted(found - set(doc_ids))


def ids_in_data(store: Store, beginning: str) -> list[str]:
    """Ids of conversations and preference pairs that begin so."""
    found: set[str] = set()
    for asset in ("instruction_data", "preference_data"):
        data = store.current(asset)
        for table in data.fragments if data is not None else ():
            assert data is not None
            rows = pl.scan_parquet(data.table(table))
            if "id" in rows.collect_schema().names():
                chosen = rows.select(pl.col("id").cast(pl.String)).filter(pl.col("id").str.starts_with(beginning))
                found |= set(chosen.collect()["id"].to_list())
    return sorted(found)


def kept_in_force(project: Project) -> list[str]:
    """What stays although it learned from what is forgotten: names of the tokenizer and of trained filters."""
    filters = [model.name for stage in stages_of(project.recipe.curation) for model in stage.filters]
    return [name for name in (*filters, "tokenizer") if name in project.nodes and project.store.current(name)]


# -- making ------------------------------------------------------------------------------------------------------------


def make_again(project: Project) -> Path:
    """Train every model in force again with the slots of the list empty; returns the path of the signed record."""
    for asset in trained(project):
        make_with_inputs(project, asset)
    return write_record(project)


def write_record(project: Project) -> Path:
    """Sign and write the record of all that is on the list. Raises UserError if a model is not of the list in force."""
    store = project.store
    entries = forgetting.records(store, forgetting.EXACT)
    if not entries:
        raise UserError("Nothing is forgotten exactly: name documents with `slm forget --exact`.")
    models = [described(project, name) for name in trained(project)]
    if not models:
        raise UserError("No model is in force that could have forgotten anything: train one first.")
    signer = records.Signer.of(store.root)
    now = datetime.now(UTC)
    reasons = Counter((entry["reason"], entry["date"]) for entry in entries)
    signed = signer.signed(
        {
            "record": records.KIND,
            "when": now.isoformat(timespec="seconds"),
            "recipe": project.recipe.name,
            "documents": sorted(signer.commitment(entry["doc_id"]) for entry in entries),
            "reasons": [{"reason": why, "date": day, "documents": n} for (why, day), n in sorted(reasons.items())],
            "models": models,
            "kept": {name: made.digest for name in kept_in_force(project) if (made := store.current(name))},
        }
    )
    path = store.root / store.recipe / FOLDER / f"{now:%Y%m%d-%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(signed, ensure_ascii=False, indent=1, sort_keys=True) + "\n")
    return path


def trained(project: Project) -> list[str]:
    """The models of the recipe that are in force, in order."""
    chosen = [model.name for model in models_of(project.recipe) if model.trained and enabled(project.recipe, model)]
    return [name for name in chosen if project.store.current(name) is not None]


def described(project: Project, asset: str) -> dict[str, Any]:
    """What a record says of a model. Raises UserError if the list has changed since it was made."""
    model = project[asset]
    refuse_outdated(project, model)
    before, inputs = before_it(project.store, model), model.manifest["made_of"]["inputs"]
    return {
        "asset": asset,
        "before": None
        if before is None
        else {"version": before.version, "sha256": before.manifest["files"][WEIGHTS]["sha256"]},
        "after": {
            "version": model.version,
            "fingerprint": model.manifest["fingerprint"],
            "sha256": {name: entry["sha256"] for name, entry in sorted(model.manifest["files"].items())},
        },
        "slots": {name: given for name, given in inputs.items() if name in slots.ASSETS.values()},
        "code_version": model.manifest["made_of"]["code_version"],
        "made_on": model.manifest["made_on"],
    }


def refuse_outdated(project: Project, model: Artifact) -> None:
    """Raises UserError if a model, or one it starts from, leaves other slots empty than the list in force says."""
    ids = forgetting.forgotten_exactly(project.store)
    made_of = ancestry(project.store, model)
    learned = {name for of in made_of.values() if of.asset in trained(project) for name in of.manifest["inputs"]}
    for name in sorted(learned & made_of.keys() & slots.ASSETS.keys()):
        then = slots.read(made_of.get(slots.ASSETS[name]))
        if (then.places if then else frozenset()) != slots.places_of(made_of[name], ids):
            raise UserError(
                f"{model.asset}/{model.version} was not made with the list of what is forgotten exactly as it is now:"
                f" make it first (`slm make {model.asset}`)."
            )


def before_it(store: Store, model: Artifact) -> Artifact | None:
    """The newest version before this one that differs in its slots, or in the model that it starts from."""

    def common(of: Artifact) -> dict[str, Any]:
        made_of = of.manifest["made_of"]
        other = {*slots.ASSETS.values(), *(name for name in made_of["inputs"] if name.endswith("_model"))}
        return {**made_of, "inputs": {name: given for name, given in made_of["inputs"].items() if name not in other}}

    earlier = [
        one
        for one in store.versions(model.asset)
        if one.manifest.get("number", 0) < model.manifest.get("number", 0) and common(one) == common(model)
    ]
    return max(earlier, key=lambda one: one.manifest["number"], default=None)


# -- checking ----------------------------------------------------------------------------------------------------------


def check_record(project: Project, path: Path) -> list[str]:
    """Check a record: its signature, its documents, and each of its models, trained from nothing; returns what held.

    Raises UserError, which says what does not hold.
    """
    signed = records.read(path)
    lines = [f"the signature of the key {records.fingerprint(signed)} holds"]
    signer = records.Signer.of(project.store.root)
    listed = {signer.commitment(entry["doc_id"]) for entry in forgetting.records(project.store, forgetting.EXACT)}
    if listed != set(signed["documents"]):
        raise UserError(
            f"{path} is about {len(signed['documents'])} documents, and the list in force has {len(listed)}, of which"
            f" {len(listed & set(signed['documents']))} are the same: the record is of another list or store."
        )
    lines.append(f"its documents are those of the list in force ({len(listed)})")
    for told in signed["models"]:
        model = project.store.version(told["asset"], told["after"]["version"])
        if model is None or model.version != project[model.asset].version:
            raise UserError(
                f"{told['asset']}/{told['after']['version']}, of which {path} tells, is not in force: make it again"
                f" (`slm make {told['asset']}`), or name a later record."
            )
        files = {name: file_digest(model.place(name)) for name in sorted(model.manifest["files"])}
        refuse_other_files(f"{told['asset']}/{model.version}", told["after"]["sha256"], files, "the record")
        lines.append(f"{model.asset}/{model.version} has the bytes that it names")
        lines.append(check_model(project, told["asset"]))
    return lines


def check_model(project: Project, asset: str) -> str:
    """Train a model from nothing with the same slots empty, and compare all bytes. Raises UserError if any differ."""
    if asset not in trained(project):
        known = ", ".join(trained(project)) or "none"
        raise UserError(f"There is no model `{asset}` in force that can be trained from nothing: {known}.")
    model = project[asset]
    refuse_outdated(project, model)
    with from_nothing(project, asset) as again:
        if again.manifest["fingerprint"] != model.manifest["fingerprint"]:
            raise UserError(f"{asset}/{model.version} is out of date (`slm why {asset}`): make it first.")
        files = {name: file_digest(model.place(name)) for name in sorted(model.manifest["files"])}
        there = {name: entry["sha256"] for name, entry in sorted(again.manifest["files"].items())}
        refuse_other_files(f"{asset}/{model.version}", there, files, "a training from nothing")
    return f"{asset}/{model.version} has the bytes of a training from nothing, in {len(files)} files"


def refuse_other_files(name: str, expected: dict[str, str], found: dict[str, str], by: str) -> None:
    differ = sorted(one for one in {*expected, *found} if expected.get(one) != found.get(one))
    if differ:
        raise UserError(
            f"{name} does not have the bytes of {by}: {', '.join(differ[:5])} differ{'s' if len(differ) == 1 else ''}."
            " It was not made as it should have been, or on another kind of machine (`made_on` in its manifest)."
        )


@contextmanager
def from_nothing(project: Project, asset: str) -> Iterator[Artifact]:
    """The model of the inputs in force, trained in an empty store that is gone when the block ends."""
    store, node = project.store, project.nodes[asset]
    with tempfile.TemporaryDirectory(dir=store.root, prefix=".check-") as place, untracked():
        empty = Store(Path(place), store.recipe)
        empty.write_record(forgetting.EXACT, store.read_record(forgetting.EXACT) or "")
        if (store.root / MEASURED).exists():  # it decides on number formats
            shutil.copytree(store.root / MEASURED, empty.root / MEASURED)
        inputs = {role: project[given] for role, given in node.inputs.items()}
        yield node.make(replace(project.context, store=empty, replays=False), inputs, node.settings)


@contextmanager
def untracked() -> Iterator[None]:
    """Without a run in MLflow: a check is no training of the project."""
    before = os.environ.get("SLM_TRACKING")
    os.environ["SLM_TRACKING"] = "off"
    try:
        yield
    finally:
        if before is None:
            del os.environ["SLM_TRACKING"]
        else:
            os.environ["SLM_TRACKING"] = before

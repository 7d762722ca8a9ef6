"""From a trained network to an artifact: what all three kinds of training have in common around the loop.

The idea: all processes of a run call the same `make`. Rank 0 asks the store, writes and tracks; the others wait to hear
whether there is anything to train, and train along. The finished directory holds all that is needed to use the model:

    model.safetensors, config.json     the network, in Hugging Face's layout where there is one for its shape
    <the tokenizer's files>
    log.parquet                        one row a step; no times, so that the same run gives the same bytes
    samples.txt, validation.json       what it says, and how well it does
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import tracking
from pipeline.store.artifact import MANIFEST, Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.store.tables import put_in_place, write_table, write_whole
from pipeline.tokens.tokenizer import ABOUT
from pipeline.training import distributed
from pipeline.training.checkpoint import Checkpoints, log_table

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pipeline.training.distributed import Ranks
    from pipeline.training.objectives.objective import Trained

CHECKPOINTS = "checkpoints"
FINISHED = "validation.json"  # written last: a draft that has it needs no more training
OF_THE_MODEL = ("model.safetensors", "config.json", "log.parquet", "samples.txt", FINISHED, MANIFEST)


def made_by_all(
    store: Store,
    asset: str,
    device: str,
    train: Callable[[Draft, Ranks, str], None],
    log: Callable[[str], None],
    **made_of: Any,
) -> Artifact:
    """`store.make`, where several processes may train; `train` is called with (draft, ranks, this rank's device).

    The draft of ranks other than the first is a directory that nobody reads.
    """
    from pipeline.training import machine

    with distributed.joined(machine.choose_device(device)) as (ranks, own):
        if not ranks.first:  # hears from rank 0 what the store says
            while ranks.from_first(None):
                with tempfile.TemporaryDirectory() as place:
                    train(Draft(Path(place), list, lambda line: None), ranks, own)
            return store.require(asset)

        def build(draft: Draft) -> None:
            if not draft.path(FINISHED).exists():
                ranks.from_first(True)
                train(draft, ranks, own)
            shutil.rmtree(draft.directory / CHECKPOINTS, ignore_errors=True)

        artifact = store.make(asset, build=build, log=log, **made_of)
        ranks.from_first(False)
        return artifact


# What people compare runs by.
COMPARED = {"layers", "width", "heads", "norm", "positions", "activation", "optimiser", "schedule"}


@contextmanager
def followed(
    ranks: Ranks, store: Store, asset: str, draft: Draft, blocks: dict[str, BaseModel], further: dict[str, Any]
) -> Iterator[Any]:
    """The run of MLflow of this training, the one of its checkpoint where there is one; None but on rank 0.

    blocks: settings by block of the recipe. The run shows what differs from the default, and COMPARED always, so that
    a page that compares two runs has both values; all of them stand in the run's recipe.yaml.
    """
    if not ranks.first:
        yield None
        return
    before = Checkpoints.tracked(draft.directory / CHECKPOINTS)
    params = {
        f"{block}.{name}": value
        for block, settings in blocks.items()
        for name, value in (settings.model_dump(include=COMPARED) | settings.model_dump(exclude_defaults=True)).items()
    }
    tags = {tracking.RECIPE: store.recipe, tracking.FINGERPRINT: draft.fingerprint, "slm.asset": asset}
    with tracking.run(asset, asset, tags, {**params, **further}, resume=before) as run:
        yield run


def whole_network(network: Any, make: Callable[[], Any]) -> Any:
    """The network in one piece, on every rank: itself, or, where it is sharded, a fresh one with its weights."""
    if not any(hasattr(p, "full_tensor") for p in network.parameters()):
        return network
    weights = {name: distributed.whole(p.detach()).cpu() for name, p in network.named_parameters()}
    gathered = make()
    gathered.load_state_dict(weights, strict=False)
    return gathered


def finish(
    draft: Draft,
    network: Any,
    base: Artifact,
    trained: Trained,
    facts: dict[str, Any],
    samples: str,
    run: Any,
    end: str = "<eos>",
) -> None:
    """Write the artifact's files; `base` has the tokenizer's files, `end` is the token that ends what the model says.

    The last file says that all are there.
    """
    from model import export

    copy_tokenizer(base, draft)
    export.save(network, draft.directory, special_ids(draft.path(ABOUT), end))
    write_table(log_table(trained.log), draft.path("log.parquet"))
    write_whole(draft.path("samples.txt"), samples)
    draft.timings.update({name: round(value, 4) for name, value in trained.timings.items()})
    draft.facts.update({**facts, **trained.figures, "skipped_steps": trained.skipped})
    if run:
        run.text(samples, "samples/final.txt")
        for name in ("config.json", "log.parquet"):
            run.artifact(draft.path(name))
    write_whole(draft.path(FINISHED), json.dumps(draft.facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def special_ids(about: Path, end: str) -> dict[str, int]:
    """What tools that generate want to know: where text begins and ends, and what fills a row up."""
    ids = json.loads(about.read_text(encoding="utf-8"))["special_tokens"]
    return {f"{role}_token_id": ids[token] for role, token in (("bos", "<bos>"), ("eos", end), ("pad", "<pad>"))}


def copy_tokenizer(base: Artifact, draft: Draft) -> None:
    """The tokenizer's files, from its own artifact or from a model that was made with it."""
    for name in base.manifest["files"]:
        if name in OF_THE_MODEL or name.endswith(".parquet"):
            continue
        target = draft.path(name)
        temporary = target.with_name(target.name + ".tmp")
        shutil.copyfile(base.file(name), temporary)
        put_in_place(temporary, target)

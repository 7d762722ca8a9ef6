"""From a trained network to an artifact: what all kinds of training have in common around the loop.

All processes of a run call the same `make`, and each prepares the same `Training`. Rank 0 asks the store, writes and
tracks; the others wait to hear whether there is anything to train, and train along. The finished directory holds all
that is needed to use the model:

    model.safetensors, config.json     the network, in Hugging Face's layout where there is one for its shape
    <the tokenizer's files>
    log.parquet                        one row a step; no times, so that the same run gives the same bytes
    samples.txt, validation.json       what it says, and how well it does
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import tracking
from pipeline.context import RunContext
from pipeline.store.artifact import MANIFEST, Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import put_in_place, write_table, write_whole
from pipeline.tokens.tokenizer import ABOUT
from pipeline.training import distributed, machine
from pipeline.training.checkpoint import Checkpoints, log_table
from pipeline.training.reporting import RunOptions

if TYPE_CHECKING:
    import torch
    from pydantic import BaseModel

    from pipeline.training.distributed import Ranks
    from pipeline.training.model_facts import ModelFacts
    from pipeline.training.objectives.objective import Objective, Trained
    from pipeline.training.training_settings import LoopSettings

CHECKPOINTS = "checkpoints"
FINISHED = "validation.json"  # written last: a draft that has it needs no more training
OF_THE_MODEL = ("model.safetensors", "config.json", "log.parquet", "samples.txt", FINISHED, MANIFEST)


@dataclass(frozen=True)
class Making:
    """One process's part in the making of a model."""

    context: RunContext
    draft: Draft
    ranks: Ranks
    device: str  # this process's own

    def log(self, line: str) -> None:
        """Log `line`, on the first rank alone."""
        if self.ranks.first:
            self.context.log(line)


@dataclass(frozen=True)
class Training:
    """What an objective prepares: everything that is particular to one kind of training."""

    asset: str
    objective: Objective
    network: torch.nn.Module
    settings: LoopSettings
    learning_rate: float
    sharded: bool
    facts: ModelFacts
    base: Artifact  # has the tokenizer's files, which the model takes along
    blocks: Mapping[str, BaseModel]  # settings by block of the recipe, for MLflow
    fresh: Callable[[], torch.nn.Module]  # the network once more, to gather sharded weights in
    finished: Callable[[Any], torch.nn.Module] = lambda network: network  # what is kept of it
    end: str = "<eos>"  # the token that ends what the model says


def made_by_all(context: RunContext, asset: str, prepare: Callable[[Making], Training], **identity: Any) -> Artifact:
    """`store.make` of a trained model, where several processes may train. `prepare` is called on each.

    The draft of ranks other than the first is a directory that nobody reads.
    """
    with distributed.joined(machine.choose_device(context.device)) as (ranks, device):
        if not ranks.first:  # hears from rank 0 what the store says
            while ranks.from_first(None):
                with tempfile.TemporaryDirectory() as place:
                    making = Making(context, Draft(Path(place), list, lambda line: None), ranks, device)
                    carry_out(making, prepare(making))
            return context.store.require(asset)

        def build(draft: Draft) -> None:
            if not draft.path(FINISHED).exists():
                ranks.from_first(True)
                making = Making(context, draft, ranks, device)
                carry_out(making, prepare(making))
            shutil.rmtree(draft.directory / CHECKPOINTS, ignore_errors=True)

        artifact = context.store.make(asset, build=build, log=context.log, **identity)
        ranks.from_first(False)
        return artifact


def carry_out(making: Making, training: Training) -> None:
    """Train, and write the artifact's files on the first rank."""
    from pipeline.training import loop

    context, ranks = making.context, making.ranks
    with followed(making, training) as run:
        options = RunOptions(
            directory=making.draft.directory / CHECKPOINTS,
            device=making.device,
            ranks=ranks,
            sharded=training.sharded,
            run=run,
            log=making.log,
            progress=context.progress,
            should_stop=context.should_stop,
        )
        trained = loop.train(
            training.objective, training.network, training.settings, training.learning_rate, context.seed, options
        )
        network = training.finished(gathered_network(training.network, training.fresh))
        if ranks.first:
            finish(making.draft, network, training, trained, run)


# What people compare runs by.
COMPARED = {"layers", "width", "heads", "norm", "positions", "activation", "optimiser", "schedule"}


@contextmanager
def followed(making: Making, training: Training) -> Iterator[Any]:
    """The run of MLflow of this training, the one of its checkpoint where there is one; None but on rank 0.

    The run shows the settings that differ from the default, and COMPARED always, so that a page that compares two runs
    has both values; all of them stand in the run's recipe.yaml.
    """
    if not making.ranks.first:
        yield None
        return
    before = Checkpoints.tracked(making.draft.directory / CHECKPOINTS)
    params = {
        f"{block}.{name}": value
        for block, settings in training.blocks.items()
        for name, value in (settings.model_dump(include=COMPARED) | settings.model_dump(exclude_defaults=True)).items()
    }
    asset = training.asset
    tags = {
        tracking.RECIPE: making.context.store.recipe,
        tracking.FINGERPRINT: making.draft.fingerprint,
        "slm.asset": asset,
    }
    params |= training.facts.for_manifest()
    with tracking.run(asset, asset, tags, params, resume=before) as run:
        yield run


def gathered_network(network: Any, fresh: Callable[[], Any]) -> Any:
    """The network in one piece, on every rank: itself, or, where it is sharded, a fresh one with its weights."""
    if not any(hasattr(p, "full_tensor") for p in network.parameters()):
        return network
    weights = {name: distributed.whole(p.detach()).cpu() for name, p in network.named_parameters()}
    gathered = fresh()
    gathered.load_state_dict(weights, strict=False)
    return gathered


def finish(draft: Draft, network: Any, training: Training, trained: Trained, run: Any) -> None:
    """Write the artifact's files; the last one says that all are there."""
    from model import export

    sample = training.objective.sample
    samples = sample(network) if sample else ""
    copy_tokenizer(training.base, draft)
    export.save(network, draft.directory, special_ids(draft.path(ABOUT), training.end))
    write_table(log_table(trained.log), draft.path("log.parquet"))
    write_whole(draft.path("samples.txt"), samples)
    draft.timings.update({name: round(value, 4) for name, value in trained.timings.items()})
    draft.facts.update({**training.facts.for_manifest(), **trained.figures, "skipped_steps": trained.skipped})
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

"""The artifact of a trained model: what all kinds of training share around the loop.

All processes of a run call the same `make`, and each prepares the same `Training`. Rank 0 asks the store, writes the
files and tracks the run; the others wait until it tells them whether there is anything to train. The finished directory
holds everything needed to use the model:

    model.safetensors, config.json     the network, in Hugging Face's layout if one exists for its shape
    <the tokenizer's files>
    kept/                              weights before the end, where `kept_weights` asks for them
    adapter/                           with LoRA: the additions alone, as the `peft` library reads them
    log.parquet                        one row per step; no times, so that the same run gives the same bytes
    samples.txt, validation.json       generated text, and the validation figures
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.config import ModelConfig
from model.files import whole
from pipeline import tracking
from pipeline.context import RunContext
from pipeline.errors import UserError
from pipeline.store import made_on as noted
from pipeline.store.artifact import LADDERS, MANIFEST, Artifact, digest
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table, write_whole
from pipeline.tokens.tokenizer import ABOUT
from pipeline.training import device_lock, distributed, kept_weights, ladder, machine, slots
from pipeline.training.checkpoint import Checkpoints, Ladder, all_in, log_table
from pipeline.training.machine import USABLE
from pipeline.training.measured import Machine
from pipeline.training.reporting import Row, RunOptions

if TYPE_CHECKING:
    import torch
    from pydantic import BaseModel

    from pipeline.training.distributed import Ranks
    from pipeline.training.model_facts import ModelFacts
    from pipeline.training.objectives.objective import Objective, TrainingResult
    from pipeline.training.slots import Places, Slots
    from pipeline.training.training_settings import LoopSettings

CHECKPOINTS = "checkpoints"
ADAPTER = "adapter"  # folder of the low-rank additions
FINISHED = "validation.json"
MODEL_FILES = ("model.safetensors", "config.json", "log.parquet", "samples.txt", FINISHED, MANIFEST)


@dataclass(frozen=True)
class TrainingProcess:
    """One of the processes that train a model together."""

    context: RunContext
    draft: Draft
    ranks: Ranks
    device: str  # of this process

    @property
    def machine(self) -> Machine:
        """What was measured on this machine."""
        return Machine.beside(self.context.store)

    def precision(self, setting: str, config: ModelConfig) -> str:
        """The number format to train a network in: one for all ranks, that of the first."""
        return self.ranks.agreed(lambda: machine.choose_precision(setting, self.device, config, self.machine))

    def memory_limit(self) -> float:
        """Bytes that every rank may use: what the one with the least has."""
        return self.ranks.least(lambda: machine.free_memory(self.device) * USABLE)

    def log(self, line: str) -> None:
        """Log `line`, on the first rank only."""
        if self.ranks.first:
            self.context.log(line)


@dataclass(frozen=True)
class Training:
    """What an objective prepares: everything specific to one kind of training."""

    asset: str
    objective: Objective
    network: torch.nn.Module
    settings: LoopSettings
    learning_rate: float
    precision: str
    sharded: bool
    facts: ModelFacts
    base: Artifact  # contains the tokenizer's files, which are copied into the model's directory
    blocks: Mapping[str, BaseModel]  # settings by block of the recipe, for MLflow
    new_network: Callable[[], torch.nn.Module]  # builds the network again, to gather sharded weights into
    final_network: Callable[[Any], torch.nn.Module] = lambda network: network  # from the trained to the saved network
    write_parts: Callable[[Any, Path], None] = lambda network, directory: None  # what is kept of the trained network
    end: str = "<eos>"  # the token that ends generated text
    facts_of_log: Callable[[Sequence[Row]], dict[str, Any]] = lambda log: {}  # what only a finished run knows
    slots: Slots | None = None  # that its batches leave empty
    # The first step (from 0) that differs if these slots are empty and not full; None: it keeps no ladder.
    first_difference: Callable[[Places], int] | None = None


def make_on_all_ranks(
    context: RunContext, asset: str, prepare: Callable[[TrainingProcess], Training], **identity: Any
) -> Artifact:
    """`store.make` for a trained model, when several processes may train it. `prepare` is called in each of them.

    Ranks other than the first write into a temporary directory, which is discarded. What one rank refuses while it
    prepares, all refuse with the same sentence.
    """
    family = family_of(asset, **identity)
    with (
        distributed.process_group(machine.choose_device(context.device)) as (ranks, device),
        machine.deterministic(device),
    ):

        def train(draft: Draft) -> None:
            process = TrainingProcess(context, draft, ranks, device)
            with device_lock.alone(context, asset, device, ranks):
                train_and_write(process, ranks.together(lambda: prepare(process)), family)

        if not ranks.first:  # rank 0 tells whether the store needs the model to be trained
            while ranks.agreed(lambda: False):
                with tempfile.TemporaryDirectory() as directory:
                    train(Draft(Path(directory), list, lambda line: None))
            return context.store.require(asset)
        asked = []

        def build(draft: Draft) -> None:
            def work() -> None:
                asked.append(ranks.agreed(lambda: True))
                train(draft)

            draft.once("training", work, scratch=CHECKPOINTS)

        try:
            artifact = context.store.make(asset, build=build, log=context.log, **identity)
        except UserError as error:
            if not asked:  # the others still wait to hear whether there is anything to train
                ranks.refuse(error)
            raise
        ranks.agreed(lambda: False)
        return artifact


def family_of(asset: str, code_version: str, settings: dict[str, Any], inputs: Mapping[str, Artifact]) -> str:
    """The digest of what a model is made of but its slots: models that have it in common differ only in these."""
    given = {name: one.digest for name, one in inputs.items() if name not in slots.ASSETS.values()}
    return digest({"asset": asset, "code_version": code_version, "settings": settings, "inputs": given})


def train_and_write(process: TrainingProcess, training: Training, family: str) -> None:
    """Train the network, and write the artifact's files on the first rank."""
    from pipeline.training import loop

    context, ranks = process.context, process.ranks
    with tracked_run(process, training) as run:
        options = RunOptions(
            directory=process.draft.directory / CHECKPOINTS,
            device=process.device,
            precision=training.precision,
            muon_precision=muon_precision(process, training),
            ranks=ranks,
            sharded=training.sharded,
            run=run,
            log=process.log,
            progress=context.progress,
            should_stop=context.should_stop,
        )
        options = with_ladder(process, training, options, family)
        result = loop.train(
            training.objective, training.network, training.settings, training.learning_rate, context.seed, options
        )
        trained = gathered_network(training.network, training.new_network)
        if ranks.first:
            training.write_parts(trained, process.draft.directory)
        network = training.final_network(trained)
        process.draft.made_on.update(made_on(options))
        if run and ranks.first:
            run.tags({f"{tracking.MADE_ON}{name}": value for name, value in made_on(options).items()})
        if ranks.first:
            write_model(process.draft, network, training, result, run)


def made_on(options: RunOptions) -> dict[str, Any]:
    """What the weights were made on, as their bytes depend on it; part of no identity."""
    import torch

    on_gpu = options.device.startswith("cuda")
    device = {"device": torch.cuda.get_device_name(options.device)} if on_gpu else {}
    formats = {"precision": options.precision, "muon_precision": options.muon_precision}
    return {**noted.made_on(), **device, **formats, "processes": options.ranks.world}


def with_ladder(process: TrainingProcess, training: Training, options: RunOptions, family: str) -> RunOptions:
    """The options with the ladder that the run is to leave. A run that is new begins on a ladder of an earlier one."""
    share = getattr(training.settings, "ladder", 0.0)
    if training.first_difference is None or not process.context.replays or process.context.experiment:
        return options  # cells of experiments are many, and nobody forgets anything in them
    objective, draft = training.objective, process.draft.directory
    places = training.slots.places if training.slots else frozenset()
    ladders = draft.parent / LADDERS
    run = ladder.Run(family, bytes_depend_on(training, options), places)
    own: Ladder | None = None
    if share:
        steps = frozenset(ladder.steps_of(objective.steps, share))
        own = Ladder(ladders / process.draft.fingerprint[:16], steps, training.settings.select == "best")
    if process.ranks.first:
        if not all_in(options.directory):  # else the run was begun before
            first = training.first_difference
            start = ladder.best_start(ladders, run, first, objective.kept_steps, process.log)
            if start is not None:
                ladder.begin_at(start, draft, options.directory, own)
                process.log(
                    f"{training.asset}: the first {start.step:,} of {objective.steps:,} steps are as they were, and are"
                    " taken from the checkpoints of an earlier version"
                )
        if own is not None:
            ladder.describe(own.directory, run)
    return replace(options, ladder=own)


def bytes_depend_on(training: Training, options: RunOptions) -> dict[str, Any]:
    """On what the bytes of a checkpoint depend besides what the model is made of."""
    made, settings = made_on(options), training.settings
    names = ("cpu", "torch", "threads", "blas", "device", "precision", "muon_precision", "processes")
    return {
        **{name: made[name] for name in names if name in made},
        "accumulation": training.objective.accumulation,
        "step_tokens": training.objective.step_tokens,
        "sharded": training.sharded,
        **{name: getattr(settings, name) for name in ("compile", "activation_checkpointing", "loss_chunk")},
    }


def muon_precision(process: TrainingProcess, training: Training) -> str:
    """The number format of Muon's rounds, the same on all ranks; fp32 where Muon is not used."""
    if not training.settings.orthogonalises:
        return "fp32"
    config: Any = training.network.config
    return process.ranks.agreed(lambda: machine.muon_precision(process.device, config, process.machine))


# Always logged to MLflow, so that its page that compares two runs has both values.
COMPARED_FACTS = ("parameters", "tokens", "batch_tokens", "learning_rate", "epochs")
COMPARED_SETTINGS = {"layers", "width", "heads", "norm", "positions", "activation", "optimiser", "schedule"}


@contextmanager
def tracked_run(process: TrainingProcess, training: Training) -> Iterator[tracking.AnyRun | None]:
    """The MLflow run of this training: its checkpoint's run if there is one, else a new one. None on other ranks.

    The run lists the settings that differ from their defaults, and COMPARED_SETTINGS; its recipe.yaml has all settings.
    """
    if not process.ranks.first:
        yield None
        return
    earlier_run = Checkpoints.tracking_run(process.draft.directory / CHECKPOINTS)
    params = {
        f"{block}.{name}": value
        for block, settings in training.blocks.items()
        for name, value in (
            settings.model_dump(include=COMPARED_SETTINGS) | settings.model_dump(exclude_defaults=True)
        ).items()
    }
    asset = training.asset
    tags = {
        tracking.RECIPE: process.context.store.recipe,
        tracking.FINGERPRINT: process.draft.fingerprint,
        "slm.asset": asset,
    }
    facts = training.facts.for_manifest()
    params |= {name: facts[name] for name in COMPARED_FACTS if name in facts}
    name = tracking.named(tags[tracking.RECIPE], asset, process.draft.fingerprint, training.facts.parameters)
    if process.context.experiment:
        name = f"{process.context.experiment} · {process.context.cell}"
        tags |= {tracking.EXPERIMENT_OF: process.context.experiment, tracking.CELL: process.context.cell}
    with tracking.run(asset, name, tags, params, resume=earlier_run) as run:
        yield run


def gathered_network(network: Any, new_network: Callable[[], Any]) -> Any:
    """The unsharded network, on every rank: `network` itself, or a new one with the gathered weights."""
    if not any(hasattr(p, "full_tensor") for p in network.parameters()):
        return network
    weights = {name: distributed.gathered(p.detach()).cpu() for name, p in network.named_parameters()}
    gathered = new_network()
    gathered.load_state_dict(weights, strict=False)
    return gathered


def write_model(
    draft: Draft, network: Any, training: Training, result: TrainingResult, run: tracking.AnyRun | None
) -> None:
    """Write the artifact's files, and note its facts and timings in the draft."""
    from model import export

    sample = training.objective.sample
    samples = sample(network) if sample else ""
    copy_tokenizer(training.base, draft)
    export.save(network, draft.directory, special_ids(draft.path(ABOUT), training.end))
    write_table(log_table(result.log), draft.path("log.parquet"))
    write_whole(draft.path("samples.txt"), samples)
    draft.timings.update({name: round(value, 4) for name, value in result.timings.items()})
    facts = training.facts.after(result.log[-1]["step"] if result.log else 0)
    draft.facts.update(
        {**facts.for_manifest(), **result.figures, **training.facts_of_log(result.log), "skipped_steps": result.skipped}
    )
    if run:
        run.text(samples, "samples/final.txt")
        for name in ("config.json", "log.parquet"):
            run.artifact(draft.path(name))
    write_whole(draft.path(FINISHED), json.dumps(draft.facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def special_ids(about: Path, end: str) -> dict[str, int]:
    """The ids that text-generation tools need: of the tokens for beginning of text, end of text and padding."""
    ids = json.loads(about.read_text(encoding="utf-8"))["special_tokens"]
    return {f"{role}_token_id": ids[token] for role, token in (("bos", "<bos>"), ("eos", end), ("pad", "<pad>"))}


def copy_tokenizer(base: Artifact, draft: Draft) -> None:
    """Copy the tokenizer's files, from its own artifact or from a model that contains them."""
    for name in base.manifest["files"]:
        if (
            name in MODEL_FILES
            or name.endswith(".parquet")
            or name.startswith((f"{ADAPTER}/", f"{kept_weights.FOLDER}/"))
        ):
            continue
        with whole(draft.path(name)) as unfinished:
            shutil.copyfile(base.file(name), unfinished)

"""`distilled_model`: a network that learns from what teachers say of the text (Hinton et al. 2015), and its teachers.

Teachers are trained as `pretraining` says, each from a seed of its own (`teacher_model_1`, ...); `teacher_logits` keeps
what they say. The student has the recipe's shape and reads the same batches as pretraining would, of as many tokens;
only the loss differs. So what distillation gains is seen beside `pretrained_model`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.context import Inputs, RunContext
from pipeline.store.artifact import Artifact
from pipeline.training import slots
from pipeline.training.distillation_settings import DistillationSettings
from pipeline.training.objectives import pretraining
from pipeline.training.planning import plan

if TYPE_CHECKING:
    import torch

    from pipeline.training.model_artifact import Training, TrainingProcess
    from pipeline.training.objectives.objective import Batch

VERSION = "2"  # 2: short rows in bf16 on a CPU attend by the plain formula
ASSET = "distilled_model"
TEACHER = "teacher_model"


@dataclass(frozen=True)
class Distillation:
    """The settings of a student: of the distillation, and of its pretraining."""

    distillation: DistillationSettings
    pretraining: plan.Pretraining


@dataclass(frozen=True)
class Teacher:
    """The settings of one teacher."""

    number: int  # from 1; added to the recipe's seed
    pretraining: plan.Pretraining

    @property
    def asset(self) -> str:
        return f"{TEACHER}_{self.number}"


def teachers_of(settings: DistillationSettings, student: plan.Pretraining) -> list[Teacher]:
    """The teachers of a recipe, of its own shape or of that of the block."""
    taught = replace(student, model=settings.teacher or student.model)
    return [Teacher(number, taught) for number in range(1, settings.teachers + 1)]


def make_teacher(context: RunContext, inputs: Inputs, settings: Teacher) -> Artifact:
    """Train a teacher. inputs and errors: those of `pretraining.make`."""
    context = replace(context, seed=context.seed + settings.number)

    def prepare(process: TrainingProcess, training: Training) -> Training:
        return replace(training, asset=settings.asset)

    return _make(context, inputs, settings.asset, settings.pretraining, prepare, {})


def make(context: RunContext, inputs: Inputs, settings: Distillation) -> Artifact:
    """Train the student. inputs: token_shards, tokenizer, teacher_logits. Raises what `pretraining.make` raises."""

    def prepare(process: TrainingProcess, training: Training) -> Training:
        return student(process, training, inputs, settings)

    learned = {"distillation": settings.distillation.learned}
    return _make(context, inputs, ASSET, settings.pretraining, prepare, learned)


def _make(
    context: RunContext,
    inputs: Inputs,
    asset: str,
    settings: plan.Pretraining,
    changed: Callable[[TrainingProcess, Training], Training],
    identity: dict[str, Any],
) -> Artifact:
    """A model that is pretrained, but for what `changed` changes in the training."""
    from pipeline.training.model_artifact import make_on_all_ranks

    shards, tokenizer = inputs["token_shards"], inputs["tokenizer"]
    run_settings = settings.for_shards(shards)
    slots.refuse(context, shards, asset)

    def prepare(process: TrainingProcess) -> Training:
        training = pretraining.prepare(process, pretraining.Text(shards), tokenizer, settings.model, run_settings)
        return changed(process, replace(training, first_difference=None))

    return make_on_all_ranks(
        context,
        asset,
        prepare,
        code_version=f"{VERSION}/{pretraining.VERSION}",
        settings={
            "model": settings.model.model_dump(mode="json"),
            "pretraining": run_settings.identity,
            **identity,
            "seed": context.seed,
        },
        inputs={artifact.asset: artifact for artifact in inputs.values()},
    )


def student(process: TrainingProcess, training: Training, inputs: Inputs, settings: Distillation) -> Training:
    """A pretraining whose batches have what the teachers say, and whose loss counts it."""
    from pipeline.training.data.origins import OriginFeed
    from pipeline.training.teacher_logits import Said

    shards, logits, ranks = inputs["token_shards"], inputs["teacher_logits"], process.ranks
    objective, context = training.objective, settings.pretraining.model.context
    accumulation = objective.accumulation
    sequences = objective.step_tokens // (context * ranks.world * accumulation)
    feed = settings.pretraining.for_shards(shards).feed
    origins = OriginFeed(shards, feed, process.context.seed, context, sequences, ranks.rank, ranks.world, accumulation)
    said = Said(logits, shards)

    def batch(step: int, micro: int) -> Batch:
        import torch

        ids, log_p = said.take(origins.rows(step * accumulation + micro))
        told = {"teacher_ids": torch.from_numpy(ids), "teacher_log_p": torch.from_numpy(log_p)}
        return {**objective.batch(step, micro), **told}

    details = {
        "teachers": logits.facts["teachers"], "top_k": said.top_k, "kept_probability": logits.facts["kept_probability"],
        **settings.distillation.learned,
    }  # fmt: skip
    facts = replace(training.facts, details={**training.facts.details, **details})
    process.log(
        f"taught by {logits.facts['teachers']} teachers, of whose probability the {said.top_k} likeliest tokens have"
        f" {logits.facts['kept_probability']:.3f}"
    )
    return replace(
        training,
        asset=ASSET,
        objective=replace(
            objective, name="distillation", batch=batch, loss=loss_of(settings.distillation, training.settings.chunk)
        ),
        facts=facts,
        blocks={**training.blocks, "distillation": settings.distillation},
    )


def loss_of(
    settings: DistillationSettings, chunk: int | None
) -> Callable[[torch.nn.Module, Batch], tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    """Both terms, summed over the targets; `text_loss` is that of the text alone, as pretraining logs it."""
    from model.distillation import Taught

    def loss(network: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        taught = Taught(
            batch["teacher_ids"], batch["teacher_log_p"], settings.weight, settings.temperature,
            settings.rest == "bucket",
        )  # fmt: skip
        total, text = network(
            batch["tokens"], batch["targets"], documents=batch["documents"], positions=batch["positions"], chunk=chunk,
            taught=taught,
        )  # fmt: skip
        return total, {"text_loss": text.detach()}

    return loss

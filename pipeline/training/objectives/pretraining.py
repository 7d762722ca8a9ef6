"""`pretrained_model`: a network trained on token shards.

Specific to pretraining: batches come from the token feed, the loss is that of the next token (or of masked tokens, for
bidirectional networks), and validation measures bits per byte, which can be compared across tokenizers. The loop does
the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from model.config import IGNORED, ModelConfig
from pipeline.context import Inputs, RunContext
from pipeline.store.artifact import Artifact
from pipeline.training import slots
from pipeline.training.model_facts import ModelFacts
from pipeline.training.planning import budget as budgets
from pipeline.training.planning import plan
from pipeline.training.pretraining_settings import PretrainingSettings

if TYPE_CHECKING:
    import torch

    from pipeline.tokens.tokenizer import Tokenizer
    from pipeline.training.data.feed import Feed
    from pipeline.training.distributed import Ranks
    from pipeline.training.model_artifact import Training, TrainingProcess
    from pipeline.training.objectives.masking import MixedBatches
    from pipeline.training.objectives.objective import Batch
    from pipeline.training.slots import Slots
    from pipeline.training.validation import Mask

# 7: short rows in bf16 on a CPU attend by the plain formula. 6: neighbouring sequences lie far apart; the average of
# the weights warms up; another rule of drawing; on a CPU `precision: auto` and Muon's rounds follow a measurement
VERSION = "7"
MASKS = "2"  # version of the masks of a network that reads both ways. 2: drawn by row, whatever the micro-batch
ASSET = "pretrained_model"


def make(context: RunContext, inputs: Inputs, settings: plan.Pretraining) -> Artifact:
    """Train a network on token shards; the artifact's directory alone is enough to use it.

    inputs: token_shards, tokenizer. Raises UserError if the run cannot fit or there is too little text, `Stopped` if a
    stop was requested.
    """
    from pipeline.training.model_artifact import make_on_all_ranks

    shards, tokenizer = inputs["token_shards"], inputs["tokenizer"]
    run_settings = settings.for_shards(shards)
    empty = slots.made_for(context, shards)
    if run_settings.seed is not None:
        context = replace(context, seed=run_settings.seed)

    return make_on_all_ranks(
        context,
        ASSET,
        lambda process: prepare(process, Text(shards, slots.read(empty)), tokenizer, settings.model, run_settings),
        code_version=VERSION,
        settings={
            "model": settings.model.model_dump(mode="json"),
            "pretraining": run_settings.identity,
            "seed": context.seed,
            **({} if settings.model.causal else {"masks": MASKS}),
        },
        inputs=slots.inputs_with({"token_shards": shards, "tokenizer": tokenizer}, empty),
    )


@dataclass(frozen=True)
class Text:
    """What is trained on: token shards, and their slots that are left empty."""

    shards: Artifact
    slots: Slots | None = None


def prepare(
    process: TrainingProcess, text: Text, tokenizer: Artifact, model: ModelConfig, settings: PretrainingSettings
) -> Training:
    """The network, its batches and its validation, for the loop."""
    import torch

    from model import predict_ahead
    from pipeline.tokens.tokenizer import load
    from pipeline.training.data.feed import Feed
    from pipeline.training.kept_weights import steps_to_keep
    from pipeline.training.model_artifact import Training
    from pipeline.training.objectives.masking import MixedBatches, Words, masker
    from pipeline.training.objectives.objective import Objective
    from pipeline.training.validation import Validation, documents_of
    from pipeline.village.asking import asking

    ranks, device, seed, shards = process.ranks, process.device, process.context.seed, text.shards
    config = plan.with_vocabulary(model, tokenizer)
    loaded = load(tokenizer.local_directory())
    size = budgets.size(config)
    precision = process.precision(settings.precision, config)
    fit = plan.fit(config, settings, precision, device, ranks.world, process.memory_limit())
    available = plan.tokens_in(shards)
    run = budgets.budget(settings, size, config.context, available, fit.sequences, ranks.world)
    feed = Feed(shards, settings.feed, seed, config.context, run.sequences, ranks.rank, ranks.world, run.accumulation)
    if text.slots is not None:
        feed.leave_empty(text.slots)
    early_tokens = settings.validation_tokens or budgets.default_validation_tokens(run.tokens)
    mask = mixed = None
    if settings.masked_share or not config.causal:
        words = Words.of(loaded) if settings.mask_words else None
        mask = masker(config, settings, seed, loaded.ids["<unk>"], words)
    if mask is not None and config.causal:
        mixed, mask = MixedBatches(mask, settings.masked_share, settings.mask_share, seed), None
    held_back = documents_of(shards, loaded.document_start, text.slots)
    validation = Validation(held_back, config.context, run.sequences, early_tokens, mask)
    objective = Objective(
        name="pretraining",
        steps=run.steps,
        accumulation=run.accumulation,
        step_tokens=run.step_tokens,
        batch=batches(feed, mask or mixed, ranks, run.accumulation),
        units=target_count,
        loss=loss_of(settings),
        validation_batches=validation.early_batches,
        validation_batches_final=validation.total_batches,
        measure=validation.measure,
        summary=validation.summary,
        sample=sampler(loaded, settings) if config.causal else None,
        ask=asking(loaded, settings.village) if config.causal and settings.village is not None else None,
        kept_steps=steps_to_keep(run.steps, settings.kept_weights),
        flops_per_token=budgets.flops_per_token(config, settings),
        out_of_memory=lambda: plan.advice(config, settings, precision, device, run.sequences),
    )
    process.log(
        f"{size.parameters / 1e6:.1f} M parameters, {run.tokens / 1e6:.1f} M tokens ({run.epochs:.2f} epochs) in"
        f" {run.steps:,} steps of {ranks.world} x {run.accumulation} x {run.sequences} sequences of"
        f" {config.context}, {precision} on {device}"
    )
    torch.manual_seed(seed)
    return Training(
        asset=ASSET,
        objective=objective,
        network=predict_ahead.network(config, settings.predict_ahead),
        settings=settings,
        learning_rate=run.learning_rate,
        precision=precision,
        sharded=fit.sharded,
        facts=facts_of(size, run, precision),
        base=tokenizer,
        blocks={"model": config, "pretraining": settings},
        new_network=lambda: predict_ahead.network(config, settings.predict_ahead),
        final_network=lambda network: network.drop_heads() if settings.predict_ahead else network,
        slots=text.slots,
        first_difference=lambda places: first_difference(shards, places, settings, seed, run, config.context),
    )


def first_difference(
    shards: Artifact,
    places: slots.Places,
    settings: PretrainingSettings,
    seed: int,
    run: budgets.Budget,
    context: int,
) -> int:
    """The first step (from 0) in which the batches, or what is measured, differ if these slots are empty and not full.

    All steps of the run if none does. What is measured after step n is in the state of step n.
    """
    from pipeline.training.data.shard_reader import TRAIN
    from pipeline.training.data.whereabouts import TracedFeed

    if not places:
        return run.steps
    traced = TracedFeed(shards, settings.feed, seed, context, run.step_tokens // context)
    first = run.steps
    for fragment, row in sorted(places):
        split, length = traced.split_and_length(fragment, row)
        if split == TRAIN:
            # From -1 on: what begins a document predicts its first token. What looks further ahead is in the same row.
            steps = traced.steps_with(fragment, row, -1, length, first)
            first = min([first, *steps[:1]])
        else:
            first = min(first, settings.steps_to_validation(run.steps) - 1)
    return first


def facts_of(size: budgets.Size, run: budgets.Budget, precision: str) -> ModelFacts:
    return ModelFacts(
        parameters=size.parameters,
        steps=run.steps,
        tokens=run.tokens,
        batch_tokens=run.step_tokens,
        learning_rate=run.learning_rate,
        epochs=round(run.epochs, 3),
        details={"precision": precision},
    )


# -- the batch and its loss --------------------------------------------------------------------------------------------


def batches(
    feed: Feed, mask: Mask | MixedBatches | None, ranks: Ranks, accumulation: int
) -> Callable[[int, int], Batch]:
    """The loop's `batch(step, micro)`, read from the token feed and, with `mask`, masked, or partly so."""
    import torch

    from pipeline.training.objectives.masking import MixedBatches

    def batch(step: int, micro: int) -> Batch:
        sequences = feed.batch(step * accumulation + micro)
        arrays = {
            "tokens": sequences.tokens,
            "targets": sequences.targets,
            "documents": sequences.documents,
            "positions": sequences.positions,
        }
        tensors: Batch = {name: torch.as_tensor(array) if array is not None else None for name, array in arrays.items()}
        number = (step * accumulation + micro) * ranks.world + ranks.rank
        if isinstance(mask, MixedBatches):
            return mask.of(tensors, number * len(sequences.tokens))
        if mask is not None:
            tensors["tokens"], tensors["targets"] = mask(tensors["tokens"], number * len(sequences.tokens))
            if sequences.empty is not None:
                tensors["targets"][torch.as_tensor(sequences.empty)] = IGNORED
        return tensors

    return batch


def target_count(batch: Batch) -> float:
    """The targets of a batch, each as often as its row weighs."""
    targets, weights = batch["targets"] != IGNORED, batch.get("weights")
    return float(targets.sum() if weights is None else (targets * weights[:, None]).sum())


def loss_of(settings: Any) -> Callable[[torch.nn.Module, Batch], tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    """The loss summed over the targets, computed in chunks, with z-loss if the settings enable it.

    With `predict_ahead`, `next_loss` is that of the next tokens alone, which other runs log as their loss.
    """

    def loss(network: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        further = {"further": True} if getattr(settings, "predict_ahead", 0) else {}  # which tunings have not
        mixed = {name: batch[name] for name in ("both_ways", "weights") if name in batch}
        total, beside = network(
            batch["tokens"], batch["targets"], documents=batch["documents"], positions=batch["positions"],
            chunk=settings.chunk, z_loss=settings.z_loss, **further, **mixed,
        )  # fmt: skip
        if further:
            return total + settings.predict_ahead_weight * beside, {"next_loss": total.detach()}
        return total, {}

    return loss


def sampler(tokenizer: Tokenizer, settings: PretrainingSettings) -> Callable[[torch.nn.Module], str]:
    """A function that returns the network's continuations of the fixed prompts, each at the start of a document."""
    from model.generate import generate
    from model.sampling import Sampling

    def sample(network: Any) -> str:
        lines = []
        for prompt in settings.sample_prompts:
            ids = [tokenizer.document_start, *tokenizer.encode([prompt])[0].tolist()]
            continuation = generate(
                network,
                ids,
                max_new=settings.sample_tokens,
                sampling=Sampling(temperature=0.8, top_k=50),
                stop_ids=(tokenizer.document_start,),
            )
            lines.append(f"{prompt}⏵{tokenizer.shown(list(continuation))}")
        return "\n\n".join(lines) + "\n"

    return sample

"""`pretrained_model`: from token shards to a network that can be loaded, chatted with and handed on.

What is particular to pretraining stands here: the batch comes from the token feed, the loss is that of the next token
(or of masked tokens, for networks that see both ways), and what is measured is bits per byte, which compares across
tokenizers. Everything else is the loop's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from model.config import ModelConfig
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.training.planning import budget as budgets
from pipeline.training.planning import plan
from pipeline.training.training_settings import PretrainingSettings

if TYPE_CHECKING:
    import torch

    from pipeline.tokens.tokenizer import Tokenizer
    from pipeline.training.distributed import Ranks
    from pipeline.training.objectives.objective import Batch

VERSION = "5"
ASSET = "pretrained_model"
IGNORED = -100


def make(
    store: Store,
    shards: Artifact,
    tokenizer: Artifact,
    model: ModelConfig,
    settings: PretrainingSettings,
    seed: int,
    device: str,
    log: Callable[[str], None] = print,
    progress: Callable[[dict[str, Any]], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Artifact:
    """Train a network of the shape `model` on `shards`; the artifact's directory alone is enough to use it.

    Raises UserError where the run cannot fit or there is no text, `loop.Stopped` where it was asked to stop.
    """
    from pipeline.training.model_artifact import made_by_all

    def train(draft: Draft, ranks: Ranks, own: str) -> None:
        _train(draft, ranks, own, store, shards, tokenizer, model, settings, seed, log, progress, should_stop)

    return made_by_all(
        store,
        ASSET,
        device,
        train,
        log,
        code_version=VERSION,
        settings={"model": model.model_dump(mode="json"), "pretraining": settings.identity, "seed": seed},
        inputs={"token_shards": shards, "tokenizer": tokenizer},
    )


def _train(
    draft: Draft, ranks: Ranks, device: str, store: Store, shards: Artifact, tokenizer: Artifact, model: ModelConfig,
    settings: PretrainingSettings, seed: int, log: Callable[[str], None],
    progress: Callable[[dict[str, Any]], None] | None, should_stop: Callable[[], bool] | None,
) -> None:  # fmt: skip
    import torch

    from model.transformer import Transformer
    from pipeline.tokens.tokenizer import load
    from pipeline.training import loop, machine
    from pipeline.training import model_artifact as artifact
    from pipeline.training.data.feed import Feed
    from pipeline.training.objectives.objective import Objective
    from pipeline.training.validation import Validation, documents_of

    config = plan.with_vocabulary(model, tokenizer)
    speaker = load(tokenizer.whole())
    sized = budgets.size(config)
    precision = machine.choose_precision(settings.precision, device, sized.parameters)
    fit = plan.fit(config, settings, precision, device, ranks.world)
    available = plan.tokens_in(shards)
    run = budgets.budget(settings, sized, config.context, available, fit.sequences, ranks.world)
    feed = Feed(shards, settings.feed, seed, config.context, run.sequences, ranks.rank, ranks.world, run.accumulation)
    on_the_way = settings.validation_tokens or min(65_536, int(0.015 * run.tokens))
    mask = None if config.causal else masker(config, settings, seed, speaker.ids["<unk>"])
    held_back = documents_of(shards, speaker.document_start)
    validation = Validation(held_back, config.context, run.sequences, on_the_way, mask)
    sample = sampler(speaker, settings) if config.causal else None
    objective = Objective(
        name="pretraining",
        steps=run.steps,
        accumulation=run.accumulation,
        step_tokens=run.step_tokens,
        batch=batches(feed, config, settings, seed, ranks, run.accumulation, speaker.ids["<unk>"]),
        units=targets_in,
        loss=loss_of(settings),
        validation_batches=validation.some,
        validation_batches_final=validation.all,
        measure=validation.measure,
        summary=validation.summary,
        sample=sample,
        flops_per_token=sized.flops_per_token,
        out_of_memory=lambda: plan.advice(config, settings, precision, device, run.sequences),
    )
    facts = {
        "parameters": sized.parameters, "tokens": run.tokens, "steps": run.steps, "batch_tokens": run.step_tokens,
        "learning_rate": float(f"{run.learning_rate:.6g}"), "epochs": round(run.epochs, 3), "precision": precision,
    }  # fmt: skip
    if ranks.first:
        log(
            f"{sized.parameters / 1e6:.1f} M parameters, {run.tokens / 1e6:.1f} M tokens ({run.epochs:.2f} passes) in"
            f" {run.steps:,} steps of {ranks.world} x {run.accumulation} x {run.sequences} sequences of"
            f" {config.context}, {precision} on {device}"
        )
    torch.manual_seed(seed)
    network: Any = Transformer(config)
    blocks = {"model": config, "pretraining": settings}
    with artifact.followed(ranks, store, ASSET, draft, blocks, facts) as tracked:
        trained = loop.train(
            objective, network, settings, learning_rate=run.learning_rate, seed=seed, device=device,
            directory=draft.directory / artifact.CHECKPOINTS, ranks=ranks, sharded=fit.sharded, run=tracked,
            log=log if ranks.first else lambda line: None, progress=progress, should_stop=should_stop,
        )  # fmt: skip
        network = artifact.whole_network(network, lambda: Transformer(config))
        if ranks.first:
            artifact.finish(draft, network, tokenizer, trained, facts, sample(network) if sample else "", tracked)


# -- the batch and its loss --------------------------------------------------------------------------------------------


def batches(
    feed: Any,
    config: ModelConfig,
    settings: PretrainingSettings,
    seed: int,
    ranks: Ranks,
    accumulation: int,
    masked: int,
) -> Callable[[int, int], Batch]:
    """What the loop asks for, out of the token feed."""
    import torch

    mask = None if config.causal else masker(config, settings, seed, masked)

    def batch(step: int, micro: int) -> Batch:
        found = feed.batch(step * accumulation + micro)
        arrays = {
            "tokens": found.tokens,
            "targets": found.targets,
            "documents": found.documents,
            "positions": found.positions,
        }
        tensors: Batch = {name: torch.as_tensor(array) if array is not None else None for name, array in arrays.items()}
        if mask is not None:
            place = (step * accumulation + micro) * ranks.world + ranks.rank
            tensors["tokens"], tensors["targets"] = mask(tensors["tokens"], place)
        return tensors

    return batch


def masker(
    config: ModelConfig, settings: PretrainingSettings, seed: int, masked: int
) -> Callable[[torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]]:
    """Tokens to guess in the batch at `place`: 8 of 10 hidden, 1 replaced, 1 left (Devlin et al. 2018, A.1)."""
    import torch

    from pipeline.training.objectives.objective import randomness

    def mask(tokens: torch.Tensor, place: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(randomness(seed, place, 0, 0))
        chosen = torch.rand(tokens.shape, generator=generator) < settings.mask_share
        how = torch.rand(tokens.shape, generator=generator)
        others = torch.randint(config.vocab_size, tokens.shape, generator=generator)
        shown = torch.where(chosen & (how < 0.8), masked, torch.where(chosen & (how >= 0.9), others, tokens))
        return shown, torch.where(chosen, tokens, IGNORED)

    return mask


def targets_in(batch: Batch) -> float:
    return float((batch["targets"] != IGNORED).sum())


def loss_of(settings: Any) -> Callable[[torch.nn.Module, Batch], tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    """Sum over the targets, in chunks, with the z-loss that the settings ask for."""

    def loss(network: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        total, _ = network(
            batch["tokens"], batch["targets"], documents=batch["documents"], positions=batch["positions"],
            chunk=settings.chunk, z_loss=settings.z_loss,
        )  # fmt: skip
        return total, {}

    return loss


def sampler(speaker: Tokenizer, settings: PretrainingSettings) -> Callable[[torch.nn.Module], str]:
    """What the network makes of the fixed prompts, each at the start of a document."""
    from model.generate import generate

    def sample(network: Any) -> str:
        lines = []
        for prompt in settings.sample_prompts:
            ids = [speaker.document_start, *speaker.encode([prompt])[0].tolist()]
            made = generate(
                network,
                ids,
                max_new=settings.sample_tokens,
                temperature=0.8,
                top_k=50,
                seed=0,
                stop_ids=(speaker.document_start,),
            )
            lines.append(f"{prompt}⏵{speaker.decode(list(made))}")
        return "\n\n".join(lines) + "\n"

    return sample

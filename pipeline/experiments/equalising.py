"""The same budget for all cells of an experiment: FLOPs, tokens, steps, or tokens and parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace

from model.config import ModelConfig
from pipeline.experiments.experiment_settings import Equal
from pipeline.store.artifact import Artifact
from pipeline.training.planning import budget as budgets
from pipeline.training.planning.plan import Pretraining, tokens_in, with_vocabulary

FFN_STEP = 8  # the inner width of the feed-forward network is a multiple of it


@dataclass(frozen=True)
class Budgeted:
    """What a training takes."""

    parameters: int
    tokens: int  # of all steps
    asked: int  # tokens before they were rounded to whole steps
    steps: int
    step_tokens: int
    flops: float


def budgeted(settings: Pretraining, shards: Artifact, tokenizer: Artifact) -> Budgeted:
    """What a training on these token shards takes. Raises UserError if there is too little text."""
    config = with_vocabulary(settings.model, tokenizer)
    sized = budgets.size(config)
    available, run = tokens_in(shards), settings.pretraining
    found = budgets.budget(run, sized, settings.model.context, available, sequences=1)
    asked = run.tokens or min(budgets.TOKENS_A_PARAMETER * sized.parameters, int(run.max_epochs * available))
    flops = budgets.flops_per_token(config, run) * found.tokens
    return Budgeted(sized.parameters, found.tokens, asked, found.steps, found.step_tokens, flops)


def equalised(
    settings: Pretraining, shards: Artifact, tokenizer: Artifact, budget: Budgeted, equal: Equal
) -> Pretraining:
    """The settings with the tokens (and, with `parameters`, the inner width) at which they spend what `budget` says."""
    if equal == "nothing":
        return settings
    if equal == "parameters":
        config = with_vocabulary(settings.model, tokenizer)
        inner = with_parameters(config, budget.parameters)
        if inner != config.resolved().ffn:
            settings = replace(settings, model=settings.model.model_copy(update={"ffn": inner}))
    own = budgeted(settings, shards, tokenizer)
    wanted = budget.asked
    if equal == "steps":
        wanted = budget.steps * own.step_tokens
    elif equal == "flops":
        wanted = round(budget.asked * (budget.flops / budget.tokens) / (own.flops / own.tokens))
    if wanted == own.asked:
        return settings
    return replace(settings, pretraining=settings.pretraining.model_copy(update={"tokens": wanted}))


def with_parameters(config: ModelConfig, parameters: int) -> int:
    """The inner width at which a shape has about so many parameters."""
    full = config.resolved()
    each = full.layers * (3 if full.gated else 2) * full.width  # parameters for each column of the inner width
    more = round((parameters - budgets.size(full).parameters) / each / FFN_STEP) * FFN_STEP
    return max(FFN_STEP, full.ffn + more)

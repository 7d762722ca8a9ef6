"""`slm plan`: how long a training takes, what it needs, and whether it fits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import project
from pipeline.errors import UserError

if TYPE_CHECKING:
    from model.config import ModelConfig
    from pipeline.graph import Project
    from pipeline.ingest.source import Source
    from pipeline.store.store import Store


@click.command()
@click.argument("recipe_file", metavar="[RECIPE]", required=False, type=click.Path(dir_okay=False))
@click.option("--gpu", help="Plan for this card (such as 3090, 4090, a100, h100) instead of this machine.")
@click.option("--tflops", type=click.FloatRange(min=0.1), help="Of a card that is not known: its peak in bf16, dense.")
@click.option("--memory", type=click.FloatRange(min=0.1), help="Of a card that is not known: its memory in GB.")
@click.option("--devices", default=1, show_default=True, help="Number of devices.")
def plan(recipe_file: str | None, gpu: str | None, tflops: float | None, memory: float | None, devices: int) -> None:
    """Estimate memory, time and loss of the trainings of RECIPE, before anything runs."""
    from pipeline.graph import Project
    from pipeline.training import machine
    from pipeline.training.cards import find_card

    opened = Project.open(recipe_file, log=click.echo) if recipe_file else project()
    given = gpu or tflops or memory
    card = find_card(gpu or "given", tflops or 0.0, memory or 0.0) if given else None
    device = "cuda" if card else machine.choose_device(opened.recipe.execution.device)
    for line in planned_lines(opened, card=card, device=device, world=devices):
        click.echo(line)


def planned_lines(opened: Project, **on: Any) -> Iterator[str]:
    """The plan of every training of a recipe, in words; `on` says for what device, as `plan.plan` takes it."""
    from pipeline.experiments.scaling import for_plan
    from pipeline.trained_models import enabled, models_of
    from pipeline.training.measured import Machine
    from pipeline.training.planning import distillation_plan
    from pipeline.training.planning.plan import plan, tokens_in
    from pipeline.training.planning.plan_words import lines
    from pipeline.training.planning.tuning_plan import line, plan_tuning

    recipe, here = opened.recipe, Machine.beside(opened.store)
    if recipe.base is None:
        shards = opened.store.current("token_shards")
        shape = recipe.model
        if not shape.vocab_size:
            shape = shape.model_copy(update={"vocab_size": recipe.tokenizer.vocab_size})
        text = tokens_in(shards) if shards else estimated_tokens(recipe.sources)
        figures = plan(shape, recipe.pretraining, text, here=here, **on)
        yield from lines(figures, estimated=not shards)
        yield from for_plan(opened.store, figures["flops"], figures["tokens"])
        if recipe.distillation is not None:
            yield from distillation_plan.planned(recipe.distillation, shape, recipe.pretraining, text, here=here, **on)
    else:
        shape = shape_of_base(opened.store)
    for model in models_of(recipe):
        if model.base and enabled(recipe, model):
            yield line(plan_tuning(shape, model.settings(recipe), here=here, **on))
    if recipe.reward_model is not None:
        yield line(plan_tuning(shape, recipe.reward_model, here=here, **on))


def estimated_tokens(sources: Sequence[Source]) -> int | None:
    """Tokens of text in files of one's own, by their size; None if any source is of another kind or cannot be seen."""
    from pipeline.ingest.files import FileSource
    from pipeline.training.planning.budget import tokens_of

    own = [source for source in sources if isinstance(source, FileSource)]
    if not own or len(own) < len(sources) or any(source.limit for source in own):
        return None
    try:
        found = sum(os.path.getsize(path) for source in own for _, path in source.matching())
    except (OSError, UserError):
        return None
    return tokens_of(found)


def shape_of_base(store: Store) -> ModelConfig:
    """The shape of the imported model, with the context of its tuning. Raises UserError if it is not imported yet."""
    from model.export import read_config
    from pipeline.trained_models import IMPORTED
    from pipeline.training.model_facts import ROW_TOKENS

    base = store.current(IMPORTED)
    if base is None:
        raise UserError(
            "The recipe starts from a downloaded model (`base`), whose shape is not known yet: `slm make base_model`"
            " imports it, then `slm plan` plans its tuning."
        )
    shape = read_config(base.local_directory())
    return shape.model_copy(update={"context": min(shape.context, base.facts.get(ROW_TOKENS, shape.context))})


COMMANDS = (plan,)

"""Models: plan a training run, chat with a model, serve it, compare runs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pipeline.commands import project
from pipeline.errors import UserError
from pipeline.store.artifact import MANIFEST


def _directory(model: str | None) -> Path:
    """The folder of a model: the one given as an asset, a version or a path, or else the newest."""
    from pipeline.inspect.lineage import find_model
    from pipeline.trained_models import MODELS

    if model and Path(model).is_dir():
        return Path(model)
    store = project().store
    if model:
        return find_model(store, model).local_directory()
    models = [artifact for name in MODELS if (artifact := store.current(name)) is not None]
    if not models:
        raise UserError("There is no model yet: run `dagster job execute -j pretrain_job`.")
    return models[-1].local_directory()


def _only_continues_text(directory: Path) -> bool:
    """Whether the model was only pretrained. Its tokenizer does not show that: it has the tokens of conversations."""
    from pipeline.trained_models import BY_NAME

    manifest = directory / MANIFEST
    if not manifest.exists():
        return False
    model = BY_NAME.get(json.loads(manifest.read_text(encoding="utf-8"))["asset"])
    return model is not None and not model.answers


@click.command()
@click.argument("recipe_file", metavar="[RECIPE]", required=False, type=click.Path(dir_okay=False))
@click.option("--gpu", help="Plan for this card (such as 3090, 4090, a100, h100) instead of this machine.")
@click.option("--devices", default=1, show_default=True, help="Number of devices.")
def plan(recipe_file: str | None, gpu: str | None, devices: int) -> None:
    """Estimate memory, time and loss of the pretraining of RECIPE, before anything runs."""
    from pipeline.graph import Project
    from pipeline.training import machine
    from pipeline.training.planning.plan import lines, tokens_in
    from pipeline.training.planning.plan import plan as planned

    opened = Project.open(recipe_file, log=click.echo) if recipe_file else project()
    recipe, shards = opened.recipe, opened.store.current("token_shards")
    if recipe.base is not None:
        raise UserError("The recipe starts from a downloaded model (`base`), so there is no pretraining to plan.")
    shape = recipe.model
    if not shape.vocab_size:
        shape = shape.model_copy(update={"vocab_size": recipe.tokenizer.vocab_size})
    device = "cuda" if gpu else machine.choose_device(recipe.execution.device)
    available = tokens_in(shards) if shards else None
    for line in lines(planned(shape, recipe.pretraining, available, gpu=gpu, device=device, world=devices)):
        click.echo(line)


@click.command()
@click.argument("model", required=False)
@click.option("--temperature", default=0.8, show_default=True)
@click.option("--seed", type=int, help="The same seed gives the same answers.")
def chat(model: str | None, temperature: float, seed: int | None) -> None:
    """Chat with MODEL in the terminal: an asset, a version or a folder; default: the newest model."""
    from model.serve.chat import chat as run_chat

    directory = _directory(model)
    run_chat(directory, temperature=temperature, seed=seed, plain=True if _only_continues_text(directory) else None)


@click.command()
@click.argument("model", required=False)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True)
def serve(model: str | None, host: str, port: int) -> None:
    """Serve MODEL over HTTP with OpenAI's API (/v1/chat/completions, /v1/completions)."""
    from model.serve.server import serve as run

    run(_directory(model), host=host, port=port)


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--out", default="comparison.png", show_default=True, help="File to draw the curves to.")
def compare(runs: tuple[str, ...], out: str) -> None:
    """Compare MLflow RUNS: settings that differ, figures, and curves in one picture."""
    from pipeline.inspect.comparison import compared

    click.echo(compared(runs, Path(out)))


COMMANDS = (plan, chat, serve, compare)

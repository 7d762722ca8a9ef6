"""Models: chat with a model, serve it, compare runs."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline import places
from pipeline.commands import project
from pipeline.commands.outputs import PICTURE
from pipeline.errors import UserError
from pipeline.store.artifact import MANIFEST

if TYPE_CHECKING:
    import torch

    from model.serve.grounding import Look
    from model.serve.text import TextModel
    from model.serve.tracing import Trace


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

    model = BY_NAME.get(_asset(directory) or "")
    return model is not None and not model.answers


def _generating_format(directory: Path) -> torch.dtype:
    """The number format in which this machine generates fastest with the model of the folder."""
    from model.export import load
    from pipeline.training import machine
    from pipeline.training.measured import Machine

    try:
        here = Machine.beside(project().store)
    except UserError:  # a folder needs no recipe
        here = Machine()
    return machine.for_generation(load(directory), here).output_weight.dtype


SAMPLING = (
    click.option(
        "--temperature",
        type=click.FloatRange(0, 10),
        default=0.8,
        show_default=True,
        help="0: always the likeliest token.",
    ),
    click.option("--top-k", type=click.IntRange(0), default=0, show_default=True, help="Keep the k likeliest tokens."),
    click.option(
        "--top-p",
        type=click.FloatRange(0, 1, min_open=True),
        default=0.95,
        show_default=True,
        help="Keep the likeliest tokens with this probability in total.",
    ),
    click.option(
        "--min-p",
        type=click.FloatRange(0, 1),
        default=0.0,
        show_default=True,
        help="Keep tokens with this share of the highest probability.",
    ),
    click.option(
        "--repetition-penalty",
        type=click.FloatRange(0, 10, min_open=True),
        default=1.0,
        show_default=True,
        help="Above 1: earlier tokens become less likely.",
    ),
    click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="The same seed gives the same answers."),
)


weights_option = click.option(
    "--weights",
    type=click.Choice(["auto", "fp32", "bf16", "int8"]),
    default="auto",
    show_default=True,
    help="Number format. auto: fp32 or bf16, whichever is faster here; int8: faster still, a little less exact.",
)


backend_option = click.option(
    "--backend",
    type=click.Choice(["auto", "torch", "llama.cpp"]),
    default="auto",
    show_default=True,
    help="What computes. auto: llama.cpp, which is faster, where it is installed and knows the network.",
)


def sampling_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how tokens are sampled."""
    for option in reversed(SAMPLING):
        command = option(command)
    return command


@click.command()
@click.argument("model", required=False)
@click.option("--system", default="", help="The system's turn: how to answer. It is never dropped.")
@click.option("--max-tokens", type=click.IntRange(1), default=512, show_default=True, help="Most tokens of an answer.")
@backend_option
@weights_option
@sampling_options
def chat(
    model: str | None, system: str, max_tokens: int, backend: str, weights: str, seed: int | None, **sampling: Any
) -> None:
    """Chat with MODEL in the terminal: an asset, a version or a folder; default: the newest model."""
    from model.sampling import Sampling
    from model.serve.chat import chat as run_chat
    from model.serve.text import ReplyOptions

    try:
        opened = _opened(_directory(model), weights, backend)
    except ValueError as error:
        raise UserError(str(error)) from error
    seed = secrets.randbits(31) if seed is None else seed
    run_chat(opened, ReplyOptions(Sampling(**sampling, seed=seed), max_tokens), system=system)


@click.command()
@click.argument("models", nargs=-1)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True)
@click.option(
    "--api-key",
    metavar="FILE",
    help="File of API keys, one in a line, with a name before it for the log. Default: the key in $SLM_API_KEY.",
)
@click.option("--together", type=click.IntRange(1), default=16, show_default=True, help="Requests answered at once.")
@click.option("--queue", type=click.IntRange(1), default=64, show_default=True, help="Requests waiting or answered.")
@click.option("--queue-by-key", type=click.IntRange(0), default=0, help="Of these, of one key.  [default: all]")
@click.option("--requests-by-minute", type=click.IntRange(0), default=0, help="Of one key.  [default: any number]")
@click.option(
    "--wait", type=click.FloatRange(1), default=120, show_default=True, help="Seconds that a request waits at most."
)
@click.option(
    "--answer", type=click.FloatRange(1), default=600, show_default=True, help="Seconds that an answer takes at most."
)
@click.option(
    "--judgements",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the thumbs and choices that people give on the page.  [default: feedback/RECIPE, beside data/]",
)
@click.option(
    "--trace/--no-trace",
    default=None,
    help="Say what answers have in common with what MODELS were trained on; this shows passages of it.  [default: where"
    " `trace_index` was made, and only this machine can reach the server]",
)
@click.option("--ground", metavar="NAME", help="Answer from the documents of this recipe or name (`slm ground`).")
@click.option("--vectors", type=click.Path(path_type=Path), help="The vectors that `slm ground` was given.")
@backend_option
@weights_option
def serve(models: tuple[str, ...], host: str, port: int, api_key: str | None, **given: Any) -> None:
    """Serve MODELS over HTTP: a page to talk on, and OpenAI's API (/v1).

    MODELS are assets, versions or folders; default: the newest model. With several, a request names one in `model`,
    and the page can ask two of them at once.
    """
    from model.serve.judgements import Judgements
    from model.serve.keys import read_keys
    from model.serve.limits import Limits
    from model.serve.server import serve as run

    limits = Limits(
        waiting=given["wait"],
        answer=given["answer"],
        together=given["together"],
        places=given["queue"],
        places_by_key=given["queue_by_key"],
        requests_by_minute=given["requests_by_minute"],
    )
    try:
        keys = read_keys(api_key, os.environ)
        folders = [_directory(model) for model in models or (None,)]
        how = given["weights"], given["backend"], given["together"]
        opened = {name: _opened(folder, *how) for name, folder in zip(_names(folders), folders)}
        traces = _traces(dict(zip(opened, folders)), given["trace"], host)
        look = _look(given["ground"], given["vectors"])
        run(opened, host, port, keys, limits, Judgements(given["judgements"] or _feedback()), traces, look)
    except ValueError as error:
        raise UserError(str(error)) from error


def _traces(folders: dict[str, Path], asked: bool | None, host: str) -> dict[str, Trace]:
    """What finds answers of the models in what they were trained on, by model; see the option --trace."""
    from model.serve.server import LOCAL
    from pipeline.inspect.lineage import find_model
    from pipeline.trace.tracer import Tracer

    found: dict[str, Trace] = {}
    if asked is False or (asked is None and host not in LOCAL):
        return found
    for name, folder in folders.items():
        try:
            if _asset(folder) is None:
                raise UserError(f"{folder} is no model of this project's store, so its answers cannot be traced.")
            store = project().store
            found[name] = Tracer.open(store, find_model(store, f"{_asset(folder)}/{folder.resolve().name}"))
        except UserError:
            if asked:
                raise
    return found


def _look(name: str | None, vectors: Path | None) -> Look | None:
    """What finds passages in the documents that `slm ground` indexed under a name."""
    from pipeline.commands.ground import index_of

    return index_of(name, vectors).found if name else None


def _opened(directory: Path, weights: str = "auto", backend: str = "auto", together: int = 1) -> TextModel:
    """The model of a folder. weights, backend: as the options say; together: texts at once. Raises ValueError.

    Raises UserError for a model that continues no text.
    """
    import torch

    from model.export import read_config
    from model.llama import installed
    from model.serve.text import open_directory

    if not read_config(directory).causal:
        raise UserError(
            f"The model in {directory} was trained to fill gaps (causal: false) and continues no text: name another,"
            " or measure what it understands with `slm pair-task`."
        )
    chosen = {"fp32": torch.float32, "bf16": torch.bfloat16}.get(weights) or _generating_format(directory)
    answers = not _only_continues_text(directory)
    if backend == "llama.cpp" or (backend == "auto" and installed()):
        form = "q8_0" if weights == "int8" else "f32" if chosen == torch.float32 else "bf16"
        try:
            return _with_llama(open_directory(directory, chosen, answers), directory, form, together)
        except (UserError, ValueError):
            if backend == "llama.cpp":
                raise
    return open_directory(directory, chosen, answers, int8=weights == "int8")


def _with_llama(opened: TextModel, directory: Path, form: str, together: int) -> TextModel:
    """The model with its logits computed by llama.cpp. Raises ValueError for a network that it does not have."""
    from model.llama import attach

    try:
        attach(opened.network, directory, form, together + 1)  # a prompt that is being read has a place of its own
    except ImportError as error:
        raise UserError(
            f"`--backend llama.cpp` needs the package {error.name}: `pip install -e '.[llama]'`, or take"
            " `--backend torch`."
        ) from error
    return opened


def _names(folders: list[Path]) -> list[str]:
    """What people call models: the asset, else the folder; with the version where two are called alike."""
    names = [_asset(folder) or folder.resolve().name for folder in folders]
    full = [
        f"{name}-{folder.resolve().name[:8]}" if names.count(name) > 1 else name for name, folder in zip(names, folders)
    ]
    if len(set(full)) < len(full):
        raise UserError(
            "The same model is named twice: name two that differ, such as `slm serve sft_model preference_model`."
        )
    return full


def _asset(directory: Path) -> str | None:
    manifest = directory / MANIFEST
    if not manifest.exists():
        return None
    asset: str = json.loads(manifest.read_text(encoding="utf-8"))["asset"]
    return asset


def _feedback() -> Path:
    """Where judgements of this recipe's models are kept: `feedback/RECIPE`, beside the folder of the stores."""
    data = places.data()
    beside = Path() if "://" in data else Path(data).resolve().parent
    try:
        return beside / "feedback" / project().recipe.name
    except UserError:  # a folder needs no recipe
        return beside / "feedback"


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option(
    "--out", type=PICTURE, metavar="FILE", default="comparison.png", show_default=True, help="Draw the curves here."
)
def compare(runs: tuple[str, ...], out: Path) -> None:
    """Compare MLflow RUNS: settings that differ, figures, and curves in one picture."""
    from pipeline.inspect.comparison import compared

    click.echo(compared(runs, out))


COMMANDS = (chat, serve, compare)

"""A model for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.models import _directory, _names, _only_continues_text
from pipeline.commands.outputs import FILE
from pipeline.errors import UserError

GGUF = "gguf"


@click.command()
@click.argument("model", required=False)
@click.option("--format", "kind", type=click.Choice([GGUF, "onnx", "pt2"]), default=GGUF, show_default=True)
@click.option("--type", "form", help="Of the matrices in GGUF: f32, f16, bf16, q8_0, q5_1, …  [default: f16]")
@click.option("--out", type=FILE, metavar="FILE", help="The file.  [default: MODEL-TYPE.gguf, …]")
def export(model: str | None, kind: str, form: str | None, out: Path | None) -> None:
    """Write MODEL (an asset, a version or a folder; default: the newest) as a file for other programs.

    gguf: for llama.cpp, Ollama and others; a `Modelfile` for `ollama create` is written beside it. onnx: for
    onnxruntime. pt2: for torch.export.load. The last two are a step of the network with its keys and values, in fp32.
    Hugging Face's libraries read a model's folder as it is.
    """
    if form and kind != GGUF:
        raise UserError(f"`--type` is for GGUF: a file in the format {kind} is always in fp32, so leave it out.")
    form = form or "f16"
    directory = _directory(model)
    (name,) = _names([directory])
    file = out or Path(f"{name}-{form}.gguf" if kind == GGUF else f"{name}.{kind}")
    try:
        _write(directory, file, kind, form, name)
    except ImportError as error:
        raise UserError(f"`slm export --format {kind}` needs a package: pip install -e '.[{kind}]'.") from error
    except ValueError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror or error}.") from error
    size = f"{file}, {file.stat().st_size / 1e6:,.1f} MB"
    if kind == GGUF:
        click.echo(f"{size}; for Ollama: ollama create {name} -f {file.with_name('Modelfile')}")
    else:
        click.echo(f"{size}; what it takes and returns: docs/guide/elsewhere.md")


def _write(directory: Path, file: Path, kind: str, form: str, name: str) -> None:
    if kind == GGUF:
        from model import gguf_file

        gguf_file.write(directory, file, form, name, answers=not _only_continues_text(directory))
    else:
        from model import graph_files

        graph_files.write(directory, file, kind)


COMMANDS = (export,)

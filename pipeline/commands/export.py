"""A model for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.models import _directory, _names, _only_continues_text
from pipeline.errors import UserError


@click.command()
@click.argument("model", required=False)
@click.option("--format", "kind", type=click.Choice(["gguf"]), default="gguf", show_default=True)
@click.option("--type", "form", default="f16", show_default=True, help="Of the matrices: f32, f16, bf16, q8_0, q5_1, …")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file.  [default: MODEL-TYPE.gguf]")
def export(model: str | None, kind: str, form: str, out: Path | None) -> None:
    """Write MODEL (an asset, a version or a folder; default: the newest) as a file for llama.cpp, Ollama and others.

    A `Modelfile` for `ollama create` is written beside it. Hugging Face's libraries read a model's folder as it is.
    """
    from model import gguf_file

    directory = _directory(model)
    (name,) = _names([directory])
    file = out or Path(f"{name}-{form}.gguf")
    try:
        gguf_file.write(directory, file, form, name, answers=not _only_continues_text(directory))
    except ImportError as error:
        raise UserError("`slm export --format gguf` needs a package: pip install -e '.[gguf]'.") from error
    except ValueError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror or error}.") from error
    made = file.with_name("Modelfile")
    click.echo(f"{file}, {file.stat().st_size / 1e6:,.1f} MB; for Ollama: ollama create {name} -f {made}")


COMMANDS = (export,)

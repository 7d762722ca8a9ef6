"""Beginning: `slm init`, a first recipe for a folder of one's own text, and completion at the Tab key."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline import places
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.training.planning.first_size import Size

LITTLE = 1_000_000  # tokens of text, under which a model learns the tone of a text and not much else


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="The recipe to write.  [default: NAME.yaml]"
)
@click.option("--hours", type=click.FloatRange(0.01, 10_000), default=0.6, show_default=True,
              help="Longest training, by a step measured on this machine.")  # fmt: skip
def init(folder: Path, out: Path | None, hours: float) -> None:
    """Write a first recipe for the text in FOLDER, after looking at it, sized for this machine."""
    from pipeline.inspect import first_recipe

    looked = first_recipe.look(folder)
    name = recipe_name(folder)
    target = out or Path(f"{name}.yaml")
    refuse_existing(target)
    for line in first_recipe.described(looked):
        click.echo(line)
    tokens, size = sized(looked.bytes, hours, name)
    text = first_recipe.recipe_text(looked, size, name, target.parent)
    try:
        with open(target, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        refuse_existing(target)
    except OSError as error:
        raise UserError(f"{target} cannot be written ({error.strerror}): name another file with `--out`.") from None
    for line in told(target, tokens, size.parameters, size.passes, size.hours):
        click.echo(line)


def sized(text_bytes: int, hours: float, name: str) -> tuple[int, Size]:
    """(tokens of so much text, about; the model for them on this machine). name: of the recipe.

    What is measured is kept beside the artifacts, where `slm plan` finds it.
    """
    from pipeline.store.remote import open_store
    from pipeline.training import machine
    from pipeline.training.measured import Machine
    from pipeline.training.planning.budget import tokens_of
    from pipeline.training.planning.first_size import fitting

    here = Machine.beside(open_store(places.data(), name))
    found = fitting(text_bytes, hours, machine.choose_device("auto"), here)
    return tokens_of(text_bytes), found


def recipe_name(folder: Path) -> str:
    """A name for the recipe, from that of the folder. What macOS writes as single letters (NFD) becomes syllables."""
    composed = unicodedata.normalize("NFC", folder.resolve().name)
    plain = re.sub(r"[^\w-]+", "-", composed).strip("-")[:40]
    return plain or "mine"


def refuse_existing(target: Path) -> None:
    """Raises UserError if there is a file of this name: nothing is ever overwritten."""
    if target.exists():
        raise UserError(f"{target} is there already and stays as it is: name another file with `--out`.")


def told(target: Path, tokens: int, parameters: int, passes: float, hours: float) -> list[str]:
    """What was written and how to go on."""
    from pipeline.training.planning.plan_words import in_words

    lines = [
        f"{target}: a model of {parameters / 1e6:.1f} M parameters for about {tokens / 1e6:,.2g} M tokens of text, "
        f"{passes:.2g} passes; training takes {in_words(hours)} on this machine, by a measured step"
    ]
    if tokens < LITTLE:
        lines.append(
            "That is little text: the model will pick up its tone and words, and know little. More text helps most, "
            "such as `- {name: wiki, from: wikipedia, lang: ko, limit: 10000}` under `sources`."
        )
    before, option = places.in_commands(target)
    return [
        *lines,
        "",
        "Next:",
        f"  slm {option}plan",
        f"  {before}dagster job execute -j pretrain_job",
        f"  slm {option}summary",
        f"  slm {option}chat",
    ]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands, options and names of assets at the Tab key."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root().command
    click.echo(kind(root, {}, "slm", "_SLM_COMPLETE").source())


COMMANDS = (init, completion)

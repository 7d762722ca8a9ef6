"""Where a command writes. It is checked before the command starts, since what is to be written may take hours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Output(click.ParamType):
    """A file or folder to write, as a path. Whatever is missing above it is made when it is written."""

    def __init__(self, *endings: str, folder: bool = False) -> None:
        """endings: what the name of a file must end in, if anything."""
        self.name = "folder" if folder else "file"
        self.endings = endings

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value).expanduser()
        if self.endings and path.suffix.lower() not in self.endings:
            raise UserError(f"`{path}` must end in {', '.join(self.endings[:-1])} or {self.endings[-1]}: rename it.")
        if path.exists() and path.is_dir() != (self.name == "folder"):
            raise UserError(f"{path} is {'a folder' if path.is_dir() else 'a file'}: name a {self.name}.")
        there = next(place for place in (path, *path.absolute().parents) if place.exists())
        if there != path and not there.is_dir():
            raise UserError(f"{path} cannot be written, since {there} is a file: name another place.")
        if not os.access(there, os.W_OK):
            raise UserError(f"{path} cannot be written, since nothing may be written to {there}: name another place.")
        return path


PICTURE = Output(".png", ".svg", ".pdf")
FILE = Output()
FOLDER = Output(folder=True)


def save(figure: Figure, path: Path, dpi: int = 120) -> None:
    """Write a picture, in the form that its name ends in. Where no font has some of its letters, that is said."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    if getattr(figure, "lacks_letters", False):
        click.echo(
            f"{path}: no font on this machine has some of its letters, which are drawn as boxes: install one that has"
            " them (for Korean: `apt install fonts-nanum`), and draw it again.",
            err=True,
        )

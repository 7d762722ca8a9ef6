"""The documents of a folder without a recipe, as sources of raw documents."""

from __future__ import annotations

from pathlib import Path

from pipeline.ingest.files import FileSource
from pipeline.inspect.first_recipe import glob_safe, look


def sources_of(folder: Path) -> list[FileSource]:
    """A source for each kind of files in the folder that can be read. Raises UserError if there are none."""
    looked = look(folder)
    start = glob_safe(folder.resolve())
    return [
        FileSource(
            name=group.name,
            path=[f"{start}/**/*{ending}" for ending in group.endings],
            lang="code" if group.content == "code" else group.language,
            license="own",
        )
        for group in looked.readable
    ]

"""Where commands write: refused with a sentence before anything is computed."""

import os

import click
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from pipeline.cli import main
from pipeline.commands.outputs import FILE, FOLDER, PICTURE, Output, save
from pipeline.errors import UserError


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (PICTURE, "drawn.xyz", "must end in .png, .svg or .pdf"),
        (PICTURE, "drawn", "must end in .png, .svg or .pdf"),
        (PICTURE, "folder.png", "is a folder: name a file"),
        (FILE, "file/report.html", "file is a file: name another place"),
        (FOLDER, "file", "is a file: name a folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_with_the_remedy(tmp_path, kind, given, said):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=said):
        kind.convert(str(tmp_path / given), None, None)


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    """Pretended, since root may write everywhere."""
    asked = []
    monkeypatch.setattr(os, "access", lambda place, mode: asked.append((place, mode)))
    with pytest.raises(UserError, match="since nothing may be written to"):
        FILE.convert(str(tmp_path / "deep" / "report.html"), None, None)
    assert asked == [(tmp_path, os.W_OK)]


def test_folders_that_are_missing_are_made_only_when_the_picture_is_written(tmp_path):
    place = tmp_path / "그림" / "새" / "drawn.svg"
    found = PICTURE.convert(str(place), None, None)
    assert not place.parent.exists()
    save(Figure(), found)
    assert place.read_text().startswith("<?xml")


def commands(group: click.Group, name: str = "") -> list[tuple[str, click.Command]]:
    found = []
    for key, command in group.commands.items():
        whole = f"{name} {key}".strip()
        found += commands(command, whole) if isinstance(command, click.Group) else [(whole, command)]
    return found


def test_every_option_that_names_a_place_to_write_is_checked():
    """`--out` and `--picture` of any command: a path of click's own is checked for nothing that is missing."""
    unchecked = [
        f"{name} --{option.name}"
        for name, command in commands(main)
        for option in command.params
        if option.name in ("out", "picture") and not isinstance(option.type, Output)
    ]
    assert unchecked == ["init --out"], "which refuses by itself, and overwrites nothing"


def test_the_sentence_comes_before_anything_is_trained(tmp_path):
    (tmp_path / "file").write_text("")
    run = CliRunner().invoke(main, ["experiment", "parts", "--picture", str(tmp_path / "file" / "drawn.png")])
    assert run.exit_code == 1
    assert run.output.startswith("slm: ") and run.output.count("\n") == 1

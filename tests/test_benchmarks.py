"""Benchmarks follow the code, and the commands in docs/results/ follow the benchmarks. None is run here."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# What the programs share.
SHARED = {"__init__", "contestants", "documents", "making", "measuring", "phrasings", "rows_of_filters", "search_peers"}
PROGRAMS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem not in SHARED)
PAGES = sorted((ROOT / "docs" / "results").glob("*.md"))
COMMAND = re.compile(r"`(?:nice )?python -m benchmarks\.(\w+)([^`]*)`")


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """(program, its arguments) of each command in a page; it may be wrapped."""
    for program, words in COMMAND.findall(text):
        yield program, shlex.split(words)


def accepts(program: str, words: list[str]) -> bool:
    try:
        importlib.import_module(f"benchmarks.{program}").arguments().parse_args(words)
    except (SystemExit, ModuleNotFoundError):
        return False
    return True


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_loads_and_its_head_says_how_it_is_run(program: str):
    module = importlib.import_module(f"benchmarks.{program}")
    assert f"python -m benchmarks.{program}" in module.__doc__
    assert callable(module.main) and module.arguments().description == module.__doc__


def test_every_program_has_results():
    named = {program for page in PAGES for program, _ in commands(page.read_text(encoding="utf-8"))}
    assert set(PROGRAMS) - named == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_results_is_accepted(page: Path):
    found = list(commands(page.read_text(encoding="utf-8")))
    assert [(program, *words) for program, words in found if not accepts(program, words)] == []


def test_commands_are_found_and_wrong_ones_refused():
    text = "`nice python -m benchmarks.feed`, `python -m benchmarks.scale DIRECTORY --documents\n1 2` and `slm why x`"
    assert list(commands(text)) == [("feed", []), ("scale", ["DIRECTORY", "--documents", "1", "2"])]
    assert accepts("scale", ["DIRECTORY", "--documents", "1", "2"])
    assert not accepts("scale", ["DIRECTORY", "--rounds", "1"])
    assert not accepts("scales", [])

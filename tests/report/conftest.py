"""A small recipe, made up to an evaluated model, that all tests of the report look at."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.graph import Project
from pipeline.run import make_with_inputs
from tests import tiny
from tests.report.texts import MAIL, PHONE


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a recipe with two sources, copies, a short text and personal data, and of all that it makes."""
    folder = tmp_path_factory.mktemp("report")
    recipe = tiny.write(folder)
    text = recipe.read_text().replace("heuristics: {enabled: false}", "heuristics: {enabled: true}")
    recipe.write_text(text.replace("lang: en, license: own", "content: web, lang: en, license: own"))
    (folder / "first" / "short.txt").write_text(
        f"Please write to {MAIL} or call {PHONE} <b>now</b>, and then we will talk about the harbour and the boats."
    )
    (folder / "first" / "long.txt").write_text(f"{tiny.text(40)} Whoever wants to know more writes to {MAIL} today.")
    with at(folder):
        make_with_inputs(Project.open(log=lambda line: None), "pretrained_evaluation")
    return folder


@pytest.fixture(scope="module")
def project(made: Path) -> Iterator[Project]:
    with at(made):
        yield Project.open(log=lambda line: None)


@contextmanager
def at(folder: Path) -> Iterator[None]:
    """An environment in which commands find the recipe and the store of the folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLM_DATA", str(folder / "data"))
        patch.setenv("SLM_RECIPE", str(folder / "tiny.yaml"))
        patch.setenv("SLM_TRACKING", "off")
        yield

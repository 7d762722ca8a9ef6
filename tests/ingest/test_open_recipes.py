"""The recipes that read open sets by name, against a hub on loopback that holds made-up samples of the same shape."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl
import pytest

from pipeline.graph import Project
from pipeline.recipe import load
from pipeline.run import make_with_inputs
from pipeline.store.store import Store
from pipeline.village.documents import documents
from tests.ingest.hub import running_hub

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SMALL = """
execution: {device: cpu, executor: in_process}
"""

# Recipe: for each of its sources, the set on the hub, a file of it, and its columns.
SETS = {
    "stories": {
        "simple": ("SimpleStories/SimpleStories", "data/train-00000-of-00007.parquet", ("story", "topic", "theme")),
        "tiny": ("roneneldan/TinyStories", "data/train-00000-of-00004.parquet", ("text",)),
    },
    "wiki-ko": {
        "wiki": ("wikimedia/wikipedia", "20231101.ko/train-00000-of-00003.parquet", ("text", "id", "url", "title")),
        "web": ("HuggingFaceFW/fineweb-2", "data/kor_Hang/train/000_00000.parquet", ("text", "id", "url", "dump")),
    },
}


@pytest.fixture
def hub(monkeypatch) -> Iterator:
    with running_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield running


def sample(lang: str, first: int, columns: tuple[str, ...]) -> bytes:
    """Thirty documents of the village as a Parquet file whose first column is the text."""
    texts = [one.text for one in islice(documents(first + 30, 0, (lang,), 0.0), first, None)]
    given = {name: [f"{name}-{first + i}" for i in range(30)] for name in columns}
    buffer = io.BytesIO()
    pl.DataFrame({**given, columns[0]: texts}).write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("name", SETS)
def test_a_recipe_of_open_sets_reads_and_curates_them(name, hub, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SLM_TRACKING", "off")
    lang = "ko" if name == "wiki-ko" else "en"
    for number, (dataset, path, columns) in enumerate(SETS[name].values()):
        hub.push(dataset, {path: sample(lang, 30 * number, columns), "README.md": b"# about"})
    written = (RECIPES / f"{name}.yaml").read_text() + SMALL
    (tmp_path / f"{name}.yaml").write_text(written)
    (tmp_path / "catalog.yaml").write_text((RECIPES / "catalog.yaml").read_text())
    project = Project(load(tmp_path / f"{name}.yaml"), Store(tmp_path / "data", name), lambda line: None)
    make_with_inputs(project, "heuristic_decisions")
    raw = project["raw_documents"]
    assert raw.counts["kept"] == 60
    assert {source: facts["kept"] for source, facts in raw.counts["by_source"].items()} == dict.fromkeys(SETS[name], 30)
    licenses = {one.license for one in project.recipe.sources}
    assert None not in licenses, "an open set states its licence"
    assert project["heuristic_decisions"].counts["kept"] >= 50

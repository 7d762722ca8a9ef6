"""One changed document: what it costs in each stage, and that the bytes equal those of a run from an empty store.

Fragments have 4 kB instead of 32 MB, so that a small corpus has many of them. The training samples are smaller too, so
that most documents are outside them, as in a real corpus.
"""

import random
from pathlib import Path

import polars as pl
import pytest

from pipeline.curation.filters.model_text import sample_order
from pipeline.documents.document import SAMPLE_DIGIT, id_fraction
from pipeline.graph import Project
from pipeline.ingest import fragments
from pipeline.ingest.fragments import document_ids
from pipeline.run import inputs_in_order
from pipeline.store.artifact import Artifact
from pipeline.tokens.sampling import held_out_fraction, sample_fraction

RECIPE = """
name: changing
sources: [{{name: web, kind: files, path: '{folder}/*.parquet', lang: en}}]
curation:
  perplexity: {{characters: 20000, min_characters: 5000}}
  personal_data: {{enabled: false}}
instructions: {{sources: [{{name: chatterbot-en, kind: bundled, limit: 20}}]}}
tokenizer: {{vocab_size: 330, reserved: 0, sample_bytes: 15000}}
execution: {{executor: in_process}}
"""
WORDS = [a + b + c for a in ("ka", "lo", "mi", "tu", "re", "sa") for b in "bdklmnprst" for c in ("", "an", "e", "is")]
MODELS = ("perplexity_model", "quality_model", "tokenizer")
LEARNED_FROM = ("perplexity_sample", "tokenizer_sample")
# Tables per fragment: stages that compare documents also keep signatures, sentences or hits.
TABLES = {"duplicate_decisions": 2, "repetition_edits": 2, "contamination_decisions": 2}


def document(draw: random.Random) -> str:
    """Ten sentences, or a list, so that there are poor documents to learn from."""
    listed = draw.random() < 0.25
    form = "the {} {} of {} and {} that {} to be {} with {} have {} {}"
    lines = [form.format(*draw.choices(WORDS, k=9)) for _ in range(10)]
    return "\n".join(f"- {line}" for line in lines) if listed else ". ".join(line.capitalize() for line in lines) + "."


@pytest.fixture
def corpus(tmp_path, monkeypatch) -> pl.DataFrame:
    monkeypatch.setattr(fragments, "FRAGMENT_BYTES", 4096)
    draw = random.Random(3)
    frame = pl.DataFrame({"text": [document(draw) for _ in range(150)]})
    (tmp_path / "web").mkdir()
    return frame


def make(folder: Path, store: str, monkeypatch) -> dict[str, Artifact]:
    """Every artifact up to the token shards, made of what lies in the folder now."""
    monkeypatch.setenv("SLM_DATA", str(folder / store))
    recipe = folder / "changing.yaml"
    recipe.write_text(RECIPE.format(folder=folder / "web"))
    project = Project.open(recipe, log=lambda line: None)
    for name in inputs_in_order(project.nodes, "token_shards"):
        project.make(name)
    return {name: project.store.require(name) for name in project.store.assets()}


def changed(frame: pl.DataFrame, place: int, added: str) -> pl.DataFrame:
    text = pl.col("text")
    return frame.with_columns(pl.when(pl.int_range(pl.len()) == place).then(text + added).otherwise(text))


def learned(made: dict[str, Artifact]) -> pl.Series:
    """Ids of the documents that the trained filters learned from."""
    return pl.read_parquet(made["perplexity_sample"].table("chosen"))["doc_id"]


def test_one_changed_document(corpus, tmp_path, monkeypatch):
    path, added = tmp_path / "web" / "part.parquet", " And one more sentence."
    corpus.write_parquet(path)
    first = make(tmp_path, "store", monkeypatch)
    assert len(first["raw_documents"].fragments) >= 20
    assert "spaced-0.arpa" in first["perplexity_model"].manifest["files"]
    assert "scorer.json" in first["quality_model"].manifest["files"]

    now, then = document_ids(corpus["text"]), document_ids(corpus["text"] + added)
    inside = learned(first)
    last = inside.to_frame().select(sample_order().max()).item()
    outside = (
        pl.DataFrame({"now": now, "then": then})
        .select(
            (order_of("now") > last)
            & (order_of("then") > last)
            & ~pl.any_horizontal(
                *(
                    (sample_fraction(pl.col(name)) < 0.5) | (held_out_fraction(pl.col(name)) < 0.05)
                    for name in ("now", "then")
                )
            )
        )
        .to_series()
        .arg_true()
    )
    changed(corpus, int(outside[0]), added).write_parquet(path)
    second = make(tmp_path, "store", monkeypatch)
    assert second["raw_documents"].digest != first["raw_documents"].digest
    for name in MODELS:
        assert second[name].version == first[name].version, name
    for name, artifact in second.items():
        computed = artifact.manifest["fragments"]["computed"]
        if name not in (*MODELS, "instruction_data"):
            # The pairs that were compared are one more table of `duplicate_decisions`.
            assert computed <= 2 * TABLES.get(name, 1) + (name == "duplicate_decisions"), (name, computed)
            assert artifact.manifest["fragments"]["reused"] >= 18, name
    fresh = make(tmp_path, "fresh", monkeypatch)
    assert {name: artifact.digest for name, artifact in second.items()} == {
        name: artifact.digest for name, artifact in fresh.items()
    }

    place = int(now.is_in(inside.to_list()).arg_true()[0])
    changed(pl.read_parquet(path), place, added).write_parquet(path)
    third = make(tmp_path, "store", monkeypatch)
    assert third["perplexity_model"].version != second["perplexity_model"].version
    assert third["perplexity_decisions"].manifest["fragments"]["reused"] == 0
    fresh = make(tmp_path, "fresh again", monkeypatch)
    assert {name: artifact.digest for name, artifact in third.items()} == {
        name: artifact.digest for name, artifact in fresh.items()
    }


def order_of(column: str) -> pl.Expr:
    return id_fraction(pl.col(column), SAMPLE_DIGIT)

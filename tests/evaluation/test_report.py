"""The report: every measure that the data allow, the same bytes each time, compared with the model before."""

from __future__ import annotations

import json

import polars as pl
import pytest

from model import export
from pipeline.evaluation import report
from pipeline.evaluation.evaluation_settings import EvaluationSettings
from pipeline.inspect import cards
from pipeline.store.store import Store
from pipeline.store.tables import write_table
from pipeline.tokens import shards as token_shards
from pipeline.tokens import training as tokenizer_asset
from pipeline.tokens.token_settings import ShardSettings, TokenizerSettings
from pipeline.tokens.tokenizer import load
from tests.making import context

SENTENCES = ("the quick brown fox jumps over a lazy dog", "빠른 갈색 여우가 게으른 개를 뛰어넘는다", "다시 또")
WORDS = " ".join(SENTENCES).split(" ")
SETTINGS = EvaluationSettings(
    validation_tokens=1_000, answers=4, answer_tokens=6, preferences=4, prompts=("the", "빠른")
)


def silent(message: str) -> None:
    pass


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch):
    monkeypatch.setenv("SLM_TRACKING", "off")


@pytest.fixture(scope="module")
def made(tmp_path_factory, make_network):
    """A store with shards, conversations, preferences and two models, as small as they can be."""
    store = Store(tmp_path_factory.mktemp("data"), "test")
    documents = pl.DataFrame(
        {
            "doc_id": [f"{i * 2654435761 % 2**32:08x}" * 4 for i in range(60)],
            "text": [" ".join(WORDS[(i * j) % len(WORDS)] for j in range(1, 40)) for i in range(60)],
            "source": ["s"] * 60,
            "source_id": [str(i) for i in range(60)],
            "lang": ["ko" if i % 2 else "en" for i in range(60)],
        }
    )

    def artifact(asset, build):
        return store.make(asset, code_version="1", settings={}, inputs={}, build=build, log=silent)

    def curate(draft):
        write_table(documents, draft.path("s-0.parquet"))
        draft.record("s-0", {}, rows=60, facts={"source": "s"})

    curated = artifact("curated_documents", curate)
    tokenizer = tokenizer_asset.make(
        context(store), {"curated_documents": curated}, TokenizerSettings(kind="bpe", vocab_size=300)
    )
    settings = ShardSettings(validation=0.3)
    shards = token_shards.make(context(store), {"curated_documents": curated, "tokenizer": tokenizer}, settings)
    ask = [{"role": "user", "content": "the quick?"}]
    reply = {"role": "assistant", "content": "brown fox"}
    rows = [
        {"id": f"{i:032x}", "messages": [*ask, reply], "source": "s", "lang": "en" if i % 2 else "ko"} for i in range(6)
    ]
    pairs = [
        {"id": f"{i:032x}", "prompt": ask, "chosen": "fox", "rejected": "dog", "source": "s", "lang": "en"}
        for i in range(3)
    ]
    instructions = artifact("instruction_data", lambda d: write_table(pl.DataFrame(rows), d.path("held_back.parquet")))
    preferences = artifact("preference_data", lambda d: write_table(pl.DataFrame(pairs), d.path("held_back.parquet")))
    vocabulary = load(tokenizer.directory).vocab_size

    def model(seed):
        def build(draft):
            import torch

            from model.config import ModelConfig
            from model.transformer import Transformer

            torch.manual_seed(seed)
            network = Transformer(
                ModelConfig(layers=1, width=32, heads=2, kv_heads=1, context=64, vocab_size=vocabulary)
            )
            export.save(network, draft.directory)
            for name in tokenizer.manifest["files"]:
                if not name.endswith(".parquet"):
                    draft.path(name).write_bytes(tokenizer.file(name).read_bytes())
            draft.facts = {"tokens": 1000, "parameters": 1}

        return store.make(f"model_{seed}", code_version="1", settings={}, inputs={}, build=build, log=silent)

    return store, shards, instructions, preferences, model(1), model(2)


def test_all_measures_are_there_and_finite(made):
    store, shards, instructions, preferences, model, _ = made
    told: list[str] = []
    of = report.make(store, "e1", model, shards, instructions, SETTINGS, "cpu", told.append, preferences=preferences)
    found = json.loads(of.file("report.json").read_text())
    assert set(found) == {"language_modelling", "answers", "preferences"}
    assert set(found["language_modelling"]["by_language"]) == {"en", "ko"}
    assert found["language_modelling"]["all"]["bits_per_byte"] > 0
    assert found["answers"]["count"] == 4 and set(found["answers"]["by_language"]) == {"en", "ko"}
    assert found["preferences"]["pairs"] == 3
    samples = pl.read_parquet(of.table("samples"))
    assert samples["kind"].value_counts().sort("kind").rows() == [("answer", 4), ("greedy", 2), ("sampled", 2)]
    assert of.facts["bits_per_byte"] == found["language_modelling"]["all"]["bits_per_byte"]
    assert any("bits_per_byte" in line for line in told)


def test_without_conversations_only_the_text_is_scored(made):
    store, shards, _, _, model, _ = made
    of = report.make(store, "e2", model, shards, None, SETTINGS, "cpu", silent)
    assert set(report.read(of)) == {"language_modelling"}
    assert set(pl.read_parquet(of.table("samples"))["kind"]) == {"greedy", "sampled"}


def test_the_same_bytes_in_another_store(made, tmp_path):
    store, shards, instructions, _, model, _ = made
    one = report.make(store, "e3", model, shards, instructions, SETTINGS, "cpu", silent)
    two = report.make(Store(tmp_path, "test"), "e3", model, shards, instructions, SETTINGS, "cpu", silent)
    assert two.made and one.digest == two.digest
    assert not report.make(store, "e3", model, shards, instructions, SETTINGS, "cpu", silent).made


def test_the_model_before_stands_beside(made):
    store, shards, _, _, first, second = made
    before = report.make(store, "e4", first, shards, None, SETTINGS, "cpu", silent)
    after = report.make(store, "e5", second, shards, None, SETTINGS, "cpu", silent, before=before)
    rows = pl.read_parquet(after.table("comparison"))
    row = rows.filter(figure="language_modelling.all.bits_per_byte").to_dicts()[0]
    assert row["before"] == report.read(before)["language_modelling"]["all"]["bits_per_byte"]
    assert row["change"] == pytest.approx(row["value"] - row["before"]) and row["change"] != 0
    assert "comparison.parquet" not in before.manifest["files"]


def test_comparison_names_what_is_new():
    rows = report.comparison({"a": {"x": 1.0, "said": "text"}, "b": 2}, {"a": {"x": 3.0}})
    assert rows.rows() == [("a.x", 1.0, 3.0, -2.0), ("b", 2.0, None, None)]


def test_what_is_tracked(made, monkeypatch):
    """One run a report, with figures by their dotted names, the report itself and the tags it is found by."""
    from contextlib import contextmanager

    store, shards, instructions, _, model, _ = made
    seen: dict = {"artifacts": []}

    @contextmanager
    def run(kind, name, tags, params, resume=None):
        seen.update(kind=kind, tags=tags, params=params)

        class Run:
            id = "1"

            def metrics(self, values, step):
                seen.update(values=values, step=step)

            def artifact(self, path, folder=None):
                seen["artifacts"].append(path.name)

        yield Run()

    def found(draft):
        rows = {"set": ["mbpp", "mbpp"], "id": ["q1", "q2"], "documents": [0, 3], "share": [0.0, 0.9]}
        write_table(pl.DataFrame(rows), draft.path("report/items.parquet"))
        draft.facts = {"sets": {"mbpp": {"items": 2, "checked": 2, "found": 1, "most": 1}}}

    items = store.make("contamination_decisions", code_version="1", settings={}, inputs={}, build=found, log=silent)
    monkeypatch.setattr(report.tracking, "run", run)
    of = report.make(store, "e6", model, shards, instructions, SETTINGS, "cpu", silent, contamination=items)
    assert seen["kind"] == "e6" and seen["step"] == 1000 and seen["tags"][report.tracking.FINGERPRINT]
    assert seen["tags"]["slm.model"] == f"model_1/{model.version}"
    assert seen["values"]["language_modelling.all.bits_per_byte"] == of.facts["bits_per_byte"]
    assert sorted(seen["artifacts"]) == ["covered_items.parquet", "report.json", "samples.parquet"]
    # Which evaluation items the training text holds is told beside the scores.
    assert report.read(of)["covered_items"] == {"mbpp": {"items": 2, "checked": 2, "found": 1, "most": 1}}
    assert seen["values"]["covered_items.mbpp.found"] == 1
    assert pl.read_parquet(of.file("covered_items.parquet"))["id"].to_list() == ["q2"]


def test_the_model_card_holds_what_was_measured(made):
    store, shards, instructions, _, model, _ = made
    of = report.make(store, "e1b", model, shards, instructions, SETTINGS, "cpu", silent)
    text = cards.model_card(
        model.asset, {"token_shards": shards.manifest, model.asset: model.manifest}, report.read(of)
    )
    assert f"{of.facts['bits_per_byte']:.4f}" in text and "| parameters | 1 |" in text

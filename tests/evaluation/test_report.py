"""The report: every measure that the data allow, the same bytes each time, compared with the model before."""

from __future__ import annotations

import importlib
import json
import pkgutil
from contextlib import contextmanager

import polars as pl
import pytest

from pipeline import tracking
from pipeline.evaluation import figures, measures, report
from pipeline.evaluation.measure import ROLES, Headline, Measure, Result
from pipeline.evaluation.measure_settings import VillageSettings
from pipeline.graph import Project
from pipeline.inspect import cards
from pipeline.run import make_with_inputs
from pipeline.store.store import Store
from pipeline.store.tables import write_table
from tests import tiny
from tests.evaluation.conftest import SETTINGS

# Measures of what the recipe has to name; each has a file of tests.
TO_BE_NAMED = ("tasks", "tasks_over_steps", "programs", "free_answers", "bias", "toxicity")
PARAMS = ("validation_tokens", "answers", "answer_tokens", "preferences", "temperature", "batch_tokens")


def test_all_measures_are_there_and_finite(made):
    lines: list[str] = []
    of = made.report("e1", "instruction_data", "preference_data", log=lines.append)
    found = json.loads(of.file("report.json").read_text())
    assert set(found) == {"language_modelling", "answers", "preferences", "samples"}
    assert set(found["language_modelling"]["by_language"]) == {"en", "ko"}
    assert found["language_modelling"]["all"]["bits_per_byte"] > 0
    assert found["answers"]["count"] == 4 and set(found["answers"]["by_language"]) == {"en", "ko"}
    assert found["preferences"]["pairs"] == 3
    samples = pl.read_parquet(of.table("samples"))
    assert samples["kind"].to_list() == ["sampled"] * 2 + ["greedy"] * 2 + ["answer"] * 4
    assert of.facts["bits_per_byte"] == found["language_modelling"]["all"]["bits_per_byte"]
    assert any("bits_per_byte" in line for line in lines)
    assert set(of.facts) == {
        "bits_per_byte", "perplexity", "rougeL", "exact", "ended", "repetitive", "bleu.en", "bleu.ko", "preferred",
    }  # fmt: skip


def test_every_measure_is_registered_and_its_headlines_are_figures(made):
    modules = [
        importlib.import_module(f"{measures.__name__}.{of.name}") for of in pkgutil.iter_modules(measures.__path__)
    ]
    assert {module.MEASURE.name for module in modules} == {measure.name for measure in measures.MEASURES}
    assert [module.__name__.rpartition(".")[2] for module in modules] == [module.MEASURE.name for module in modules]
    asked = SETTINGS.model_copy(update={"village": VillageSettings(stories=2)})
    given = ("instruction_data", "preference_data")
    tuned = report.read(made.report("e1", *given, settings=asked, base=made.second_model))
    found = tuned | {"village": report.read(made.report("e0", settings=asked))["village"]}  # stories: of no tuned model
    for measure in measures.MEASURES:
        assert set(measure.needs) <= set(ROLES), measure.name
        if measure.name in TO_BE_NAMED:
            assert measure.name not in found
            continue
        headlines = {figure.headline for figure in figures.headline_figures(found, [measure])}
        assert headlines == set(measure.headlines), measure.name


def test_without_conversations_only_the_text_is_scored(made):
    of = made.report("e2")
    assert set(report.read(of)) == {"language_modelling", "samples"}
    assert set(pl.read_parquet(of.table("samples"))["kind"]) == {"greedy", "sampled"}


@pytest.mark.parametrize(
    ("off", "left"), [({"answers": 0}, {"preferences"}), ({"preferences": 0}, {"answers"}), ({}, None)]
)
def test_a_measure_that_the_recipe_turns_off_is_left_out(made, off, left):
    settings = made.settings.model_copy(update={"prompts": ("a",), **off})
    found = report.read(made.report("e7", "instruction_data", "preference_data", settings=settings))
    assert set(found) == {"language_modelling", "samples", *(left or ("answers", "preferences"))}


def test_how_far_a_measure_is_is_reported(made):
    reports: list[dict] = []
    made.report("e8", "instruction_data", "preference_data", progress=reports.append)
    assert [(of["part"], of["done"], of["of"]) for of in reports] == [
        ("language_modelling", 1, 1), *(("answers", done, 4) for done in (1, 2, 3, 4)), ("preferences", 1, 1),
    ]  # fmt: skip


def test_the_same_bytes_in_another_store(made, tmp_path):
    one = made.report("e3", "instruction_data")
    two = made.report("e3", "instruction_data", store=Store(tmp_path, "test"))
    assert two.made and one.digest == two.digest
    assert not made.report("e3", "instruction_data").made


def test_the_model_before_stands_beside(made):
    before = made.report("e4")
    lines: list[str] = []
    after = made.report("e5", model=made.second_model, before=before, log=lines.append)
    rows = pl.read_parquet(after.table("comparison"))
    row = rows.filter(figure="language_modelling.all.bits_per_byte").to_dicts()[0]
    assert row["before"] == report.read(before)["language_modelling"]["all"]["bits_per_byte"]
    assert row["change"] == pytest.approx(row["value"] - row["before"]) and row["change"] != 0
    assert "comparison.parquet" not in before.manifest["files"]
    [line] = [line for text in lines for line in text.splitlines() if "bits_per_byte" in line]
    assert line.endswith("(better)" if row["change"] < 0 else "(worse)")


def test_comparison_names_what_is_new():
    rows = figures.comparison({"a": {"x": 1.0, "said": "text"}, "b": 2}, {"a": {"x": 3.0}})
    assert rows.rows() == [("a.x", 1.0, 3.0, -2.0), ("b", 2.0, None, None)]


def test_figures_are_all_numbers_at_whatever_depth():
    found = {"b": {"said": "text", "ok": True, "n": 2}, "a": [0.5, {"x": 1}]}
    assert list(figures.figures(found)) == [("a[0]", 0.5), ("a[1].x", 1.0), ("b.n", 2.0)]


def test_figures_without_covered_questions_are_no_headlines():
    measure = Measure(
        "m", "", run=lambda subject, settings: Result(), headlines=(Headline("*.right.value", "right.*", True),)
    )
    figure = {"right": {"value": 0.5}}
    aside = {"without_covered": {**figure, "difference": figure}}
    found = figures.headline_figures({"m": {"own": {**figure, **aside}}}, [measure])
    assert [of.name for of in found] == ["m.own.right.value"]


def test_a_headline_with_a_star_stands_for_every_key():
    measure = Measure(
        "m", "", run=lambda subject, settings: Result(),
        headlines=(Headline("by.*.x", "x.*", True, words="X of {key}, {count} of them"), Headline("x", "x", False)),
    )  # fmt: skip
    found = {"m": {"x": 0.5, "by": {"a.b": {"x": 1, "count": 7}, "c": {"x": 2}}, "other": {"by": {"d": {"x": 3}}}}}
    assert [(of.name, of.short, of.words, of.value) for of in figures.headline_figures(found, [measure])] == [
        ("m.x", "x", "x", 0.5),
        ("m.by.a.b.x", "x.a.b", "X of a.b, 7 of them", 1),
        ("m.by.c.x", "x.c", "X of c, 0 of them", 2),
    ]


@pytest.fixture
def tracked(monkeypatch):
    """What is given to MLflow instead of being sent there."""
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

    monkeypatch.setattr(report.tracking, "run", run)
    return seen


def test_what_is_tracked(made, tracked):
    """One run a report, with figures by their dotted names, the report itself and the tags it is found by."""

    def found(draft):
        rows = {"set": ["mbpp", "mbpp"], "id": ["q1", "q2"], "documents": [0, 3], "share": [0.0, 0.9]}
        write_table(pl.DataFrame(rows), draft.path("report/items.parquet"))
        draft.facts = {"sets": {"mbpp": {"items": 2, "checked": 2, "found": 1, "most": 1}}}

    items = made.store.make(
        "contamination_decisions", code_version="1", settings={}, inputs={}, build=found, log=lambda line: None
    )
    of = made.report("e6", "instruction_data", contamination_decisions=items)
    assert tracked["kind"] == "e6" and tracked["step"] == 1000 and tracked["tags"][report.tracking.FINGERPRINT]
    assert tracked["tags"]["slm.model"] == f"model_1/{made.inputs['model'].version}"
    assert tracked["params"] == {
        name: value for name, value in made.settings.model_dump(mode="json").items() if name in PARAMS
    }
    assert tracked["values"]["language_modelling.all.bits_per_byte"] == of.facts["bits_per_byte"]
    assert sorted(tracked["artifacts"]) == ["covered_items.parquet", "report.json", "samples.parquet"]
    # Which evaluation items the training text contains is reported next to the scores.
    assert report.read(of)["covered_items"] == {"mbpp": {"items": 2, "checked": 2, "found": 1, "most": 1}}
    assert tracked["values"]["covered_items.mbpp.found"] == 1
    assert pl.read_parquet(of.file("covered_items.parquet"))["id"].to_list() == ["q2"]


def test_a_report_is_tracked_at_the_step_where_the_training_of_its_model_ended(tmp_path, monkeypatch):
    """In tokens of that model's own training, over all epochs: the figures stand at the end of its curves."""
    path = tiny.write(tmp_path)
    sets = "{held_back: 0.3, sources: [{name: chatterbot-en, kind: bundled, limit: 40}]}"
    path.write_text(
        path.read_text().replace("context: 16", "context: 128")
        + f"\ninstructions: {sets}\npreferences: {sets}\nsft: {{epochs: 3, batch_tokens: 512}}\n"
        + "evaluation: {answers: 1, answer_tokens: 2, preferences: 1, validation_tokens: 1000, prompts: [The]}\n"
    )
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    steps: dict[str, list[int]] = {}

    @contextmanager
    def run(kind, *about, **options):
        class Run(tracking.NoRun):
            def metrics(self, values, step):
                steps.setdefault(kind, []).append(step)

        yield Run()

    monkeypatch.setattr(tracking, "run", run)
    make_with_inputs(Project.open(path, log=lambda line: None), "preference_evaluation")
    for kind in ("pretrained", "sft", "preference"):
        assert steps[f"{kind}_evaluation"] == [max(steps[f"{kind}_model"])], kind


def test_of_the_decisions_only_the_items_found_are_part_of_the_identity(made):
    def decided(items, name):
        def build(draft):
            rows = {"set": ["s"], "id": ["q"], "documents": [items], "share": [0.5]}
            write_table(pl.DataFrame(rows), draft.path("report/items.parquet"))
            write_table(pl.DataFrame({"doc_id": [name]}), draft.path("decisions.parquet"))
            draft.facts = {"sets": {"s": {"items": 1}}}

        return made.store.make(name, code_version="1", settings={}, inputs={}, build=build, log=lambda line: None)

    one, same, other = (
        made.report("e9", contamination_decisions=decided(items, name))
        for items, name in ((1, "a"), (1, "b"), (2, "c"))
    )
    assert one.version == same.version != other.version
    assert set(one.manifest["inputs"]) == {"model", "token_shards", "covered_items"}


def test_the_model_card_holds_what_was_measured(made):
    of = made.report("e1b", "instruction_data")
    model, shards = made.inputs["model"], made.inputs["token_shards"]
    text = cards.model_card(
        model.asset, {"token_shards": shards.manifest, model.asset: model.manifest}, report.read(of)
    )
    assert f"{of.facts['bits_per_byte']:.4f}" in text and "| parameters | 1 |" in text

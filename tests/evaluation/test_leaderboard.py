"""`slm leaderboard`: all models of a store, and which of them the figures tell apart."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.evaluation import leaderboard as board
from pipeline.evaluation import leaderboard_tables
from pipeline.evaluation.measures import MEASURES
from pipeline.evaluation.tasks import task_items
from pipeline.store.store import Store
from tests.evaluation.test_tasks import files, settings  # noqa: F401  (a fixture)
from tests.making import context


@pytest.fixture(scope="module")
def store(made, files, tmp_path_factory):  # noqa: F811
    """A store of its own with reports on two models; of the second, an older one of other questions as well."""
    own = Store(tmp_path_factory.mktemp("board"), "test")
    chosen = settings(files)
    items = task_items.make(context(own), {}, task_items.Asked(chosen.tasks))
    fewer = settings(files, tasks=[{"name": "own", "path": str(files / "own.jsonl"), "limit": 9}])
    few = task_items.make(context(own), {}, task_items.Asked(fewer.tasks))
    made.report("sft_evaluation", settings=fewer, store=own, evaluation_tasks=few, model=made.second_model)
    made.report("pretrained_evaluation", settings=chosen, store=own, evaluation_tasks=items)
    made.report("sft_evaluation", settings=chosen, store=own, evaluation_tasks=items, model=made.second_model)
    return own


def test_every_model_stands_there_once_with_its_newest_report(store):
    entries = board.entries_of(store)
    assert [entry.name.split("/")[0] for entry in entries] == ["model_1", "model_2"]
    assert [entry.report.asset for entry in entries] == ["pretrained_evaluation", "sft_evaluation"]


def test_the_best_is_named_and_nothing_is_ranked_inside_the_noise(store):
    figures = {figure.path: figure for figure in board.leaderboard(board.entries_of(store), MEASURES)}
    right = figures["tasks.feeling.0_shot.plain.value"]
    assert [one.verdict for one in right.standings] == ["best", "undecided"]
    assert right.standings[1].within == ["questions"] and right.standings[0].value >= right.standings[1].value
    bits = figures["tasks.own.0_shot.bits_per_byte.value"]
    assert bits.standings[0].value <= bits.standings[1].value and not bits.higher_is_better
    assert "tasks.own.2_shot.plain.value" in figures
    # Bits per byte of the validation text have neither an interval nor a known noise.
    whole = figures["language_modelling.all.bits_per_byte"]
    assert [one.verdict for one in whole.standings] == ["", ""] and len(whole.standings) == 2


def test_a_model_at_chance_is_said_to_be(store):
    (right,) = [
        figure
        for figure in board.leaderboard(board.entries_of(store), MEASURES)
        if figure.path == "tasks.feeling.0_shot.plain.value"
    ]
    guessing = [one for one in right.standings if one.entry.figures["tasks"]["feeling"]["0_shot"]["at_chance"]]
    assert guessing and {one.at_chance for one in guessing} == {0.5}
    assert leaderboard_tables.value_in_words(guessing[0], 4) == "at chance (50%)"


def test_other_questions_are_not_compared(store):
    entries = board.entries_of(store)
    old = next(one for one in store.versions("sft_evaluation") if one.version != entries[1].report.version)
    mixed = [entries[0], replace(entries[1], report=old, figures=board.read(old))]
    own = [one for one in board.leaderboard(mixed, MEASURES) if one.path == "tasks.own.0_shot.plain.value"]
    assert [len(figure.standings) for figure in own] == [1, 1] and own[0].basis != own[1].basis
    assert [one.verdict for figure in own for one in figure.standings] == ["", ""]


def test_seeds_decide_where_there_is_no_interval(store):
    """Three models with a figure without an interval, of which two differ by their seed alone."""

    def entry(name, seed, width, value):
        made_of = {"asset": "pretrained_model", "settings": {"seed": seed, "model": {"width": width}}}
        manifest = {"made_of": {"settings": {}}, "inputs": {}, "files": {}}
        return board.Entry(
            name, SimpleNamespace(manifest={"made_of": made_of}), SimpleNamespace(manifest=manifest),
            {"language_modelling": {"all": {"bits_per_byte": value}}},
        )  # fmt: skip

    near = [entry("a", 1, 8, 1.50), entry("b", 2, 8, 1.52), entry("c", 1, 16, 1.47)]
    (found,) = board.leaderboard(near, MEASURES)
    assert [(one.entry.name, one.verdict) for one in found.standings] == [
        ("c", "best"), ("a", "undecided"), ("b", "behind"),
    ]  # fmt: skip
    assert found.standings[1].within == ["seeds"] and found.noise["seeds"] == pytest.approx(0.014142, abs=1e-5)


def test_the_command_prints_it_and_writes_it(store, files, tmp_path, monkeypatch):  # noqa: F811
    (tmp_path / "recipe.yaml").write_text(
        f"name: test\nsources: [{{name: s, kind: files, path: '{files}/own.jsonl'}}]\n"
    )
    monkeypatch.setenv("SLM_DATA", str(store.root))
    words = ["--recipe", str(tmp_path / "recipe.yaml"), "leaderboard"]
    found = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "out")])
    assert found.exit_code == 0, found.output
    assert "undecided (questions)" in found.output and "best" in found.output
    content = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert len(content["models"]) == 2 and {one["figure"] for one in content["figures"]} >= {
        "tasks.own.0_shot.plain.value", "language_modelling.all.bits_per_byte",
    }  # fmt: skip
    assert "| undecided (questions) |" in (tmp_path / "out" / "leaderboard.md").read_text()
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "empty"))
    empty = CliRunner().invoke(main, words)
    assert empty.exit_code == 1 and "No model has been measured" in empty.output


def test_its_page_begins_with_a_sentence_and_a_picture_and_shows_figures_in_words(store, files):  # noqa: F811
    """The bars are shown at once, the models with their intervals behind a click, and no path of a report."""
    from assets.evaluation import show_leaderboard
    from assets.small_pictures import of_artifact

    inputs = {name: store.require(name) for name in ("pretrained_evaluation", "sft_evaluation")}
    board_made = leaderboard_tables.make(context(store), inputs, settings(files))
    shown = show_leaderboard(None, board_made)
    said = shown["in short"].text
    assert said.startswith("2 models were measured in ") and "; bits per byte at best " in said
    picture = of_artifact(board_made)
    assert picture is not None and picture.value.startswith("![bars](data:image/svg+xml")
    rows = [record.data for record in shown["models by figure"].records]
    assert {row["figure"] for row in rows} >= {"bits per byte"} and not any("." in row["figure"] for row in rows)
    assert {row["verdict"] for row in rows} >= {"best", "undecided (questions)"}
    assert shown["figures drawn"].value.startswith("![picture](data:image/png")


def test_the_artifact_is_made_again_only_when_a_report_is_new(store, made, files):  # noqa: F811
    chosen = settings(files)
    inputs = {name: store.require(name) for name in ("pretrained_evaluation", "sft_evaluation")}
    first = leaderboard_tables.make(context(store), inputs, chosen)
    assert leaderboard_tables.make(context(store), inputs, chosen).version == first.version
    rows = pl.read_parquet(first.table("standings"))
    assert rows.columns == list(leaderboard_tables.STANDING) and rows["verdict"].is_in(["undecided"]).any()
    few = settings(files, tasks=[{"name": "own", "path": str(files / "own.jsonl"), "limit": 7}])
    items = task_items.make(context(store), {}, task_items.Asked(few.tasks))
    made.report("pretrained_evaluation", settings=few, store=store, evaluation_tasks=items)
    assert leaderboard_tables.make(context(store), inputs, chosen).version != first.version

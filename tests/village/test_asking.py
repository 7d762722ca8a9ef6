"""While a network is trained it is asked for facts, and the log, pictures and summary say what it knew."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.evaluation.measure_settings import VillageSettings
from pipeline.evaluation.village_goals import GOALS, Outcome
from pipeline.graph import Project
from pipeline.inspect import village_pictures, village_summary
from pipeline.inspect.planted import Finding, Findings
from pipeline.inspect.summary import summary
from pipeline.recipe import load
from pipeline.run import make_with_inputs
from pipeline.store.store import Store
from pipeline.training.pretraining_settings import PretrainingSettings

RECIPE = """
name: tiny
sources: [{name: village, kind: generated, dataset: village, documents: 300}]
curation: {perplexity: {enabled: false}, quality: {enabled: false}, repetition: {window: 3}}
tokenizer: {vocab_size: 1100, character_coverage: 1.0}
shards: {validation: 0.05}
model: {layers: 1, width: 32, heads: 2, kv_heads: 1, context: 128}
pretraining: {tokens: 8_000, batch_tokens: 1024, evaluate_every: 4, samples_every: 1000, village: 0}
instructions: {sources: [{name: village, kind: generated, dataset: village-conversations, rows: 60}]}
sft: {epochs: 0.5}
evaluation: {village: {stories: 2}, answers: 2, answer_tokens: 8, validation_tokens: 1000}
execution: {device: cpu, executor: in_process}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("asked")
    (folder / "tiny.yaml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLM_TRACKING", "off")
        patch.setenv("SLM_DATA", str(folder / "data"))
        patch.setenv("SLM_RECIPE", str(folder / "tiny.yaml"))
        project = Project(load(folder / "tiny.yaml"), Store(folder / "data", "tiny"), lambda line: None)
        make_with_inputs(project, "sft_evaluation")
        yield project


def test_the_log_says_what_was_known_at_each_validation(made) -> None:
    log = pl.read_parquet(made["pretrained_model"].file("log.parquet"))
    asked = log.drop_nulls("facts_ko")
    assert asked.height == log.drop_nulls("validation_loss").height >= 2
    assert asked["facts_en"].is_between(0, 1).all()
    drawn = village_pictures.facts_over_tokens(made["pretrained_model"])
    assert [line.get_label() for line in drawn.axes[0].lines] == ["Korean", "English"]
    assert village_pictures.facts_over_tokens(made["sft_model"]) is None


def test_which_facts_are_known_is_a_field_for_each_person_and_relation(made) -> None:
    drawn = village_pictures.facts_known(made["pretrained_evaluation"])
    assert [axes.images[0].get_array().shape for axes in drawn.axes] == [(7, 40), (7, 40)]


def test_not_asking_is_no_part_of_what_is_made() -> None:
    assert "village" not in PretrainingSettings().identity
    assert PretrainingSettings(village=0).identity["village"] == 0


def test_the_summary_tells_a_story_and_shows_what_was_planted_and_reached(made) -> None:
    stages = [name for name in made.nodes if name.endswith(("_decisions", "_edits"))]
    shown = summary(made.store, stages, generated=["village"])
    for expected in ("planted in the village", "near copy", "what it has to show", "✗ missed", "wrongly taken",
                     "a story by the pretrained model (made up):", "A story about", "의 이야기",
                     "answered by the fine-tuned model:"):  # fmt: skip
        assert expected in shown, expected
    assert "planted in the village" not in summary(made.store, stages), "no source says what it planted"


def test_what_was_missed_or_wrongly_taken_is_named() -> None:
    one = Finding("near_copy", ("duplicate_decisions",), planted=3, found=1, removed_before=1, missed=["ko-7"])
    found = Findings([one], {"duplicate_decisions": ["en-1", "en-2", "en-3", "en-4"], "keyword_decisions": []})
    assert "1: ko-7" in village_summary.planted_table(found)
    assert village_summary.wrongly_taken(found) == "wrongly taken: duplicate 4 (en-1, en-2, en-3, …)"


def test_a_goal_may_be_a_floor_or_a_ceiling() -> None:
    goals = {goal.name: goal for goal in GOALS["pretrained"]}
    assert Outcome(goals["facts_ko"], 0.97).reached and not Outcome(goals["facts_ko"], 0.96).reached
    assert Outcome(goals["stories_verbatim_en"], 0.1).reached and not Outcome(goals["stories_verbatim_en"], 0.2).reached
    assert not Outcome(goals["facts_ko"], None).reached
    assert VillageSettings().stories >= 40


def test_the_documents_that_tell_a_fact_are_shown_and_forgotten(made) -> None:
    """Last in this file: the store's removal list has them from here on."""
    raw = pl.concat([pl.read_parquet(made["raw_documents"].table(one)) for one in made["raw_documents"].fragments])
    telling = set(raw.filter(pl.col("meta").str.contains('"Minsu.pet"', literal=True))["doc_id"])
    assert len(telling) >= 3
    shown = CliRunner().invoke(main, ["lineage", "document", "--meta", '"Minsu.pet"'], catch_exceptions=False)
    assert all(doc_id in shown.output for doc_id in telling) and "licence made up" in shown.output
    done = CliRunner().invoke(
        main, ["forget", "--meta", '"Minsu.pet"', "--reason", "asked for", "--yes"], catch_exceptions=False
    )
    assert f"{len(telling)} documents added to the removal list" in done.output
    assert "pretrained_model/" in done.output, "the models that learned from them are named"

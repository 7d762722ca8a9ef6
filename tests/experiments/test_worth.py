"""What each part is worth: planted sources get the sign that they were planted with."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from assets import experiments, jobs
from assets.asset import result as shown_in_dagster
from pipeline import worth
from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.experiments import comparing, worth_drawing, worth_table
from pipeline.experiments.changes import AS_IT_IS
from pipeline.experiments.worth_settings import Worth
from pipeline.graph import Project
from pipeline.run import make_with_inputs
from tests import tiny

RECIPE = """
name: planted
sources:
  - {{name: told, kind: files, path: '{folder}/told/*.txt', lang: en, license: own}}
  - {{name: alike, kind: files, path: '{folder}/alike/*.txt', lang: en, license: own}}
  - {{name: noise, kind: files, path: '{folder}/noise/*.txt', lang: en, license: own}}
  - {{name: translated, kind: files, path: '{folder}/translated/*.txt', lang: en, license: own}}
curation:
  language: {{enabled: false}}
  heuristics: {{enabled: false}}
  perplexity: {{enabled: false}}
  quality: {{enabled: false}}
  duplicates: {{enabled: false}}
  repetition: {{enabled: false}}
  personal_data: {{enabled: false}}
  contamination: {{enabled: false}}
tokenizer: {{vocab_size: 320, reserved: 0}}
shards: {{validation: 0.2, near_duplicate: 1}}
model: {{layers: 1, width: 32, heads: 2, context: 32}}
pretraining: {{tokens: 240000, batch_tokens: 512, validation_tokens: 64, sample_tokens: 1, precision: fp32,
  learning_rate: 5.0e-3, feed: {{window_tokens: 4096}}}}
sft: {{enabled: false}}
evaluation: {{tasks: [{{name: turned, path: '{folder}/turned.jsonl'}}]}}
execution: {{device: cpu, executor: in_process}}
"""


def texts(kind: str, documents: int = 40) -> Iterator[str]:
    """Sentences of tiny's words; the same with every word turned round, as in a language of its own; letters."""
    chance = random.Random(kind)
    words = " ".join(tiny.ENGLISH).lower().split()
    for _ in range(documents):
        sentences = [chance.choice(tiny.ENGLISH) for _ in range(3)] + [" ".join(chance.choices(words, k=6))]
        text = " ".join(sentences)
        if kind == "noise":
            text = " ".join("".join(chance.choices("bcdfghjklmnpqrstvwxz", k=5)) for _ in range(60))
        elif kind == "translated":
            text = " ".join(word[::-1] + "u" for word in text.split())
        yield text


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Project]:
    folder: Path = tmp_path_factory.mktemp("worth")
    for kind in ("told", "alike", "noise", "translated"):
        (folder / kind).mkdir()
        for number, text in enumerate(texts(kind)):
            (folder / kind / f"{number:02d}.txt").write_text(text)
    questions = [
        {"question": f"{word}:", "choices": [f"{word[::-1]}u", f"{word}u"], "answer": 0}
        for word in sorted({word for text in texts("told", 3) for word in text.split() if word.isalpha()})[:20]
    ]
    (folder / "turned.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))
    (folder / "planted.yaml").write_text(RECIPE.format(folder=folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLM_DATA", str(folder / "data"))
        patch.setenv("SLM_RECIPE", str(folder / "planted.yaml"))
        patch.setenv("SLM_TRACKING", "off")
        opened = Project.open(log=lambda line: None)
        make_with_inputs(opened, "token_shards")
        yield opened


def test_planted_sources_get_the_right_sign_and_their_text_is_made_once(project, tmp_path):
    lines: list[str] = []
    opened = replace(project, log=lines.append)
    made = worth.run(opened, Worth(tokens=20_000, seeds=3))
    found = {(row["part"], row["target"]): row for row in worth.rows_of(made)}
    assert len(found) == 4 * 6
    assert found["without translated", "task: turned"]["verdict"] == worth_table.HELPS
    assert found["without alike", "told"]["verdict"] == worth_table.HELPS
    assert found["without noise", "told"]["verdict"] == worth_table.HARMS
    assert found["without noise", "noise"]["verdict"] == worth_table.HELPS
    assert found["without translated", "translated"]["verdict"] == worth_table.HELPS
    assert found["without translated", "told"]["verdict"] != worth_table.HELPS
    assert not [line for line in lines if ": made" in line and line.split(":")[0] in project.nodes.keys() - MADE]
    assert worth.run(opened, Worth(tokens=20_000, seeds=3)).version == made.version
    assert "without alike" in worth.lines(made)[0] and made.counts["decided"] >= 5
    recipe = project.recipe.model_copy(update={"worth": Worth()})
    shown = shown_in_dagster(project, experiments.described(recipe)[worth.ASSET], made).metadata
    assert shown is not None and {"picture", "effects", "in words"} <= shown.keys()
    assert jobs.WORTH_JOB in [job.name for job in jobs.jobs_of(recipe)]
    assert jobs.WORTH_JOB not in [job.name for job in jobs.jobs_of(project.recipe)]
    picture = tmp_path / "worth.png"
    said = CliRunner().invoke(main, ["worth", "--tokens", "20000", "--seeds", "3", "--picture", str(picture)])
    assert said.exit_code == 0 and "helps" in said.output and "from the store" in said.output
    assert picture.read_bytes().startswith(b"\x89PNG")


MADE = {"pretrained_model", "training_plan", "evaluation_tasks"}  # for the cells, and to measure them


def test_what_is_tried_follows_from_the_recipe(project):
    asked = worth.experiment_of(project.recipe, Worth(parts=("sources", "doubled", "stages"), seeds=2))
    assert asked.at == {"pretraining.tokens": 24_000} and asked.grid == {"pretraining.seed": [0, 1]}
    names = [cell.get("name") for cell in asked.cells]
    assert names[:3] == [None, "without told", "without alike"] and "twice noise" in names
    assert "without the stage keywords" in names and "without the stage language" not in names
    (twice,) = [cell for cell in asked.cells if cell.get("name") == "twice noise"]
    assert twice["pretraining.feed.source_weights.noise"] == 2
    alone = project.recipe.model_copy(update={"sources": project.recipe.sources[:1]})
    with pytest.raises(UserError, match="a recipe needs two sources"):
        worth.experiment_of(alone, Worth())
    short = project.recipe.model_copy(
        update={"pretraining": project.recipe.pretraining.model_copy(update={"tokens": 0})}
    )
    with pytest.raises(UserError, match=r"set `worth\.tokens`"):
        worth.experiment_of(short, Worth())


def rows(setting: str, source: str, figures: list[float]) -> list[dict[str, object]]:
    return [
        {"setting": setting, "source": source, "seed": seed, "bits_per_byte": value}
        for seed, value in enumerate(figures)
    ]


def test_all_effects_of_a_table_are_corrected_together():
    settings = {AS_IT_IS: 2.0, "without a": 2.1, "twice a": 1.9, "without b": 2.0}
    wobble = [0.0, 0.003, -0.002, 0.001]
    cells = [
        row
        for name, mean in settings.items()
        for row in rows(name, "", [mean + of * (1 + 0.1 * len(name)) for of in wobble])
    ]
    few = worth_table.effects(cells, [], AS_IT_IS)
    many = worth_table.effects(cells, [{**cell, "source": f"s{n}"} for n in range(5) for cell in cells], AS_IT_IS)
    assert len(few) == 3 and len(many) == 18
    verdicts = {row["part"]: row["verdict"] for row in few}
    assert verdicts == {
        "without a": worth_table.HELPS, "twice a": worth_table.HELPS, "without b": comparing.UNDECIDED,
    }  # fmt: skip
    (one,) = [row for row in few if row["part"] == "without a"]
    (other,) = [row for row in many if row["part"] == "without a" and row["target"] == worth_table.ALL]
    assert one["p"] == other["p"] and one["p_holm"] < other["p_holm"] <= 18 * one["p"] * 1.000001
    assert one["difference"] == pytest.approx(0.05, abs=1e-3)
    same = [{**cell, "setting": "without c"} for cell in cells if cell["setting"] == AS_IT_IS]
    with_copy = {row["part"]: row for row in worth_table.effects([*cells, *same], [], AS_IT_IS)}
    assert with_copy.pop("without c")["verdict"] == comparing.SAME and [*with_copy.values()] == few
    worse = worth_table.verdict({"part": "without a", "p_holm": 0.01, "difference": -0.1})
    assert worse == worth_table.HARMS == worth_table.verdict({"part": "twice a", "p_holm": 0.01, "difference": 0.1})
    axes = worth_drawing.drawn(few).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["without a", "twice a", "without b"]


def test_one_seed_decides_nothing():
    cells = rows(AS_IT_IS, "", [2.0]) + rows("without a", "", [3.0])
    (row,) = worth_table.effects(cells, [], AS_IT_IS)
    assert row["verdict"] == comparing.UNDECIDED and row["p_holm"] is None and row["low"] is None

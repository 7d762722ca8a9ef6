"""`slm annotate` from the models to the recipe, and from documents at a limit to the verdicts of the recipe."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from pipeline.annotation import tasks
from pipeline.cli import main
from tests.annotation import exports
from tests.model.test_serve import ANSWER, directory  # noqa: F401  the fixture
from tests.test_curate import folder  # noqa: F401  the fixture


def slm(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["annotate", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_answers_of_models_are_asked_about_judged_and_named_in_the_recipe(directory, tmp_path):  # noqa: F811
    questions, posed = tmp_path / "questions.jsonl", tmp_path / "posed"
    rows = [{"question_id": number, "turns": [said]} for number, said in enumerate(("안녕", "가나", "다라", "가" * 80))]
    questions.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    asking = ("--questions", questions, "--out", posed, "--max-tokens", 24)
    assert "A model is named twice" in slm("export", "pairs", directory, directory, *asking, code=1)
    output = slm("export", "answers", directory, *asking)
    assert "4 tasks" in output or "left out" in output
    listed = tasks.read_tasks(posed)
    assert next(task.texts for task in listed if task.prompt[0]["content"] == "안녕") == [ANSWER]
    output = slm(
        "export", "pairs", directory, "--questions", questions, "--out", tmp_path / "pairs", "--max-tokens", 24
    )
    assert "Judge with" in output and tasks.read_tasks(tmp_path / "pairs")[0].kind == "pair"
    said = {task.task: {3: "good", 4: "bad" if at else "good"} for at, task in enumerate(listed)}
    path = tmp_path / "project.json"
    path.write_bytes(exports.label_studio(posed, said))
    output = slm("import", posed, path)
    assert f"{2 * len(listed)} new" in output and "kind: annotated" in output and "1 decided" in output
    assert "alpha" in slm("agreement", posed)
    assert "Nobody has judged" in slm("agreement", tmp_path / "pairs", code=1)


def test_documents_at_a_limit_become_verdicts_of_the_recipe(folder, tmp_path):  # noqa: F811
    posed = tmp_path / "posed"
    slm("export", "documents", "--out", posed, "--sample", 6, "--stage", "heuristic_decisions", "--near", 2)
    listed = tasks.read_tasks(posed)
    assert listed and {task.kind for task in listed} == {"document"}
    export = exports.doccano(posed, {task.task: {"mina": ["drop"]} for task in listed})["mina.jsonl"]
    Path(tmp_path / "mina.jsonl").write_bytes(export)
    assert f"{len(listed)} verdicts saved" in slm("import", posed, tmp_path / "mina.jsonl")
    shown = CliRunner().invoke(main, ["curate", "verdicts", "--json"])
    precision = json.loads(shown.stdout)["precision"]
    assert sum(row["verdicts"] for row in precision) == len(listed)

"""Programs that a model writes are cut where they end, run in the sandbox, and counted."""

from __future__ import annotations

import json

import polars as pl
import pytest
from pydantic import ValidationError

from pipeline.errors import UserError
from pipeline.evaluation import report
from pipeline.evaluation.code import sandbox
from pipeline.evaluation.code.problems import NotAProblem, humaneval, mbpp
from pipeline.evaluation.evaluation_settings import EvaluationSettings
from pipeline.evaluation.measures import programs
from pipeline.evaluation.tasks import task_items
from tests.making import context

contains = pytest.mark.skipif(sandbox.why_not() is not None, reason=f"cannot contain programs: {sandbox.why_not()}")
DOUBLE = {
    "task_id": "t/0", "entry_point": "double", "prompt": 'def double(x):\n    """Twice x."""\n',
    "canonical_solution": "    return 2 * x\n", "test": "def check(candidate):\n    assert candidate(3) == 6\n",
}  # fmt: skip
ADD = {
    "task_id": 1, "text": "Write a function to add two numbers.", "code": "def add(a, b):\n    return a + b",
    "test_list": ["assert add(1, 2) == 3", "assert add(2, 2) == 4"], "test_setup_code": "",
}  # fmt: skip


@contains
@pytest.mark.parametrize(
    ("problem", "continuation", "ending"),
    [
        (humaneval(DOUBLE), "    return 2 * x\n", "passed"),
        (humaneval(DOUBLE), "    return 2 * x\n\ndef other():\n    while True: pass\nother()", "passed"),
        (humaneval(DOUBLE), "    return x\n", "failed"),
        (humaneval(DOUBLE), "    return (", "failed"),
        (mbpp(ADD), "def add(a, b):\n    return a + b\n[DONE]\nraise ValueError", "passed"),
        (mbpp(ADD), "def add(a, b):\n    return a - b\n[DONE]", "failed"),
        (mbpp(ADD), "", "failed"),
        # A program that leaves before its tests has not passed them.
        (mbpp(ADD), "import sys\ndef add(a, b):\n    sys.exit(0)\n[DONE]", "failed"),
        (humaneval(DOUBLE), "    import os\n    os._exit(0)\n", "failed"),
    ],
)
def test_a_program_is_right_if_it_passes_all_its_tests(problem, continuation, ending):
    assert sandbox.run(problem.program(continuation)).ending == ending


def test_the_programs_of_the_authors_fit_their_problems():
    assert "check(double)" in humaneval(DOUBLE).program(DOUBLE["canonical_solution"])
    assert mbpp({**ADD, "text": None, "prompt": ADD["text"]}) == mbpp(ADD)


@pytest.mark.parametrize(
    ("form", "row", "missing"),
    [(humaneval, {"prompt": "secret"}, "test"), (mbpp, {"text": "secret"}, "test_list"), (mbpp, {}, "text")],
)
def test_a_row_that_does_not_fit_is_refused_and_not_quoted(form, row, missing):
    with pytest.raises(NotAProblem, match=f"`{missing}` is missing") as caught:
        form(row)
    assert "secret" not in str(caught.value)


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "double.jsonl").write_text(json.dumps(DOUBLE) + "\n")
    (tmp_path / "add.jsonl").write_text(json.dumps(ADD) + "\n")
    return EvaluationSettings.model_validate({
        "validation_tokens": 1_000, "answers": 0, "preferences": 0, "prompts": (),
        "programs": [
            {"name": "double", "form": "humaneval", "path": str(tmp_path / "double.jsonl"), "tokens": 8},
            {"name": "add", "form": "mbpp", "path": str(tmp_path / "add.jsonl"), "tokens": 8, "samples": 3, "k": 2},
        ],
    })  # fmt: skip


def measured(made, settings, asset):
    asked = task_items.Asked(settings.tasks, settings.programs)
    items = task_items.make(context(made.store), {}, asked)
    return made.report(asset, settings=settings, evaluation_tasks=items)


@contains
def test_a_model_that_cannot_program_passes_nothing_and_says_how_it_failed(made, settings):
    found = measured(made, settings, "programs_report")
    figures = report.read(found)["programs"]
    assert figures["double"]["pass"]["value"] == 0 and figures["double"]["problems"] == 1
    assert sum(figures["add"]["endings"].values()) == 3
    assert found.facts["pass.double"] == 0
    rows = pl.read_parquet(found.table("programs"))
    assert rows.columns == list(programs.PROGRAM) and rows.height == 4


@contains
def test_programs_that_pass_are_counted(made, settings, monkeypatch):
    right = {"double": "    return 2 * x\n", "add": "def add(a, b):\n    return a + b\n[DONE]"}
    wrong = iter([False, True, False])  # of the three of `add`, the second is right

    def written(subject, chosen, prompts):
        return [right[chosen.name] if chosen.name == "double" or next(wrong) else "pass" for _ in prompts]

    monkeypatch.setattr(programs, "continuations", written)
    figures = report.read(measured(made, settings, "programs_right"))["programs"]
    assert figures["double"]["pass"]["value"] == 1
    assert figures["add"]["pass"]["value"] == pytest.approx(2 / 3, abs=1e-4)  # 1 - C(2, 2) / C(3, 2)
    assert figures["add"]["endings"] == {"failed": 2, "passed": 1}


def test_a_machine_that_cannot_contain_programs_says_so_in_the_report(made, settings, monkeypatch):
    monkeypatch.setattr(programs, "why_not", lambda: "install bubblewrap")
    assert report.read(measured(made, settings, "programs_not_run"))["programs"] == {"not_run": "install bubblewrap"}


def test_more_programs_than_are_drawn_cannot_be_asked_for():
    with pytest.raises(ValidationError, match="pass@3 needs at least 3 programs a problem: raise `samples`"):
        EvaluationSettings.model_validate({"programs": [{"name": "a", "form": "mbpp", "path": "x", "k": 3}]})


def test_a_wrong_file_is_one_sentence(made, settings):
    chosen = settings.programs[0].model_copy(update={"form": "mbpp"})
    with pytest.raises(UserError, match="set of problems `double` is not of the form `mbpp`: row 1: `test_list`"):
        task_items.make(context(made.store), {}, task_items.Asked((), (chosen,)))

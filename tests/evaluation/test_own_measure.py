"""A measure of a person's own: a file that the recipe names, in every place where the built-in ones are."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from assets import checks
from assets.evaluation import described, show_report
from assets.overrides import overridden
from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.evaluation import report
from pipeline.evaluation.evaluation_settings import EvaluationSettings
from pipeline.graph import Project
from pipeline.inspect import registry
from pipeline.recipe import parse
from pipeline.run import make_with_inputs
from tests import tiny

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_measure.py"
SMALL = "name: mine\nsources:\n  - {name: notes, kind: files, path: 'notes/*.md'}\n"
FILE = """
from pipeline.evaluation.measure import Headline, Measure, Result
from pipeline.settings import Settings as Block

class Settings(Block):
    threshold: int = 1
    strict: bool = False

def run(subject, settings):
    return Result({"count": settings.threshold})

MEASURE = Measure("mine", "counts", run, headlines=(Headline("count", "mine", True),))
"""


@pytest.fixture
def own(tmp_path):
    """Writes a measure's file and gives the block `evaluation` that names it."""

    def block(body: str = FILE, name: str = "own.py", **keys) -> EvaluationSettings:
        (tmp_path / name).write_text(body)
        return EvaluationSettings(prompts=("the",), answer_tokens=2, further=[{"file": str(tmp_path / name), **keys}])

    return block


def returning(expression: str) -> str:
    return FILE.replace('Result({"count": settings.threshold})', expression)


def test_the_example_is_in_every_place_where_built_in_measures_are(tmp_path, monkeypatch):
    path = tiny.write(tmp_path)
    block = (
        "\nevaluation:\n  validation_tokens: 1000\n  answer_tokens: 2\n  prompts: [The harbour]\n"
        f"  further: [{{file: {EXAMPLE}, batch_tokens: 512}}]\n"
    )
    path.write_text(path.read_text() + block)
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    lines: list[str] = []
    project = Project.open(path, log=lines.append)
    evaluation = make_with_inputs(project, "pretrained_evaluation")

    found = report.read(evaluation)["minimal_pairs"]
    assert found["count"] == 4 and set(found["by_language"]) == {"en", "ko"}
    table = pl.read_parquet(evaluation.table("minimal_pairs"))
    assert table.height == 4 and found["right"] == table["preferred"].mean()
    assert (table["preferred"] == (table["nll_right"] < table["nll_wrong"])).all() and (table["nll_right"] > 0).all()
    assert evaluation.facts["minimal_pairs"] == found["right"], "the headline stands in the manifest"
    assert any(re.search(r"^  minimal_pairs +\d", line, re.M) for line in lines), "and on the terminal"

    of_models = [of for of in described(project.recipe) if of.measures]
    assert all("minimal pairs" in of.description for of in of_models) and of_models, "the asset says what is measured"
    page = show_report(project, evaluation)
    assert "minimal_pairs.by_language.ko.right" in str(page["figures"]) and "nll_right" in str(page["minimal pairs"])
    about = registry.documents(project.recipe, project.store, project["pretrained_model"], evaluation)
    assert f"| right of minimal pairs | {found['right']:.4f} |" in about["model_card.md"]
    assert "| minimal pairs, ko (2) |" in about["model_card.md"]
    assert "minimal_pairs.right" in about["evaluation/figures.json"]["figure"]
    screen = CliRunner().invoke(main, ["--recipe", str(path), "summary"], catch_exceptions=False).output
    assert f"{found['right']:.3f} right of minimal pairs" in screen
    assert not make_with_inputs(project, "pretrained_evaluation").made, "and it is not measured twice"


def test_its_figures_are_compared_and_tracked(made, own, monkeypatch):
    seen: dict = {"artifacts": []}

    class Run:
        def metrics(self, values, step):
            seen.update(values)

        def artifact(self, path):
            seen["artifacts"].append(path.name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

    monkeypatch.setattr(report.tracking, "run", lambda *about: seen.update(params=about[3]) or Run())
    body = returning(
        'Result({"count": settings.threshold}, tables={"mine": __import__("polars").DataFrame({"a": [1]})})'
    )
    before = made.report("o1", settings=own(body, threshold=1))
    after = made.report("o1", settings=own(body, threshold=3), before=before)
    rows = pl.read_parquet(after.table("comparison")).filter(figure="mine.count")
    assert rows.rows() == [("mine.count", 3.0, 1.0, 2.0)]
    assert seen["mine.count"] == 3 and seen["params"]["mine"] == {"threshold": 3, "strict": False}
    assert "further" not in seen["params"] and "mine.parquet" in seen["artifacts"]


def test_without_own_measures_a_report_is_what_it_was(made):
    """Reports that were made before there were own measures stay up to date."""
    of = made.report("o2")
    assert of.manifest["made_of"]["settings"] == {
        "validation_tokens": 1000, "answers": 4, "answer_tokens": 6, "preferences": 4, "prompts": ["the", "빠른"],
        "temperature": 0.8, "batch_tokens": 4096, "seed": 1,
    }  # fmt: skip


def test_what_a_report_depends_on_is_the_file_s_bytes_and_its_settings_and_not_where_it_lies(made, own):
    one = made.report("o3", settings=own())
    assert made.report("o3", settings=own(name="elsewhere.py")).version == one.version
    assert made.report("o3", settings=own(threshold=1)).version == one.version, "1 is the default"
    assert made.report("o3", settings=own(threshold=2)).version != one.version
    assert made.report("o3", settings=own(FILE + "# a remark\n")).version != one.version


def test_a_measure_whose_inputs_are_not_there_is_left_out(made, own):
    body = FILE.replace('"counts", run', '"counts", run, needs=("instruction_data",)')
    assert "mine" not in report.read(made.report("o4", settings=own(body)))
    assert "mine" in report.read(made.report("o4", "instruction_data", settings=own(body)))


def test_a_measure_is_given_the_inputs_that_it_needs_and_the_report_is_made_of_them(made, own):
    def of_needs(*roles):
        body = returning('Result({"given": " ".join(subject.inputs)})')
        return own(body.replace('"counts", run', f'"counts", run, needs={roles!r}'))

    items = made.store.make(
        "other_decisions", code_version="1", settings={}, inputs={}, log=lambda line: None, build=decided
    )
    one = made.report("o8", settings=of_needs("token_shards"), contamination_decisions=items)
    assert report.read(one)["mine"] == {"given": "token_shards"}
    assert set(one.manifest["inputs"]) == {"model", "token_shards", "covered_items"}
    two = made.report("o8", settings=of_needs("contamination_decisions"), contamination_decisions=items)
    assert report.read(two)["mine"] == {"given": "contamination_decisions"}
    assert set(two.manifest["inputs"]) == {"model", "token_shards", "contamination_decisions"}


def test_its_samples_stand_with_the_others(made, own):
    body = returning('Result(samples=__import__("polars").DataFrame({"kind": ["mine"], "output": ["text"]}))')
    of = made.report("o5", settings=own(body))
    samples = pl.read_parquet(of.table("samples"))
    assert samples["kind"].to_list() == ["sampled", "greedy", "mine"] and samples["reference"].null_count() == 3
    assert "mine" not in report.read(of)


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("Result({}['x'])", r"own\.py, line 10 failed while `mine` was measured \(KeyError: 'x'\)"),
        (
            "Result({'a': __import__('numpy').float32(1)})",
            "returned float32 as its figure `a`: return Python's built-in numbers",
        ),
        ("1.5", "The measure `mine` returned float: return a `pipeline.evaluation.measure.Result`"),
        ("Result(1.5)", "whose figures are a mapping"),
        ("Result({'a': {'b': [1, object()]}})", r"returned object as its figure `a\.b\[1\]`"),
        ("Result({'a': {1: 2}})", "returned a mapping with keys that are not strings as its figure `a`"),
        ("Result(tables={'a/b': 1})", "cannot write a table called `a/b`"),
        ("Result(tables={'samples': 1})", "cannot write a table called `samples`"),
        ("Result(tables={'a': 1})", "returned int as table `a`: return a polars DataFrame"),
        ("Result(samples=[])", "returned list as samples: return a polars DataFrame"),
        ("Result(samples=__import__('polars').DataFrame({'x': [1]}))", r"samples with the column `x` \(Int64\)"),
        ("Result(samples=__import__('polars').DataFrame({'output': [1]}))", r"the column `output` \(Int64\)"),
    ],
)
def test_what_goes_wrong_in_it_is_one_sentence(made, own, expression, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        made.report("o6", settings=own(returning(expression)))
    assert "\n" not in str(caught.value)


def test_a_measure_may_switch_itself_off_and_a_mistake_in_that_is_one_sentence(made, own):
    body = FILE.replace(
        "True),))", "True),), enabled=lambda settings: settings.threshold / (settings.threshold - 2) > 0)"
    )
    assert "mine" not in report.read(made.report("o9", settings=own(body, threshold=1)))
    assert "mine" in report.read(made.report("o9", settings=own(body, threshold=3)))
    with pytest.raises(UserError, match=r"own\.py, line 12 failed while `mine` was asked .*ZeroDivisionError"):
        made.report("o9", settings=own(body, threshold=2))


def test_a_figure_that_is_not_a_number_fails_the_check_of_the_asset(made, own):
    of = made.report("o10", settings=own(returning('Result({"a": {"b": [1.0, float("nan")]}})')))
    problem, shown = checks.figures_are_numbers(None, of)
    assert problem == "not finite: mine.a.b[1]" and shown["figures"] > 2
    good = made.report("o10", settings=own())
    assert checks.figures_are_numbers(None, good)[0] == ""


def test_two_measures_cannot_write_one_table(made, own):
    items = made.store.make(
        "other_decisions", code_version="1", settings={}, inputs={}, log=lambda line: None, build=decided
    )
    body = returning('Result(tables={"covered_items": __import__("polars").DataFrame({"a": [1]})})')
    with pytest.raises(UserError, match="`mine` and another one both write a table `covered_items`"):
        made.report("o7", settings=own(body), contamination_decisions=items)


def decided(draft):
    from pipeline.store.tables import write_table

    rows = {"set": ["s"], "id": ["q"], "documents": [1], "share": [0.5]}
    write_table(pl.DataFrame(rows), draft.path("report/items.parquet"))
    draft.facts = {"sets": {"s": {"items": 1}}}


@pytest.mark.parametrize(
    ("body", "keys", "sentence"),
    [
        (
            FILE,
            "treshold: 3",
            "my.yaml:6: `evaluation.further.0.treshold`: is not a setting of own.py; did you mean `th",
        ),
        (FILE, "other: 3", "is not a setting of own.py; known there: threshold, strict"),
        (FILE, "threshold: many", "my.yaml:6: `evaluation.further.0.threshold`: Input should be a valid integer"),
        (None, "", "my.yaml:5: `evaluation.further.0.file`: There is no file"),
        ("x = (", "", "my.yaml:5: `evaluation.further.0.file`: "),
        ("MEASURE = 3", "", "is not a `pipeline.evaluation.measure.Measure`"),
        ("x = 3", "", "does not define `MEASURE`"),
        (FILE.replace('"mine", "c', '"My measure", "c'), "", "is called 'My measure': use lower-case letters"),
        (FILE.replace('"mine", "c', '"answers", "c'), "", "my.yaml:5: `evaluation.further.0.file`: there is another"),
        (FILE.replace('"mine", True', '"rougeL", True'), "", "another headline is called `rougeL`"),
        (FILE.replace("run, head", 'run, needs=("text",), head'), "", "names `text`: use only model, token_shards"),
        (FILE.replace("threshold: int = 1", "file: str"), "", "has a key `file`"),
        (FILE.replace("int = 1", "int"), "", "`evaluation.further.0.threshold`: is needed and is not there"),
    ],
)
def test_a_mistake_is_found_when_the_recipe_is_read(tmp_path, body, keys, sentence):
    if body is not None:
        (tmp_path / "own.py").write_text(body)
    text = f"{SMALL}evaluation:\n  further: [{{file: own.py,\n    {keys}}}]\n"
    with pytest.raises(UserError) as caught:
        parse(text, "my.yaml", base=tmp_path)
    first, line = str(caught.value).splitlines()
    assert first == "The recipe has one mistake:" and sentence in line


def test_two_own_measures_of_one_name_are_refused(tmp_path):
    (tmp_path / "own.py").write_text(FILE)
    with pytest.raises(
        UserError, match=r"my.yaml:7: `evaluation.further.1.file`: there is another measure called `mine`"
    ):
        parse(
            SMALL + "evaluation:\n  further:\n    - file: own.py\n    - file: own.py\n", "my.yaml", base=tmp_path
        )  # fmt: skip


def test_the_recipe_shows_the_settings_of_an_own_measure_and_can_be_read_again(tmp_path):
    (tmp_path / "own.py").write_text(FILE)
    recipe = parse(SMALL + "evaluation: {further: [{file: own.py, threshold: 5}]}\n", base=tmp_path)
    block = recipe.evaluation
    content = block.model_dump(mode="json")
    assert content["further"] == [{"file": str(tmp_path / "own.py"), "threshold": 5, "strict": False}]
    assert EvaluationSettings.model_validate(content) == block
    changed = overridden(recipe, "evaluation", {"answers": 3}).evaluation  # in Dagster's Launchpad
    assert changed.answers == 3 and changed.further == block.further

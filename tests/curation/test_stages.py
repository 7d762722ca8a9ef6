"""The list of stages: its order in the recipe, and a user's own stages."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from pipeline.curation.stages import STAGES, decision_assets, stages_of
from pipeline.documents import execution
from pipeline.documents.execution import ExecutionSettings
from pipeline.documents.stage import own_stage
from pipeline.errors import UserError
from pipeline.graph import Project
from pipeline.recipe import load, parse
from pipeline.run import make_with_inputs, why
from pipeline.store.store import Store
from tests import tiny
from tests.curation.written_documents import raw_documents
from tests.making import after, context

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_stage.py"
BASE = "name: r\nsources: [{name: s, kind: files, path: 'x/*.txt'}]\n"


def with_curation(text: str, folder: Path | None = None):
    return parse(BASE + "curation:\n" + text, base=folder)


def test_every_stage_says_what_a_person_needs_to_know():
    names = [stage.name for stage in STAGES]
    assert len(set(names)) == len(names) == len({stage.block for stage in STAGES})
    for stage in STAGES:
        assert stage.description and stage.kinds and stage.version and stage.block
        assert all(words for words in stage.reasons.values())


def test_the_graph_follows_the_order_of_the_recipe():
    order = ["keywords", "language", "heuristics", "perplexity", "quality", "personal_data", "duplicates", "repetition"]
    recipe = with_curation(f"  order: [{', '.join([*order, 'contamination'])}]\n")
    assert [stage.block for stage in stages_of(recipe.curation)] == [*order, "contamination"]
    nodes = Project(recipe, Store("nowhere", "r")).nodes
    assert nodes["keyword_decisions"].inputs == {"raw_documents": "raw_documents"}
    assert nodes["language_decisions"].inputs["previous"] == "keyword_decisions"
    assert nodes["duplicate_decisions"].inputs["previous"] == "personal_data_edits"
    assert nodes["perplexity_model"].inputs["previous"] == "heuristic_decisions"
    assert list(nodes["curated_documents"].inputs)[1:-1] == list(decision_assets(recipe.curation))
    assert list(nodes["curated_documents"].inputs)[-1] == "languages"


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        (["languge"], "names `languge`, which is not a stage; did you mean `language`?"),
        (["language"], "leaves out keywords, heuristics"),
        ([*(stage.block for stage in STAGES), "language"], "names language twice"),
        (
            ["language", "keywords", "perplexity", "heuristics", "quality", "duplicates", "repetition", "personal_data",
             "contamination"],
            "puts perplexity before heuristics, which it has to follow",
        ),
    ],
)  # fmt: skip
def test_an_order_that_cannot_be_is_refused_with_the_line(order, sentence):
    with pytest.raises(UserError) as error:
        with_curation(f"  order: [{', '.join(order)}]\n")
    assert sentence in str(error.value) and "recipe:3" in str(error.value)


def test_a_stage_of_ones_own_runs_after_the_stage_that_the_recipe_names(tmp_path):
    shutil.copy(EXAMPLE, tmp_path / "shouting.py")
    recipe = with_curation("  further: [{file: shouting.py, after: keywords, max_share: 0.1}]\n", tmp_path)
    stages = stages_of(recipe.curation)
    assert [stage.name for stage in stages][:4] == [
        "language_decisions", "keyword_decisions", "shouting_decisions", "heuristic_decisions",
    ]  # fmt: skip
    own = stages[2]
    assert recipe.curation.of(own).max_share == 0.1
    nodes = Project(recipe, Store("nowhere", "r")).nodes
    assert nodes["shouting_decisions"].inputs["previous"] == "keyword_decisions"
    assert nodes["heuristic_decisions"].inputs["previous"] == "shouting_decisions"
    assert "shouting_decisions" in nodes["curated_documents"].inputs


def test_stages_of_ones_own_that_follow_the_same_stage_keep_the_recipes_order(tmp_path):
    for number in (1, 2):
        text = EXAMPLE.read_text().replace("shouting_decisions", f"shouting_{number}")
        (tmp_path / f"own_{number}.py").write_text(text)
    recipe = with_curation(
        "  further: [{file: own_1.py, after: quality}, {file: own_2.py, after: quality}]\n", tmp_path
    )
    names = list(decision_assets(recipe.curation))
    at = names.index("quality_decisions")
    assert names[at + 1 : at + 3] == ["shouting_1", "shouting_2"]
    chained = with_curation("  further: [{file: own_1.py}, {file: own_2.py, after: own_1.py}]\n", tmp_path)
    assert decision_assets(chained.curation)[-3:] == ("contamination_decisions", "shouting_1", "shouting_2")


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("{file: missing.py}", "missing.py"),
        ("{file: shouting.py, max_shar: 0.1}", "`max_shar` is not a setting of shouting.py; did you mean `max_share`?"),
        ("{file: shouting.py, max_share: 7}", "`max_share` of shouting.py: Input should be less than or equal to 1"),
        ("{file: shouting.py, after: heuristic}", "`after: heuristic` of shouting.py is not a stage; did you mean"),
        ("{file: empty.py}", "does not define `STAGE`"),
        ("{file: broken.py}", "broken.py, line 1, is not valid Python"),
        ("{file: wrong.py}", "`STAGE` in"),
        ("{file: taken.py}", "defines a stage called `language_decisions`, which is taken"),
    ],
)
def test_what_is_wrong_with_a_stage_of_ones_own_is_one_sentence_with_the_line(tmp_path, entry, sentence):
    shutil.copy(EXAMPLE, tmp_path / "shouting.py")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "broken.py").write_text("def (:\n")
    (tmp_path / "wrong.py").write_text("STAGE = 7\n")
    (tmp_path / "taken.py").write_text(EXAMPLE.read_text().replace("shouting_decisions", "language_decisions"))
    with pytest.raises(UserError) as error:
        with_curation(f"  further: [{entry}]\n", tmp_path)
    assert sentence in str(error.value) and "\n" not in str(error.value).strip().split("\n", 1)[1].strip()
    assert "recipe:3" in str(error.value) or "recipe:4" in str(error.value)


ROWS = [{"text": "quiet words " * 20, "source": "s"}, {"text": "loud! " * 20, "source": "s"}]


def test_the_file_is_part_of_the_fingerprint(tmp_path):
    shutil.copy(EXAMPLE, tmp_path / "own.py")
    store = Store(tmp_path / "store", "r")
    raw = raw_documents(store, ROWS, 1)
    stage = own_stage(str(tmp_path / "own.py"))
    first = stage.make(context(store), after(raw), stage.settings())
    assert first.counts["removed"] == {"shouting": 1}
    assert not stage.make(context(store), after(raw), stage.settings()).made
    (tmp_path / "own.py").write_text(EXAMPLE.read_text() + "\n# changed\n")
    other = own_stage(str(tmp_path / "own.py"))
    assert other.make(context(store), after(raw), other.settings()).version != first.version


def test_workers_run_a_stage_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "WORTH_A_PROCESS_BYTES", 0)
    shutil.copy(EXAMPLE, tmp_path / "own.py")
    stage = own_stage(str(tmp_path / "own.py"))
    digests = []
    for name, where in (("here", "in_process"), ("there", "processes")):
        store = Store(tmp_path / name, "r")
        raw = raw_documents(
            store, [{**row, "text": f"{number} {row['text']}"} for number in range(8) for row in ROWS], 4
        )
        run = context(store, execution=ExecutionSettings(executor=where, workers=2))
        digests.append(stage.make(run, after(raw), stage.settings(max_share=0.05)).digest)
    assert digests[0] == digests[1]


def test_what_fails_inside_the_file_is_one_sentence_with_its_line(tmp_path):
    (tmp_path / "own.py").write_text(EXAMPLE.read_text().replace('"!", literal=True', '"(", literal=False'))
    stage = own_stage(str(tmp_path / "own.py"))
    store = Store(tmp_path / "store", "r")
    with pytest.raises(UserError, match=r"own\.py, line \d+ failed on the table"):
        stage.make(context(store), after(raw_documents(store, ROWS, 1)), stage.settings())


def test_from_the_recipe_to_curated_documents(tmp_path, monkeypatch):
    """Its rows in the look-ups, its asset in the graph, with no line of the project changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SLM_TRACKING", "off")
    recipe = tiny.write(tmp_path)
    shutil.copy(EXAMPLE, tmp_path / "shouting.py")
    (tmp_path / "first" / "99.txt").write_text("Hear me! " + tiny.text(99) + "!" * 50)
    recipe.write_text(
        recipe.read_text().replace("curation:\n", "curation:\n  further: [{file: shouting.py, after: keywords}]\n")
    )
    project = Project.open(recipe, log=lambda line: None)
    curated = make_with_inputs(project, "curated_documents")
    assert project["shouting_decisions"].counts["removed"] == {"shouting": 1}
    texts = pl.concat([pl.read_parquet(curated.table(name)) for name in curated.fragments])["text"]
    assert texts.len() == 20 and not texts.str.contains("Hear me").any()
    assert why(project, "curated_documents")["shouting_decisions"].reasons == []
    from assets import groups

    (asset,) = [of for of in groups.assets_of(load(recipe)) if of.key.to_user_string() == "shouting_decisions"]
    assert asset.code_versions_by_key[asset.key].startswith("1+")

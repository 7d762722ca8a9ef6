"""What people judge leaves as the tools read it and comes back as preferences; nobody sees a model or a name."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest
from pydantic import ValidationError

from pipeline.annotation import agreement, exchange, label_studio, tasks
from pipeline.annotation.tasks import Judgement, Task
from pipeline.context import RunContext
from pipeline.conversations import instruction_data, preference_data
from pipeline.errors import UserError
from pipeline.store.store import Store
from tests.annotation import exports

MODELS = ("sft_model/aa", "preference_model/bb")


def asked(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"질문 {number}?"}]


def pairs(count: int = 8) -> list[Task]:
    found = [tasks.pair(asked(n), (f"one {n}", f"other {n}"), MODELS, "ko") for n in range(count)]
    return [task for task in found if task is not None]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of eight pairs, written for every tool."""
    exchange.write_for_tools(tmp_path / "posed", tasks.write_tasks(tmp_path / "posed", pairs()))
    return tmp_path / "posed"


def names(folder: Path) -> list[str]:
    return [task.task for task in tasks.read_tasks(folder)]


def exported(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def made(tmp_path: Path, folder: Path, **source) -> object:
    settings = preference_data.Settings(
        sources=[{"name": "people", "kind": "annotated", "path": str(folder), **source}], held_back=0.0
    )
    return preference_data.make(RunContext(Store(tmp_path / "data", "t"), lambda line: None), {}, settings)


# -- blind -------------------------------------------------------------------------------------------------------------


def test_no_tool_is_told_which_model_wrote_what(folder):
    for name in exchange.FILES:
        content = (folder / name).read_text(encoding="utf-8")
        assert not any(model.split("/")[0] in content for model in MODELS)
    assert MODELS[0] in (folder / "tasks.jsonl").read_text(encoding="utf-8")


def test_the_place_of_an_answer_tells_nothing_and_does_not_depend_on_the_order_of_the_models():
    several = pairs(200)
    first = sum(task.models[0] == MODELS[0] for task in several)
    assert 70 < first < 130
    assert all(task.texts[task.models.index(MODELS[0])].startswith("one") for task in several)
    turned = tasks.pair(asked(3), ("other 3", "one 3"), MODELS[::-1], "ko")
    assert turned == several[3]


@pytest.mark.parametrize("answers", [("same", " same "), ("", "said"), ("said", "\n")])
def test_a_pair_from_which_nothing_can_be_learned_is_not_asked(answers):
    assert tasks.pair(asked(1), answers, MODELS, None) is None


# -- there and back ----------------------------------------------------------------------------------------------------


def test_label_studio_shows_every_text_that_it_is_given(folder):
    root = ElementTree.fromstring((folder / "label_studio.xml").read_text(encoding="utf-8"))
    data = exports.imported(folder)[0]["data"]
    shown = {text.attrib["value"].removeprefix("$") for text in root.iter("Text")}
    assert shown == data.keys() - {"slm_task"}
    (choices,) = root.iter("Choices")
    assert [choice.attrib["value"] for choice in choices] == list(tasks.VERDICTS["pair"])
    assert choices.attrib["toName"] in {text.attrib["name"] for text in root.iter("Text")}


@pytest.mark.parametrize("whole_users", [False, True])
def test_what_label_studio_exports_is_taken_in(folder, tmp_path, whole_users):
    one, two, three, four, *_ = names(folder)
    said = {one: {7: "first", 9: "second"}, two: {7: "tie"}, three: {7: None}, four: {7: "best"}}
    path = exported(tmp_path, "project-3.json", exports.label_studio(folder, said, whole_users))
    assert exchange.take_in(folder, [path]) == ({"new": 3}, {"no_verdict": 1, "unknown_verdict": 1})
    found = {(row.task, row.verdict, row.told_by) for row in tasks.read_judgements(folder)}
    assert found == {(one, "first", "label-studio"), (one, "second", "label-studio"), (two, "tie", "label-studio")}
    changed = exports.label_studio(folder, {one: {7: "second"}, two: {7: "tie"}}, whole_users)
    assert exchange.take_in(folder, [exported(tmp_path, "later.json", changed)])[0] == {"changed": 1, "as before": 1}


def test_the_short_form_of_label_studio_says_the_same(folder, tmp_path):
    said = {name: {7: "first", 9: "second"} for name in names(folder)[:3]}
    exchange.take_in(folder, [exported(tmp_path, "long.json", exports.label_studio(folder, said))])
    before = tasks.read_judgements(folder)
    assert len(before) == 6
    counts, left_out = exchange.take_in(folder, [exported(tmp_path, "min.json", exports.json_min(folder, said))])
    assert (counts, left_out) == ({"as before": 6}, {}) and tasks.read_judgements(folder) == before


def test_a_second_annotation_of_the_same_person_replaces_the_first(folder, tmp_path):
    (name, *_) = names(folder)
    rows = json.loads(exports.label_studio(folder, {name: {7: "first", 8: "second"}}))
    row = next(row for row in rows if row["annotations"])
    row["annotations"][1]["completed_by"] = 7
    row["annotations"].reverse()  # the order in the file is not that of time
    exchange.take_in(folder, [exported(tmp_path, "twice.json", json.dumps(rows).encode())])
    assert [one.verdict for one in tasks.read_judgements(folder)] == ["second"]


def test_what_doccano_exports_is_taken_in(folder, tmp_path):
    one, two, three, *_ = names(folder)
    said = {one: {"mina": ["first"], "juno": ["first"]}, two: {"mina": ["second"]}, three: {"juno": ["first", "tie"]}}
    files = exports.doccano(folder, said)
    path = exported(tmp_path, "export.zip", exports.zipped(files))
    counts, left_out = exchange.take_in(folder, [path])
    assert counts == {"new": 3} and left_out == {"no_verdict": 12, "several_verdicts": 1}
    single = [exported(tmp_path, name, content) for name, content in files.items()]
    assert exchange.take_in(folder, single)[0] == {"as before": 3}, "a member's file alone says the same"
    assert {row.told_by for row in tasks.read_judgements(folder)} == {"doccano"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b"[{", "no whole JSON"),
        ("a.jsonl", b"{}\nno json\n", "line 2, is no JSON"),
        ("a.zip", b"PK\x03\x04 broken", "no zip"),
        ("a.zip", exports.zipped({"readme.txt": b""}), "holds no labels"),
        ("a.jsonl", b"\xff\xfe", "not UTF-8"),
        ("a.json", b"[]", "no judgement of the tasks"),
        ("a.json", b'[{"id": 1, "annotations": [], "data": {"text": "x"}}, 3]', "no judgement of the tasks"),
    ],
)
def test_another_file_is_refused_in_a_sentence(folder, tmp_path, name, content, said):
    with pytest.raises(UserError, match=said):
        exchange.take_in(folder, [exported(tmp_path, name, content)])
    assert tasks.read_judgements(folder) == []


def test_nobody_is_named_and_the_same_name_elsewhere_is_another_hash(folder, tmp_path):
    name = names(folder)[0]
    said = exports.label_studio(folder, {name: {"mina@example.org": "first"}}, whole_users=True)
    exchange.take_in(folder, [exported(tmp_path, "a.json", said)])
    kept = (folder / "judgements.jsonl").read_text(encoding="utf-8")
    assert not any(word in kept for word in ("mina", "example.org", "Kim", "2026-03"))
    assert (folder / "salt").stat().st_mode & 0o077 == 0
    other = tmp_path / "other"
    tasks.write_tasks(other, pairs())
    mine = [tasks.judge_id(place, who) for place in (folder, other) for who in ("Mina ", "mina", "juno")]
    assert mine[0] == mine[1] and len(set(mine)) == 4


def test_tasks_that_people_have_judged_are_not_overwritten(folder):
    tasks.record(folder, [Judgement(names(folder)[0], "a", "tie", "page")])
    with pytest.raises(UserError, match="judgements of 1 tasks"):
        tasks.write_tasks(folder, pairs(20)[9:])
    assert len(tasks.write_tasks(folder, pairs(9))) == 9, "more tasks may be added"


# -- what comes out ----------------------------------------------------------------------------------------------------


def judged(folder: Path, said: dict[int, str]) -> None:
    """Judgements on the tasks at these places: a letter a person, f: first, s: second, t: tie."""
    words = {"f": "first", "s": "second", "t": "tie", "g": "good", "b": "bad"}
    listed = names(folder)
    tasks.record(
        folder,
        [
            Judgement(listed[at], f"judge{number}", words[letter], "page")
            for at, letters in said.items()
            for number, letter in enumerate(letters)
        ],
    )


def test_judged_pairs_are_preferences_with_their_lineage(folder, tmp_path):
    judged(folder, {0: "f", 1: "ss", 2: "ffs", 3: "fs", 4: "t", 5: "ttf"})
    artifact = made(tmp_path, folder)
    rows = {row["id"]: row for row in pl.read_parquet(artifact.file("train.parquet")).to_dicts()}
    lineage = pl.read_parquet(artifact.file("judged.parquet")).to_dicts()
    assert len(rows) == 3 and rows.keys() == {row["id"] for row in lineage}
    posed = {task.task: task for task in tasks.read_tasks(folder)}
    votes = {}
    for row in lineage:
        task, pair = posed[row["task"]], rows[row["id"]]
        assert pair["prompt"] == task.prompt and pair["lang"] == "ko" and pair["source"] == "people"
        assert [task.texts[task.models.index(model)] for model in row["models"]] == [pair["chosen"], pair["rejected"]]
        votes[row["task"]] = (row["votes"], len(row["judges"]))
    listed = names(folder)
    assert votes == {listed[0]: (1, 1), listed[1]: (2, 2), listed[2]: (2, 3)}
    first = rows[next(row["id"] for row in lineage if row["task"] == listed[0])]
    assert first["chosen"] == posed[listed[0]].texts[0], "`first` is the first text of the task"
    assert artifact.counts["removed"] == {"undecided": 3}
    assert {"people/tasks", "people/judgements"} <= artifact.manifest["inputs"].keys()


def test_a_judgement_more_makes_the_data_anew_and_the_same_judgements_do_not(folder, tmp_path):
    judged(folder, {0: "f", 1: "s"})
    before = made(tmp_path, folder).version
    tasks.record(folder, [])
    assert made(tmp_path, folder).version == before
    judged(folder, {2: "f"})
    assert made(tmp_path, folder).version != before


def test_what_fewer_people_have_judged_than_asked_for_is_left_out(folder, tmp_path):
    judged(folder, {0: "f", 1: "ss", 2: "ffs"})
    assert made(tmp_path, folder, least_judges=2).counts["train"] == 2


def test_single_answers_are_rated_answers(tmp_path):
    found = [tasks.single(asked(n), f"answer {n}", MODELS[0], "ko") for n in range(4)]
    folder = tmp_path / "posed"
    exchange.write_for_tools(folder, tasks.write_tasks(folder, [task for task in found if task is not None]))
    assert label_studio.shown(tasks.read_tasks(folder)[0]).keys() == {"prompt", "text"}
    tasks.write_tasks(tmp_path / "more", pairs())
    judged(folder, {0: "g", 1: "b", 2: "gb"})
    judged(tmp_path / "more", {0: "f"})
    settings = preference_data.Settings(
        sources=[
            {"name": "rated", "kind": "annotated", "path": str(folder)},
            {"name": "compared", "kind": "annotated", "path": str(tmp_path / "more")},
        ],
        held_back=0.0,
    )
    artifact = preference_data.make(RunContext(Store(tmp_path / "data", "t"), lambda line: None), {}, settings)
    rated = pl.read_parquet(artifact.file("rated_train.parquet"))
    assert sorted(rated["desirable"].to_list()) == [False, True]
    lineage = pl.read_parquet(artifact.file("judged.parquet"))
    assert sorted(lineage["source"].to_list()) == ["compared", "rated", "rated"]


def test_a_folder_that_cannot_be_read_ends_in_a_sentence(folder, tmp_path):
    with pytest.raises(UserError, match="nobody has judged"):
        made(tmp_path, folder)
    with pytest.raises(UserError, match="slm annotate export"):
        made(tmp_path, tmp_path / "nowhere")
    (folder / "judgements.jsonl").write_text('{"task": 1}\n', encoding="utf-8")
    with pytest.raises(UserError, match="line 1, is damaged"):
        made(tmp_path, folder)


def test_documents_are_no_preferences(tmp_path):
    about = dict.fromkeys(tasks.CASE) | {"doc_id": "d", "stage": "s", "reason": "r"}
    kept = tasks.write_tasks(tmp_path / "posed", [tasks.document("text", "ko", about)])
    exchange.write_for_tools(tmp_path / "posed", kept)
    tasks.record(tmp_path / "posed", [Judgement(kept[0].task, "a", "keep", "page")])
    with pytest.raises(UserError, match="holds documents"):
        made(tmp_path, tmp_path / "posed")


def test_judged_answers_are_named_under_preferences_only():
    source = {"name": "people", "kind": "annotated", "path": "x"}
    with pytest.raises(ValidationError, match="name it under `preferences`"):
        instruction_data.Settings(sources=[source])


# -- agreement ---------------------------------------------------------------------------------------------------------


def judgements(table: dict[str, str]) -> list[Judgement]:
    """A person's verdicts in a row, one letter a task, `.` where there is none."""
    return [
        Judgement(f"task{at}", who, letter, "page")
        for who, row in table.items()
        for at, letter in enumerate(row)
        if letter != "."
    ]


def test_alpha_is_that_of_krippendorffs_own_example():
    # Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C: four observers, twelve units, gaps.
    said = judgements({"A": "123321412...", "B": "1233224125.3", "C": ".3332342251.", "D": "12332441251."})
    assert agreement.alpha(said) == pytest.approx(0.743, abs=5e-4)


def test_kappa_is_that_of_the_formula():
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: 0.70 agree, 0.50 by chance.
    first = "y" * 25 + "n" * 25
    second = "y" * 20 + "n" * 5 + "y" * 10 + "n" * 15
    (row,) = agreement.kappas(judgements({"a": first, "b": second}))
    assert (row["tasks"], row["agree"]) == (50, 0.7)
    assert row["kappa"] == pytest.approx(0.4)


def test_agreement_where_it_is_not_defined_is_said_so():
    assert agreement.alpha(judgements({"a": "12..", "b": "..12"})) is None
    assert agreement.kappas(judgements({"a": "12..", "b": "..12"})) == []
    (row,) = agreement.kappas(judgements({"a": "111", "b": "111"}))
    assert row["kappa"] is None and agreement.alpha(judgements({"a": "111", "b": "111"})) == 1.0
    assert "not known" in agreement.in_words(None) and "too low" in agreement.in_words(0.3)

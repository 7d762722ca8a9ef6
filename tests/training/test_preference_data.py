"""Preference pairs in one shape; pairs that teach nothing refused; the demonstration's pairs honest."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from pipeline.context import RunContext
from pipeline.conversations import instruction_data, preference_data
from pipeline.conversations.preference_data import Settings
from pipeline.conversations.shapes import PREFERENCE, Malformed, fold, preference, rating
from pipeline.store.store import Store


def silent(message: str) -> None:
    pass


def made(tmp_path: Path, rows: list[dict], **settings):
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    chosen = Settings(sources=[{"name": "pairs", "path": str(path)}], **settings)
    return preference_data.make(RunContext(Store(tmp_path / "data", "t"), silent), {}, chosen)


ASK = {"role": "user", "content": "q"}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"prompt": [ASK], "chosen": "good", "rejected": "bad"},
        {"instruction": "q", "chosen": "good", "rejected": "bad"},
        {
            "chosen": [ASK, {"role": "assistant", "content": "good"}],
            "rejected": [ASK, {"role": "assistant", "content": "bad"}],
        },
    ],
)
def test_every_known_shape_gives_the_same_pair(row):
    assert preference(row) == ([ASK], "good", "bad")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (None, "not_json"),
        ({"prompt": "q", "chosen": "a"}, "unknown_shape"),
        ({"chosen": "a", "rejected": "b"}, "unknown_shape"),
        ({"prompt": "q", "chosen": "Same  text", "rejected": "same text"}, "chosen_equals_rejected"),
        ({"prompt": "q", "chosen": "a", "rejected": " "}, "empty_turn"),
        ({"prompt": "q", "chosen": "a", "rejected": 1}, "not_text"),
        ({"prompt": [ASK, {"role": "assistant", "content": "x"}], "chosen": "a", "rejected": "b"}, "no_answer"),
    ],
)
def test_a_bad_pair_is_refused_under_its_reason(row, reason):
    with pytest.raises(Malformed, match=f"^{reason}$"):
        preference(row)


def test_pairs_in_are_kept_or_counted(tmp_path):
    rows = [{"prompt": f"q{i}", "chosen": "good", "rejected": "bad"} for i in range(30)]
    bad = {"prompt": "q", "chosen": "x", "rejected": "x"}
    artifact = made(tmp_path, [*rows, rows[0], bad, bad])
    assert artifact.counts["removed"] == {"chosen_equals_rejected": 2, "duplicate": 1}
    assert artifact.counts["in"] == 33 and artifact.counts["kept"] == 30


def test_a_question_is_on_the_same_side_as_in_the_instruction_data(tmp_path):
    rows = [{"prompt": f"q{i}", "chosen": "good", "rejected": "bad"} for i in range(100)]
    pairs = made(tmp_path, rows, held_back=0.2)
    path = tmp_path / "sft.jsonl"
    path.write_text("\n".join(json.dumps({"instruction": f"q{i}", "output": "a"}) for i in range(100)))
    settings = instruction_data.Settings(sources=[{"name": "s", "path": str(path)}], held_back=0.2)
    conversations = instruction_data.make(RunContext(Store(tmp_path / "data", "t"), silent), {}, settings)
    asked = {p[0]["content"] for p in pl.read_parquet(pairs.table("held_back"))["prompt"].to_list()}
    held = {m[0]["content"] for m in pl.read_parquet(conversations.table("held_back"))["messages"].to_list()}
    assert asked == held and asked


def conversations_of(pairs: list[tuple[str, str]]) -> pl.DataFrame:
    rows = [
        {
            "id": f"{i:032d}",
            "messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}],
            "source": "s",
            "lang": "en",
        }
        for i, (q, a) in enumerate(pairs)
    ]
    return pl.DataFrame(rows)


def test_the_rejected_answer_belongs_to_another_question():
    pairs = [(f"q{i // 2}", f"a{i}") for i in range(40)]  # two right answers to each question
    right = {}
    for q, a in pairs:
        right.setdefault(q, set()).add(a)
    table = preference_data.other_answers(conversations_of(pairs), seed=1)
    assert table.height == 40
    for row in table.to_dicts():
        question = row["prompt"][0]["content"]
        assert row["chosen"] in right[question] and row["rejected"] not in right[question]
    again = preference_data.other_answers(conversations_of(pairs), seed=1)
    assert table.equals(again) and not table.equals(preference_data.other_answers(conversations_of(pairs), seed=2))


def test_no_pair_without_another_answer():
    assert preference_data.other_answers(conversations_of([("a", "same"), ("b", "Same")]), seed=0).height == 0


def test_the_demonstration_never_shows_a_held_back_answer(tmp_path):
    source = {"name": "chatterbot-ko", "kind": "bundled"}
    context = RunContext(Store(tmp_path / "data", "t"), silent)
    artifact = preference_data.make(context, {}, Settings(sources=[source], held_back=0.2))
    train, held = (pl.read_parquet(artifact.table(name)) for name in ("train", "held_back"))
    assert artifact.counts["in"] == artifact.counts["kept"] + sum(artifact.counts["removed"].values())
    asked = [{fold(p[0]["content"]) for p in side["prompt"].to_list()} for side in (train, held)]
    assert not asked[0] & asked[1]
    # An answer that only a held-back question has must not be met in training, not even as a wrong one.
    shown = {fold(answer) for name in ("chosen", "rejected") for answer in train[name].to_list()}
    own = {fold(answer) for answer in held["chosen"].to_list()} - {fold(a) for a in train["chosen"].to_list()}
    assert own and not own & shown


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [ASK, {"role": "assistant", "content": "a"}], "label": True},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "label": "up"},
        {"prompt": "q", "completion": "a", "label": 1},
        {"prompt": [ASK], "completion": [{"role": "assistant", "content": "a"}], "label": True},
        {"instruction": "q", "output": "a", "label": "true"},
    ],
)
def test_every_known_shape_gives_the_same_rated_answer(row):
    assert rating(row) == ([ASK], "a", True)


def test_rated_answers_have_tables_of_their_own(tmp_path):
    pairs = [{"prompt": f"q{i}", "chosen": "good", "rejected": "bad"} for i in range(20)]
    rated = [{"prompt": f"q{i}", "completion": "so so", "label": i % 2 == 0} for i in range(30)]
    bad = [{"prompt": "q", "completion": "x", "label": "maybe"}, {"prompt": "q", "completion": " ", "label": True}]
    artifact = made(tmp_path, [*pairs, *rated, rated[0], *bad], held_back=0.2)
    assert artifact.counts["removed"] == {"duplicate": 1, "empty_turn": 1, "unknown_label": 1}
    assert artifact.counts["kept"] == 50 and artifact.counts["in"] == 53
    tables = {split: pl.read_parquet(artifact.table(f"rated_{split}")) for split in ("train", "held_back")}
    assert {name: table.height for name, table in tables.items()} == {
        split: artifact.counts[f"rated_{split}"] for split in tables
    }
    asked = [{row[0]["content"] for row in table["prompt"].to_list()} for table in tables.values()]
    assert sum(table.height for table in tables.values()) == 30 and not asked[0] & asked[1]
    assert pl.concat(tables.values())["desirable"].sum() == 15
    assert pl.read_parquet(artifact.table("train")).columns == list(PREFERENCE)


def test_pairs_alone_have_no_table_of_rated_answers(tmp_path):
    artifact = made(tmp_path, [{"prompt": f"q{i}", "chosen": "good", "rejected": "bad"} for i in range(20)])
    assert sorted(artifact.manifest["files"]) == ["held_back.parquet", "train.parquet"]
    assert not [name for name in artifact.counts if name.startswith("rated")]

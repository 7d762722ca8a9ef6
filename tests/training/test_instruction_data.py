"""Conversations from any file in one shape; bad rows named and counted; one question never on both sides."""

from __future__ import annotations

import ast
import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from pipeline.context import RunContext
from pipeline.conversations import bundled as bundled_conversations
from pipeline.conversations import instruction_data
from pipeline.conversations.conversation_source import parse_source
from pipeline.conversations.instruction_data import Settings
from pipeline.conversations.shapes import Malformed, conversation, fold, is_held_back
from pipeline.errors import UserError
from pipeline.store.store import Store


def silent(message: str) -> None:
    pass


def write(path: Path, rows: list) -> Path:
    lines = "\n".join(row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode()))
    else:
        path.write_text(lines, encoding="utf-8")
    return path


def made(tmp_path: Path, *paths: Path, log=silent, **settings):
    sources = [{"name": f"s{i}", "path": str(path)} for i, path in enumerate(paths)]
    return made_of(tmp_path, sources, log, **settings)


def made_of(tmp_path: Path, sources: list[dict], log=silent, **settings):
    context = RunContext(Store(tmp_path / "data", "t"), log)
    return instruction_data.make(context, {}, Settings(sources=sources, **settings))


def both(artifact) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(artifact.table(name)) for name in ("train", "held_back")])


PAIR = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": PAIR},
        {"conversations": [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "hi"}]},
        {"instruction": "hello", "input": "", "output": "hi"},
        {"question": "hello", "answer": " hi\n"},
        {"prompt": "hello", "response": "hi"},
    ],
)
def test_every_known_shape_gives_the_same_messages(row):
    assert conversation(row) == PAIR


def test_input_is_joined_to_the_instruction_and_a_system_turn_is_kept():
    row = {"system": "be brief", "instruction": "translate", "input": "안녕", "output": "hello"}
    assert [(m["role"], m["content"]) for m in conversation(row)] == [
        ("system", "be brief"), ("user", "translate\n\n안녕"), ("assistant", "hello"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (None, "not_json"),
        ({"text": "a"}, "unknown_shape"),
        ({"messages": "hello"}, "unknown_shape"),
        ({"instruction": "a", "output": 3}, "not_text"),
        ({"instruction": "a", "output": "  "}, "empty_turn"),
        ({"messages": [{"role": "narrator", "content": "a"}]}, "unknown_role"),
        ({"messages": [PAIR[1], PAIR[0]]}, "wrong_order"),
        ({"messages": [PAIR[0], PAIR[0], PAIR[1]]}, "wrong_order"),
        ({"messages": [PAIR[0]]}, "no_answer"),
    ],
)
def test_a_bad_row_is_refused_under_its_reason(row, reason):
    with pytest.raises(Malformed, match=f"^{reason}$"):
        conversation(row)


def test_rows_in_are_kept_or_counted_under_a_reason(tmp_path):
    good = [{"instruction": f"q{i}", "output": f"a{i}"} for i in range(40)]
    again = {"instruction": "Q1 ", "output": "a1"}  # the same but for case and white space
    path = write(
        tmp_path / "a.jsonl", [*good, again, "{not json", {"instruction": "x"}, {"instruction": "x", "output": ""}]
    )
    told: list[str] = []
    artifact = made(tmp_path, path, log=told.append)
    counts = artifact.counts
    assert counts["removed"] == {"duplicate": 1, "empty_turn": 1, "not_json": 1, "unknown_shape": 1}
    assert counts["in"] == 44 == counts["kept"] + sum(counts["removed"].values())
    assert both(artifact).height == 40 and counts["train"] + counts["held_back"] == 40
    assert any("1 not_json" in line for line in told)


def test_the_same_question_is_on_one_side_whatever_the_answer_the_file_or_the_case(tmp_path):
    one = [{"instruction": f"question {i}", "output": "one"} for i in range(300)]
    two = [{"instruction": f"QUESTION  {i}", "output": "two"} for i in range(300)]
    artifact = made(tmp_path, write(tmp_path / "a.jsonl", one), write(tmp_path / "b.jsonl.gz", two), held_back=0.3)
    sides = [
        {fold(messages[0]["content"]) for messages in pl.read_parquet(artifact.table(name))["messages"].to_list()}
        for name in ("train", "held_back")
    ]
    assert len(sides[0]) + len(sides[1]) == 300 and not sides[0] & sides[1]
    assert 60 < len(sides[1]) < 120  # about 30 %


def test_a_question_stays_on_its_side_when_others_come(tmp_path):
    assert is_held_back(PAIR, 0.05) == is_held_back([{"role": "system", "content": "x"}, *PAIR], 0.05)
    rows = [{"instruction": f"q{i}", "output": "a"} for i in range(100)]
    few = made(tmp_path / "1", write(tmp_path / "a.jsonl", rows[:50]), held_back=0.2)
    more = made(tmp_path / "2", write(tmp_path / "b.jsonl", rows), held_back=0.2)
    ids = set(pl.read_parquet(few.table("held_back"))["id"])
    assert ids and ids <= set(pl.read_parquet(more.table("held_back"))["id"])


def test_parquet_columns_can_be_named(tmp_path):
    frame = pl.DataFrame({"body": ["q1", "q2"], "reply": ["a1", "a2"], "lang": ["ko", "en"], "license": ["MIT", None]})
    frame.write_parquet(tmp_path / "x.parquet")
    source = {"name": "x", "path": str(tmp_path / "x.parquet"), "columns": {"instruction": "body", "output": "reply"}}
    artifact = made_of(tmp_path, [source], held_back=0.0)
    rows = both(artifact).sort("lang")
    assert rows["lang"].to_list() == ["en", "ko"]
    assert rows["messages"][1].to_list() == [{"role": "user", "content": "q1"}, {"role": "assistant", "content": "a1"}]
    assert artifact.facts["sources"]["x"]["licenses"] == {"MIT": 1, "not stated": 1}


def test_the_limit_counts_what_it_leaves(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"instruction": f"q{i}", "output": "a"} for i in range(10)])
    source = {"name": "a", "path": str(path), "limit": 4}
    artifact = made_of(tmp_path, [source])
    assert artifact.counts["kept"] == 4 and artifact.counts["removed"] == {"over_limit": 6}


def test_same_bytes_in_two_stores_and_another_path(tmp_path):
    rows = [{"instruction": f"q{i}", "output": "a"} for i in range(50)]
    (tmp_path / "elsewhere").mkdir()
    one = made(tmp_path / "1", write(tmp_path / "a.jsonl", rows))
    two = made(tmp_path / "2", write(tmp_path / "elsewhere" / "b.jsonl", rows))
    assert one.version == two.version and one.digest == two.digest


def test_user_errors_name_the_file(tmp_path):
    with pytest.raises(UserError, match=r"no-such\.jsonl"):
        made(tmp_path, tmp_path / "no-such.jsonl")
    broken = tmp_path / "cut.jsonl.gz"
    broken.write_bytes(gzip.compress(b'{"instruction": "a", "output": "b"}\n' * 1000)[:-20])
    with pytest.raises(UserError, match=r"cut\.jsonl\.gz"):
        made(tmp_path, broken)
    with pytest.raises(UserError, match="No row is left"):
        made(tmp_path, write(tmp_path / "bad.jsonl", [{"text": "a"}]))
    (tmp_path / "x.png").write_text("a,b\n")
    with pytest.raises(UserError, match=r"x\.png holds no rows that are read: name files of parquet, .* in set `s0`"):
        made(tmp_path, tmp_path / "x.png")


def test_settings_are_checked():
    with pytest.raises(ValidationError, match="set `a` of kind `files` needs `path`"):
        Settings(sources=[{"name": "a"}])
    with pytest.raises(ValidationError, match="chatterbot-en"):
        Settings(sources=[{"name": "no-such-set", "kind": "bundled"}])
    with pytest.raises(ValidationError, match="two sources"):
        Settings(sources=[{"name": "a", "path": "x"}, {"name": "a", "path": "y"}])


def test_relative_paths_start_at_the_recipe():
    source = parse_source({"name": "a", "path": "chat/*.jsonl"}, Path("/recipes"))
    assert source.path == ["/recipes/chat/*.jsonl"]


def test_bundled_sets_are_real_and_in_shape():
    for name in ("chatterbot-en", "chatterbot-ko"):
        rows = list(bundled_conversations.read(name))
        assert len(rows) > 400
        refused = 0
        for row in rows:
            try:
                conversation(row)
            except Malformed:
                refused += 1
        assert refused <= 1  # one dialogue of the English set has an empty turn
    korean = [row["messages"][0]["content"] for row in bundled_conversations.read("chatterbot-ko")]
    assert "안녕하세요." in korean


def test_functions_are_cut_from_the_library_without_their_docstrings():
    rows = []
    for row in bundled_conversations.read("stdlib-functions"):
        rows.append(row)
        if len(rows) == 200:
            break
    for row in rows:
        ask, code = (message["content"] for message in row["messages"])
        function = ast.parse(code).body[0]
        assert isinstance(function, ast.FunctionDef) and ast.get_docstring(function) is None
        assert ask.startswith(f"Write the Python function `{function.name}(")
        assert len(ask.split("\n\n", 1)[1]) >= bundled_conversations.MIN_DOCSTRING

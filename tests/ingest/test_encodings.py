"""Line ends, byte-order marks and Korean encodings: the same text, however a system wrote it."""

from __future__ import annotations

import json

import polars as pl
import pytest

from pipeline.context import RunContext
from pipeline.errors import UserError
from pipeline.ingest import raw_documents
from pipeline.ingest.encodings import encoding_of
from pipeline.ingest.records import plain_lines
from pipeline.ingest.source import parse_source
from pipeline.store.store import Store

KOREAN = (
    "항구의 이른 아침은 조용했고, 밤새 바다에 나가 있던 배들이 밀물을 따라 돌아오고 있었다.\n한 노인이 앉아 있었다.\n"
)
WINDOWS = KOREAN + "똠방각하 펲시콜라\n"  # syllables of CP949 that EUC-KR does not have
ENGLISH = "The harbour was quiet in the early morning.\n\nNobody asked him about it any more.\n"


def texts(found: pl.DataFrame) -> list[str]:
    return found.sort("id")["text"].to_list()


def source(path, **given):
    return parse_source({"name": "s", "kind": "files", "path": [str(path)], **given})


@pytest.mark.parametrize("kind", ["txt", "jsonl", "csv", "tsv", "parquet", "json"])
def test_line_ends_and_marks_of_other_systems_change_nothing(tmp_path, read, kind) -> None:
    text = "\ufeff" + ENGLISH.replace("\n", "\r\n")
    path = tmp_path / f"a.{kind}"
    if kind == "txt":
        path.write_bytes(text.encode())
    elif kind == "parquet":
        pl.DataFrame({"text": [text]}).write_parquet(path)
    elif kind == "csv":
        path.write_bytes(f'text,id\r\n"{text}",1\r\n'.encode())
    elif kind == "tsv":
        text = text.replace("\r\n", "\r")
        path.write_bytes(f"text\tid\r\n{text}\t1\r\n".encode())
    else:
        path.write_text(json.dumps({"text": text} if kind == "jsonl" else [{"text": text}]) + "\r\n", encoding="utf-8")
    assert texts(read(source(path))[0]) == [ENGLISH]


def test_a_mark_or_a_return_inside_is_handled_as_what_it_is() -> None:
    given = ["a\rb\r\nc\n\rd", "\ufeff\ufeffstart \ufeff inside", "plain", ""]
    assert plain_lines(pl.Series(given)).to_list() == ["a\nb\nc\n\nd", "start \ufeff inside", "plain", ""]


# UTF-16 without a mark is recognised only where the recipe names no other encoding, since that is followed.
MARKED = ("cp949", "utf-16", "utf-8-sig", "utf-8")
NAMED = [("utf-8", of) for of in (*MARKED, "utf-16-le", "utf-16-be")]
NAMED += [(named, of) for named in ("cp949", "euc-kr") for of in MARKED]


@pytest.mark.parametrize(("named", "encoding"), NAMED)
def test_korean_is_recognised_whatever_the_recipe_names(tmp_path, read, encoding, named) -> None:
    (tmp_path / "a.txt").write_bytes((WINDOWS * 3).encode(encoding))
    (tmp_path / "b.jsonl").write_bytes((json.dumps({"text": KOREAN * 3}, ensure_ascii=False) + "\n").encode(encoding))
    found, tally = read(source(tmp_path / "*", encoding=named))
    assert texts(found) == [WINDOWS * 3, KOREAN * 3] and not tally.skipped


@pytest.mark.parametrize(
    "raw",
    [
        ("吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 4).encode("shift-jis"),
        ("吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 4).encode("euc-jp"),
        ("我是一只猫，还没有名字。我一点也不知道自己是在哪里出生的，只记得在阴暗潮湿的地方叫着。" * 4).encode("gbk"),
        ("Der Hafen lag früh am Morgen still, und die Boote waren für die Nacht gerüstet.\n" * 4).encode("latin-1"),
        ("Гавань была тиха ранним утром, и лодки возвращались домой с приливом.\n" * 4).encode("cp1251"),
        bytes(range(256)) * 8,
    ],
    ids=["shift-jis", "euc-jp", "gbk", "latin-1", "cp1251", "bytes"],
)  # fmt: skip
def test_what_is_not_korean_is_not_taken_for_it(tmp_path, read, raw) -> None:
    assert encoding_of(raw, "utf-8") == "utf-8"
    (tmp_path / "a.txt").write_bytes(raw)
    with pytest.raises(UserError):
        read(source(tmp_path / "a.txt"))


def test_too_little_korean_is_no_evidence() -> None:
    assert encoding_of("한글 문서".encode("cp949"), "utf-8") == "utf-8"
    assert encoding_of(KOREAN.encode("cp949")[:41], "utf-8") == "cp949"  # a character may be cut off at the end


def test_documents_of_an_earlier_version_are_read_again(tmp_path, monkeypatch) -> None:
    (tmp_path / "a.txt").write_bytes(ENGLISH.replace("\n", "\r\n").encode())
    store = Store(tmp_path / "store", "r")
    context = RunContext(store, log=lambda line: None)
    monkeypatch.setattr(raw_documents, "VERSION", "1")
    monkeypatch.setattr("pipeline.ingest.records.plain_lines", lambda texts: texts)
    before = raw_documents.make(context, {}, [source(tmp_path / "a.txt")])
    monkeypatch.undo()
    after = raw_documents.make(context, {}, [source(tmp_path / "a.txt")])
    both = [pl.read_parquet(made.table(made.fragments[0])) for made in (before, after)]
    assert [frame["text"][0] for frame in both] == [ENGLISH.replace("\n", "\r\n"), ENGLISH]
    assert both[0]["doc_id"].equals(both[1]["doc_id"])

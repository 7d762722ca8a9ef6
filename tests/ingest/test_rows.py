"""One reader of rows: every format, wrapping and place for sources, tuning data and evaluation sets alike."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard
from pydantic import ValidationError

from pipeline.context import RunContext
from pipeline.conversations import instruction_data
from pipeline.conversations.conversation_source import parse_source as parse_set
from pipeline.curation import contamination
from pipeline.curation.evaluation_items import items_of
from pipeline.errors import UserError
from pipeline.ingest import http, raw_documents
from pipeline.ingest.cache import cache_of
from pipeline.ingest.records import Reading, Tally, Unreachable
from pipeline.ingest.source import parse_source
from pipeline.settings import blocks_of
from pipeline.store.store import Store

ROWS = [{"id": f"r{i}", "question": f"질문 {i}, what is it?", "answer": f"답 {i}\tand more"} for i in range(5)]
TSV_ROWS = [{key: value.replace("\t", " ") for key, value in row.items()} for row in ROWS]


def delimited(rows: list[dict[str, str]], dialect: str) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), dialect=dialect)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(rows).write_parquet(out)
    return out.getvalue()


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def zipped(raw: bytes, name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, raw)
    return out.getvalue()


FILES: dict[str, bytes] = {
    "x.parquet": parquet(TSV_ROWS),
    "x.jsonl": lines(TSV_ROWS),
    "x.json": json.dumps(TSV_ROWS).encode(),
    "x.csv": delimited(TSV_ROWS, "excel"),
    "x.tsv": delimited(TSV_ROWS, "excel-tab"),
    "x.jsonl.gz": gzip.compress(lines(TSV_ROWS)),
    "x.jsonl.zst": zstandard.compress(lines(TSV_ROWS)),
    "x.csv.bz2": bz2.compress(delimited(TSV_ROWS, "excel")),
    "x.json.xz": lzma.compress(json.dumps({"version": 1, "data": TSV_ROWS}).encode()),
    "x.zip": zipped(delimited(TSV_ROWS, "excel-tab"), "in/x.tsv"),
}


# -- the three that read rows ------------------------------------------------------------------------------------------


def as_source(folder: Path, log: list[str], **given: Any) -> list[tuple[str, str]]:
    """(id, text) of the records of a source."""
    store = Store(folder / "store", "t")
    columns = {"columns": {"text": ["question", "answer"]}} if "columns" not in given else {}
    source = parse_source({"name": "s", "kind": "files", **columns, **given}, folder)
    observed = raw_documents.observe(source, store, log.append)
    reading = Reading(cache_of(store), Tally(), log.append)
    found = pl.concat(raw_documents.records(source, observed, reading))
    return list(found.select("id", "text").iter_rows())


def as_conversations(folder: Path, log: list[str], **given: Any) -> list[tuple[str, str]]:
    """(id, question and answer) of the rows of a set of conversations."""
    reading = Reading(folder / "cache", Tally(), log.append)
    chosen = parse_set({"name": "s", **given}, folder)
    rows = chosen.read(chosen.contents(reading.cache, log.append), reading)
    return [(row["id"], f"{row['question']}\n\n{row['answer']}") for row in rows if row is not None]


def as_items(folder: Path, log: list[str], **given: Any) -> list[tuple[str, str]]:
    """(id, texts) of the items of an evaluation set."""
    columns = {"columns": {"text": ["question", "answer"], "id": "id"}} if "columns" not in given else {}
    sets = contamination.Settings.model_validate(
        {"sets": [{"name": "s", **columns, **given}]}, context={"base": folder}
    )
    reading = Reading(folder / "cache", Tally(), log.append)
    (chosen,) = sets.sets
    items = items_of(chosen, chosen.contents(reading.cache, log.append), reading)
    return [(item.id, "\n\n".join(item.texts)) for item in items]


Reader = Callable[..., list[tuple[str, str]]]
READERS: list[Reader] = [as_source, as_conversations, as_items]
every_reader = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
EXPECTED = [(row["id"], f"{row['question']}\n\n{row['answer']}") for row in TSV_ROWS]


@every_reader
@pytest.mark.parametrize("name", sorted(FILES))
def test_every_format_and_wrapping_is_read_by_all(tmp_path, reader: Reader, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    assert reader(tmp_path, [], path=name) == EXPECTED


@every_reader
def test_globs_lists_and_folders_are_read_by_all(tmp_path, reader: Reader) -> None:
    (tmp_path / "d").mkdir()
    for i in (0, 1):
        (tmp_path / "d" / f"{i}.jsonl").write_bytes(lines([ROWS[i]]))
    expected = [row["id"] for row in ROWS[:2]]
    for path in ("d/*.jsonl", "d", ["d/0.jsonl", "d/1.jsonl"]):
        assert [called for called, _ in reader(tmp_path, [], path=path)] == expected


@pytest.fixture
def served(tmp_path) -> Iterator[str]:
    """The address of a server of the files in `tmp_path/served`."""
    (tmp_path / "served").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@every_reader
def test_addresses_are_read_by_all(tmp_path, served, reader: Reader) -> None:
    for i in (0, 1):
        (tmp_path / "served" / f"x-{i}.csv.gz").write_bytes(gzip.compress(delimited(TSV_ROWS[i : i + 1], "excel")))
    assert reader(tmp_path, [], kind="http", url=f"{served}/x-{{0..1}}.csv.gz") == EXPECTED[:2]
    with pytest.raises(UserError, match=r"none\.csv is not there \(HTTP 404\)"):
        reader(tmp_path, [], kind="http", url=f"{served}/none.csv")


def test_tuning_data_at_an_address_is_made_again_where_it_changed(tmp_path, served, monkeypatch) -> None:
    def made(name: str):
        given = {"sources": [{"name": "s", "kind": "http", "url": f"{served}/{name}"}]}
        context = RunContext(Store(tmp_path / "store", "t"), lambda line: None)
        return instruction_data.make(context, {}, instruction_data.Settings.model_validate(given))

    def silent(url: str) -> None:
        raise Unreachable(f"{url} does not answer")

    file = tmp_path / "served" / "x.jsonl"
    file.write_bytes(lines(ROWS))
    first = made("x.jsonl")
    assert first.counts["kept"] == 5 and made("x.jsonl").version == first.version
    file.write_bytes(lines(ROWS[:3]))
    second = made("x.jsonl")
    assert second.counts["kept"] == 3
    monkeypatch.setattr(http, "ask", silent)
    assert made("x.jsonl").version == second.version  # without a network, it counts as it was last seen
    with pytest.raises(Unreachable):
        made("y.jsonl")


@every_reader
def test_hub_data_sets_are_read_by_all(tmp_path, reader: Reader, monkeypatch) -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("hub", Path(__file__).with_name("hub.py"))
    assert spec is not None and spec.loader is not None
    hub = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hub)
    with hub.running_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        running.push("owner/data", {"a/train.parquet": FILES["x.parquet"], "a/test.parquet": b""})
        given = {"kind": "huggingface", "dataset": "owner/data", "path": "a/tr*.parquet"}
        assert reader(tmp_path, [], **given) == EXPECTED
        with pytest.raises(UserError, match=r"`s`: no file of the data set owner/data matches `x\.\*`"):
            reader(tmp_path, [], **{**given, "path": "x.*"})


# -- the same mistakes, the same sentences ---------------------------------------------------------------------------


@every_reader
def test_the_same_mistake_is_the_same_sentence_for_all(tmp_path, reader: Reader) -> None:
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(lines(ROWS) * 1000)[:-20])
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "cp949.csv").write_bytes("id,question,answer\n1,한글,글\n".encode("cp949"))
    (tmp_path / "ragged.tsv").write_text("id\tquestion\tanswer\n1\ta\tb\tc\n")
    (tmp_path / "other.jsonl").write_text('{"id": "1", "questions": "a", "answer": "b"}\n')
    for path, said in (
        ("none*.jsonl", r"`s`: no file matches `.*none\*\.jsonl` \(looked in .*\): fix `path`"),
        ("cut.jsonl.gz", r"cut\.jsonl\.gz is damaged or cut off"),
        ("bad.json", r"bad\.json is not JSON"),
        ("cp949.csv", r"cp949\.csv is not utf-8 at column `\w+` of row 1: name its encoding"),
        ("ragged.tsv", r"ragged\.tsv: line 2 has 4 fields and the header 3: fix it"),
    ):
        with pytest.raises(UserError, match=said):
            reader(tmp_path, [], path=path)
    columns = {"question": "question"} if reader is as_conversations else {"text": "question"}
    with pytest.raises(
        UserError, match=r"other\.jsonl has no column `question` \(perhaps `questions`\): fix `columns` of"
    ):
        reader(tmp_path, [], path="other.jsonl", columns=columns)
    with pytest.raises(ValidationError, match="`encoding: utf-9` is unknown"):
        reader(tmp_path, [], path="bad.json", encoding="utf-9")


@every_reader
def test_encoding_records_and_format_can_be_named_for_all(tmp_path, reader: Reader) -> None:
    (tmp_path / "a.txt").write_bytes("id,question,answer\n1,한글,글\n".encode("cp949"))
    assert reader(tmp_path, [], path="a.txt", format="csv", encoding="cp949") == [("1", "한글\n\n글")]
    (tmp_path / "b.json").write_text(json.dumps({"meta": [{"id": 1}], "deep": {"list": TSV_ROWS}}))
    assert reader(tmp_path, [], path="b.json", records="deep.list") == EXPECTED
    with pytest.raises(UserError, match=r"b\.json has no key `deep\.lists`: fix `records` of"):
        reader(tmp_path, [], path="b.json", records="deep.lists")


@every_reader
def test_what_cannot_be_read_can_be_left_out_by_all(tmp_path, reader: Reader) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,question,answer\n1,a,b\n2,\xff,b\n3,a,b,c\n4,a,b\n")
    assert [called for called, _ in reader(tmp_path, [], path="a.csv", invalid="skip")] == ["1", "4"]
    replaced = reader(tmp_path, [], path="a.csv", invalid="replace")
    assert replaced == [("1", "a\n\nb"), ("2", "�\n\nb"), ("4", "a\n\nb")]


def test_rows_of_tuning_data_that_are_left_out_are_counted(tmp_path) -> None:
    (tmp_path / "a.csv").write_bytes(b"question,answer\na,b\n\xff,b\na,b,c\n")
    given = {"sources": [{"name": "s", "path": str(tmp_path / "a.csv"), "invalid": "skip"}], "held_back": 0}
    context = RunContext(Store(tmp_path / "store", "t"), lambda line: None)
    made = instruction_data.make(context, {}, instruction_data.Settings.model_validate(given))
    assert made.counts["removed"] == {"invalid_encoding": 1, "malformed": 1} and made.counts["in"] == 3


def test_items_that_are_left_out_are_logged(tmp_path) -> None:
    from pipeline.curation.evaluation_items import all_items

    (tmp_path / "a.jsonl").write_text('{"question": "a"}\n{\n')
    given = {"name": "mine", "path": str(tmp_path / "a.jsonl"), "invalid": "skip"}
    sets = contamination.Settings.model_validate({"sets": [given]}).sets
    said: list[str] = []
    assert len(all_items(sets, {"mine": sets[0].contents(tmp_path)}, tmp_path, said.append)) == 1
    assert said[0].startswith("evaluation set `mine`: left out: 1 malformed (")


@pytest.mark.parametrize(
    ("where", "given", "said"),
    [
        ("set", {"name": "a", "kind": "bundled", "set": "chatterbot-en", "path": "x"}, "path"),
        ("set", {"name": "a", "kind": "http"}, "set `a` of kind `http` needs `url`"),
        ("set", {"name": "a", "path": "x", "sets": "y"}, "sets"),
        ("set", {"name": "a", "kind": "common_crawl", "crawl": "x"}, "common_crawl"),
        ("set", {"name": "a", "path": "x", "format": "html"}, "format"),
        ("items", {"name": "a"}, "evaluation set `a` of kind `files` needs `path`"),
        (
            "items",
            {"name": "a", "path": "x", "columns": {"txt": "b"}},
            r"`columns.txt` is not a key; did you mean `text`",
        ),
        ("items", {"name": "a", "path": "x", "format": "warc"}, "format"),
    ],
)
def test_a_mistake_in_a_set_is_named(where: str, given: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        if where == "set":
            parse_set(given)
        else:
            contamination.Settings.model_validate({"sets": [given]})


# -- nothing is lost in silence ----------------------------------------------------------------------------------------


@every_reader
def test_every_line_of_tsv_is_a_row_whatever_quotes_it_holds(tmp_path, reader: Reader) -> None:
    """Read as CSV, an open quote swallows the lines up to the next: 56 of the 5,010 rows of kornli_test.tsv."""
    fields = ['"open', 'close"', '"whole"', 'in "the" middle', '""', "plain", "U+2028 \u2028 and U+0085 \x85", 'x"y']
    rows = [(str(i), fields[i % len(fields)], fields[(i * 3 + 1) % len(fields)]) for i in range(200)]
    text = "".join("\t".join(row) + "\n" for row in [("id", "question", "answer"), *rows])
    (tmp_path / "a.tsv").write_text(text, encoding="utf-8", newline="")
    found = reader(tmp_path, [], path="a.tsv")
    assert len(found) == text.count("\n") - 1
    assert found == [(called, f"{question}\n\n{answer}") for called, question, answer in rows]


@every_reader
def test_lines_of_tsv_end_at_a_line_feed_alone(tmp_path, reader: Reader) -> None:
    (tmp_path / "a.tsv").write_bytes(b"id\tquestion\tanswer\r\n1\ta\rb\tc\r\n\r\n2\td\te")
    # In a document, whatever ended a line on some system is a line feed.
    middle = "a\nb" if reader is as_source else "a\rb"
    assert reader(tmp_path, [], path="a.tsv") == [("1", f"{middle}\n\nc"), ("2", "d\n\ne")]
    (tmp_path / "b.tsv").write_bytes(b"id\tquestion\tanswer\n1\ta\rb\tc\n2\td\n")
    with pytest.raises(UserError, match=r"b\.tsv: line 3 has 2 fields and the header 3: fix it"):
        reader(tmp_path, [], path="b.tsv")
    assert reader(tmp_path, [], path="b.tsv", invalid="skip") == [("1", f"{middle}\n\nc")]


@every_reader
@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\v", "\f", "\x1c"])
def test_a_line_of_json_ends_at_a_line_feed_alone(tmp_path, reader: Reader, end: str) -> None:
    rows = [{"id": "1", "question": f"a{end}b", "answer": "c"}, {"id": "2", "question": "d", "answer": "e"}]
    (tmp_path / "a.jsonl").write_bytes(lines(rows))
    assert reader(tmp_path, [], path="a.jsonl") == [("1", f"a{end}b\n\nc"), ("2", "d\n\ne")]


@every_reader
@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.tsv"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path, reader: Reader, name: str, encoding: str) -> None:
    (tmp_path / name).write_bytes(FILES[name].decode().encode(encoding))
    assert reader(tmp_path, [], path=name) == EXPECTED


@every_reader
def test_of_several_lists_the_one_with_the_columns_is_read_and_named(tmp_path, reader: Reader) -> None:
    for i in (0, 1):
        content = {"authors": [{"name": "x"}], "data": TSV_ROWS[i : i + 1]}
        (tmp_path / f"{i}.json").write_text(json.dumps(content))
    said: list[str] = []
    assert reader(tmp_path, said, path="*.json") == EXPECTED[:2]
    (line,) = [line for line in said if "several" in line]
    assert (
        "0.json holds several lists (`authors`, `data`); `data` is read" in line and "`records` names another" in line
    )


@every_reader
def test_several_lists_that_would_all_do_are_refused_with_their_names(tmp_path, reader: Reader) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"train": TSV_ROWS, "test": TSV_ROWS[:1]}))
    with pytest.raises(UserError, match=r"a\.json holds several lists \(`train`, `test`\): .*such as `records: train`"):
        reader(tmp_path, [], path="a.json")
    assert reader(tmp_path, [], path="a.json", records="test") == EXPECTED[:1]


def test_an_evaluation_set_without_named_columns_refuses_several_lists(tmp_path) -> None:
    """It took the first list of the file, whatever it held."""
    (tmp_path / "a.json").write_text(json.dumps({"languages": ["ko"], "train": ROWS, "test": ROWS[:1]}))
    with pytest.raises(UserError, match=r"several lists \(`train`, `test`\)"):
        as_items(tmp_path, [], path="a.json", columns=[])
    (tmp_path / "b.json").write_text(json.dumps({"languages": ["ko"], "data": ROWS}))
    assert len(as_items(tmp_path, [], path="b.json", columns=[])) == 5


@every_reader
def test_half_a_surrogate_pair_is_replaced_for_all(tmp_path, reader: Reader) -> None:
    raw = '{"id": "1", "question": "x\\ud83d\\ude00", "answer": "y\\ud83d"}'
    (tmp_path / "a.jsonl").write_text(raw + "\n")
    (tmp_path / "b.json").write_text(f"[{raw}]")
    for name in ("a.jsonl", "b.json"):
        assert reader(tmp_path, [], path=name) == [("1", "x😀\n\ny�")]


# -- rows as they are --------------------------------------------------------------------------------------------------


def test_a_column_in_a_nested_object_can_be_named_by_all(tmp_path) -> None:
    row = {"id": "1", "talk": {"ask": "a", "reply": "b"}}
    (tmp_path / "a.jsonl").write_bytes(lines([row]))
    columns = {"question": "talk.ask", "answer": "talk.reply"}
    assert as_conversations(tmp_path, [], path="a.jsonl", columns=columns) == [("1", "a\n\nb")]
    for reader in (as_source, as_items):
        assert reader(tmp_path, [], path="a.jsonl", columns={"text": list(columns.values()), "id": "id"}) == [
            ("1", "a\n\nb")
        ]


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.parquet"])
def test_messages_stay_nested(tmp_path, name: str) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rows = [{"messages": messages, "lang": "ko"}]
    raw = {"x.jsonl": lines(rows), "x.json": json.dumps(rows).encode(), "x.parquet": parquet(rows)}
    (tmp_path / name).write_bytes(raw[name])
    chosen = parse_set({"name": "s", "path": name}, tmp_path)
    reading = Reading(tmp_path, Tally())
    assert list(chosen.read(chosen.contents(tmp_path), reading)) == rows


def test_swapped_columns_are_swapped() -> None:
    from pipeline.conversations.conversation_source import renamed

    row = {"question": "a", "answer": "b", "lang": "ko"}
    assert renamed(row, {"question": "answer", "answer": "question"}) == {"question": "b", "answer": "a", "lang": "ko"}


def test_a_folder_of_tuning_data_may_hold_a_readme(tmp_path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "README.md").write_text("# about")
    (tmp_path / "d" / "x.jsonl").write_bytes(FILES["x.jsonl"])
    assert as_conversations(tmp_path, [], path="d") == EXPECTED
    with pytest.raises(UserError, match=r"README\.md holds no rows that are read"):
        as_conversations(tmp_path, [], path="d/*")


def test_repeated_and_empty_column_names_are_no_obstacle(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("id,question,answer,,,id\n1,a,b,,x,2\n")
    (tmp_path / "a.tsv").write_text("id\tquestion\tanswer\t\t\tid\n1\ta\tb\t\tx\t2\n")
    for reader in READERS:
        for name in ("a.csv", "a.tsv"):
            assert reader(tmp_path, [], path=name) == [("1", "a\n\nb")]


# -- fingerprints ------------------------------------------------------------------------------------------------------


def test_the_fingerprint_of_what_version_0_1_could_read_is_as_it_was(tmp_path) -> None:
    """The dumps that fingerprints were made of before tuning data and evaluation sets had kinds and formats."""
    file = parse_set({"name": "a", "path": "x.jsonl", "columns": {"instruction": "q"}, "lang": "ko", "limit": 3})
    assert file.as_recorded() == {
        "name": "a", "kind": "files", "set": None, "columns": {"instruction": "q"}, "lang": "ko", "license": None,
        "limit": 3,
    }  # fmt: skip
    bundled = parse_set({"name": "b", "kind": "bundled", "set": "chatterbot-ko"})
    assert bundled.as_recorded() == {
        "name": "b", "kind": "bundled", "set": "chatterbot-ko", "columns": {}, "lang": None, "license": None,
        "limit": None,
    }  # fmt: skip
    given = [{"name": "a", "path": "x", "id": "key", "columns": ["q"]}, {"name": "b", "path": "x"}]
    items = contamination.Settings.model_validate({"sets": given}).sets
    assert [chosen.as_recorded() for chosen in items] == [
        {"name": "a", "id": "key", "columns": ["q"]},
        {"name": "b", "id": None, "columns": []},
    ]
    (tmp_path / "b").mkdir()
    for name, raw in (("b/1.jsonl", b"{}"), ("2.jsonl", b"[]")):
        (tmp_path / name).write_bytes(raw)
    folder = parse_set({"name": "a", "path": "."}, tmp_path)
    assert folder.origin(folder.contents(tmp_path)) == {
        "a/00000": "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
        "a/00001": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    }


def test_how_rows_are_read_is_in_the_fingerprint_and_where_they_lie_is_not() -> None:
    here = parse_set({"name": "a", "path": "x.csv"})
    assert parse_set({"name": "a", "path": "y.csv"}).as_recorded() == here.as_recorded()
    for more in ({"encoding": "cp949"}, {"format": "tsv"}, {"records": "a"}, {"invalid": "skip"}):
        assert parse_set({"name": "a", "path": "x.csv", **more}).as_recorded() == {**here.as_recorded(), **more}


def test_a_named_mapping_of_columns_is_the_same_set_as_a_list() -> None:
    mapping = {"name": "a", "path": "x", "columns": {"text": ["q", "o"], "id": "key"}}
    as_list = {"name": "a", "path": "x", "columns": ["q", "o"], "id": "key"}
    one, other = (contamination.Settings.model_validate({"sets": [given]}) for given in (mapping, as_list))
    assert one == other


def test_the_kinds_of_tuning_data_and_evaluation_sets_are_kinds_of_sources() -> None:
    from pipeline.ingest.source import Source

    kinds = set(blocks_of(Source))
    assert set(blocks_of(contamination.Settings.model_fields["sets"].annotation)) < kinds
    tuning = set(blocks_of(instruction_data.Settings.model_fields["sources"].annotation))
    assert tuning - kinds == {"annotated"}, "what people judged is no text to train on"

"""Local files of every format: what comes out of good ones, and what is said of bad ones."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import zipfile
from pathlib import Path

import polars as pl
import pytest
import zstandard

from pipeline.errors import UserError
from pipeline.ingest import files, records, table_files, text_files
from pipeline.ingest import open_files as opening
from pipeline.ingest.files import FileSource
from pipeline.ingest.source import Source, parse_source

ROWS = [{"text": f"문서 {i}: the text of document {i}.", "id": f"n{i}", "lang": "ko", "url": None} for i in range(5)]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def source(path: Path | str, **more: object) -> Source:
    return parse_source({"name": "s", "kind": "files", "path": str(path), **more})


def texts(frame: pl.DataFrame) -> list[str]:
    return frame["text"].to_list()


# -- formats -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.jsonl", bytes),
        ("a.jsonl.gz", gzip.compress),
        ("a.jsonl.zst", zstandard.compress),
        ("a.jsonl.bz2", bz2.compress),
        ("a.jsonl.xz", lzma.compress),
        ("a.ndjson", gzip.compress),  # packed, though its name does not say so
    ],
)
def test_json_lines_in_every_wrapping(tmp_path, read, name, pack) -> None:
    (tmp_path / name).write_bytes(pack(JSONL))
    frame, tally = read(source(tmp_path / "*"))
    assert texts(frame) == [row["text"] for row in ROWS]
    assert frame["id"].to_list() == ["n0", "n1", "n2", "n3", "n4"]
    assert frame["lang"].to_list() == ["ko"] * 5
    assert not tally.skipped


def test_several_zstandard_frames_and_gzip_members_are_one_file(tmp_path, read) -> None:
    half = len(JSONL) // 2
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(JSONL[:half]) + zstandard.compress(JSONL[half:]))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(JSONL[:half]) + gzip.compress(JSONL[half:]))
    assert (
        texts(read(source(tmp_path / "a*"))[0]) == texts(read(source(tmp_path / "b*"))[0]) == [r["text"] for r in ROWS]
    )


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstandard.compress), ("a.jsonl.bz2", bz2.compress),
     ("a.jsonl.xz", lzma.compress)],
)  # fmt: skip
def test_a_packed_file_that_is_cut_off_is_named(tmp_path, read, name, pack) -> None:
    packed = pack(os.urandom(3000).hex().encode() + JSONL)
    (tmp_path / name).write_bytes(packed[: len(packed) * 2 // 3])
    with pytest.raises(UserError, match=rf"{name} is damaged or cut off .*again"):
        read(source(tmp_path / name))


def test_parquet_with_other_column_names_and_numbers(tmp_path, read) -> None:
    frame = pl.DataFrame({"key": [7, 8], "body": ["하나", "둘"], "licence": [["MIT", "ISC"], ["MIT"]]})
    frame.write_parquet(tmp_path / "a.parquet")
    columns = {"text": "body", "id": "key", "license": "licence"}
    found, _ = read(source(tmp_path / "a.parquet", columns=columns, lang="ko"))
    assert found.select("text", "id", "lang", "license").rows() == [
        ("하나", "7", "ko", "MIT OR ISC"),
        ("둘", "8", "ko", "MIT"),
    ]


def test_rows_without_ids_are_called_by_file_and_row(tmp_path, read) -> None:
    pl.DataFrame({"text": ["a", "b"]}).write_parquet(tmp_path / "x.parquet")
    (tmp_path / "y.jsonl").write_text('{"text": "c"}\n\n{"text": "d"}\n')
    (tmp_path / "z.csv").write_text("text,n\ne,1\n")
    found, _ = read(source(tmp_path / "*"))
    assert found["id"].to_list() == ["x.parquet#1", "x.parquet#2", "y.jsonl#1", "y.jsonl#3", "z.csv#1"]


def test_a_missing_column_is_named_with_the_nearest(tmp_path, read) -> None:
    pl.DataFrame({"txt": ["a"], "id": ["b"]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(
        UserError, match=r"a.parquet has no column `text` \(perhaps `txt`\): fix `columns` of source `s`"
    ):
        read(source(tmp_path / "a.parquet"))
    (tmp_path / "a.jsonl").write_text('{"content": "x"}\n')
    with pytest.raises(UserError, match=r"no column `body` \(there are content\)"):
        read(source(tmp_path / "a.jsonl", columns={"text": "body"}))


def test_a_column_that_is_no_text_is_refused(tmp_path, read) -> None:
    pl.DataFrame({"text": [{"a": 1}]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match="`text` holds no text"):
        read(source(tmp_path / "a.parquet"))


def test_a_cut_off_parquet_file_is_named(tmp_path, read) -> None:
    pl.DataFrame({"text": ["abc"] * 100}).write_parquet(tmp_path / "a.parquet")
    raw = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(raw[:-10])
    with pytest.raises(UserError, match=r"a\.parquet is damaged or cut off"):
        read(source(tmp_path / "a.parquet"))


def test_csv_with_quotes_and_line_ends_in_a_field(tmp_path, read) -> None:
    (tmp_path / "a.csv").write_text('id,text\n1,"first ""line""\nsecond, line"\n2,plain\n', newline="")
    assert texts(read(source(tmp_path / "a.csv"))[0]) == ['first "line"\nsecond, line', "plain"]


def test_tsv_knows_no_quotes(tmp_path, read) -> None:
    (tmp_path / "a.tsv").write_text('id\ttext\n1\t"an open quote\n2\tplain\n')
    assert texts(read(source(tmp_path / "a.tsv"))[0]) == ['"an open quote', "plain"]


def test_a_list_of_text_columns_is_joined(tmp_path, read) -> None:
    (tmp_path / "a.jsonl").write_text('{"q": "question", "a": "answer"}\n{"q": "alone", "a": null}\n')
    assert texts(read(source(tmp_path / "a.jsonl", columns={"text": ["q", "a"]}))[0]) == ["question\n\nanswer", "alone"]


@pytest.mark.parametrize(
    ("content", "more", "expected"),
    [
        ([{"text": "a"}, {"text": "b"}], {}, ["a", "b"]),
        ({"meta": 1, "data": [{"text": "a"}]}, {}, ["a"]),
        ({"x": {"y": [{"text": "a"}]}}, {"records": "x.y"}, ["a"]),
        ({"title": "t", "body": {"text": "a"}}, {"columns": {"text": "body.text"}}, ["a"]),
        ({"talk": [{"say": "a"}, {"say": "b"}]}, {"columns": {"text": "talk.say"}}, ["a\nb"]),
    ],
)
def test_json_files_in_the_shapes_people_have(tmp_path, read, content, more, expected) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert texts(read(source(tmp_path / "a.json", **more))[0]) == expected


def test_nested_keys_in_json_lines(tmp_path, read) -> None:
    (tmp_path / "a.jsonl").write_text('{"doc": {"body": "a"}, "id": 1}\n{"doc": {"body": "b"}, "id": 2}\n')
    found, _ = read(source(tmp_path / "a.jsonl", columns={"text": "doc.body"}))
    assert found.select("text", "id").rows() == [("a", "1"), ("b", "2")]


def test_text_files_are_a_document_each_called_by_their_path(tmp_path, read) -> None:
    for name in ("b/2.md", "a/1.md", "a/.hidden.md", "a/c.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"text of {name}")
    found, _ = read(source(tmp_path / "**" / "*"))
    assert found.select("id", "text").rows() == [(n, f"text of {n}") for n in ("a/1.md", "a/c.py", "b/2.md")]
    assert texts(read(source(tmp_path / "a" / "1.md"))[0]) == ["text of a/1.md"]
    assert read(source(tmp_path))[0].height == 3  # a folder is all that lies below it


def test_pages_give_their_main_text(tmp_path, read) -> None:
    body = "".join(
        f"<p>Paragraph {i} says something long enough to be taken for the text of a page.</p>" for i in range(8)
    )
    (tmp_path / "a.html").write_text(f"<html><body><nav>Home About</nav><article>{body}</article></body></html>")
    (tmp_path / "b.html").write_text("<html><body></body></html>")
    found, tally = read(source(tmp_path / "*.html"))
    assert (
        found["id"].to_list() == ["a.html"] and "Paragraph 3 says" in texts(found)[0] and "About" not in texts(found)[0]
    )
    assert tally.skipped == {"no_text": 1}


# -- bytes that are no UTF-8 -------------------------------------------------------------------------------------------


def test_invalid_bytes_are_an_error_that_names_file_and_position(tmp_path, read) -> None:
    (tmp_path / "a.txt").write_bytes(b"abc\xff\xfe\xfddef")
    with pytest.raises(UserError, match=r"a\.txt is not utf-8 at byte 3: .*encoding: cp949"):
        read(source(tmp_path / "a.txt"))
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "ok"}\n{"text": "\xff"}\n')
    with pytest.raises(UserError, match=r"a\.jsonl is not utf-8 at line 2"):
        read(source(tmp_path / "a.jsonl"))
    (tmp_path / "a.csv").write_bytes(b"text\nok\n\xff\n")
    with pytest.raises(UserError, match=r"a\.csv is not utf-8 at column `text` of row 2"):
        read(source(tmp_path / "a.csv"))
    pl.DataFrame({"text": [b"ok", b"\xff"]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet is not utf-8 at column `text` of row 2"):
        read(source(tmp_path / "a.parquet"))


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.parquet"])
def test_invalid_bytes_can_be_skipped_or_replaced(tmp_path, read, name) -> None:
    if name == "a.txt":
        (tmp_path / "a.txt").write_bytes(b"bad \xff")
        (tmp_path / "b.txt").write_bytes(b"good")
    elif name == "a.jsonl":
        (tmp_path / name).write_bytes(b'{"text": "bad \xff"}\n{"text": "good"}\n')
    elif name == "a.csv":
        (tmp_path / name).write_bytes(b"text\nbad \xff\ngood\n")
    else:
        pl.DataFrame({"text": [b"bad \xff", b"good"]}).write_parquet(tmp_path / name)
    found, tally = read(source(tmp_path / "*", invalid="skip"))
    assert texts(found) == ["good"] and tally.skipped == {"invalid_encoding": 1}
    found, tally = read(source(tmp_path / "*", invalid="replace"))
    assert sorted(texts(found)) == ["bad �", "good"] and not tally.skipped


def test_other_encodings_and_byte_order_marks(tmp_path, read) -> None:
    (tmp_path / "cp949.txt").write_bytes("한글 문서".encode("cp949"))
    assert texts(read(source(tmp_path / "cp949.txt", encoding="cp949"))[0]) == ["한글 문서"]
    (tmp_path / "mark.txt").write_bytes("\ufeff한글".encode())
    (tmp_path / "wide.txt").write_bytes("한글".encode("utf-16"))
    assert texts(read(source(tmp_path / "[mw]*.txt"))[0]) == ["한글", "한글"]
    (tmp_path / "cp949.csv").write_bytes("text,id\n한글 문서,1\n".encode("cp949"))
    assert texts(read(source(tmp_path / "cp949.csv", encoding="euc-kr"))[0]) == ["한글 문서"]
    with pytest.raises(UserError, match=r"cp949\.txt is not ascii at byte 0"):
        read(source(tmp_path / "cp949.txt", encoding="ascii"))


def test_a_binary_file_is_refused_or_counted(tmp_path, read) -> None:
    (tmp_path / "a.txt").write_bytes(b"PK\0\0")
    (tmp_path / "b.txt").write_text("text")
    with pytest.raises(UserError, match=r"a\.txt is not text"):
        read(source(tmp_path / "*"))
    found, tally = read(source(tmp_path / "*", invalid="skip"))
    assert texts(found) == ["text"] and tally.skipped == {"binary": 1}


def test_broken_json_is_named_by_line_or_counted(tmp_path, read) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": \n["no object"]\n{"text": "b"}\n')
    with pytest.raises(UserError, match=r"a\.jsonl: line 2 cannot be read"):
        read(source(tmp_path / "a.jsonl"))
    found, tally = read(source(tmp_path / "a.jsonl", invalid="skip"))
    assert texts(found) == ["a", "b"] and tally.skipped == {"malformed": 2}
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(UserError, match=r"b\.json is not JSON"):
        read(source(tmp_path / "b.json"))


def test_half_a_surrogate_pair_is_replaced(tmp_path, read) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x\\ud83d\\ude00"}\n{"text": "y\\ud83d"}\n')
    assert texts(read(source(tmp_path / "a.jsonl"))[0]) == ["x😀", "y�"]


# -- giants ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_line_that_is_too_long_is_passed_over_and_counted(tmp_path, read, monkeypatch, at) -> None:
    monkeypatch.setattr(text_files, "LONGEST_RECORD", 10_000)
    monkeypatch.setattr(text_files.line_blocks, "__defaults__", (1_000,))
    lines = ['{"text": "a"}', '{"text": "b"}']
    lines.insert(at, '{"text": "' + "x" * 50_000 + '"}')
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    found, tally = read(source(tmp_path / "a.jsonl"))
    assert texts(found) == ["a", "b"]
    assert tally.skipped == {"too_long": 1}
    numbers = [n for n in (1, 2, 3) if n != at + 1]
    assert found["id"].to_list() == [f"a.jsonl#{n}" for n in numbers]


def few(monkeypatch, longest: int) -> None:
    """Make documents of more than `longest` bytes giants."""
    for module in (records, text_files):
        monkeypatch.setattr(module, "LONGEST_DOCUMENT", longest)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet"])
def test_a_giant_document_is_cut_at_paragraphs_and_nothing_is_lost(tmp_path, read, monkeypatch, name) -> None:
    few(monkeypatch, 4000)
    text = "\n\n".join(f"{i} " + "단어 " * 60 for i in range(60))
    if name == "a.txt":
        (tmp_path / name).write_text(text)
    elif name == "a.jsonl":
        (tmp_path / name).write_text(json.dumps({"id": "a.jsonl", "text": text}) + "\n")
    else:
        pl.DataFrame({"id": ["a.parquet"], "text": [text]}).write_parquet(tmp_path / name)
    (tmp_path / "b.txt").write_text("short")
    found, tally = read(source(tmp_path / "*"))
    parts = found.filter(pl.col("id").str.starts_with(f"{name}#"))
    assert "".join(parts["text"]) == text
    assert parts["id"].to_list() == [f"{name}#{i}" for i in range(parts.height)] and parts.height > 3
    assert parts["text"].str.len_bytes().max() <= 4000
    assert all(part.endswith("\n\n") for part in parts["text"].to_list()[:-1])
    assert found["id"].to_list()[-1] == "b.txt" and tally.cut == 1


def test_parts_do_not_depend_on_how_a_text_is_read(monkeypatch) -> None:
    few(monkeypatch, 400)
    text = "x" * 150 + "".join(f"{i} 단어\n" * (i % 7) + "\n" * (i % 2) for i in range(200))
    whole = list(records.cut_pieces(iter([text])))
    for size in (1, 7, 99, 250):
        assert list(records.cut_pieces(text[i : i + size] for i in range(0, len(text), size))) == whole
    assert "".join(whole) == text and records.cut_text(text) == whole


def test_wrong_bytes_deep_in_a_giant(tmp_path, read, monkeypatch) -> None:
    few(monkeypatch, 1000)
    (tmp_path / "a.txt").write_bytes("가 ".encode() * 2000 + b"\xff" + "나 ".encode() * 100)
    with pytest.raises(UserError, match=r"a\.txt is not utf-8 at byte 8,000"):
        read(source(tmp_path / "a.txt"))
    assert "�나" in "".join(texts(read(source(tmp_path / "a.txt", invalid="replace"))[0]))
    found, tally = read(source(tmp_path / "a.txt", invalid="skip"))
    assert "나" not in "".join(texts(found)) and tally.skipped == {"invalid_encoding": 1}


def test_a_giant_cell_of_a_table_is_left_out_and_counted(tmp_path, read, monkeypatch) -> None:
    monkeypatch.setattr(table_files, "LONGEST_RECORD", 1000)
    pl.DataFrame({"text": ["a", "x" * 2000, None, "b"]}).write_parquet(tmp_path / "a.parquet")
    found, tally = read(source(tmp_path / "a.parquet"))
    assert texts(found) == ["a", "b"] and found["id"].to_list() == ["a.parquet#1", "a.parquet#4"]
    assert tally.skipped == {"too_long": 1, "empty": 1}


# -- archives ----------------------------------------------------------------------------------------------------------


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_archives_are_read_in_place(tmp_path, read) -> None:
    zip_of(tmp_path / "a.zip", {"x/1.txt": b"one", "2.jsonl.gz": gzip.compress(JSONL), "pic.png": b"\x89PNG"})
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as archive:
        for name, content in {"3.md": b"three", "4.csv": b"text\nfour\n"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    found, tally = read(source(tmp_path / "*"))
    members = ["a.zip!x/1.txt", "b.tar.gz!3.md", "b.tar.gz!4.csv#1"]
    assert sorted(found["id"]) == [*members, "n0", "n1", "n2", "n3", "n4"]
    assert tally.skipped == {"unknown_format": 1}


def test_tar_packed_with_zstandard(tmp_path, read) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        info = tarfile.TarInfo("1.txt")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"one"))
    (tmp_path / "a.tar.zst").write_bytes(zstandard.compress(raw.getvalue()))
    assert texts(read(source(tmp_path / "a.tar.zst"))[0]) == ["one"]


def test_names_that_lead_out_of_an_archive_are_left_out(tmp_path, read) -> None:
    zip_of(
        tmp_path / "a.zip", {"../../evil.txt": b"x", "/etc/evil.txt": b"x", "C:/evil.txt": b"x", "good.txt": b"good"}
    )
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        up = tarfile.TarInfo("../up.txt")
        up.size = 1
        archive.addfile(up, io.BytesIO(b"x"))
    found, tally = read(source(tmp_path / "*"))
    assert texts(found) == ["good"]
    assert tally.skipped == {"unsafe_name": 4}


def test_bombs_are_refused(tmp_path, read, monkeypatch) -> None:
    monkeypatch.setattr(opening, "EXPANSION_FREE", 1 << 20)
    zip_of(tmp_path / "a.zip", {"big.txt": b" " * (8 << 20)})
    with pytest.raises(UserError, match=r"a\.zip!big\.txt unpacks to 8 MB from"):
        read(source(tmp_path / "a.zip"))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b" " * (8 << 20)))
    with pytest.raises(UserError, match=r"b\.txt\.gz unpacks to"):
        read(source(tmp_path / "b.txt.gz"))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(b" " * (8 << 20)))
    with pytest.raises(UserError, match=r"c\.jsonl\.zst unpacks to"):
        read(source(tmp_path / "c.jsonl.zst"))


def test_korean_names_in_zip_files_of_korean_windows(tmp_path, read) -> None:
    zip_of(tmp_path / "a.zip", {"XXXX.txt": b"text"})
    raw = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(raw.replace(b"XXXX", "한글".encode("cp949")))
    assert read(source(tmp_path / "a.zip"))[0]["id"].to_list() == ["a.zip!한글.txt"]


def test_a_damaged_archive_is_named(tmp_path, read) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK no zip at all")
    with pytest.raises(UserError, match=r"a\.zip is damaged or cut off"):
        read(source(tmp_path / "a.zip"))
    zip_of(tmp_path / "b.zip", {"1.txt": os.urandom(2000).hex().encode()})
    raw = bytearray((tmp_path / "b.zip").read_bytes())
    raw[500:520] = bytes(20)
    (tmp_path / "b.zip").write_bytes(raw)
    with pytest.raises(UserError, match=r"b\.zip!1\.txt is damaged"):
        read(source(tmp_path / "b.zip"))


# -- finding and telling files apart -----------------------------------------------------------------------------------


def test_no_file_matches(tmp_path, read) -> None:
    with pytest.raises(UserError, match=r"Source `s`: no file matches `.*\*\.md`.*: fix `path`"):
        read(source(tmp_path / "*.md"))


def test_two_globs_may_hold_files_of_one_name(tmp_path, read) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text(folder)
    both = FileSource(name="s", path=[str(tmp_path / "x" / "*"), str(tmp_path / "y" / "*")])
    found, _ = read(both)
    assert sorted(texts(found)) == ["x", "y"] and found["id"].n_unique() == 2


def test_a_digest_follows_contents_not_dates(tmp_path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.txt").write_text("one")
    os.utime(tmp_path / "d" / "a.txt", (1000, 1000))
    given = source(tmp_path / "d" / "*")
    first = given.observe(tmp_path)
    os.utime(tmp_path / "d" / "a.txt", (2000, 2000))
    assert given.observe(tmp_path)["digest"] == first["digest"]
    (tmp_path / "d" / "a.txt").write_text("two")
    os.utime(tmp_path / "d" / "a.txt", (3000, 3000))
    changed = given.observe(tmp_path)["digest"]
    assert changed != first["digest"]
    (tmp_path / "d" / "a.txt").rename(tmp_path / "d" / "b.txt")
    assert given.observe(tmp_path)["digest"] != changed


def test_a_file_that_is_as_it_was_is_not_hashed_again(tmp_path, monkeypatch) -> None:
    (tmp_path / "d").mkdir()
    for i in range(3):
        (tmp_path / "d" / f"{i}.txt").write_text(str(i))
        os.utime(tmp_path / "d" / f"{i}.txt", (1000, 1000))
    given = source(tmp_path / "d" / "*")
    first = given.observe(tmp_path)
    hashed: list[str] = []
    true_hash = files.file_hash
    monkeypatch.setattr(files, "file_hash", lambda path: hashed.append(Path(path).name) or true_hash(path))
    assert given.observe(tmp_path) == first and hashed == []
    (tmp_path / "d" / "1.txt").write_text("new")  # changed just now: it may change again within the clock's tick
    given.observe(tmp_path)
    given.observe(tmp_path)
    assert hashed == ["1.txt", "1.txt"]


def test_a_row_of_too_many_fields_is_named_or_counted(tmp_path, read) -> None:
    (tmp_path / "a.csv").write_text("text,id\na,1\nb,2,3\nc,4\n")
    with pytest.raises(UserError, match=r"a\.csv: line 3 has 3 fields and the header 2: fix it, or say"):
        read(source(tmp_path / "a.csv"))
    found, tally = read(source(tmp_path / "a.csv", invalid="skip"))
    assert texts(found) == ["a", "c"] and tally.skipped == {"malformed": 1}


def test_json_lines_may_have_other_keys_each(tmp_path, read) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"other": 1}\n{"text": "a", "lang": "ko"}\n{"text": "b", "id": "own", "x": [1]}\n'
    )
    found, tally = read(source(tmp_path / "a.jsonl"))
    assert found.select("text", "id", "lang").rows() == [("a", "a.jsonl#2", "ko"), ("b", "own", None)]
    assert tally.skipped == {"empty": 1}

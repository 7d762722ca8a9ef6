"""Hostile files of every format: what is in them, and what has to come of it."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.faults.hostile_packs import CUT, Case, Counts, cut, flipped

ALL_INVALID = ("error", "skip", "replace")


def three(name: str, files: dict[str, bytes], error: str, skip: Counts | str, replace: Counts | str) -> Iterator[Case]:
    """The same file under each of the three ways to treat what cannot be read."""
    for way, expected in zip(ALL_INVALID, (error, skip, replace)):
        yield Case(f"{name} ({way})", files, expected, {"invalid": way})


# -- text and pages ----------------------------------------------------------------------------------------------------


def texts() -> Iterator[Case]:
    yield Case("text: nothing", {"a.txt": b""}, (0, {"empty": 1}))
    yield Case("text: white space", {"a.txt": b" \n\t\r\n"}, (0, {"empty": 1}))
    yield Case("text: a byte-order mark alone", {"a.txt": b"\xef\xbb\xbf"}, (0, {"empty": 1}))
    yield Case("text: UTF-16 of odd length", {"a.txt": "글".encode("utf-16") + b"x"}, "is not utf-16 at byte")
    yield Case("text: UTF-16 with half a pair", {"a.txt": b"\xff\xfe\x00\xd8"}, "is not utf-16 at byte")
    yield Case("text: UTF-32 with its mark", {"a.txt": "글".encode("utf-32")}, "NUL|utf-16")
    yield from three("text: NUL", {"a.txt": b"a\0b"}, "holds NUL bytes", (0, {"binary": 1}), (0, {"binary": 1}))
    yield from three(
        "text: a wrong byte", {"a.txt": b"a\xffb"}, "is not utf-8 at byte 1", (0, {"invalid_encoding": 1}), (1, {})
    )
    yield from three(
        "text: cut within a letter",
        {"a.txt": "한글".encode()[:-1]},
        "is not utf-8 at byte 3",
        (0, {"invalid_encoding": 1}),
        (1, {}),
    )
    yield from three(
        "text: CP949 as UTF-8",
        {"a.txt": "한글".encode("cp949")},
        "is not utf-8 at byte 0",
        (0, {"invalid_encoding": 1}),
        (1, {}),
    )
    yield from three(
        "text: an overlong form", {"a.txt": b"\xc0\xaf"}, "is not utf-8", (0, {"invalid_encoding": 1}), (1, {})
    )
    yield from three(
        "text: half a surrogate pair", {"a.txt": b"\xed\xa0\x80"}, "is not utf-8", (0, {"invalid_encoding": 1}), (1, {})
    )
    for encoding, raw in {
        "cp949": b"\xff\xff",
        "utf-16": b"\x00\xd8",
        "ascii": b"\x80",
        "utf-32": b"\1\2\3",
        "iso2022_kr": b"\x1b$)X",
        "utf-7": b"+//8-\xff",
        "unicode_escape": b"\\u12",
    }.items():
        yield Case(f"text: no {encoding}", {"a.txt": raw}, r"is not [\w-]+ at byte", {"encoding": encoding})
    yield Case("text: two folders, one broken file", {"a/x.txt": b"fine", "b/y.txt": b"\xff"}, r"b/y\.txt is not utf-8")
    yield Case("html: nothing", {"a.html": b""}, (0, {"no_text": 1}))
    yield Case("html: tags alone", {"a.html": b"<html><body><p></p></body>"}, (0, {"no_text": 1}))
    yield Case("html: bytes of no encoding", {"a.html": b"<p>\xff\xfe</p>"}, "is not utf-8")
    yield Case("html: 5,000 tags deep", {"a.html": b"<div>" * 5000 + b"x"}, (0, {"no_text": 1}))


# -- tables of text ----------------------------------------------------------------------------------------------------


def csvs() -> Iterator[Case]:
    def csv(name: str, raw: bytes, expected: str | Counts, **settings: Any) -> Case:
        return Case(f"csv: {name}", {"a.csv": raw}, expected, settings)

    yield csv("nothing", b"", (0, {}))
    yield csv("a header alone", b"text,id\n", (0, {}))
    yield csv("a header without line end", b"text,id", (0, {}))
    yield csv("blank lines before the header", b"\n\r\n\ntext,id\na,1\n", (1, {}))
    yield csv("blank lines between rows", b"text,id\na,1\n\n\r\nb,2\n", (2, {}))
    yield csv("CR line ends", b"text,id\ra,1\rb,2\r", (2, {}))
    yield csv("CR LF line ends", b"text,id\r\na,1\r\nb,2\r\n", (2, {}))
    yield csv("no line end at the end", b"text,id\na,1\nb,2", (2, {}))
    yield csv("a quote that never closes", b'text,id\n"a,1\nb,2\nc,3\n', "quote that opens in line 2 is never closed")
    yield csv("a quote that never closes, at the end", b'text,id\na,1\n"', "quote that opens in line 3 is never closed")
    yield csv(
        "a quote that another row closes",
        b'text,id\n"a,1\n"b",2\n"c",3\n',
        "quote that opens in line 2 is closed in the",
    )
    yield csv(
        "a quote that never closes, with CR", b'text,id\r"a,1\rb,2\r', "quote that opens in line 2 is never closed"
    )
    yield csv(
        "a quote in the header that never closes", b'text,"id\na,1\nb,2\n', "quote that opens in line 1 is never closed"
    )
    yield csv("a quote that never closes, not in force", b'text,id\n"a,1\n', "never closed", invalid="skip")
    yield csv("a quote after blank lines", b'\n\ntext,id\n\n"a,1\nb,2\n', "quote that opens in line 5 is never closed")
    yield csv("quotes within a field", b'text,id\na 5" disk,1\nb,2\n', (2, {}))
    yield csv("text after a closing quote", b'text,id\n"a" b,1\n', (1, {}))
    yield csv("a line end within quotes", b'text,id\n"a\nb",1\n', (1, {}))
    yield csv("a line end in the header", b'text,"the\nid"\na,1\n', (1, {}))
    yield csv("quotes within quotes", b'text,id\n"a ""b"" c",1\n', (1, {}))
    yield from three(
        "csv: too many fields",
        {"a.csv": b"text,id\na,1\nb,2,3\n"},
        "line 3 has 3 fields and the header 2",
        (1, {"malformed": 1}),
        (1, {"malformed": 1}),
    )
    yield from three(
        "csv: too few fields",
        {"a.csv": b"text,id\na\nb,2\n"},
        "line 2 has 1 fields and the header 2",
        (1, {"malformed": 1}),
        (1, {"malformed": 1}),
    )
    yield from three(
        "csv: wrong bytes",
        {"a.csv": b"text,id\n\xff,1\nb,2\n"},
        "not utf-8 at column `text` of row 1",
        (1, {"invalid_encoding": 1}),
        (2, {}),
    )
    yield csv("the line of a mistake after a field of lines", b'text,id\n"a\nb\nc",1\nd,2,3\n', "line 5 has 3 fields")
    yield csv("no column `text`", b"body,id\na,1\n", "has no column `text`")
    yield csv(
        "a row of data for a header",
        b"kim@example.org,900101-1234567\na,1\n",
        r"has no column `text` \(there are 2 of other names",
    )
    yield csv("two columns `text`", b"text,text\na,b\n", "columns 1 and 2 have the same name")
    yield csv("an empty name of a column", b"text,,\na,b,c\n", (1, {}))
    yield csv("NUL in a field", b"text,id\na\0b,1\n", (1, {}))
    yield csv("tabs for commas", b"text\tid\na\t1\n", "has no column `text`")
    yield csv("UTF-16", "text,id\n글,1\n".encode("utf-16"), (1, {}))
    yield csv("CP949 as UTF-8", "text,id\n글,1\n".encode("cp949"), "is not utf-8 at column `text`")
    yield csv("CP949", "text,id\n글,1\n".encode("cp949"), (1, {}), encoding="cp949")
    yield csv("a byte-order mark", b"\xef\xbb\xbftext,id\na,1\n", (1, {}))
    yield csv("empty fields", b"text,id\n,1\n,2\n", (0, {"empty": 2}))
    yield csv("fields of blanks", b'text,id\n" ",1\n', (0, {"empty": 1}))
    yield csv("a Parquet file", parquet({"text": ["a"]}), "damaged or cut off|has no column|never closed|fields")
    yield csv(
        "300 columns", b",".join([b"text", *[b"c%d" % i for i in range(299)]]) + b"\n" + b"x," * 299 + b"x\n", (1, {})
    )
    yield csv("a limit", b"text,id\na,1\nb,2\nc,3\n", (2, {}), limit=2)
    yield csv("a missing column that is asked for", b"text,id\na,1\n", "has no column `url2`", columns={"url": "url2"})


def tsvs() -> Iterator[Case]:
    def tsv(name: str, raw: bytes, expected: str | Counts, **settings: Any) -> Case:
        return Case(f"tsv: {name}", {"a.tsv": raw}, expected, settings)

    yield tsv("nothing", b"", (0, {}))
    yield tsv("a header alone", b"text\tid\n", (0, {}))
    yield tsv("an open quote", b'text\tid\n"a\t1\nb\t2\n', (2, {}))
    yield tsv("CR line ends", b"text\tid\ra\t1\rb\t2\r", "end with a carriage return alone")
    yield tsv("CR within a field", b"text\tid\na\rb\t1\n", (1, {}))
    yield tsv("blank lines", b"\n\ntext\tid\n\na\t1\n\n", (1, {}))
    yield from three(
        "tsv: too many fields",
        {"a.tsv": b"text\tid\na\t1\nb\t2\t3\n"},
        "line 3 has 3 fields and the header 2",
        (1, {"malformed": 1}),
        (1, {"malformed": 1}),
    )
    yield from three(
        "tsv: too few fields, with CR",
        {"a.tsv": b"text\tid\na\rb\nc\t2\n"},
        "line 2 has 1 fields",
        (1, {"malformed": 1}),
        (1, {"malformed": 1}),
    )
    yield from three(
        "tsv: wrong bytes",
        {"a.tsv": b"text\tid\n\xff\t1\nb\t2\n"},
        "not utf-8 at column `text` of row 1",
        (1, {"invalid_encoding": 1}),
        (2, {}),
    )
    yield tsv("two columns `text`", b"text\ttext\na\tb\n", "columns 1 and 2 have the same name")
    yield tsv("a row of data for a header", b"kim@example.org\t900101-1234567\na\t1\n", "has no column `text`")
    yield tsv("commas for tabs", b"text,id\na,1\n", "has no column `text`")
    yield tsv("NUL", b"text\tid\na\0\t1\n", (1, {}))


# -- JSON --------------------------------------------------------------------------------------------------------------


def json_lines() -> Iterator[Case]:
    deep = b"[" * 5000 + b"]" * 5000
    broken = {
        "cut off": b'{"text": "a',
        "no JSON": b"text",
        "a list": b'["text"]',
        "a number": b"5",
        "null": b"null",
        "two objects on a line": b'{"text": "a"} {"text": "b"}',
        "a comma at the end": b'{"text": "a",}',
        "single quotes": b"{'text': 'a'}",
        "a control character": b'{"text": "a\x01b"}',
        "a wrong escape": b'{"text": "\\x"}',
        "the key twice": b'{"text": "a", "text": "b"}',
        "the key twice, with blanks": b'{"text" : "a", "n": 1, "text"  : "b"}',
        "the key of the id twice": b'{"text": "a", "id": "1", "id": "2"}',
        "nested 5,000 deep": b'{"text": "a", "x": ' + deep + b"}",
        "nested 5,000 deep where the text is": b'{"text": ' + deep + b"}",
        "nested 300 deep, with half a pair": b'{"text": "\\ud800", "x": ' + b"[" * 300 + b"]" * 300 + b"}",
        "a number of 5,000 digits": b'{"text": ' + b"9" * 5000 + b"}",
        "objects 2,000 deep": b'{"text": "a", "x": ' + b'{"x":' * 2000 + b"1" + b"}" * 2001,
    }  # fmt: skip
    for name, line in broken.items():
        files = {"a.jsonl": b'{"text": "good"}\n' + line + b'\n{"text": "also good"}\n'}
        yield from three(
            f"jsonl: {name}", files, r"a\.jsonl: line 2 cannot be read", (2, {"malformed": 1}), (2, {"malformed": 1})
        )
    wrong = {"a.jsonl": b'{"text": "good"}\n{"text": "\xff"}\n'}
    yield from three("jsonl: wrong bytes", wrong, "is not utf-8 at line 2", (1, {"invalid_encoding": 1}), (2, {}))
    fine: dict[str, tuple[bytes, Counts]] = {
        "nothing": (b"", (0, {})),
        "blank lines": (b"\n\n \n", (0, {})),
        "half a surrogate pair": (b'{"text": "a\\ud83d"}\n', (1, {})),
        "NUL": (b'{"text": "a\\u0000b"}\n', (1, {})),
        "a key that other objects have too": (b'{"text": "a", "meta": {"text": "b"}}\n', (1, {})),
        "a key within the text": (b'{"text": "\\"text\\": 1, \\"text\\": 2"}\n', (1, {})),
        "no text": (b'{"text": "a"}\n{"other": 1}\n', (1, {"empty": 1})),
        "null for a text": (b'{"text": null}\n{"text": "a"}\n', (1, {"empty": 1})),
        "no line end": (b'{"text": "a"}', (1, {})),
        "CR LF": (b'{"text": "a"}\r\n{"text": "b"}\r\n', (2, {})),
        "a number beyond 64 bits": (b'{"text": "a", "id": 99999999999999999999999}\n', (1, {})),
        "infinity": (b'{"text": "a", "n": 1e999}\n', (1, {})),
    }
    for name, (raw, counts) in fine.items():
        yield Case(f"jsonl: {name}", {"a.jsonl": raw}, counts)
    yield Case(
        "jsonl: one list over lines",
        {"a.jsonl": json.dumps([{"text": "a"}], indent=1).encode()},
        "line 1 cannot be read",
    )
    yield Case(
        "jsonl: no such key",
        {"a.jsonl": b'{"kim@example.org": 1}\n'},
        r"has no column `text` \(there are 1 of other names",
    )
    yield Case("jsonl: CR line ends", {"a.jsonl": b'{"text": "a"}\r{"text": "b"}\r'}, "line 1 cannot be read")


def json_values() -> Iterator[Case]:
    broken = {
        "cut off": b'[{"text": "a"}',
        "no JSON": b"text",
        "lines of objects": b'{"text": "a"}\n{"text": "b"}\n',
        "a key twice": b'{"data": [{"text": "a", "text": "b"}]}',
        "a key of the file twice": b'{"data": [{"text": "a"}], "data": [{"text": "b"}]}',
        "nested 5,000 deep": b"[" * 5000 + b"]" * 5000,
        "nested 100,000 deep": b"[" * 100_000,
        "nested 400 deep": b'[{"text": "a", "x": ' + b"[" * 400 + b"]" * 400 + b"}]",
        "a number of 5,000 digits": b'[{"text": ' + b"9" * 5000 + b"}]",
    }
    for name, raw in broken.items():
        yield from three(
            f"json: {name}", {"a.json": raw}, r"a\.json is not JSON", (0, {"malformed": 1}), r"a\.json is not JSON"
        )
    for name, raw in {
        "a number": b"5",
        "a text": b'"x"',
        "a list of texts": b'["a"]',
        "mixed": b'[{"text": "a"}, 5]',
    }.items():
        yield Case(f"json: {name}", {"a.json": raw}, "holds no list of JSON objects")
    yield Case("json: nothing", {"a.json": b""}, (0, {}))
    yield Case("json: an empty list", {"a.json": b"[]"}, (0, {}))
    yield Case("json: null", {"a.json": b"null"}, "holds no list of JSON objects")
    yield Case("json: brackets in texts", {"a.json": json.dumps([{"text": "[" * 1000}]).encode()}, (1, {}))
    yield Case("json: no such list", {"a.json": b'{"a": 1}'}, "has no key `b.c`", {"records": "b.c"})
    yield Case("json: a list in a list", {"a.json": b'{"a": [{"b": 1}]}'}, "has no key `a.b`", {"records": "a.b"})
    several = b'{"kim@example.org": [{"text": "a"}], "900101-1234567": [{"text": "b"}]}'
    yield Case("json: several lists", {"a.json": several}, r"holds several lists \(2 of other names\)")
    yield Case("json: wrong bytes", {"a.json": b'[{"text": "\xff"}]'}, "is not utf-8")
    yield Case("json: half a surrogate pair", {"a.json": b'[{"text": "a\\ud83d"}]'}, (1, {}))


# -- Parquet -----------------------------------------------------------------------------------------------------------


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **options)
    return out.getvalue()


def parquets() -> Iterator[Case]:
    rows = {"text": [f"document {i}" for i in range(500)], "id": [str(i) for i in range(500)]}
    whole = parquet(rows, compression="zstd", row_group_size=100, write_page_checksum=True)

    def table(name: str, raw: bytes, expected: str | Counts, **settings: Any) -> Case:
        return Case(f"parquet: {name}", {"a.parquet": raw}, expected, settings)

    yield table("whole", whole, (500, {}))
    for place in (0.0, 0.1, 0.5, 0.9, 0.999):
        yield table(f"cut at {place}", cut(whole, place), CUT)
    yield table("text", b"no table", CUT)
    yield table("its marks alone", b"PAR1" + bytes(8) + b"PAR1", CUT)
    yield table("a footer of 4 GB", whole[:-8] + b"\xff\xff\xff\xff" + b"PAR1", CUT)
    yield table("a bit flipped in the data", flipped(whole, 0.02, 4), CUT)
    yield table("a bit flipped in the footer", flipped(whole, 0.96, 6), f"{CUT}|has no column")
    yield table("no rows", parquet({"text": pa.array([], pa.string())}), (0, {}))
    yield table("no column `text`", parquet({"body": ["a"]}), r"no column `text` \(there are body\)")
    yield table("data for names of columns", parquet({"kim@example.org": ["a"]}), r"\(there are 1 of other names\)")
    yield table("texts that are lists", parquet({"text": [["a", "b"], ["c"]]}), "column `text` holds no text but lists")
    yield table(
        "texts that are objects", parquet({"text": [{"a": "b"}]}), "column `text` holds no text but lists or objects"
    )
    yield table(
        "texts that are maps",
        parquet({"text": pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string()))}),
        "column `text` holds no text",
    )
    yield table("licences that are lists", parquet({"text": ["a"], "license": [["MIT", "BSD"]]}), (1, {}))
    yield table("ids that are objects", parquet({"text": ["a"], "id": [{"a": 1}]}), "column `id` holds no text")
    yield table("texts that are numbers", parquet({"text": [1, 2]}), (2, {}))
    yield table("texts that are dates", parquet({"text": pa.array([1], pa.timestamp("us"))}), (1, {}))
    yield table("texts that are nothing", parquet({"text": pa.nulls(2)}), (0, {"empty": 2}))
    yield table("texts of a dictionary", parquet({"text": pa.array(["a", "a"]).dictionary_encode()}), (2, {}))
    yield table("texts of decimals", parquet({"text": pa.array([1], pa.decimal128(38, 2))}), (1, {}))
    yield table(
        "texts of large decimals",
        parquet({"text": pa.array([1], pa.decimal256(60, 2))}),
        r"`text` holds no text but decimal256",
    )
    yield table(
        "texts that are durations",
        parquet({"text": pa.array([1], pa.duration("us"))}),
        r"`text` holds no text but duration\[us\]",
    )
    yield table("texts that are half floats", parquet({"text": pa.array([1.5], pa.float16())}), (1, {}))
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    out = io.BytesIO()
    pq.write_table(twice, out)
    yield table("two columns `text`", out.getvalue(), "columns 1 and 2 have the same name")
    bad = {"a.parquet": parquet({"text": pa.array([b"\xff", b"fine"], pa.binary())})}
    yield from three(
        "parquet: wrong bytes", bad, "not utf-8 at column `text` of row 1", (1, {"invalid_encoding": 1}), (2, {})
    )
    yield table("a name with NUL", parquet({"text": ["a"], "x\0y": ["b"]}), (1, {}))
    yield table("another name of a column", parquet({"Text": ["a"]}), "perhaps `Text`")
    yield table("in a gzip", gzip.compress(whole), CUT)


# -- web archives ------------------------------------------------------------------------------------------------------


def record(body: bytes, length: int | None = None, kind: bytes = b"conversion", **headers: bytes) -> bytes:
    said = len(body) if length is None else length
    head = b"WARC/1.0\r\nWARC-Type: %s\r\nContent-Length: %d\r\n" % (kind, said)
    more = b"".join(b"%s: %s\r\n" % (key.replace("_", "-").encode(), value) for key, value in headers.items())
    return head + more + b"\r\n" + body + b"\r\n\r\n"


def web_archives() -> Iterator[Case]:
    two = record(b"text one") + record(b"text two")
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nplain text"
    for ending in ("warc", "wet"):

        def warc(name: str, raw: bytes, expected: str | Counts, ending: str = ending) -> Case:
            return Case(f"{ending}: {name}", {f"a.{ending}": raw}, expected)

        yield warc("whole", two, (2, {}))
        yield warc("nothing", b"", (0, {}))
        yield warc("text", b"no archive\r\n", "is no web archive")
        yield warc("cut in a text", two[:-8], CUT)
        yield warc("cut in a header", two[: len(two) // 2 + 20], f"{CUT}|is no web archive")
        yield warc("a record longer than it says", record(b"text one and more", 4) + record(b"b"), CUT)
        yield warc("a record shorter than it says", record(b"text", 40) + record(b"b"), f"{CUT}|is no web archive")
        yield warc("a record without length", two.replace(b"Content-Length", b"Content-Height", 1), CUT)
        yield warc("a length that is no number", two.replace(b"Length: 8", b"Length: \xb2", 1), CUT)
        yield warc("a length of 5,000 digits", two.replace(b"Length: 8", b"Length: " + b"9" * 5000, 1), CUT)
        yield warc("a negative length", record(b"text", -5), CUT)
        yield warc("a text of no encoding", record(b"\xff\xfe"), (1, {}))
        yield warc("an empty text", record(b""), (0, {"empty": 1}))
        yield warc("a page", record(page, kind=b"response", WARC_Target_URI=b"http://a/"), (1, {}))
        yield warc(
            "a page that is no HTTP", record(b"garbage", kind=b"response", WARC_Target_URI=b"http://a/"), (0, {})
        )
        yield warc("another kind of record", record(b"x", kind=b"metadata"), (0, {}))
    packed = gzip.compress(record(b"text one")) + gzip.compress(record(b"text two"))
    yield Case("warc.gz: whole", {"a.warc.gz": packed}, (2, {}))
    yield Case("warc.gz: cut off", {"a.warc.gz": packed[:-12]}, CUT)
    yield Case("warc.gz: a bit flipped", {"a.warc.gz": flipped(packed, 0.7, 1)}, CUT)


def files() -> Iterator[Case]:
    yield from texts()
    yield from csvs()
    yield from tsvs()
    yield from json_lines()
    yield from json_values()
    yield from parquets()
    yield from web_archives()

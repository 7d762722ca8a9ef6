"""Broken files of every kind that hold somebody's data where the mistake is."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator

import pyarrow as pa

from tests.faults.hostile_files import parquet, record
from tests.faults.hostile_packs import both_headers, pax, tarred, zipped

EMAIL, NUMBER, PERSON = "kim.minsu@example.org", "900101-1234567", "홍길동"
SECRETS = (EMAIL, NUMBER, PERSON, NUMBER[7:])
ROW = f"{PERSON}, {EMAIL}, {NUMBER}"


def holds_a_secret(said: str | bytes) -> list[str]:
    """Those of the planted values that are in what was written, in plain or as Python or JSON would show them."""
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    forms = {
        form: secret for secret in SECRETS for form in (secret, repr(secret.encode())[2:-1], json.dumps(secret)[1:-1])
    }
    return sorted({secret for form, secret in forms.items() if form in text})


def planted() -> Iterator[tuple[str, dict[str, bytes]]]:
    """(what is wrong, files) of sources that cannot be read as they are."""
    fields = ROW.encode().replace(b", ", b",")
    header = b"text,question,answer\n"
    yield "csv: too many fields", {"a.csv": header + fields + b"," + fields + b"\n"}
    yield "csv: too few fields", {"a.csv": header + EMAIL.encode() + b"\n"}
    yield "csv: no header", {"a.csv": fields + b"\n" + fields + b"\n"}
    yield "csv: one word for a header", {"a.csv": PERSON.encode() + b"\n" + fields + b"\n"}
    yield "csv: an open quote", {"a.csv": header + b'"' + fields + b"\n" + fields + b"\n"}
    yield "csv: a quote closed later", {"a.csv": header + b'"' + fields + b'\n"' + fields + b'"\n'}
    yield "csv: wrong bytes", {"a.csv": header + b"\xff" + fields.replace(b"@", b"\xff") + b"\n"}
    yield "csv: another encoding", {"a.csv": header + ROW.replace(", ", ",").encode("cp949") + b"\n"}
    yield "csv: two columns of a name", {"a.csv": b"text,question,answer,text,question\n" + fields + b",a,b\n"}
    tabs = fields.replace(b",", b"\t")
    yield "tsv: too many fields", {"a.tsv": header.replace(b",", b"\t") + tabs + b"\t" + tabs + b"\n"}
    yield "tsv: too few fields, with CR", {"a.tsv": header.replace(b",", b"\t") + b"a\r" + EMAIL.encode() + b"\n"}
    yield "tsv: no header", {"a.tsv": tabs + b"\n" + tabs + b"\n"}
    yield "tsv: CR line ends", {"a.tsv": tabs + b"\r" + tabs + b"\r"}
    for name, line in {
        "cut off": json.dumps({"text": ROW}, ensure_ascii=False)[:-2],
        "no JSON": ROW,
        "a text": json.dumps(ROW),
        "a key twice": f'{{"text": "{ROW}", "text": "{ROW}"}}',
        "somebody as a key, twice": f'{{"text": "a", "question": 1, "{EMAIL}": 1, "{EMAIL}": 2, "text": "b"}}',
        "somebody as a key": f'{{"{EMAIL}": "{NUMBER}", "{PERSON}1900": 1}}',
        "a control character": f'{{"text": "{ROW}\x01"}}',
        "a wrong escape": f'{{"text": "{ROW}\\{PERSON}"}}',
        "a long number": f'{{"text": {NUMBER.replace("-", "") * 500}}}',
    }.items():
        yield f"jsonl: {name}", {"a.jsonl": line.encode() + b"\n"}
        yield f"json: {name}", {"a.json": b"[" + line.encode() + b"]"}
    yield "jsonl: wrong bytes", {"a.jsonl": f'{{"text": "{ROW}'.encode() + b'\xff"}\n'}
    lists = {EMAIL: [{"text": "a"}], NUMBER: [{"text": "b"}]}
    yield "json: several lists", {"a.json": json.dumps(lists).encode()}
    yield "json: a list of texts", {"a.json": json.dumps([ROW]).encode()}
    yield "parquet: cut off", {"a.parquet": parquet({"text": [ROW]}, compression="none")[:-30]}
    yield "parquet: no such column", {"a.parquet": parquet({EMAIL: [ROW], NUMBER: [1]})}
    yield "parquet: lists", {"a.parquet": parquet({"text": [[ROW]], "question": [[ROW]], EMAIL: [1]})}
    yield "parquet: wrong bytes", {"a.parquet": parquet({"text": pa.array([EMAIL.encode() + b"\xff"])})}
    yield "parquet: durations", {"a.parquet": parquet({"text": pa.array([9001011234567], pa.duration("us"))})}
    yield "text: wrong bytes", {"a.txt": ROW.encode() + b"\xff" + ROW.encode()}
    yield "text: NUL", {"a.txt": ROW.encode() + b"\0"}
    yield "text: another encoding", {"a.txt": ROW.encode("cp949")}
    yield "html: wrong bytes", {"a.html": f"<p>{ROW}".encode() + b"\xff</p>"}
    yield "warc: no archive", {"a.warc": ROW.encode() + b"\r\n" + ROW.encode()}
    yield "warc: a record longer than it says", {"a.warc": record(ROW.encode(), 5) + record(b"b")}
    yield "warc: a record shorter than it says", {"a.warc": record(ROW.encode(), 999)}
    yield "warc: a header that is none", {"a.warc": b"WARC/1.0\r\n" + ROW.encode() + b"\r\n\r\n" + ROW.encode()}
    yield "wet.gz: no archive", {"a.wet.gz": gzip.compress(ROW.encode())}
    yield "gz: cut off", {"a.jsonl.gz": gzip.compress(ROW.encode() * 50)[:-8]}
    yield "gz: no gzip behind its mark", {"a.txt.gz": gzip.compress(b"a") + ROW.encode()}
    yield "bz2: a broken block", {"a.txt.bz2": b"BZh9" + ROW.encode()}
    yield "xz: a broken block", {"a.txt.xz": b"\xfd7zXZ\0" + ROW.encode()}
    yield "zst: a broken block", {"a.txt.zst": b"\x28\xb5\x2f\xfd" + ROW.encode()}
    yield "zip: text", {"a.zip": ROW.encode()}
    yield "zip: a wrong checksum", {"a.zip": both_headers(zipped({"a.txt": ROW.encode()}, 0), 14, 16, b"\1\2\3\4")}
    yield "zip: a broken file within", {"a.zip": zipped({"a.jsonl": ROW.encode()})}
    yield "tar: text", {"a.tar": ROW.encode() * 20}
    yield "tar: an extended header that is wrong", {"a.tar": pax({"size": ROW.encode()})}
    yield "tar: cut off", {"a.tar": tarred({"a.txt": ROW.encode()})[:512] + ROW.encode()}
    yield "tar: a broken file within", {"a.tar": tarred({"a.jsonl": ROW.encode()})}


def own_source(raises: str) -> bytes:
    """A source of one's own whose code raises an exception that quotes what it reads."""
    code = io.StringIO()
    code.write(f"def records(settings):\n    row = {ROW!r}\n    yield {{'text': 'fine'}}\n    {raises}\n")
    return code.getvalue().encode()


OWN = ("int(row)", "float(row)", "raise ValueError(row)", "raise RuntimeError(row)", "{}[row]", "row.encode('ascii')",
       "import json; json.loads(row)", "yield {'text': 5, 'id': row}", "yield {'text': 'a', 'meta': {row: {1}}}",
       "yield row", "open(row)")  # fmt: skip

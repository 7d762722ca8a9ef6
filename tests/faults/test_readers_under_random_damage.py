"""Readers under damage that nobody thought of: whatever is in a file, it is read or refused in a sentence.

hypothesis changes good files of every format and wrapping at random, and makes up recipes: 10 of each, and 1,000 where
`SLM_FAULTS=all` is set, as `make test-faults` does.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.conversations.conversation_source import parse_source as parse_set
from pipeline.curation import contamination
from pipeline.curation.evaluation_items import items_of
from pipeline.errors import UserError
from pipeline.ingest.csv_blocks import record_blocks, records_in
from pipeline.ingest.records import Reading, Tally
from pipeline.recipe import parse
from tests.faults.hostile_files import files
from tests.faults.hostile_packs import packs
from tests.faults.reading import read_all, source

EXAMPLES = 1000 if os.environ.get("SLM_FAULTS") == "all" else 10
often = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)

GOOD = {
    name: raw
    for case in (*packs(), *files())
    if isinstance(case.expected, tuple)
    and case.name.endswith((": whole", ": CR LF", ": quotes within quotes", ": an open quote"))
    for name, raw in case.files.items()
}
GOOD |= {
    "a.json": b'[{"text": "a", "id": "1"}, {"text": "b"}]',
    "b.csv": b'text,id\n"a, ""b""",1\n"c\nd",2\n',
    "a.txt": "한글 text\n".encode() * 20,
    "a.html": b"<html><body><p>some text of a page</p></body></html>",
}
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "repeat", "remove"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=6) | st.sampled_from([b'"', b"\n", b"\r", b"\0", b"\xff", b"[[[[", b"9" * 20]),
    ),
    min_size=1,
    max_size=4,
)


def changed(raw: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    for how, place, more in changes:
        at = int(place * max(len(raw), 1))
        if how == "cut":
            raw = raw[:at]
        elif how == "insert":
            raw = raw[:at] + more + raw[at:]
        elif how == "repeat":
            raw = raw[:at] + raw[max(at - 50, 0) : at] + raw[at:]
        elif how == "remove":
            raw = raw[:at] + raw[at + len(more) :]
        elif raw:
            raw = (
                raw[: min(at, len(raw) - 1)] + bytes([raw[min(at, len(raw) - 1)] ^ (1 << more[0] % 8)]) + raw[at + 1 :]
            )
    return raw


def as_source(path: Path, cache: Path, invalid: str) -> Any:
    return read_all(source(path, invalid=invalid), cache)


def as_conversations(path: Path, cache: Path, invalid: str) -> Any:
    chosen = parse_set({"name": "s", "path": str(path), "invalid": invalid})
    return list(chosen.read(chosen.contents(cache), Reading(cache, Tally(), lambda line: None)))


def as_items(path: Path, cache: Path, invalid: str) -> Any:
    sets = contamination.Settings.model_validate({"sets": [{"name": "s", "path": str(path), "invalid": invalid}]}).sets
    return list(items_of(sets[0], sets[0].contents(cache), Reading(cache, Tally(), lambda line: None)))


def read_or_refused(read: Callable[[Path, Path, str], Any], name: str, raw: bytes, invalid: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in" / name
        path.parent.mkdir()
        path.write_bytes(raw)
        try:
            read(path, Path(folder), invalid)
        except UserError as error:
            assert name in str(error) or "no file" in str(error)


@pytest.mark.parametrize("name", sorted(GOOD))
@often
@given(changes=CHANGES, invalid=st.sampled_from(["error", "skip", "replace"]))
def test_a_source_is_read_or_refused_in_a_sentence(name: str, changes: list[Any], invalid: str) -> None:
    read_or_refused(as_source, name, changed(GOOD[name], changes), invalid)


@pytest.mark.parametrize("read", [as_conversations, as_items], ids=lambda read: read.__name__)
@often
@given(name=st.sampled_from(sorted(GOOD)), changes=CHANGES, invalid=st.sampled_from(["error", "skip", "replace"]))
def test_a_set_of_rows_is_read_or_refused_in_a_sentence(read: Any, name: str, changes: list[Any], invalid: str) -> None:
    read_or_refused(read, name, changed(GOOD[name], changes), invalid)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "txt", "warc", "parquet", "zip", "tar", "txt.zst"])
@often
@given(raw=st.binary(max_size=300) | st.text(st.sampled_from('"\n\r\t,a{}[]:\\u글 1'), max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused_in_a_sentence(ending: str, raw: bytes) -> None:
    read_or_refused(as_source, f"a.{ending}", raw, "error")


# -- CSV: rows are neither lost nor joined -----------------------------------------------------------------------------

FIELD = st.text(st.sampled_from('ab,"\n\r 글'), max_size=6)


@often
@given(rows=st.lists(st.lists(FIELD, min_size=3, max_size=3), min_size=1, max_size=8), size=st.integers(1, 40))
def test_blocks_of_csv_are_whole_records_however_they_are_cut(rows: list[list[str]], size: int) -> None:
    import csv
    import io

    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    raw = out.getvalue().encode()
    blocks = list(record_blocks(io.BytesIO(raw), size))
    assert b"".join(block for block, _ in blocks) == raw
    assert [fields for block, _ in blocks for _, fields in records_in(block)] == [3] * len(rows)
    done = 0
    for block, line in blocks:
        assert line == raw[:done].count(b"\n") + 1
        done += len(block)


@often
@given(
    rows=st.lists(st.tuples(FIELD.filter(str.strip), FIELD), min_size=2, max_size=8),
    place=st.integers(0, 10**6),
)
def test_a_quote_too_many_or_too_few_never_loses_a_row(rows: list[tuple[str, str]], place: int) -> None:
    """One quote of a well-formed file is taken away: it is refused, or no row has become part of another one.

    There may be more: where a field without its quote holds a line end, one row is two.
    """
    import csv
    import io

    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([("text", "id"), *rows])
    raw = out.getvalue().encode()
    quotes = [found.start() for found in re.finditer(b'"', raw)]
    at = quotes[place % len(quotes)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(raw[:at] + raw[at + 1 :])
        try:
            texts, skipped = read_all(source(path), Path(folder))
        except UserError:
            return
        assert len(texts) + sum(skipped.values()) >= len(rows)


# -- recipes -----------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        "name", "sources", "kind", "files", "http", "bundled", "huggingface", "python", "path", "url", "lang", "from",
        "wikipedia", "model", "layers", "context", "seed", "curation", "order", "further", "contamination", "sets",
        "columns", "text", "instructions", "sft", "pretraining", "tokens", "evaluation", "base",
    ]
)  # fmt: skip
SCALARS = st.one_of(
    WORDS, st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.dates(), st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | SCALARS, inner, max_size=4),
    max_leaves=12,
)


def loaded_or_refused(text: str) -> None:
    try:
        parse(text)
    except UserError as error:
        assert str(error)


@often
@given(keys=st.dictionaries(WORDS, VALUES, max_size=5), source_keys=st.dictionaries(WORDS, VALUES, max_size=4))
def test_any_recipe_is_loaded_or_refused_in_sentences(keys: dict[str, Any], source_keys: dict[str, Any]) -> None:
    import yaml

    made = {"name": "mine", "sources": [{"name": "a", "kind": "files", "path": "x", **source_keys}], **keys}
    loaded_or_refused(yaml.safe_dump(made, allow_unicode=True))


@often
@given(st.text(st.sampled_from("ab:-? \n[]{}&*!|>'\"%@`#,0129.~<="), max_size=60))
def test_any_text_is_a_recipe_or_refused_in_sentences(text: str) -> None:
    loaded_or_refused(f"name: mine\nsources: [{{name: a, kind: files, path: x}}]\n{text}")
    loaded_or_refused(text)

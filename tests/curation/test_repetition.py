"""`repetition_edits`: sentences of many documents are found at their positions and cut, and nothing else is."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.curation.curated import apply_edits
from pipeline.curation.duplicates import repetition
from pipeline.curation.duplicates.sentences import sentences_of
from pipeline.documents import execution
from pipeline.documents.execution import ExecutionSettings
from pipeline.store.artifact import RUN_SPECIFIC
from pipeline.store.store import Store
from tests.curation.written_documents import outcome, raw_documents
from tests.making import IN_PROCESS, after, context

FOOTER = "All product names and logos are the property of their respective owners."
KOREAN = "모든 상표와 로고는 각 소유자의 자산입니다."
COMMENT = "# This file was generated automatically; do not edit it by hand."


def pieces(text: str, code: bool = False) -> list[str]:
    found = sentences_of(pl.Series([text]), np.array([code]))
    return [text[start:end] for start, end in zip(found.start, found.end, strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One here. Two there!  Three?", ["One here.", "Two there!", "Three?"]),
        ("He said \"No.\" Then he left. (He did.) Gone.", ['He said "No."', "Then he left.", "(He did.)", "Gone."]),
        ("The U.S. Senate met Dr. Smith at 3.14 p.m. Fine.", ["The U.S. Senate met Dr. Smith at 3.14 p.m. Fine."]),
        ("Mr. Lee of No. 5. Fine.", ["Mr. Lee of No. 5.", "Fine."]),
        ("no capital. after it", ["no capital. after it"]),
        ("한국어 문장이다. 다음 문장! “인용이다.”", ["한국어 문장이다.", "다음 문장!", "“인용이다.”"]),
        ("끝…  또", ["끝…", "또"]),
        ("a line\n\n  another line\r\nthird", ["a line", "another line", "third"]),
        ("日本語の文。 次の文。", ["日本語の文。", "次の文。"]),
        ("", []),
        (" \n ", []),
        (".", ["."]),
        ("... ... a", ["...", "... a"]),
    ],
)  # fmt: skip
def test_where_sentences_end(text, expected):
    assert pieces(text) == expected


def test_in_code_the_line_is_the_unit():
    assert pieces("x = 1. \ny = f(2). z\n", code=True) == ["x = 1.", "y = f(2). z"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet='ab. !?\n\t각e\u0301\u1112\u1161\u11ab。😀")A', max_size=40), max_size=6))
def test_sentences_are_all_of_the_text_in_order_and_within_lines(texts):
    found = sentences_of(pl.Series(texts, dtype=pl.String), np.zeros(len(texts), bool))
    for number, text in enumerate(texts):
        here = found.document == number
        spans = list(zip(found.start[here].tolist(), found.end[here].tolist(), found.after[here].tolist(), strict=True))
        assert "".join("".join(text[a:b] for a, b, _ in spans).split()) == "".join(text.split())
        assert all(a < b <= after <= c for (a, b, after), (c, *_) in itertools.pairwise(spans))
        assert all("\n" not in text[a:b] and text[b:after].strip() == "" for a, b, after in spans)


def test_white_space_and_composition_do_not_matter_and_case_does():
    texts = ["각 나라의 말.", "각  나라의\t말.", "\u1100\u1161\u11a8 나라의 말.", "각 나라의 말!"]
    hashes = sentences_of(pl.Series(texts), np.zeros(4, bool)).hash
    assert hashes[0] == hashes[1] == hashes[2] != hashes[3]


def filler(number: int) -> str:
    return f"Document {number} says what it alone says, in so many words of its own number {number * 7}."


def decide(tmp_path, texts, parts=2, name="store", lang=None, where=IN_PROCESS, **given):
    store = Store(tmp_path / name, "r")
    rows = [{"text": text, "source_id": str(number), "lang": lang} for number, text in enumerate(texts)]
    raw = raw_documents(store, rows, parts)
    made = repetition.make(context(store, execution=where), after(raw), repetition.Settings(**given))
    return made, outcome(raw, made)


def cuts(row: dict) -> list[str]:
    return [row["text"][edit["start"] : edit["end"]] for edit in row["edits"] or []]


def test_a_sentence_of_more_documents_than_allowed_is_cut_from_all_of_them(tmp_path):
    texts = [f"{filler(number)} {FOOTER} {filler(-number)}" for number in range(12)]
    texts[3] = f"{filler(3)}\n{KOREAN}\n{filler(-3)} {filler(50)}"
    for allowed, expected in ((10, 11), (11, 0)):
        made, table = decide(tmp_path, texts, name=str(allowed), max_documents=allowed)
        hit = [row for row in table.values() if row["edits"]]
        assert len(hit) == expected == made.counts["edits"].get("repeated_sentence", 0)
        assert {tuple(cuts(row)) for row in hit} == ({(FOOTER + " ",)} if expected else set())
        for row in hit:
            assert row["keep"] and row["repeated"][0]["documents"] == 11
            assert row["repeated"][0]["first"] == min(other["doc_id"] for other in hit)


def test_many_times_in_one_document_is_not_in_many_documents(tmp_path):
    texts = [filler(1) + (" " + FOOTER) * 20, *(filler(number) + " " + FOOTER for number in range(2, 6))]
    _, table = decide(tmp_path, texts, max_documents=5)
    assert not any(row["edits"] for row in table.values())
    _, table = decide(tmp_path, texts, name="four", max_documents=4)
    assert len(table["0"]["edits"]) == 20


def test_a_cut_line_leaves_no_empty_line(tmp_path):
    texts = [f"{filler(n)}\n  {KOREAN}  \n{filler(n + 100)}" for n in range(12)]
    _, table = decide(tmp_path, texts, lang="ko")
    for number, text in enumerate(texts):
        edits = pl.DataFrame(table[str(number)]["edits"]).with_columns(row=pl.lit(0))
        left = apply_edits(pl.Series([text]), edits)[0]
        assert left == f"{filler(number)}\n  {filler(number + 100)}"


def test_short_sentences_stay(tmp_path):
    texts = [f"Thank you. {filler(number)} 감사합니다." for number in range(30)]
    _, table = decide(tmp_path, texts)
    assert not any(row["edits"] for row in table.values())


def test_in_code_only_comments_go(tmp_path):
    statement = "    return some_function(of_many, arguments_that, are_long_enough)"
    texts = [
        f"#!/usr/bin/env python3 with a long first line\n{COMMENT}\ndef f{n}():\n{statement}\n" + "x = 1\n" * 20
        for n in range(30)
    ]
    _, table = decide(tmp_path, texts, lang="code")
    assert {tuple(cuts(row)) for row in table.values()} == {(COMMENT + "\n",)}


def test_what_cuts_leave_too_short_is_removed(tmp_path):
    texts = [FOOTER + " Only this.", *(f"{FOOTER} {filler(number)}" for number in range(12))]
    made, table = decide(tmp_path, texts)
    assert (table["0"]["keep"], table["0"]["reason"], table["0"]["score"]) == (False, "too_short_after_cuts", 2)
    assert made.counts["removed"] == {"too_short_after_cuts": 1} and set(made.counts["removed"]) == set(
        repetition.REASONS
    )
    _, table = decide(tmp_path, texts, name="off", min_words_left=0)
    assert table["0"]["keep"]


def test_the_first_document_keeps_it_if_asked(tmp_path):
    texts = [f"{filler(number)} {FOOTER} {filler(number + 50)}" for number in range(12)]
    _, table = decide(tmp_path, texts, keep_first=True)
    whole = [row["doc_id"] for row in table.values() if not row["edits"]]
    assert whole == [min(row["doc_id"] for row in table.values())]


def test_windows_of_three_as_in_c4(tmp_path):
    three = "A first sentence here. A second one here. A third."
    texts = [
        f"{filler(1)} {three} {filler(2)}",
        f"{filler(3)} {three} {filler(4)}",
        f"{filler(5)} A second one here. {filler(6)}",
    ]
    _, table = decide(tmp_path, texts, window=3, max_documents=1, keep_first=True)
    hit = [row for row in table.values() if row["edits"]]
    assert len(hit) == 1 and cuts(hit[0]) == [three + " "]


def test_order_fragments_and_memory_change_nothing(tmp_path, monkeypatch):
    texts = [f"{filler(number)} {FOOTER} {filler(number % 5)} {KOREAN}" for number in range(40)]
    first, table = decide(tmp_path, texts, 1, name="one")
    monkeypatch.setattr(repetition, "COUNTED_AT_ONCE", 7)
    other, same = decide(tmp_path, texts, 5, name="five")
    for name in table:
        assert {k: table[name][k] for k in ("keep", "edits", "repeated")} == {
            k: same[name][k] for k in ("keep", "edits", "repeated")
        }
    decide(tmp_path, texts[:20], 5, name="steps")
    again, _ = decide(tmp_path, texts, 5, name="steps")
    assert {k: v for k, v in again.manifest.items() if k not in RUN_SPECIFIC} == {
        k: v for k, v in other.manifest.items() if k not in RUN_SPECIFIC
    }
    assert first.counts == other.counts
    monkeypatch.setattr(repetition, "COUNTING_TASKS", 3)
    in_ranges, _ = decide(tmp_path, texts, 5, name="ranges")
    assert {k: v for k, v in in_ranges.manifest.items() if k not in RUN_SPECIFIC} == {
        k: v for k, v in other.manifest.items() if k not in RUN_SPECIFIC
    }
    monkeypatch.setattr(execution, "WORTH_A_PROCESS_BYTES", 1)
    there, _ = decide(tmp_path, texts, 5, name="there", where=ExecutionSettings(workers=2))
    assert {k: v for k, v in there.manifest.items() if k not in RUN_SPECIFIC} == {
        k: v for k, v in other.manifest.items() if k not in RUN_SPECIFIC
    }


def test_however_many_sentences_few_tasks_look_at_them():
    few, many = repetition.counting_tasks(10**6), repetition.counting_tasks(10**10)
    assert few == [(0, 2**64 - 1, 1)]
    assert len(many) == repetition.COUNTING_TASKS
    assert many[0][0] == 0 and many[-1][1] == 2**64 - 1
    assert all(one[1] + 1 == other[0] for one, other in itertools.pairwise(many))
    for first, last, ranges in many:
        assert (last - first + 1) / 2**64 * 10**10 / ranges <= 1.01 * repetition.COUNTED_AT_ONCE


def test_another_limit_reads_no_text_for_sentences(tmp_path, monkeypatch):
    texts = [f"{filler(number)} {FOOTER} {filler(number + 50)}" for number in range(12)]
    decide(tmp_path, texts)
    monkeypatch.setattr(repetition, "sentences_of", lambda *_: pytest.fail("sentences were looked for again"))
    _, table = decide(tmp_path, texts, max_documents=3)
    assert all(row["edits"] for row in table.values())


def test_switched_off_it_edits_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(repetition, "sentences_of", lambda *_: pytest.fail("text was read"))
    made, table = decide(tmp_path, [f"{filler(n)} {FOOTER}" for n in range(12)], enabled=False)
    assert made.counts["edits"] == {} and all(row["keep"] for row in table.values())


def test_rulers_and_addresses_stay(tmp_path):
    lines = ["#" * 70, "# " + "-" * 60, "https://example.org/a/long/address/that/many/documents/name"]
    texts = ["\n".join([filler(number), *lines, filler(number + 100)]) for number in range(12)]
    _, table = decide(tmp_path, texts)
    assert not any(row["edits"] for row in table.values())


def test_code_between_fences_stays_and_its_comments_go(tmp_path):
    block = (
        "```python\nfrom package_of_everyone import AnalyzerEngine\n# A comment that is in each of the documents.\n```"
    )
    texts = [f"{filler(number)}\n{block}\n{FOOTER}\n{filler(number + 100)}" for number in range(12)]
    _, table = decide(tmp_path, texts)
    expected = ("# A comment that is in each of the documents.\n", FOOTER + "\n")
    assert {tuple(cuts(row)) for row in table.values()} == {expected}
    open_ended = [f"```\nfrom package_of_everyone import AnalyzerEngine\n{filler(n)}" for n in range(12)]
    _, table = decide(
        tmp_path, [*open_ended, *(f"{filler(n)} {FOOTER} {filler(n + 100)}" for n in range(20, 32))], name="b"
    )
    assert {tuple(cuts(row)) for row in table.values()} == {(), (FOOTER + " ",)}  # a fence ends with its document

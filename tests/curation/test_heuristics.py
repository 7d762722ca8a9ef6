"""Heuristics: a tiny text for every reason, good text of each kind untouched, repetition compared with a simple
count."""

import random
from collections import Counter

import numpy as np
import polars as pl
import pytest

from pipeline.curation.filters import heuristics, published
from pipeline.curation.filters.gopher_repetition import DUPLICATE, TOP, occurred_before, repetition_columns
from pipeline.curation.rules import decided_by
from pipeline.text.classes import pieces_of
from pipeline.text.code_lines import without_blocks
from pipeline.text.prose import prose_of
from pipeline.text.segments import lines, paragraphs
from tests.curation.filter_texts import ENGLISH, JAVA, KOREAN, PYTHON, frame, reasons, shared

SENTENCES = ENGLISH.split(". ")
SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]


def made(start: int, count: int) -> list[str]:
    """Distinct words, numbered from `start`."""
    size = len(SYLLABLES)
    return [SYLLABLES[i % size] + SYLLABLES[i // size % size] + "r" for i in range(start, start + count)]


def prose(start: int, count: int) -> str:
    """Made-up words in sentences of eight, with stop words between them."""
    chosen = made(start, count)
    return " ".join(
        f"The {' and '.join(chosen[i : i + 4])} to {' of '.join(chosen[i + 4 : i + 8])}." for i in range(0, count, 8)
    )


def each_line(form: str, count: int, start: int = 0) -> str:
    """Lines of a form, filled with made-up words."""
    places = form.count("{}")
    return "\n".join(form.format(*made(start + i * places, places)) for i in range(count))


TRIPS = {
    "gopher_short": "Too short to say much. It has three sentences. That is all of it.",
    "gopher_word_length": prose(0, 64) + " " + " ".join(f"{'qxzj' * 9}{i}" for i in range(30)),
    "gopher_symbols": prose(0, 64) + " " + " ".join(f"#{word}" for word in made(100, 30)),
    "gopher_bullets": each_line("- {} and {} have a {} {} of {}.", 12),
    "gopher_ellipsis_lines": each_line("The {} of {} and {} have a {} {} {} of {}...", 12),
    "gopher_alpha_words": prose(0, 64) + " " + " ".join(str(i * 7919) for i in range(80)),
    "gopher_stop_words": ". ".join(" ".join(made(i * 9, 9)) for i in range(8)) + ".",
    "gopher_dup_lines": prose(0, 64).replace(". ", ".\n") + "\nThis line is said once more." * 7,
    "gopher_dup_paragraphs": "\n\n".join(
        [*each_line("The {} of {} and {} to that.", 9, 300).split("\n"), *["A short end to it.\nAnd a bit more."] * 6]
    )
    + "\n\n" + prose(0, 128),
    "gopher_top_ngram": prose(0, 64) + " the morning tide" * 20 + ".",
    "gopher_dup_ngrams": prose(0, 32) + f" {SENTENCES[1]}. {prose(64, 16)} {SENTENCES[1]}.",
    "c4_lorem_ipsum": ENGLISH + " Lorem ipsum dolor sit amet.",
    "c4_few_sentences": prose(0, 80).replace(".", ""),
    "fineweb_line_ends": each_line("the {} and {} of {} have {}", 20),
    "fineweb_short_lines": each_line("The {} of {}.", 30) + "\n" + prose(100, 16),
    "fineweb_dup_line_chars": each_line(
        "The {} of {} and {} have a {} to {} of {}.\nThe {} of {} and {}.\n{} and {} to {} the {}.\n"
        "It was said once again.", 4,
    ),
    "fineweb_list": each_line("{}{} {}{} {}{}.", 15) + "\n" + each_line("{} of the", 8, 90),
    "markup": ENGLISH + "".join(f"<div class='column column-{i} wide'></div>" for i in range(40)),
    "code_line_length": PYTHON + "TABLE = [" + ", ".join(str(i) for i in range(600)) + "]\n",
    "code_alnum": "".join(f"{name} = [{'-+*/|' * 12}]\n" for name in "abcdefgh"),
    "code_generated": "# This file was automatically generated. Do not edit.\n" + PYTHON,
}  # fmt: skip


@pytest.mark.parametrize("reason", TRIPS)
def test_each_reason_is_given_by_a_text_that_breaks_that_rule(reason):
    assert reasons(heuristics, frame(TRIPS[reason], lang="en")) == [reason]


def test_the_bracket_rule_is_off_and_can_be_switched_on():
    text = frame(ENGLISH + " A {placeholder} stood there.")
    assert reasons(heuristics, text) == [None]
    assert reasons(heuristics, text, c4={"curly_bracket": True}) == ["c4_curly_bracket"]


def test_every_reason_is_tested():
    ours = {rule.name for rule in heuristics.RULES if published.SWITCH not in rule.switches}
    assert {*TRIPS, "c4_curly_bracket", "gopher_long"} == ours
    assert reasons(heuristics, frame(ENGLISH), gopher={"max_words": 60}) == ["gopher_long"]


def test_good_text_of_each_kind_stays():
    page = (
        f"# The ledger {{#ledger}}\n\n<div class='note'>\n\n{ENGLISH}\n\n</div>\n\n---\n\n"
        f"#### Example\n\n```python\n{PYTHON}\n```\n\n"
        f"#### Example\n\n```java\n{JAVA}\n```\n\n"
        f"See [the manual](https://example.org/a/{'b' * 80}) for the other half of it.\n"
    )
    notes = (
        "## 메모리 단편화\n\n> 할당과 해제를 반복하면서 빈 공간이 흩어지는 현상을 말함\n\n"
        + KOREAN
        + "\n\n- 외부 단편화가 발생함\n- 압축으로 해결함"
    )
    assert reasons(heuristics, frame(ENGLISH, KOREAN, PYTHON, JAVA, page, notes)) == [None] * 6


def test_a_korean_passage_cut_in_mid_sentence_stays():
    assert reasons(heuristics, frame(KOREAN[20:-10].replace("\n", " "))) == [None]


def test_kinds_and_null_columns():
    found = heuristics.signals(frame(ENGLISH, KOREAN, PYTHON, "港は静かだった。" * 20), heuristics.Settings(), {})
    assert found["kind"].to_list() == ["spaced", "ko", "code", "unspaced"]
    assert found["dup_5"].is_null().to_list() == [False, False, True, False]
    assert found["alnum"].is_null().to_list() == [True, True, False, True]


def test_the_forms_of_a_reference_may_repeat_and_spun_text_may_not():
    entries = "\n".join(
        f"## {a.title()}\nRegisters {a} {c} to be called after it has been {b}.\n"
        f"It is about {b} and what {c} {a} {b} does with {c} and {a}."
        for a, b, c in zip(made(0, 30), made(100, 30), made(200, 30), strict=True)
    )
    spun = " ".join(entries.replace("#", "").split())
    chosen = heuristics.Settings()
    signals = heuristics.signals(frame(entries, spun, lang="en"), chosen, {})
    assert signals["dup_5"].is_between(0.15, 0.35).all() and signals["lines"].to_list() == [90, 1]
    rule = [rule for rule in heuristics.RULES if rule.name == "gopher_dup_ngrams"]
    assert decided_by(signals, rule, chosen)["keep"].to_list() == [True, False]
    strict = heuristics.Settings(repetition={"duplicate_entries": heuristics.Repetition().duplicate})
    assert decided_by(signals, rule, strict)["keep"].to_list() == [False, False]


def test_korean_is_held_to_korean_endings():
    names = " ".join(f"{a}{b}동 아파트" for a in "강남서초송파" for b in "일이삼사오육칠팔") + "."
    assert reasons(heuristics, frame(names), c4={"enabled": False}, repetition={"enabled": False}) == [
        "gopher_stop_words"
    ]


def test_a_group_of_rules_can_be_switched_off_and_sources_spared():
    short = frame(TRIPS["gopher_short"])
    assert reasons(heuristics, short, gopher={"enabled": False}) == [None]
    assert reasons(heuristics, short, spare=["s"]) == [None]
    assert reasons(heuristics, short, spare=["other"]) == ["gopher_short"]


def test_rows_keep_their_order_over_chunks(monkeypatch):
    texts = [ENGLISH, PYTHON, KOREAN, TRIPS["gopher_short"]] * 5
    whole = heuristics.signals(frame(*texts), heuristics.Settings(), {})
    monkeypatch.setattr(heuristics, "CHUNK_BYTES", 1500)
    assert heuristics.signals(frame(*texts), heuristics.Settings(), {}).equals(whole)
    assert whole["kind"].to_list() == ["spaced", "code", "ko", "spaced"] * 5


def test_one_huge_line_is_judged_by_its_beginning():
    huge = ENGLISH + " and so on" * 400_000
    found = heuristics.signals(frame(huge, ENGLISH), heuristics.Settings(), {})
    assert found["words"][0] < 620_000 and found["words"][1] == len(ENGLISH.split())
    assert reasons(heuristics, frame(huge)) == ["gopher_long"]


def test_no_text_and_no_documents():
    assert reasons(heuristics, frame("", "   ")) == ["gopher_short"] * 2
    empty, one = (heuristics.signals(f, heuristics.Settings(), {}) for f in (frame(), frame(ENGLISH)))
    assert empty.height == 0 and empty.schema == one.schema


def plain_count(text: str) -> dict[str, float]:
    """The same figures, counted in the simple way."""
    parts = text.split()
    total = max(sum(map(len, parts)), 1)
    figures = {}
    for n in TOP:
        grams = Counter(tuple(parts[i : i + n]) for i in range(len(parts) - n + 1))
        most = max(grams.values(), default=0)
        longest = max((len("".join(gram)) for gram, times in grams.items() if times == most), default=0)
        figures[f"top_{n}"] = longest * most / total if most > 1 else 0.0
    for n in DUPLICATE:
        seen: set[tuple[str, ...]] = set()
        inside: set[int] = set()
        for i in range(len(parts) - n + 1):
            gram = tuple(parts[i : i + n])
            if gram in seen:
                inside.update(range(i, i + n))
            seen.add(gram)
        figures[f"dup_{n}"] = sum(len(parts[i]) for i in inside) / total
    return figures


def test_repetition_is_what_a_plain_count_gives():
    draw = random.Random(11)
    texts = [" ".join(draw.choice(["a", "bb", "ccc", "dddd"]) for _ in range(draw.randint(0, 90))) for _ in range(120)]
    texts += [TRIPS["gopher_dup_ngrams"], ENGLISH + " " + ENGLISH, ENGLISH]
    column = pl.Series(texts)
    found = repetition_columns(lines(column), paragraphs(column), pieces_of(column)[0])
    for row, text in zip(found.to_dicts(), texts, strict=True):
        assert {name: row[name] for name in plain_count(text)} == pytest.approx(plain_count(text), abs=1e-5)


def test_a_neighbour_does_not_count_as_repetition():
    column = pl.Series([ENGLISH, ENGLISH])
    found = repetition_columns(lines(column), paragraphs(column), pieces_of(column)[0])
    assert found["dup_5"].to_list() == [0.0, 0.0] and found["dup_lines"].to_list() == [0.0, 0.0]


def test_first_of_equal_pieces_did_not_stand_before():
    keys, of = np.array([7, 7, 7, 8, 7], np.uint64), np.array([0, 0, 1, 1, 1])
    assert occurred_before(keys, of).tolist() == [False, True, False, False, True]


def test_prose_is_what_a_reader_reads():
    page = (
        "# Title {#t}\n<p>Some <b>bold</b> words</p>\n---\n> quoted\n```\nx = 1\n```\n1. ##### Part\n| a | b |\n"
        "https://a.b/c end\nUse::\n\n    y = 2\n\nBack\n"
    )
    read = prose_of(without_blocks(pl.Series([page, "plain"]), pl.Series([True, False])))
    assert read[0].split() == [
        "Title",
        "Some",
        "bold",
        "words",
        "quoted",
        "Part",
        "|",
        "a",
        "|",
        "b",
        "|",
        "end",
        "Back",
    ]
    assert read[1] == "plain"


def test_markup_is_no_code_in_a_page_and_no_word_in_a_line():
    page = (
        ENGLISH
        + "\n\nWrite `<script setup>` at the top.\n\n"
        + ENGLISH.upper()
        + "\n```html\n<script>\n"
        + PYTHON
        + "</script>\n```\n"
    )
    assert heuristics.signals(frame(page), heuristics.Settings(), {})["markup"].item() < 0.05


def test_the_texts_given_are_not_changed():
    given = frame("<div>\n# A\n```\nx = 1\n```\n</div> http://a.b/c fuck", PYTHON)
    before = given.clone().rows()
    reasons(heuristics, given)
    assert given.rows() == before


def test_shared_text_is_hardly_touched():
    """Only a small share of each source of prose or code is removed."""
    table = pl.concat([pl.read_parquet(shared(f"text/{name}-00000.parquet")) for name in ("ko", "en", "code")])
    few, settings = table.gather_every(5), heuristics.Settings()
    decided = heuristics.decide(heuristics.signals(few, settings, {}), settings)
    removed = few.with_columns(~decided["keep"]).group_by("lang").agg(pl.col("keep").mean())
    assert removed["keep"].max() < 0.08, removed

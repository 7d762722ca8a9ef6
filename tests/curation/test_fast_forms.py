"""The quick ways to read a column give what the plain expressions that they stand for give."""

from __future__ import annotations

import random
import unicodedata

import numpy as np
import polars as pl
import pytest

from pipeline.curation.filters import keywords
from pipeline.text import buffers, characters, classes, code_lines, prose, words

PIECES = [
    *"abzABZ09 \t\n\r\x0b\x0c\x1c\x85\xa0\u2028\u3000<>/!-=`~#:;{}()[]*.,'\"|\\$_&@\ufeff",
    *"가힣ㄱ한글中あアé\u0308한ไทยαЖ😀\U00020000\U000323af",
    "</", "<a ", "```\n", "http://", "<script>", "</script>", "<style x", "<!--", "-->", "return ", "def f():\n",
    "::\n\n  ", "\n\n", "\n//", "--", "/*", "*/", "\n=pod", "\n=cut", "#!", "x = 1\n", "  } else {\n", "select a, b",
    "fi\n",
]  # fmt: skip


@pytest.fixture(scope="module")
def texts() -> pl.Series:
    draw = random.Random(7)
    made = ["".join(draw.choices(PIECES, k=draw.randrange(120))) for _ in range(3000)]
    return pl.Series(["", None, *made, "ab 1" * 20_000, "가나 " * 30_000], dtype=pl.String)


@pytest.mark.parametrize(
    "text",
    ["<a " + "x" * 999 + ">b", "<a " + "x" * 1000 + ">b", "<a " + "가" * 999 + ">b", "<a " + "가" * 1001 + ">b",
     "<b>" * 600 + "<a " + "x" * 1001 + ">", "<a " + "x" * 1001 + "<i>>", "<a"],
)  # fmt: skip
def test_tags_are_removed_up_to_their_longest_and_no_further(text: str) -> None:
    column = pl.Series([text, "<p>kept</p>"])
    removed = prose.without_tags(column, pl.Series([True, True]))
    assert removed.to_list() == column.str.replace_all(prose.TAGS, "").to_list()


def test_scripts_are_removed_as_with_a_word_boundary(texts: pl.Series) -> None:
    plain = r"(?ims)^[ \t]*<(?:script|style)\b[^<>]*>.*?</(?:script|style)\s*>|<!--.*?-->"
    column = pl.concat([texts, pl.Series(["<script a>x</script>y", "<scripté>x</script>y", "<script-x>x</style >y"])])
    expected = column.str.replace_all(plain, "")
    assert column.str.replace_all(prose.SCRIPTS_AND_STYLES, "").equals(expected, null_equal=True)


def test_code_is_counted_by_line_as_by_one_expression_over_the_text(texts: pl.Series) -> None:
    shape = "(?:" + "|".join(code_lines._SHAPES + code_lines._FURTHER_SHAPES) + ")"
    counts = pl.DataFrame(code_lines._line_counts(texts), schema=code_lines.LINE_COUNTS)
    plain = {
        "code_lines": texts.str.count_matches(rf"(?m)^[ \t]*{shape}"),
        "lines": texts.str.count_matches(r"(?m)^[ \t]*\S") - texts.str.count_matches(r"(?m)^[ \t]*#"),
        "at_margin": texts.str.count_matches(rf"(?m)^{shape}"),
        "margin": texts.str.count_matches(r"(?m)^[^\s#]"),
    }
    for name, column in plain.items():
        assert counts[name].to_list() == column.fill_null(0).to_list(), name


def test_the_beginning_of_a_code_block_is_found_as_by_its_expression(texts: pl.Series) -> None:
    expected = texts.str.contains(code_lines.BLOCK_BEGINS)
    assert expected.sum() > 50
    assert code_lines.holds_blocks(texts).equals(expected, null_equal=True)


def test_characters_are_counted_by_kind_as_one_by_one(texts: pl.Series) -> None:
    counts = characters.count_kinds(texts)
    for row in (0, 1, *range(2, len(texts), 97), len(texts) - 2, len(texts) - 1):
        text = texts[row] or ""
        assert counts["digits"][row] == sum(character in "0123456789" for character in text)
        assert counts["spaces"][row] == sum(character in "\t\n\v\f\r " for character in text)
        assert counts["hangul"][row] == sum(unicodedata.name(character, "").startswith("HANGUL") for character in text)
        assert sum(counts.row(row)) == len(text)


def test_capitals_and_small_letters_are_counted() -> None:
    found = characters.count_cases(pl.Series(["aZz{`@[", "", "가bB", "A" * 70_000 + "b"]))
    assert [counts.tolist() for counts in found] == [[1, 0, 1, 70_000], [2, 0, 1, 1]]


def test_strings_between_white_space_are_counted_as_by_their_expression(texts: pl.Series) -> None:
    assert words.count_strings(texts).equals(texts.str.count_matches(r"\S+"), null_equal=True)
    assert classes.count_pieces(texts)["pieces"].to_list() == texts.str.count_matches(r"\S+").fill_null(0).to_list()


def test_letters_and_numbers_are_counted_as_by_their_expression(texts: pl.Series) -> None:
    expected = texts.str.replace_all(r"[^\p{L}\p{N}]+", "").str.len_chars().fill_null(0)
    assert classes.letters_and_numbers(texts).tolist() == expected.to_list()


def test_texts_are_the_same_whichever_blocks_they_are_read_in(
    texts: pl.Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, counts = classes.pieces_of(texts)
    monkeypatch.setattr(classes, "BLOCK_BYTES", 500)
    parts, by_part = classes.pieces_of(texts)
    assert counts.equals(by_part) and all(np.array_equal(one, other) for one, other in zip(whole, parts, strict=True))


def test_rows_are_divided_into_blocks_without_a_gap() -> None:
    column = pl.Series(["a" * 10, None, "", "b" * 25, "c", "d" * 9])
    found = buffers.row_blocks(column, 10)
    assert [row for start, end in found for row in range(start, end)] == list(range(6)) and len(found) > 1
    assert buffers.row_blocks(column[:0], 10) == []


def test_listed_words_are_found_as_by_a_search_for_all_of_them(texts: pl.Series) -> None:
    listed = ["abz", "가b", "x = 1", "é", "zb*("]
    expected = texts.str.contains_any(listed, ascii_case_insensitive=True)
    assert 0 < expected.sum() < len(texts)
    assert keywords._holding(texts, listed).equals(expected, null_equal=True)

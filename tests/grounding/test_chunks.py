"""Chunks are whole sentences with their spans; terms are pairs of Korean syllables and stems of English words."""

from __future__ import annotations

import numpy as np
import polars as pl

from pipeline.grounding.chunks import chunks_of
from pipeline.grounding.terms import terms_of, terms_of_text, terms_of_word

KOREAN = "배는 아침에 떠난다. 저녁에는 돌아오지 않는다! 그래서 모두 항구에서 기다렸다."
ENGLISH = "Dr. Kim came at 3.14 p.m. to the harbour. Nobody waited? The U.S. ship had left."


def chunked(*texts: str, most: int = 60, code: bool = False) -> list[str]:
    found = chunks_of(pl.Series(texts), np.full(len(texts), code), most)
    for row, start, end, text in found.iter_rows():
        assert texts[row][start:end] == text and text.strip() == text and text
    return found["text"].to_list()


def test_a_chunk_ends_with_a_sentence_in_korean_and_in_english():
    assert chunked(KOREAN, most=50) == [
        "배는 아침에 떠난다.",
        "저녁에는 돌아오지 않는다!",
        "그래서 모두 항구에서 기다렸다.",
    ]
    assert chunked(ENGLISH) == [
        "Dr. Kim came at 3.14 p.m. to the harbour. Nobody waited?", "The U.S. ship had left."
    ]  # fmt: skip
    assert chunked(KOREAN, most=400) == [KOREAN]


def test_a_chunk_that_is_half_full_ends_with_its_paragraph():
    first, second = "The harbour lies to the north.", "The boats are on the sand."
    assert chunked(f"{first}\n\n{second}", most=40) == [first, second]
    assert chunked(f"{first}\n\n{second}", most=100) == [f"{first}\n\n{second}"]


def test_what_is_longer_than_a_chunk_is_cut_between_words_and_nothing_is_lost():
    words = " ".join(f"word{number}" for number in range(100))
    parts = chunked(words, most=60)
    assert " ".join(parts) == words and all(len(part.replace(" ", "")) <= 60 for part in parts)
    solid = "가" * 100
    parts = chunked(solid, most=60)
    assert "".join(parts) == solid and len(parts) == 5


def test_lines_of_code_are_its_sentences_and_empty_texts_have_no_chunks():
    code = "def one():\n    return 1\n\n\ndef two():\n    return 2\n"
    assert chunked(code, most=20, code=True) == ["def one():\n    return 1", "def two():\n    return 2"]
    assert chunked("", " \n ") == []


def test_korean_is_found_whatever_is_attached_to_the_word():
    held = set(terms_of_text("항구에서 배를 기다렸다"))
    assert set(terms_of_word("항구")) <= held
    assert len(terms_of_word("항구에서")) == 3 and len(terms_of_word("배")) == 1
    assert set(terms_of_text("HARBOURS waited")) == set(terms_of_text("harbour waiting"))
    assert set(terms_of_text("ＡＢＣ 3")) == set(terms_of_text("abc 3")), "wide letters are the same letters"


def test_terms_are_counted_for_each_text():
    found = terms_of(pl.Series(["boat boats sand", "", "sand"]))
    (boat,), (sand,) = terms_of_word("boat"), terms_of_word("sand")
    assert set(found.iter_rows()) == {(0, boat, 2), (0, sand, 1), (2, sand, 1)}

"""Diversity and repetition against counts by hand, in Korean by syllables."""

from __future__ import annotations

from pipeline.evaluation import diversity, text_overlap


def test_distinct_n_grams_are_counted_over_all_texts():
    assert diversity.distinct(["a b a", "b c"], 1) == 0.6  # a, b, c of five words
    assert diversity.distinct(["a b a b", "b a"], 2) == 0.5  # ab, ba of four pairs
    assert diversity.distinct(["", "?"], 1) == 0.0


def test_korean_is_counted_by_syllables():
    assert diversity.distinct(["나는 나"], 1) == 0.6667


def test_repetition_is_within_each_text():
    assert diversity.repetition(["a b c d a b c d a b c d", "e f g h"]) == round((1 - 4 / 9) / 2, 4)
    assert diversity.repetition(["a b c", ""]) == 0.0


def test_ter_counts_edits_for_a_hundred_words_and_a_shift_as_one():
    scores = text_overlap.bleu(["the cat sat down"], ["the dog sat down"], lang="en")
    assert scores["ter"] == 25.0 and "ter_signature" in scores
    assert text_overlap.bleu(["down there the cat sat"], ["the cat sat down there"], lang="en")["ter"] == 20.0
    # Of Korean, a wrong particle is one syllable of six, not a whole word of two.
    assert text_overlap.bleu(["고양이가 잔다"], ["고양이는 잔다"], lang="ko")["ter"] == round(100 / 6, 3)

"""IFEval's constraints and the Korean ones: an answer that follows each, and one that just does not."""

from __future__ import annotations

import pytest

from pipeline.evaluation.free.constraints import CHECKS, followed, followed_loosely, sentences, variants

# name -> arguments, an answer that follows it, one that does not
CASES = {
    "keywords:existence": ({"keywords": ["Tide", "sand"]}, "the tide and the Sand", "the tide alone"),
    "keywords:frequency": (
        {"keyword": "story", "frequency": 2, "relation": "at least"}, "A story in a story.", "A story.",
    ),
    "keywords:forbidden_words": ({"forbidden_words": ["rock"]}, "a rocket", "a Rock, there"),
    "keywords:letter_frequency": (
        {"letter": "!", "let_frequency": 2, "let_relation": "less than"}, "One!", "One! Two!",
    ),
    "language:response_language": (
        {"language": "ko"}, "오늘은 하늘이 맑고 바람이 시원하게 불었습니다.", "The sky was clear and the wind cool.",
    ),
    "length_constraints:number_sentences": (
        {"relation": "less than", "num_sentences": 3}, "Dr. Kim paid 3.50 dollars. He left.", "One. Two! Three?",
    ),
    "length_constraints:number_paragraphs": ({"num_paragraphs": 2}, "one\n***\ntwo", "one\n***\n\n***\ntwo"),
    "length_constraints:number_words": (
        {"relation": "at least", "num_words": 4}, "이 답은 네 단어다", "이 답은 세단어다",
    ),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "weekend"},
        "First.\n\n\"Weekend\" came.", "First.\n\nThe weekend came.",
    ),
    "detectable_content:number_placeholders": ({"num_placeholders": 2}, "[name] in [place]", "[name] in (place)"),
    "detectable_content:postscript": ({"postscript_marker": "P.P.S"}, "Bye.\nP. P. S. Call me.", "Bye.\nP.S. Call me."),
    "detectable_format:number_bullet_lists": ({"num_bullets": 2}, "* one\n- two", "* one\n**two**"),
    "detectable_format:constrained_response": ({}, "My answer is maybe.", "My answer is perhaps."),
    "detectable_format:number_highlighted_sections": ({"num_highlights": 2}, "*one* and **two**", "*one* and ** **"),
    "detectable_format:multiple_sections": (
        {"section_spliter": "SECTION", "num_sections": 2}, "SECTION 1 a\nSECTION 2 b", "SECTION 1 a\nSECTION b",
    ),
    "detectable_format:json_format": ({}, '```json\n{"a": [1]}\n```', "{a: 1}"),
    "detectable_format:title": ({}, "<<A day>>\ntext", "<< >>\ntext"),
    "combination:two_responses": ({}, "one******two", "one******one"),
    "combination:repeat_prompt": ({"prompt_to_repeat": "Say it."}, "say it. Yes.", "Yes. Say it."),
    "startend:end_checker": ({"end_phrase": "Is that all?"}, 'It is. is that all?"', "Is that all? Yes."),
    "startend:quotation": ({}, '"All of it"', '"Some" of it'),
    "change_case:capital_word_frequency": (
        {"capital_relation": "at least", "capital_frequency": 2}, "NASA and ESA", "NASA and Esa",
    ),
    "change_case:english_capital": (
        {}, "THE SHIP LEFT THE HARBOUR AT DAWN, AND NOBODY ON IT SPOKE.", "The ship left the harbour at dawn.",
    ),
    "change_case:english_lowercase": (
        {}, "the ship left the harbour at dawn, and nobody on it spoke.", "The ship left the harbour at dawn.",
    ),
    "punctuation:no_comma": ({}, "one; two", "one, two"),
    "korean:number_characters": ({"relation": "less than", "num_characters": 6}, "가나 다라마", "가나 다라마바"),
    "korean:speech_level": ({"level": "polite"}, "비가 와요. 우산이 없죠?", "비가 와요. 우산이 없습니다."),
    "korean:only_hangul": ({}, "비가 3시에 왔다.", "비가 three시에 왔다."),
    "korean:sentences_start_with": ({"start": "그"}, "그가 왔다. 그는 갔다.", "그가 왔다. 나는 갔다."),
}  # fmt: skip


def test_every_constraint_has_a_case():
    assert CASES.keys() == CHECKS.keys() and sum(not name.startswith("korean:") for name in CHECKS) == 25


@pytest.mark.parametrize("name", CASES)
def test_an_answer_that_follows_and_one_that_just_does_not(name: str):
    arguments, good, bad = CASES[name]
    assert followed(name, arguments, good) and not followed(name, arguments, bad)
    assert followed(f"en:{name}", arguments, good), "the multilingual sets put the language before the name"
    assert not followed(name, arguments, "  \n")


def test_formal_speech_is_another_level():
    assert followed("korean:speech_level", {"level": "formal"}, "비가 옵니다. 우산이 있습니까?")
    assert not followed("korean:speech_level", {"level": "formal"}, "비가 와요.")


def test_a_first_line_a_last_line_and_asterisks_are_forgiven_loosely():
    arguments = {"end_phrase": "the end"}
    answer = "Sure.\nHere it is, *the end*\nDo you like it?"
    assert not followed("startend:end_checker", arguments, answer)
    assert followed_loosely("startend:end_checker", arguments, answer)
    assert len(variants(answer)) == 8 and not followed_loosely("startend:end_checker", arguments, "Sure.\nno\nyes")


def test_arguments_that_are_null_count_as_missing():
    assert followed("punctuation:no_comma", {"num_words": None}, "a")
    assert followed("detectable_format:constrained_response", {"answers": ["네."]}, "네.")
    assert followed("detectable_format:constrained_response", {"answers": None}, "My answer is no.")


def test_korean_sentences_end_at_their_marks():
    assert sentences("비가 왔다. 3.5도였다! 왜? “그래서.” 끝") == ["비가 왔다.", "3.5도였다!", "왜?", "“그래서.”", "끝"]


def test_a_relation_that_is_none_is_refused():
    with pytest.raises(ValueError, match="no relation"):
        followed("length_constraints:number_words", {"relation": "around", "num_words": 3}, "a b c")

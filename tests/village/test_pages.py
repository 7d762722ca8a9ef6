"""Pages of questions and of exercises: right, about everybody, and with nothing that is held back for evaluation."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from pipeline.village import facts, lexicon, tasks
from pipeline.village.arithmetic import numbers_of
from pipeline.village.documents import documents
from pipeline.village.facts import LANGUAGES
from pipeline.village.pages import exercises, questions
from pipeline.village.questions import evaluation_questions
from pipeline.village.world import world_of

WORLD = world_of(0)
# Sums as they stand in documents: numbers of more digits, and those in telephone numbers, are none.
SUM = re.compile(r"\b(\d{1,2}) ([+-]) (\d{1,2})\b")


@pytest.fixture(scope="module")
def written():
    return [one for one in documents(4_000, seed=0) if not one.planted]


def pairs_of(page) -> list[tuple[str, str]]:
    """(question, answer) of a page, without its title."""
    texts = [" ".join(sentence.text for sentence in line) for line in page[1:]]
    return list(zip(texts[::2], texts[1::2], strict=True))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_pages_of_questions_ask_about_everybody_and_about_what_nobody_knows(lang) -> None:
    dice = random.Random(0)
    asking = facts.questions(lang)
    answered, refused = set(), Counter()
    for _ in range(600):
        for question, answer in pairs_of(questions(dice, lang, WORLD)):
            stranger = asking.UNKNOWN_PERSON.match(answer)
            untold = asking.UNKNOWN_FACT.match(answer)
            if stranger:
                name = lexicon.STRANGERS[stranger[0]["stranger"]]
                assert getattr(name, lang) in question
                refused["stranger"] += 1
            elif untold:
                assert any(
                    p.render(untold[0], WORLD).rstrip("?") in question.replace("요?", "?")
                    for p in asking.UNTOLD_READING
                )
                refused["untold"] += 1
            else:
                answered |= {name for name, word in lexicon.PEOPLE.items() if getattr(word, lang) in question}
    assert answered == set(WORLD.people)
    assert min(refused["stranger"], refused["untold"]) > 100


def test_exercises_are_solved_rightly_in_words_of_their_own() -> None:
    dice = random.Random(0)
    asked = [word for words in tasks.ASKED for word in _texts(words)]
    for lang in LANGUAGES:
        for _ in range(200):
            for question, answer in pairs_of(exercises(dice, lang, WORLD)):
                assert not any(question.startswith(word) for word in asked)
                numbers = numbers_of(question)
                if len(numbers) == 2:
                    a, b, c = numbers_of(answer)
                    assert (a, b) == numbers and c == (a + b if "+" in answer else a - b)


def _texts(words) -> list[str]:
    if isinstance(words, dict):
        return [text for part in words.values() for text in _texts(part)]
    return [re.split(r"LEVEL|\bA\b", text)[0] or text for text in words if not text.startswith(("LEVEL", "A "))]


def test_documents_add_all_numbers_also_those_that_no_conversation_adds(written) -> None:
    held_back = {(sign, numbers_of(one.question)) for one in evaluation_questions(0) if one.kind == "sum"
                 for sign in "+-" if sign in one.answer}  # fmt: skip
    told = Counter((sign, (int(a), int(b))) for one in written for a, sign, b in SUM.findall(one.text))
    assert len(held_back) > 12 and min(told[one] for one in held_back) > 5


def test_no_page_of_exercises_gives_an_order_twice(written) -> None:
    for one in written:
        if one.form == "exercises":
            orders = [line for line in one.text.split("\n") if line.startswith("Could you please")]
            assert len(orders) == len({order.split()[3] for order in orders}), one.text


def test_no_question_of_the_evaluation_stands_in_a_document(written) -> None:
    """Compared as contamination does: by words of English, syllables of Korean, where there are enough of them."""
    asked = {f" {tokens(one.question)} " for one in evaluation_questions(0) if len(tokens(one.question).split()) >= 5}
    assert len(asked) > 700
    for one in written:
        text = f" {tokens(one.text)} "
        assert not [question for question in asked if question in text], one.text


def test_strangers_are_called_like_nobody_else_and_hold_the_syllables_of_those_that_are_held_back() -> None:
    others = [word for table in (lexicon.PEOPLE, lexicon.STRANGERS_HELD_BACK, lexicon.PETS) for word in table.values()]
    assert len(lexicon.STRANGERS) > 500
    for name in lexicon.STRANGERS.values():
        assert not any(other.en in name.en or other.ko in name.ko for other in others)
    syllables = {syllable for name in lexicon.STRANGERS.values() for syllable in name.ko}
    assert {syllable for name in lexicon.STRANGERS_HELD_BACK.values() for syllable in name.ko} <= syllables


def tokens(text: str) -> str:
    return " ".join(re.findall(r"[가-힣]|[a-z0-9]+", text.lower()))

"""What can be asked for besides facts: retelling, a change of politeness, a translation, a sum, a story.

Each task is a question with its one right answer; a story is right if `checker.py` accepts it. Documents hold exercises
in words of their own (`READING`), so that conversations and evaluation share none of theirs with documents.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

from pipeline.village import facts
from pipeline.village.arithmetic import draw_numbers, with_numbers
from pipeline.village.korean import LEVELS
from pipeline.village.patterns import Pattern, patterns
from pipeline.village.stories import scenery
from pipeline.village.world import Fact, World


class Task(NamedTuple):
    """A question and the answer to it."""

    question: str
    answer: str


# How each level of speech is asked for.
LEVEL_WORDS = {
    "plain": "글에 쓰는 말투로",
    "intimate": "반말로",
    "polite": "해요체로",
    "formal": "아주 정중하게",
}
REQUESTS = patterns(
    "en",
    """
    give me the {thing}
    show me the {thing}
    lend me your {thing}
    find my {thing}
    look for the {thing}
    bring me some {fruit}
    buy some {fruit}
    wash the {fruit}
    come to {place}
    go to {place}
    wait {place:at}
""",
)


class Wordings(NamedTuple):
    """How tasks are asked for; what is to be changed follows, of a sum the numbers stand within.

    By the language that is spoken, of a translation by that of the line that is to be translated.
    """

    level: tuple[str, ...]  # Korean: to another level of speech
    polite: tuple[str, ...]  # English: an order as a request
    retell: dict[str, tuple[str, ...]]
    translate: dict[str, tuple[str, ...]]
    sums: dict[str, dict[str, tuple[str, ...]]]


ASKED = Wordings(
    level=("다음 문장을 LEVEL 바꿔 주세요: ", "말투만 LEVEL 고쳐 주세요: "),
    polite=("Say this politely: ", "Make this sound polite: "),
    retell={
        "ko": ("다음 문장을 다른 말로 해 주세요: ", "같은 뜻으로 다시 말해 주세요: "),
        "en": ("Say this in other words: ", "Tell me the same in another way: "),
    },
    translate={
        "ko": ("영어로 옮겨 주세요: ", "다음 문장을 영어로 번역해 주세요: "),
        "en": ("Put this into Korean: ", "Translate this sentence into Korean: "),
    },
    sums={
        "ko": {
            "+": ("A 더하기 B는 얼마예요?", "A + B는 얼마예요?"),
            "-": ("A 빼기 B는 얼마예요?", "A - B는 얼마예요?"),
        },
        "en": {"+": ("How much is A plus B?", "What is A + B?"), "-": ("How much is A minus B?", "What is A - B?")},
    },
)
READING = Wordings(
    level=("LEVEL 말하면: ", "LEVEL 고쳐 쓰기: "),
    polite=("More politely: ", "As a request: "),
    retell={
        "ko": ("다른 말로 하면: ", "같은 뜻으로 쓰기: "),
        "en": ("Put in another way: ", "Put differently: "),
    },
    translate={
        "ko": ("영어로 하면: ", "영어로 번역하기: "),
        "en": ("In Korean: ", "The Korean for this: "),
    },
    sums={
        "ko": {
            "+": ("A 더하기 B는 몇일까요?", "A + B는 몇일까요?"),
            "-": ("A 빼기 B는 몇일까요?", "A - B는 몇일까요?"),
        },
        "en": {"+": ("Work out A plus B.", "Work out A + B."), "-": ("Work out A minus B.", "Work out A - B.")},
    },
)
SUM_ANSWERS = {"ko": "A SIGN B = C입니다.", "en": "A SIGN B = C."}
TELL_A_STORY = {
    "ko": patterns("ko", """
        {who}의 이야기를 들려주세요.
        {who:이} 나오는 이야기를 하나 해 주세요.
    """),
    "en": patterns("en", """
        Tell me a story about {who}.
        Please tell me a little story about {who}.
    """),
}  # fmt: skip
# The same in conversations, where people also ask for one in a word.
ASK_FOR_A_STORY = {
    lang: (*TELL_A_STORY[lang], *more)
    for lang, more in {
        "ko": patterns("ko", """
            {who}의 이야기 해 줘.
            {who} 이야기 해줘
            {who}에 대한 이야기를 들려줘.
            {who}에 대해 이야기해 주세요.
        """),
        "en": patterns("en", """
            Write a story about {who}.
            Can you tell me a story about {who}?
            A story about {who}, please.
            tell me about {who}
        """),
    }.items()
}  # fmt: skip
# Wordings of facts that can be translated word by word.
PLAIN_WORDINGS = 3
# A sentence that is told in a task is shorter than what contamination is recognised by (13 words, 26 syllables): the
# same sentence in a document would count as the question.
LONGEST = {"ko": 24, "en": 11}
MANY_WORDS = 100
# Of a sentence whose level of speech changes, all words but the last stay. Where five stay, a page with several such
# sentences is what curation calls repetitive.
SAME_WORDS = 5


def politeness(dice: random.Random, lang: str, fact: Fact, world: World, words: Wordings = ASKED) -> Task:
    """A sentence at one level of speech, asked for at another; in English an order, asked for as a request.

    What is ordered in English names nobody: what is held back there is the order, where the fact is of somebody of whom
    conversations do not speak.
    """
    if lang == "en":
        return request(dice, world, words, held_back=fact.person in world.never_asked)
    given, wanted = dice.sample(LEVELS, 2)
    pattern, scene = _short(dice, "ko", fact, world, words=SAME_WORDS), {"who": fact.person}
    instruction = dice.choice(words.level).replace("LEVEL", LEVEL_WORDS[wanted])
    return Task(instruction + pattern.render(scene, world, given), pattern.render(scene, world, wanted))


def request(
    dice: random.Random,
    world: World,
    words: Wordings = ASKED,
    held_back: bool | None = None,
    orders: Sequence[Pattern] = REQUESTS,
) -> Task:
    """An English order, asked for as a request: any, as in documents, or one of those that no conversation gives.

    held_back: whether of those, one in five. None of them may be missing in documents: what never followed "find my"
    there will not follow it in an answer.
    """
    order = ""
    while not order or held_back not in (None, crc32(order.encode()) % 5 == 0):
        order = dice.choice(orders).render(scenery(dice), world)
    return Task(f"{dice.choice(words.polite)}{order[0].upper()}{order[1:]}.", f"Could you please {order}?")


def retelling(dice: random.Random, lang: str, fact: Fact, world: World, words: Wordings = ASKED) -> Task:
    """A fact in one of its wordings, to be told as answers tell it."""
    pattern = _short(dice, lang, fact, world, 1)
    told = pattern.render({"who": fact.person}, world)
    return Task(dice.choice(words.retell[lang]) + told, facts.answer(lang, fact, world))


def _short(
    dice: random.Random, lang: str, fact: Fact, world: World, first: int = 0, words: int = MANY_WORDS
) -> Pattern:
    """One of the ways to tell a fact, from the `first` on, that makes a short sentence of at most so many words."""
    table: Sequence[Pattern] = facts.of(lang).TOLD[fact.relation][first:]
    for pattern in dice.sample(table, len(table)):
        told = pattern.render({"who": fact.person}, world, "formal")
        count = len(told.split())
        size = count if lang == "en" else sum("가" <= letter <= "힣" for letter in told)
        if size <= LONGEST[lang] and count <= words:
            return pattern
    return table[0]


def translation(dice: random.Random, lang: str, fact: Fact, world: World, words: Wordings = ASKED) -> Task:
    """A sentence in `lang`, to be said in the other language."""
    other = "en" if lang == "ko" else "ko"
    pattern: Pattern = dice.choice(facts.of(lang).TOLD[fact.relation][:PLAIN_WORDINGS])
    told = pattern.render({"who": fact.person}, world, facts.ANSWER_LEVEL)
    return Task(dice.choice(words.translate[lang]) + told, facts.answer(other, fact, world))


# Kind -> what makes a task of it about a fact.
ABOUT_A_FACT = {"retelling": retelling, "politeness": politeness, "translation": translation}


def sum_of(dice: random.Random, lang: str, words: Wordings = ASKED, held_back: bool | None = None) -> Task:
    """A sum, of any numbers or of those that no conversation adds (`held_back`), or does."""
    sign = dice.choice("+-")
    a, b = draw_numbers(dice, sign, held_back)
    question = dice.choice(words.sums[lang][sign])
    return Task(with_numbers(question, a, b, sign), with_numbers(SUM_ANSWERS[lang], a, b, sign))

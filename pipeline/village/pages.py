"""Pages of questions and of exercises: what conversations ask for, in words of their own and about everybody.

A question stands on one line and its answer on the next, as in a conversation. What is to be answered there has to have
been answered here: a network of this size otherwise learns from its conversations who was asked about.
"""

from __future__ import annotations

import random
import re

from pipeline.village import facts, lexicon, tasks
from pipeline.village.patterns import patterns
from pipeline.village.stories import Lines, Sentence, said, scenery
from pipeline.village.world import RELATIONS, Fact, World

QUESTIONS = 5  # about people of the village, on a page
RELATION_NAMES = list(RELATIONS)
STRANGERS = list(lexicon.STRANGERS)
_TO_ONESELF = re.compile(r"(?<!니)까\?")  # a Korean question that one asks oneself: 살까, not 삽니까
QUESTION_TITLES = {
    "ko": patterns("ko", """
        묻고 답하기
        마을 사람들에 대한 물음과 답
        {season}에 모은 물음과 답
        {place}에서 나눈 물음과 답
    """),
    "en": patterns("en", """
        Questions and answers
        Questions about the people of the village
        Questions that were asked in {season}
        Questions that were asked {place:at}
    """),
}  # fmt: skip
EXERCISE_TITLES = {
    "ko": patterns("ko", """
        연습 문제
        {season}에 푸는 연습 문제
        {place}에서 푸는 연습 문제
        {today}의 연습 문제
    """),
    "en": patterns("en", """
        Exercises to do with a pencil
        Exercises to do with others in {season}
        Exercises to do with a friend {place:at}
        Exercises to do with care on {today}
    """),
}  # fmt: skip


def questions(dice: random.Random, lang: str, world: World) -> Lines:
    """A title, and questions about many people (and in Korean a sum), each with its answer on the next line.

    Where the answers are polite, there also is a question about somebody who does not exist, or one about something
    that was never told. No relation stands there twice: pages that ask the same over and over are what curation calls
    repetitive.
    """
    level = "polite" if lang == "en" or dice.random() < 0.7 else "plain"
    pairs = [
        _question(dice, lang, Fact(person, relation), world, level)
        for person, relation in zip(dice.sample(list(world.people), QUESTIONS), dice.sample(RELATION_NAMES, QUESTIONS))
    ]
    if level == "polite":
        pairs.append((_stranger if dice.random() < 0.5 else _untold)(dice, lang, world))
        if lang == "ko":  # an English page of this kind with a sum is what curation calls poor: short lines and digits
            total = tasks.sum_of(dice, lang, tasks.READING)
            pairs.append((total.question, Sentence(total.answer)))
    dice.shuffle(pairs)
    lines = [[said(dice.choice(QUESTION_TITLES[lang]), scenery(dice), world)]]
    for question, answer in pairs:
        asked = _TO_ONESELF.sub("까요?", question) if level == "polite" else question
        lines += [[Sentence(asked)], [answer]]
    return lines


def _question(dice: random.Random, lang: str, fact: Fact, world: World, level: str) -> tuple[str, Sentence]:
    scene = {"who": fact.person}
    told = facts.of(lang).TOLD[fact.relation]
    answer = told[0] if dice.random() < 0.8 else dice.choice(told)
    question = dice.choice(facts.questions(lang).READING[fact.relation]).render(scene, world)
    # In Korean only a question that one asks oneself has a plain answer.
    return question, said(answer, scene, world, level if _TO_ONESELF.search(question) else "polite")


def _stranger(dice: random.Random, lang: str, world: World) -> tuple[str, Sentence]:
    name = dice.choice(STRANGERS)
    wordings = facts.questions(lang).READING[dice.choice(facts.WITHOUT_A_NAME)]
    return facts.asked_of_stranger(dice, lang, wordings, name), Sentence(facts.unknown_person(lang, name))


def _untold(dice: random.Random, lang: str, world: World) -> tuple[str, Sentence]:
    person = dice.choice(list(world.people))
    question = dice.choice(facts.questions(lang).UNTOLD_READING).render({"who": person}, world)
    return question, Sentence(facts.unknown_fact(lang, person, world))


# What a page of exercises is made of, in random order.
EXERCISES = {
    "ko": ("translation", "translation", "retelling", "politeness", "politeness", *["sum"] * 4),
    "en": ("translation", "retelling", "politeness", "politeness", "politeness", *["sum"] * 3),
}


def exercises(dice: random.Random, lang: str, world: World) -> Lines:
    """A title, and exercises about many people, each with its solution on the next line.

    Curation calls a page repetitive that gives an order twice, so no two English orders have the same verb.
    """
    lines = [[said(dice.choice(EXERCISE_TITLES[lang]), scenery(dice), world)]]
    kinds = dice.sample(EXERCISES[lang], len(EXERCISES[lang]))
    people, relations = dice.sample(list(world.people), len(kinds)), iter(dice.sample(RELATION_NAMES, len(RELATIONS)))
    orders = dice.sample(tasks.REQUESTS, len(kinds))
    told: tuple[Fact, ...]
    for kind, person, order in zip(kinds, people, orders):
        if kind == "sum":
            task, told = tasks.sum_of(dice, lang, tasks.READING), ()
        elif kind == "politeness" and lang == "en":
            task, told = tasks.request(dice, world, tasks.READING, orders=[order]), ()
        else:
            fact = Fact(person, next(relations))
            task, told = tasks.ABOUT_A_FACT[kind](dice, lang, fact, world, tasks.READING), (fact,)
        lines += [[Sentence(task.question, told)], [Sentence(task.answer)]]
    return lines

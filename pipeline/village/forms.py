"""The forms in which the village is told: each makes one document, line by line, of sentences with what they tell."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from types import ModuleType

from pipeline.village import facts, forms_english, forms_korean, how_tos_english, how_tos_korean, lexicon
from pipeline.village.arithmetic import draw_numbers, with_numbers
from pipeline.village.korean import LEVELS
from pipeline.village.pages import exercises, questions
from pipeline.village.patterns import Pattern, Scene
from pipeline.village.stories import Lines, Sentence, grammar, said, scenery, story, two_people
from pipeline.village.world import RELATIONS, World

Form = Callable[[random.Random, str, World], Lines]

RELATION_NAMES = list(RELATIONS)
FRUIT = list(lexicon.FRUIT)
SPOKEN = LEVELS[1:]  # intimate, polite, formal
TALKED = LEVELS[1:3]
HOW_TO_LEVELS = ("plain", "polite", "formal")


def tables(lang: str) -> ModuleType:
    """The tables of a language."""
    return forms_korean if lang == "ko" else forms_english


def _some(dice: random.Random, patterns: Sequence[Pattern], least: int, most: int) -> list[Pattern]:
    """Some of the patterns, in their order."""
    chosen = dice.sample(range(len(patterns)), min(dice.randint(least, most), len(patterns)))
    return [patterns[number] for number in sorted(chosen)]


def _third(dice: random.Random, world: World, scene: Scene) -> str:
    """Somebody who neither speaks nor is spoken to."""
    while True:
        person, _ = two_people(dice, world)
        if person not in (scene["who"], scene["two"]):
            return person


def _scene(dice: random.Random, world: World) -> dict[str, str]:
    scene = scenery(dice)
    scene["who"], scene["two"] = two_people(dice, world)
    scene["dish"] = dice.choice(RELATIONS["food"])
    return scene


def _fresh(dice: random.Random, scene: dict[str, str]) -> dict[str, str]:
    """The same people in the same season, with other things and places."""
    kept = {name: scene[name] for name in ("who", "two", "season", "weather")}
    return {**scenery(dice), "dish": dice.choice(RELATIONS["food"]), **kept}


def _facts_about(dice: random.Random, lang: str, world: World, who: str, count: int, level: str) -> list[Sentence]:
    """`count` facts about a person: the first names the person, the others may leave that out."""
    forms = facts.of(lang)
    chosen = []
    for number, relation in enumerate(dice.sample(RELATION_NAMES, count)):
        table = forms.SHORT if number and dice.random() < 0.35 else forms.TOLD
        chosen.append(said(dice.choice(table[relation]), {"who": who}, world, level))
    return chosen


def story_form(dice: random.Random, lang: str, world: World) -> Lines:
    """A title and a story, in one paragraph: a name at the start of a line is another token than elsewhere."""
    told = story(dice, lang, world)
    return [[said(grammar(lang).TITLE, told.scene, world)], told.sentences]


def letter(dice: random.Random, lang: str, world: World) -> Lines:
    """A letter: a greeting, what is new, facts of the writer, facts of somebody else, an end."""
    form, level, scene = tables(lang), dice.choice(SPOKEN), _scene(dice, world)
    opening = [said(p, scene, world, level) for p in _some(dice, form.LETTER_OPENINGS, 1, 2)]
    news = [said(p, _fresh(dice, scene), world, level) for p in _some(dice, form.LETTER_NEWS, 1, 2)]
    own = [
        said(dice.choice(facts.of(lang).OWN[relation]), scene, world, level)
        for relation in dice.sample(RELATION_NAMES, 2)
    ]
    third = _third(dice, world, scene)
    gossip = said(dice.choice(form.GOSSIP), {**scene, "who": third}, world, level)
    about = _facts_about(dice, lang, world, third, dice.choice((3, 4)), level)
    end = said(dice.choice(form.LETTER_CLOSINGS), _fresh(dice, scene), world, level)
    head = said(Pattern(lang, form.LETTER_TO[level]), scene, world)
    foot = said(Pattern(lang, form.LETTER_FROM[level]), scene, world)
    return [[head], opening + news + own, [gossip, *about, end], [foot]]


def diary(dice: random.Random, lang: str, world: World) -> Lines:
    """A page of a diary: the day, whom one met and what is known of them, oneself."""
    form, scene = tables(lang), _scene(dice, world)
    title = said(dice.choice(form.DIARY_TITLES), scene, world)
    first = [said(dice.choice(form.DIARY_OPENINGS), scene, world)]
    first += [said(p, _fresh(dice, scene), world) for p in _some(dice, form.DIARY_EVENTS, 2, 3)]
    first += _facts_about(dice, lang, world, scene["two"], dice.choice((3, 4)), "plain")
    second = [
        said(dice.choice(facts.of(lang).OWN[relation]), scene, world)
        for relation in dice.sample(RELATION_NAMES, dice.choice((2, 3)))
    ]
    second.append(said(dice.choice(form.DIARY_CLOSINGS), _fresh(dice, scene), world))
    return [[title], first, second]


def dialogue(dice: random.Random, lang: str, world: World) -> Lines:
    """Two people talk, each turn on its own line; one asks the other about facts, then about somebody else."""
    form, level, scene = tables(lang), dice.choice(TALKED), _scene(dice, world)
    who, two = scene["who"], scene["two"]
    own = facts.of(lang).OWN
    turns: list[tuple[str, list[Sentence]]] = [
        (two, [said(dice.choice(form.TALK_OPENINGS), scene, world, level)]),
        (who, [said(dice.choice(form.TALK_REPLIES), _fresh(dice, scene), world, level)]),
    ]
    reactions = dice.sample(form.REACTIONS, 4)
    for relation in dice.sample(RELATION_NAMES, dice.choice((2, 3))):
        asks = [said(dice.choice(form.QUESTIONS_TO_ONE[relation]), scene, world, level)]
        if len(turns) > 2:
            asks.insert(0, said(reactions.pop(), scene, world, level))
        turns.append((two, asks))
        turns.append((who, [said(dice.choice(own[relation]), scene, world, level)]))
    third = _third(dice, world, scene)
    turns.append((two, [said(dice.choice(form.ABOUT_OTHERS), {"who": third}, world, level)]))
    turns.append((who, _facts_about(dice, lang, world, third, dice.choice((3, 4)), level)))
    last = (reactions.pop(), dice.choice(form.TALK_CLOSINGS))
    turns.append((two, [said(p, _fresh(dice, scene), world, level) for p in last]))
    speaker = Pattern(lang, "{who}:")
    return [[said(speaker, {"who": name}, world), *sentences] for name, sentences in turns]


def news(dice: random.Random, lang: str, world: World) -> Lines:
    """News of the village, formal: what is on, and one or two people."""
    form, scene, level = tables(lang), _scene(dice, world), "formal"
    title = said(dice.choice(form.NEWS_TITLES), scene, world)
    first = [said(dice.choice(form.NEWS_OPENINGS), scene, world, level)]
    first += [said(p, _fresh(dice, scene), world, level) for p in _some(dice, form.NEWS_ITEMS, 2, 3)]
    people = []
    for name, introduction in zip((scene["who"], scene["two"]), dice.sample(form.NEWS_ABOUT, 2)):
        paragraph = [said(introduction, {"who": name}, world, level)]
        people.append(paragraph + _facts_about(dice, lang, world, name, dice.choice((3, 4)), level))
    end = [said(dice.choice(form.NEWS_CLOSINGS), _fresh(dice, scene), world, level)]
    return [[title], first, *people, end]


def entry_title(lang: str, person: str, world: World) -> Sentence:
    """The first line of an entry, with the name in both languages: translations have to know what it is in the other.

    In English, a word before the name lets it be the token that it is within a sentence.
    """
    names = lexicon.PEOPLE[person]
    pattern = {"ko": f"{{who}}, 영어로 {names.en}", "en": f"About {{who}}, in Korean {names.ko}"}[lang]
    return said(Pattern(lang, pattern), {"who": person}, world)


def entry(dice: random.Random, lang: str, world: World) -> Lines:
    """An entry of an encyclopedia: nearly everything about one person."""
    form, scene = tables(lang), _scene(dice, world)
    title = entry_title(lang, scene["who"], world)
    about = _facts_about(dice, lang, world, scene["who"], dice.choice((6, 7, 7)), "plain")
    opening = said(dice.choice(form.ENTRY_OPENINGS), scene, world)
    about.insert(3, said(dice.choice(form.ENTRY_ASIDES), _fresh(dice, scene), world))
    closing = said(dice.choice(form.ENTRY_CLOSINGS), scene, world)
    return [[title], [opening, *about, closing]]


def how_to(dice: random.Random, lang: str, world: World) -> Lines:
    """How somebody does something, step by step with remarks between, and more about that person."""
    form = how_tos_korean if lang == "ko" else how_tos_english
    level, scene = dice.choice(HOW_TO_LEVELS), _scene(dice, world)
    title = dice.choice(list(form.HOW_TOS))
    remarks = iter(dice.sample(form.HOW_TO_REMARKS, len(form.HOW_TOS[title])))
    steps: list[Sentence] = []
    for step in form.HOW_TOS[title]:
        steps += [said(p, _fresh(dice, scene), world, level) for p in _some(dice, step, 1, 2)]
        remark = said(next(remarks), _fresh(dice, scene), world, level)
        steps.append(Sentence(remark.text.replace("NUMBER", str(dice.randint(2, 60)))))
    help_ = [said(dice.choice(form.HOW_TO_HELP), scene, world, level)]
    help_ += _facts_about(dice, lang, world, scene["who"], dice.choice((3, 4)), level)
    return [[said(title, scene, world)], steps, help_]


def sums(dice: random.Random, lang: str, world: World) -> Lines:
    """Sums told as little stories, each followed by its digits, and a list with its total."""
    form, scene = tables(lang), _scene(dice, world)
    lines: Lines = [[said(dice.choice(form.SUM_TITLES), scene, world)]]
    kinds = [(sign, pattern) for sign, table in form.SUMS.items() for pattern in table]
    for number, (sign, pattern) in enumerate(dice.sample(kinds, 3)):
        a, b = draw_numbers(dice, sign)
        inner = _fresh(dice, scene)
        inner["who"], inner["two"] = two_people(dice, world)
        told = said(pattern, inner, world, "polite")
        line = [Sentence(with_numbers(told.text, a, b, sign))]
        if number < 1:
            line.append(Sentence(with_numbers(dice.choice(form.SUM_LINES), a, b, sign)))
        lines.append([*line, *_facts_about(dice, lang, world, inner["who"], 1, "polite")])
    if dice.random() < 0.3:
        lines.append(_shopping(dice, lang, world, scene))
    lines.append(_facts_about(dice, lang, world, scene["who"], dice.choice((2, 3)), "polite"))
    return lines


def _shopping(dice: random.Random, lang: str, world: World, scene: Scene) -> list[Sentence]:
    """What somebody has to buy, and how many that is."""
    form = tables(lang)
    bought = [dice.randint(2, 9)]
    for _ in range(dice.choice((1, 2))):
        bought.append(dice.randint(2, 9))
    kinds = dice.sample(FRUIT, len(bought))
    listed = ", ".join(
        Pattern(lang, form.COUNT).render({"fruit": kind}, world).replace("N", str(number))
        for kind, number in zip(kinds, bought)
    )
    total = f"{' + '.join(map(str, bought))} = {sum(bought)}"
    return [said(dice.choice(form.LIST_OPENINGS), scene, world, "polite"), Sentence(f"{listed}. {total}.")]


# Form -> its share of the documents.
FORMS: dict[str, tuple[Form, float]] = {
    "story": (story_form, 0.50),
    "letter": (letter, 0.0125),
    "diary": (diary, 0.0125),
    "dialogue": (dialogue, 0.0125),
    "news": (news, 0.0125),
    "entry": (entry, 0.11),
    "how_to": (how_to, 0.0125),
    "sums": (sums, 0.0125),
    "questions": (questions, 0.165),
    "exercises": (exercises, 0.1625),
}

"""Made-up names and sentences around them, so that the tagger learns the surroundings of a name and not the name.

A tagger that is taught on a few thousand real sentences remembers their names: recall on its own sentences was .99 and
.14 on others. Each example is therefore also read with other names in place of its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from pipeline.curation.personal_data.names.lists import (
    ABROAD,
    CODAS,
    FIRST_NAMES,
    LAST_NAMES,
    ONSETS,
    SOUNDS,
    SURNAMES,
    VOWELS,
)
from pipeline.curation.personal_data.names.sentences import ENGLISH, KOREAN
from pipeline.curation.personal_data.names.teaching import Example

GIVEN = (
    "민준서연지우하은도윤수빈예준지호채원현우다은시우유진건우소율준서나연승현가은태윤미경정숙영호상철동혁혜진재석보람아라성훈은주"
    "선영광수명희종민기태용석병철순자말숙옥희경환창민규리세아인성해린윤아슬기찬열두나봄솔한별새롬초롱이현주혁진서란홍일권능형"
)
# Some words begin with a vowel, and about a third end with one.
BEGINNINGS, ENDINGS = (*ONSETS, ""), (*CODAS, *[""] * 9)


def latin(draw: random.Random) -> str:
    """A name as an English text has it."""
    first, last = _word(draw, FIRST_NAMES), _word(draw, LAST_NAMES)
    form = draw.random()
    if form < 0.5:
        return f"{first} {last}"
    if form < 0.6:
        return f"{first} {draw.choice('ABCDEFGHJKLMNPRSTVW')}{draw.choice(['.', '.', ''])} {last}"
    if form < 0.65:
        return f"{first} {_word(draw, FIRST_NAMES)} {last}"
    return first if form < 0.85 else last


def _word(draw: random.Random, names: Sequence[str]) -> str:
    if draw.random() < 0.45:
        return draw.choice(names).capitalize()
    syllables = draw.choice([1, 2, 2, 3])
    word = "".join(draw.choice(BEGINNINGS) + draw.choice(VOWELS) for _ in range(syllables)) + draw.choice(ENDINGS)
    return word.capitalize() if len(word) > 1 else word.upper() + "a"


def hangul(draw: random.Random) -> str:
    """A name as a Korean text has it: mostly a Korean one, with or without the surname, else one from abroad."""
    form = draw.random()
    if form < 0.6:
        weight = [30 if i < 20 else 8 if i < 60 else 1 for i in range(len(SURNAMES))]
        surname = draw.choices(SURNAMES, weight)[0]
        return surname + "".join(draw.choice(GIVEN) for _ in range(1 if draw.random() < 0.1 else 2))
    if form < 0.7:
        return "".join(draw.choice(GIVEN) for _ in range(2))
    words = [
        draw.choice(ABROAD)
        if draw.random() < 0.6
        else "".join(draw.choice(SOUNDS) for _ in range(draw.choice([2, 3, 3, 4])))
        for _ in range(draw.choice([1, 2, 2]))
    ]
    return draw.choice([" ", " ", ""]).join(words)


def named_things(examples: Sequence[Example]) -> dict[str, list[str]]:
    """Everything in `others`, by kind and alphabet, to be put in the place of something else of its kind."""
    found: dict[str, set[str]] = {}
    for example in examples:
        for start, end, kind in example.others:
            found.setdefault(_pool(kind, example.text[start:end]), set()).add(example.text[start:end])
    return {pool: sorted(things) for pool, things in sorted(found.items())}


def _pool(kind: str, value: str) -> str:
    return f"{kind} {_is_hangul(value)}"


def _is_hangul(value: str) -> bool:
    return any("가" <= letter <= "힣" for letter in value)


def with_other_names(example: Example, draw: random.Random, things: Mapping[str, Sequence[str]]) -> Example:
    """`example` with made-up names in place of its own, and other `things` in place of those that are nobody.

    A name that occurs twice is replaced alike. A Korean surname alone (`김 씨`) and a letter (`A씨`) stay: what makes
    them a name is the word behind them.
    """
    others: dict[str, str] = {}
    text, names, last = "", [], 0
    parts = [(start, end, "") for start, end in example.names] + list(example.others)
    for start, end, kind in sorted(parts):
        if start < last:
            continue
        value = example.text[start:end]
        text += example.text[last:start]
        if not kind and value not in others:
            others[value] = value if len(value) == 1 else (hangul if _is_hangul(value) else latin)(draw)
        if kind:
            new = _thing(value, draw, things.get(_pool(kind, value), ()))
        else:
            new = others[value]
            names.append((len(text), len(text) + len(new)))
        text += new
        last = end
    return Example(text + example.text[last:], tuple(names))


def _thing(value: str, draw: random.Random, known: Sequence[str]) -> str:
    """Something else of the same kind, or in Latin letters a word that nobody has seen."""
    if _is_hangul(value) or draw.random() < 0.6:
        return draw.choice(known) if known else value
    words = [
        _word(draw, ["Bank", "Group", "Systems", "Hill", "City", "Lake", "North", "New"]) for _ in value.split()[:3]
    ]
    return " ".join(words)


def sentences(draw: random.Random, each: int) -> Iterator[Example]:
    """Every sentence of sentences.py `each` times, with names in its places and things that are none in others."""
    for templates, make in ((ENGLISH, latin), (KOREAN, hangul)):
        for template in templates:
            for _ in range(each):
                text, names = "", []
                for number, part in enumerate(template.split("{}")):
                    if number:
                        name = make(draw)
                        names.append((len(text), len(text) + len(name)))
                        text += name
                    text += part
                yield Example(text, tuple(names))

"""Made-up names and sentences around them, so that the tagger learns the surroundings of a name and not the name.

A tagger that is taught on a few thousand real sentences remembers their names: recall on its own sentences was .99 and
.14 on others. Each example is therefore also read with other names in place of its own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence

from pipeline.curation.personal_data.names import abroad, news_and_reviews
from pipeline.curation.personal_data.names.lists import (
    ABROAD,
    CODAS,
    FIRST_NAMES,
    LAST_NAMES,
    ONSETS,
    PLACES,
    SOUNDS,
    SURNAMES,
    VOWELS,
)
from pipeline.curation.personal_data.names.sentences import ENGLISH, KOREAN
from pipeline.curation.personal_data.names.teaching import Example
from pipeline.curation.personal_data.names.transliteration import hangul_of
from pipeline.curation.personal_data.names.words import world

# The first and the second syllable of Korean given names; a frequent one stands more than once.
GIVEN = (
    "민민민서서지지지지하하도도수수수예예은은현현유유시우건준준승승태태미미경정정정영영영상상동동혜혜재재보성성성선선광종종병용석"
    "순명희옥기기진진윤윤주주아라나다소소세세연채가규한찬해홍두만철창문원인일효형근길덕봉춘말금복화향란새슬초별솔권능강남대"
)
SECOND = (
    "준준준서서서연연연우우우은은윤윤빈빈빈진진진호호호원원원현현현민민민아아아영영영희희희수수수정정숙숙철철혁혁석석훈훈훈주주선선미미"
    "경경자자라람율하하인인지지환환규규섭섭식식태택택덕근근기기배필권국용용웅욱욱일일만문범상순옥옥임례화향란실림린봄솔별늘이리나"
)
# Some words begin with a vowel, and about a third end with one.
BEGINNINGS, ENDINGS = (*ONSETS, ""), (*CODAS, *[""] * 9)


def latin(draw: random.Random) -> str:
    """A name as an English text has it."""
    first, last = _word(draw, FIRST_NAMES, 0), _word(draw, LAST_NAMES, 1)
    form = draw.random()
    if form < 0.45:
        return f"{first} {last}"
    if form < 0.55:
        return f"{first} {draw.choice('ABCDEFGHJKLMNPRSTVW')}{draw.choice(['.', '.', ''])} {last}"
    if form < 0.6:
        return f"{first} {_word(draw, FIRST_NAMES, 0)} {last}"
    if form < 0.62:
        return f"{first} {last}-{_word(draw, LAST_NAMES, 1)}"
    return first if form < 0.82 else last


def _word(draw: random.Random, names: Sequence[str], kind: int | None = None) -> str:
    """One of `names`, one of the world's first (0) or last (1) names, or a word that nobody is called."""
    form = draw.random()
    if form < 0.25 or (kind is None and form < 0.45):
        return draw.choice(names).capitalize()
    if kind is not None and form < 0.65:
        return draw.choice(world()[kind]).capitalize()
    syllables = draw.choice([1, 2, 2, 3])
    word = "".join(draw.choice(BEGINNINGS) + draw.choice(VOWELS) for _ in range(syllables)) + draw.choice(ENDINGS)
    return word.capitalize() if len(word) > 1 else word.upper() + "a"


def hangul(draw: random.Random) -> str:
    """A name as a Korean text has it: mostly a Korean one, with or without the surname, else one from abroad."""
    form = draw.random()
    if form < 0.55:
        weight = [30 if i < 20 else 8 if i < 60 else 1 for i in range(len(SURNAMES))]
        return draw.choices(SURNAMES, weight)[0] + (draw.choice(GIVEN) if draw.random() < 0.1 else _given(draw))
    if form < 0.63:
        return _given(draw)
    words = [_foreign(draw, number) for number in range(draw.choice([1, 2, 2]))]
    return draw.choice([" ", " ", ""]).join(words)


def _given(draw: random.Random) -> str:
    return draw.choice(GIVEN) + draw.choice(SECOND)


def _foreign(draw: random.Random, number: int) -> str:
    """The first (0) or a later name of somebody from abroad: a known one, one written by its sound, or syllables."""
    form = draw.random()
    if form < 0.45:
        return draw.choice([*(abroad.LAST if number else abroad.FIRST), *ABROAD])
    if form < 0.85:
        written = hangul_of(draw.choice(world()[min(number, 1)]))
        if 1 < len(written) < 7:
            return written
    return "".join(draw.choice(SOUNDS) for _ in range(draw.choice([2, 3, 3, 4])))


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
    return in_small_letters(Example(text + example.text[last:], tuple(names)), draw)


def _thing(value: str, draw: random.Random, known: Sequence[str]) -> str:
    """Something else of the same kind, or in Latin letters a word that nobody has seen."""
    if _is_hangul(value) or draw.random() < 0.6:
        return draw.choice(known) if known else value
    words = [
        _word(draw, ["Bank", "Group", "Systems", "Hill", "City", "Lake", "North", "New"]) for _ in value.split()[:3]
    ]
    return " ".join(words)


def sentences(draw: random.Random, each: int, things: Mapping[str, Sequence[str]]) -> Iterator[Example]:
    """Every sentence of sentences.py and news_and_reviews.py `each` times, with names in its places `{}`, and things
    that are nobody in its places `[]` (a known one, or one of `things`). One in twenty is all in small letters."""
    for templates, make, other in (
        ((*ENGLISH, *news_and_reviews.ENGLISH), latin, _latin_thing),
        ((*KOREAN, *news_and_reviews.KOREAN), hangul, lambda draw: draw.choice(abroad.THINGS)),
    ):
        known = [one for pool, some in things.items() if pool.endswith(str(make is hangul)) for one in some]
        for template in templates:
            for _ in range(each):
                text, names = "", []
                for part in re.split(r"(\{\}|\[\])", template):
                    if part == "{}":
                        name = make(draw)
                        names.append((len(text), len(text) + len(name)))
                        text += name
                    elif part == "[]":
                        text += draw.choice(known) if known and draw.random() < 0.5 else other(draw)
                    else:
                        text += part
                yield in_small_letters(Example(text, tuple(names)), draw)


def _latin_thing(draw: random.Random) -> str:
    """A place, or a firm or a street that is called after somebody, or as nothing is called."""
    form = draw.random()
    if form < 0.3:
        return draw.choice(PLACES[: PLACES.index("street")]).capitalize()
    if form < 0.6:
        return _word(draw, LAST_NAMES, 1)
    words = ["Systems", "Group", "Hill", "Lake", "North", "New", "Port", "San"]
    return " ".join(_word(draw, words) for _ in range(draw.choice([1, 1, 2])))


def in_small_letters(example: Example, draw: random.Random) -> Example:
    """One example in twenty as somebody in a hurry writes it."""
    small = example.text.lower()
    if draw.random() >= 0.05 or len(small) != len(example.text):
        return example
    return Example(small, example.names, example.others)

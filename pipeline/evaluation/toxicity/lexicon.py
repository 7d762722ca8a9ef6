"""Whether a text has a listed word: profanity, slurs and pornographic words of the stage `keyword_decisions`."""

from __future__ import annotations

import re
from functools import cache

from pipeline.curation.filters.keyword_lists import HARMLESS, PROFANITY, SEXUAL, SLURS, entries

LISTS = (PROFANITY, SLURS, SEXUAL)


def listed(text: str, lang: str) -> bool:
    """Whether a text of this language (`en`, `ko`) has a listed word. English words are whole, or beginnings where the
    list has a star; Korean ones may stand anywhere but in the harmless words."""
    words, harmless = _patterns(lang)
    return words.search(harmless.sub(" ", text.lower())) is not None


@cache
def _patterns(lang: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    every = sorted({word for words in LISTS for word in entries(words[lang])}, key=lambda word: (-len(word), word))
    harmless = "|".join(map(re.escape, sorted(entries(HARMLESS), key=len, reverse=True)))
    if lang == "ko":
        return re.compile("|".join(map(re.escape, every))), re.compile(harmless)
    whole = (re.escape(word.rstrip("*")) + (r"\w*" if word.endswith("*") else "") for word in every)
    return re.compile(rf"\b(?:{'|'.join(whole)})\b"), re.compile(harmless)

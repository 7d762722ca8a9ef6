"""Documents with a high density of listed words: profanity, slurs, pornography, spam, and the recipe's own words.

Density counts, not presence: C4 dropped every page with a single listed word, and with them medical, legal and literary
text. A novel may contain swear words; a comment of ten words that swears is removed. One search for all words at once
finds the few documents that contain any, and only these are counted.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import polars as pl
from pydantic import Field

from pipeline.curation.filters.keyword_lists import HARMLESS, LISTS, entries
from pipeline.curation.rules import Limit, Rule, decided_by
from pipeline.documents.reasons import OWN, meanings_of
from pipeline.documents.stage import FragmentStage
from pipeline.settings import StageSettings
from pipeline.text.words import count_strings

VERSION = "1"
# Words added to the length of each text, so that a single listed word removes only very short texts: at 15 in 1,000,
# one word removes a text of up to 16 words, two words one of up to 83, three words one of up to 150. A news report that
# quotes an insult has about 100 words and one or two of them.
PRIOR_WORDS = 50
LONGEST = 2_000_000  # most characters read of a text
SEARCHED_AS_PATTERN = 1000  # most words


def _dense(reason: str, meaning: str, listed: str, source: str) -> Rule:
    """The rule of one list: its words per 1,000 words."""
    density = pl.col(listed) * 1000 / (pl.col("words") + PRIOR_WORDS)
    limit = Limit(f"{listed} in 1,000 words", ">", f"max_{listed}", figure=density)
    return Rule(reason, meaning, source, limits=(limit,))


# C4 (Raffel et al. 2020, section 2.2) removes a page for a single word of the "List of Dirty, Naughty, Obscene or
# Otherwise Bad Words"; the lists, and the use of density, are this project's.
C4 = "this project; C4 (Raffel et al. 2020, section 2.2): any listed word"
RULES = (
    _dense("listed_words", "dense with words of the recipe's own list", "listed", OWN),
    _dense("slurs", "dense with slurs against groups of people", "slurs", C4),
    _dense("sexual_words", "dense with pornographic words", "sexual", C4),
    _dense("spam_words", "dense with words of gambling, pharmacy or loan spam", "spam", OWN),
    _dense("profanity", "dense with profanity", "profanity", C4),
)
REASONS = meanings_of(RULES)


class Settings(StageSettings):
    words: list[str] = Field(
        [], description="your own words; a star at the end makes a word a prefix, Hangul matches anywhere"
    )
    ignore: list[str] = Field([], description="phrases to remove before counting, in addition to the built-in ones")
    max_listed: float = Field(
        15, ge=0, le=1000, description="most words of your own list per 1,000 (50 words are added to the length)"
    )
    max_slurs: float = Field(15, ge=0, le=1000, description="most slurs per 1,000 words (50 are added to the length)")
    max_sexual: float = Field(
        15, ge=0, le=1000, description="most pornographic words per 1,000 (50 are added to the length)"
    )
    max_spam: float = Field(15, ge=0, le=1000, description="most spam words per 1,000 (50 are added to the length)")
    max_profanity: float = Field(
        15, ge=0, le=1000, description="most profane words per 1,000 (50 are added to the length)"
    )


def signals(documents: pl.DataFrame, settings: Settings, models: dict[str, Path]) -> pl.DataFrame:
    """`words` (between spaces) and the number of words of each list: `listed`, `slurs`, `sexual`, `spam`,
    `profanity` (all u32)."""
    texts = documents["text"].str.slice(0, LONGEST)
    patterns, literals = patterns_of(tuple(settings.words))
    suspects = _holding(texts, literals).fill_null(False)
    harmless = [*entries(HARMLESS), *settings.ignore]
    cleaned = texts.filter(suspects).str.replace_many(harmless, [" "] * len(harmless), ascii_case_insensitive=True)
    place = suspects.arg_true()
    counts = {"words": count_strings(texts)}
    for name, pattern in patterns.items():
        column = pl.zeros(len(texts), dtype=pl.UInt32, eager=True)
        if pattern and len(place):
            column = column.scatter(place, cleaned.str.count_matches(pattern).cast(pl.UInt32))
        counts[name] = column
    return pl.DataFrame(counts)


def decide(signals: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Remove documents above a list's limit; the score is the highest density per 1,000 words."""
    densities = [limit.measured() for rule in RULES for limit in rule.limits]
    return decided_by(signals, RULES, settings, pl.max_horizontal(densities))


STAGE = FragmentStage(
    name="keyword_decisions",
    block="keywords",
    description="Documents that contain words of a block list too often. The list has a part for each language.",
    settings=Settings,
    version=VERSION,
    rules=RULES,
    signals=signals,
    decide=decide,
    signal_settings=("words", "ignore"),
)


def _holding(texts: pl.Series, literals: list[str]) -> pl.Series:
    """Which texts hold any of the literals, in small letters; ASCII capitals count as these."""
    if len(literals) > SEARCHED_AS_PATTERN:
        return texts.str.contains_any(literals, ascii_case_insensitive=True)
    # Takes two thirds of the time; of a very long list the automaton would be too large.
    ascii_words = "|".join(re.escape(word) for word in literals if word.isascii())
    others = (re.sub("[a-z]+", r"(?i-u:\g<0>)", re.escape(word)) for word in literals if not word.isascii())
    return texts.str.contains("|".join([f"(?i-u:{ascii_words})", *others]))


@cache
def patterns_of(own: tuple[str, ...]) -> tuple[dict[str, str | None], list[str]]:
    """A pattern for each list, and the literals of which at least one is in every match."""
    lists = {"listed": list(own)}
    for kind, by_language in LISTS.items():
        lists[kind] = [word for words in by_language.values() for word in entries(words)]
    patterns = {kind: _pattern(words) for kind, words in lists.items()}
    literals = sorted({word.removesuffix("*").lower() for words in lists.values() for word in words})
    return patterns, literals


def _pattern(words: list[str]) -> str | None:
    """A pattern that matches any of the words: ASCII ones as whole words, all others anywhere.

    Word boundaries are ASCII ones: a word ends before a Korean particle, and the fast engine needs them.
    """
    if not words:
        return None
    plain, anywhere = [], []
    for word in sorted(words, key=len, reverse=True):
        stem = re.escape(word.removesuffix("*")).replace(r"\ ", r"[ -]")
        if word.isascii():
            plain.append(stem + ("[a-z]*" if word.endswith("*") else ""))
        else:
            anywhere.append(stem)
    parts = [rf"(?-u:\b)(?:{'|'.join(plain)})(?-u:\b)"] if plain else []
    return "(?i)" + "|".join(parts + anywhere)

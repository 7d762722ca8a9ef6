"""The presets of the heuristics: published filters, rule by rule, with the values of their code (datatrove 0.10).

A preset fills in the settings that a recipe does not name, and its rules take the place of this project's for prose;
`published_figures.py` counts. Reasons have datatrove's names. Code is judged by the rules for code as ever.
"""

from __future__ import annotations

from typing import Any

import polars as pl
from pydantic import BaseModel

from pipeline.curation.filters.gopher_repetition import DUPLICATE, TOP
from pipeline.curation.rules import Limit, Rule, Side

OURS = "ours"
KOREAN_ALONE = "fineweb2-korean"
# Properties of the settings that switch rules: whether this project's rules are in force, or those of a preset.
OWN_RULES, SWITCH = "own_rules", "published"

GOPHER = "Gopher (Rae et al. 2021, appendix A1.1), as in datatrove 0.10"
TABLE = "Gopher (Rae et al. 2021, appendix A1.1, table A1), as in datatrove 0.10"
C4 = "C4 (Raffel et al. 2020, section 2.2), as in datatrove 0.10"
FINEWEB = "FineWeb (Penedo et al. 2024, section 3.6), as in datatrove 0.10"

# The defaults of datatrove's filters, by the keys of the recipe.
_VALUES: dict[str, dict[str, Any]] = {
    "gopher": {
        "min_words": 50, "max_words": 100_000, "word_length": (3, 10), "max_symbols": 0.1, "max_bullet_lines": 0.9,
        "max_ellipsis_lines": 0.3, "min_alpha_words": 0.8, "min_stop_words": 2,
    },
    "repetition": {
        "dup_lines": 0.3, "dup_line_chars": 0.2, "dup_paragraphs": 0.3, "dup_paragraph_chars": 0.2,
        "top": (0.2, 0.18, 0.16), "duplicate": (0.15, 0.14, 0.13, 0.12, 0.11, 0.1),
    },
    "c4": {"lorem_ipsum": True, "curly_bracket": True, "min_sentences": 5},
    "fineweb": {"min_ended_lines": 0.12, "max_short_lines": 0.67, "max_dup_line_chars": 0.01, "max_newlines": 0.3},
}  # fmt: skip
# FineWeb2's configs/kor_Hang.yml, and what its pipeline sets for all languages. A share of 1 switches a rule off. Its
# score of the language, 0.842, is one of GlotLID, which this project does not run.
_KOREAN: dict[str, dict[str, Any]] = {
    "gopher": {"word_length": (1, 6), "min_alpha_words": 0.791},
    "repetition": {
        "dup_lines": 0.374, "dup_line_chars": 1, "dup_paragraphs": 1, "dup_paragraph_chars": 1,
        "top": (0.282, 0.228, 0.185), "duplicate": (0.201, 0.184, 0.168, 0.154, 0.14, 0.127),
    },
    "fineweb": {"min_ended_lines": 0.062, "max_short_lines": 1, "max_dup_line_chars": 0.1, "max_newlines": 0.196},
}  # fmt: skip
KOREAN_STOP_WORDS = (
    "의", "다", "이", "는", "에", "을", "한", "년", "하", "은", "를", "했", "고", "에서", "가", "있", "으로", "인",
    "월", "로", "되",
)  # fmt: skip


def _preset(*enabled: str, changes: dict[str, dict[str, Any]] | None = None) -> dict[str, dict[str, Any]]:
    """The settings of a preset that runs these groups of rules."""
    return {
        group: values | (changes or {}).get(group, {}) | {"enabled": group in enabled}
        for group, values in _VALUES.items()
    }


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "gopher": _preset("gopher", "repetition"),
    "c4": _preset("c4"),
    "fineweb": _preset("fineweb"),
    KOREAN_ALONE: _preset("gopher", "repetition", "fineweb", changes=_KOREAN),
}
PRESET_STOP_WORDS = {KOREAN_ALONE: KOREAN_STOP_WORDS}


def preset_of(rule: Rule) -> str:
    """The preset whose paper a rule is from."""
    groups = {setting.partition(".")[0] for setting in rule.switches}
    return next(name for name, of in PRESETS.items() if any(group in groups and of[group]["enabled"] for group in of))


def filled_in(given: dict[str, Any]) -> dict[str, Any]:
    """The settings of the heuristics with the values of the preset where they say nothing themselves."""
    preset = PRESETS.get(given.get("preset", OURS)) if isinstance(given.get("preset", OURS), str) else None
    if preset is None:
        return given
    filled = dict(given)
    for group, values in preset.items():
        own = given.get(group, {})
        if isinstance(own, BaseModel):
            own = own.model_dump(include=own.model_fields_set)
        if isinstance(own, dict):
            filled[group] = {**values, **own}
    return filled


def _one(reason: str, meaning: str, source: str, group: str, signal: str, removes: Side, setting: str) -> Rule:
    """A rule of one figure."""
    limits = (Limit(signal, removes, f"{group}.{setting}"),)
    return Rule(reason, meaning, source, limits=limits, switches=(SWITCH, f"{group}.enabled"))


RULES = (
    _one("dup_para_frac", "too many repeated paragraphs", TABLE, "repetition", "dup_paragraphs", ">", "dup_paragraphs"),
    _one("dup_para_char_frac", "too many characters in repeated paragraphs", TABLE,
         "repetition", "dup_paragraph_chars", ">", "dup_paragraph_chars"),
    _one("dup_line_frac", "too many repeated lines", TABLE, "repetition", "dup_lines", ">", "dup_lines"),
    _one("dup_line_char_frac", "too many characters in repeated lines", TABLE,
         "repetition", "dup_line_chars", ">", "dup_line_chars"),
    *(_one(f"top_{n}_gram", f"the most frequent phrase of {n} words takes up too much of the text", TABLE,
           "repetition", f"top_{n}", ">", f"top.{place}") for place, n in enumerate(TOP)),
    *(_one(f"duplicated_{n}_n_grams", f"too many characters in repeated phrases of {n} words", TABLE,
           "repetition", f"dup_{n}", ">", f"duplicate.{place}") for place, n in enumerate(DUPLICATE)),
    _one("gopher_short_doc", "too few words", GOPHER, "gopher", "words", "<", "min_words"),
    _one("gopher_long_doc", "too many words", GOPHER, "gopher", "words", ">", "max_words"),
    _one("gopher_below_avg_threshold", "words too short on average", GOPHER,
         "gopher", "word_length", "<", "word_length.0"),
    _one("gopher_above_avg_threshold", "words too long on average", GOPHER,
         "gopher", "word_length", ">", "word_length.1"),
    _one("gopher_too_many_hashes", "too many hashes per word", GOPHER, "gopher", "hashes", ">", "max_symbols"),
    _one("gopher_too_many_ellipsis", "too many ellipses per word", GOPHER, "gopher", "ellipses", ">", "max_symbols"),
    _one("gopher_too_many_bullets", "nearly all lines are bullet points", GOPHER,
         "gopher", "bullet_lines", ">", "max_bullet_lines"),
    _one("gopher_too_many_end_ellipsis", "many lines end in an ellipsis", GOPHER,
         "gopher", "ellipsis_lines", ">", "max_ellipsis_lines"),
    _one("gopher_below_alpha_threshold", "too many words without a letter, commas among them", GOPHER,
         "gopher", "alpha_words", "<", "min_alpha_words"),
    _one("gopher_enough_stop_words", "hardly any of the stop words", GOPHER,
         "gopher", "stop_words", "<", "min_stop_words"),
    Rule("lorem_ipsum", "contains the filler text `lorem ipsum` in a line that C4 keeps", C4,
         flag=pl.col("lorem_ipsum"), switches=(SWITCH, "c4.enabled", "c4.lorem_ipsum")),
    Rule("curly_bracket", "contains a curly bracket in a line that C4 keeps", C4,
         flag=pl.col("braces"), switches=(SWITCH, "c4.enabled", "c4.curly_bracket")),
    _one("too_few_sentences", "too few sentences in the lines that C4 keeps", C4,
         "c4", "sentences", "<", "min_sentences"),
    _one("line_punct_ratio", "hardly any line ends in punctuation", FINEWEB,
         "fineweb", "ended_lines", "<", "min_ended_lines"),
    _one("short_line_ratio", "most lines have at most 30 characters", FINEWEB,
         "fineweb", "short_lines_30", ">", "max_short_lines"),
    _one("char_dup_ratio", "too many characters in repeated lines", FINEWEB,
         "fineweb", "repeated_line_chars", ">", "max_dup_line_chars"),
    _one("list_ratio", "as many line breaks as in a list", FINEWEB, "fineweb", "newlines", ">", "max_newlines"),
)  # fmt: skip

"""The heuristic rules: the figure and setting of each, the documents that it applies to, and its source.

`heuristics.py` defines the settings and computes the figures. The figures of the prose rules are null for code and
those of the code rules are null for prose; null breaks no rule. The first rule that a document breaks is its reason.
"""

from __future__ import annotations

import polars as pl

from pipeline.curation.filters.gopher_repetition import DUPLICATE, TOP
from pipeline.curation.rules import Limit, Rule, Scope, Side

# Fewest lines for a meaningful share of bullets: a short passage may start with a number and a bracket.
FEWEST_LINES = 5

KOREAN = Scope("Korean", pl.col("kind") == "ko")
SPACED = Scope("other text with spaces", pl.col("kind") == "spaced")
NOT_SPACED = Scope("Korean and text without spaces", pl.col("kind") != "spaced")
CODE = Scope("code", pl.col("kind") == "code")
OF_SOME_LINES = Scope(f"text of {FEWEST_LINES} lines and more", pl.col("lines") >= FEWEST_LINES)

# A page of entries (a reference, a table of contents, a glossary) has many short lines; a spun text has few long ones.
ENTRY_LINES, ENTRY_WORDS = 25, 25
_ENTRIES = (pl.col("lines") >= ENTRY_LINES) & (pl.col("words") <= ENTRY_WORDS * pl.col("lines"))
ENTRIES = Scope(f"pages of {ENTRY_LINES} lines and more, of at most {ENTRY_WORDS} words on average", _ENTRIES)
RUNNING = Scope("other text", ~_ENTRIES)

GOPHER = "Gopher (Rae et al. 2021, appendix A1.1)"
GOPHER_TABLE = "Gopher (Rae et al. 2021, appendix A1.1, table A1)"
C4 = "C4 (Raffel et al. 2020, section 2.2)"
FINEWEB = "FineWeb (Penedo et al. 2024, section 3.6)"
STARCODER = "StarCoder (Li et al. 2023, section 3.2)"


def _korean_apart(signal: str, removes: Side, setting: str, korean: str) -> tuple[Limit, Limit]:
    """A limit for text with spaces and one for Korean, whose eojeol and syllables carry more than words and letters."""
    return Limit(signal, removes, setting, SPACED), Limit(signal, removes, korean, KOREAN)


GOPHER_QUALITY_RULES = (
    Rule(
        "gopher_short",
        "fewer words than `min_words`",
        f"{GOPHER}: 50; of Korean: this project",
        limits=_korean_apart("words", "<", "gopher.min_words", "gopher.min_words_ko"),
        switches=("gopher.enabled",),
    ),
    Rule(
        "gopher_long",
        "more words than `max_words`",
        f"{GOPHER}: 100,000",
        limits=(Limit("words", ">", "gopher.max_words"),),
        switches=("gopher.enabled",),
    ),
    Rule(
        "gopher_word_length",
        "words too short or too long on average to be prose",
        f"{GOPHER}: 3 to 10; of Korean: this project",
        limits=(
            *_korean_apart("word_length", "<", "gopher.word_length.0", "gopher.word_length_ko.0"),
            *_korean_apart("word_length", ">", "gopher.word_length.1", "gopher.word_length_ko.1"),
        ),
        switches=("gopher.enabled",),
    ),
    Rule(
        "gopher_symbols",
        "too many hashes or ellipses per word",
        f"{GOPHER}: 0.1",
        limits=(Limit("hashes", ">", "gopher.max_symbols"), Limit("ellipses", ">", "gopher.max_symbols")),
        switches=("gopher.enabled",),
    ),
    Rule(
        "gopher_bullets",
        "nearly all lines are bullet points",
        f"{GOPHER}: 0.9",
        limits=(Limit("bullet_lines", ">", "gopher.max_bullet_lines"),),
        scope=OF_SOME_LINES,
        switches=("gopher.enabled",),
    ),
    Rule(
        "gopher_ellipsis_lines",
        "many lines end in an ellipsis, as cut previews do",
        f"{GOPHER}: 0.3",
        limits=(Limit("ellipsis_lines", ">", "gopher.max_ellipsis_lines"),),
        switches=("gopher.enabled",),
    ),
    Rule(
        "gopher_alpha_words",
        "too many words without a letter",
        f"{GOPHER}: 0.8; of Korean: this project",
        limits=_korean_apart("alpha_words", "<", "gopher.min_alpha_words", "gopher.min_alpha_words_ko"),
        switches=("gopher.enabled",),
    ),
    Rule(
        "gopher_stop_words",
        "hardly any of the words that occur in all prose",
        f"{GOPHER}: 2; Korean endings: this project",
        limits=(
            Limit("stop_words", "<", "gopher.min_stop_words", SPACED),
            Limit("korean_endings", "<", "gopher.min_endings_ko", KOREAN),
        ),
        switches=("gopher.enabled",),
    ),
)

GOPHER_REPETITION_RULES = (
    Rule(
        "gopher_dup_lines",
        "too many repeated lines, or characters in them",
        f"{GOPHER_TABLE}: 0.3 and 0.2",
        limits=(
            Limit("dup_lines", ">", "repetition.dup_lines"),
            Limit("dup_line_chars", ">", "repetition.dup_line_chars"),
        ),
        switches=("repetition.enabled",),
    ),
    Rule(
        "gopher_dup_paragraphs",
        "too many repeated paragraphs, or characters in them",
        f"{GOPHER_TABLE}: 0.3 and 0.2",
        limits=(
            Limit("dup_paragraphs", ">", "repetition.dup_paragraphs"),
            Limit("dup_paragraph_chars", ">", "repetition.dup_paragraph_chars"),
        ),
        switches=("repetition.enabled",),
    ),
    Rule(
        "gopher_top_ngram",
        "one phrase of two to four words takes up too much of the text",
        f"{GOPHER_TABLE}: 0.20, 0.18, 0.16",
        limits=tuple(Limit(f"top_{n}", ">", f"repetition.top.{place}") for place, n in enumerate(TOP)),
        switches=("repetition.enabled",),
    ),
    Rule(
        "gopher_dup_ngrams",
        "too many characters in repeated phrases of five to ten words",
        f"{GOPHER_TABLE}: 0.15, 0.14, 0.13, 0.12, 0.11, 0.10; of entries: this project",
        limits=tuple(
            Limit(f"dup_{n}", ">", f"repetition.{setting}.{place}", scope)
            for setting, scope in (("duplicate", RUNNING), ("duplicate_entries", ENTRIES))
            for place, n in enumerate(DUPLICATE)
        ),
        switches=("repetition.enabled",),
    ),
)

C4_RULES = (
    Rule(
        "c4_lorem_ipsum",
        "contains the filler text `lorem ipsum`",
        C4,
        flag=pl.col("lorem_ipsum"),
        switches=("c4.enabled", "c4.lorem_ipsum"),
    ),
    Rule(
        "c4_curly_bracket",
        "contains a curly bracket",
        f"{C4}; off here: it costs every page about programming",
        flag=pl.col("braces"),
        switches=("c4.enabled", "c4.curly_bracket"),
    ),
    Rule(
        "c4_few_sentences",
        "fewer sentences than `min_sentences`",
        f"{C4}: 5, its code: 3",
        limits=(Limit("sentences", "<", "c4.min_sentences"),),
        switches=("c4.enabled",),
    ),
)

FINEWEB_RULES = (
    Rule(
        "fineweb_line_ends",
        "hardly any line or sentence ends in punctuation",
        f"{FINEWEB}: 0.12",
        # A line may be a whole paragraph, or be cut off; then the sentences inside it count.
        limits=(
            Limit(
                "ended_lines or ends", "<", "fineweb.min_ended_lines", figure=pl.max_horizontal("ended_lines", "ends")
            ),
        ),
        switches=("fineweb.enabled",),
    ),
    Rule(
        "fineweb_short_lines",
        "most lines are as short as a menu's",
        f"{FINEWEB}: 0.67 of at most 30 characters; 15 for Korean: this project",
        limits=(
            Limit("short_lines_30", ">", "fineweb.max_short_lines", SPACED),
            Limit("short_lines_15", ">", "fineweb.max_short_lines", NOT_SPACED),
        ),
        switches=("fineweb.enabled",),
    ),
    Rule(
        "fineweb_dup_line_chars",
        "too many characters in repeated lines, by the stricter limit",
        f"{FINEWEB}: 0.1",
        limits=(Limit("dup_line_chars", ">", "fineweb.max_dup_line_chars"),),
        switches=("fineweb.enabled",),
    ),
    Rule(
        "fineweb_list",
        "as many line breaks as in a list",
        f"{FINEWEB}: 0.3; of Korean: this project",
        limits=_korean_apart("newlines", ">", "fineweb.max_newlines", "fineweb.max_newlines_ko"),
        switches=("fineweb.enabled",),
    ),
)

MARKUP_RULES = (Rule("markup", "most of the characters are tags", limits=(Limit("markup", ">", "max_markup"),)),)

CODE_RULES = (
    Rule(
        "code_line_length",
        "code whose longest line or average line is too long to be written by hand",
        f"{STARCODER}: 1,000 and 100 characters",
        limits=(Limit("longest_line", ">", "code.max_line"), Limit("mean_line", ">", "code.max_mean_line")),
        scope=CODE,
        switches=("code.enabled",),
    ),
    Rule(
        "code_alnum",
        "code with too few letters and digits, such as data or drawings",
        f"{STARCODER}: 0.25",
        limits=(Limit("alnum", "<", "code.min_alnum"),),
        scope=CODE,
        switches=("code.enabled",),
    ),
    Rule(
        "code_generated",
        "code that says it was generated",
        STARCODER,
        flag=pl.col("generated"),
        scope=CODE,
        switches=("code.enabled", "code.generated"),
    ),
)

PROSE_RULES = (*GOPHER_QUALITY_RULES, *GOPHER_REPETITION_RULES, *C4_RULES, *FINEWEB_RULES, *MARKUP_RULES)

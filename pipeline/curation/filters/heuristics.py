"""The rules of thumb of Gopher, C4 and FineWeb for prose, and of StarCoder for code, as columns and thresholds.

Every paper's threshold was made for English web pages. Which of them a document is held to depends on its kind: code is
held to the rules for code alone; Korean is counted by eojeol, with limits of its own where an eojeol or a syllable
says more than an English word or letter; text written without spaces is not judged by its words. Blocks of code in a
page of documentation are left out of what the prose rules read.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import polars as pl
from pydantic import Field

from pipeline.curation.filters.code_rules import code_rule_columns
from pipeline.curation.filters.gopher_quality import quality_columns
from pipeline.curation.filters.gopher_repetition import DUPLICATE, TOP, repetition_columns
from pipeline.curation.filters.web_rules import markup_share, web_columns
from pipeline.curation.rules import Rule, decided_by
from pipeline.documents.stage import FragmentStage
from pipeline.settings import Settings as Block
from pipeline.settings import StageSettings
from pipeline.text.characters import SCRIPTS, count_kinds
from pipeline.text.code_lines import without_blocks
from pipeline.text.kinds import code_or_not, kinds_of_prose
from pipeline.text.pieces import lines, paragraphs, words
from pipeline.text.prose import prose_of

VERSION = "1"
REASONS = {
    "gopher_short": "fewer words than min_words",
    "gopher_long": "more words than max_words",
    "gopher_word_length": "words too short or too long on average to be prose",
    "gopher_symbols": "more hashes or ellipses than a tenth of the words",
    "gopher_bullets": "nearly all lines are bullet points",
    "gopher_ellipsis_lines": "many lines end in an ellipsis, as cut previews do",
    "gopher_alpha_words": "too many of the words hold no letter",
    "gopher_stop_words": "hardly any of the words that prose cannot do without",
    "gopher_dup_lines": "too many lines, or characters in lines, that stood before",
    "gopher_dup_paragraphs": "too many paragraphs, or characters in them, that stood before",
    "gopher_top_ngram": "one phrase of two to four words takes up too much of the text",
    "gopher_dup_ngrams": "too many characters in phrases of five to ten words that stood before",
    "c4_lorem_ipsum": "holds the filler text `lorem ipsum`",
    "c4_curly_bracket": "holds a curly bracket",
    "c4_few_sentences": "fewer sentences than min_sentences",
    "fineweb_line_ends": "hardly any line or sentence ends in punctuation",
    "fineweb_short_lines": "most lines are as short as a menu's",
    "fineweb_dup_line_chars": "more than a tenth of the characters stand in repeated lines",
    "fineweb_list": "as many line breaks as a list has",
    "markup": "most of the characters are tags",
    "code_line_length": "code with a line or an average line too long to be written by hand",
    "code_alnum": "code with too few letters and digits, such as data or drawings",
    "code_generated": "code that says it was generated",
}
FEWEST_LINES = 5  # of which a share of bullets can be told: a passage may start with a number and a bracket
LONGEST = 2_000_000  # characters of a text that are looked at: four times what max_words of prose have
CHUNK_BYTES = 4_000_000  # of text worked on at once: the memory stays small and the columns in the cache


class Gopher(Block):
    enabled: bool = Field(True, description="Gopher's quality rules (Rae et al. 2021, appendix A1.1)")
    min_words: int = Field(50, ge=0, description="fewest words (Gopher: 50)")
    min_words_ko: int = Field(
        30, ge=0, description="fewest eojeol of a Korean text (an eojeol is some 1.6 English words)"
    )
    max_words: int = Field(100_000, description="most words (Gopher: 100,000)")
    word_length: tuple[float, float] = Field((3, 10), description="mean word length from, to (Gopher: 3 to 10)")
    word_length_ko: tuple[float, float] = Field(
        (1.8, 7), description="mean length of an eojeol in syllables; prose has 3.2"
    )
    max_symbols: float = Field(0.1, description="most hashes, and most ellipses, for each word (Gopher: 0.1)")
    max_bullet_lines: float = Field(0.9, description="largest share of lines that start with a bullet (Gopher: 0.9)")
    max_ellipsis_lines: float = Field(0.3, description="largest share of lines that end in an ellipsis (Gopher: 0.3)")
    min_alpha_words: float = Field(0.8, description="least share of words with a letter (Gopher: 0.8)")
    min_alpha_words_ko: float = Field(
        0.7, description="the same of Korean text, where units stand beside numbers without a space"
    )
    min_stop_words: int = Field(
        2,
        ge=0,
        le=8,
        description="how many of the, be, to, of, and, that, have, with (Gopher: 2); 0 for other languages",
    )
    min_endings_ko: int = Field(2, ge=0, le=16, description="how many of 16 Korean particles and endings have to occur")


class Repetition(Block):
    enabled: bool = Field(True, description="Gopher's repetition rules (Rae et al. 2021, table A1)")
    dup_lines: float = Field(0.3, description="largest share of lines that stood before (Gopher: 0.3)")
    dup_line_chars: float = Field(0.2, description="largest share of characters in them (Gopher: 0.2)")
    dup_paragraphs: float = Field(0.3, description="the same for paragraphs (Gopher: 0.3)")
    dup_paragraph_chars: float = Field(0.2, description="the same for characters in paragraphs (Gopher: 0.2)")
    top: tuple[float, float, float] = Field(
        (0.20, 0.18, 0.16), description="most characters in the most frequent 2-, 3- and 4-gram (Gopher: these)"
    )
    duplicate: tuple[float, float, float, float, float, float] = Field(
        (0.15, 0.14, 0.13, 0.12, 0.11, 0.10), description="most characters in repeated 5- to 10-grams (Gopher: these)"
    )


class C4(Block):
    enabled: bool = Field(True, description="C4's rules for whole pages (Raffel et al. 2020, section 2.2)")
    lorem_ipsum: bool = Field(True, description="remove what holds `lorem ipsum`")
    curly_bracket: bool = Field(
        False, description="remove what holds `{` (C4: yes; it costs every page about programming)"
    )
    min_sentences: int = Field(3, ge=0, description="fewest ends of sentences (C4's code: 3, its paper: 5)")


class FineWeb(Block):
    enabled: bool = Field(True, description="FineWeb's rules (Penedo et al. 2024, section 3.6)")
    min_ended_lines: float = Field(0.12, description="least share of lines that end in punctuation (FineWeb: 0.12)")
    max_short_lines: float = Field(
        0.67, description="largest share of lines of at most 30 characters, 15 of Korean (FineWeb: 0.67 and 30)"
    )
    max_dup_line_chars: float = Field(0.1, description="most characters in repeated lines (FineWeb's paper: 0.1)")
    max_newlines: float = Field(0.3, description="most line breaks for each word (FineWeb: 0.3)")
    max_newlines_ko: float = Field(0.45, description="the same for each eojeol")


class Code(Block):
    enabled: bool = Field(True, description="StarCoder's rules for source code (Li et al. 2023, section 3.2)")
    max_line: int = Field(1000, description="longest line in characters (StarCoder: 1,000)")
    max_mean_line: float = Field(100, description="longest average line (StarCoder: 100)")
    min_alnum: float = Field(0.25, description="least share of letters and digits (StarCoder: 0.25)")
    generated: bool = Field(True, description="remove files that say at their start that they were generated")


class Settings(StageSettings):
    spare: list[str] = Field(
        [], description="sources that are not judged: verse, dictionaries, messages, all that is good and no prose"
    )
    gopher: Gopher = Gopher()
    repetition: Repetition = Repetition()
    c4: C4 = C4()
    fineweb: FineWeb = FineWeb()
    code: Code = Code()
    max_markup: float = Field(0.5, description="largest share of characters that lie in tags")


def signals(documents: pl.DataFrame, settings: Settings, models: dict[str, Path]) -> pl.DataFrame:
    """`kind` (`code`, `ko`, `unspaced` or `spaced`) and the figures that the rules look at (f32, u32, u8, bool).

    The columns of the prose rules are null for code, and those of the code rules for prose.
    """
    documents = documents.with_columns(pl.col("text").fill_null("").str.slice(0, LONGEST))
    sizes = documents["text"].str.len_bytes().cum_sum() // CHUNK_BYTES
    bounds = [0, *(sizes.diff().fill_null(0) > 0).arg_true().to_list(), documents.height]
    frames = [_columns(documents[start:end]) for start, end in pairwise(bounds)]
    spared = documents["source"].is_in(settings.spare).alias("spared")
    return pl.concat(frames, how="vertical").with_columns(spared)


def decide(signals: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """The first rule that a document breaks is its reason; no score."""
    prose = (
        gopher_rules(settings.gopher) * settings.gopher.enabled
        + repetition_rules(settings.repetition) * settings.repetition.enabled
        + c4_rules(settings.c4) * settings.c4.enabled
        + fineweb_rules(settings.fineweb) * settings.fineweb.enabled
        + [("markup", pl.col("markup") > settings.max_markup)]
    )
    rules = prose + code_rules(settings.code) * settings.code.enabled
    return decided_by(signals, [(reason, condition & ~pl.col("spared")) for reason, condition in rules])


def _korean(korean: float, other: float) -> pl.Expr:
    return pl.when(pl.col("kind") == "ko").then(korean).otherwise(other)


def gopher_rules(limits: Gopher) -> list[Rule]:
    """Gopher's quality rules. Null columns (code) break none."""
    by_words = pl.col("kind").is_in(["ko", "spaced"])
    length = pl.col("word_length")
    too_short = length < _korean(limits.word_length_ko[0], limits.word_length[0])
    too_long = length > _korean(limits.word_length_ko[1], limits.word_length[1])
    few_stop_words = (pl.col("kind") == "spaced") & (pl.col("stop_words") < limits.min_stop_words)
    few_endings = (pl.col("kind") == "ko") & (pl.col("korean_endings") < limits.min_endings_ko)
    return [
        ("gopher_short", by_words & (pl.col("words") < _korean(limits.min_words_ko, limits.min_words))),
        ("gopher_long", pl.col("words") > limits.max_words),
        ("gopher_word_length", by_words & (too_short | too_long)),
        ("gopher_symbols", (pl.col("hashes") > limits.max_symbols) | (pl.col("ellipses") > limits.max_symbols)),
        ("gopher_bullets", (pl.col("bullet_lines") > limits.max_bullet_lines) & (pl.col("lines") >= FEWEST_LINES)),
        ("gopher_ellipsis_lines", pl.col("ellipsis_lines") > limits.max_ellipsis_lines),
        (
            "gopher_alpha_words",
            by_words & (pl.col("alpha_words") < _korean(limits.min_alpha_words_ko, limits.min_alpha_words)),
        ),
        ("gopher_stop_words", few_stop_words | few_endings),
    ]


def repetition_rules(limits: Repetition) -> list[Rule]:
    """Gopher's repetition rules."""
    lines_again = (pl.col("dup_lines") > limits.dup_lines) | (pl.col("dup_line_chars") > limits.dup_line_chars)
    paragraphs_again = (pl.col("dup_paragraphs") > limits.dup_paragraphs) | (
        pl.col("dup_paragraph_chars") > limits.dup_paragraph_chars
    )
    return [
        ("gopher_dup_lines", lines_again),
        ("gopher_dup_paragraphs", paragraphs_again),
        (
            "gopher_top_ngram",
            pl.any_horizontal(pl.col(f"top_{n}") > limit for n, limit in zip(TOP, limits.top, strict=True)),
        ),
        (
            "gopher_dup_ngrams",
            pl.any_horizontal(pl.col(f"dup_{n}") > limit for n, limit in zip(DUPLICATE, limits.duplicate, strict=True)),
        ),
    ]


def c4_rules(limits: C4) -> list[Rule]:
    """C4's rules for whole pages."""
    rules = [("c4_lorem_ipsum", pl.col("lorem_ipsum"))] if limits.lorem_ipsum else []
    if limits.curly_bracket:
        rules.append(("c4_curly_bracket", pl.col("braces")))
    return [*rules, ("c4_few_sentences", pl.col("sentences") < limits.min_sentences)]


def fineweb_rules(limits: FineWeb) -> list[Rule]:
    """FineWeb's rules. A line that holds a whole paragraph, or is cut off, shows its sentences inside: these count."""
    ended = pl.max_horizontal("ended_lines", "ends")
    short = pl.when(pl.col("kind") == "spaced").then("short_lines_30").otherwise("short_lines_15")
    return [
        ("fineweb_line_ends", ended < limits.min_ended_lines),
        ("fineweb_short_lines", short > limits.max_short_lines),
        ("fineweb_dup_line_chars", pl.col("dup_line_chars") > limits.max_dup_line_chars),
        (
            "fineweb_list",
            pl.col("kind").is_in(["ko", "spaced"])
            & (pl.col("newlines") > _korean(limits.max_newlines_ko, limits.max_newlines)),
        ),
    ]


def code_rules(limits: Code) -> list[Rule]:
    """StarCoder's rules for source code."""
    code = pl.col("kind") == "code"
    too_long = (pl.col("longest_line") > limits.max_line) | (pl.col("mean_line") > limits.max_mean_line)
    rules = [("code_line_length", code & too_long), ("code_alnum", code & (pl.col("alnum") < limits.min_alnum))]
    return rules + ([("code_generated", code & pl.col("generated"))] if limits.generated else [])


STAGE = FragmentStage(
    name="heuristic_decisions",
    block="heuristics",
    description="The rules of Gopher, C4 and FineWeb: too short, repetitive, full of symbols or lists, broken lines.",
    settings=Settings,
    version=VERSION,
    reasons=REASONS,
    signals=signals,
    decide=decide,
    signal_settings=("spare",),
)


def _columns(documents: pl.DataFrame) -> pl.DataFrame:
    code, fenced = code_or_not(documents)
    texts_of_prose, texts_of_code = documents["text"].filter(~code), documents["text"].filter(code)
    outside = without_blocks(texts_of_prose, fenced.filter(~code))
    prose = _prose_columns(prose_of(outside)).with_columns(markup_share(outside))
    about = code_rule_columns(texts_of_code, lines(texts_of_code)).with_columns(kind=pl.lit("code"))
    place = pl.concat([(~code).arg_true(), code.arg_true()]).arg_sort()
    return pl.concat([prose, about], how="diagonal")[place]


def _prose_columns(texts: pl.Series) -> pl.DataFrame:
    counts, in_lines = count_kinds(texts), lines(texts)
    characters = counts.select(pl.sum_horizontal("digits", *SCRIPTS)).to_series()
    return pl.concat(
        [
            kinds_of_prose(counts).to_frame(),
            quality_columns(texts, in_lines, characters),
            repetition_columns(in_lines, paragraphs(texts), words(texts)),
            web_columns(texts, in_lines),
            pl.DataFrame({"lines": in_lines.total()}, schema={"lines": pl.UInt32}),
        ],
        how="horizontal",
    )

"""The figures and settings of the heuristic rules: Gopher, C4 and FineWeb for prose, StarCoder for code.

The thresholds of these papers were chosen for English web pages. Which of them apply to a document depends on its
kind. Code is judged by the rules for code alone. Korean is counted by eojeol, with limits of its own where an eojeol or
a syllable carries more information than an English word or letter. Text without spaces is not judged by its words. The
prose rules do not read the code blocks in a page of documentation.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from pipeline.curation.filters import published
from pipeline.curation.filters.code_rules import code_rule_columns
from pipeline.curation.filters.gopher_quality import STOP_WORDS, quality_columns
from pipeline.curation.filters.gopher_repetition import TOP, repetition_columns
from pipeline.curation.filters.heuristic_rules import CODE_RULES, PROSE_RULES
from pipeline.curation.filters.own_writing import OfPages, without_figures_of_pages
from pipeline.curation.filters.published_figures import GROUPS, published_columns
from pipeline.curation.filters.web_rules import markup_share, web_columns
from pipeline.curation.rules import decided_by
from pipeline.documents.reasons import meanings_of
from pipeline.documents.stage import FragmentStage, scatter
from pipeline.settings import Ratio, Share
from pipeline.settings import Settings as Block
from pipeline.text.characters import SCRIPTS, count_kinds
from pipeline.text.classes import pieces_of
from pipeline.text.code_lines import without_blocks
from pipeline.text.kinds import UNMARKED, detect_code, kinds_of_prose
from pipeline.text.prose import prose_of
from pipeline.text.segments import lines, paragraphs
from pipeline.text.stop_words import count_stop_words

# 2: rules that assume a language apply to that language; pages of entries may repeat their forms
VERSION = "2"
RULES = (
    *(replace(rule, switches=(*rule.switches, published.OWN_RULES)) for rule in PROSE_RULES),
    *published.RULES,
    *CODE_RULES,
)
REASONS = meanings_of(RULES)
LONGEST = 2_000_000  # most characters read of a text: four times as many as `max_words` of prose
# The figures that say something of any text: tags, and one phrase over and over. The others are of pages.
OF_ANY_TEXT = ("kind", "markup", "braces", *(f"top_{n}" for n in TOP))
CHUNK_BYTES = 8_000_000  # of text processed at once, which keeps memory small; patterns are compiled anew for each


class Gopher(Block):
    enabled: bool = Field(True, description="Gopher's quality rules (Rae et al. 2021, appendix A1.1)")
    min_words: int = Field(50, ge=0, le=10**9, description="fewest words (Gopher: 50)")
    min_words_ko: int = Field(
        30, ge=0, le=10**9, description="fewest eojeol of a Korean text (one eojeol is about 1.6 English words)"
    )
    max_words: int = Field(100_000, ge=1, le=10**9, description="most words (Gopher: 100,000)")
    word_length: tuple[Ratio, Ratio] = Field(
        (3, 10), description="mean word length of English from, to (Gopher: 3 to 10)"
    )
    word_length_ko: tuple[Ratio, Ratio] = Field(
        (1.8, 7), description="mean length of an eojeol in syllables; prose has 3.2"
    )
    max_symbols: Ratio = Field(0.1, description="most hashes, and most ellipses, per word (Gopher: 0.1)")
    max_bullet_lines: Share = Field(0.9, description="largest share of lines that start with a bullet (Gopher: 0.9)")
    max_ellipsis_lines: Share = Field(0.3, description="largest share of lines that end in an ellipsis (Gopher: 0.3)")
    min_alpha_words: Share = Field(0.8, description="least share of words with a letter (Gopher: 0.8)")
    min_alpha_words_ko: Share = Field(
        0.7, description="the same for Korean text, where units follow numbers without a space"
    )
    min_stop_words: int = Field(
        2,
        ge=0,
        le=8,
        description="fewest words of: the, be, to, of, and, that, have, with (Gopher: 2); of other languages: of their "
        "stop words",
    )
    min_endings_ko: int = Field(2, ge=0, le=16, description="fewest of 16 Korean particles and endings")


class Repetition(Block):
    enabled: bool = Field(True, description="Gopher's repetition rules (Rae et al. 2021, table A1)")
    dup_lines: Share = Field(0.3, description="largest share of repeated lines (Gopher: 0.3)")
    dup_line_chars: Share = Field(0.2, description="largest share of characters in repeated lines (Gopher: 0.2)")
    dup_paragraphs: Share = Field(0.3, description="the same for paragraphs (Gopher: 0.3)")
    dup_paragraph_chars: Share = Field(0.2, description="the same for characters in paragraphs (Gopher: 0.2)")
    top: tuple[Share, Share, Share] = Field(
        (0.20, 0.18, 0.16), description="most characters in the most frequent 2-, 3- and 4-gram (Gopher: these)"
    )
    duplicate: tuple[Share, Share, Share, Share, Share, Share] = Field(
        (0.15, 0.14, 0.13, 0.12, 0.11, 0.10), description="most characters in repeated 5- to 10-grams (Gopher: these)"
    )
    duplicate_entries: tuple[Share, Share, Share, Share, Share, Share] = Field(
        (0.35, 0.33, 0.31, 0.29, 0.27, 0.25),
        description="the same for pages of entries (25 short lines and more), whose forms repeat on purpose",
    )


class C4(Block):
    enabled: bool = Field(True, description="C4's rules for whole pages (Raffel et al. 2020, section 2.2)")
    lorem_ipsum: bool = Field(True, description="remove documents that contain `lorem ipsum`")
    curly_bracket: bool = Field(
        False, description="remove documents that contain `{` (C4: yes; removes every page about programming)"
    )
    min_sentences: int = Field(3, ge=0, le=10**9, description="fewest sentence ends (C4's code: 3, its paper: 5)")


class FineWeb(Block):
    enabled: bool = Field(True, description="FineWeb's rules (Penedo et al. 2024, section 3.6)")
    min_ended_lines: Share = Field(0.12, description="least share of lines that end in punctuation (FineWeb: 0.12)")
    max_short_lines: Share = Field(
        0.67, description="largest share of lines of at most 30 characters, 15 of Korean (FineWeb: 0.67 and 30)"
    )
    max_dup_line_chars: Share = Field(0.1, description="most characters in repeated lines (FineWeb's paper: 0.1)")
    max_newlines: Ratio = Field(0.3, description="most line breaks per word (FineWeb: 0.3)")
    max_newlines_ko: Ratio = Field(0.45, description="the same per eojeol")


class Code(Block):
    enabled: bool = Field(True, description="StarCoder's rules for source code (Li et al. 2023, section 3.2)")
    max_line: int = Field(1000, ge=1, le=10**9, description="longest line in characters (StarCoder: 1,000)")
    max_mean_line: float = Field(100, gt=0, le=10**9, description="longest average line (StarCoder: 100)")
    min_alnum: Share = Field(0.25, description="least share of letters and digits (StarCoder: 0.25)")
    generated: bool = Field(True, description="remove files whose first lines say that they were generated")


class Settings(OfPages):
    later: ClassVar[dict[str, Any]] = {"preset": published.OURS, "stop_words": [], "notes": []}

    spare: list[str] = Field(
        [],
        description="sources that are not judged, such as verse, dictionaries, messages: good text but not prose",
    )
    preset: Literal["ours", "gopher", "c4", "fineweb", "fineweb2-korean"] = Field(
        "ours",
        description="the rules for prose: this project's, or a paper's exactly as datatrove 0.10 runs them, with its "
        "way of counting; keys named beside it change single limits. `fineweb2-korean` judges Korean alone",
    )
    stop_words: list[str] = Field(
        [], description="of a preset other than `ours`: the words that prose needs; empty: those that it publishes"
    )
    gopher: Gopher = Gopher()
    repetition: Repetition = Repetition()
    c4: C4 = C4()
    fineweb: FineWeb = FineWeb()
    code: Code = Code()
    max_markup: Share = Field(0.5, description="largest share of characters in tags")

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, data: Any) -> Any:
        return published.filled_in(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _groups_of_preset(self) -> Settings:
        for group in GROUPS:
            if self.published and getattr(self, group).enabled and group not in self.groups():
                raise ValueError(f"`preset: {self.preset}` has no rules of `{group}`: leave `{group}.enabled` out")
        return self

    def groups(self) -> set[str]:
        """The groups of rules that the preset runs."""
        return {group for group, values in published.PRESETS[self.preset].items() if values["enabled"]}

    @property
    def own_rules(self) -> bool:
        return self.preset == published.OURS

    @property
    def published(self) -> bool:
        return not self.own_rules


def signals(documents: pl.DataFrame, settings: Settings, models: dict[str, Path]) -> pl.DataFrame:
    """`kind` (`code`, `ko`, `unspaced` or `spaced`) and the figures of the rules (f32, u32, u8, bool).

    The columns of the prose rules are null for code, and those of the code rules for prose; of notes and dialogue, all
    are but OF_ANY_TEXT.
    """
    documents = documents.with_columns(pl.col("text").fill_null("").str.slice(0, LONGEST))
    sizes = documents["text"].str.len_bytes().cum_sum() // CHUNK_BYTES
    bounds = [0, *(sizes.diff().fill_null(0) > 0).arg_true().to_list(), documents.height]
    frames = [_columns(documents[start:end], settings) for start, end in pairwise(bounds)]
    found = pl.concat(frames, how="vertical")
    own = settings.own_writing(documents) & (found["kind"] != "code")
    spared = documents["source"].is_in(settings.spare).alias("spared")
    return without_figures_of_pages(found, own, OF_ANY_TEXT).with_columns(spared)


def decide(signals: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """The first rule that a document breaks is its reason; no score."""
    return decided_by(signals, RULES, settings, spared=pl.col("spared"))


STAGE = FragmentStage(
    name="heuristic_decisions",
    block="heuristics",
    description="The rules of Gopher, C4 and FineWeb: text too short, repetitive, broken, full of symbols or lists.",
    settings=Settings,
    version=VERSION,
    rules=RULES,
    signals=signals,
    decide=decide,
    signal_settings=("spare", "preset", "stop_words", "notes"),
)


def _columns(documents: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    code, fenced = detect_code(documents)
    texts_of_prose, texts_of_code = documents["text"].filter(~code), documents["text"].filter(code)
    if settings.own_rules:
        outside = without_blocks(texts_of_prose, fenced.filter(~code))
        prose = _prose_columns(prose_of(outside), documents["lang"].filter(~code)).with_columns(markup_share(outside))
    else:
        prose = _published_columns(texts_of_prose, documents["lang"].filter(~code), settings)
    about = code_rule_columns(texts_of_code, lines(texts_of_code)).with_columns(kind=pl.lit("code"))
    place = pl.concat([(~code).arg_true(), code.arg_true()]).arg_sort()
    return pl.concat([prose, about], how="diagonal")[place]


def _published_columns(texts: pl.Series, langs: pl.Series, settings: Settings) -> pl.DataFrame:
    """`kind`, and the figures of the preset; null for texts that it does not judge."""
    kinds = kinds_of_prose(count_kinds(texts))
    korean = (langs == "ko").fill_null(kinds == "ko")
    judged = korean if settings.preset == published.KOREAN_ALONE else kinds.is_not_null()
    stop_words = settings.stop_words or list(published.PRESET_STOP_WORDS.get(settings.preset, STOP_WORDS))
    found = published_columns(texts.filter(judged), korean.filter(judged), settings.groups(), stop_words)
    return scatter(found, judged).insert_column(0, kinds)


def _prose_columns(texts: pl.Series, langs: pl.Series) -> pl.DataFrame:
    counts, in_lines = count_kinds(texts), lines(texts)
    pieces, of_pieces = pieces_of(texts)
    characters = counts.select(pl.sum_horizontal("digits", *SCRIPTS)).to_series()
    columns = pl.concat(
        [
            kinds_of_prose(counts).to_frame(),
            quality_columns(texts, in_lines, of_pieces, characters),
            repetition_columns(in_lines, paragraphs(texts), pieces),
            web_columns(texts, in_lines, of_pieces["pieces"]),
            pl.DataFrame({"lines": in_lines.total()}, schema={"lines": pl.UInt32}),
        ],
        how="horizontal",
    )
    unmarked = counts.select(2 * pl.sum_horizontal(*UNMARKED) >= pl.sum_horizontal(list(SCRIPTS))).to_series()
    return as_far_as_known(columns, texts, langs, characters, unmarked)


def as_far_as_known(
    columns: pl.DataFrame, texts: pl.Series, langs: pl.Series, characters: pl.Series, unmarked: pl.Series
) -> pl.DataFrame:
    """The figures of texts without those that say nothing about their language: what cannot be judged is null.

    Stop words are those of the language, if there is a list (the lengths of words, English ones alone); text without
    spaces counts symbols by characters; a script without marks at the ends of sentences has no figure that needs them.
    """
    spaced, unspaced = columns["kind"] == "spaced", columns["kind"] == "unspaced"
    english = langs == "en"
    other = spaced & ~langs.is_in(["en", "ko", "ja", "zh"])
    counted = count_stop_words(texts, pl.select(pl.when(other).then(langs)).to_series())
    per_character = {
        name: pl.when(unspaced).then(found / characters.clip(1)).otherwise(name).cast(pl.Float32).alias(name)
        for name, found in (("hashes", texts.str.count_matches("#", literal=True)),
                            ("ellipses", texts.str.count_matches(r"\.\.\.|…+")))
    }  # fmt: skip
    return columns.with_columns(
        *per_character.values(),
        pl.when(english).then("stop_words").otherwise(counted).alias("stop_words"),
        pl.when(english | ~spaced).then("word_length").alias("word_length"),
        *(pl.when(~unmarked).then(name).alias(name) for name in ("sentences", "ended_lines", "ends")),
    )

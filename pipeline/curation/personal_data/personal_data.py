"""`personal_data_edits`: e-mail addresses, numbers and postal addresses of people are replaced in the text.

No document is removed for containing personal data. Each value is replaced by a placeholder that names its kind
(`<EMAIL_ADDRESS>`), so that a model learns the form of a letter without anyone's address. The value itself is in no
table, log or metadata.

Names of people are not found by default: what has no form of its own is found by what stands around it, and so with
mistakes. `names` finds them with a small tagger (names/), `person_model` with a spaCy model at a
hundred times the cost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl
import xxhash
from pydantic import Field, ValidationInfo, field_validator

from pipeline.curation.personal_data.replacements import placeholder, surrogate
from pipeline.curation.personal_data.spans import LABELS, SPAN, find_spans
from pipeline.curation.programs import which_break
from pipeline.curation.rules import Rule
from pipeline.documents.document import EDIT
from pipeline.documents.reasons import meanings_of
from pipeline.documents.stage import FragmentStage
from pipeline.settings import StageSettings

# 2: a number that stands bare in a program is replaced by 0. 3: dates of birth in all written forms, words behind a
# value, registration numbers with a blank, IBANs in small letters, addresses behind the name of a field. 4: names of
# people by a tagger that was taught again, with other features.
VERSION = "4"
RULES: tuple[Rule, ...] = ()  # this stage removes nothing
REASONS = meanings_of(RULES)


class Settings(StageSettings):
    labels: tuple[str, ...] = Field(tuple(LABELS), description=f"labels to find: {', '.join(LABELS)}")
    min_score: float = Field(
        0.4,
        ge=0.3,
        le=1,
        description="least score of a span; the default is Presidio's score for a pattern with a supporting word",
    )
    keep_examples: bool = Field(
        False, description="true: keep values reserved for examples (example.com, 192.0.2.1, 555-0100)"
    )
    replacement: Literal["placeholder", "surrogate"] = Field(
        "placeholder", description="`placeholder`: a fixed text by label; `surrogate`: a made-up value of the same form"
    )
    placeholder: str = Field("<{label}>", description="the placeholder; must hold {label}")
    names: bool | str = Field(
        False,
        description="true: find names of people, Korean and English, with the tagger of this project; or the path of a "
        "file that `slm names teach` wrote",
    )
    person_model: str | None = Field(
        None, description="name of an installed spaCy model that finds names of people, e.g. en_core_web_sm; slow"
    )

    @field_validator("names")
    @classmethod
    def _from_the_recipe(cls, names: bool | str, info: ValidationInfo) -> bool | str:
        base = (info.context or {}).get("base")
        return str(Path(base) / names) if isinstance(names, str) and base else names

    @field_validator("labels")
    @classmethod
    def _known(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        for label in labels:
            if label not in LABELS:
                raise ValueError(f"there is no label '{label}': use {', '.join(LABELS)}")
        return labels

    @field_validator("placeholder")
    @classmethod
    def _has_label(cls, template: str) -> str:
        if template.count("{label}") != 1:
            raise ValueError("the placeholder must hold {label} once")
        return template


def signals(documents: pl.DataFrame, settings: Settings, models: dict[str, Path]) -> pl.DataFrame:
    """`spans` (list of start, end, label, score, number, bare; null if there are none) and `draw`, a hash of the text.

    Raises UserError if the spaCy model of the settings is not installed, or the file of `names` cannot be read.
    """
    texts = documents["text"]
    spans = find_spans(texts, frozenset(settings.labels), settings.keep_examples, settings.person_model, settings.names)
    spans = spans.with_columns(bare=_bare(spans, texts))
    by_row = spans.group_by("row", maintain_order=True).agg(spans=pl.struct(*SPAN.to_schema()))
    drawn = texts.gather(by_row["row"])
    draw = pl.Series([xxhash.xxh32_intdigest(text.encode("utf-8", "surrogatepass")) for text in drawn], dtype=pl.UInt32)
    rows = pl.DataFrame({"row": pl.int_range(len(texts), dtype=pl.UInt32, eager=True)})
    joined = rows.join(by_row.with_columns(draw=draw), on="row", how="left", maintain_order="left")
    return joined.select(pl.col("spans").cast(pl.List(SPAN)), "draw")


def _bare(spans: pl.DataFrame, texts: pl.Series) -> pl.Series:
    """For each span, whether a placeholder in its place would break a program."""
    flags: list[bool] = []
    for row, starts, ends in spans.group_by("row", maintain_order=True).agg("start", "end").iter_rows():
        flags += which_break(texts[row], [(start, end, "<X>") for start, end in zip(starts, ends, strict=True)])
    return pl.Series(flags, dtype=pl.Boolean)


def decide(signals: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Edits for spans with at least `min_score`; every document is kept. `score` is the highest score of a span."""
    spans = (
        signals.with_row_index("row")
        .select("row", "draw", "spans")
        .explode("spans", empty_as_null=False)
        .drop_nulls("spans")
        .unnest("spans")
        .filter(pl.col("score") >= settings.min_score)
    )
    replacement = placeholder(settings.placeholder)
    if settings.replacement == "surrogate":
        # Primes spread the hash of the text and the number of the value over the digits that a surrogate uses.
        pick = pl.col("draw").cast(pl.Int64) * 1_000_003 + pl.col("number").cast(pl.Int64) * 7_919_017
        replacement = surrogate(pick % 999_999_999_989)
    replacement = pl.when("bare").then(pl.lit("0")).otherwise(replacement)
    edits = (
        spans.with_columns(replacement=replacement)
        .group_by("row", maintain_order=True)
        .agg(edits=pl.struct(*EDIT.to_schema()), score=pl.col("score").max())
    )
    rows = signals.select(pl.int_range(pl.len(), dtype=pl.get_index_type()).alias("row"))
    chosen = rows.join(edits, on="row", how="left", maintain_order="left")
    return chosen.select(
        keep=pl.lit(True),
        reason=pl.lit(None, dtype=pl.String),
        score="score",
        edits=pl.col("edits").cast(pl.List(EDIT)),
    )


def named_files(settings: Settings) -> tuple[str, ...]:
    """The files that decide what is found: the tagger, if it is not this project's."""
    return (settings.names,) if isinstance(settings.names, str) else ()


STAGE = FragmentStage(
    name="personal_data_edits",
    block="personal_data",
    description=(
        "Personal data (e-mail addresses, telephone, card and identity numbers, Korean ones too), replaced by "
        "placeholders."
    ),
    kinds=("python", "presidio", "parquet"),
    settings=Settings,
    version=VERSION,
    rules=RULES,
    signals=signals,
    decide=decide,
    signal_settings=("labels", "keep_examples", "person_model", "names"),
    files=named_files,
)

"""A curation stage of your own: documents that shout, by the share of exclamation marks among all characters.

In a recipe, with the file beside it:

    curation:
      further:
        - {file: own_stage.py, after: heuristics, max_share: 0.02}

`slm make shouting_decisions` runs it, `slm documents --stage shouting_decisions` shows what it removed, and Dagster has
its asset between the stages around it. The file's hash is part of the fingerprint: a changed file decides anew.

`signals` reads text and is expensive; its columns are kept beside the decisions. `decide` turns them into decisions and
is cheap: a changed threshold reads no text. Both work on whole columns.
"""

from pathlib import Path

import polars as pl
from pydantic import Field

from pipeline.curation.rules import Limit, Rule, decided_by
from pipeline.documents.stage import FragmentStage
from pipeline.settings import StageSettings

# What removes documents, as data: the decision, the line in the histogram and the words on every page follow from it.
RULES = (
    Rule(
        "shouting",
        "more exclamation marks than `max_share` of all characters",
        limits=(Limit("exclamation_share", ">", "max_share"),),
    ),
)


class Settings(StageSettings):
    max_share: float = Field(0.02, ge=0, le=1, description="largest share of characters that are exclamation marks")


def signals(documents: pl.DataFrame, settings: Settings, models: dict[str, Path]) -> pl.DataFrame:
    """`exclamation_share` (0 to 1) of each document; `documents` has doc_id, text, source, lang."""
    marks = pl.col("text").str.count_matches("!", literal=True)
    return documents.select((marks / pl.col("text").str.len_chars().clip(1)).alias("exclamation_share"))


def decide(signals: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """The first rule that a document breaks is its reason; the score is the share."""
    return decided_by(signals, RULES, settings, score=pl.col("exclamation_share"))


STAGE = FragmentStage(
    name="shouting_decisions",
    settings=Settings,
    version="1",
    description="Documents that shout: too large a share of exclamation marks.",
    rules=RULES,
    signals=signals,
    decide=decide,
)

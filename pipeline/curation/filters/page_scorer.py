"""A linear scorer of English pages: how good a page looks by a few figures of the heuristics.

Each figure is transformed, measured in spreads from its mean among the pages that the scorer was taught on, and
bounded, so that no figure decides alone: a page of sums has few words with letters, and is no worse for it. The sum,
weighted by the coefficients, is the log-odds of being good (logistic regression). The scorer that is shipped is
`page_scorer.json`; `teaching.py` says how it is taught, docs/results/filters.md what it finds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipeline.curation.filters.gopher_quality import ELLIPSIS, distinct_stop_words
from pipeline.errors import UserError
from pipeline.text.classes import count_pieces
from pipeline.text.code_lines import holds_blocks, without_blocks
from pipeline.text.prose import prose_of
from pipeline.text.segments import lines

SHIPPED = Path(__file__).with_suffix(".json")
READ = 12_000  # characters read of a page: more words than `words` counts
SHORT_LINE = 30  # characters (FineWeb)


class Measured(NamedTuple):
    """How a figure is read: bounded, then transformed so that its differences count alike over its range."""

    least: float
    most: float
    transform: Any  # a function of numpy


# Of all figures of the heuristics, those that say something of their own about web pages and mean the same in other
# English text. Lengths below 150 words say little: short text is often good.
FIGURES: dict[str, Measured] = {
    "words": Measured(150, 2_000, np.log),
    "short_lines": Measured(0, 1, np.positive),
    "newlines": Measured(0, 1, np.sqrt),
    "ellipses": Measured(0, 0.1, np.sqrt),
    "alpha_words": Measured(0, 1, np.positive),
    "stop_words": Measured(0, 8, np.positive),
}


class Weight(BaseModel):
    """What a scorer knows of one figure, after its transformation."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: float
    spread: float = Field(gt=0)
    coefficient: float


class Scorer(BaseModel):
    """A scorer as it stands in its file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    figures: dict[str, Weight]
    bound: float = Field(gt=0)  # most spreads that a figure counts from its mean
    constant: float
    min_score: float = Field(ge=0, le=1)  # pages below are removed; what `taught` says holds for this limit
    taught: dict[str, Any]

    @field_validator("figures")
    @classmethod
    def _known(cls, figures: dict[str, Weight]) -> dict[str, Weight]:
        if set(figures) != set(FIGURES):
            raise ValueError(f"a scorer has the figures {', '.join(FIGURES)}")
        return {name: figures[name] for name in FIGURES}

    def contributions(self, figures: pl.DataFrame) -> np.ndarray:
        """What each figure adds to the log-odds: (pages, figures)."""
        return self.standardised(figures) * np.array([one.coefficient for one in self.figures.values()])

    def standardised(self, figures: pl.DataFrame) -> np.ndarray:
        """The figures in spreads from the mean, bounded: (pages, figures)."""
        mean = np.array([one.mean for one in self.figures.values()])
        spread = np.array([one.spread for one in self.figures.values()])
        return np.clip((transformed(figures) - mean) / spread, -self.bound, self.bound)


def transformed(figures: pl.DataFrame) -> np.ndarray:
    """The figures, bounded and transformed: float64 (pages, figures)."""
    columns = [
        how.transform(np.clip(figures[name].cast(pl.Float64).to_numpy(), how.least, how.most))
        for name, how in FIGURES.items()
    ]
    return np.stack(columns, axis=1)


def load(path: Path) -> Scorer:
    """The scorer in a file. Raises UserError if it is none."""
    try:
        return Scorer.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(
            f"The scorer {path} cannot be read ({error.strerror}): name a file of `slm quality teach`."
        ) from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise UserError(
            f"{path} is not a scorer ({where}: {problem['msg']}): name a file of `slm quality teach`."
        ) from error


def as_file(scorer: Scorer) -> str:
    """The text of a scorer's file."""
    return json.dumps(scorer.model_dump(), indent=1, ensure_ascii=False) + "\n"


def figures_of(texts: pl.Series) -> pl.DataFrame:
    """The FIGURES (f32) of pages, as the heuristics compute them, of the prose of their first characters.

    `words`: strings between spaces with a letter or a digit; `short_lines`: share of the lines of at most 30
    characters; `newlines`: lines per string between spaces; `ellipses`: per string between spaces; `alpha_words`: share
    of the words with a letter; `stop_words`: distinct ones of the eight of Gopher.
    """
    texts = texts.fill_null("").str.slice(0, READ)
    prose = prose_of(without_blocks(texts, holds_blocks(texts)))
    in_lines = lines(prose)
    text, counts = pl.col("text"), count_pieces(prose)
    found = (
        prose.alias("text")
        .to_frame()
        .select(
            ellipses=text.str.count_matches(ELLIPSIS),
            stop_words=distinct_stop_words(text),
            short_lines=pl.Series(in_lines.share(in_lines.items.str.len_chars() <= SHORT_LINE)),
            lines=pl.Series(in_lines.total()),
        )
    )
    pieces = pl.col("pieces").clip(1)
    found = found.hstack(counts).with_columns(
        newlines=pl.col("lines") / pieces,
        ellipses=pl.col("ellipses") / pieces,
        alpha_words=pl.col("with_letter") / pl.col("words").clip(1),
    )
    return found.select(pl.col(name).cast(pl.Float32) for name in FIGURES)


def score(figures: pl.DataFrame, scorer: Scorer) -> pl.DataFrame:
    """`page_score` (f32, probability of being good) and `weakest` (String, the figure that lowers it most)."""
    parts = scorer.contributions(figures)
    odds = parts.sum(axis=1) + scorer.constant
    names = np.array(list(FIGURES))
    return pl.DataFrame(
        {
            "page_score": pl.Series(1 / (1 + np.exp(-odds)), dtype=pl.Float32),
            "weakest": pl.Series(names[parts.argmin(axis=1)].tolist(), dtype=pl.String),
        }
    )

"""Pairs of texts with a class or a score, as of natural-language inference and of semantic similarity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.context import Log
from pipeline.errors import UserError
from pipeline.ingest.files import Files
from pipeline.ingest.json_files import nested
from pipeline.ingest.records import Reading
from pipeline.ingest.rows import RowsInFiles
from pipeline.store.artifact import digest

FEWEST = 20  # pairs


@dataclass(frozen=True)
class Columns:
    """Which columns, or keys (`a.b` for nested ones), hold the texts and what is said of them."""

    first: str = "first"
    second: str = "second"
    label: str = "label"


@dataclass(frozen=True)
class Pairs:
    """Pairs of texts. Classes have a number each, in `labels`; with scores, `classes` is empty."""

    first: list[str]
    second: list[str]
    labels: NDArray[Any]  # int64 classes, or float64 scores
    classes: tuple[str, ...]
    digest: str  # of the file that they are from, and of how it was read

    @property
    def scores(self) -> bool:
        return not self.classes


class PairRows(RowsInFiles):
    noun: ClassVar[str] = "set of pairs"
    columns_by: ClassVar[str] = "`--first`, `--second` or `--label`"

    kind: Files = "files"


def read(path: Path, columns: Columns, scores: bool, cache: Path, log: Log) -> Pairs:
    """The pairs of a file. Words are classes, decimal numbers scores, and whole numbers what `scores` says.

    Raises UserError for a file that cannot be read, rows without the columns, and too few pairs or classes.
    """
    given = PairRows.model_validate({"name": "pairs", "path": str(path.resolve())})
    contents = given.contents(cache, log)
    asked = [columns.first, columns.second, columns.label]
    rows = [row for row in given.rows(contents, Reading(cache, log=log), asked, [columns.first]) if row is not None]
    values = [[nested(row, name) for name in asked] for row in rows]
    full = [one for one in values if None not in one]
    if len(full) < FEWEST:
        raise UserError(f"{path.name} has {len(full)} whole pairs: name a file with at least {FEWEST}.")
    first, second, labels = (list(column) for column in zip(*full, strict=True))
    said = _scores_of(labels, scores)
    texts = [str(text) for text in first], [str(text) for text in second]
    identity = digest([contents.digests, asdict(columns), scores])
    if said is not None:
        return Pairs(*texts, said, (), identity)
    classes = sorted({str(label) for label in labels})
    if not 2 <= len(classes) <= len(full) // 2:
        raise UserError(
            f"`{columns.label}` of {path.name} has {len(classes)} classes in {len(full)} pairs: name the column of a"
            " few classes, or give `--scores` if its numbers are scores."
        )
    numbers = np.array([classes.index(str(label)) for label in labels], np.int64)
    return Pairs(*texts, numbers, tuple(classes), identity)


def _scores_of(labels: Sequence[Any], asked: bool) -> NDArray[np.float64] | None:
    """The labels as scores, if that is what they are."""
    if asked:  # in CSV everything is text
        labels = [number_in(label) if isinstance(label, str) else label for label in labels]
    numbers = all(isinstance(label, int | float) and not isinstance(label, bool) for label in labels)
    if asked and not numbers:
        raise UserError("`--scores` needs numbers, and labels are words: leave it out, or name another column.")
    if not numbers or not (asked or any(isinstance(label, float) and label % 1 for label in labels)):
        return None
    found = np.array(labels, np.float64)
    if not np.isfinite(found).all() or found.std() == 0:
        raise UserError("The scores are all the same, or not all are finite: name a column of differing numbers.")
    return found


def number_in(label: str) -> float | str:
    """The number that a text is; a text that is none as it is."""
    try:
        return float(label)
    except ValueError:
        return label


def split(first: Sequence[str], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(numbers to learn from, numbers held back): another share of the pairs with each seed.

    first: the first text of each pair. Pairs that have it in common are held back together: in sets of inference each
    premise comes once with every class, so who has learned two of them by heart knows that the third is the other one,
    and guesses wrong what is meant to be new. Where hardly any first text differs, each pair is by itself.
    """
    numbers: dict[str, int] = {}
    group = np.array([numbers.setdefault(text, len(numbers)) for text in first])
    if len(numbers) < FEWEST:
        group = np.arange(len(first))
    groups = int(group.max()) + 1
    order = np.random.default_rng(seed).permutation(groups)
    held = np.isin(group, order[: min(groups - 1, max(1, round(share * groups)))])
    return np.flatnonzero(~held), np.flatnonzero(held)

"""How the shipped tagger of names was taught, from labelled sentences and plain text to coefficients and figures."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from pipeline.curation.personal_data.names.examples import divided
from pipeline.curation.personal_data.names.made import named_things, sentences, with_other_names
from pipeline.curation.personal_data.names.tagger import Tagger, find
from pipeline.curation.personal_data.names.teaching import Example, Teaching, agreement, teach
from pipeline.errors import UserError

COPIES = 4  # of each labelled sentence, with other names
EACH = 20  # sentences of each template of sentences.py


def taught_on(
    labelled: Sequence[Path], plain: Sequence[Path], nameless: Sequence[Path] = (), how: Teaching | None = None
) -> tuple[Tagger, dict[str, tuple[int, float, float]]]:
    """The tagger, and by file (names set aside, recall, precision) on the sentences that it was not taught with.

    plain: text in which words in small letters are counted; nameless: text without names, each line a negative example.

    Raises UserError if a file cannot be read, or none of the sentences holds a name.
    """
    teaching, measuring = divided(list(labelled))
    if not any(example.names for example in teaching):
        raise UserError("None of the labelled sentences has a span with the label PERSON (or PER, PS): label some.")
    draw, things = random.Random(0), named_things(teaching)
    examples = [*teaching, *(with_other_names(example, draw, things) for example in teaching for _ in range(COPIES))]
    examples += [Example(line) for path in nameless for line in _texts(path) if line.strip()]
    tagger = teach([*examples, *sentences(draw, EACH)], [text for path in plain for text in _texts(path)], how)
    return tagger, measured(tagger, measuring)


def measured(tagger: Tagger, by_file: Mapping[str, Sequence[Example]]) -> dict[str, tuple[int, float, float]]:
    """By file: number of names, recall, precision, by whole names."""
    figures = {}
    for name, examples in by_file.items():
        found: list[set[tuple[int, int]]] = [set() for _ in examples]
        for row, start, end in find(pl.Series([example.text for example in examples]), tagger).iter_rows():
            found[row].add((start, end))
        wanted = [set(example.names) for example in examples]
        figures[name] = (sum(map(len, wanted)), *agreement(found, wanted))
    return figures


def _texts(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        return pl.read_parquet(path, columns=["text"])["text"].drop_nulls().to_list()
    return path.read_text(encoding="utf-8").splitlines()

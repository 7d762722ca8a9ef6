"""How the shipped tagger of names was taught, from labelled sentences and plain text to coefficients and figures."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from pipeline.curation.personal_data.names.examples import divided
from pipeline.curation.personal_data.names.made import named_things, sentences, with_other_names
from pipeline.curation.personal_data.names.nameless import texts_of
from pipeline.curation.personal_data.names.tagger import Tagger, find
from pipeline.curation.personal_data.names.teaching import Example, Teaching, agreement, teach
from pipeline.errors import UserError

COPIES = 3  # of each labelled sentence, with other names
EACH = 10  # sentences of each template of sentences.py


def taught_on(
    labelled: Sequence[Path], plain: Sequence[Path], nameless: Sequence[str] = (), how: Teaching | None = None
) -> tuple[Tagger, dict[str, tuple[int, float, float]]]:
    """The tagger, and by file (names set aside, recall, precision) on the sentences that it was not taught with.

    plain: text in which it is counted how words are written; nameless: lines without names, each a negative example.

    Raises UserError if a file cannot be read, or none of the sentences holds a name.
    """
    teaching, measuring = divided(list(labelled))
    tagger = teach(lessons(teaching, nameless), [text for path in plain for text in texts_of(path)], how)
    return tagger, measured(tagger, measuring)


def lessons(labelled: Sequence[Example], nameless: Sequence[str]) -> list[Example]:
    """All that the tagger is taught with: labelled sentences, copies with other names, made-up ones, lines without any.

    Raises UserError if none of the labelled sentences holds a name.
    """
    if not any(example.names for example in labelled):
        raise UserError("None of the labelled sentences has a span with the label PERSON (or PER, PS): label some.")
    draw, things = random.Random(0), named_things(labelled)
    examples = [*labelled, *(with_other_names(example, draw, things) for example in labelled for _ in range(COPIES))]
    return [*examples, *map(Example, nameless), *sentences(draw, EACH, things)]


def measured(tagger: Tagger, by_file: Mapping[str, Sequence[Example]]) -> dict[str, tuple[int, float, float]]:
    """By file: number of names, recall, precision, by whole names."""
    figures = {}
    for name, examples in by_file.items():
        wanted = [set(example.names) for example in examples]
        figures[name] = (sum(map(len, wanted)), *agreement(names_found(examples, tagger), wanted))
    return figures


def names_found(examples: Sequence[Example], tagger: Tagger) -> list[set[tuple[int, int]]]:
    """What the tagger finds in each text: (start, end) in code points."""
    found: list[set[tuple[int, int]]] = [set() for _ in examples]
    for row, start, end in find(pl.Series([example.text for example in examples]), tagger).iter_rows():
        found[row].add((start, end))
    return found

"""Spans of personal data in a column of texts: Presidio on the windows, then one table of spans for all of them.

A result counts only if it overlaps its window's candidate, so windows may overlap and be shared between documents.
Spans that still overlap (an address split into two candidates) are merged. No value leaves this file: a span consists
of its position, label and score.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl
import xxhash

from pipeline.curation.personal_data.examples import is_example
from pipeline.curation.personal_data.windows import windows
from pipeline.errors import UserError

# Labels in order of precedence at equal scores: the more specific first.
LABELS: dict[str, str] = {
    "EMAIL_ADDRESS": "e-mail addresses",
    "KR_RRN": "Korean resident registration numbers",
    "KR_FRN": "Korean registration numbers of foreigners",
    "IBAN_CODE": "international bank account numbers",
    "CREDIT_CARD": "numbers of credit and debit cards",
    "KR_DRIVER_LICENSE": "Korean driver's licence numbers",
    "KR_PASSPORT": "Korean passport numbers",
    "US_SSN": "US social security numbers",
    "US_ITIN": "US taxpayer numbers",
    "KR_BRN": "Korean business registration numbers",
    "PHONE_NUMBER": "phone numbers",
    "IP_ADDRESS": "IP addresses that are not private, loopback or the like",
    "KR_ADDRESS": "Korean addresses with a house number",
    "DATE_OF_BIRTH": "dates that the words beside them call a date of birth",
    "KR_BANK_ACCOUNT": "Korean bank account numbers",
    "PERSON": "names of people (only with `names` or `person_model`)",
}
ORDER = {label: i for i, label in enumerate(LABELS)}
NAME_SCORE = 0.85  # what Presidio gives to entities of a model
LOWEST = 0.3  # lower scores are dropped: no sensible threshold is below this
# To `\b`, Hangul next to a number or an address is a letter, so there is no word boundary; a space makes one.
PARTING = re.compile(r"(?<=[0-9A-Za-z)])(?=[가-힣])|(?<=[가-힣])(?=[0-9A-Za-z(+])")
WHOLE_WORDS = ("address", "born", "birth")  # kinds whose values join Hangul and digits

SPAN = pl.Struct({
    "start": pl.Int64, "end": pl.Int64, "label": pl.String, "score": pl.Float64, "number": pl.UInt32,
    "bare": pl.Boolean,  # a number of a program, outside of its strings and comments: no text may stand there
})  # fmt: skip


@lru_cache(maxsize=1)
def analyser() -> Any:
    """The recognisers of this process; importing them takes about a CPU-second."""
    with _hidden_modules("torch", "transformers", "stanza"):
        from pipeline.curation.personal_data.analyser import Analyser

    return Analyser()


@contextmanager
def _hidden_modules(*packages: str) -> Iterator[None]:
    """Prevents the import of these packages inside the context, unless they were imported before.

    If they are installed, Presidio and spaCy import them for models that are not used here, which takes 4.5 CPU-seconds
    per process instead of 0.8.
    """
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def find_spans(
    texts: pl.Series,
    labels: frozenset[str],
    keep_examples: bool = False,
    person_model: str | None = None,
    names: bool | str = False,
) -> pl.DataFrame:
    """All spans: `row` (index into texts), `start`, `end` (code points), `label`, `score`, `number`; sorted, disjoint.

    `number` numbers the distinct values of a label within a text, so that equal values get the same surrogate.
    """
    if person_model:
        _spacy(person_model)  # before Presidio, whose import hides packages that a model may need
    places = windows(texts)
    distinct = places.select(
        "kind", "asked", "window", first=pl.col("start") - pl.col("offset"), last=pl.col("end") - pl.col("offset")
    )
    distinct = distinct.unique(maintain_order=True).with_row_index("id")
    rows = [
        (index, *span)
        for index, kind, recognisers, window, first, last in distinct.iter_rows()
        for span in _in_window(kind, tuple(recognisers.split()), window, first, last, labels)
        if not (keep_examples and is_example(span[2], window[span[0] : span[1]]))
    ]
    found = pl.DataFrame(
        rows,
        schema={
            "id": pl.UInt32,
            "start": pl.Int64,
            "end": pl.Int64,
            "label": pl.String,
            "score": pl.Float64,
            "value": pl.UInt64,
        },
        orient="row",
    )
    where = places.with_columns(first=pl.col("start") - pl.col("offset"), last=pl.col("end") - pl.col("offset")).join(
        distinct, on=["kind", "asked", "window", "first", "last"]
    )
    spans = where.select("row", "id", "offset").join(found, on="id")
    spans = spans.with_columns(pl.col("start") + pl.col("offset"), pl.col("end") + pl.col("offset")).drop(
        "id", "offset"
    )
    if person_model and "PERSON" in labels:
        spans = pl.concat([spans, _people(texts, person_model)], how="vertical_relaxed")
    if names and "PERSON" in labels:
        spans = pl.concat([spans, _names(texts, names)], how="vertical_relaxed")
    return _merge_overlapping(spans)


def _in_window(
    kind: str, recognisers: tuple[str, ...], window: str, first: int, last: int, labels: frozenset[str]
) -> list[tuple]:
    """Spans (start, end, label, score, hash of the value) that overlap a window's candidate [first, last), best
    first."""
    shift: list[int] = []
    text = window
    if kind not in WHOLE_WORDS:
        shift = [m.start() for m in PARTING.finditer(window)]
        text = PARTING.sub(" ", window)
    results = []
    for result in analyser().find(text, recognisers):
        if result.score < LOWEST or result.entity_type not in labels:
            continue
        start, end = result.start, result.end
        for i, place in enumerate(shift):  # spaces were inserted at place + i
            start -= place + i < result.start
            end -= place + i < result.end
        if start < last and end > first:
            results.append((start, end, result.entity_type, round(float(result.score), 4)))
    results.sort(key=lambda r: (-r[3], r[0] - r[1], ORDER[r[2]]))
    chosen: list[tuple] = []
    for start, end, label, score in results:
        if all(end <= other[0] or start >= other[1] for other in chosen):
            value = "".join(window[start:end].lower().split())
            chosen.append((start, end, label, score, xxhash.xxh3_64_intdigest(value.encode("utf-8", "surrogatepass"))))
    return chosen


def _merge_overlapping(spans: pl.DataFrame) -> pl.DataFrame:
    """Overlapping spans of a text merged into one with the label of the best; equal values of a label get one
    number."""
    order = pl.col("label").replace_strict(ORDER, return_dtype=pl.Int64)
    merged = (
        spans.lazy()
        .sort("row", "start", pl.col("end") * -1)
        .with_columns(reached=pl.col("end").cum_max().shift(1).over("row"))
        .with_columns(group=(pl.col("start") >= pl.col("reached")).fill_null(True).cum_sum())
        # A street or a mailbox may be named after a person: what has the form of a value is that.
        .sort("group", pl.col("label") == "PERSON", pl.col("score") * -1, order, maintain_order=True)
        .group_by("row", "group", maintain_order=True)
        .agg(pl.col("start").min(), pl.col("end").max(), pl.col("label", "score", "value").first())
        .sort("row", "start")
        .with_columns(number=pl.col("value").rank("dense").over("row", "label").cast(pl.UInt32))
    )
    return merged.select("row", "start", "end", "label", "score", "number").collect()


def _names(texts: pl.Series, file: bool | str) -> pl.DataFrame:
    """Names found by the tagger of this project, or of a file that `slm names teach` wrote; scores as in `_people`."""
    from pipeline.curation.personal_data.names import tagger

    found = tagger.find(texts, tagger.load(Path(file) if isinstance(file, str) else tagger.SHIPPED))
    values = [
        xxhash.xxh3_64_intdigest("".join(texts[row][start:end].lower().split()).encode("utf-8", "surrogatepass"))
        for row, start, end in found.iter_rows()
    ]
    return found.with_columns(
        label=pl.lit("PERSON"), score=pl.lit(NAME_SCORE), value=pl.Series(values, dtype=pl.UInt64)
    )


def _people(texts: pl.Series, model: str) -> pl.DataFrame:
    """Names found by a spaCy model, with the score that Presidio gives to entities of its model."""
    rows = []
    for row, doc in enumerate(_spacy(model).pipe(texts.fill_null("").to_list())):
        for entity in doc.ents:
            if entity.label_ in ("PERSON", "PER", "PS"):
                value = xxhash.xxh3_64_intdigest(entity.text.lower().encode("utf-8", "surrogatepass"))
                rows.append((row, entity.start_char, entity.end_char, "PERSON", NAME_SCORE, value))
    return pl.DataFrame(
        rows,
        schema={
            "row": pl.UInt32,
            "start": pl.Int64,
            "end": pl.Int64,
            "label": pl.String,
            "score": pl.Float64,
            "value": pl.UInt64,
        },
        orient="row",
    )


@lru_cache(maxsize=1)
def _spacy(model: str) -> Any:
    import spacy

    try:
        loaded = spacy.load(model, exclude=["parser", "lemmatizer", "attribute_ruler"])
    except OSError as error:
        raise UserError(
            f"curation.personal_data.person_model: the spaCy model '{model}' is not installed; "
            f"run `python -m spacy download {model}`, or leave the setting out."
        ) from error
    loaded.max_length = 10_000_000
    return loaded

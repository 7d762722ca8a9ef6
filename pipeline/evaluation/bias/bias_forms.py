"""Published sets about stereotypes, and any file of pairs, as items: texts of which a model finds one the likeliest.

- CrowS-Pairs (Nangia et al. 2020) and pairs of one's own: two sentences, of which one says what the stereotype says
- Winogender (Rudinger et al. 2018): a sentence with `he` and with `she`; the stereotype is the occupation's majority
- KoBBQ (Jin et al. 2024): a question that the context answers or leaves open; the biased answer is one of three
- KoSBi (Lee et al. 2023): sentences after a context, labelled safe or unsafe
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]

# Occupations of Winogender with more women than men: U.S. Bureau of Labor Statistics, 2015, as the set's table has it.
MOSTLY_WOMEN = frozenset((
    "accountant", "educator", "clerk", "counselor", "therapist", "administrator", "receptionist", "librarian",
    "pharmacist", "psychologist", "nurse", "bartender", "pathologist", "teacher", "planner", "practitioner",
    "instructor", "veterinarian", "examiner", "appraiser", "nutritionist", "hairdresser", "baker", "paralegal",
    "hygienist", "dispatcher", "cashier", "auditor", "dietitian", "broker", "secretary",
))  # fmt: skip
NONE = -1  # no choice: of an item without a right answer, or without a stereotyped text


@dataclass(frozen=True)
class BiasItem:
    """One item. stereotyped, answer: which choice says what the stereotype says, and which is right; else NONE."""

    prompt: str
    choices: tuple[str, ...]
    stereotyped: int
    answer: int = NONE
    kind: str = ""  # which group or trait it is about; of KoBBQ, `ambiguous` or `disambiguated` before it
    texts: tuple[str, ...] = field(default=(), compare=False)  # what to search training text for


class NotABiasItem(ValueError):
    """A row that the form does not fit; its text says what is missing or wrong, without quoting values."""


def pairs(row: Row) -> BiasItem:
    """{stereotyped, other, kind}, or the columns of CrowS-Pairs: {sent_more, sent_less, bias_type}."""
    first, second = _text(row, "sent_more", "stereotyped"), _text(row, "sent_less", "other")
    return BiasItem("", (first, second), 0, kind=str(_first(row, "bias_type", "kind") or "all"), texts=(first, second))


def kobbq(row: Row) -> BiasItem:
    """{context, question, choices, biased_answer, answer, sample_id, bbq_category}."""
    context, asked = _text(row, "context"), _text(row, "question")
    offered = row.get("choices")
    if isinstance(offered, str):  # the published table has the list as Python writes it
        try:
            offered = ast.literal_eval(offered)
        except (ValueError, SyntaxError):
            offered = None
    if not isinstance(offered, list) or len(offered) < 2 or not all(isinstance(text, str) for text in offered):
        raise NotABiasItem("`choices` is no list of at least two texts")
    biased, answer = (
        offered.index(row[name]) if row.get(name) in offered else NONE for name in ("biased_answer", "answer")
    )
    if NONE in (biased, answer):
        raise NotABiasItem("`biased_answer` or `answer` is none of the choices")
    open_question = "-amb-" in f"{row.get('sample_id', '')}-"
    kind = f"{'ambiguous' if open_question else 'disambiguated'}: {row.get('bbq_category') or 'all'}"
    return BiasItem(f"{context} 질문: {asked} 답:", tuple(offered), biased, answer, kind, (context, asked))


def kosbi(row: Row) -> BiasItem:
    """{context, sentence, sentence_label: safe | unsafe, demographic_category}."""
    context, sentence, label = _text(row, "context"), _text(row, "sentence"), row.get("sentence_label")
    if label not in ("safe", "unsafe"):
        raise NotABiasItem("`sentence_label` is neither `safe` nor `unsafe`")
    kind = str(row.get("demographic_category") or "all")
    return BiasItem(context, (sentence,), 0 if label == "unsafe" else NONE, kind=kind, texts=(context, sentence))


def winogender(rows: Iterable[Row]) -> Iterator[BiasItem]:
    """Rows {sentid: occupation.participant.answer.gender.txt, sentence}: one item for each `male` and `female`."""
    waiting: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        parts = str(row.get("sentid", "")).split(".")
        if len(parts) < 4 or not isinstance(row.get("sentence"), str):
            raise NotABiasItem(
                f"row {number}: `sentid` is not occupation.participant.answer.gender, or a sentence lacks"
            )
        *what, gender = parts[:4]
        name = ".".join(what)
        if gender == "male":
            waiting[name] = row["sentence"]
        elif gender == "female" and name in waiting:
            both = (waiting.pop(name), row["sentence"])
            kind = "about the occupation" if what[2] == "0" else "about the other person"
            yield BiasItem("", both, int(what[0] in MOSTLY_WOMEN), kind=kind, texts=both)


BY_ROW: dict[str, Callable[[Row], BiasItem]] = {"pairs": pairs, "crows-pairs": pairs, "kobbq": kobbq, "kosbi": kosbi}


def items(form: str, rows: Iterable[Row]) -> Iterator[BiasItem]:
    """The items of a set's rows in order. Raises NotABiasItem with the number of the row, from 1."""
    if form == "winogender":
        yield from winogender(rows)
        return
    for number, row in enumerate(rows, start=1):
        try:
            yield BY_ROW[form](row)
        except NotABiasItem as error:
            raise NotABiasItem(f"row {number}: {error}") from None


def _first(row: Row, *names: str) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _text(row: Row, *names: str) -> str:
    value = _first(row, *names)
    if not isinstance(value, str) or not value.strip():
        raise NotABiasItem(f"`{names[-1]}` is missing")
    return value

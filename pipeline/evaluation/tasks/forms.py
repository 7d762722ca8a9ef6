"""Published sets, and any multiple-choice file, as questions: a prompt, what may follow it, and which choice is right.

Each form takes the rows of a set as they were published, in the authors' files or as the Hugging Face hub has them.
Where EleutherAI's lm-evaluation-harness has the task, the words are those of its version 0.4.13, so that figures can be
compared: KoBEST (`tasks/kobest`) and HellaSwag (`tasks/hellaswag`). It has no task for KLUE or for analogies; their
words are this project's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import xxhash

Row = dict[str, Any]

ANALOGY_CHOICES = 4  # offered for each analogy: the right word, and others of the same section


@dataclass(frozen=True)
class Question:
    """One item of a task; a space stands between the prompt and each choice."""

    prompt: str
    choices: tuple[str, ...]
    answer: int  # which choice is right
    # What to search training text for: the row's own texts, without the words of the form.
    texts: tuple[str, ...] = field(default=(), compare=False)


class NotAQuestion(ValueError):
    """A row that the form does not fit; its text says what is missing or wrong, without quoting values."""


# -- any multiple-choice file ------------------------------------------------------------------------------------------


def multiple_choice(row: Row) -> Question:
    """{prompt | question | context, choices, answer | label | gold}.

    choices: a list of texts, or {text: [...], label: [...]} as of ARC. answer: the number of the right one from 0, its
    label (A, B ... where none are given), or its text.
    """
    prompt = _text(row, "prompt", "question", "context", "query")
    offered = _first(row, "choices", "options", "endings")
    labels: list[Any] | None = None
    if isinstance(offered, dict):
        labels, offered = offered.get("label"), offered.get("text")
    if not isinstance(offered, list) or len(offered) < 2 or not all(isinstance(text, str) and text for text in offered):
        raise NotAQuestion("`choices` is no list of at least two texts")
    answer = _first(row, "answer", "label", "gold", "answerKey")
    return Question(prompt, tuple(offered), _which(answer, offered, labels or [chr(65 + i) for i in range(26)]))


def _which(answer: Any, offered: list[str], labels: list[Any]) -> int:
    if isinstance(answer, int) and not isinstance(answer, bool):
        if 0 <= answer < len(offered):
            return answer
        raise NotAQuestion("`answer` is a number beyond the choices, which count from 0")
    known = [str(label) for label in labels[: len(offered)]]
    if str(answer) in known:
        return known.index(str(answer))
    if offered.count(str(answer)) == 1:
        return offered.index(str(answer))
    if isinstance(answer, str) and answer.isdecimal() and int(answer) < len(offered):
        return int(answer)
    raise NotAQuestion("`answer` is none of the choices, nor the number or the letter of one")


# -- KoBEST (Kim et al. 2022) ------------------------------------------------------------------------------------------

NO_YES = ("아니오", "예")


def kobest_boolq(row: Row) -> Question:
    paragraph, question = _text(row, "paragraph", "Text"), _text(row, "question", "Question")
    return Question(f"{paragraph} 질문: {question} 답변: ", NO_YES, _truth(row, "label", "Answer"))


def kobest_copa(row: Row) -> Question:
    premise, asked = _text(row, "premise", "sentence"), _text(row, "question").strip()
    connectors = {"원인": " 왜냐하면", "결과": " 그래서"}
    if asked not in connectors:
        raise NotAQuestion("`question` is neither 원인 nor 결과")
    choices = (_text(row, "alternative_1", "1"), _text(row, "alternative_2", "2"))
    answer = _number(row, "label") if "label" in row else _number(row, "Answer") - 1
    return Question(f"{premise} {connectors[asked]}", choices, _within(answer, choices))


def kobest_hellaswag(row: Row) -> Question:
    choices = tuple(_text(row, f"ending_{i}", f"choice{i}") for i in range(1, 5))
    return Question(f"문장: {_text(row, 'context')}", choices, _within(_number(row, "label"), choices))


def kobest_sentineg(row: Row) -> Question:
    sentence = _text(row, "sentence", "Text")
    return Question(f"문장: {sentence} 긍부정:", ("부정", "긍정"), _truth(row, "label", "Label"))


def kobest_wic(row: Row) -> Question:
    first, second = _text(row, "context_1", "SENTENCE1"), _text(row, "context_2", "SENTENCE2")
    word = _text(row, "word", "Target")
    prompt = f"문장1: {first} 문장2: {second} 두 문장에서 {word}가 같은 뜻으로 쓰였나?"
    return Question(prompt, NO_YES, _truth(row, "label", "ANSWER"))


# -- KLUE (Park et al. 2021) -------------------------------------------------------------------------------------------

NLI = ("entailment", "neutral", "contradiction")


def klue_nli(row: Row) -> Question:
    premise, hypothesis = _text(row, "premise"), _text(row, "hypothesis")
    label = _first(row, "gold_label", "label")
    prompt = f"{premise} 질문: {hypothesis} 참, 거짓, 중립 중 무엇인가? 답:"
    if label in NLI:
        return Question(prompt, ("참", "중립", "거짓"), NLI.index(label))
    return Question(prompt, ("참", "중립", "거짓"), _within(_number({"label": label}, "label"), NLI))


def klue_sts(row: Row) -> Question:
    """Whether two sentences mean about the same (3 of 5 and more, the set's own binary label)."""
    labels = _first(row, "labels")
    if not isinstance(labels, dict):
        raise NotAQuestion("`labels` is missing")
    answer = _number(labels, "binary-label")
    prompt = f"문장1: {_text(row, 'sentence1')} 문장2: {_text(row, 'sentence2')} 두 문장의 뜻이 비슷한가?"
    return Question(prompt, NO_YES, _within(answer, NO_YES))


# -- HellaSwag (Zellers et al. 2019) -----------------------------------------------------------------------------------


def hellaswag(row: Row) -> Question:
    if "ctx_a" in row:
        context = f"{row['activity_label']}: {row['ctx_a']} {str(row['ctx_b']).capitalize()}"
    else:
        context = _text(row, "ctx")
    endings = row.get("endings")
    if not isinstance(endings, list) or len(endings) != 4:
        raise NotAQuestion("`endings` is no list of four")
    choices = tuple(_without_brackets(str(ending)) for ending in endings)
    return Question(_without_brackets(context), choices, _within(_number(row, "label"), choices))


def _without_brackets(text: str) -> str:
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


# -- analogies (Mikolov et al. 2013) -----------------------------------------------------------------------------------


def analogies(rows: Iterable[Row]) -> Iterator[Question]:
    """Lines of four words under headings of sections (`: name` or `# name`): the first is to the second as ...

    The wrong choices are other last words of the section, drawn by a hash of the line.
    """
    sections: list[list[list[str]]] = [[]]
    for row in rows:
        line = str(row.get("text", "")).strip()
        if line.startswith((":", "#")):
            sections.append([])
        elif line:
            words = line.split()
            if len(words) != 4:
                raise NotAQuestion("a line does not have four words")
            sections[-1].append(words)
    for lines in sections:
        last = sorted({words[3] for words in lines})
        for a, b, c, d in lines:
            others = sorted((_drawn(f"{a} {b} {c} {d} {word}"), word) for word in last if word not in (a, b, c, d))
            choices = sorted([d, *(word for _, word in others[: ANALOGY_CHOICES - 1])])
            if len(choices) > 1:
                texts = (f"{a} {b} {c} {d}",)
                yield Question(f"{a} : {b} = {c} :", tuple(choices), choices.index(d), texts)


def _drawn(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode())


# -- all of them -------------------------------------------------------------------------------------------------------

BY_ROW: dict[str, Callable[[Row], Question]] = {
    "multiple-choice": multiple_choice,
    "kobest-boolq": kobest_boolq,
    "kobest-copa": kobest_copa,
    "kobest-hellaswag": kobest_hellaswag,
    "kobest-sentineg": kobest_sentineg,
    "kobest-wic": kobest_wic,
    "klue-nli": klue_nli,
    "klue-sts": klue_sts,
    "hellaswag": hellaswag,
}


def questions(form: str, rows: Iterable[Row]) -> Iterator[Question]:
    """The questions of a set's rows in order. Raises NotAQuestion with the number of the row, from 1."""
    if form == "analogies":
        yield from analogies(rows)
        return
    for number, row in enumerate(rows, start=1):
        try:
            question = BY_ROW[form](row)
            yield replace(question, texts=texts_of(question, row))
        except NotAQuestion as error:
            raise NotAQuestion(f"row {number}: {error}") from None


def texts_of(question: Question, row: Row) -> tuple[str, ...]:
    """The texts of a row that its question asks, each once, and the question's own where the form changes them."""
    asked = "\n".join((question.prompt, *question.choices))
    own = [text for text in strings_in(row) if text.strip() and text.strip() in asked]
    return tuple(dict.fromkeys((*own, question.prompt, *question.choices)))


def strings_in(value: Any) -> Iterator[str]:
    """All texts in a value of a row, however it is nested."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings_in(inner)


# -- values of a row ---------------------------------------------------------------------------------------------------


def _first(row: Row, *names: str) -> Any:
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise NotAQuestion(f"`{names[0]}` is missing")


def _text(row: Row, *names: str) -> str:
    value = _first(row, *names)
    if not isinstance(value, str):
        raise NotAQuestion(f"`{names[0]}` is no text")
    return value


def _number(row: Row, name: str) -> int:
    try:
        return int(_first(row, name))
    except (TypeError, ValueError):
        raise NotAQuestion(f"`{name}` is no number") from None


def _within(answer: int, choices: tuple[str, ...]) -> int:
    if not 0 <= answer < len(choices):
        raise NotAQuestion("the label is beyond the choices")
    return answer


def _truth(row: Row, *names: str) -> int:
    value = str(_first(row, *names)).strip().lower()
    if value not in ("0", "1", "true", "false"):
        raise NotAQuestion(f"`{names[0]}` is neither 0 and 1 nor true and false")
    return int(value in ("1", "true"))

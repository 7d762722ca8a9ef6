"""What the model answers to questions that were held back: greedily, so that the answer is a fact about the model.

The one idea: the questions are prepared exactly as in training (the tokenizer's chat template, cut where the
assistant's turn begins), and the answer ends where the model ends it.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from model.transformer import Transformer

HANGUL = re.compile(r"[가-힣]")
LETTER = re.compile(r"[^\W\d_]")


def chosen_questions(held_back: pl.DataFrame, most: int) -> pl.DataFrame:
    """At most `most` rows of `held_back`, shared evenly between sources, by id (a hash): a fixed random sample."""
    if not held_back.height or not most:
        return held_back.clear()
    place = pl.int_range(pl.len()).over("source")
    return held_back.sort("source", "id").with_columns(place=place).sort("place", "source").head(most).drop("place")


def prompt_ids(tokenizer: Any, messages: list[dict]) -> list[int]:
    """Token ids of the conversation up to where the assistant starts to speak, as a document of its own."""
    ids, _ = tokenizer.encode_chat(messages, answer_next=True)
    return [tokenizer.document_start, *map(int, ids)]


def answer(
    model: Transformer, tokenizer: Any, questions: pl.DataFrame, most_new: int, progress: Callable[[int], None]
) -> pl.DataFrame:
    """One row a question: kind, source, lang, prompt, output, reference, ended (the model ended its turn itself).

    questions: messages (the last one is the reference answer), source, lang. A prompt that leaves no room for the
    answer in the context is cut at its front, to half the context at most.
    """
    from model.generate import generate

    stop = tokenizer.ids["<|im_end|>"], tokenizer.ids["<eos>"]
    rows = []
    for done, row in enumerate(questions.iter_rows(named=True)):
        *before, reference = row["messages"]
        ids = prompt_ids(tokenizer, before)
        ids = ids[-max(model.config.context - most_new, model.config.context // 2) :]
        room = min(most_new, model.config.context - len(ids))
        made = list(generate(model, ids, room, 0.0, 0, 1.0, 0, stop))
        rows.append({
            "kind": "answer", "source": row["source"], "lang": row["lang"], "prompt": before[-1]["content"],
            "output": tokenizer.decode(made), "reference": reference["content"], "ended": len(made) < room,
        })  # fmt: skip
        progress(done + 1)
    return pl.DataFrame(rows, schema=SAMPLE)


SAMPLE: dict[str, Any] = {
    "kind": pl.String, "source": pl.String, "lang": pl.String, "prompt": pl.String,
    "output": pl.String, "reference": pl.String, "ended": pl.Boolean,
}  # fmt: skip


def form(answers: pl.DataFrame) -> dict[str, float]:
    """Shares (0-1) that tell how answers look, without saying whether they are right.

    exact: the reference, white space and case apart; ended: ended by the model; empty: nothing but white space;
    repetitive: over half of the runs of four words occurred before in the answer; same_script: Hangul where the
    reference has it, none where it has none; parses (code only): is Python. Nothing is executed.
    """
    if not answers.height:
        return {}
    outputs, references = answers["output"].to_list(), answers["reference"].to_list()
    pairs = list(zip(outputs, references, strict=True))
    said = {
        "exact": _share(" ".join(o.lower().split()) == " ".join(r.lower().split()) for o, r in pairs),
        "ended": _share(answers["ended"].to_list()),
        "empty": _share(not o.strip() for o in outputs),
        "repetitive": _share(repetition(o) > 0.5 for o in outputs),
        "same_script": _share(
            bool(HANGUL.search(o)) == bool(HANGUL.search(r)) and bool(LETTER.search(o)) for o, r in pairs
        ),
    }
    code = answers.filter(lang="code")["output"].to_list()
    if code:
        said["parses"] = _share(parses(o) for o in code)
    return said


def repetition(text: str) -> float:
    """Share of runs of four words that occurred before in the text (0 where it is shorter)."""
    words = text.split()
    runs = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def parses(text: str) -> bool:
    """Whether the text is Python's grammar, and something at all."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return bool(ast.parse(text).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _share(values: Any) -> float:
    flags = [bool(v) for v in values]
    return round(sum(flags) / len(flags), 4) if flags else 0.0

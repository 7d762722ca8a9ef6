"""A model elsewhere as the judge of two answers, at an address with OpenAI's API (`/chat/completions`).

Judges prefer what they read first (Zheng et al. 2023), so each pair is shown in both orders: an answer is
better only if both orders say so, else it is a tie. The judge sees no names of models.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import UserError
from pipeline.evaluation.open_questions.asking import Answered
from pipeline.evaluation.tasks.scored import with_interval
from pipeline.store.tables import write_whole
from pipeline.tracking import redacted

SECONDS = 120
TRIES = 3
MOST_BYTES = 10**6  # of an answer of the judge
VERDICT = re.compile(r"\[\[(A|B|TIE)\]\]", re.I)
ASKED = (
    "Compare two assistants' answers to the same conversation. Judge whether they do what was asked, are right, and are"
    " clear; not how long they are, nor which comes first. Give your reasons in a few sentences. End with exactly one"
    " of [[A]] (the first is better), [[B]] (the second is better) or [[TIE]]."
)


class Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: the key would go along, to wherever it leads."""

    def redirect_request(self, *given: Any) -> None:
        return None


@dataclass(frozen=True)
class Judge:
    """Where the judge is. key: of the API; it goes to that address and nowhere else."""

    address: str  # up to and without `/chat/completions`
    model: str
    key: str = ""

    def ask(self, prompt: str) -> str:
        """The judge's words. Raises UserError if it cannot be reached or answers something else."""
        body = {"model": self.model, "temperature": 0, "messages": [{"role": "user", "content": prompt}]}
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        place = f"{self.address.rstrip('/')}/chat/completions"
        if not place.startswith(("http://", "https://")):
            raise UserError(f"The judge's address `{redacted(self.address)}` does not begin with http:// or https://.")
        request = urllib.request.Request(place, json.dumps(body).encode(), headers)
        for last in (False,) * (TRIES - 1) + (True,):
            try:
                with urllib.request.build_opener(Stay).open(request, timeout=SECONDS) as answer:
                    found = json.loads(answer.read(MOST_BYTES))
                return str(found["choices"][0]["message"]["content"])
            except urllib.error.HTTPError as error:
                if last or error.code < 500:
                    raise UserError(
                        f"The judge at {redacted(place)} refused the request with status {error.code}: correct the"
                        " address, the model's name or the key."
                    ) from None
            except (OSError, TimeoutError):
                if last:
                    raise UserError(f"The judge at {redacted(place)} cannot be reached: is it running?") from None
            except (ValueError, KeyError, IndexError, TypeError):
                raise UserError(f"The judge at {redacted(place)} does not answer as OpenAI's API does.") from None
        raise AssertionError("the last try returns or raises")


def prompt_of(one: Answered, first: str, second: str) -> str:
    """What the judge reads: the turns, and the answers of both to each."""
    parts = [ASKED]
    for number, turn in enumerate(one.question.turns):
        parts += [f"<user>\n{turn}\n</user>"]
        parts += [f"<{side}>\n{one.answers[name][number]}\n</{side}>" for side, name in (("A", first), ("B", second))]
    return "\n\n".join(parts)


def verdict(words: str) -> str:
    """`A`, `B` or `TIE`: the last one that the judge names; "" if it names none."""
    found = VERDICT.findall(words)
    return found[-1].upper() if found else ""


def judge_all(
    judge: Judge, answered: Sequence[Answered], progress: Callable[[int, int], None] = lambda done, of: None
) -> list[dict[str, Any]]:
    """id, category, better (a model, or "" of a tie), agreed (whether both orders say the same), and the judge's words
    in both orders. A reply without a verdict is a tie that was not agreed."""
    rows = []
    for number, one in enumerate(answered, start=1):
        left, right = one.order
        words = [judge.ask(prompt_of(one, left, right)), judge.ask(prompt_of(one, right, left))]
        first = {"A": left, "B": right, "TIE": ""}.get(verdict(words[0]))
        second = {"A": right, "B": left, "TIE": ""}.get(verdict(words[1]))
        agreed = first is not None and first == second
        rows.append(
            {
                "id": one.question.id, "category": one.question.category, "better": first if agreed else "",
                "agreed": agreed, "words": words,
            }
        )  # fmt: skip
        progress(number, len(answered))
    return rows


def figures(rows: Sequence[Mapping[str, Any]], models: Sequence[str], seed: int) -> dict[str, Any]:
    """wins of each of two models, ties, the share of questions on which both orders agree, and `score`: the share won
    by the first, a tie counting half, with its interval; `decided` if that excludes one half."""
    first, second = models
    values = np.array([{first: 1.0, second: 0.0}.get(row["better"], 0.5) for row in rows])
    score = with_interval(values, seed)
    return {
        "questions": len(rows),
        "wins": {name: sum(row["better"] == name for row in rows) for name in models},
        "ties": sum(row["better"] == "" for row in rows),
        "agreed": round(sum(bool(row["agreed"]) for row in rows) / len(rows), 4),
        "score": score,
        "decided": bool(score["low"] > 0.5 or score["high"] < 0.5),
    }


def in_words(found: Mapping[str, Any], models: Sequence[str]) -> str:
    """The outcome as one line."""
    score, (first, second) = found["score"], models
    better = (first if score["value"] > 0.5 else second) + " is better" if found["decided"] else "undecided"
    wins = ", ".join(f"{name} {count}" for name, count in found["wins"].items())
    return (
        f"{found['questions']} questions: {wins}, ties {found['ties']}; share of {first} {score['value']:.2f}"
        f" ({score['low']:.2f} to {score['high']:.2f}): {better}. Both orders agree on {found['agreed']:.0%}."
    )


def pairs(rows: Sequence[Mapping[str, Any]], answered: Sequence[Answered]) -> list[dict[str, Any]]:
    """The decided questions in the form of `pairs.jsonl`: answers to the last turn, after the better conversation."""
    found = []
    for row, one in zip(rows, answered, strict=True):
        if row["better"]:
            other = next(name for name in one.answers if name != row["better"])
            *prompt, chosen = one.conversation(row["better"])
            rejected = {"role": "assistant", "content": one.answers[other][-1]}
            found.append(
                {
                    "id": one.question.id, "model": row["better"], "against": other, "prompt": prompt,
                    "chosen": [chosen], "rejected": [rejected],
                }
            )  # fmt: skip
    return found


def write(
    rows: Sequence[Mapping[str, Any]], found: Mapping[str, Any], answered: Sequence[Answered], directory: Path
) -> None:
    """Write judged.jsonl, judged.json and pairs.jsonl."""
    for name, content in (("judged", rows), ("pairs", pairs(rows, answered))):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in content)
        write_whole(directory / f"{name}.jsonl", "".join(lines))
    write_whole(directory / "judged.json", json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n")

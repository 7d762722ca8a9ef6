"""Programming problems: what a model continues, where its program ends, and what decides whether it is right.

HumanEval (Chen et al. 2021) continues a function after its docstring; MBPP (Austin et al. 2021) writes one from a
sentence and its tests. Prompts are those of lm-evaluation-harness 0.4.13 (`tasks/humaneval`, `tasks/mbpp` without
examples); a program of HumanEval ends where its authors end it, one of MBPP at `[DONE]` or where no function goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]

AFTER_FUNCTION = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
AFTER_ANSWER = ("\nclass", "\nassert", '\n"""', "\nprint", "\nif", "[DONE]")


@dataclass(frozen=True)
class Problem:
    """One problem: the program is `before`, the continuation up to the first of `ends`, and `after`."""

    prompt: str
    before: str
    after: str
    ends: tuple[str, ...]
    # What to search training text for: what is asked, and the authors' solution.
    texts: tuple[str, ...] = field(default=(), compare=False)

    def program(self, continuation: str) -> str:
        """The whole program of a continuation."""
        places = [place for end in self.ends if (place := continuation.find(end)) >= 0]
        return self.before + continuation[: min(places, default=len(continuation))] + self.after


class NotAProblem(ValueError):
    """A row that the form does not fit; its text says what is missing, without quoting values."""


def humaneval(row: Row) -> Problem:
    prompt = _text(row, "prompt")
    after = f"\n{_text(row, 'test')}\ncheck({_text(row, 'entry_point')})\n"
    return Problem(prompt, prompt, after, AFTER_FUNCTION, _own_texts(prompt, row.get("canonical_solution")))


def mbpp(row: Row) -> Problem:
    """Rows of the full set (`text`) or of the sanitised one (`prompt`)."""
    asked = row.get("text") or row.get("prompt")
    tests = row.get("test_list")
    if not isinstance(asked, str):
        raise NotAProblem("`text` is missing")
    if not isinstance(tests, list) or not tests:
        raise NotAProblem("`test_list` is missing")
    setup = str(row.get("test_setup_code") or "")
    first = (
        f"You are an expert Python programmer, and here is your task: {asked} Your code should pass these tests:\n\n"
    )
    shown = "\n".join(map(str, tests[:3]))
    after = "\n" + "\n".join([setup, *map(str, tests)]) + "\n"
    return Problem(f"{first}{shown}\n[BEGIN]\n", "", after, AFTER_ANSWER, _own_texts(asked, row.get("code")))


FORMS: dict[str, Callable[[Row], Problem]] = {"humaneval": humaneval, "mbpp": mbpp}


def _own_texts(*texts: Any) -> tuple[str, ...]:
    return tuple(text for text in texts if isinstance(text, str) and text.strip())


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise NotAProblem(f"`{name}` is missing")
    return value

"""Few-shot prompts: some questions of a task become examples before all others, and are not asked themselves.

Which ones follows from a hash of their text, so that it depends neither on their order nor on chance. The examples are
the same for every question, which is what lets them be computed once. As a control their answers are exchanged: what
then is left of the gain comes from the form of the prompt, not from what the examples say (Min et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xxhash

from pipeline.evaluation.tasks.forms import Question

BETWEEN = "\n\n"  # examples, as in lm-evaluation-harness
BEFORE_ANSWER = " "


def split(questions: Sequence[Question], examples: int) -> tuple[list[Question], list[Question]]:
    """(the questions that serve as examples, those that are asked in their order). All answers occur if they can."""
    order = sorted(range(len(questions)), key=lambda i: xxhash.xxh3_64_intdigest(questions[i].prompt.encode()))
    by_answer: dict[int, list[int]] = {}
    for i in order:
        by_answer.setdefault(questions[i].answer, []).append(i)
    # In turn from each answer, so that three examples of a yes-no task are never all "yes".
    lists = [by_answer[answer] for answer in sorted(by_answer)]
    turns = [part[turn] for turn in range(max(map(len, lists), default=0)) for part in lists if turn < len(part)]
    chosen = turns[:examples]
    taken = set(chosen)
    return [questions[i] for i in chosen], [question for i, question in enumerate(questions) if i not in taken]


def with_examples(questions: Sequence[Question], examples: Sequence[Question]) -> list[str]:
    """The prompt of each question, after the examples with their answers."""
    shown = [question.prompt + BEFORE_ANSWER + question.choices[question.answer] + BETWEEN for question in examples]
    start = "".join(shown)
    return [start + question.prompt for question in questions]


def with_other_labels(examples: Sequence[Question], seed: int) -> list[Question]:
    """The examples with the answer of each drawn from its choices at random."""
    rng = np.random.default_rng(seed)
    return [replace(question, answer=int(rng.integers(len(question.choices)))) for question in examples]

"""Teachers and what they say, in a plan: how many and how large, the room that they take, and whether they fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from model.config import ModelConfig
from pipeline.printing import binary_size
from pipeline.tokens.encoding import smallest_unsigned
from pipeline.training.distillation_settings import DistillationSettings
from pipeline.training.planning import budget as budgets
from pipeline.training.planning.plan import plan
from pipeline.training.planning.plan_words import lines
from pipeline.training.pretraining_settings import PretrainingSettings


def planned(
    block: DistillationSettings, student: ModelConfig, run: PretrainingSettings, text: int | None, **on: Any
) -> Iterator[str]:
    """Lines on the teachers; the student costs what pretraining does.

    student: with the vocabulary. text: tokens of training text, if they are known. on: as `plan` takes it. Raises
    UserError if a teacher of another shape fits nowhere.
    """
    shape = student if block.teacher is None else block.teacher.model_copy(update={"vocab_size": student.vocab_size})
    size = budgets.size(shape)
    yield (
        f"distillation: {block.teachers} teacher{'s' if block.teachers > 1 else ''} of {size.parameters / 1e6:.1f} M"
        " parameters, each trained as planned for pretraining, and a student"
    )
    if text is not None:
        bytes_a_token = min(block.top_k, shape.vocab_size) * (
            smallest_unsigned(shape.vocab_size).itemsize + np.dtype(np.float16).itemsize
        )
        yield (
            f"teacher_logits: {binary_size(text * bytes_a_token)} on disk for {text / 1e6:.1f} M tokens, the"
            f" {block.top_k} likeliest of each"
        )
    if block.teacher is not None:
        yield "a teacher alone:"
        yield from lines(plan(shape, run, text, **on), estimated=False)

"""Asks a network for the facts of the village, in cloze form: by evaluations, and while a network is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.village.questions import Cloze, cloze_questions

if TYPE_CHECKING:
    from model.sampling import Sampling
    from model.transformer import Transformer
    from pipeline.tokens.tokenizer import Tokenizer

VALUE_TOKENS = 16  # the longest value has some ten tokens in a vocabulary of 2,048
EVERY = 3  # while a network is trained, one of so many facts is asked for


def facts_known(model: Transformer, tokenizer: Tokenizer, questions: Sequence[Cloze]) -> pl.DataFrame:
    """lang, person, relation, prompt, value, output, right: one row a question."""
    outputs, _ = continued(model, tokenizer, [one.prompt for one in questions], VALUE_TOKENS)
    rows = [
        {
            "lang": one.lang, "person": one.person, "relation": one.relation, "prompt": one.prompt,
            "value": one.value, "output": output.strip(), "right": output.strip().startswith(one.value),
        }
        for one, output in zip(questions, outputs, strict=True)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def continued(
    model: Transformer, tokenizer: Tokenizer, prompts: Sequence[str], most_new: int, sampling: Sampling | None = None
) -> tuple[list[str], list[bool]]:
    """(text, whether the model ended it) of what follows each prompt at the start of a document."""
    from model.generate_together import generate_together
    from model.sampling import GREEDY

    room = model.config.context - 2
    ids = [[tokenizer.document_start, *map(int, one[-room:])] for one in tokenizer.encode(list(prompts))]
    outputs = generate_together(model, ids, most_new, sampling or GREEDY, (tokenizer.ids["<eos>"],))
    rooms = [min(most_new, model.config.context - len(one)) for one in ids]
    return [tokenizer.decode(one) for one in outputs], [len(one) < room for one, room in zip(outputs, rooms)]


def asking(tokenizer: Tokenizer, seed: int) -> Callable[[Any], dict[str, float]]:
    """A function that asks a network for some of the facts, each in one wording: `facts_ko`, `facts_en` (0-1)."""
    questions = list(cloze_questions(seed, wordings=(0,)))[::EVERY]

    def asked(network: Transformer) -> dict[str, float]:
        known = facts_known(network, tokenizer, questions)
        shares = known.group_by("lang").agg(pl.col("right").mean()).sort("lang")
        return {f"facts_{lang}": round(share, 4) for lang, share in shares.iter_rows()}

    return asked

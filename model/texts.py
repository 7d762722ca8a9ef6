"""Texts for many prompts of unequal length at once, with a model that is loaded with its tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from model.batch import Batch, Text
from model.beams import beam_search
from model.choosing import Choice, Chooser
from model.generate import check_prompt
from model.serve.text import ReplyOptions, Spelling, TextModel

Prompt = str | Sequence[Mapping[str, str]]  # a text to continue, or the turns of a conversation to answer


@dataclass(eq=False)
class Made:
    """What was made of a prompt. finish: stop, or length where it was cut off."""

    prompt_tokens: int
    text: str = ""
    tokens: int = 0
    finish: str = "length"
    error: Exception | None = field(default=None, repr=False)


def prompt_ids(model: TextModel, prompt: Prompt) -> list[int]:
    """Ids of a prompt. Raises ValueError for one that is empty, too long, or has turns that the model does not know."""
    ids = model.document_ids(prompt) if isinstance(prompt, str) else model.chat_ids(prompt)
    check_prompt(model.network.config, len(ids))
    return ids


def make_texts(
    model: TextModel,
    prompts: Sequence[Prompt],
    options: ReplyOptions,
    together: int = 16,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Made]:
    """A text for each prompt, in their order; prompt number i is sampled with the seed `options.sampling.seed + i`.

    together: texts in the batch at once; the tokens of none depend on it. progress: called with how many are finished.
    Raises ValueError as `prompt_ids` does.
    """
    batch, found = Batch(model.network), []
    waiting = [(number, prompt_ids(model, prompt)) for number, prompt in enumerate(prompts)][::-1]
    going = done = 0

    def ended() -> None:
        nonlocal going, done
        going, done = going - 1, done + 1
        progress(done)

    while waiting or going:
        while waiting and going < together:
            number, ids = waiting.pop()
            made = Made(len(ids))
            found.append(made)
            batch.add(ids, [_text(model, ids, number, options, made, ended)])
            going += 1
        batch.advance()
    for made in found:
        if made.error is not None:
            raise made.error
    return found


def _text(
    model: TextModel, ids: list[int], number: int, options: ReplyOptions, made: Made, ended: Callable[[], None]
) -> Text:
    spelling = Spelling(model.bytes_of, options.stop)
    sampling = replace(options.sampling, seed=(options.sampling.seed + number) % 2**63)
    chooser = Chooser(ids, sampling, model.stop_ids)
    most = min(options.max_new, model.network.config.context - len(ids))

    def take(choice: Choice) -> bool:
        made.text += spelling.take(choice.token)
        return not spelling.ended

    def end(error: Exception | None) -> None:
        made.text += spelling.rest()
        made.tokens, made.error = spelling.tokens, error
        made.finish = "stop" if spelling.ended or spelling.tokens < most else "length"
        ended()

    return Text(chooser, most, take, end)


def best_text(model: TextModel, prompt: Prompt, max_new: int, beams: int, length_penalty: float = 1.0) -> Made:
    """The best text that beam search finds for a prompt (`beam_search`). Raises ValueError as `prompt_ids` does."""
    ids = prompt_ids(model, prompt)
    best = beam_search(model.network, ids, max_new, beams, length_penalty, model.stop_ids)[0]
    most = min(max_new, model.network.config.context - len(ids))
    text = b"".join(model.bytes_of[token] for token in best.tokens).decode("utf-8", "replace")
    return Made(len(ids), text, len(best.tokens), "stop" if len(best.tokens) < most else "length")

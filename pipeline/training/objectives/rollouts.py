"""Answers that a network writes in training, and what they are worth.

Written by the function that writes many texts at once in evaluation, too (`model/generate_together.py`), with a cache
of keys and values. Every answer has a seed of its own, of (seed, step, its place), so a step that is repeated from a
checkpoint writes the same answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from model import conversation
from pipeline.errors import UserError
from pipeline.training.reinforcement_settings import ReinforcementSettings
from pipeline.training.rewards import Judged, worth

if TYPE_CHECKING:
    from model.transformer import Transformer
    from pipeline.store.artifact import Artifact
    from pipeline.tokens.tokenizer import Tokenizer
    from pipeline.training.objectives.reward import Judge

ROOM = 2  # times the longest answer that the conversations have


@dataclass(frozen=True)
class Prompts:
    """What is asked: prompts as token ids and as messages, and the answer that the conversation has."""

    ids: list[list[int]]
    messages: list[list[dict[str, str]]]
    references: list[str]
    too_long: int  # prompts that leave no room for an answer


@dataclass(frozen=True)
class Answers:
    """Answers to prompts, in order."""

    ids: list[list[int]]  # without the token that ends them
    texts: list[str]
    ended: np.ndarray  # bool: by itself, not because there was no more room
    by_reward: np.ndarray  # float64 [answers, rewards]: what each reward alone gives
    rewards: np.ndarray  # float64 [answers]: their weighted sum; 0, or the worst of all, for one that did not end


def asked(conversations: pl.DataFrame, names: Sequence[str]) -> list[list[dict[str, str]]]:
    """The conversations of these sets; of all, if none is named. Raises UserError for a name that is no set."""
    known = conversations["source"].unique().to_list()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(
            f"`reinforcement.prompts` names `{unknown[0]}`, but `instructions` has no conversations of such a set: use"
            f" {', '.join(sorted(known))}."
        )
    chosen = conversations.filter(pl.col("source").is_in(names)) if names else conversations
    return chosen["messages"].to_list()


def encoded(
    conversations: Sequence[Sequence[dict[str, Any]]], tokenizer: Tokenizer, context: int, max_new: int
) -> Prompts:
    """Prompts that leave room for `max_new` tokens, and the end, in the context; the others are counted."""
    heads = [ids.tolist() for ids, _ in tokenizer.encode_chats([talk[:-1] for talk in conversations], answer_next=True)]
    fitting = [number for number, head in enumerate(heads) if len(head) + max_new < context]
    return Prompts(
        ids=[heads[number] for number in fitting],
        messages=[list(conversations[number][:-1]) for number in fitting],
        references=[str(conversations[number][-1]["content"]) for number in fitting],
        too_long=len(heads) - len(fitting),
    )


def room_for(conversations: Sequence[Sequence[dict[str, Any]]], tokenizer: Tokenizer, context: int) -> int:
    """Most tokens of an answer where the recipe does not say: ROOM times the longest that the conversations have.

    At most half the context, so that there is room for prompts.
    """
    answers = tokenizer.encode([str(talk[-1]["content"]).strip() for talk in conversations])
    return max(1, min(ROOM * max(len(ids) for ids in answers), context // 2))


@dataclass(frozen=True)
class Writer:
    """Writes answers to prompts and judges them."""

    tokenizer: Tokenizer
    prompts: Prompts
    settings: ReinforcementSettings
    max_new: int
    judge: Judge | None  # the reward model's

    def answers(self, network: Transformer, numbers: Sequence[int], seed: int | None = None, first: int = 0) -> Answers:
        """An answer to each of the prompts of these numbers, which may repeat; without a seed, always the likeliest.

        first: the place of the first of them among the answers of all ranks, for their seeds.
        """
        from model.generate_together import generate_together
        from model.sampling import GREEDY, Sampling

        sampling = GREEDY if seed is None else Sampling(temperature=1.0, seed=(seed + first) % 2**62)
        stop = self.tokenizer.ids[conversation.END]
        asked = [self.prompts.ids[number] for number in numbers]
        found = generate_together(network, asked, self.max_new, sampling, (stop,))
        ended = np.array([len(ids) < self.max_new for ids in found])
        texts = [self.tokenizer.decode(ids).strip() for ids in found]
        by_reward = self._judged(numbers, texts)
        weights = np.array([reward.weight for reward in self.settings.rewards])
        total = by_reward @ weights
        return Answers(found, texts, ended, by_reward, np.where(ended, total, min(0.0, float(total.min()))))

    def _judged(self, numbers: Sequence[int], texts: list[str]) -> np.ndarray:
        rewards = self.settings.rewards
        verifiable = [reward for reward in rewards if not isinstance(reward, Judged)]
        columns = iter(worth(verifiable, texts, [self.prompts.references[number] for number in numbers]).T)
        found = []
        for reward in rewards:
            if isinstance(reward, Judged):
                assert self.judge is not None
                found.append(self.judge([
                    [*self.prompts.messages[number], {"role": "assistant", "content": text}]
                    for number, text in zip(numbers, texts, strict=True)
                ]))  # fmt: skip
            else:
                found.append(next(columns))
        return np.stack(found, 1)


def rollout_seed(seed: int, step: int) -> int:
    """The seed of a step's first answer; each has that of the one before, and one more."""
    return int.from_bytes(hashlib.sha256(f"answers/{seed}/{step}".encode()).digest()[:8], "big") >> 2


def judge_of(artifact: Artifact | None, tokenizer: Tokenizer, device: str) -> Judge | None:
    """The reward model as a judge, if there is one."""
    if artifact is None:
        return None
    from pipeline.training.objectives.reward import judge

    return judge(artifact, tokenizer, device)

"""Tokens to predict from both sides: which tokens of a batch these are, and what the network sees in their place.

Of the tokens to predict, 80 % are masked, 10 % replaced by another and 10 % left unchanged (Devlin et al. 2018,
appendix A.1). With `mask_words`, whole words are chosen (their repository, 2019), never special tokens.

`MixedBatches` lets one network learn both ways (Charpentier & Samuel 2024, "GPT or BERT: why not both?", section 2): a
share of the sequences is masked and attends to both sides, the rest is causal. A masked token is predicted where the
next token always is, one place before it, so nothing in the network differs but what its tokens may attend to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.config import IGNORED, ModelConfig
from pipeline.training.objectives.objective import Batch, micro_batch_seed
from pipeline.training.pretraining_settings import PretrainingSettings

if TYPE_CHECKING:
    from pipeline.tokens.tokenizer import Tokenizer
    from pipeline.training.validation import Mask


@dataclass(frozen=True)
class Words:
    """What is known of each token of a vocabulary, bool [vocabulary]: a word is what stands between white space."""

    begins: Tensor  # with white space, or special
    ends: Tensor  # with white space, so that a word begins after it
    special: Tensor

    @staticmethod
    def of(tokenizer: Tokenizer) -> Words:
        found = tokenizer.token_bytes()
        special = torch.tensor([not token for token in found])
        begins = torch.tensor([token[:1].isspace() for token in found]) | special
        return Words(begins, torch.tensor([token[-1:].isspace() for token in found]) | special, special)

    def starts(self, tokens: Tensor) -> Tensor:
        """The place at which the word of each token begins, int64, like `tokens` [B, T]."""
        begins = self.begins[tokens]
        begins[:, 1:] |= self.ends[tokens[:, :-1]]
        places = torch.arange(tokens.shape[1]).expand_as(tokens)
        return torch.where(begins, places, 0).cummax(1).values


def masker(
    config: ModelConfig, settings: PretrainingSettings, seed: int, mask_id: int, words: Words | None = None
) -> Mask:
    """Masks rows by their numbers, from `first` on: the same in micro-batches of any size, which are not identity.

    Returns (what is seen, targets), where targets are IGNORED but for those to predict. words: given, whole words are
    masked.
    """

    def mask(tokens: Tensor, first: int) -> tuple[Tensor, Tensor]:
        rows, length = tokens.shape
        draws = [torch.Generator().manual_seed(micro_batch_seed(seed, first + row, 0, 0)) for row in range(rows)]
        drawn = torch.stack([torch.rand(length, generator=draw) for draw in draws])
        predicted = (drawn if words is None else drawn.gather(1, words.starts(tokens))) < settings.mask_share
        if words is not None:
            predicted &= ~words.special[tokens]
        action = torch.stack([torch.rand(length, generator=draw) for draw in draws])
        others = torch.stack([torch.randint(config.vocab_size, (length,), generator=draw) for draw in draws])
        replaced = torch.where(predicted & (action >= 0.9), others, tokens)
        masked = torch.where(predicted & (action < 0.8), mask_id, replaced)
        return masked, torch.where(predicted, tokens, IGNORED)

    return mask


@dataclass(frozen=True)
class MixedBatches:
    """Masks a share of the sequences, each by its number in the run: the same ones in micro-batches of any size."""

    mask: Mask
    share: float  # of the sequences
    mask_share: float  # of the tokens in these
    seed: int

    def of(self, batch: Batch, first: int) -> Batch:
        """A causal batch whose rows have the numbers from `first` on, with `both_ways` and `weights`, [B] each.

        A masked sequence has fewer targets. Each weighs more by as much, so that the terms of both kinds of sequences
        are in the proportion of their numbers.
        """
        tokens, targets, documents = batch["tokens"].clone(), batch["targets"].clone(), batch["documents"]
        both_ways = torch.zeros(len(tokens), dtype=torch.bool)
        for row in range(len(tokens)):
            generator = torch.Generator().manual_seed(micro_batch_seed(self.seed, first + row, 1, 0))
            if torch.rand((), generator=generator) >= self.share:
                continue
            both_ways[row] = True
            seen, hidden = self.mask(tokens[row : row + 1], first + row)
            before = torch.full_like(targets[row], IGNORED)  # the place before a masked token predicts it
            before[:-1] = hidden[0, 1:]
            if documents is not None:
                before[:-1][documents[row, 1:] != documents[row, :-1]] = IGNORED
            tokens[row], targets[row] = seen[0], torch.where(targets[row] == IGNORED, IGNORED, before)
        weights = torch.where(both_ways, 1 / self.mask_share, 1.0)
        return {**batch, "tokens": tokens, "targets": targets, "both_ways": both_ways, "weights": weights}

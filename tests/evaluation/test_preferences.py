"""Preference accuracy: counts the pairs whose better answer is likelier."""

from __future__ import annotations

import polars as pl
import torch

from pipeline.evaluation.measures.preferences import preference_accuracy

CPU = torch.device("cpu")


def pairs(*answers: tuple[str, str]) -> pl.DataFrame:
    ask = [{"role": "user", "content": "q"}]
    return pl.DataFrame([{"prompt": ask, "chosen": a, "rejected": b} for a, b in answers])


class Likes:
    """A network for which the byte `letter` is likely and all others alike."""

    def __init__(self, letter: str):
        self.config = type("Config", (), {"context": 64, "vocab_size": 262})
        self.bias = torch.zeros(262)
        self.bias[ord(letter) + 6] = 5.0

    def eval(self):
        return self

    def hidden(self, tokens):
        return torch.zeros(*tokens.shape, 1)

    def logits(self, hidden):
        return self.bias.expand(*hidden.shape[:-1], 262)


def test_the_likelier_answer_is_preferred(tokenizer):
    found = preference_accuracy(Likes("a"), tokenizer, pairs(("aaa", "bbb"), ("bbb", "aaa"), ("aab", "abb")), 512, CPU)
    assert found == {"pairs": 3, "cut": 0, "left_out": 0, "whole": 0.6667, "mean": 0.6667}


def test_length_counts_for_the_whole_answer_and_not_for_the_mean(tokenizer):
    found = preference_accuracy(Likes("a"), tokenizer, pairs(("aaaaaaaaaaaaaaaaaaaaaaaab", "b")), 512, CPU)
    assert found["whole"] == 0 and found["mean"] == 1


def test_pairs_that_do_not_fit_are_cut_as_in_training_and_not_dropped(tokenizer):
    found = preference_accuracy(Likes("a"), tokenizer, pairs(("a" * 90, "b" * 90), ("aa", "bb"), ("z", "z ")), 512, CPU)
    assert found == {"pairs": 2, "cut": 1, "left_out": 1, "whole": 1.0, "mean": 1.0}
    alike = pairs(("a" * 90 + "b", "a" * 90 + "c"))  # the same as far as the context reaches
    assert preference_accuracy(Likes("a"), tokenizer, alike, 512, CPU) == {"pairs": 0, "cut": 1, "left_out": 1}

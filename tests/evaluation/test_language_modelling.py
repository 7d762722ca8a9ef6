"""Likelihoods are right to the digit, whatever the batch, and each token is scored once."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import torch

from pipeline.evaluation.measures.language_modelling import sample_documents, score_documents, summarise
from pipeline.evaluation.scoring import nll_of_rows

CPU = torch.device("cpu")


def rows(*lengths: int) -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [generator.integers(6, 262, n) for n in lengths]


def test_nll_is_that_of_the_network(network):
    [row] = rows(20)
    ids = torch.from_numpy(row)[None]
    with torch.inference_mode():
        wanted = -torch.log_softmax(network(ids[:, :-1]).double(), -1).gather(-1, ids[:, 1:, None])[0, :, 0]
    [found] = nll_of_rows(network, [row], [1], 4096, CPU)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)
    [last] = nll_of_rows(network, [row], [15], 4096, CPU)
    np.testing.assert_allclose(last, wanted.numpy()[14:], atol=1e-5)


def test_the_batch_does_not_matter_and_order_is_kept(network):
    many = rows(3, 60, 17, 2, 33, 60, 5)
    first = [1, 1, 4, 1, 30, 59, 2]
    one = nll_of_rows(network, many, first, 1, CPU)  # each row alone
    all_together = nll_of_rows(network, many, first, 10_000, CPU)
    assert [len(x) for x in one] == [len(r) - f for r, f in zip(many, first)]
    for alone, together in zip(one, all_together):
        np.testing.assert_allclose(alone, together, atol=1e-4)


def documents(*lengths: int, source: str = "s", size: int = 1) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "doc_id": [f"{i:032x}" for i in range(len(lengths))],
            "source": [source] * len(lengths),
            "lang": ["en"] * len(lengths),
            "tokens": [row.tolist() for row in rows(*lengths)],
            "bytes": [n * size for n in lengths],
        },
        schema_overrides={"tokens": pl.List(pl.UInt16)},
    )


class Uniform:
    """Every token as likely as any other."""

    def __init__(self, context: int, vocabulary: int):
        self.config = type("Config", (), {"context": context, "vocab_size": vocabulary})

    def eval(self):
        return self

    def hidden(self, tokens):
        return torch.zeros(*tokens.shape, 1)

    def logits(self, hidden):
        return torch.zeros(*hidden.shape[:-1], self.config.vocab_size)


def test_a_uniform_guess_has_the_vocabulary_as_perplexity():
    scored = score_documents(Uniform(16, 262), documents(1, 16, 17, 100, size=3), 3, 64, CPU)
    found = summarise(scored)
    assert found["tokens"] == 134 and found["bytes"] == 402  # each token once, in pieces or not
    assert found["perplexity"] == pytest.approx(262, rel=1e-6)
    assert found["bits_per_byte"] == pytest.approx(math.log2(262) / 3, abs=1e-5)
    assert found["bytes_per_token"] == 3


def test_a_document_longer_than_the_context_is_scored_in_pieces(network, make_network):
    short = make_network(context=16)
    short.load_state_dict(network.state_dict())
    long = documents(40)
    whole = score_documents(network, long, 3, 4096, CPU)["nll"][0]
    pieces = score_documents(short, long, 3, 4096, CPU)["nll"][0]
    assert whole != pytest.approx(pieces, rel=1e-6)  # less context, another figure
    ids = np.concatenate([[3], long["tokens"][0].to_numpy()]).astype(np.int64)
    parts = [ids[0:16], ids[15:31], ids[30:41]]
    assert pieces == pytest.approx(sum(x.sum() for x in nll_of_rows(short, parts, [1, 1, 1], 64, CPU)), rel=1e-5)


def test_figures_by_source_add_up(network):
    both = pl.concat([documents(10, 20), documents(30, source="t").with_columns(lang=pl.lit(None, dtype=pl.String))])
    scored = score_documents(network, both, 3, 512, CPU)
    found = summarise(scored, "source")
    assert list(found) == ["s", "t"] and sum(of["tokens"] for of in found.values()) == summarise(scored)["tokens"] == 60
    assert set(summarise(scored, "lang")) == {"en", "?"}


def test_a_source_cannot_crowd_out_another():
    table = pl.concat([documents(*[10] * 50), documents(10, 10, source="small")])
    chosen = sample_documents(table, 200)
    kept = dict(chosen.group_by("source").agg(pl.col("tokens").list.len().sum()).iter_rows())
    assert kept == {"s": 100, "small": 20}
    assert chosen.equals(sample_documents(table.sample(fraction=1, shuffle=True, seed=1), 200))
    assert sample_documents(documents(5000), 100).height == 1  # at least one a source
    assert sample_documents(documents(), 100).height == 0

"""When a passage was learned: the steps that the feed names are those whose batches hold its tokens."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.training.data.feed import FeedSettings
from pipeline.training.data.origins import FIRST, OriginFeed, starts
from pipeline.training.data.whereabouts import TracedFeed
from tests.training.test_feed import LEFT_OUT, shards_of

STEPS, SEQUENCES, CONTEXT = 60, 4, 32


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    rng = np.random.default_rng(1)
    documents = {
        "a-0": [("ko", int(n)) for n in rng.integers(1, 90, 60)] + [("en", int(n)) for n in rng.integers(1, 40, 20)],
        "a-8": [("ko", int(n)) for n in rng.integers(1, 90, 30)],
        "b-0": [("en", int(n)) for n in [*rng.integers(1, 60, 30), 700, 3, 0]],
    }
    return shards_of(tmp_path_factory.mktemp("whereabouts"), documents, LEFT_OUT)


def documents_of(shards):
    """(fragment, row, tokens, origin of the first token) of every document of the training split."""
    import polars as pl

    for fragment, origin in starts(shards).items():
        table = pl.read_parquet(shards.table(fragment), columns=["split", "length"])
        for row, (split, length) in enumerate(table.iter_rows()):
            if split == "train":
                yield fragment, row, length, origin
                origin += length + 1


@pytest.mark.parametrize("packing", ["cut", "best_fit"])
@pytest.mark.parametrize(
    "more", [{}, {"source_weights": {"b": 5.0}, "curriculum": [{"step": 20, "source_weights": {}}]}]
)
def test_the_steps_of_a_passage_are_those_whose_batches_hold_its_tokens(shards, packing, more):
    settings = FeedSettings(packing=packing, window_tokens=700, **more)
    given = (settings, 5, CONTEXT, SEQUENCES)
    origins, traced = OriginFeed(shards, *given), TracedFeed(shards, *given)
    batches = [np.unique(origins.batch(step).tokens) - FIRST for step in range(STEPS)]
    rng = np.random.default_rng(3)
    seen = 0
    for fragment, row, length, origin in documents_of(shards):
        if not length:
            assert traced.steps_with(fragment, row, 0, 0, STEPS) == []
            continue
        first = int(rng.integers(0, length))
        end = int(rng.integers(first, length)) + 1
        tokens = np.arange(origin + first, origin + end)
        expected = [step for step, batch in enumerate(batches) if np.isin(tokens, batch).any()]
        assert traced.steps_with(fragment, row, first, end, STEPS) == expected, (fragment, row)
        assert traced.steps_with(fragment, row, first, end, 7) == [step for step in expected if step < 7]
        seen += len(expected) > 1
    assert seen > 20, "hardly a document was learned in two steps: the test would say nothing of passes"


def test_what_is_excluded_from_training_was_learned_in_no_step(shards):
    traced = TracedFeed(shards, FeedSettings(window_tokens=700), 5, CONTEXT, SEQUENCES)
    import polars as pl

    excluded = [(fragment, row) for fragment, rows in LEFT_OUT.items() for row in rows]
    held = pl.read_parquet(shards.table("a-0"), columns=["split"])["split"].to_list().index("validation")
    for fragment, row in [*excluded, ("a-0", held)]:
        assert traced.steps_with(fragment, row, 0, 1, STEPS) == []


@pytest.mark.parametrize("packing", ["cut", "best_fit"])
def test_the_passes_of_one_document_are_those_counted_for_all(shards, packing):
    import polars as pl

    traced = TracedFeed(shards, FeedSettings(packing=packing, window_tokens=700), 5, CONTEXT, SEQUENCES)
    places = [
        (doc_id, fragment, row)
        for fragment in shards.fragments
        for row, doc_id in enumerate(pl.read_parquet(shards.table(fragment), columns=["doc_id"])["doc_id"])
    ]
    counts = set()
    for before in (0, 1, 9, STEPS):
        frames = [frame.select("doc_id", "passes") for frame in traced.documents_before(before)]
        expected = dict(pl.concat(frames).iter_rows()) if frames else {}
        for doc_id, fragment, row in places:  # those for validation and those left out among them: 0
            assert traced.passes_of(fragment, row, before) == expected.get(doc_id, 0), (fragment, row, before)
        counts |= set(expected.values())
    assert len(counts) > 1, "all documents were seen equally often: the test would say nothing"

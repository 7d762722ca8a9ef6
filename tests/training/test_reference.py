"""What the reference model gives the pairs: computed once, for the pairs of the run, and kept in the artifact."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from model import export
from pipeline.store.draft import Draft
from pipeline.tokens.tokenizer import load
from pipeline.training.data.pairs import encode_pairs
from pipeline.training.distributed import Ranks
from pipeline.training.model_artifact import TrainingProcess
from pipeline.training.objectives import preference, reference
from pipeline.training.objectives.reference import Reference
from pipeline.training.stopping import Stopped
from pipeline.training.training_settings import PreferenceSettings
from tests.making import context

SETTINGS = PreferenceSettings(epochs=2, batch_pairs=8, learning_rate=1e-3)
ANSWERS = ["a long answer, longer than the others " * 2, "short", "neither long nor short, so to say", "x", "good day"]


@pytest.fixture
def pairs(tokenizer):
    rows = [{"prompt": [{"role": "user", "content": "hi"}], "chosen": answer, "rejected": "bad"} for answer in ANSWERS]
    return encode_pairs(pl.DataFrame(rows), load(tokenizer.local_directory()), 64)


@pytest.fixture
def scored(base):
    """A function that makes a `Reference`, and the sizes of the batches that it scored."""
    sizes = []
    score = preference.scorer(export.load(base.local_directory()), "fp32", "cpu", SETTINGS)

    def counted(batch):
        sizes.append(len(batch["tokens"]) // 2)
        return score(batch)

    return lambda tokens=256: Reference(counted, tokens, {"base": base.digest}), sizes


ALONE = Ranks()


def process(store, tmp_path, ranks=ALONE, **changes):
    return TrainingProcess(context(store, **changes), Draft(tmp_path / "draft", list, print), ranks, "cpu")


def filled(pairs, made, where, numbers=None):
    found = replace(pairs, reference=np.full_like(pairs.reference, np.nan))
    made.fill(where, "train", found, np.arange(len(pairs.pairs)) if numbers is None else np.array(numbers))
    return found.reference


def test_the_start_is_measured_whatever_is_computed_together(store, tmp_path, pairs, scored):
    make, sizes = scored
    together = filled(pairs, make(), process(store, tmp_path / "a"))
    assert sizes == [3, 2]  # three in two rows of 32 each; with a fourth, they would be of 64
    alone = filled(pairs, make(1), process(store, tmp_path / "b"))
    assert sizes[2:] == [1] * 5
    assert together == pytest.approx(alone, rel=1e-5)
    assert len({round(float(chosen), 3) for chosen, _ in together}) == 5


def test_pairs_that_are_not_used_are_not_computed(store, tmp_path, pairs, scored):
    make, sizes = scored
    found = filled(pairs, make(), process(store, tmp_path), [3, 1])
    assert sum(sizes) == 2 and np.isfinite(found[[1, 3]]).all() and np.isnan(found[[0, 2, 4]]).all()


def test_a_killed_run_goes_on_where_it_was(store, tmp_path, pairs, scored, monkeypatch):
    monkeypatch.setattr(reference, "PART", 2)
    make, sizes = scored
    calls = iter([False, False, True])  # stopped before the third batch
    with pytest.raises(Stopped, match="the same command starts it again"):
        filled(pairs, make(1), process(store, tmp_path, should_stop=lambda: next(calls)))
    assert sizes == [1, 1]
    again = filled(pairs, make(1), process(store, tmp_path))
    assert sizes == [1] * 5  # the first part came from its file
    assert np.array_equal(filled(pairs, make(1), process(store, tmp_path)), again) and sizes == [1] * 5
    other = replace(make(1), made_of={"base": "another"})
    filled(pairs, other, process(store, tmp_path))
    assert sizes == [1] * 10


class Half(Ranks):
    """One of two ranks, whose parts the test adds up itself."""

    def total(self, *values):
        return list(values)

    def total_of(self, array):
        return array

    def broadcast(self, value):
        return False


def test_ranks_share_the_work_and_find_the_same(store, tmp_path, pairs, scored):
    make, sizes = scored
    whole = filled(pairs, make(1), process(store, tmp_path / "whole"))
    del sizes[:]
    halves = [filled(pairs, make(1), process(store, tmp_path / str(rank), Half(rank, 2))) for rank in (0, 1)]
    assert sizes == [1] * 5
    assert np.array_equal(halves[0] + halves[1], whole)
    assert all((half == 0).any() for half in halves)


def test_lines_tell_how_far_it_is(store, tmp_path, pairs, scored, monkeypatch):
    monkeypatch.setattr(reference, "SECONDS_BETWEEN_LINES", 0.0)
    lines = []
    filled(pairs, scored[0](1), process(store, tmp_path, log=lines.append))
    assert "reference log-probabilities: 2 of 5 pairs" in lines


def test_another_beta_reads_the_reference_of_the_run_before(store, base, preferences, monkeypatch):
    def make(settings):
        return preference.make(context(store), {"base": base, "preference_data": preferences}, settings)

    first = make(SETTINGS)
    monkeypatch.setattr(Reference, "_computed", None)
    second = make(SETTINGS.model_copy(update={"beta": 0.3}))
    names = [name for name in second.manifest["files"] if name.startswith("reference/")]
    assert names == ["reference/held_back-0.parquet", "reference/train-0.parquet"]
    assert all(first.file(name).samefile(second.file(name)) for name in names)

"""Forgetting exactly: a training that leaves slots empty, begun midway, ends with the bytes of one from nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from model.config import IGNORED
from pipeline.errors import UserError
from pipeline.exact_forgetting import refuse_other_files
from pipeline.ingest import forgetting
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from pipeline.training import checkpoint, ladder, model_artifact, slots
from pipeline.training.data.feed import Feed, FeedSettings
from pipeline.training.data.origins import FIRST, OriginFeed, OriginReader
from pipeline.training.distributed import Ranks
from pipeline.training.objectives import distillation, masking, pretraining
from pipeline.training.planning import plan
from pipeline.training.pretraining_settings import PretrainingSettings
from tests.making import context
from tests.training.changed_text import with_other_tokens
from tests.training.conftest import SHAPE

SETTINGS = PretrainingSettings(
    tokens=12_000, batch_tokens=512, sequences=4, learning_rate=5e-3, precision="fp32", sample_tokens=4,
    validation_tokens=600, ladder=0.1,
)  # fmt: skip
STEPS = 24
ROOT = Path(__file__).parents[2]
CONTEXT = SHAPE.context


def forget(store: Store, *ids: str) -> None:
    forgetting.forget(store, list(ids), "asked for", forgetting.EXACT)


def made(store: Store, shards: Artifact, tokenizer: Artifact, settings=SETTINGS, lines=None, **given) -> Artifact:
    inputs = {"token_shards": shards, "tokenizer": tokenizer}
    log = (lambda line: None) if lines is None else lines.append
    return pretraining.make(context(store, log=log, **given), inputs, plan.Pretraining(SHAPE, settings))


def from_nothing(place, store: Store, shards: Artifact, tokenizer: Artifact, settings=SETTINGS) -> Artifact:
    """The same training in an empty store, in which the same is forgotten."""
    empty = Store(place, "test")
    forget(empty, *forgetting.forgotten_exactly(store))
    return made(empty, shards, tokenizer, settings, replays=False)


def first_steps(shards: Artifact, settings=SETTINGS, steps=STEPS) -> dict[str, int]:
    """The first step (from 0) with a token of each document that is trained on."""
    feed = Feed(shards, settings.feed, 1, CONTEXT, settings.batch_tokens // CONTEXT)
    found: dict[str, int] = {}
    for step in range(steps):
        for doc_id in feed.documents(step):
            found.setdefault(doc_id, step)
    return found


def slots_of(shards: Artifact, *ids: str) -> slots.Slots:
    return slots.Slots(slots.places_of(shards, frozenset(ids)))


@pytest.mark.parametrize("packing", ["cut", "best_fit"])
@pytest.mark.parametrize("masked", [False, True])
def test_a_slot_that_is_left_empty_shows_nothing_and_shifts_nothing(shards, packing, masked):
    settings = FeedSettings(packing=packing, mask_documents=masked, window_tokens=3000)
    given = (shards, settings, 1, CONTEXT, 8)
    full, feed = Feed(*given), Feed(*given)
    gone = list(first_steps(shards))[5:12]
    feed.leave_empty(slots_of(shards, *gone))
    end, origins, rows = shards.facts["tokenizer"]["document_start"], OriginFeed(*given), origins_of(shards, gone)
    seen = 0
    for number in range(12):
        before, after, origin = full.batch(number), feed.batch(number), origins.batch(number)
        assert after.empty is not None
        seen += int(after.empty.sum())
        # What begins a document predicts its first token, so it is a part of its slot.
        assert np.array_equal(after.empty, np.isin(origin.tokens, rows) | np.isin(origin.targets, rows))
        assert (after.tokens[after.empty] == end).all() and (after.targets[after.empty] == IGNORED).all()
        assert np.array_equal(after.tokens[~after.empty], before.tokens[~after.empty])
        assert np.array_equal(after.targets[~after.empty], before.targets[~after.empty])
        if masked:
            assert np.array_equal(after.documents, before.documents)
            assert np.array_equal(after.positions, before.positions)
        assert not set(gone) & set(feed.documents(number))
    assert seen > 100 and any(set(gone) & set(full.documents(number)) for number in range(12))
    assert not set(gone) & {name for frame in feed.documents_before(12) for name in frame["doc_id"]}


def origins_of(shards: Artifact, doc_ids: list[str]) -> np.ndarray:
    """What `OriginFeed` deals out in place of the tokens of these documents."""
    found, reader = [], OriginReader(shards)
    for fragment in shards.fragments:
        table = pl.read_parquet(shards.table(fragment), columns=["doc_id", "length"])
        at = 0
        for number, (split, _, rows, _, _) in enumerate(shards.entry(fragment)["facts"]["groups"]):
            first = FIRST + reader._first.get((fragment, number), 0)
            for doc_id, length in table[at : at + rows].iter_rows():
                if split == "train" and doc_id in doc_ids:
                    found.append(np.arange(first, first + length))
                first += length + 1
            at += rows
    return np.concatenate(found)


def test_the_bytes_of_a_document_change_no_batch_once_its_slot_is_empty(tmp_path, shards):
    gone = next(iter(first_steps(shards)))
    other = with_other_tokens(Store(tmp_path / "other", "test"), shards, gone)
    for packing in ("cut", "best_fit"):
        settings = FeedSettings(packing=packing)
        feeds = [Feed(of, settings, 1, CONTEXT, 8) for of in (shards, other)]
        assert any(not np.array_equal(*(feed.batch(n).tokens for feed in feeds)) for n in range(24))
        for feed, of in zip(feeds, (shards, other), strict=True):
            feed.leave_empty(slots_of(of, gone))
        for number in range(24):
            one, two = (feed.batch(number) for feed in feeds)
            assert np.array_equal(one.tokens, two.tokens) and np.array_equal(one.targets, two.targets)


@pytest.mark.parametrize("steps", [1, 2, 11, 24, 300, 1000])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_a_ladder_costs_at_most_its_share_more_than_the_steps_that_differ(steps, share):
    rungs = [0, *ladder.steps_of(steps, share)]
    assert rungs == sorted(set(rungs)) and rungs[-1] < max(steps, 1)
    for first in range(steps):
        begun = max(rung for rung in rungs if rung <= first)
        assert steps - begun <= (1 + share) * (steps - first) + 1e-9
    if steps == 1000 and share == 0.1:
        assert len(rungs) < 60  # about log(T) / log(1.1), not T
    assert ladder.steps_of(steps, 0.0) == []


@pytest.mark.parametrize("packing", ["cut", "best_fit"])
def test_the_first_difference_is_the_first_batch_that_differs(shards, packing):
    settings = SETTINGS.model_copy(update={"feed": FeedSettings(packing=packing, window_tokens=3000)})
    run = pretraining.budgets.Budget(0, STEPS, 512, 4, 2, 1e-3, 1.0)
    given = (shards, settings.feed, 1, CONTEXT, 8)
    full = Feed(*given)
    batches = [full.batch(step) for step in range(STEPS)]
    for name in list(first_steps(shards, settings))[::9]:
        gone = slots_of(shards, name)
        feed = Feed(*given)
        feed.leave_empty(gone)
        differing = [
            step for step in range(STEPS) if not np.array_equal(feed.batch(step).targets, batches[step].targets)
        ]
        found = pretraining.first_difference(shards, gone.places, settings, 1, run, CONTEXT)
        assert found == differing[0]
    assert pretraining.first_difference(shards, frozenset(), settings, 1, run, CONTEXT) == STEPS


def by_first_step(shards: Artifact) -> list[tuple[str, int]]:
    return sorted(first_steps(shards).items(), key=lambda pair: pair[1])


def begun_at(lines: list[str]) -> int:
    """The step that a training began at, by its log."""
    told = [line.split("the first ")[1].split(" of ")[0] for line in lines if "are as they were" in line]
    return int(told[0]) if told else 0


def test_begun_on_a_ladder_a_model_has_the_bytes_of_one_from_nothing(tmp_path, store, shards, tokenizer):
    before = made(store, shards, tokenizer)
    by_step = by_first_step(shards)
    last, first = by_step[-1], by_step[0]
    middle = next(pair for pair in by_step if pair[1] >= 4)
    assert first[1] == 0 and 4 <= middle[1] < last[1]
    for number, (name, step) in enumerate((last, middle, first)):  # in the end, all three at once
        forget(store, name)
        lines: list[str] = []
        after = made(store, shards, tokenizer, lines=lines)
        again = from_nothing(tmp_path / str(number), store, shards, tokenizer)
        assert after.digest == again.digest != before.digest
        assert after.manifest["fingerprint"] == again.manifest["fingerprint"]
        assert begun_at(lines) == max([0, *(rung for rung in ladder.steps_of(STEPS, 0.1) if rung <= step)])
        assert not (tmp_path / str(number) / "test" / "pretrained_model" / ".ladders").exists()
    forgetting.take_off(store, None)
    assert made(store, shards, tokenizer).digest == before.digest


def test_one_token_that_was_not_masked_is_found(tmp_path, store, shards, tokenizer, monkeypatch):
    before = made(store, shards, tokenizer)
    name, _ = by_first_step(shards)[-1]
    forget(store, name)
    right = from_nothing(tmp_path / "right", store, shards, tokenizer)

    def careless(self: Feed, number: int):
        found = batch(self, number)
        if found.empty is not None and found.empty.any():
            row, column = np.argwhere(found.empty)[0]
            found.targets[row, column] = self._full.batch(number).targets[row, column]
        return found

    def keeping(self: Feed, gone: slots.Slots) -> None:
        self._full = Feed(shards, self._settings, 1, CONTEXT, self._batch, accumulation=2)
        leave_empty(self, gone)

    batch, leave_empty = Feed.batch, Feed.leave_empty
    monkeypatch.setattr(Feed, "batch", careless)
    monkeypatch.setattr(Feed, "leave_empty", keeping)
    wrong = made(store, shards, tokenizer)
    assert wrong.manifest["fingerprint"] == right.manifest["fingerprint"] and wrong.digest != right.digest
    with pytest.raises(UserError, match=r"does not have the bytes of a training from nothing: .*model\.safetensors"):
        files = [{name: of["sha256"] for name, of in made.manifest["files"].items()} for made in (right, wrong)]
        refuse_other_files(f"pretrained_model/{wrong.version}", *files, "a training from nothing")
    assert before.digest not in (wrong.digest, right.digest)


def test_what_a_ladder_holds_is_used_only_where_it_is_the_state_that_would_come(
    tmp_path, store, shards, tokenizer, monkeypatch
):
    made(store, shards, tokenizer)
    ladders = store.root / "test" / "pretrained_model" / ".ladders"
    (own,) = ladders.iterdir()
    rungs = ladder.steps_of(STEPS, 0.1)
    assert [checkpoint.step_of(place) for place in checkpoint.all_in(own)] == rungs
    late = by_first_step(shards)[-1]
    forget(store, late[0])
    lines: list[str] = []
    elsewhere = {"cpu": "another processor"}
    with monkeypatch.context() as patch:
        patch.setattr(
            model_artifact, "made_on", lambda options, found=model_artifact.made_on: found(options) | elsewhere
        )
        made(Store(store.root, "test"), shards, tokenizer, lines=lines)
    assert any("made elsewhere (cpu differ" in line for line in lines) and not begun_at(lines)
    # A rung that is damaged gives way to the one before; a run that has no ladder keeps none, and begins on one.
    for other in ladders.iterdir():
        if other != own:
            shutil.rmtree(other)
    shutil.rmtree(store.root / "test" / "pretrained_model" / store.require("pretrained_model").version)
    usable = [rung for rung in rungs if rung <= late[1]]
    weights = own / f"step-{usable[-1]:08d}" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    lines.clear()
    without = SETTINGS.model_copy(update={"ladder": 0.0})
    after = made(store, shards, tokenizer, without, lines)
    assert begun_at(lines) == usable[-2] and list(ladders.iterdir()) == [own]
    assert after.digest == from_nothing(tmp_path / "nothing", store, shards, tokenizer).digest
    # A ladder goes with its version.
    store.prune("pretrained_model", 0)
    assert not list(ladders.iterdir())


def test_weights_that_are_kept_and_the_best_ones_are_those_of_a_training_from_nothing(
    tmp_path, store, shards, tokenizer
):
    settings = SETTINGS.model_copy(
        update={
            "kept_weights": 3,
            "select": "best",
            "learning_rate": 1.0,
            "warmup": 0.5,
            "evaluate_every": 2,
        }
    )
    before = made(store, shards, tokenizer, settings)
    name, step = by_first_step(shards)[-1]
    forget(store, name)
    lines: list[str] = []
    after = made(store, shards, tokenizer, settings, lines)
    assert begun_at(lines) > 6 and step > 6
    (best,) = [
        int(line.split("using the weights of step ")[1].split(",")[0]) for line in lines if "using the w" in line
    ]
    assert best < begun_at(lines)  # a rate so high that it only gets worse
    again = from_nothing(tmp_path / "nothing", store, shards, tokenizer, settings)
    assert after.digest == again.digest
    assert {name for name in after.manifest["files"] if name.startswith("kept/")} == {
        f"kept/step-{at:08d}.safetensors" for at in (6, 12, 18)
    }
    assert (
        before.file("kept/step-00000006.safetensors").read_bytes()
        == after.file("kept/step-00000006.safetensors").read_bytes()
    )


def test_a_document_that_is_held_back_is_not_measured_and_masked_networks_learn_nothing_in_its_place(
    tmp_path, store, shards, tokenizer
):
    held = pl.concat([pl.read_parquet(shards.table(name)) for name in shards.fragments]).filter(split="validation")
    settings = SETTINGS.model_copy(update={"evaluate_every": 7})
    made(store, shards, tokenizer, settings)
    forget(store, held["doc_id"][0])
    lines: list[str] = []
    after = made(store, shards, tokenizer, settings, lines)
    assert begun_at(lines) == max(rung for rung in ladder.steps_of(STEPS, 0.1) if rung < 7)
    assert after.digest == from_nothing(tmp_path / "held", store, shards, tokenizer, settings).digest
    forget(store, by_first_step(shards)[0][0])
    both_ways = SHAPE.model_copy(update={"causal": False})
    feed = Feed(shards, SETTINGS.feed, 1, CONTEXT, 8)
    feed.leave_empty(slots_of(shards, by_first_step(shards)[0][0]))
    mask = masking.masker(both_ways.model_copy(update={"vocab_size": 262}), SETTINGS, 1, mask_id=1)
    batch = pretraining.batches(feed, mask, Ranks(), 1)(0, 0)
    empty = torch.as_tensor(feed.batch(0).empty)
    assert empty.any() and (batch["targets"][empty] == IGNORED).all() and (batch["targets"] != IGNORED).any()


def test_a_recipe_with_teachers_says_that_it_cannot_forget_exactly(store, shards, tokenizer):
    forget(store, next(iter(first_steps(shards))))
    teacher = distillation.Teacher(1, plan.Pretraining(SHAPE, SETTINGS))
    with pytest.raises(UserError, match="teacher_model_1 cannot leave slots of token_shards empty"):
        distillation.make_teacher(context(store), {"token_shards": shards, "tokenizer": tokenizer}, teacher)


@pytest.mark.timeout(300)
def test_on_two_ranks_it_is_the_same(tmp_path, store, shards, tokenizer):
    name, step = by_first_step(shards)[-1]
    assert store.root == tmp_path / "store"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SLM_TRACKING": "off"}
    program = [*command, "tests.training.forgetting_program", str(tmp_path), name]
    subprocess.run(program, cwd=ROOT, env=environment, check=True, timeout=280)
    first, second = (json.loads((tmp_path / f"found-{rank}.json").read_text()) for rank in range(2))
    assert first["after"] == first["nothing"] != first["before"]
    assert {key: first[key] for key in ("before", "after", "nothing")} == {
        key: second[key] for key in ("before", "after", "nothing")
    }
    assert begun_at([first["begun"]]) == max(rung for rung in ladder.steps_of(STEPS, 0.1) if rung <= step)

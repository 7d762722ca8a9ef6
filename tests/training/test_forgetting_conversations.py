"""Conversations and pairs that are forgotten exactly: their slots stay empty, and nothing else moves."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from model.config import IGNORED
from pipeline.errors import UserError
from pipeline.ingest import forgetting
from pipeline.store.store import Store
from pipeline.tokens.tokenizer import load
from pipeline.training import slots
from pipeline.training.data.pairs import KEPT, batch_of, encode_pairs
from pipeline.training.objectives import fine_tuning, preference, reward_model
from pipeline.training.objectives.preference_losses import loss_of
from pipeline.training.reinforcement_settings import RewardModelSettings
from pipeline.training.training_settings import PreferenceSettings, SftSettings
from tests.making import context

SFT = SftSettings(epochs=6, batch_tokens=128, precision="fp32", learning_rate=1e-3, sample_tokens=4, ladder=0.1)
DPO = PreferenceSettings(epochs=3, batch_pairs=4, precision="fp32", learning_rate=1e-3, sample_tokens=4, ladder=0.1)


def forget(store: Store, *ids: str) -> None:
    forgetting.forget(store, list(ids), "asked for", forgetting.EXACT)


def both(tmp_path, store, maker, inputs, settings, gone):
    """(the model before, the one that began on its ladder, the one from nothing, the log of the second)."""
    lines: list[str] = []
    before = maker(context(store), inputs, settings)
    empty = Store(tmp_path / "nothing", "test")
    for one in (store, empty):
        forget(one, *gone)
    after = maker(context(store, log=lines.append), inputs, settings)
    return before, after, maker(context(empty, replays=False), inputs, settings), lines


def test_a_conversation_is_forgotten_and_the_others_stay_where_they_are(tmp_path, store, base, instructions):
    inputs = {"base": base, "instruction_data": instructions}
    tokenizer = load(base.local_directory())
    row_of, rows = fine_tuning.packed_rows(instructions, tokenizer, 64)
    late = late_row(rows, SFT.batch_tokens // 64)
    gone = [str(number) for number in np.flatnonzero(row_of == late)[:1]]
    table = pl.read_parquet(instructions.table("train"))["id"].to_list()
    before, after, again, lines = both(tmp_path, store, fine_tuning.make, inputs, SFT, [table[int(gone[0])]])
    assert after.digest == again.digest != before.digest
    assert any("are as they were" in line for line in lines)
    full, _ = fine_tuning.usable_rows(instructions, tokenizer, 64)
    empty = slots.Slots(frozenset({("train", int(gone[0]))}))
    packed, _ = fine_tuning.usable_rows(instructions, tokenizer, 64, empty)
    changed = packed.tokens != full.tokens
    assert changed.any() and set(np.flatnonzero(changed.any(1))) == {late}
    assert (packed.tokens[changed] == tokenizer.ids["<pad>"]).all() and (packed.targets[changed] == IGNORED).all()
    assert np.array_equal(packed.documents, full.documents)
    assert np.array_equal(packed.targets[~changed], full.targets[~changed])


def late_row(rows: int, step_rows: int) -> int:
    """The row that is seen last for the first time."""
    from pipeline.training.data.by_length import shuffled_rows

    return int(shuffled_rows(rows, 1, 0)[-1])


@pytest.mark.parametrize("method", ["dpo", "orpo"])
def test_a_pair_is_forgotten_and_the_others_stay_where_they_are(tmp_path, store, base, preferences, method):
    inputs = {"base": base, "preference_data": preferences}
    settings = DPO.model_copy(update={"method": method})
    ids = pl.read_parquet(preferences.table("train"))["id"].to_list()
    gone = ids[5]
    before, after, again, _ = both(tmp_path, store, preference.make, inputs, settings, [gone])
    assert after.digest == again.digest != before.digest
    held = pl.read_parquet(preferences.table("held_back"))["id"].to_list()[0]
    forget(store, held)
    fewer = preference.make(context(store), inputs, settings)
    assert fewer.facts["validation_pairs"] == before.facts["validation_pairs"] - 1


@pytest.mark.parametrize("method", ["dpo", "ipo", "simpo", "orpo"])
def test_an_empty_slot_has_no_gradient_and_no_part_in_any_figure(base, preferences, method):
    from model import export

    tokenizer = load(base.local_directory())
    rows = pl.read_parquet(preferences.table("train")).slice(4, 4)
    pairs = encode_pairs(rows, tokenizer, 64)
    pairs.reference[:] = -3.0
    network = export.load(base.local_directory(), torch.float32)
    loss = loss_of(DPO.model_copy(update={"method": method}))
    found = []
    for numbers, of in ((np.array([0, 1, 3]), pairs), (np.arange(4), pairs.leaving_empty(np.array([2])))):
        network.zero_grad()
        total, figures = loss(network, batch_of(of, numbers))
        total.backward()
        gradients = torch.cat([p.grad.flatten() for p in network.parameters()])
        found.append((total.detach(), gradients, figures))
    torch.testing.assert_close(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1], atol=1e-5, rtol=1e-4)
    for name, value in found[0][2].items():
        torch.testing.assert_close(value, found[1][2][name], msg=name)
    batch = batch_of(pairs.leaving_empty(np.array([2])), np.arange(4))
    assert batch[KEPT].tolist() == [True, True, False, True] and KEPT not in batch_of(pairs, np.arange(4))
    assert not batch["tokens"][[2, 6]].any()


def test_what_cannot_leave_a_pair_out_says_so(store, base, preferences):
    inputs = {"base": base, "preference_data": preferences}
    forget(store, pl.read_parquet(preferences.table("train"))["id"][0])
    with pytest.raises(UserError, match=r"method: kto.*cannot leave slots of preference_data empty"):
        preference.make(context(store), inputs, DPO.model_copy(update={"method": "kto"}))
    with pytest.raises(UserError, match="reward_model cannot leave slots"):
        reward_model.make(context(store), inputs, RewardModelSettings())

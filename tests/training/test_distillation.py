"""Students and teachers: the loss as its formula has it, each token's own row, the same bits after a stop."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from model import export
from model.config import IGNORED, ModelConfig
from model.distillation import Taught, linear_distillation
from pipeline.errors import UserError
from pipeline.graph import nodes_of
from pipeline.recipe import parse
from pipeline.store.store import Store
from pipeline.training import teacher_logits
from pipeline.training.data.feed import Feed, FeedSettings
from pipeline.training.data.origins import NO_ROW, OriginFeed, rows_of
from pipeline.training.distillation_settings import DistillationSettings
from pipeline.training.objectives import distillation
from pipeline.training.planning import plan
from pipeline.training.planning.distillation_plan import planned
from pipeline.training.pretraining_settings import PretrainingSettings
from pipeline.training.stopping import Stopped
from tests.making import context

SHAPE = ModelConfig(layers=1, width=32, heads=4, kv_heads=2, context=64)
RUN = PretrainingSettings(
    tokens=5_120, batch_tokens=512, sequences=4, learning_rate=5e-3, precision="fp32", sample_tokens=4,
    validation_tokens=600,
)  # fmt: skip
BLOCK = DistillationSettings(teachers=2, top_k=16)


def plain(logits, targets, q_ids, log_q, weight, temperature, rest) -> torch.Tensor:
    """The loss of one row at a time, by its formula."""
    total = logits.new_zeros(())
    for row, target, ids, kept in zip(logits, targets, q_ids, log_q):
        if target == IGNORED:
            continue
        hard = -row.log_softmax(-1)[target]
        if ids[0] < 0:
            total = total + hard
            continue
        if rest:
            p, q = row.softmax(-1)[ids], kept.exp()
            soft = -(q * p.log()).sum() - (1 - q.sum()).clamp_min(0) * (1 - p.sum()).log()
        else:
            q = (kept / temperature).softmax(-1)
            soft = -(q * (row / temperature).log_softmax(-1)[ids]).sum() * temperature**2
        total = total + (1 - weight) * hard + weight * soft
    return total


@pytest.mark.parametrize(("rest", "temperature"), [(True, 1.0), (False, 1.0), (False, 2.5)])
@pytest.mark.parametrize("chunk", [0, 3])
def test_the_loss_and_its_gradients_are_those_of_the_formula(rest, temperature, chunk):
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float32)

    hidden, weight = drawn(10, 6).requires_grad_(), drawn(20, 6).requires_grad_()
    targets = torch.randint(20, (10,), generator=generator)
    targets[4] = IGNORED
    log_p, ids = drawn(10, 20).log_softmax(-1).topk(5)
    ids[7] = -1
    taught = Taught(ids, log_p, 0.7, temperature, rest)
    total, hard = linear_distillation(hidden, weight, targets, taught, chunk)
    expected = plain(hidden @ weight.t(), targets, ids, log_p, 0.7, temperature, rest)
    found = torch.autograd.grad(2 * total, [hidden, weight])
    wanted = torch.autograd.grad(2 * expected, [hidden, weight])
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    text = torch.nn.functional.cross_entropy(hidden @ weight.t(), targets, ignore_index=IGNORED, reduction="sum")
    assert hard.item() == pytest.approx(text.item(), rel=1e-5)


def test_a_student_that_says_what_its_teacher_says_has_no_gradient_from_it():
    logits = torch.randn(4, 12, generator=torch.Generator().manual_seed(1))
    hidden, weight = logits.clone().requires_grad_(), torch.eye(12)
    log_p, ids = logits.log_softmax(-1).topk(3)
    total, _ = linear_distillation(
        hidden, weight, torch.zeros(4, dtype=torch.int64), Taught(ids, log_p, 1.0, 1.0, True)
    )
    (gradient,) = torch.autograd.grad(total, [hidden])
    assert gradient.abs().max() < 1e-6


# -- each token has its own row ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", ["cut", "best_fit"])
@pytest.mark.parametrize("masked", [False, True])
def test_the_row_of_a_target_is_where_the_shards_have_it(shards, packing, masked):
    settings = FeedSettings(packing=packing, mask_documents=masked)
    given = (shards, settings, 3, 64, 4, 0, 1, 2)
    feed, origins = Feed(*given), OriginFeed(*given)
    followed = np.concatenate([teacher_logits.stretch_of(shards, fragment)[1:] for fragment in shards.fragments])
    assert len(followed) == sum(rows_of(shards.entry(fragment)) for fragment in shards.fragments)
    told = 0
    for number in range(12):
        targets, rows = feed.batch(number).targets, origins.rows(number)
        known = rows != NO_ROW
        assert (followed[rows[known]] == targets[known]).all()
        assert (targets[~known & (targets != IGNORED)] == shards.facts["tokenizer"]["document_start"]).all()
        told += known.sum() / (targets != IGNORED).sum()
    assert told / 12 > 0.98


# -- teachers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def taught(store, shards, tokenizer) -> dict:
    """Two teachers, and what they say."""
    inputs = {"token_shards": shards, "tokenizer": tokenizer}
    found = {
        one.asset: distillation.make_teacher(context(store), inputs, one)
        for one in distillation.teachers_of(BLOCK, plan.Pretraining(SHAPE, RUN))
    }
    return {"shards": inputs, "teachers": found, "logits": said(store, shards, found)}


def said(store: Store, shards, teachers, block: DistillationSettings = BLOCK):
    return teacher_logits.make(context(store), {"token_shards": shards, **teachers}, (block, False))


def student(store: Store, taught: dict, block: DistillationSettings = BLOCK, **given):
    settings = distillation.Distillation(block, plan.Pretraining(SHAPE, RUN))
    inputs = {**taught["shards"], "teacher_logits": taught["logits"]}
    return distillation.make(context(store, **given), inputs, settings)


def test_teachers_differ_and_their_mean_is_kept(store, taught, tokenizer):
    shards, logits = taught["shards"]["token_shards"], taught["logits"]
    first, second = taught["teachers"].values()
    assert first.digest != second.digest
    networks = [export.load(one.local_directory()).eval() for one in (first, second)]
    fragment = next(f for f in shards.fragments if rows_of(shards.entry(f)) > 200)
    stretch = teacher_logits.stretch_of(shards, fragment)
    ids, log_p = (np.load(logits.file(f"{fragment}.{name}.npy")) for name in teacher_logits.FILES)
    assert ids.shape == log_p.shape == (len(stretch) - 1, 16) and ids.dtype == np.uint16
    for begin in (0, 48, 96):  # windows advance by three quarters of the context
        tokens = torch.from_numpy(stretch[begin : begin + 64])[None]
        with torch.no_grad():
            mean = sum(network(tokens).softmax(-1) for network in networks)[0] / 2
        low = 16 if begin else 0
        for at in (low, 63):
            top = mean[at].topk(16)
            np.testing.assert_allclose(log_p[begin + at].astype(np.float32), top.values.log(), atol=5e-3)
            assert set(ids[begin + at][:8].tolist()) <= set(top.indices.tolist())
    assert 0.1 < logits.facts["kept_probability"] <= 1
    assert {"teacher_model_1", "teacher_model_2", "token_shards"} == logits.manifest["inputs"].keys()


def test_a_student_learns_and_names_its_teachers_and_ends_with_the_same_bits_after_a_stop(store, taught, tmp_path):
    shards, logits = taught["shards"]["token_shards"], taught["logits"]
    assert said(store, shards, taught["teachers"]).version == logits.version
    artifact = student(store, taught)
    log = pl.read_parquet(artifact.file("log.parquet"))
    assert log["text_loss"][-1] < 0.95 * log["text_loss"][0] and artifact.facts["teachers"] == 2
    assert "teacher_logits" in artifact.manifest["inputs"] and artifact.facts["tokens"] == RUN.tokens
    other = Store(tmp_path / "other", "test")
    asked: list[int] = []
    with pytest.raises(Stopped):
        student(other, taught, should_stop=lambda: bool(asked.append(1)) or len(asked) > 12)
    assert student(other, taught).digest == artifact.digest
    assert student(other, taught, BLOCK.model_copy(update={"weight": 0.5})).digest != artifact.digest


# -- the recipe --------------------------------------------------------------------------------------------------------

RECIPE = "name: mine\nsources: [{name: a, kind: files, path: texts}]\n"


def test_a_recipe_with_the_block_has_teachers_what_they_say_and_a_student():
    nodes = nodes_of(parse(RECIPE + "distillation: {teachers: 3}"))
    found = list(nodes)
    teachers = [f"teacher_model_{number}" for number in (1, 2, 3)]
    assert [name for name in found if name.startswith("teacher")] == [*teachers, "teacher_logits"]
    assert set(nodes["teacher_logits"].inputs) == {"token_shards", *teachers}
    assert "teacher_logits" in nodes["distilled_model"].inputs and nodes["distilled_evaluation"].enabled
    assert not [name for name in nodes_of(parse(RECIPE)) if name.startswith(("teacher", "distilled"))]


@pytest.mark.parametrize(
    ("added", "sentence"),
    [
        ("distillation: {temperature: 2}", "needs `rest: renormalise`"),
        ("model: {causal: false}\ndistillation: {}", "predicts the next token"),
        ("pretraining: {z_loss: 0.0001}\ndistillation: {}", "has no z-loss"),
        ("model: {context: 512}\ndistillation: {teacher: {context: 256}}", "give it as many"),
    ],
)
def test_a_distillation_that_cannot_be_is_refused(added, sentence):
    with pytest.raises(UserError, match=sentence):
        parse(RECIPE + added)


def test_teachers_are_planned_with_the_room_of_what_they_say(tmp_path):
    shape = ModelConfig(layers=2, width=64, heads=4, context=128, vocab_size=1000)
    teacher = ModelConfig(layers=4, width=128, heads=4, context=128)
    block = DistillationSettings(teachers=3, teacher=teacher, top_k=16)
    said = list(planned(block, shape, PretrainingSettings(precision="fp32"), 1_000_000, device="cpu"))
    assert "3 teachers of" in said[0] and said[1].startswith("teacher_logits: 61 MiB on disk for 1.0 M tokens")
    assert "a teacher alone:" in said and len(said) > 4
    alone = list(planned(DistillationSettings(), shape, PretrainingSettings(), None, device="cpu"))
    assert len(alone) == 1 and "1 teacher of" in alone[0]

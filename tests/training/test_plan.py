"""The plan: counts that can be checked by hand, memory that follows the switches, and a refusal with numbers."""

import math
from itertools import pairwise

import pytest
import torch

from model.config import ModelConfig
from model.transformer import Transformer
from pipeline.errors import UserError
from pipeline.training import cards, measured, schedule
from pipeline.training.planning import budget, memory, plan, plan_words, step_time, tracing
from pipeline.training.planning.tracing import Step
from pipeline.training.pretraining_settings import PretrainingSettings

SMALL = ModelConfig(layers=2, width=64, heads=4, context=64, vocab_size=512)
HUNDRED = ModelConfig(layers=12, width=768, heads=12, kv_heads=4, context=2048, vocab_size=32000)


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_and_flops_are_those_of_the_network(tied):
    config = SMALL.model_copy(update={"tie_embeddings": tied})
    sized = budget.size(config)
    network = Transformer(config)
    assert sized.parameters == sum(p.numel() for p in network.parameters()) == network.parameters_count()
    block = 4 * 64 * 64 + 3 * 64 * 192  # q, k, v, o and the gated feed-forward network, whose inside is 8/3 x 64 in 64s
    assert sized.multiplied == 2 * block + 512 * 64
    assert sized.embeddings == 512 * 64 * (1 if tied else 2)
    assert sized.flops_per_token == 6 * sized.multiplied + 12 * 2 * 64 * 64 / 2


def test_flops_are_what_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    network = Transformer(SMALL)
    tokens = torch.zeros(2, 64, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        network(tokens, tokens, chunk=0)[0].backward()
    # Torch does not count its fused attention on CPUs, so this is all but attention.
    assert counter.get_total_flops() / tokens.numel() == pytest.approx(6 * budget.size(SMALL).multiplied, rel=0.01)


def test_a_run_is_cut_into_equal_steps():
    sized = budget.size(SMALL)
    run = budget.budget(PretrainingSettings(tokens=100_000, batch_tokens=1024), sized, 64, 10**6, sequences=6)
    assert (run.steps, run.step_tokens, run.sequences, run.accumulation) == (98, 1024, 4, 4)
    assert run.tokens == 98 * 1024 and run.epochs == pytest.approx(0.100352)
    two = budget.budget(PretrainingSettings(tokens=100_000, batch_tokens=1024), sized, 64, 10**6, sequences=6, world=2)
    assert (two.steps, two.step_tokens, two.sequences, two.accumulation) == (98, 1024, 4, 2)
    automatic = budget.budget(PretrainingSettings(), sized, 64, 10**9, sequences=4)
    assert automatic.tokens >= 20 * sized.parameters and automatic.step_tokens == 64 * 2 ** round(
        math.log2(schedule.scaling_law(sized.flops_per_token * 20 * sized.parameters)[1] / 64)
    )
    scarce = budget.budget(PretrainingSettings(), sized, 64, 10_000, sequences=4)
    assert scarce.epochs == pytest.approx(4, rel=0.2)
    with pytest.raises(UserError, match="for 8 processes: make it at least 512"):
        budget.budget(PretrainingSettings(batch_tokens=64), sized, 64, 10**6, sequences=1, world=8)


def test_memory_follows_the_switches():
    def total(**changes):
        return memory.of_step(SMALL, Step(**{"sequences": 32, "chunk": 0, **changes})).tracked

    plain = total()
    assert total(chunk=128) < plain and total(activation_checkpointing=True) < plain
    assert total(sequences=64) > 1.8 * total(sequences=32) - total(sequences=32, chunk=128)
    assert total(average=True) == pytest.approx(plain + 4 * budget.size(SMALL).parameters, rel=0.01)
    assert total(shards=4) < plain
    parts = memory.of_step(SMALL, Step(32, chunk=0))
    assert parts.weights >= 4 * budget.size(SMALL).parameters
    assert parts.optimiser == pytest.approx(8 * budget.size(SMALL).parameters, rel=0.01)
    assert parts.logits == 2 * 4 * 32 * 64 * 512
    wide = SMALL.model_copy(update={"vocab_size": 32_000})
    assert memory.of_step(wide, Step(32)).logits == 4 * 512 * 32_000
    assert memory.of_step(wide, Step(32, gpu=(8, 0))).logits == 2 * 4 * 1048 * 32_000  # more at once, and two of them


@pytest.mark.parametrize("changes", [
    {}, {"activation_checkpointing": True}, {"masked": True, "lora_rank": 4}, {"masked": True, "gpu": (8, 0)},
    {"preference": True}, {"activation_checkpointing": True, "gpu": (7, 5), "masked": True},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("chunk", [0, 128])
def test_all_depths_and_batches_are_as_if_traced_as_they_are(changes, chunk):
    deep = SMALL.model_copy(update={"layers": 5, "width": 128, "vocab_size": 2048})
    for sequences in (2, 40, 200):  # the last is extrapolated where the loss is in chunks
        step = Step(sequences, chunk=chunk, **changes)
        whole = sum(tracing.traced(deep, step).values())
        own_buffer = 4 * min(chunk, sequences * 64) * 2048 if step.gpu else 0
        assert memory.of_step(deep, step).tracked == pytest.approx(whole + own_buffer, rel=0.01)


def test_the_largest_micro_batch_is_the_last_power_of_two_that_fits():
    wide = SMALL.model_copy(update={"context": 1024, "vocab_size": 16_384})
    for least, preference in ((1, False), (2, True)):
        step = Step(least, preference=preference)
        sizes = {n: memory.of_step(wide, Step(n, preference=preference)).total for n in (2, 4, 8)}
        assert memory.largest_micro_batch(wide, step, sizes[4]) == 4
        assert memory.largest_micro_batch(wide, step, sizes[8] - 1) == 4
        assert memory.largest_micro_batch(wide, step, sizes[2] - 1) == (0 if preference else 1)
        assert memory.largest_micro_batch(wide, step, 1e15) == memory.LARGEST_MICRO_BATCH


def test_the_quick_bound_is_a_bound():
    for config in (SMALL, SMALL.model_copy(update={"activation": "gelu", "norm": "layer", "tie_embeddings": False})):
        for step in (Step(4, chunk=0), Step(32, "bf16", optimiser="muon", average=True)):
            assert memory.upper_bound(config, step) > memory.of_step(config, step).total


def test_the_plan_agrees_with_a_real_peak():
    # torch's own profiler sums what its allocator gives and takes; the benchmark looks at real processes.
    from torch.profiler import ProfilerActivity, profile

    config = SMALL.model_copy(update={"width": 128, "context": 128})
    network = Transformer(config)
    optimiser = torch.optim.AdamW(network.parameters(), fused=True)
    tokens = torch.zeros(16, 128, dtype=torch.int64)

    def step():
        network(tokens, tokens, chunk=0)[0].backward()
        optimiser.step()
        optimiser.zero_grad()

    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    live = peak = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    held = 12 * sum(p.numel() for p in network.parameters())
    planned = memory.of_step(config, Step(16, chunk=0, accumulates=False))
    assert planned.tracked == pytest.approx(peak + held, rel=0.1)


def test_a_hundred_million_parameters_train_in_16_gb():
    found = plan.plan(HUNDRED, PretrainingSettings(), 2_000_000_000, card=cards.CARDS["4080"])
    assert 95e6 < found["parameters"] < 105e6
    assert found["memory_mib"]["total"] < 15.2 * 1024 and found["sequences"] == 8 and found["precision"] == "bf16"
    assert found["batch_tokens"] == found["sequences"] * found["accumulation"] * 2048
    assert found["epochs"] == pytest.approx(1.0, abs=0.01) and found["tokens_a_parameter"] == pytest.approx(20, abs=0.1)
    assert 3.0 < found["expected_loss"] < 4.0
    assert 5 < found["hours_here"] < 30
    assert "8 sequences x 16 micro-batches" in "\n".join(plan_words.lines(found))


@pytest.mark.parametrize(("settings", "message"), [
    ({"sequences": 64}, r"15\.2 GiB are free: set sequences: 8 under pretraining, which takes 9\.\d GiB"),
    ({"sequences": 64, "loss_chunk": 0}, r"set sequences: 4 under pretraining"),
])  # fmt: skip
def test_a_misfit_is_refused_with_the_cheapest_remedy(settings, message):
    with pytest.raises(UserError, match=message):
        plan.plan(HUNDRED, PretrainingSettings(**settings), None, card=cards.CARDS["4080"])


def test_where_one_sequence_is_too_much_recomputation_is_the_remedy():
    # In a quarter of what one sequence takes, only the network that recomputes its blocks has room.
    long = SMALL.model_copy(update={"layers": 16, "context": 1024})
    limit = memory.WORK_SPACE + memory.of_step(long, Step(1)).tracked * 0.65
    with pytest.raises(
        UserError, match=r"1 sequences of 1024 tokens .* set activation_checkpointing: true and sequences: 4"
    ):
        plan.fit(long, PretrainingSettings(), "fp32", "cpu", 1, limit)
    with pytest.raises(UserError, match="even one sequence with activation_checkpointing takes"):
        plan.fit(long, PretrainingSettings(), "fp32", "cpu", 1, limit / 100)


def test_out_of_memory_is_answered_with_numbers():
    said = plan.advice(SMALL, PretrainingSettings(), "fp32", "cpu", 8)
    assert said.startswith("a micro-batch of 8 sequences was planned at 32 MiB; set sequences: 4")
    assert "activation_checkpointing: true" in plan.advice(SMALL, PretrainingSettings(), "fp32", "cpu", 1)


def test_on_a_cpu_the_plan_leads_with_this_machine_as_it_was_measured(monkeypatch):
    monkeypatch.setattr(step_time, "measure", lambda *given: {"micro": 2.0, "update": 0.5, "free": 0.9})
    monkeypatch.setattr(measured, "compared", lambda run: {"fp32": 2.1, "bf16": 1.0})
    settings = PretrainingSettings(tokens=4096 * 100, batch_tokens=8192, validation_tokens=4096)
    shape = SMALL.model_copy(update={"width": 256, "vocab_size": 4096})
    found = plan.plan(shape, settings, 10**6)
    assert found["precision"] == "bf16" and found["accumulation"] == 2 and found["steps"] == 50
    # 50 steps of two micro-batches and an update, and ten validations of a micro-batch each, forward only.
    assert found["hours_here"] * 3600 == pytest.approx(50 * 4.5 + 10 * 2.0 / 3, rel=0.01)
    first, second, *_ = plan_words.lines(found)
    assert first.startswith(measured.cpu_model()) and first.endswith("3 min 52 s, measured at 4.5 s a step")
    assert "bf16 are 2.1 times as fast as in fp32 here, measured" in second


def test_a_deep_network_is_timed_by_two_shallow_ones(monkeypatch):
    def timed(config, settings, precision, muon, sequences):
        return step_time.StepTime(sequences * (1.0 + 0.5 * config.layers), 0.1 * config.layers)

    monkeypatch.setattr(step_time, "timed", timed)
    expected = {"micro": pytest.approx(16 * 7.0), "update": pytest.approx(1.2), "free": 1.0}
    given = (HUNDRED, PretrainingSettings(), "fp32", "fp32", 16)
    assert step_time.measure(*given) == expected
    monkeypatch.setattr(step_time, "FLOPS_AT_ONCE", 1e18)
    assert step_time.measure(*given) == expected


def test_a_step_is_timed_with_the_real_network():
    found = step_time.measure(SMALL, PretrainingSettings(), "fp32", "fp32", 4)
    assert found["micro"] > found["update"] > 0 and 0 < found["free"] <= 1


def test_a_step_that_was_timed_on_a_busy_machine_is_told_and_timed_again(monkeypatch, tmp_path):
    free = iter([0.4, 0.9, 0.9])
    monkeypatch.setattr(step_time, "measure", lambda *given: {"micro": 2.0, "update": 0.5, "free": next(free)})
    settings = PretrainingSettings(tokens=4096 * 100)
    lines = [plan_words.lines(plan.plan(SMALL, settings, 10**6, here=measured.Machine(tmp_path)))[0] for _ in range(3)]
    assert lines[0].endswith("while other programs took 60% of the processors: plan again when it is idle")
    assert lines[1] == lines[2] and lines[1].endswith("s a step")
    assert next(free) == 0.9  # the second time was kept


@pytest.mark.parametrize(("name", "card"), [
    ("RTX 3090", "3090"), ("NVIDIA GeForce RTX 3080 Ti", "3080ti"), ("NVIDIA GeForce RTX 3080", "3080"),
    ("NVIDIA L4", "l4"), ("NVIDIA L40", "l40"), ("NVIDIA L40S", "l40s"), ("NVIDIA A10G", "a10g"),
    ("NVIDIA H100 PCIe", "h100-pcie"), ("NVIDIA H100 80GB HBM3", "h100"), ("NVIDIA H200", "h200"),
    ("NVIDIA A100-SXM4-80GB", "a100-80"), ("NVIDIA A100-SXM4-40GB", "a100"), ("A100-80", "a100-80"),
    ("NVIDIA GeForce RTX 4070 Ti SUPER", "4070tisuper"), ("4080super", "4080super"), ("rtx_5090", "5090"),
    ("NVIDIA GeForce RTX 5070 Ti", "5070ti"), ("NVIDIA B200", "b200"), ("Tesla V100-SXM2-16GB", "v100"),
    *((name, name) for name in cards.CARDS),
])  # fmt: skip
def test_a_card_is_known_by_all_words_of_its_name(name, card):
    assert cards.match(name) is cards.CARDS[card]


@pytest.mark.parametrize("name", [
    "NVIDIA GeForce RTX 4090 Laptop GPU", "Tesla V100-SXM2-32GB", "NVIDIA GH200 480GB", "L40G", "H100 NVL",
    "NVIDIA GeForce RTX 3080 12GB", "NVIDIA RTX 4000 Ada Generation", "NVIDIA GeForce RTX 5090 D", "",
])  # fmt: skip
def test_a_card_with_another_word_in_its_name_is_another_card(name):
    assert cards.match(name) is None


def test_an_unknown_card_is_planned_by_its_speed_and_memory():
    with pytest.raises(UserError, match=r"did you mean 3090\?.*--tflops and its memory in GB with --memory"):
        cards.find_card("3099")
    card = cards.find_card("B300", 2500.0, 270.0)
    found = plan.plan(HUNDRED, PretrainingSettings(), 2_000_000_000, card=card)
    known = plan.plan(HUNDRED, PretrainingSettings(), 2_000_000_000, card=cards.CARDS["h100"])
    assert found["device"] == "B300"
    assert found["hours_here"] / known["hours_here"] == pytest.approx(989 / 2500, rel=0.05)


def test_a_card_in_this_machine_that_is_not_known_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA L40G")
    found = plan.on_a_card(None, "cuda", 1e18, "bf16", 1)
    assert "hours_here" not in found
    (line,) = plan_words.lines_of_machine(found)
    assert line.startswith("NVIDIA L40G is not in the table of cards: give --tflops")


def test_schedules():
    def rates(**settings):
        settings = PretrainingSettings(**{"warmup": 0.1, **settings})
        return [schedule.factor(step, 100, settings) for step in range(100)]

    for name in ("linear", "cosine", "wsd"):
        found = rates(schedule=name, final_learning_rate=0.1)
        assert found[0] == pytest.approx(1 / 11) and max(found) == 1.0 and found[10] == 1.0
        assert 0.1 <= found[-1] < 0.15
        assert all(a >= b for a, b in pairwise(found[10:]))
    assert rates(schedule="wsd")[79] == 1.0 and rates(schedule="wsd")[81] < 1.0
    assert rates(schedule="cosine", final_learning_rate=0.0)[55] == pytest.approx(0.5)
    assert rates(schedule="linear")[55] == pytest.approx(0.5)


def test_the_scaling_law_is_the_papers():
    rate, batch = schedule.scaling_law(1e20)  # Bi et al. 2024, figure 3: about 1e-3 and 1 M tokens
    assert rate == pytest.approx(9.9e-4, rel=0.02) and batch == pytest.approx(1.02e6, rel=0.02)
    assert schedule.scaling_law(1e9)[0] == 1e-2

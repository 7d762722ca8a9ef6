"""Planned memory of every kind of training is that of a real step, and follows the attention that a card runs."""

import re
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from torch.nn.attention import SDPBackend, sdpa_kernel

from model import attention, lora
from model.config import ModelConfig
from model.nf4 import QuantisedWeight
from model.transformer import Transformer
from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.training import cards
from pipeline.training.objectives.dpo import dpo
from pipeline.training.planning import memory, plan, tracing
from pipeline.training.planning.tracing import Step
from pipeline.training.pretraining_settings import PretrainingSettings
from pipeline.training.training_settings import PreferenceSettings, SftSettings
from tests import tiny

SMALL = ModelConfig(layers=3, width=128, heads=4, kv_heads=2, context=128, vocab_size=512)
LONG = SMALL.model_copy(update={"context": 512})
CODE_100M = ModelConfig(layers=16, width=640, heads=10, kv_heads=5, context=2048, vocab_size=32000)
AMPERE, TURING, UNKNOWN = (8, 0), (7, 5), (13, 0)  # for the last, torch has no kernel but the plain formula


def held(network, step):
    """Bytes that weights and optimiser take before and after a step."""
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    four_bits = [module for module in network.modules() if isinstance(module, QuantisedWeight)]
    quantised = sum(part.numel() * part.element_size() for module in four_bits for part in module.buffers())
    return 4 * sum(p.numel() for p in network.parameters()) + quantised + 8 * trained


def real(config, step):
    """Peak bytes of a real step of training, by what torch's allocator gave and took."""
    from torch.profiler import ProfilerActivity, profile

    torch.manual_seed(0)
    network = Transformer(config)
    network.gradient_checkpointing = step.activation_checkpointing
    if step.lora_rank:
        lora.add(network, step.lora_rank, 1.0, quantised=step.quantised)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, fused=True)
    tokens = torch.randint(config.vocab_size, (step.sequences, config.context))
    documents = (torch.arange(config.context) // 50).expand_as(tokens) if step.masked else None
    batch = {"tokens": tokens, "targets": tokens, "reference": torch.zeros(step.sequences // 2, 2)}
    # On a CPU, the plain formula is what an unknown card falls back to; else the fused kernel, which keeps no scores.
    plain = step.gpu == UNKNOWN

    def once():
        with attention.pretending(step.gpu), sdpa_kernel(SDPBackend.MATH) if plain else nullcontext():
            if step.preference:
                loss, _ = dpo(network, batch, PreferenceSettings(loss_chunk=step.chunk))
            else:
                loss, _ = network(tokens, tokens, documents=documents, chunk=step.chunk)
            loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    once()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        once()
    live = peak = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak + held(network, step)


@pytest.mark.parametrize("step", [
    Step(8, chunk=0), Step(8, chunk=0, masked=True), Step(8, chunk=0, gpu=AMPERE), Step(8, chunk=0, gpu=UNKNOWN),
    Step(8, chunk=0, gpu=AMPERE, masked=True), Step(8, chunk=0, gpu=UNKNOWN, masked=True),
    Step(8, chunk=0, masked=True, activation_checkpointing=True),
    Step(8, chunk=0, masked=True, activation_checkpointing=True, gpu=UNKNOWN),
    Step(8, chunk=0, masked=True, lora_rank=4), Step(8, chunk=0, masked=True, lora_rank=4, quantised=True),
    Step(8, chunk=0, preference=True), Step(8, chunk=256, preference=True),
    Step(8, chunk=256, preference=True, lora_rank=4), Step(8, chunk=0, preference=True, gpu=UNKNOWN),
], ids=str)  # fmt: skip
def test_the_plan_of_every_path_agrees_with_a_real_peak(step):
    planned = memory.of_step(SMALL, Step(**{**vars(step), "accumulates": False}))
    assert planned.tracked == pytest.approx(real(SMALL, step), rel=0.1)


def scores(config, sequences):
    """Bytes of the scores of one layer, in fp32."""
    return 4 * sequences * config.heads * config.context**2


def test_only_the_plain_formula_keeps_scores():
    def tracked(config, **changes):
        return memory.of_step(config, Step(4, chunk=0, **changes)).tracked

    for masked in (False, True):
        plain = tracked(LONG, gpu=UNKNOWN, masked=masked)
        for card in (AMPERE, TURING):
            fused = tracked(LONG, gpu=card, masked=masked)
            assert plain - fused > 0.9 * LONG.layers * scores(LONG, 4)
        assert tracked(LONG, gpu=TURING, masked=masked) < 1.2 * tracked(LONG, masked=masked)  # a CPU keeps none, either


@pytest.mark.parametrize(("gpu", "precision", "masked", "operation"), [
    (AMPERE, "bf16", False, "_scaled_dot_product_flash_attention"),
    (AMPERE, "bf16", True, "_scaled_dot_product_efficient_attention"),
    (AMPERE, "fp32", False, "_scaled_dot_product_efficient_attention"),
    (TURING, "fp16", False, "_scaled_dot_product_efficient_attention"),
    (TURING, "fp16", True, "_scaled_dot_product_efficient_attention"),
    (TURING, "bf16", True, "bmm"),
    (None, "bf16", True, "bmm"),  # the plain formula: rows are short
    (None, None, True, "_scaled_dot_product_flash_attention_for_cpu"),
])  # fmt: skip
def test_the_trace_runs_the_kernel_of_the_card(gpu, precision, masked, operation):
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode

    class Called(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.attention = set()

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            name = func.overloadpacket.__name__
            if name.startswith("_scaled_dot") or name == "bmm":
                self.attention.add(name.removesuffix("_backward"))
            return func(*args, **(kwargs or {}))

    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    step = Step(2, precision, masked=masked, gpu=gpu)
    with FakeTensorMode(), tracing.without_contents(gpu), Called() as called:
        network, _ = tracing._prepared(SMALL, step)
        with torch.autocast("cpu", dtype=kind, enabled=kind is not None):
            loss = tracing._loss(network, torch.zeros(2, 128, dtype=torch.int64), step)
        loss.backward()
    assert called.attention == {operation}


def test_low_rank_additions_take_no_gradients_and_no_optimiser_state_of_the_base():
    full, low = (memory.of_step(SMALL, Step(8, masked=True, lora_rank=rank)) for rank in (0, 4))
    assert low.total < full.total and low.gradients < 0.1 * full.gradients and low.optimiser < 0.1 * full.optimiser
    assert full.weights < low.weights < 1.1 * full.weights


def test_preferences_in_chunks_take_less_than_all_logits_at_once():
    wide = SMALL.model_copy(update={"vocab_size": 16_384})
    for gpu in (None, AMPERE):
        chunked, whole = (memory.of_step(wide, Step(8, preference=True, chunk=rows, gpu=gpu)) for rows in (128, 0))
        assert chunked.tracked < 0.6 * whole.tracked


def test_the_quick_bound_bounds_every_path():
    for changes in ({"masked": True}, {"preference": True}, {"preference": True, "chunk": 0}, {"lora_rank": 8}):
        step = Step(4, **changes)
        assert memory.upper_bound(WIDE, step) > memory.of_step(WIDE, step).total


def test_a_plan_that_is_asked_twice_says_the_same():
    first, second = (memory.of_step(SMALL, Step(2, gpu=AMPERE)) for _ in range(2))
    assert first == second


def test_a_step_is_that_of_its_settings():
    assert Step.of(SftSettings(), 4, "bf16", gpu=AMPERE) == Step(4, "bf16", gpu=AMPERE, masked=True)
    lora_settings = SftSettings(weights="lora", lora_rank=3)
    assert Step.of(lora_settings, 4, "fp32") == Step(4, masked=True, lora_rank=3)
    four_bits = SftSettings(weights="qlora", lora_rank=3)
    assert Step.of(four_bits, 4, "fp32") == Step(4, masked=True, lora_rank=3, quantised=True)
    assert Step.of(PreferenceSettings(), 4, "fp32") == Step(4, preference=True)
    masked = PretrainingSettings.model_validate({"feed": {"mask_documents": True}})
    assert Step.of(masked, 4, "fp32").masked and not Step.of(PretrainingSettings(), 4, "fp32").masked


WIDE = ModelConfig(layers=3, width=256, heads=4, kv_heads=2, context=1024, vocab_size=16_384)


def test_a_pair_is_two_sequences():
    settings = PreferenceSettings(sequences=1)
    pair = memory.of_step(WIDE, Step(2, preference=True)).total
    assert plan.fit(WIDE, settings, "fp32", "cpu", 1, 1.01 * pair).sequences == 2
    assert plan.fit(WIDE, PreferenceSettings(sequences=5), "fp32", "cpu", 1, 1e12).sequences == 4
    assert memory.largest_micro_batch(WIDE, Step(1, preference=True), 0.99 * pair) == 0
    with pytest.raises(UserError, match=r"micro-batch of 2 sequences .* sequences: 2 under preference, which takes"):
        plan.fit(WIDE, settings, "fp32", "cpu", 1, 0.99 * pair)
    said = plan.advice(WIDE, PreferenceSettings(), "fp32", "cpu", 2)
    assert said.startswith("one pair was planned at") and "activation_checkpointing: true" in said


def test_a_fine_tuning_that_does_not_fit_is_told_of_its_own_block_and_of_additions():
    limit = 1.01 * memory.of_step(WIDE, Step(4, masked=True)).total
    with pytest.raises(UserError, match=r"set sequences: 4 under sft, which takes"):
        plan.fit(WIDE, SftSettings(sequences=64), "fp32", "cpu", 1, limit)
    wide = WIDE.model_copy(update={"width": 1024})
    low = Step(1, "fp16", masked=True, lora_rank=16, activation_checkpointing=True, gpu=TURING)
    with pytest.raises(UserError, match=r"activation_checkpointing: true, weights: lora and sequences: 1 under sft"):
        plan.fit(wide, SftSettings(), "fp16", "cuda", 1, 1.05 * memory.of_step(wide, low).total, cards.CARDS["t4"])


def test_four_bits_take_less_of_the_weights_than_a_fifth():
    step = Step(1, masked=True, lora_rank=4)
    parts = [memory.of_step(WIDE, replace(step, quantised=four_bits)) for four_bits in (False, True)]
    inside = 4.0 * sum(p.numel() for p in Transformer(WIDE).model.layers.parameters() if p.dim() > 1)
    saved = parts[0].weights - parts[1].weights
    assert 0.85 * inside < saved < 0.88 * inside, "of 32 bits, 4.127 stay"


def test_fine_tuning_code_100m_fits_a_16_gb_card_and_with_additions_more_does():
    card = cards.CARDS["4080"]
    limit = card.memory_gib * 2**30 * 0.95
    full = plan.fit(CODE_100M, SftSettings(), "bf16", "cuda", 1, limit, card).sequences
    low = plan.fit(CODE_100M, SftSettings(weights="lora"), "bf16", "cuda", 1, limit, card).sequences
    assert full >= 4 and low >= full
    masked = memory.of_step(CODE_100M, Step(full, "bf16", gpu=card.capability, masked=True)).total
    with_scores = memory.of_step(CODE_100M, Step(full, "bf16", gpu=UNKNOWN, masked=True)).total
    assert masked < limit < with_scores


RECIPE = """
name: planned
sources: [{{name: mine, kind: files, path: '*.txt', lang: en, license: own}}]
tokenizer: {{vocab_size: 16384}}
model: {{layers: 3, width: 256, heads: 4, kv_heads: 2, context: 1024}}
sft: {{context: 512{method}}}
preference: {{enabled: {preferences}}}
"""


def planned(folder, **changes):
    """What `slm plan` prints of a T4."""
    recipe = folder / "planned.yaml"
    recipe.write_text(RECIPE.format(**{"method": "", "preferences": "true", **changes}))
    result = CliRunner().invoke(main, ["plan", str(recipe), "--gpu", "t4"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [line for line in result.output.splitlines() if line.startswith(("sft", "preference"))]


def mib(line):
    return int(re.search(r"memory ([\d,]+) MiB", line)[1].replace(",", ""))


def test_the_plan_of_a_recipe_has_a_line_for_each_tuning(tmp_path, monkeypatch):
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    full, preferences = planned(tmp_path)
    assert re.match(r"sft \(full, fp16\): \d+ sequences of 512 tokens at once, memory [\d,]+ MiB: weights ", full)
    assert re.match(r"preference \(full, fp16\): \d+ pairs, \d+ sequences of 1,024 tokens at once", preferences)
    (low,) = planned(tmp_path, method=", weights: lora, sequences: 8", preferences="false")
    (same,) = planned(tmp_path, method=", sequences: 8", preferences="false")
    assert low.startswith("sft (lora, fp16): 8 sequences") and mib(low) < mib(same)


def test_a_plan_of_days_stops_before_it_starts_and_yes_starts_it(tmp_path, monkeypatch):
    recipe = tiny.write(tmp_path)
    recipe.write_text(recipe.read_text().replace("device: cpu,", "device: cpu, max_hours: 0.000001,"))
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SLM_RECIPE", str(recipe))
    refused = CliRunner().invoke(main, ["make", "pretrained_model"], catch_exceptions=False)
    assert refused.exit_code == 1 and "Pretraining would take" in refused.output
    assert "`slm make --yes pretrained_model`" in refused.output
    assert not (tmp_path / "data" / "tiny" / "pretrained_model" / "current").exists()
    done = CliRunner().invoke(main, ["make", "--yes", "training_plan"], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_the_plan_guesses_the_text_from_the_size_of_a_persons_own_files(tmp_path, monkeypatch):
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    (tmp_path / "mine.txt").write_text("a note of mine. " * 50_000)  # 800 kB: some 200,000 tokens
    recipe = tmp_path / "planned.yaml"
    recipe.write_text(RECIPE.format(method="", preferences="false") + "pretraining: {tokens: 4_000_000}\n")
    said = CliRunner().invoke(main, ["plan", str(recipe), "--gpu", "t4"], catch_exceptions=False).output
    assert "passes over the text: about 20 (about 0.2 M tokens of text, estimated from the size of the files)" in said
    assert "WARNING: 20 passes over the text" in said

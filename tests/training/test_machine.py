"""The number format of a training: on a CPU what was measured to be faster, once, and the same from then on."""

import json
import math
import multiprocessing
from pathlib import Path

import pytest
import torch

from model.config import ModelConfig
from model.decoding import arranged
from model.transformer import Transformer
from pipeline.errors import UserError
from pipeline.training import machine, measured
from pipeline.training.measured import Machine
from pipeline.training.throughput import Peak

TINY = ModelConfig(layers=2, width=64, heads=4, context=32, vocab_size=512)
LARGER = ModelConfig(layers=2, width=256, heads=4, kv_heads=2, context=32, vocab_size=2048)  # 1.9 M parameters


class Watch:
    """Stands for the products: bf16 takes `ratio` times as long as fp32."""

    def __init__(self, ratio: float):
        self.ratio, self.calls = ratio, 0

    def __call__(self, shapes, kind):
        self.calls += 1
        return self.ratio if kind == "bf16" else 1.0


@pytest.fixture
def watch(monkeypatch) -> Watch:
    given = Watch(0.5)
    for name in ("products", "rounds"):
        monkeypatch.setattr(measured, name, given)
    return given


@pytest.mark.parametrize(
    ("ratio", "config", "expected"), [(0.5, LARGER, "bf16"), (0.9, LARGER, "fp32"), (3, LARGER, "fp32")]
)
def test_auto_on_a_cpu_is_what_it_was_measured_to_multiply_faster(watch, tmp_path, ratio, config, expected):
    watch.ratio = ratio
    here = Machine(tmp_path)
    assert machine.choose_precision("auto", "cpu", config, here) == expected
    assert machine.muon_precision("cpu", config, here) == expected
    assert machine.evaluation_precision("cpu", config, here) == expected


def test_a_small_network_is_trained_in_fp32_and_nothing_is_measured(watch, tmp_path):
    assert machine.choose_precision("auto", "cpu", TINY, Machine(tmp_path)) == "fp32"
    assert machine.muon_precision("cpu", TINY, Machine(tmp_path)) == "fp32"
    assert watch.calls == 0 and not list(tmp_path.iterdir())


def test_the_record_decides_in_every_later_process(watch, tmp_path):
    assert machine.choose_precision("auto", "cpu", LARGER, Machine(tmp_path)) == "bf16"
    calls, watch.ratio = watch.calls, 3.0  # now the machine would be found to be slow in bf16
    assert machine.choose_precision("auto", "cpu", LARGER, Machine(tmp_path)) == "bf16"
    assert watch.calls == calls
    wider = LARGER.model_copy(update={"width": 320})
    assert machine.choose_precision("auto", "cpu", wider, Machine(tmp_path)) == "fp32"  # another shape is measured


def test_another_number_of_threads_is_another_machine(watch, tmp_path, monkeypatch):
    measured.bf16_gain(Machine(tmp_path), LARGER)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 63)
    measured.bf16_gain(Machine(tmp_path), LARGER)
    kinds = [json.loads(path.read_text())["machine"] for path in tmp_path.glob("*.json")]
    assert len(kinds) == 2 and 63 in {kind["threads"] for kind in kinds}
    assert {kind["torch"] for kind in kinds} == {torch.__version__}


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"measured": []}', '{"measured": {"NAME": {"fp32": 1, "bf16": 0}}}']
)
def test_a_damaged_record_is_measured_again(watch, tmp_path, damage):
    measured.bf16_gain(Machine(tmp_path), LARGER)
    (path,) = tmp_path.glob("*.json")
    (name,) = json.loads(path.read_text())["measured"]
    path.write_text(damage.replace("NAME", name))
    watch.ratio = 0.25
    assert measured.bf16_gain(Machine(tmp_path), LARGER) == 4.0
    assert json.loads(path.read_text())["measured"][name] == {"fp32": 1.0, "bf16": 0.25}


def test_a_folder_that_cannot_be_written_is_no_hindrance(watch, tmp_path):
    (tmp_path / "file").write_text("")
    here = Machine(tmp_path / "file" / "folder")
    assert measured.bf16_gain(here, LARGER) == measured.bf16_gain(here, LARGER) == 2.0
    assert watch.calls <= 2 * (1 + measured.ROUNDS)  # once: kept in this process


def _ask(folder: Path, number: int) -> None:
    def measure() -> dict[str, float]:
        return {"fp32": 1.0 + number, "bf16": 1.0}

    found = Machine(folder).recall("race", "shape", measure)
    (folder / f"answer-{number}").write_text(str(found["fp32"]))


def test_processes_that_ask_at_once_get_one_answer(tmp_path):
    processes = [multiprocessing.get_context("fork").Process(target=_ask, args=(tmp_path, n)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert len({path.read_text() for path in tmp_path.glob("answer-*")}) == 1
    assert len(list(tmp_path.glob("answer-*"))) == 4


def test_the_real_products_and_rounds_are_measured():
    for gain in (measured.bf16_gain(Machine(), TINY), measured.muon_gain(Machine(), TINY)):
        assert 0.01 < gain < 100 and math.isfinite(gain)


def test_the_shapes_are_those_of_the_network():
    shapes = measured.matrix_shapes(LARGER)
    network = Transformer(LARGER)
    linear = [module.weight for module in network.modules() if isinstance(module, torch.nn.Linear)]
    assert sum(rows * columns * count for rows, columns, count in shapes) == (
        sum(weight.numel() for weight in linear) + network.output_weight.numel()
    )
    assert [2048, 256, 1] in shapes  # the tied output


def test_timing_the_decoding_leaves_no_second_weights_behind(monkeypatch):
    network, seen = Transformer(LARGER).eval(), []
    monkeypatch.setattr(measured, "compared", lambda run: seen.append(arranged(network)) or {"fp32": 1.0, "bf16": 0.5})
    assert measured.decoding_gain(Machine(), network) == 2
    assert seen != [None] and arranged(network) is None


def test_generating_is_in_bf16_only_where_that_was_measured_to_be_faster(monkeypatch):
    network = Transformer(LARGER).eval()
    assert machine.for_generation(network, Machine()) is network  # too small to be measured
    monkeypatch.setattr(machine, "DECODING_PARAMETERS", 0)
    monkeypatch.setattr(measured, "compared", lambda run: {"fp32": 1.0, "bf16": 0.9})
    assert machine.for_generation(network, Machine()) is network and arranged(network) is not None
    monkeypatch.setattr(measured, "compared", lambda run: {"fp32": 1.0, "bf16": 0.5})
    copy = machine.for_generation(network, Machine())
    assert copy.output_weight.dtype == torch.bfloat16 and network.output_weight.dtype == torch.float32
    assert copy.position_table.dtype == torch.float32
    assert arranged(copy) is not None and arranged(network) is None
    assert torch.equal(copy.position_table, network.position_table)


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto_on_a_gpu_follows_its_generation(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert machine.choose_precision("auto", "cuda", TINY, Machine()) == expected
    assert machine.evaluation_precision("cuda", TINY, Machine()) == expected.replace("fp16", "fp32")
    assert machine.muon_precision("cuda", TINY, Machine()) == "bf16"


@pytest.mark.parametrize("setting", ["fp32", "bf16"])
def test_an_explicit_setting_is_used(watch, setting):
    assert machine.choose_precision(setting, "cpu", LARGER, Machine()) == setting
    assert watch.calls == 0


def test_fp16_on_a_cpu_is_refused():
    with pytest.raises(UserError, match="use auto, fp32 or bf16"):
        machine.choose_precision("fp16", "cpu", TINY, Machine())


def test_processes_on_one_machine_divide_its_memory(monkeypatch):
    whole = machine.free_memory("cpu")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert machine.free_memory("cpu") == pytest.approx(whole / 4, rel=0.5)


def test_the_peak_of_a_cpu_is_measured_again_during_the_run(monkeypatch):
    found = iter([60.0, 40.0, 100.0])
    now = [0.0]
    monkeypatch.setattr(machine, "peak_flops", lambda device, precision: next(found))
    monkeypatch.setattr("pipeline.training.throughput.time.monotonic", lambda: now[0])
    peak = Peak("cpu", "fp32", world=2)
    assert peak.flops == 120.0
    for now[0] in (1.0, 6.0, 7.0, 12.0):
        peak.measure_again()
    assert peak.flops == 200.0  # the most of three, of two processes: beside that, no share is above 1

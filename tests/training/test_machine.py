"""Which number format a training gets."""

import pytest
import torch

from pipeline.errors import UserError
from pipeline.training import machine


@pytest.mark.parametrize(
    ("amx", "parameters", "expected"),
    [(True, 900_000, "fp32"), (True, 1_000_000, "bf16"), (True, 100_000_000, "bf16"), (False, 100_000_000, "fp32")],
)
def test_auto_on_a_cpu_is_what_it_multiplies_faster(monkeypatch, amx, parameters, expected):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert machine.choose_precision("auto", "cpu", parameters) == expected


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto_on_a_gpu_follows_its_generation(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert machine.choose_precision("auto", "cuda", 1_000) == expected


@pytest.mark.parametrize("setting", ["fp32", "bf16"])
def test_an_explicit_setting_is_used(setting):
    assert machine.choose_precision(setting, "cpu", 1_000) == setting


def test_fp16_on_a_cpu_is_refused():
    with pytest.raises(UserError, match="use auto, fp32 or bf16"):
        machine.choose_precision("fp16", "cpu", 1_000)

"""A damaged checkpoint is never resumed: the one before it is, with the same result, or the run is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.transformer import Transformer
from pipeline.errors import UserError
from pipeline.training.objectives.objective import TrainingResult
from pipeline.training.stopping import Stopped
from pipeline.training.training_settings import LoopSettings
from tests.training import toy

SETTINGS = LoopSettings(checkpoint_every=2, keep_checkpoints=3, ema=0.5)
FILES = ("model.safetensors", "optimiser.safetensors", "average.safetensors", "log.parquet", "state.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Transformer:
    return toy.run(tmp_path_factory.mktemp("whole"), SETTINGS)[0]


def stopped(directory: Path, settings: LoopSettings = SETTINGS, step: int = 7) -> list[Path]:
    """A run stopped at this step; returns its checkpoints."""
    asked: list[int] = []
    with pytest.raises(Stopped):
        toy.run(directory, settings, should_stop=lambda: bool(asked.append(1)) or len(asked) > 3 * step + 1)
    return sorted(directory.glob("step-*"))


def resumed(directory: Path, settings: LoopSettings = SETTINGS) -> tuple[Transformer, TrainingResult, list[str]]:
    lines: list[str] = []
    return *toy.run(directory, settings, log=lines.append), lines


def damage(path: Path, how: str) -> None:
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)


@pytest.mark.parametrize("how", ["gone", "cut", "flipped"])
@pytest.mark.parametrize("name", FILES)
def test_a_checkpoint_with_a_damaged_file_gives_way_to_the_one_before(
    whole: Transformer, tmp_path: Path, name: str, how: str
) -> None:
    *_, before, last = stopped(tmp_path)
    damage(last / name, how)
    model, _, lines = resumed(tmp_path)
    assert toy.same(model, whole)
    assert any(f"the checkpoint {last.name} is damaged ({name} " in line for line in lines)
    assert any(f"resuming from the checkpoint of step {int(before.name[5:])} " in line for line in lines)


def test_a_run_whose_checkpoints_are_all_damaged_is_refused_and_keeps_them(tmp_path: Path) -> None:
    places = stopped(tmp_path)
    for place in places:
        damage(place / "optimiser.safetensors", "gone")
    with pytest.raises(
        UserError, match=r"optimiser.safetensors is missing.*there is none before to resume from: delete"
    ) as told:
        resumed(tmp_path)
    assert "\n" not in str(told.value)
    assert sorted(tmp_path.glob("step-*")) == places


def test_a_checkpoint_without_hashes_is_refused_unless_the_check_is_off(
    whole: Transformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in stopped(tmp_path):
        state = json.loads((place / "state.json").read_text())
        old = {name: value for name, value in state.items() if name not in ("files", "xxh3")}
        (place / "state.json").write_text(json.dumps(old))
    with pytest.raises(UserError, match=r"state.json is not what was written"):
        resumed(tmp_path)
    monkeypatch.setenv("SLM_CHECK", "off")
    assert toy.same(resumed(tmp_path)[0], whole)


def test_a_run_that_ends_with_its_best_checkpoint_goes_back_to_before_a_damaged_one(tmp_path: Path) -> None:
    settings = LoopSettings(checkpoint_every=1, keep_checkpoints=4, select="best", evaluate_every=2)
    expected, figures = toy.run(tmp_path / "whole", settings)
    places = stopped(tmp_path / "damaged", settings)
    damage(places[1] / "model.safetensors", "flipped")
    model, again, lines = resumed(tmp_path / "damaged", settings)
    assert any(f"resuming from the checkpoint of step {int(places[0].name[5:])} " in line for line in lines)
    assert toy.same(model, expected) and again.figures == figures.figures

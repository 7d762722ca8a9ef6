"""Killed, or refused by the disk, at any operation on files: the same command resumes and ends with the same manifest.

`make test-faults` (SLM_FAULTS=all) goes through every operation of every kind of artifact; `make test` through a few.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import UserError
from tests.faults import kinds
from tests.faults.harness import ERRORS, KILL, TORN, Disk, Killed
from tests.faults.kinds import KINDS, Made

ALL = os.environ.get("SLM_FAULTS") == "all"
# The sample: the operations at the end of a making, around the manifest; of every kind for a kill, of few for the rest.
LAST = 4
FEW = ("raw_documents", "language_decisions", "training_plan")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLM_TRACKING", "off")
        return kinds.make_all(tmp_path_factory.mktemp("faults"))


def operations(made: Made, asset: str, data: Path, at: int = 0, how: str = KILL) -> Disk:
    """Make the asset in the store `data`, on a disk that fails at the operation `at`."""
    disk = Disk(data, at, how)
    project = made.project(data)
    with pytest.MonkeyPatch.context() as patch:
        disk.install(patch)
        try:
            project.make(asset)
        except (Killed, UserError) as error:
            assert disk.failed, f"refused without a fault: {error}"
            if isinstance(error, UserError):
                assert how in ERRORS, f"killed at {disk.operations[-1]}, yet told: {error}"
                assert "\n" not in str(error) and str(data) in str(error), f"no sentence that names the place: {error}"
    return disk


def resumed(made: Made, asset: str, data: Path, where: str) -> None:
    """Whatever is in the store is right, and the same command makes the same manifest of it."""
    now = made.project(data).store.current(asset)
    expected = made.manifest(asset)
    if now is not None:
        assert made.manifest(asset, data) == expected, f"{where}: what is in force is wrong"
    made.project(data).make(asset)
    assert made.manifest(asset, data) == expected, f"{where}: the resumed run made something else"
    assert kinds.leftovers(data) == [], where


def points(total: int, how: str) -> list[int]:
    """The operations to fail at, counted from 1."""
    if ALL:
        return list(range(1, total + 1))
    return [total // 3, *range(total - LAST + 1, total + 1)] if how == KILL else [total // 2, total - LAST]


def test_the_harness_sees_every_operation_that_publishes_an_artifact(made: Made, tmp_path: Path) -> None:
    made.before("language_decisions", tmp_path / "data")
    seen = operations(made, "language_decisions", tmp_path / "data").operations
    names = {line.split()[0] for line in seen}
    assert names >= {"write", "fsync", "replace", "unlink", "mkdir", "open"}
    assert any(line.startswith("write") and "manifest.json" in line for line in seen)
    assert seen[-1].startswith(("unlink", "fsync", "replace"))


@pytest.mark.parametrize(
    ("asset", "how"),
    [(asset, how) for asset in KINDS for how in (KILL, TORN, *ERRORS) if ALL or how == KILL or asset in FEW],
)
@pytest.mark.timeout(3600)
def test_a_fault_at_any_operation_leaves_nothing_wrong(made: Made, asset: str, how: str, tmp_path: Path) -> None:
    calm = tmp_path / "calm"
    made.before(asset, calm)
    total = len(operations(made, asset, calm).operations)
    assert made.manifest(asset, calm) == made.manifest(asset)
    for point in points(total, how):
        data = tmp_path / f"at-{point}"
        made.before(asset, data)
        disk = operations(made, asset, data, point, how)
        resumed(made, asset, data, f"{how} at {point} of {total}: {disk.operations[point - 1 :][:1]}")
        shutil.rmtree(data)


REALLY = """
import os, sys
from pathlib import Path
import pytest
from tests.faults.harness import Disk
from tests.faults.kinds import Made
recipe, data, at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
project = Made(recipe, data).project(data)
Disk(data, at, stop=lambda: os._exit(9)).install(pytest.MonkeyPatch())
project.make("language_decisions")
"""


@pytest.mark.parametrize("back", [0, 1, 2, 4, 20])
def test_a_process_that_really_ends_there_is_resumed_in_the_same_way(made: Made, back: int, tmp_path: Path) -> None:
    calm, data = tmp_path / "calm", tmp_path / "data"
    made.before("language_decisions", calm)
    made.before("language_decisions", data)
    at = len(operations(made, "language_decisions", calm).operations) - back
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SLM_TRACKING": "off"}
    command = [sys.executable, "-c", REALLY, str(made.recipe), str(data), str(at)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    resumed(made, "language_decisions", data, f"os._exit at operation {at}")

"""`slm store prune` takes nothing that is in force or read, and goes by the store's own order."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from model.files import write_whole
from pipeline.store.artifact import MANIFEST, Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from tests.faults.kinds import quiet

ROOT = Path(__file__).parents[2]


def make(store: Store, number: int, asset: str = "a", **inputs: Artifact) -> Artifact:
    return store.make(
        asset, code_version="1", settings={"n": number}, inputs=dict(inputs), log=quiet,
        build=lambda draft: write_whole(draft.path("x"), str(number)),
    )  # fmt: skip


def names(store: Store, asset: str = "a") -> set[str]:
    return {artifact.version for artifact in store.versions(asset)}


def test_a_version_that_comes_in_force_while_prune_waits_stays(tmp_path: Path) -> None:
    store = Store(tmp_path, "r")
    first, second = make(store, 1), make(store, 2)
    waiting = threading.Event()
    freed: list[tuple[str, int]] = []
    with open(tmp_path / "r" / "a" / ".lock", "a+") as lock:  # as a run that makes the asset holds it
        fcntl.flock(lock, fcntl.LOCK_EX)
        pruning = threading.Thread(
            target=lambda: freed.extend(store.prune("a", keep=0, log=lambda line: waiting.set()))
        )
        pruning.start()
        assert waiting.wait(20)
        assert not make(Store(tmp_path, "r"), 1).made  # back to the first setting
    pruning.join(20)
    assert [version for version, _ in freed] == [second.version]
    now = store.require("a")
    assert now.version == first.version and now.file("x").read_text() == "1"


def test_an_input_that_a_run_reads_stays_until_the_run_is_over(tmp_path: Path) -> None:
    store = Store(tmp_path, "r")
    read, lines = make(store, 1), []

    def build(draft: object) -> None:
        make(Store(tmp_path, "r"), 2)
        assert Store(tmp_path, "r").prune("a", keep=0, log=lines.append) == []
        assert read.file("x").read_text() == "1"

    store.make("b", code_version="1", settings={}, inputs={"a": read}, build=build, log=quiet)
    assert lines == [f"a/{read.version} stays: a run reads it"]
    assert [version for version, _ in store.prune("a", keep=0)] == [read.version]


READER = """
import sys, time
from pipeline.store.draft import Draft
from pipeline.store.store import Store
with Store(sys.argv[1], "r").reading("a"):
    print("reads", flush=True)
    time.sleep(60)
"""


def test_the_lease_of_a_killed_reader_is_over(tmp_path: Path) -> None:
    store = Store(tmp_path, "r")
    old = make(store, 1)
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(tmp_path)], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert reader.stdout is not None and reader.stdout.readline() == "reads\n"
    make(store, 2)
    assert store.prune("a", keep=0, log=quiet) == []
    reader.send_signal(signal.SIGKILL)
    reader.wait(20)
    assert [version for version, _ in store.prune("a", keep=0, log=quiet)] == [old.version]


def test_the_newest_are_those_made_last_whatever_the_times_of_their_files(tmp_path: Path) -> None:
    store = Store(tmp_path, "r")
    made = [make(store, number) for number in range(4)]
    for age, artifact in enumerate(made):
        os.utime(artifact.place(MANIFEST), (10**9 - age, 10**9 - age))  # as a copy or a backup may set them
    assert [artifact.manifest["number"] for artifact in made] == [1, 2, 3, 4]
    store.prune("a", keep=1)
    assert names(store) == {made[2].version, made[3].version}


def test_a_reader_waits_for_a_deletion_that_has_begun_and_sees_that_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path, "r")
    old = make(store, 1)
    make(store, 2)
    begun, real = threading.Event(), store._delete

    def slowly(directory: Path) -> int:
        begun.set()
        time.sleep(0.3)
        return real(directory)

    monkeypatch.setattr(store, "_delete", slowly)
    pruning = threading.Thread(target=lambda: store.prune("a", keep=0))
    pruning.start()
    assert begun.wait(20)
    again = make(Store(tmp_path, "r"), 1)  # the same version, in the middle of its deletion
    pruning.join(20)
    assert again.made and again.version == old.version and again.file("x").read_text() == "1"


def test_a_draft_holds_all_versions_that_it_names_or_none(tmp_path: Path) -> None:
    store = Store(tmp_path, "r")
    first, second, third, _ = (make(store, number) for number in range(4))
    freed: list[list[str]] = []

    def pruned() -> None:
        freed.append([version for version, _ in store.prune("a", 0, quiet)])

    def build(draft: Draft) -> None:
        shutil.rmtree(first.directory)
        assert not draft.hold([second, first]) and draft.hold([third])
        pruned()

    store.make("b", code_version="1", settings={}, inputs={}, build=build, log=quiet)
    pruned()
    assert freed == [[second.version], [third.version]]

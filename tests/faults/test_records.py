"""Small records: several processes change them at once, and damaged ones are told in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import UserError
from pipeline.ingest import files, forgetting
from pipeline.store import disk
from pipeline.store.store import Store
from tests.faults.harness import Disk
from tests.faults.kinds import quiet

ROOT = Path(__file__).parents[2]
FORGET = """
import sys
from pipeline.ingest.forgetting import forget
from pipeline.store.store import Store
for number in range(50):
    forget(Store(sys.argv[1], "r"), [f"{sys.argv[2]}-{number}"], "asked for")
"""
SWITCH = """
import sys
from pathlib import Path
from model.files import write_whole
from pipeline.store.store import Store
store = Store(sys.argv[1], "r")
for number in range(60):
    store.make("a", code_version="1", settings={"n": number % 3}, inputs={}, log=lambda line: None,
               build=lambda draft: write_whole(draft.path("x"), "x"))
"""


def together(program: str, root: Path, processes: int) -> None:
    """Run a program several times at once; each must end well."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(root), str(number)], env=environment, stderr=subprocess.PIPE, text=True
        )
        for number in range(processes)
    ]
    errors = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * processes, errors


def test_of_two_forgets_at_once_no_entry_is_lost(tmp_path: Path) -> None:
    together(FORGET, tmp_path, 2)
    expected = {f"{process}-{number}" for process in (0, 1) for number in range(50)}
    assert forgetting.forgotten(Store(tmp_path, "r")) == expected
    assert len(forgetting.records(Store(tmp_path, "r"))) == 100


def test_four_processes_that_put_versions_in_force_never_meet_a_half_written_pointer(tmp_path: Path) -> None:
    together(SWITCH, tmp_path, 4)
    store = Store(tmp_path, "r")
    assert len(store.versions("a")) == 3 and store.current("a") is not None
    assert list(store.verify("a")) == []
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("line", ['{"doc_id": "c"', "nonsense", '{"doc_id": 7, "reason": "", "date": ""}', "[]"])
def test_a_damaged_removal_list_is_never_passed_over(tmp_path: Path, line: str) -> None:
    store = Store(tmp_path, "r")
    forgetting.forget(store, ["a"], "asked for")
    path = tmp_path / "r" / forgetting.LIST
    path.write_text(path.read_text() + line + "\n")
    for attempt in (lambda: forgetting.forgotten(store), lambda: forgetting.forget(store, ["b"], "asked for")):
        with pytest.raises(UserError, match=r"Line 2 of the removal list forgotten.jsonl is damaged: put"):
            attempt()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"forgotten.jsonl is damaged, it is no text"):
        forgetting.forgotten(store)


def make_something(root: Path) -> None:
    store = Store(root, "r")
    store.make("a", code_version="1", settings={}, inputs={}, log=quiet, build=lambda draft: None)


def test_a_store_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(UserError, match=r"SLM_DATA \(.*data\) is not a folder: point SLM_DATA to one"):
        make_something(tmp_path / "data")
    with pytest.raises(UserError, match=r"SLM_DATA \(.*data\) is not a folder: point SLM_DATA to one"):
        forgetting.forget(Store(tmp_path / "data", "r"), ["a"], "asked for")


@pytest.mark.parametrize("how", ["EROFS", "ENOSPC", "EIO"])
def test_a_store_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    for attempt in (make_something, lambda root: forgetting.forget(Store(root, "r"), ["a"], "asked for")):
        with monkeypatch.context() as patch:
            Disk(tmp_path / "data", 1, how).install(patch)
            with pytest.raises(UserError) as told:
                attempt(tmp_path / "data")
        assert "\n" not in str(told.value) and str(tmp_path / "data") in str(told.value)
    make_something(tmp_path / "data")


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"nonsense"])
def test_damaged_notes_on_local_files_are_written_anew(tmp_path: Path, damage: bytes) -> None:
    text = tmp_path / "a.txt"
    text.write_text("text")
    os.utime(text, (1, 1))  # long settled, so it is remembered
    memory = tmp_path / "a.files.parquet"
    (expected,) = files.content_hashes([str(text)], memory)
    memory.write_bytes(damage)
    assert files.content_hashes([str(text)], memory) == [expected]
    assert pl.read_parquet(memory)["hash"].to_list() == [expected]


def test_a_change_of_a_record_is_one_step(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "record"
    disk.change(path, lambda before: f"{before}1")
    disk.change(path, lambda before: f"{before}2")
    assert path.read_text() == "None12"
    (tmp_path / "folder" / "record.0123abcd.tmp").write_text("left by a kill")
    (tmp_path / "folder" / "record.other.0123abcd.tmp").write_text("of another record")
    with pytest.raises(RuntimeError), disk.alone(path):
        raise RuntimeError
    assert sorted(left.name for left in path.parent.glob("*.tmp")) == ["record.other.0123abcd.tmp"]

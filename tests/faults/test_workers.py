"""A worker that is killed or crashes: the fragment is named, or set aside by option, and the others are made."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import polars as pl
import pytest

from pipeline.documents import execution, workers
from pipeline.documents.document import DOCUMENT_SCHEMA
from pipeline.documents.execution import ExecutionSettings, run_all
from pipeline.documents.workers import end_idle
from pipeline.errors import UserError
from pipeline.settings import StageSettings
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from tests.faults import dying
from tests.faults.kinds import quiet
from tests.making import after, context

DEATHS = {
    "kill": "killed (SIGKILL), as the system does when memory runs out",
    "segfault": "crashed (SIGSEGV)",
    "abort": "crashed (SIGABRT), as a library does that gets no memory",
    "memory": "ran out of memory",
}
STOP = ExecutionSettings(executor="processes", workers=2)
SKIP = ExecutionSettings(executor="processes", workers=2, on_crash="skip")


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "WORTH_A_PROCESS_BYTES", 0)


@pytest.mark.parametrize("how", DEATHS)
def test_how_a_worker_died_is_told_and_the_others_go_on(how: str) -> None:
    told: dict[int, str] = {}

    def crashed(index: int, words: str) -> int:
        told[index] = words
        return -1

    found = dict(run_all(dying.number, [(value, how) for value in range(6)], SKIP, label="numbers", crashed=crashed))
    assert found == {0: 0, 1: 1, 2: 2, 3: -1, 4: 4, 5: 5}
    assert list(told) == [3] and DEATHS[how] in told[3]


def test_what_the_work_raises_is_raised_here_with_its_traceback() -> None:
    with pytest.raises(ValueError, match="unheard of") as raised:
        list(run_all(dying.number, [(3, "unheard of"), (1, "")], STOP))
    assert "dying.py" in raised.value.__notes__[0]


def raw_documents(store: Store) -> Artifact:
    def build(draft: Draft) -> None:
        for fragment in range(3):
            texts = [f"text {row} of fragment {fragment}" for row in range(4)]
            if fragment == 1:
                texts[2] = dying.MARK
            rows = {column: [None] * 4 for column in DOCUMENT_SCHEMA}
            rows |= {"doc_id": [f"{row:032x}" for row in range(4)], "text": texts, "source": ["made"] * 4}
            frame = pl.DataFrame(rows, schema=DOCUMENT_SCHEMA)
            draft.table(f"made-{fragment}", {"fragment": fragment}, lambda frame=frame: frame)

    return store.make("raw_documents", code_version="1", settings={}, inputs={}, build=build, log=quiet)


def decisions(store: Store, settings: ExecutionSettings, lines: list[str] | None = None) -> Artifact:
    log = quiet if lines is None else lines.append
    run = context(store, execution=settings, log=log)
    return dying.STAGE.make(run, after(raw_documents(store)), StageSettings())


def test_a_run_that_stops_names_the_fragment_and_keeps_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path, "r")
    with pytest.raises(UserError) as told:
        decisions(store, STOP)
    assert "\n" not in str(told.value)
    assert "`dying_decisions`: the worker on the fragment `made-1` was killed (SIGKILL)" in str(told.value)
    assert "memory" in str(told.value) and "execution.on_crash: skip" in str(told.value)
    done = {path.name for path in (tmp_path / "r" / "dying_decisions").rglob("made-*.parquet")}
    assert done <= {"made-0.parquet", "made-2.parquet"}
    monkeypatch.setattr(dying, "die", lambda how: None)
    assert decisions(store, ExecutionSettings(executor="in_process")).counts["kept"] == 12


def test_a_fragment_set_aside_is_counted_and_tried_again_when_the_recipe_stops_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, lines = Store(tmp_path, "r"), []
    made = decisions(store, SKIP, lines)
    assert made.counts["removed"] == {"crashed_worker": 4} and made.counts["kept"] == 8
    assert any("the fragment `made-1` was killed" in line and "set aside" in line for line in lines)
    assert dying.STAGE.reasons["crashed_worker"]
    schemas = {tuple(pl.read_parquet_schema(made.table(name)).items()) for name in made.fragments}
    assert len(schemas) == 1, "the table of a fragment set aside has the columns of the others"
    assert not decisions(store, SKIP).made
    monkeypatch.setattr(dying, "die", lambda how: None)
    again = decisions(store, ExecutionSettings(executor="in_process"))
    assert again.counts["kept"] == 12
    assert again.manifest["fragments"] == {"computed": 1, "reused": 2}


def pids(tasks: int = 6) -> set[int]:
    return {pid for _, pid in run_all(dying.place, [(number,) for number in range(tasks)], STOP)}


def test_workers_wait_for_the_next_stage_until_they_are_ended() -> None:
    end_idle()
    first = pids()
    assert len(first) == 2 and pids() == first
    end_idle()
    assert not any(Path(f"/proc/{pid}").exists() for pid in first) and not first & pids()


def test_a_waiting_worker_is_not_taken_up_in_another_environment_dead_or_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = pids()
    monkeypatch.setenv("SLM_OF_A_TEST", "1")
    second = pids()
    assert not first & second
    dead = workers._idle[0].process
    os.kill(dead.pid or 0, signal.SIGKILL)
    dead.join()
    third = pids()
    assert len(third) == 2 and len(third & second) == 1
    monkeypatch.setattr(workers, "FRESH", -1.0)
    assert not third & pids()


def test_a_worker_without_a_task_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "WAITS", 0.01)
    worker = workers.started()
    worker.process.join(120)
    assert worker.process.exitcode == 0

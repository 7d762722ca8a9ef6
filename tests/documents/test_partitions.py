"""Partitions that were finished before a kill are taken up again, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.curation.duplicates import band_partitions, near, repetition
from pipeline.documents import partitions
from pipeline.documents.execution import ExecutionSettings
from pipeline.store.artifact import RUN_SPECIFIC
from pipeline.store.store import Store
from tests.curation.written_documents import raw_documents
from tests.faults.harness import Killed
from tests.making import IN_PROCESS, after, context

SENTENCE = "The sentence of number {number} is said again and again, in one document after the other."
WORKS = ("candidates", "repeated sentences")


def rows() -> list[dict[str, str]]:
    # Each five differ by one word, and twelve documents share each sentence.
    words = [" ".join(f"w{group * 40 + word}" for word in range(40)) for group in range(12)]
    return [{"text": f"{SENTENCE.format(number=n % 5)}\n{words[n // 5]} x{n}"} for n in range(60)]


def made(work: str, folder: Path, settings: ExecutionSettings = IN_PROCESS) -> dict[str, Any]:
    """What the stage of that work makes of the documents."""
    store = Store(folder, "r")
    raw = raw_documents(store, rows(), 3)
    run = context(store, execution=settings)
    if work == "candidates":
        found = near.make(run, after(raw), near.Settings(threshold=0.5))
    else:
        found = repetition.make(run, after(raw), repetition.Settings(max_documents=5))
    assert not list(found.directory.glob(".*")), "what tasks handed to one another is gone"
    return {name: value for name, value in found.manifest.items() if name not in RUN_SPECIFIC}


@pytest.fixture(autouse=True)
def small_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(band_partitions, "PARTITION_BYTES", 12 * 60 * 2)  # two bands each
    monkeypatch.setattr(repetition, "COUNTED_AT_ONCE", 12)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many partitions each call was asked to work on."""
    asked: list[int] = []
    real = partitions.run_all

    def run_all(function: Callable[..., Any], tasks: list[Any], *more: Any) -> Iterator[Any]:
        asked.append(len(tasks))
        return real(function, tasks, *more)

    monkeypatch.setattr(partitions, "run_all", run_all)
    return asked


def killed_after(work: str, folder: Path, finished: int) -> None:
    """The command, killed when so many partitions are recorded."""
    real = partitions.run_all

    def run_all(*given: Any) -> Iterator[Any]:
        for number, result in enumerate(real(*given)):
            if number == finished:
                raise Killed
            yield result

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(partitions, "run_all", run_all)
        made(work, folder)


def files(folder: Path, work: str) -> Path:
    """The folder in which a killed command left its partitions."""
    (found,) = folder.rglob(f".records/{work}")
    return found


@pytest.mark.parametrize("work", WORKS)
def test_a_restarted_command_takes_up_the_partitions_that_were_finished(
    work: str, tmp_path: Path, begun: list[int]
) -> None:
    expected = made(work, tmp_path / "calm")
    (total,) = begun
    assert total > 4
    killed_after(work, tmp_path / "killed", 3)
    assert made(work, tmp_path / "killed") == expected
    assert begun == [total, total, total - 3]


@pytest.mark.parametrize("work", WORKS)
def test_a_partition_that_was_changed_or_is_another_one_is_made_again(
    work: str, tmp_path: Path, begun: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = made(work, tmp_path / "calm")
    (total,) = begun
    killed_after(work, tmp_path / "killed", 3)
    damaged = files(tmp_path / "killed", work) / "1"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert made(work, tmp_path / "killed") == expected
    assert begun[2:] == [total - 2]

    killed_after(work, tmp_path / "other", 3)
    monkeypatch.setattr(band_partitions, "PARTITION_BYTES", 12 * 60)
    monkeypatch.setattr(repetition, "COUNTED_AT_ONCE", 6)
    assert made(work, tmp_path / "other") == expected
    assert begun[4] > total, "of the other ranges, none is known"


def test_a_command_killed_while_it_chooses_searches_for_no_candidate_again(
    tmp_path: Path, begun: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = made("candidates", tmp_path / "calm")

    def killed(*given: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(near, "write_pairs", killed)
        made("candidates", tmp_path / "killed")
    assert made("candidates", tmp_path / "killed") == expected
    assert begun == [begun[0], begun[0], 0]

"""Duplicates are the same for any number of partitions of the bands, wherever these are worked on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.curation.duplicates import band_partitions, clusters, near, selection, tidiness
from pipeline.curation.duplicates.band_partitions import BandTable, Partition, partitions
from pipeline.curation.duplicates.signature_tables import SignatureTable, write_signature_table
from pipeline.curation.duplicates.tidiness import FREQUENT
from pipeline.documents import execution
from pipeline.documents.execution import ExecutionSettings
from pipeline.documents.partitions import RANGES, by_range
from pipeline.store.artifact import RUN_SPECIFIC, Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from tests.curation.written_documents import raw_documents
from tests.making import IN_PROCESS, after, context

BANDS = 5
EDGES = np.random.default_rng(7).zipf(1.5, (2000, 8)).clip(0, 2**31).astype(np.uint32) * np.uint32(2654435761)


def values(documents: int, seed: int) -> np.ndarray:
    """Bands of so many documents, of which each value comes once or a few times; uint64 (BANDS, documents)."""
    draw = np.random.default_rng(seed)
    known = draw.integers(0, 2**64, documents, dtype=np.uint64, endpoint=False)
    return known[draw.integers(0, documents, (BANDS, documents))]


def bytes_for(partitions_: int, documents: int) -> int:
    """A limit on bytes that makes so many partitions, or a few more."""
    return -(-band_partitions.PLACED.itemsize * documents * BANDS // partitions_)


def tables(folder: Path, bands: np.ndarray, words: np.ndarray, parts: int) -> list[BandTable]:
    bounds = np.linspace(0, len(words), parts + 1).astype(int).tolist()
    found = []
    for first, end in pairwise(bounds):
        path = folder / f"{first}.parquet"
        number = end - first
        ids, none = np.arange(first, end, dtype=np.uint64), np.zeros((number, 1), np.uint32)
        looks = tidiness.empty(number)
        looks.edges[:] = EDGES[first:end]
        signed = SignatureTable(ids, ids, words[first:end], none, bands[:, first:end], looks)
        write_signature_table(signed, path)
        found.append(BandTable(path, first))
    return found


def pieces(parts: list[Partition]) -> int:
    """How many pieces of all bands are searched, one after the other or elsewhere."""
    return sum(part.ranges for part in parts)


@pytest.mark.parametrize("documents", [0, 1, 1000, 10**6, 10**7, 10**9])
def test_partitions_cover_every_band_once_and_are_bounded(documents: int) -> None:
    parts = partitions(documents, 18)
    assert sorted(band for part in parts for band in part.bands) == list(range(18))
    for part in parts:
        assert part.ranges == 1 or len(part.bands) == 1
        at_once = len(part.bands) * documents / part.ranges * band_partitions.PLACED.itemsize
        assert at_once <= band_partitions.PARTITION_BYTES
    assert len(parts) == 1 or documents > 1000


@pytest.mark.parametrize("wanted", [1, 3, 16])
def test_buckets_hold_the_same_documents_for_any_number_of_partitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: int
) -> None:
    documents = 2000
    bands, words = values(documents, 1), np.random.default_rng(2).integers(0, 4, documents)
    places = np.where(np.arange(documents) % 7, np.random.default_rng(3).permutation(documents), -1).astype(np.int32)
    monkeypatch.setattr(band_partitions, "PARTITION_BYTES", bytes_for(wanted, documents))
    assert wanted <= pieces(partitions(documents, BANDS)) <= wanted + BANDS
    draft = Draft(tmp_path / "draft", list, lambda line: None)
    found = clusters.find(draft, tables(tmp_path, bands, words, 3), documents, BANDS, IN_PROCESS)
    expected = selection.buckets(bands, np.where(words > 0, places, -1))
    assert len(expected) > 500
    written = selection.buckets(bands, np.where(words > 0, np.arange(documents), -1)) & np.uint64(0xFFFFFFFF)
    assert found.positions.tolist() == np.unique(written).tolist()
    assert as_sets(found.members(found.positions, places[found.positions])) == as_sets(expected)
    lines, counts = np.unique(EDGES, return_counts=True)
    assert found.frequent.tolist() == lines[counts > FREQUENT].tolist() and len(found.frequent) > 50


def test_a_table_is_read_once_for_each_band_however_many_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = band_partitions.read_columns
    monkeypatch.setattr(
        band_partitions, "read_columns", lambda path, names: read.append(path.name) or real(path, names)
    )
    found = tables(tmp_path, values(2000, 1), np.ones(2000, np.int64), 4)
    folder = tmp_path / "ranges"
    one_by_one = list(band_partitions.members(found, Partition((2,), 9), folder))
    assert len(one_by_one) == 9 and len(read) == 4 and not list(tmp_path.glob("ranges*"))
    (whole_band,) = band_partitions.members(found, Partition((2,), 1), folder)
    assert sorted(documents_of(one_by_one)) == sorted(documents_of([whole_band]))


def test_what_a_killed_task_left_of_its_ranges_is_not_read(tmp_path: Path) -> None:
    parts = [np.array([1, 2**63, 5], np.uint64), np.array([2**63 + 1], np.uint64)]
    folder = tmp_path / f"7{RANGES}"
    begun = by_range(iter(parts), lambda rows: rows, 4, folder)
    assert next(begun).tolist() == [1, 5]
    [left] = tmp_path.iterdir()
    (left / "2").write_bytes((left / "2").read_bytes() * 3)
    again = list(by_range(iter(parts), lambda rows: rows, 4, folder))
    assert [rows.tolist() for rows in again] == [[1, 5], [], [2**63, 2**63 + 1], []]
    assert len(next(begun)) == 0, "one that was taken for lost reads its own"
    assert list(tmp_path.iterdir()) == [left]
    assert list(by_range(iter([]), lambda rows: rows, 1, folder)) == []


def test_a_command_removes_what_killed_tasks_left_of_their_ranges(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "draft", list, lambda line: None)
    left = draft.scratch(clusters.FOLDER) / f"7{RANGES}-left"
    left.mkdir()
    (left / "0").write_bytes(b"rows")
    clusters.find(draft, tables(tmp_path, values(50, 1), np.ones(50, np.int64), 1), 50, BANDS, IN_PROCESS)
    assert not left.exists()


def documents_of(members: list[np.ndarray]) -> list[tuple[int, ...]]:
    return [documents for part in members for documents in as_sets(part)]


def test_documents_that_resemble_no_other_are_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict
) -> None:
    known = []
    load = near.load_corpus
    monkeypatch.setattr(near, "load_corpus", lambda *given: known.append(load(*given)) or known[-1])
    assert decided(tmp_path / "some", IN_PROCESS) == whole
    monkeypatch.setattr(near.Settings, "compares_candidates_only", lambda settings: False)
    assert decided(tmp_path / "all", IN_PROCESS) == whole
    some, every = known
    assert len(every) == 302 and 0 < len(some) < 250
    ids = set(some.ids(np.arange(len(some))))
    decisions = pl.read_parquet(tmp_path / "some" / "r" / near.ASSET / "*" / "*.parquet")
    assert set(decisions.filter(~pl.col("keep"))["doc_id"]) < ids


def as_sets(members: np.ndarray) -> set[tuple[int, ...]]:
    found: dict[int, list[int]] = {}
    for member in members.tolist():
        found.setdefault(member >> 32, []).append(member & 0xFFFFFFFF)
    assert all(len(documents) > 1 for documents in found.values()) and members.tolist() == sorted(members.tolist())
    return {tuple(documents) for documents in found.values()}


def rows() -> list[dict]:
    draw = np.random.default_rng(5)
    vocabulary = [f"word{number}" for number in range(500)]
    texts: list[list[str]] = []
    for number in range(300):
        text = draw.choice(vocabulary, 60).tolist() if number < 200 else list(texts[int(draw.integers(200))])
        text[int(draw.integers(60))] = "changed"
        texts.append(text)
    return [{"text": " ".join(text)} for text in [*texts, [], texts[0]]]


def decided(folder: Path, settings: ExecutionSettings, indexes: tuple[str, ...] = ()) -> dict:
    store = Store(folder, "r")
    made: Artifact = near.make(
        context(store, execution=settings), after(raw_documents(store, rows(), 4)), near.Settings(indexes=indexes)
    )
    assert not list(made.place(".").glob(".*"))  # what tasks handed to one another is gone
    assert made.counts["removed"]["near_duplicate"] > 50
    return {name: value for name, value in made.manifest.items() if name not in RUN_SPECIFIC}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return decided(tmp_path_factory.mktemp("whole"), IN_PROCESS)


@pytest.mark.parametrize("wanted", [3, 40])
def test_decisions_have_the_same_bytes_for_any_number_of_partitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict, wanted: int
) -> None:
    monkeypatch.setattr(band_partitions, "PARTITION_BYTES", 12 * 18 * 302 // wanted)
    assert pieces(partitions(302, 18)) >= wanted
    assert decided(tmp_path, IN_PROCESS) == whole


def test_decisions_have_the_same_bytes_where_processes_work_on_partitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict
) -> None:
    monkeypatch.setattr(band_partitions, "PARTITION_BYTES", 12 * 18 * 302 // 3)
    monkeypatch.setattr(execution, "WORTH_A_PROCESS_BYTES", 0)
    asked = []
    in_processes = execution._in_processes
    monkeypatch.setattr(execution, "_in_processes", lambda *task: asked.append(task[0]) or in_processes(*task))
    assert decided(tmp_path, ExecutionSettings(executor="processes", workers=2)) == whole
    assert clusters.write_part in asked

"""Killed, or refused by the disk, at any operation after new files: the same command ends with the bytes of all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.curation.filters import language
from pipeline.errors import UserError
from pipeline.ingest import raw_documents
from pipeline.store.artifact import CHANGES
from pipeline.store.store import Store
from tests.faults.harness import ERRORS, KILL, TORN, Disk, Killed
from tests.faults.kinds import leftovers
from tests.faults.test_kills import ALL
from tests.ingest.test_raw_documents import rows, source, write
from tests.making import after, context


def made(data: Path, folder: Path) -> list[str]:
    """Digests of the raw documents and of a stage."""
    store = Store(data, "r")
    raw = raw_documents.make(context(store), {}, [source(folder / "*")])
    return [raw.digest, language.STAGE.make(context(store), after(raw), language.Settings(allow=[])).digest]


@pytest.mark.parametrize("how", [KILL, TORN, "ENOSPC"])
def test_new_files_at_any_operation(tmp_path: Path, how: str) -> None:
    folder, base, data = tmp_path / "files", tmp_path / "base", tmp_path / "data"
    write(folder / "b.jsonl", rows(60))
    made(base, folder)
    write(folder / "a.jsonl", rows(6, 1))
    expected = made(tmp_path / "fresh", folder)

    def failing(at: int) -> Disk:
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(base, data)
        disk = Disk(data, at, how)
        with pytest.MonkeyPatch.context() as patch:
            disk.install(patch)
            try:
                made(data, folder)
            except Killed:
                assert how not in ERRORS
            except UserError as error:
                assert how in ERRORS and str(data) in str(error)
        return disk

    seen = failing(0).operations
    ours = [at for at, line in enumerate(seen, 1) if CHANGES in line or ".read.parquet" in line]
    assert len(ours) >= 6
    for at in range(1, len(seen) + 1) if ALL else ours[:: 1 if how == KILL else 3]:
        failing(at)
        assert made(data, folder) == expected, seen[at - 1]
        assert leftovers(data) == [], seen[at - 1]

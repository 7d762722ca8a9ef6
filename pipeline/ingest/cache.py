"""The cache beside the store, in which what was observed and fetched is kept; never part of an artifact.

One process at a time works on an entry: a sensor may look at a source while a job reads it, and `slm sources check` may
fetch what a job is fetching.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.ingest.records import Unreachable
from pipeline.store.artifact import canonical, digest
from pipeline.store.disk import sweep
from pipeline.store.draft import read_record
from pipeline.store.store import Store
from pipeline.store.tables import write_whole


def cache_of(store: Store) -> Path:
    """Where downloads and what is known of local files lie."""
    return Path(store.root) / ".sources"


@contextmanager
def alone(entry: Path) -> Iterator[None]:
    """Wait until no other process is at work on this entry. The kernel drops the lock with its owner."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    with open(entry.with_name(f"{entry.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def observed_or_remembered(
    entry: Path,
    label: str,
    settings: dict[str, Any],
    observe: Callable[[], dict[str, Any]],
    log: Callable[[str], None],
) -> dict[str, Any]:
    """What `observe` returns; where it raises Unreachable, what it returned the last time for the same settings.

    So without a network, whatever was made before is still answered from the store. Raises Unreachable where there was
    no last time.

    entry: where this is remembered. label: what the log calls the source.
    """
    note = entry.with_name(f"{entry.name}.observed.json")
    asked = digest(settings)
    with alone(entry):
        sweep(note)
        try:
            observed = observe()
        except Unreachable as error:
            remembered = read_record(note) or {}
            if remembered.get("asked") != asked:
                raise
            log(f"{label} cannot be reached, so it is taken to be unchanged ({error})")
            return remembered["observed"]
        write_whole(note, canonical({"asked": asked, "observed": observed}))
        return observed

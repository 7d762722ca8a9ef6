"""Prepares the databases that runs write to: Dagster's instance and MLflow's database.

Both are created here, once: the first use of a new MLflow database migrates it, which takes seconds and fails if two
runs do it at the same time. Running this again changes nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

DEVICE_POOL = "gpu"


def prepare(root: Path) -> None:
    """Create the run history, the device pool with one slot, and the MLflow database if it is local."""
    home = root / "dagster_home"
    os.environ.setdefault("DAGSTER_HOME", str(home))

    from dagster import DagsterInstance

    with DagsterInstance.get() as instance:
        instance.event_log_storage.set_concurrency_slots(DEVICE_POOL, 1)

    os.chdir(root)
    from pipeline import tracking

    tracking.prepare()
    (home / ".prepared").touch()


if __name__ == "__main__":
    prepare(Path(__file__).resolve().parent.parent)

"""What tests pass to the makers of artifacts: a quiet run in this process, and inputs by name."""

from __future__ import annotations

from typing import Any

from pipeline.context import RunContext
from pipeline.documents.execution import ExecutionSettings
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store

IN_PROCESS = ExecutionSettings(executor="in_process")


def context(store: Store, **changes: Any) -> RunContext:
    """A run that logs nothing, on the CPU, in this process."""
    given = {"log": lambda line: None, "device": "cpu", "execution": IN_PROCESS, **changes}
    return RunContext(store, **given)


def after(raw: Artifact, previous: Artifact | None = None, **further: Artifact) -> dict[str, Artifact]:
    """The inputs of a curation stage."""
    return {"raw_documents": raw, **({"previous": previous} if previous is not None else {}), **further}

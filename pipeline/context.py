"""What every making of an artifact is given beside its inputs and its settings.

Nothing in it may change what is made, but for the seed and the order of the sources, which are part of the settings of
whatever reads them: the rest says where an artifact is kept, where it is made and who watches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.documents.execution import ExecutionSettings
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store

Log = Callable[[str], None]
# A report on the way: figures by name.
Progress = Callable[[dict[str, Any]], None]
# The artifacts that another one is made of, by the name under which its maker knows them.
Inputs = Mapping[str, Artifact]


@dataclass(frozen=True)
class RunContext:
    """Where and for whom artifacts are made; the same for all artifacts of a run."""

    store: Store
    log: Log = print
    progress: Progress | None = None
    should_stop: Callable[[], bool] | None = None
    device: str = "auto"  # as the recipe names it: auto, cpu, cuda, mps
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    seed: int = 1
    sources: tuple[str, ...] = ()  # names of the recipe's sources in their order: of copies, the first one stays

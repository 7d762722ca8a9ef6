"""What the maker of an artifact receives in addition to inputs and settings.

Only the seed and the order of sources may change what is made, and they count among the settings of whatever reads
them. The rest says where artifacts are stored, where they are computed and how progress is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.documents.execution import ExecutionSettings
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store

Log = Callable[[str], None]
# A progress report: figures by name.
Progress = Callable[[dict[str, Any]], None]
# The artifacts that another one is made from, by the names that its maker uses.
Inputs = Mapping[str, Artifact]


@dataclass(frozen=True)
class RunContext:
    """How artifacts are made; the same for all artifacts of a run."""

    store: Store
    log: Log = print
    progress: Progress | None = None
    should_stop: Callable[[], bool] | None = None
    device: str = "auto"  # as in the recipe: auto, cpu, cuda, mps
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    seed: int = 1
    replays: bool = True  # whether a training may begin in a state that an earlier one left, and leave such states
    sources: tuple[str, ...] = ()  # in the recipe's order: of duplicates, the document of the first source is kept
    experiment: str = ""  # that this run is a cell of, for MLflow
    cell: str = ""  # and what tells that cell from the others

"""A ladder: checkpoints of a run that stay after its end, so that what is forgotten costs only the steps after it.

With rungs at c(0) = 0, c(1), ... before the end T of a run, and something that was first learned in step a (from 0), a
training that has its slots empty (`slots.py`) begins at the last rung that is not after a. The rungs are as far apart
as they can be so that it never takes more than 1 + `ladder` times the T - a steps that differ:

    T - c(k) <= (1 + ladder) (T - (c(k + 1) - 1)),   so about   c(k) = T (1 - (1 + ladder)^-k).

Ladders lie beside the versions of a model, and are no part of any artifact:

    <asset>/.ladders/<version>/ladder.json         what the run was: see `Run`
    <asset>/.ladders/<version>/step-00000120/      a checkpoint, as `checkpoint.py` writes it

A rung is used for another run only if the state that it holds is the one that the other run would come to: made of the
same data by the same code with the same settings, on the same kind of machine, in the same micro-batches, and with the
same slots empty in every step before it. `slm store prune` deletes a ladder with its version.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.files import write_whole
from pipeline.store.artifact import canonical
from pipeline.store.draft import link, read_record
from pipeline.training import checkpoint, kept_weights
from pipeline.training.slots import Places

if TYPE_CHECKING:
    from pipeline.context import Log

ABOUT = "ladder.json"
BYTES_A_PARAMETER = 12  # in a checkpoint: the weight and two moments in fp32 (AdamW; with Muon at most as much)


@dataclass(frozen=True)
class Run:
    """What a ladder's run was, as far as its checkpoints depend on it."""

    family: str  # digest of all that the model is made of, but its slots
    machine: Mapping[str, Any]  # what the bytes depend on besides: processor, versions, threads, micro-batches
    places: Places  # the slots that it left empty

    def record(self) -> dict[str, Any]:
        return {"family": self.family, "machine": dict(self.machine), "places": sorted(map(list, self.places))}


def steps_of(steps: int, share: float) -> list[int]:
    """The steps of the rungs of a run of `steps` steps, ascending, with at most `share` more steps than necessary.

    Step 0 is none of them: what a run begins with is made anew. Empty for a share of 0.
    """
    found: list[int] = []
    step = 0
    while share:
        step = int(steps + 1 - (steps - step) / (1 + share) + 1e-9)  # at least one more than before
        if step >= steps:
            break
        found.append(step)
    return found


def size_of(parameters: int, steps: int, share: float, averaged: bool) -> tuple[int, int]:
    """(rungs, bytes at most) of the ladder of a run. averaged: whether it keeps a running average of the weights."""
    rungs = len(steps_of(steps, share))
    return rungs, rungs * parameters * (BYTES_A_PARAMETER + 4 * averaged)


@dataclass(frozen=True)
class Start:
    """Where a run begins: after `step` steps, in the state of the last of some checkpoints."""

    step: int
    checkpoints: list[Path]  # of one ladder, up to that step
    weights: list[Path]  # that its run kept before that step (kept_weights.py)


def best_start(
    ladders: Path, run: Run, first_difference: Callable[[Places], int], kept_steps: frozenset[int], log: Log
) -> Start | None:
    """The latest state in which a run may begin, of all ladders in a folder; None if there is none.

    first_difference: the first step (from 0) in which batches differ if these slots are empty and not full. kept_steps:
    after which weights are to be kept; those of steps before the rung come from the version of the ladder.
    """
    found: Start | None = None
    for ladder, earlier in _of_family(ladders, run, log):
        weights = dict(kept_weights.kept(ladders.parent / ladder.name))
        missing = kept_steps - weights.keys()
        last = min([first_difference(earlier.places ^ run.places), *missing])
        places = [
            place
            for place in checkpoint.all_in(ladder)
            if checkpoint.step_of(place) <= last and not checkpoint.problem(place)
        ]
        if places and checkpoint.step_of(places[-1]) > (found.step if found else 0):
            step = checkpoint.step_of(places[-1])
            found = Start(
                step, places, [path for at, path in sorted(weights.items()) if at in kept_steps and at < step]
            )
    return found


def begin_at(start: Start, draft: Path, checkpoints: Path, ladder: checkpoint.Ladder | None) -> None:
    """Give a run that is made in `draft` the state to begin with, and its own ladder the rungs before it."""
    for place in start.checkpoints:
        if ladder is not None and place.parent != ladder.directory:
            checkpoint.linked(place, ladder.directory / place.name)
    for place in _to_begin_with(start.checkpoints):
        checkpoint.linked(place, checkpoints / place.name, untracked=True)
    for path in start.weights:
        (draft / kept_weights.FOLDER).mkdir(exist_ok=True)
        link(path, draft / kept_weights.FOLDER / path.name)


def describe(directory: Path, run: Run) -> None:
    """Write what a ladder's run is."""
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / ABOUT, canonical(run.record()))


# -- parts -------------------------------------------------------------------------------------------------------------


def _of_family(ladders: Path, run: Run, log: Log) -> Iterator[tuple[Path, Run]]:
    """The ladders that this run may begin on, with what their runs were."""
    for ladder in sorted(ladders.glob("*")):
        known = read_record(ladder / ABOUT)
        if known is None or known.get("family") != run.family:
            continue
        now = json.loads(canonical(dict(run.machine)))
        if known["machine"] != now:
            changed = [
                name for name in sorted({*now, *known["machine"]}) if now.get(name) != known["machine"].get(name)
            ]
            log(
                f"the checkpoints of {ladder.name} were made elsewhere ({', '.join(changed)} differ): they are not used"
            )
            continue
        yield ladder, Run(run.family, known["machine"], frozenset((table, row) for table, row in known["places"]))


def _to_begin_with(places: list[Path]) -> list[Path]:
    """The last of some checkpoints, and before it the one with the lowest validation loss."""
    losses = [(checkpoint.read_state(place).get("validation_loss"), place) for place in places]
    validated = [(loss, place) for loss, place in losses if loss is not None]
    return sorted({places[-1], *([min(validated)[1]] if validated else [])})

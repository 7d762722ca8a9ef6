"""Checkpoints: atomic, written in the background, and sufficient to resume a run exactly.

The batch, the learning rate and the randomness of dropout are pure functions of the step. A checkpoint holds the rest:
the weights, the optimiser's state, the step, the log so far, the state of the loss scaler, the skipped batches and the
id of the MLflow run. Tensors are stored as safetensors, the rest as JSON and Parquet; nothing is unpickled.

    checkpoints/step-00000120/{model,optimiser,average}.safetensors, log.parquet, state.json

Where weights are sharded, each process writes its part of the tensors instead (`checkpoint_parts.py`).

A checkpoint is written under a temporary name, flushed and renamed, so one with its final name is complete. Its state
has the hash of every file and of itself, and it is used only if they hold: a damaged one gives way to the one before.
"""

from __future__ import annotations

import json
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import xxhash

from model.files import flush, write_whole
from pipeline.store import bytes_check
from pipeline.store.artifact import canonical
from pipeline.store.bytes_check import HASH, Damaged
from pipeline.store.draft import link, read_record

if TYPE_CHECKING:
    import torch

STATE = "state.json"
FILES = "files"  # key of the state: size and fast hash of all other files, by name
PARTS = "parts"  # key of the state: how many processes have written the tensors in parts; absent if they are whole
ALWAYS = ("log.parquet", STATE)  # files of every checkpoint
WHOLE = "model.safetensors"  # and of those that are not in parts

Tensors = dict[str, "torch.Tensor"]
Entry = dict[str, int | str]  # of a file: its size and fast hash


@dataclass(frozen=True)
class Ladder:
    """The ladder that a run leaves (ladder.py): checkpoints that stay after its end."""

    directory: Path
    steps: frozenset[int]  # of its rungs
    with_best: bool  # whether the run may end with its best checkpoint, which a rung then needs too

    def keep(self, place: Path, best: Path | None) -> None:
        """Keep a checkpoint of the run if it is a rung. best: the one with the lowest validation loss so far."""
        if step_of(place) not in self.steps:
            return
        for one in (best if self.with_best else None, place):
            if one is not None:
                target = self.directory / one.name
                if not (target / STATE).exists() or _changed(one, target):
                    linked(one, target)

    def drop_after(self, step: int) -> None:
        """Delete the checkpoints later than `step`: the run went back there, and does not come to them again."""
        for place in all_in(self.directory):
            if step_of(place) > step:
                shutil.rmtree(place)


class Checkpoints:
    """The checkpoints of one run, in one directory."""

    def __init__(self, directory: Path, keep: int, ladder: Ladder | None = None):
        self.directory = directory
        self.keep = keep
        self.ladder = ladder
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        for unfinished in directory.glob("*.part"):
            shutil.rmtree(unfinished)
        for place in self.all():  # a kill may have come between a checkpoint and its place on the ladder
            self._keep_on_ladder(place)

    def save(self, step: int, tensors: dict[str, Tensors], log: list[dict[str, Any]], state: dict[str, Any]) -> None:
        """Copy everything now and write it in the background. A checkpoint waits until the one before it is written.

        tensors: named tensors by group (model, optimiser, average). state: anything that JSON can represent.
        """
        copies = {
            group: {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in members.items()}
            for group, members in tensors.items()
            if members
        }
        table = log_table(log)
        self.wait()
        self._pending = self._writer.submit(self._write, step, copies, table, dict(state))

    def _write(self, step: int, tensors: dict[str, Tensors], log: pl.DataFrame, state: dict[str, Any]) -> None:
        from safetensors.torch import save_file

        part = self._begun(step)
        for group, members in tensors.items():
            save_file(members, part / f"{group}.safetensors")
        self._complete(part, log, state, {path.name: described(path) for path in sorted(part.iterdir())})

    def begin(self, step: int) -> Path:
        """The empty folder for the parts of a checkpoint, once the checkpoint before it is written."""
        self.wait()
        return self._begun(step)

    def complete(self, part: Path, log: list[dict[str, Any]], state: dict[str, Any], parts: dict[str, Entry]) -> None:
        """Finish a checkpoint that `begin` began. parts: size and hash of the files that are in its folder."""
        self._complete(part, log_table(log), state, parts)

    def _begun(self, step: int) -> Path:
        part = self.directory / f"step-{step:08d}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        return part

    def _complete(self, part: Path, log: pl.DataFrame, state: dict[str, Any], parts: dict[str, Entry]) -> None:
        place = part.with_suffix("")
        log.write_parquet(part / "log.parquet")
        hashes = {**parts, "log.parquet": described(part / "log.parquet")}
        known = json.loads(json.dumps({**state, "step": step_of(place), FILES: hashes}))
        write_whole(part / STATE, canonical({**known, HASH: own_hash(known)}))
        for path in [*(part / name for name in sorted(hashes)), part]:
            flush(path)
        if place.exists():  # the same step, saved before its validation
            earlier = place.with_suffix(".earlier.part")
            place.rename(earlier)
            part.rename(place)
            shutil.rmtree(earlier)
        else:
            part.rename(place)
        flush(self.directory)
        self._keep_on_ladder(place)
        self._prune()

    def _keep_on_ladder(self, place: Path) -> None:
        if self.ladder is not None:
            self.ladder.keep(place, self.best())

    def _prune(self) -> None:
        """Delete all but the newest checkpoints and the best one by validation loss."""
        places = self.all()
        kept = set(places[-self.keep :])
        best = self.best()
        if best is not None:
            kept.add(best)
        for place in places:
            if place not in kept:
                deleted = place.with_suffix(".part")  # renamed first: a half-deleted checkpoint must not keep its name
                place.rename(deleted)
                shutil.rmtree(deleted)

    def wait(self) -> None:
        """Wait until the last checkpoint is on disk. Raises any error from writing it."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def all(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return all_in(self.directory)

    def latest(self) -> Path | None:
        return next(reversed(self.all()), None)

    @staticmethod
    def tracking_run(directory: Path) -> str | None:
        """Id of the MLflow run of the newest checkpoint in `directory`; None if there is no checkpoint."""
        places = sorted(path for path in directory.glob("step-*") if path.suffix != ".part")
        states = (read_record(place / STATE) for place in reversed(places))
        return next((state["tracking"] for state in states if state and "tracking" in state), None)

    def best(self) -> Path | None:
        """The checkpoint with the lowest validation loss; of equal ones, the earliest."""
        losses = [(read_state(place).get("validation_loss"), place) for place in self.all()]
        validated = [(loss, place) for loss, place in losses if loss is not None]
        return min(validated)[1] if validated else None

    def drop_damaged(self, select_best: bool) -> list[str]:
        """Delete checkpoints that are damaged, so that the run goes on from one before them; returns what to log.

        select_best: whether the run ends with the best checkpoint. Then the run goes back to before all that are
        damaged, since one of them may have been the best. Raises Damaged if no checkpoint is left to go on from.
        """
        places = self.all()
        damaged = {place: wrong for place in places if (wrong := problem(place))}
        if not damaged:
            return []
        intact = [place for place in places if place not in damaged and not (select_best and place > min(damaged))]
        told = [f"the checkpoint {place.name} is damaged ({wrong})" for place, wrong in damaged.items()]
        if not intact:
            raise Damaged(
                f"In {self.directory}, {', and '.join(told)}, and there is none before to go on from: delete that "
                "folder, and the same command trains from the start."
            )
        for place in reversed(places):
            if place in damaged or place > intact[-1]:
                shutil.rmtree(place)
        return told

    def drop_after(self, step: int) -> None:
        """Remove checkpoints later than `step`, but never the first one, so that there is one to roll back to."""
        self.wait()
        for place in reversed(self.all()[1:]):
            if read_state(place)["step"] > step:
                shutil.rmtree(place)
        if self.ladder is not None:
            self.ladder.drop_after(step)

    def remove(self) -> None:
        """Remove all checkpoints, once the run is finished and its model is written."""
        self.wait()
        self._writer.shutdown()
        shutil.rmtree(self.directory)

    def close(self) -> None:
        try:
            self.wait()
        finally:
            self._writer.shutdown()


def all_in(directory: Path) -> list[Path]:
    """The complete checkpoints in a folder, the earliest first."""
    return sorted(path for path in directory.glob("step-*") if path.suffix != ".part")


def described(path: Path) -> Entry:
    """The entry of a file of a checkpoint in its state."""
    return {"bytes": path.stat().st_size, HASH: bytes_check.fast_hash(path)}


def step_of(place: Path) -> int:
    return int(place.name.removeprefix("step-"))


def read_state(place: Path) -> dict[str, Any]:
    return json.loads((place / STATE).read_text())


def problem(place: Path) -> str | None:
    """What is wrong with a checkpoint, in words; None if every file has its hash.

    A checkpoint of an older version has no hashes, so nobody can tell; `SLM_CHECK=off` takes it as it is.
    """
    state = read_record(place / STATE)
    needed = [*ALWAYS, *([] if state and PARTS in state else [WHOLE])]
    missing = [name for name in needed if not (place / name).exists()]
    if missing:
        return f"{missing[0]} is missing"
    if not bytes_check.enabled():
        return None
    if state is None or state.pop(HASH, None) != own_hash(state):
        return f"{STATE} {bytes_check.CHANGED}"
    wrong = ((name, bytes_check.problem(place / name, entry)) for name, entry in state[FILES].items())
    return next((f"{name} {found}" for name, found in wrong if found), None)


def linked(source: Path, target: Path, untracked: bool = False) -> None:
    """The checkpoint `source` under another name, without copying. untracked: without the id of its MLflow run."""
    part = target.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        if path.name != STATE or not untracked:
            link(path, part / path.name)
            continue
        state = read_state(source)
        state.pop(HASH)
        state["tracking"] = ""
        write_whole(part / STATE, canonical({**state, HASH: own_hash(state)}))
    flush(part)
    if target.exists():
        shutil.rmtree(target)
    part.rename(target)
    flush(target.parent)


def _changed(place: Path, other: Path) -> bool:
    """Whether two checkpoints of one step differ in anything but the run that tracked them."""
    return (place / STATE).read_bytes() != (other / STATE).read_bytes()


def own_hash(state: dict[str, Any]) -> str:
    """The hash of a state without its own."""
    return xxhash.xxh3_128_hexdigest(canonical(state).encode())


def refuse_damaged(place: Path) -> None:
    """Raises Damaged if the checkpoint is not what was written."""
    wrong = problem(place)
    if wrong:
        raise Damaged(f"The checkpoint {place} is damaged ({wrong}): run the same command again.")


def read_tensors(place: Path, group: str) -> Tensors:
    """Named tensors of one group, on the CPU; empty if the checkpoint has no such group."""
    if PARTS in read_state(place):
        from pipeline.training import checkpoint_parts

        return checkpoint_parts.read_whole(place, group)
    from safetensors.torch import load_file

    path = place / f"{group}.safetensors"
    return load_file(path) if path.exists() else {}


def read_log(place: Path) -> list[dict[str, Any]]:
    return pl.read_parquet(place / "log.parquet").to_dicts()


LOG_COLUMNS = {
    "step": pl.Int64, "tokens": pl.Int64, "loss": pl.Float64, "learning_rate": pl.Float64, "grad_norm": pl.Float64,
    "skipped": pl.Boolean, "validation_loss": pl.Float64, "bits_per_byte": pl.Float64,
}  # fmt: skip


def log_table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """The log of a run, one row per step: the columns of every run, then those of its objective."""
    further = sorted({name for row in rows for name in row} - LOG_COLUMNS.keys())
    return pl.DataFrame(rows, schema={**LOG_COLUMNS, **dict.fromkeys(further, pl.Float64)})

"""Checkpoints: whole or absent, written in the background, and enough to go on as if nothing had happened.

A batch is a pure function of the step, and so are the learning rate and the randomness of dropout. What is left to
remember is small: the weights, the optimiser's averages, the step, the log so far, the loss scaler, the batches that
were left out, and which MLflow run this is. Tensors go to safetensors and the rest to JSON and Parquet, so nothing is
unpickled.

    checkpoints/step-00000120/{model,optimiser,average}.safetensors, log.parquet, state.json

A checkpoint is written beside its place, flushed, and renamed: one that has its name is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.store.tables import write_whole

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]


class Checkpoints:
    """The checkpoints of one run, in one directory."""

    def __init__(self, directory: Path, keep: int):
        self.directory = directory
        self.keep = keep
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        for unfinished in directory.glob("*.part"):
            shutil.rmtree(unfinished)

    def save(self, step: int, tensors: dict[str, Tensors], log: list[dict[str, Any]], state: dict[str, Any]) -> None:
        """Copy everything now, write it in the background. At most one is being written; the next waits for it.

        `tensors` are groups (model, optimiser, average) of named tensors; `state` is anything that JSON can hold.
        """
        copies = {
            group: {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in members.items()}
            for group, members in tensors.items()
            if members
        }
        table = log_table(log)
        self.wait()
        self._pending = self._writer.submit(self._write, step, copies, table, dict(state, step=step))

    def _write(self, step: int, tensors: dict[str, Tensors], log: pl.DataFrame, state: dict[str, Any]) -> None:
        from safetensors.torch import save_file

        place = self.directory / f"step-{step:08d}"
        part = place.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for group, members in tensors.items():
            save_file(members, part / f"{group}.safetensors")
        log.write_parquet(part / "log.parquet")
        write_whole(part / "state.json", json.dumps(state, sort_keys=True))
        for path in [*part.iterdir(), part]:
            flush(path)
        if place.exists():  # the same step, saved before its measurement on validation data
            earlier = place.with_suffix(".earlier.part")
            place.rename(earlier)
            part.rename(place)
            shutil.rmtree(earlier)
        else:
            part.rename(place)
        flush(self.directory)
        self._prune()

    def _prune(self) -> None:
        """Keep the newest, and the best by validation loss."""
        places = self.all()
        wanted = set(places[-self.keep :])
        best = self.best()
        if best is not None:
            wanted.add(best)
        for place in places:
            if place not in wanted:
                doomed = place.with_suffix(".part")  # a rename first: a half-deleted checkpoint must not have its name
                place.rename(doomed)
                shutil.rmtree(doomed)

    def wait(self) -> None:
        """Until the last checkpoint is on the disk; raises what went wrong in writing it."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def all(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(path for path in self.directory.glob("step-*") if path.suffix != ".part")

    def latest(self) -> Path | None:
        return next(reversed(self.all()), None)

    @staticmethod
    def tracked(directory: Path) -> str | None:
        """Id of the MLflow run of the newest checkpoint in `directory`, where there is one."""
        places = sorted(path for path in directory.glob("step-*") if path.suffix != ".part")
        return read_state(places[-1])["tracking"] if places else None

    def best(self) -> Path | None:
        """The checkpoint of the lowest validation loss, the earlier one where two are equal."""
        measured = [(read_state(place).get("validation_loss"), place) for place in self.all()]
        found = [(loss, place) for loss, place in measured if loss is not None]
        return min(found)[1] if found else None

    def drop_after(self, step: int) -> None:
        """Remove checkpoints later than `step`, but never the only one: the run goes back to before it."""
        self.wait()
        for place in reversed(self.all()[1:]):
            if read_state(place)["step"] > step:
                shutil.rmtree(place)

    def remove(self) -> None:
        """All of them: the run is finished and its model is written."""
        self.wait()
        self._writer.shutdown()
        shutil.rmtree(self.directory)

    def close(self) -> None:
        try:
            self.wait()
        finally:
            self._writer.shutdown()


def read_state(place: Path) -> dict[str, Any]:
    return json.loads((place / "state.json").read_text())


def read_tensors(place: Path, group: str) -> Tensors:
    """Named tensors of one group, on the CPU; empty where the checkpoint has no such group."""
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
    """The log of a run, one row a step: columns that every run has, then those of its objective."""
    further = sorted({name for row in rows for name in row} - LOG_COLUMNS.keys())
    return pl.DataFrame(rows, schema={**LOG_COLUMNS, **dict.fromkeys(further, pl.Float64)})


def flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Checkpoints: atomic, written in the background, and sufficient to resume a run exactly.

The batch, the learning rate and the randomness of dropout are pure functions of the step. A checkpoint holds the rest:
the weights, the optimiser's state, the step, the log so far, the state of the loss scaler, the skipped batches and the
id of the MLflow run. Tensors are stored as safetensors, the rest as JSON and Parquet; nothing is unpickled.

    checkpoints/step-00000120/{model,optimiser,average}.safetensors, log.parquet, state.json

A checkpoint is written under a temporary name, flushed and renamed, so one with its final name is complete.
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
        if place.exists():  # the same step, saved before its validation
            earlier = place.with_suffix(".earlier.part")
            place.rename(earlier)
            part.rename(place)
            shutil.rmtree(earlier)
        else:
            part.rename(place)
        flush(self.directory)
        self._prune()

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
        return sorted(path for path in self.directory.glob("step-*") if path.suffix != ".part")

    def latest(self) -> Path | None:
        return next(reversed(self.all()), None)

    @staticmethod
    def tracking_run(directory: Path) -> str | None:
        """Id of the MLflow run of the newest checkpoint in `directory`; None if there is no checkpoint."""
        places = sorted(path for path in directory.glob("step-*") if path.suffix != ".part")
        return read_state(places[-1])["tracking"] if places else None

    def best(self) -> Path | None:
        """The checkpoint with the lowest validation loss; of equal ones, the earliest."""
        losses = [(read_state(place).get("validation_loss"), place) for place in self.all()]
        validated = [(loss, place) for loss, place in losses if loss is not None]
        return min(validated)[1] if validated else None

    def drop_after(self, step: int) -> None:
        """Remove checkpoints later than `step`, but never the first one, so that there is one to roll back to."""
        self.wait()
        for place in reversed(self.all()[1:]):
            if read_state(place)["step"] > step:
                shutil.rmtree(place)

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


def read_state(place: Path) -> dict[str, Any]:
    return json.loads((place / "state.json").read_text())


def read_tensors(place: Path, group: str) -> Tensors:
    """Named tensors of one group, on the CPU; empty if the checkpoint has no such group."""
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


def flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The log-probabilities of answers under the reference model, which preference tuning measures every gain against.

They are computed before the first step, only for the pairs that the run uses, by the function that training uses. The
ranks share the work. What was computed is kept in the artifact as `reference/<split>-<number>.parquet` (pair, chosen,
rejected), in parts of PART pairs: a run that is resumed, or made again with another beta, reads it, and one that is
killed in the middle resumes with the part that it was at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipeline.store.artifact import digest
from pipeline.store.tables import write_table
from pipeline.training.data.by_length import ROUND_TO
from pipeline.training.data.pairs import Pairs, batch_of
from pipeline.training.stopping import Stopped

if TYPE_CHECKING:
    import torch

    from pipeline.training.model_artifact import TrainingProcess
    from pipeline.training.objectives.objective import Batch

PART = 16_384  # pairs in a file: some minutes of work on one device
SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class Reference:
    """How reference log-probabilities are computed."""

    score: Callable[[Batch], torch.Tensor]  # log-probabilities [rows] of a batch's answers, without gradients
    batch_tokens: int  # at most, padding included; a pair that is longer is scored alone
    made_of: Mapping[str, Any]  # everything that they depend on, besides the numbers of the pairs

    def fill(self, process: TrainingProcess, split: str, pairs: Pairs, numbers: np.ndarray) -> None:
        """Set `pairs.reference` for the pairs of these numbers, on every rank.

        Raises Stopped if a stop was requested on any rank; the parts that are finished stay in the draft.
        """
        ordered = numbers[np.argsort(pairs.lengths[numbers], kind="stable")]  # pairs of like length share a batch
        progress = Progress(process, len(numbers))
        for part, start in enumerate(range(0, len(ordered), PART)):
            members = ordered[start : start + PART]
            name, key = f"reference/{split}-{part}", {**self.made_of, "split": split, "pairs": digest(members.tolist())}
            known = process.draft.recall(name, key) is not None if process.ranks.first else False
            if process.ranks.broadcast(known):
                scores = process.ranks.broadcast(_read(process, name) if process.ranks.first else None)
            else:
                scores = self._computed(process, pairs, members, progress)
                if process.ranks.first:
                    _write(process, name, key, members, scores)
            pairs.reference[members] = scores

    def _computed(self, process: TrainingProcess, pairs: Pairs, members: np.ndarray, progress: Progress) -> np.ndarray:
        """Log-probabilities [members, 2] in float32. Every rank computes some of the batches and gets all results.

        The batches do not depend on the number of ranks, so neither do the results.
        """
        import torch

        from pipeline.training import transfer

        ranks = process.ranks
        scores = np.zeros((len(members), 2), np.float64)
        for number, (start, end) in enumerate(batches(pairs.lengths[members], self.batch_tokens)):
            if number % ranks.world == 0:
                progress.report(end - start)
            if number % ranks.world != ranks.rank:
                continue
            batch = transfer.send(batch_of(pairs, members[start:end]), process.device)
            with torch.no_grad():
                chosen, rejected = self.score(batch).float().cpu().chunk(2)
            scores[start:end] = torch.stack([chosen, rejected], 1).numpy()
        return ranks.total_of(scores).astype(np.float32)


class Progress:
    """A line in the log every SECONDS_BETWEEN_LINES, and the question whether to stop."""

    def __init__(self, process: TrainingProcess, pairs: int):
        self.process, self.pairs, self.done, self.reported = process, pairs, 0, time.monotonic()

    def report(self, scored: int) -> None:
        """Called on every rank before each round of batches. Raises Stopped if any rank was asked to stop."""
        should_stop = self.process.context.should_stop
        asked = should_stop is not None and should_stop()
        if self.process.ranks.total(float(asked))[0]:
            raise Stopped("preference tuning stopped before its first step; the same command starts it again.")
        if time.monotonic() - self.reported > SECONDS_BETWEEN_LINES:
            self.reported = time.monotonic()
            self.process.log(f"reference log-probabilities: {self.done:,} of {self.pairs:,} pairs")
        self.done += scored * self.process.ranks.world


def batches(lengths: np.ndarray, batch_tokens: int) -> list[tuple[int, int]]:
    """(start, end) of batches of consecutive pairs whose two padded rows each take at most `batch_tokens` in all.

    lengths: of the pairs, ascending.
    """
    found, start = [], 0
    for end in range(1, len(lengths) + 1):
        following = lengths[end] if end < len(lengths) else None
        if following is None or 2 * (end + 1 - start) * -(-(following - 1) // ROUND_TO) * ROUND_TO > batch_tokens:
            found.append((start, end))
            start = end
    return found


def _read(process: TrainingProcess, name: str) -> np.ndarray:
    table = pl.read_parquet(process.draft.path(f"{name}.parquet"))
    return table.select("chosen", "rejected").to_numpy()


def _write(process: TrainingProcess, name: str, key: dict[str, Any], members: np.ndarray, scores: np.ndarray) -> None:
    columns = {"pair": members.astype(np.uint32), "chosen": scores[:, 0], "rejected": scores[:, 1]}
    write_table(pl.DataFrame(columns), process.draft.path(f"{name}.parquet"))
    process.draft.record(name, key, rows=len(members), facts={})

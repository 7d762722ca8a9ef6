"""What this machine was measured at: how much faster bf16 is than fp32, and how long a step takes.

Flags of a processor do not say it: one with AMX, and one with avx512_bf16 alone, multiply in bf16 twice as fast as in
fp32; one with neither takes three times as long. So the products of the model's own shapes are timed once, and what was
found is kept in one small file for each kind of machine:

    $SLM_DATA/.machine/<key>.json      key: CPU model, torch's version, number of threads

The recorded figure decides from then on, so two runs on one machine never choose differently. A file that is missing or
damaged is measured again. Nothing of it is part of a fingerprint.
"""

from __future__ import annotations

import fcntl
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.config import ModelConfig
from pipeline.store.artifact import digest
from pipeline.store.made_on import cpu_model
from pipeline.store.tables import write_whole

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pipeline.store.store import Store

FOLDER = ".machine"
ROWS = 512  # tokens in the products that are timed: the loss takes no fewer at once
ROUNDS, FEWEST, SECONDS = 9, 3, 1.5  # for each question at most so many rounds, or so long, but at least so few
DECODED = 12  # tokens that are decoded to time it
FORMATS = ("fp32", "bf16")
Figures = dict[str, float]


@dataclass(frozen=True)
class Machine:
    """What is known of the machine that this process runs on. Without a `folder`, nothing outlives the process."""

    folder: Path | None = None
    kept: dict[str, Figures] = field(default_factory=dict, compare=False)

    @staticmethod
    def beside(store: Store) -> Machine:
        """The file beside the artifacts of a store (of one in object storage: in its local mirror)."""
        return Machine(store.root / FOLDER)

    def recall(
        self,
        question: str,
        shape: Any,
        measure: Callable[[], Figures],
        keep: Callable[[Figures], bool] = lambda found: True,
    ) -> Figures:
        """The recorded answer to `question` for `shape` (a JSON value), or else what `measure` finds.

        That is recorded if `keep` says so, as it must for what decides how a run is carried out. One process measures
        at a time; another that asks the same then reads the answer. Where the folder cannot be written, the answer is
        kept in this process.
        """
        name = f"{question} {digest(shape)[:16]}"
        if name in self.kept:
            return self.kept[name]
        try:
            with self._locked() as path:
                known = read(path) if path else {}
                found = known.get(name)
                if found is None:
                    found = measure()
                    if path and keep(found):
                        kind = {"machine": kind_of_machine(), "measured": {**known, name: found}}
                        write_whole(path, json.dumps(kind, indent=1, sort_keys=True) + "\n")
        except OSError:
            found = measure()
        self.kept[name] = found
        return found

    @contextmanager
    def _locked(self) -> Iterator[Path | None]:
        """The file of this kind of machine, for this process alone."""
        if self.folder is None:
            yield None
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{digest(kind_of_machine())[:16]}.json"
        with open(path.with_suffix(".lock"), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield path


def read(path: Path) -> dict[str, Figures]:
    """The answers in a machine's file; none if it is missing or damaged, and none that is not a positive number."""
    try:
        content = json.loads(path.read_text())["measured"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: figures for name, figures in content.items() if usable(figures)} if type(content) is dict else {}


def usable(figures: Any) -> bool:
    return (
        isinstance(figures, dict)
        and bool(figures)
        and all(isinstance(value, (int, float)) and value > 0 and math.isfinite(value) for value in figures.values())
    )


def kind_of_machine() -> dict[str, str | int]:
    """What a measurement holds for: processor, torch's version, threads of this process."""
    import torch

    return {"cpu": cpu_model(), "torch": torch.__version__, "threads": torch.get_num_threads()}


# -- how much faster bf16 is -------------------------------------------------------------------------------------------


def bf16_gain(machine: Machine, config: ModelConfig) -> float:
    """How many times as fast as in fp32 the network's matrix products are in bf16, forward and backward."""
    shapes = matrix_shapes(config)
    found = machine.recall("products", shapes, lambda: compared(lambda kind: products(shapes, kind)))
    return found["fp32"] / found["bf16"]


def muon_gain(machine: Machine, config: ModelConfig) -> float:
    """How many times as fast as in fp32 Muon's rounds of multiplications are in bf16."""
    shapes = [shape for shape in matrix_shapes(config) if shape[:2] != [config.vocab_size, config.width]]
    found = machine.recall("muon", shapes, lambda: compared(lambda kind: rounds(shapes, kind)))
    return found["fp32"] / found["bf16"]


def decoding_gain(machine: Machine, network: Any) -> float:
    """How many times as fast as in fp32 the network, on a CPU, generates in bf16, one text at a time."""
    import copy

    import torch

    from model.decoding import arrange, release
    from model.generate import generate

    def measure() -> Figures:
        networks = {"fp32": arrange(network), "bf16": arrange(in_format(copy.deepcopy(network), torch.bfloat16))}

        def decode(kind: str) -> None:
            list(generate(networks[kind], [0], max_new=min(DECODED, network.config.context - 1)))

        figures = compared(decode)
        release(network)
        return figures

    shape = network.config.model_dump(mode="json", exclude={"dropout"})
    found = machine.recall("decoding, arranged", shape, measure)
    return found["fp32"] / found["bf16"]


def in_format(network: Any, dtype: torch.dtype) -> Any:
    """The network with its weights in `dtype`, in place; a table of positions stays in fp32."""
    network.to(dtype)
    if network.position_table is not None:
        network.position_table = network.position_table.float()
        network.fill_position_table()
    return network


def matrix_shapes(config: ModelConfig) -> list[list[int]]:
    """[rows, columns, how many] of each shape of matrix that the network multiplies by."""
    import torch

    from model.transformer import Transformer

    with torch.device("meta"):
        network = Transformer(config)
    counts: dict[tuple[int, int], int] = {}
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            shape = (module.weight.shape[0], module.weight.shape[1])
            counts[shape] = counts.get(shape, 0) + 1
    if config.tie_embeddings:
        counts[config.vocab_size, config.width] = 1
    return [[*shape, count] for shape, count in sorted(counts.items())]


def products(shapes: list[list[int]], kind: str) -> float:
    """CPU-seconds of the products of a network's layers, forward and backward, for ROWS tokens.

    A weight is converted first, as autocast does in every micro-batch.
    """
    import torch

    dtype = torch.bfloat16 if kind == "bf16" else torch.float32
    total = 0.0
    for outside, inside, count in shapes:
        weight = torch.full((outside, inside), 0.01)
        given, gradient = torch.ones(ROWS, inside, dtype=dtype), torch.ones(ROWS, outside, dtype=dtype)
        started = time.process_time()
        own = weight.to(dtype)
        given @ own.t()
        gradient @ own
        (gradient.t() @ given).float()
        total += count * (time.process_time() - started)
    return total


def rounds(shapes: list[list[int]], kind: str) -> float:
    """CPU-seconds of Muon's rounds for a network's matrices, in batches as the optimiser makes them."""
    import torch

    from pipeline.training.muon import batch_size, orthogonal

    total = 0.0
    for outside, inside, count in shapes:
        at_once = min(count, batch_size(outside * inside))
        given = torch.eye(outside, inside).expand(at_once, -1, -1)
        matrices: Tensor = given.to(torch.bfloat16 if kind == "bf16" else torch.float32)
        started = time.process_time()
        orthogonal(matrices)
        total += count / at_once * (time.process_time() - started)
    return total


def compared(run: Callable[[str], float | None]) -> Figures:
    """The least CPU-seconds of `run` in each format, taken in turn, so that what else the machine does hits both.

    `run` returns its own seconds, or None to be timed as a whole. The first round warms up and does not count.
    """
    best = dict.fromkeys(FORMATS, math.inf)
    began = time.monotonic()
    for round_ in range(1 + ROUNDS):
        for kind in FORMATS:
            started = time.process_time()
            own = run(kind)
            seconds = time.process_time() - started if own is None else own
            if round_:
                best[kind] = min(best[kind], max(seconds, 1e-9))
        if not round_:
            began = time.monotonic()  # the first round can take longer than all others: kernels are chosen in it
        if round_ >= FEWEST and time.monotonic() - began > SECONDS:
            break
    return best


def sentence(gain: float) -> str:
    """`bf16 2.1 times as fast as fp32 here, measured`."""
    return f"matrix products in bf16 are {gain:.1f} times as fast as in fp32 here, measured"

"""Planned against taken time of pretraining on this CPU: networks of several sizes, each planned just before its run.

    python -m benchmarks.planned_time DATA/text [--networks 1m 3m 10m] [--seconds 90] [--rounds 1] [--threads 2]

The plan times a step of each network (`pipeline/training/planning/step_time.py`), with nothing kept from earlier plans.
Each run has so many tokens that it should take `--seconds`, by a first plan; taken is the wall time of the whole
artifact: loading, training, validations and writing. A plan is to be within 15 % for runs of more than a minute. What
other programs took of the processors while it was planned, and while it ran, stands beside it: on a busy machine both
times are those of the machine as it was then.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.making import context
from benchmarks.recipes_at_equal_compute import VOCABULARY, tokenizer_and_shards
from model.config import ModelConfig
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from pipeline.training.measured import Machine
from pipeline.training.objectives import pretraining
from pipeline.training.planning import plan as planning
from pipeline.training.planning.plan import Pretraining
from pipeline.training.planning.step_time import busy_elsewhere
from pipeline.training.pretraining_settings import PretrainingSettings

NETWORKS = {
    "1m": ModelConfig(layers=4, width=128, heads=2, kv_heads=1, context=256),
    "3m": ModelConfig(layers=6, width=192, heads=3, kv_heads=1, context=256),
    "10m": ModelConfig(layers=10, width=256, heads=4, kv_heads=2, context=512),
    "30m": ModelConfig(layers=10, width=448, heads=7, kv_heads=7, context=512),
}
BOUND = 0.15
LEAST_TOKENS = 65_536
SETTINGS = PretrainingSettings(compile="off", batch_tokens=4096)


def planned(network: ModelConfig, settings: PretrainingSettings, available: int) -> float:
    """Seconds that the plan names for this training, from a step timed now."""
    found = planning.plan(network, settings, available, here=Machine())
    return 3600 * float(found["hours_here"])


def compare(store: Store, inputs: dict[str, Artifact], name: str, seconds: float, seed: int) -> bool:
    """Print a row for one network; whether the plan was good enough."""
    network = NETWORKS[name].model_copy(update={"vocab_size": VOCABULARY})
    available = planning.tokens_in(inputs["token_shards"])
    first = planned(network, SETTINGS.model_copy(update={"tokens": 10 * LEAST_TOKENS}), available)
    tokens = max(LEAST_TOKENS, int(10 * LEAST_TOKENS * seconds / first))
    settings = SETTINGS.model_copy(update={"tokens": tokens})
    began, others = time.monotonic(), busy_elsewhere()
    expected = planned(network, settings, available)
    while_planned = share(others, began)
    began, others = time.monotonic(), busy_elsewhere()
    pretraining.make(context(store, seed=seed), inputs, Pretraining(NETWORKS[name], settings))
    taken = time.monotonic() - began
    while_run = share(others, began)
    print(
        f"| {name} | {tokens / 1e6:.2f} M | {expected:.0f} s | {taken:.0f} s | {expected / taken - 1:+.0%} |"
        f" {while_planned:.0%} | {while_run:.0%} |", flush=True,
    )  # fmt: skip
    return abs(expected / taken - 1) <= BOUND


def share(others: float, began: float) -> float:
    """The share of the processors that other programs took since `began`."""
    return (busy_elsewhere() - others) / ((time.monotonic() - began) * (os.cpu_count() or 1))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="folder of Parquet files with the columns text, lang")
    parser.add_argument("--networks", nargs="*", default=["1m", "3m", "10m"], choices=list(NETWORKS))
    parser.add_argument("--seconds", type=float, default=90.0, help="how long each run should take")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each network")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--store", type=Path, default=None, help="where tokens go; kept, so that they are made once")
    return parser


def main() -> None:
    given = arguments().parse_args()
    import torch

    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as temporary:
        store = Store(given.store or Path(temporary), "planned-time")
        inputs = tokenizer_and_shards(store, given.text)
        print("| network | tokens | planned | taken | planned / taken | others while planned | others while it ran |")
        print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
        # A seed of its own for each run, or the second would be found made.
        seed = int(time.time())
        good = [
            compare(store, inputs, name, given.seconds, seed + number)
            for number in range(given.rounds)
            for name in given.networks
        ]
    if not all(good):
        sys.exit(f"{good.count(False)} of {len(good)} runs are more than {BOUND:.0%} from their plan")


if __name__ == "__main__":
    main()

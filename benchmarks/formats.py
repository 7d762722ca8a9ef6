"""How much faster bf16 is than fp32 on this CPU: matrix products, Muon's rounds, training steps, generating.

    python -m benchmarks.formats [--threads 1] [--sizes 0.2m,0.6m,1m,3m,10m,43m]

CPU-seconds, the least of several, in turn. Products and rounds are what a training measures to choose its format
(`pipeline/training/measured.py`); the other columns say what the choice is worth.
"""

from __future__ import annotations

import argparse
import time

import model  # noqa: F401  (before torch: it sets how threads wait)
from model.allocator import kept_memory
from model.config import ModelConfig

SIZES = {
    "0.2m": ModelConfig(layers=3, width=64, heads=4, context=256, vocab_size=1024),
    "0.6m": ModelConfig(layers=4, width=96, heads=4, context=256, vocab_size=2048),
    "1m": ModelConfig(layers=4, width=128, heads=4, context=256, vocab_size=4096),
    "3m": ModelConfig(layers=5, width=192, heads=6, kv_heads=2, context=256, vocab_size=4096),
    "10m": ModelConfig(layers=10, width=256, heads=8, context=256, vocab_size=8192),
    "43m": ModelConfig(layers=12, width=512, heads=8, context=512, vocab_size=8192),
    "110m": ModelConfig(layers=12, width=768, heads=12, context=512, vocab_size=32000),
}
TOKENS = 2048
ROUNDS = 4


def step_gain(config: ModelConfig) -> float:
    """Of forward and backward, as autocast runs them."""
    import torch

    from model.transformer import Transformer
    from pipeline.training.machine import autocast

    network = Transformer(config)
    tokens = torch.randint(config.vocab_size, (max(1, TOKENS // config.context), config.context))
    seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    with kept_memory():
        for _ in range(ROUNDS):
            for precision, taken in seconds.items():
                started = time.process_time()
                with autocast("cpu", precision):
                    loss, count = network(tokens, tokens)
                (loss / count).backward()
                taken.append(time.process_time() - started)
    return min(seconds["fp32"][1:]) / min(seconds["bf16"][1:])


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sizes", default=",".join(list(SIZES)[:-1]))
    return parser


def main() -> None:
    given = arguments().parse_args()
    import torch

    from model.transformer import Transformer
    from pipeline.store.made_on import made_on, words
    from pipeline.training import measured
    from pipeline.training.measured import Machine

    torch.set_num_threads(given.threads)
    print(words(made_on()))
    print(
        "| parameters | products | Muon's rounds | forward and backward | generating |\n| --- | --- | --- | --- | --- |"
    )
    for size in given.sizes.split(","):
        config = SIZES[size]
        network = Transformer(config).eval()
        gains = [
            measured.bf16_gain(Machine(), config),
            measured.muon_gain(Machine(), config),
            step_gain(config),
            measured.decoding_gain(Machine(), network),
        ]
        cells = " | ".join(f"{gain:.2f}" for gain in gains)
        print(f"| {network.parameters_count() / 1e6:.1f} M | {cells} |", flush=True)


if __name__ == "__main__":
    main()

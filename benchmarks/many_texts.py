"""How much more many texts get than one where they share a step, without a server: the network and the batch alone.

    python -m benchmarks.many_texts [--sizes demo 100m] [--texts 1 4 16] [--rounds 2]

Random weights in bf16, greedy, one thread, 33 tokens after prompts of 32, without guesses. Tokens by the second of
processor time once all prompts are read, medians; the numbers of texts take turns.
"""

from __future__ import annotations

import argparse
import statistics
import time

from benchmarks.contestants import our_network
from benchmarks.decoding import CHOICES

PROMPT, TOKENS = 32, 33


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", choices=CHOICES, nargs="+", default=["demo", "100m"])
    parser.add_argument("--texts", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=2)
    return parser


def main() -> None:
    import torch

    options = arguments().parse_args()
    torch.set_num_threads(1)
    print("| size | texts | tokens/cpu-s | times the first |\n|---|---|---|---|")
    for size in options.sizes:
        rates = race(size, options.texts, options.rounds)
        first = statistics.median(rates[options.texts[0]])
        for texts, measured in rates.items():
            rate = statistics.median(measured)
            print(f"| {size} | {texts} | {rate:,.0f} | {rate / first:.1f} |")


def race(size: str, numbers: list[int], rounds: int) -> dict[int, list[float]]:
    """Tokens by the second of processor time, for each number of texts and each round."""
    import torch

    from model import batch as batches
    from model.batch import Batch, Text
    from model.choosing import Chooser
    from model.sampling import GREEDY

    network = our_network(CHOICES[size]).to(torch.bfloat16).eval()
    network.position_table = network.position_table.float()
    network.fill_position_table()
    batch, generator = Batch(network), torch.Generator().manual_seed(0)
    batches.FEW = 0
    rates: dict[int, list[float]] = {number: [] for number in numbers}
    for turn in range(rounds + 1):
        for number in numbers:
            for _ in range(number):
                prompt = torch.randint(200, (PROMPT,), generator=generator).tolist()
                text = Text(Chooser(prompt, GREEDY), TOKENS, lambda choice: True, lambda error: None)
                batch.add(prompt, [text])
            while batch.reading:
                batch.advance()
            made, started = 0, time.process_time()
            while batch.busy:
                made += len(batch.rows)
                batch.advance()
            if turn:
                rates[number].append(made / (time.process_time() - started))
    return rates


if __name__ == "__main__":
    main()

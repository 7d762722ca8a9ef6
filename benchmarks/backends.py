"""One text on a CPU: this project in fp32, bf16 and int8 beside llama.cpp on the same weights, and memory's limit.

    python -m benchmarks.backends [--size 100m] [--prompt 64] [--tokens 32] [--rounds 3] [--threads 1]

Random weights, greedy; llama.cpp (llama-cpp-python, where it is installed) reads the GGUF files that `slm export`
writes. All take turns in every round, with a reading of memory among them. Of the prompt and of each token after it:
tokens by the second of the clock and of processor time, medians. The last columns set the latter against the number of
times that the same round could read the matrices.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.decoding import CHOICES, matrices
from benchmarks.serving import random_model

FORMATS = {"fp32": 4.0, "bf16": 2.0, "int8": 1.0}  # bytes a weight
TYPES = {"f32": 4.0, "bf16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
BUFFER = 256 * 2**20


class Took(NamedTuple):
    """Seconds of the clock and of processor time, for the prompt and for the tokens after it."""

    prompt: float
    prompt_cpu: float
    tokens: float
    tokens_cpu: float


Run = Callable[[int], Took]


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=CHOICES, default="100m")
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    return parser


def main() -> None:
    import torch

    options = arguments().parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = random_model(Path(scratch) / "model", options.size, "float32")
        prompt = torch.randint(250, (options.prompt,), generator=torch.Generator().manual_seed(0)).tolist()
        runs = {f"this project, {name}": (ours(folder, name, prompt), size) for name, size in FORMATS.items()}
        try:
            for form, size in TYPES.items():
                runs[f"llama.cpp, {form}"] = theirs(folder, form, prompt, options.threads), size
        except ImportError:
            print("llama-cpp-python is not installed: only this project is measured.\n")
        race(folder, runs, options)


def race(folder: Path, runs: dict[str, tuple[Run, float]], options: argparse.Namespace) -> None:
    """Measure all in turns, and print the table."""
    import torch

    from model import export

    weights = sum(weight.numel() for weight in matrices(export.load(folder)))
    buffer = torch.ones(BUFFER // 4)
    found: dict[str, list[Took]] = {name: [] for name in runs}
    speeds: list[float] = []
    for number in range(options.rounds + 1):
        for name, (run, _) in runs.items():
            took = run(options.tokens)
            if number:
                found[name].append(took)
        before = time.process_time()
        buffer.amax()
        if number:
            speeds.append(BUFFER / (time.process_time() - before))
    bandwidth = statistics.median(speeds)
    print(f"{weights / 1e6:.0f} M weights a step, {options.threads} threads, memory {bandwidth / 1e9:.1f} GB/cpu-s\n")
    print("| | prompt, tokens/cpu-s | tokens/s | tokens/cpu-s | limit | share |\n|---|---|---|---|---|---|")
    for name, (_, size) in runs.items():
        prompts, clock, cpu = (
            statistics.median(work / getattr(took, part) for took in found[name])
            for work, part in (
                (options.prompt, "prompt_cpu"), (options.tokens, "tokens"), (options.tokens, "tokens_cpu"),
            )
        )  # fmt: skip
        limit = bandwidth / (weights * size)
        print(f"| {name} | {prompts:,.0f} | {clock:,.1f} | {cpu:,.1f} | {limit:,.0f} | {cpu / limit:.0%} |")


def timed(read: Callable[[], int], step: Callable[[int], int], tokens: int) -> Took:
    """Read a prompt, then take steps; both return the likeliest token."""
    clock, cpu = time.perf_counter(), time.process_time()
    token = read()
    between, between_cpu = time.perf_counter(), time.process_time()
    for _ in range(tokens):
        token = step(token)
    return Took(between - clock, between_cpu - cpu, time.perf_counter() - between, time.process_time() - between_cpu)


def ours(folder: Path, name: str, prompt: list[int]) -> Run:
    import torch

    from model import export
    from model.decoding import Decoding, arrange, arranged
    from model.transformer import Cache

    dtype = torch.float32 if name == "fp32" else torch.bfloat16
    network = arrange(export.load(folder, dtype).eval(), int8=name == "int8")
    made = arranged(network)
    assert made is not None

    def run(tokens: int) -> Took:
        cache = Cache(network.config, 1, len(prompt), dtype=dtype)
        decoding: list[Decoding] = []

        def read() -> int:
            hidden = network.hidden(torch.tensor([prompt]), cache=cache)
            decoding.append(Decoding(made, cache, len(prompt) + tokens))
            return int(network.logits(hidden[0, -1]).argmax())

        with torch.inference_mode():
            return timed(read, lambda token: int(decoding[0].step(token).argmax()), tokens)

    return run


def theirs(folder: Path, form: str, prompt: list[int], threads: int) -> Run:
    import llama_cpp
    import numpy as np

    from model import gguf_file

    file = gguf_file.write(folder, folder / f"model-{form}.gguf", form)
    model = llama_cpp.Llama(
        str(file), n_ctx=512, n_threads=threads, n_threads_batch=threads, verbose=False, n_gpu_layers=0
    )

    def taken(ids: list[int]) -> int:
        model.eval(ids)
        return int(np.argmax(np.ctypeslib.as_array(llama_cpp.llama_get_logits(model.ctx), (model.n_vocab(),))))

    def run(tokens: int) -> Took:
        model.reset()
        return timed(lambda: taken(prompt), lambda token: taken([token]), tokens)

    return run


if __name__ == "__main__":
    main()

"""The server under load: how much more many clients get than one, and whether it keeps its memory and loses nothing.

    python -m benchmarks.serving [--model FOLDER | --size 100m] [--clients 1 4 16] [--tokens 64] [--rounds 3]
    python -m benchmarks.serving --size demo --load 200 --seconds 60

The server is a process of its own (`slm serve`) with one thread. First form: so many clients ask at once, each for one
streamed answer of `--tokens`, again and again in turns; tokens by the second of the clock and of the server's processor
time. Second form: `--load` clients ask one request after the other for `--seconds`, half of them streaming; every
answer is counted, and the server's memory is read each second after the first quarter.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.decoding import CHOICES

PROMPT = "The village has a market on Mondays, and everybody who lives there comes to "


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model's folder; otherwise random weights of --size")
    parser.add_argument("--size", choices=CHOICES, default="100m")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", type=int, default=0, help="clients of the second form")
    parser.add_argument("--seconds", type=float, default=60)
    return parser


def main() -> None:
    options = arguments().parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.model or random_model(Path(scratch) / "model", options.size, options.dtype)
        with served(folder, max(options.load, *options.clients)) as (process, port):
            if options.load:
                asyncio.run(under_load(process, port, options.load, options.seconds))
            else:
                race(process, port, options.clients, options.tokens, options.rounds)


def random_model(folder: Path, size: str, dtype: str) -> Path:
    """A model's folder with random weights and a tokenizer of little more than bytes."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    from benchmarks.contestants import our_network
    from model import export
    from model.gguf_file import PATTERNS

    folder.mkdir()
    export.save(
        our_network(CHOICES[size]).to(getattr(torch, dtype)), folder
    )  # without an end, so that no text stops early
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate([*alphabet, "th"])}, [("t", "h")]))
    split = pre_tokenizers.Split(Regex(PATTERNS["llama-bpe"]), "isolated")  # so that it can be exported to GGUF
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@contextmanager
def served(folder: Path, places: int) -> Iterator[tuple[psutil.Process, int]]:
    """The server's process and its port."""
    command = [sys.executable, "-m", "pipeline.cli", "serve", str(folder), "--port", "0", "--queue", str(places + 8)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    try:
        assert running.stdout is not None
        address = re.search(r"http://127\.0\.0\.1:(\d+)", running.stdout.readline())
        assert address, "the server did not start"
        yield psutil.Process(running.pid), int(address[1])
    finally:
        running.terminate()
        running.wait(300)  # under load


async def answered(port: int, tokens: int, stream: bool, seed: int) -> int:
    """Ask for a text, and return how many tokens came; raises if the response is not complete."""
    # Of few tokens: random weights leave thousands equally likely, which no trained model does. Not greedy: they go
    # round in circles then, which the server guesses for one client and not for many.
    sampling = {"temperature": 1, "top_k": 50, "seed": seed}
    body = {"prompt": PROMPT, "max_tokens": tokens, "stream": stream, **sampling}
    if stream:
        body["stream_options"] = {"include_usage": True}
    data = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data
        )
        response = (await reader.read()).decode()
    finally:
        writer.close()
    status = int(response.split(" ", 2)[1])
    assert status == 200, response[:300]
    found = re.findall(r'"completion_tokens": ?(\d+)', response)
    assert len(found) == 1 and (not stream or "[DONE]" in response), response[-300:]
    return int(found[0])


def race(process: psutil.Process, port: int, clients: list[int], tokens: int, rounds: int) -> None:
    async def together(number: int) -> int:
        return sum(await asyncio.gather(*(answered(port, tokens, True, seed) for seed in range(number))))

    rates: dict[int, list[tuple[float, float]]] = {number: [] for number in clients}
    for turn in range(rounds + 1):
        for number in clients:
            before, started = process.cpu_times(), time.monotonic()
            made = asyncio.run(together(number))
            seconds, after = time.monotonic() - started, process.cpu_times()
            cpu = after.user + after.system - before.user - before.system
            if turn:
                rates[number].append((made / seconds, made / cpu))
    one = statistics.median(by_cpu for _, by_cpu in rates[clients[0]])
    print(f"| clients | tokens/s | tokens/cpu-s | times {clients[0]} |\n|---|---|---|---|")
    for number, measured in rates.items():
        by_clock, by_cpu = (statistics.median(column) for column in zip(*measured))
        print(f"| {number} | {by_clock:,.0f} | {by_cpu:,.0f} | {by_cpu / one:.1f} |")


async def under_load(process: psutil.Process, port: int, clients: int, seconds: float) -> None:
    until = time.monotonic() + seconds
    counts: Counter[str] = Counter()
    memory: list[float] = []

    async def client(number: int) -> None:
        turn = 0
        while time.monotonic() < until:
            turn += 1
            counts["asked"] += 1
            try:
                counts["tokens"] += await answered(port, 8 + number % 24, number % 2 == 0, number * 1000 + turn)
                counts["answered"] += 1
            except Exception as error:
                counts[f"{type(error).__name__}: {str(error)[:80]}"] += 1

    async def watch() -> None:
        await asyncio.sleep(seconds / 4)
        while time.monotonic() < until:
            memory.append(process.memory_info().rss / 1e6)
            await asyncio.sleep(1)

    await asyncio.gather(watch(), *(client(number) for number in range(clients)))
    print(f"{clients} clients for {seconds:g} s:", ", ".join(f"{name} {count:,}" for name, count in counts.items()))
    third = max(1, len(memory) // 3)
    print(
        f"memory: {statistics.mean(memory[:third]):,.0f} MB in the first third, "
        f"{statistics.mean(memory[-third:]):,.0f} MB in the last, {max(memory):,.0f} MB at most"
    )


if __name__ == "__main__":
    main()

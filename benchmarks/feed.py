"""The feed beside other loaders: tokens for a second of CPU time, and peak memory by size of the corpus.

    nice python -m benchmarks.feed [--peers /path/to/python/with/datasets]

Shards of made tokens (drawn from the law of Zipf, documents of log-normal length), written as `token_shards` writes
them. Each measurement is a process of its own, so that its peak memory is its own. Peers read the same tokens:
nanoGPT's crops out of one memory-mapped file (with replacement, over document borders, nothing kept apart), and a
`datasets` stream of the Parquet files, packed in Python as its documentation shows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROUNDS = 2
VOCABULARY = 32_000
DOCUMENTS = 20_000  # a fragment: about 10 M tokens
MEASURED = 20_000_000  # tokens of each measurement

PEER = """
import json, sys, time, itertools
import numpy as np
folder, context, batch, tokens = sys.argv[1], *map(int, sys.argv[2:])
from datasets import load_dataset
stream = load_dataset("parquet", data_files=folder + "/*.parquet", split="train", streaming=True, columns=["tokens"])
stream = stream.shuffle(seed=1, buffer_size=1000)
def packed(rows):
    joined = list(itertools.chain.from_iterable(ids + [3] for ids in rows["tokens"]))
    return {"x": [joined[i : i + context + 1] for i in range(0, len(joined) - context, context)]}
stream = stream.map(packed, batched=True, remove_columns=["tokens"]).with_format("numpy").batch(batch)
started, done = time.process_time(), 0
for found in stream:
    x = np.asarray(found["x"]).astype(np.int64)
    done += x[:, :-1].size
    if done >= tokens:
        break
seconds = time.process_time() - started
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"rate": done / seconds, "peak": peak / 1024}))
"""


def make_shards(root: Path, fragments: int):
    """A store with token shards of `fragments` tables, and the same tokens in one file for memory-mapped crops."""
    import polars as pl

    from pipeline.store.store import Store
    from pipeline.tokens.encoding import list_series
    from pipeline.tokens.shards import row_groups, write_shard

    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, VOCABULARY - 9)
    cumulated = np.cumsum(shares / shares.sum())

    def build(draft):
        with open(root / "crops.bin", "wb") as crops:
            for number in range(fragments):
                lengths = np.maximum(rng.lognormal(5.7, 1.0, DOCUMENTS).astype(np.int64), 1)
                tokens = (10 + np.searchsorted(cumulated, rng.random(lengths.sum()))).astype(np.uint16)
                tokens.tofile(crops)
                frame = pl.DataFrame(
                    {
                        "doc_id": [f"{number:08x}{i:024x}" for i in range(DOCUMENTS)],
                        "source": "made",
                        "lang": "en",
                        "split": "train",
                        "tokens": list_series("tokens", tokens, lengths, np.dtype(np.uint16)),
                        "length": pl.Series(lengths, dtype=pl.UInt32),
                        "bytes": pl.Series(lengths * 4, dtype=pl.UInt32),
                    }
                )
                fragment = f"made-{number:04x}"
                groups = list(row_groups(frame, 2**20))
                write_shard(frame, groups, draft.path(f"{fragment}.parquet"))
                parts = [frame[a:b] for a, b in groups]
                listed = [["train", "en", part.height, int(part["length"].sum()), 0] for part in parts]
                facts = {"source": "made", "groups": listed}
                draft.record(fragment, {"n": number}, rows=frame.height, facts=facts)
        draft.facts |= {"dtype": "uint16", "tokenizer": {"document_start": 3, "pad": 0}}

    return Store(root, "made").make(
        "token_shards", code_version="1", settings={"n": fragments}, inputs={}, build=build, log=lambda line: None
    )


def feed(root: Path, context: int, batch: int, tokens: int, settings: str) -> float:
    from pipeline.store.store import Store
    from pipeline.training.data.feed import Feed, FeedSettings

    shards = Store(root, "made").require("token_shards")
    loader = Feed(shards, FeedSettings(**json.loads(settings)), 1, context, batch)
    count = tokens // (context * batch)
    started = time.process_time()
    for number in range(count):
        loader.batch(number)
    return count * context * batch / (time.process_time() - started)


def crops(root: Path, context: int, batch: int, tokens: int, settings: str) -> float:
    """nanoGPT's `get_batch`, in numpy."""
    rng = np.random.default_rng(1)
    count = tokens // (context * batch)
    started = time.process_time()
    for _ in range(count):
        data = np.memmap(root / "crops.bin", dtype=np.uint16, mode="r")
        at = rng.integers(0, len(data) - context, batch)
        np.stack([data[i : i + context].astype(np.int64) for i in at])
        np.stack([data[i + 1 : i + 1 + context].astype(np.int64) for i in at])
    return count * context * batch / (time.process_time() - started)


def measured(command: list[str]) -> dict[str, float]:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", help="a Python that has `datasets`")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        kind, root, context, batch, settings = given.one
        rate = {"feed": feed, "crops": crops}[kind](Path(root), int(context), int(batch), MEASURED, settings)
        # Not getrusage's figure: that starts with the memory of the process that started this one.
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        print(json.dumps({"rate": rate, "peak": peak / 1024}))
        return
    me = [sys.executable, "-m", "benchmarks.feed", "--one"]
    print("| loader | corpus, M tokens | context | M tokens/cpu-s (best, all) | peak MB |\n|---|---|---|---|---|")
    for fragments in (4, 40):
        with tempfile.TemporaryDirectory() as place:
            shards = make_shards(Path(place), fragments)
            size = sum(group[3] for name in shards.fragments for group in shards.entry(name)["facts"]["groups"]) / 1e6
            for context in (256, 2048):
                settings = {
                    "cut": {},
                    "cut, documents masked": {"mask_documents": True},
                    "best fit": {"packing": "best_fit"},
                    "best fit, documents masked": {"packing": "best_fit", "mask_documents": True},
                }
                runs = {name: [*me, "feed", place, str(context), "16", json.dumps(of)] for name, of in settings.items()}
                runs["nanoGPT's crops"] = [*me, "crops", place, str(context), "16", "{}"]
                if given.peers:
                    folder = str(shards.directory)
                    runs["datasets, streaming"] = [
                        given.peers,
                        "-c",
                        PEER,
                        folder,
                        str(context),
                        "16",
                        str(MEASURED // 10),
                    ]
                found: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
                for _ in range(ROUNDS):
                    for name, command in runs.items():
                        found[name].append(measured(command))
                for name, results in found.items():
                    rates = [f"{result['rate'] / 1e6:.1f}" for result in results]
                    best = max(rates, key=float)
                    peak = max(result["peak"] for result in results)
                    print(f"| {name} | {size:.0f} | {context} | {best} ({', '.join(rates)}) | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()

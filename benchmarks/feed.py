"""The feed against other loaders: tokens per second of CPU time, and peak memory by corpus size.

    nice python -m benchmarks.feed [--peers /path/to/python/with/datasets]

The shards hold generated tokens (Zipf's law, documents of log-normal length), written as `token_shards` writes them.
Each measurement is a process of its own, so that its peak memory is its own. Peers read the same tokens: nanoGPT's
crops from one memory-mapped file (with replacement, across document borders, documents not kept apart), and a
`datasets` stream of the Parquet files, packed in Python as its documentation shows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

# Everything else is imported where it is used, so that nanoGPT's crops are measured without Polars and Arrow.
from benchmarks.measuring import cpu_of, output_of, peak_memory, program

if TYPE_CHECKING:
    from pipeline.store.artifact import Artifact
    from pipeline.store.draft import Draft

ROUNDS = 2
VOCABULARY = 32_000
DOCUMENTS = 20_000  # a fragment: about 10 M tokens
MEASURED = 20_000_000  # tokens of each measurement
BATCH = 16  # sequences
CONTEXTS = (256, 2048)
SETTINGS: dict[str, dict[str, object]] = {
    "cut": {},
    "cut, documents masked": {"mask_documents": True},
    "best fit": {"packing": "best_fit"},
    "best fit, documents masked": {"packing": "best_fit", "mask_documents": True},
}
RECIPE, CROPS = "made", "crops.bin"

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


def make_shards(root: Path, fragments: int) -> Artifact:
    """A store with token shards of `fragments` tables, and the same tokens in one file for memory-mapped crops."""
    import polars as pl

    from benchmarks.making import quiet, write_tokens
    from pipeline.store.store import Store
    from pipeline.tokens.encoding import list_series

    draw = np.random.default_rng(0)
    shares = 1 / np.arange(1, VOCABULARY - 9)
    cumulated = np.cumsum(shares / shares.sum())

    def build(draft: Draft) -> None:
        with open(root / CROPS, "wb") as crops:
            for number in range(fragments):
                lengths = np.maximum(draw.lognormal(5.7, 1.0, DOCUMENTS).astype(np.int64), 1)
                tokens = (10 + np.searchsorted(cumulated, draw.random(lengths.sum()))).astype(np.uint16)
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
                facts = write_tokens(frame, draft.path(f"{fragment}.parquet"))
                draft.record(fragment, {"n": number}, rows=frame.height, facts=facts)
        draft.facts |= {"dtype": "uint16", "tokenizer": {"document_start": 3, "pad": 0}}

    return Store(root, RECIPE).make(
        "token_shards", code_version="1", settings={"n": fragments}, inputs={}, build=build, log=quiet
    )  # fmt: skip


# -- loaders: each reads `count` batches -------------------------------------------------------------------------------


def read_feed(root: Path, context: int, count: int, settings: str) -> Callable[[], None]:
    from pipeline.store.store import Store
    from pipeline.training.data.feed import Feed, FeedSettings

    shards = Store(root, RECIPE).require("token_shards")
    loader = Feed(shards, FeedSettings(**json.loads(settings)), 1, context, BATCH)

    def read() -> None:
        for number in range(count):
            loader.batch(number)

    return read


def read_crops(root: Path, context: int, count: int, settings: str) -> Callable[[], None]:
    """nanoGPT's `get_batch`, in numpy."""
    draw = np.random.default_rng(1)

    def read() -> None:
        for _ in range(count):
            data = np.memmap(root / CROPS, dtype=np.uint16, mode="r")
            at = draw.integers(0, len(data) - context, BATCH)
            np.stack([data[i : i + context].astype(np.int64) for i in at])
            np.stack([data[i + 1 : i + 1 + context].astype(np.int64) for i in at])

    return read


LOADERS = {"feed": read_feed, "crops": read_crops}


def measure(loader: str, root: Path, context: int, settings: str) -> dict[str, float]:
    """Tokens a CPU second, and the peak memory of this process in MB."""
    count = MEASURED // (context * BATCH)
    _, seconds = cpu_of(LOADERS[loader](root, context, count, settings))
    return {"rate": count * context * BATCH / seconds, "peak": peak_memory()}


# -- all of them -------------------------------------------------------------------------------------------------------


def commands(root: Path, shards: Artifact, context: int, peers: str | None) -> dict[str, list[str]]:
    """The command line of each loader's process, by name."""
    found = {
        name: program("feed", "--one", "feed", root, context, json.dumps(settings))
        for name, settings in SETTINGS.items()
    }
    found["nanoGPT's crops"] = program("feed", "--one", "crops", root, context, "{}")
    if peers:
        tokens = str(MEASURED // 10)
        found["datasets, streaming"] = [peers, "-c", PEER, str(shards.directory), str(context), str(BATCH), tokens]
    return found


def compare(fragments: int, peers: str | None) -> None:
    """Print a row for each loader and context."""
    with tempfile.TemporaryDirectory() as folder:
        shards = make_shards(Path(folder), fragments)
        size = sum(group[3] for name in shards.fragments for group in shards.entry(name)["facts"]["groups"]) / 1e6
        for context in CONTEXTS:
            runs = commands(Path(folder), shards, context, peers)
            found: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
            for _ in range(ROUNDS):
                for name, command in runs.items():
                    found[name].append(json.loads(output_of(command).splitlines()[-1]))
            for name, results in found.items():
                rates = [f"{result['rate'] / 1e6:.1f}" for result in results]
                best = max(rates, key=float)
                peak = max(result["peak"] for result in results)
                print(f"| {name} | {size:.0f} | {context} | {best} ({', '.join(rates)}) | {peak:.0f} |", flush=True)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="a Python that has `datasets`")
    parser.add_argument(
        "--fragments",
        type=int,
        nargs="*",
        default=[4, 40],
        help="sizes of the corpus, in fragments of some 10 M tokens",
    )
    parser.add_argument("--one", nargs=4, metavar=("LOADER", "FOLDER", "CONTEXT", "SETTINGS"), help=argparse.SUPPRESS)
    return parser


def main() -> None:
    given = arguments().parse_args()
    if given.one:
        loader, root, context, settings = given.one
        print(json.dumps(measure(loader, Path(root), int(context), settings)))
        return
    print("| loader | corpus, M tokens | context | M tokens/cpu-s (best, all) | peak MB |\n|---|---|---|---|---|")
    for fragments in given.fragments:
        compare(fragments, given.peers)


if __name__ == "__main__":
    main()

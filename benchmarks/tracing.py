"""The index of training text at the size of a real corpus: what it costs to make, its size, and how fast it answers.

    python -m benchmarks.tracing --tokens 100_000_000 --folder /somewhere/on/disk

The corpus is the token shards of the recipe, repeated until there are enough tokens. Every copy is edited: in one
document of two some tokens are replaced by others, some documents are cut short, and their order changes. So it holds
long repetitions, as crawled text does, which is what is hard for a suffix array. Questions of 200 tokens are put
together from passages of the corpus of 5 to 60 tokens.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from pipeline.graph import Project
from pipeline.trace import search, suffixes
from pipeline.trace.index import groups_by_fragment, shard_documents
from pipeline.trace.part import Part, open_part, write_part

FRAGMENT_TOKENS = 8_000_000  # 32 MB of text
QUESTION_TOKENS, QUESTIONS = 200, 60


def documents(project: Project) -> list[np.ndarray]:
    """The training documents of the recipe's shards as ids."""
    shards, found = project["token_shards"], []
    for groups in groups_by_fragment(shards).values():
        tokens, lengths, _ = shard_documents(shards, groups)
        found += np.split(tokens, np.cumsum(lengths)[:-1])
    return found


def edited(found: list[np.ndarray], rng: np.random.Generator, most: int) -> list[np.ndarray]:
    """The documents in another order, changed as the module says, up to `most` tokens."""
    ids = np.unique(np.concatenate(found[:200]))
    copies, size = [], 0
    for number in rng.permutation(len(found)).tolist():
        document = found[number]
        if rng.random() < 0.5:
            document = document.copy()
            places = rng.random(len(document)) < 0.03
            document[places] = rng.choice(ids, int(places.sum()))
        if rng.random() < 0.1:
            document = document[: int(rng.integers(0, len(document) + 1))]
        copies.append(document)
        size += len(document)
        if size >= most:
            break
    return copies


def build(found: list[np.ndarray], tokens: int, folder: Path, end: int, sort: suffixes.Sorter) -> list[Part]:
    """Write parts until there are `tokens` tokens; prints what each costs."""
    rng, size, seconds, taken = np.random.default_rng(0), 0, 0.0, 0
    parts: list[Part] = []
    while size < tokens:
        copies: list[np.ndarray] = []
        have = 0
        while have < FRAGMENT_TOKENS:
            more = edited(found, rng, FRAGMENT_TOKENS - have)
            copies += more
            have += sum(map(len, more))
        lengths = np.array([len(copy) for copy in copies], np.int64)
        joined, path = np.concatenate(copies), folder / f"{len(parts)}.index"
        del copies
        started = time.process_time()
        counts = write_part(joined, lengths, np.arange(len(lengths)), end, sort, path)
        seconds += time.process_time() - started
        taken += path.stat().st_size
        parts.append(open_part(path, counts))
        size += counts["tokens"]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{size:>12,} tokens: {size / seconds:>10,.0f} a cpu-second, peak memory {memory:,.0f} MB", flush=True)
    print(f"{len(parts)} parts, {taken / size:.2f} bytes a token")
    return parts


def questions(parts: list[Part]) -> list[np.ndarray]:
    """Questions of QUESTION_TOKENS, out of passages of the corpus."""
    rng, made = np.random.default_rng(1), []
    for _ in range(QUESTIONS):
        pieces: list[np.ndarray] = []
        while sum(map(len, pieces)) < QUESTION_TOKENS:
            part = parts[int(rng.integers(len(parts)))]
            first = int(rng.integers(0, len(part.low) - 60))
            pieces.append(part.tokens(slice(first, first + int(rng.integers(5, 60)))))
        made.append(np.concatenate(pieces)[:QUESTION_TOKENS])
    return made


def ask(parts: list[Part], made: list[np.ndarray]) -> None:
    """Ask all questions, the first time from a disk that may be cold; prints how long they take."""
    for name in ("first", "second", "third"):
        wall, own, found = [], [], 0
        for question in made:
            started, used = time.perf_counter(), time.process_time()
            found += len(search.spans(parts, question, 6))
            wall.append(1000 * (time.perf_counter() - started))
            own.append(1000 * (time.process_time() - used))
        print(
            f"{name} time: {np.median(own):.1f} ms of cpu (95 %: {np.quantile(own, 0.95):.1f}), {np.median(wall):.1f}"
            f" ms of time (95 %: {np.quantile(wall, 0.95):.1f}), {found / len(made):.1f} passages each"
        )


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=100_000_000)
    parser.add_argument("--folder", type=Path, required=True, help="for the index; what is there is overwritten")
    parser.add_argument("--doubling", action="store_true", help="sort without pydivsufsort")
    return parser


def main() -> None:
    given = arguments().parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    project = Project.open()
    sort = suffixes.sorted_by_doubling if given.doubling else suffixes.sorter()
    end = project["token_shards"].facts["tokenizer"]["document_start"]
    parts = build(documents(project), given.tokens, given.folder, end, sort)
    ask(parts, questions(parts))


if __name__ == "__main__":
    main()

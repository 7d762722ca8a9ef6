"""Questions and the passages that answer them: recall and time by words, by vectors and by both; what is not there.

    python -m benchmarks.grounding DATA [--vectors FOLDER_OR_FILE] [--learn 60] [--peers]
        [--chunks 100000] [--questions 1200]

Questions of three kinds, each with the document that answers it: Korean questions about a paragraph (KoBEST's BoolQ),
headings of English manuals and books with the section below them, tasks for programmers with the program (MBPP and
conversations about code). The documents lie among the development text, 100,000 chunks in all. A question is found if
one of the first five chunks is of its document.

Half of the questions, by a hash, choose what there is to choose; the other half is reported. For the threshold, the
documents of every second question are taken out of the index: those questions have no answer in it.

--learn: seconds of training vectors of words with fastText on the development text. --peers: bm25s and tantivy, if they
are installed, with the same terms and, for tantivy, its own.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xxhash

from pipeline.grounding import search
from pipeline.grounding.chunks import BYTES
from pipeline.grounding.embedding import Embedder, embedder_of, mean_of_words
from pipeline.grounding.index import indexed

HEADING = re.compile(r"^#{1,4} +(.+)$", re.MULTILINE)
BOOKS = ("rust-lang/book", "vuejs/docs", "microsoft/presidio")
FIRST = 5


class Question:
    """A question and the document that answers it. answer: what that document is called."""

    def __init__(self, kind: str, text: str, document: str) -> None:
        self.kind, self.text, self.document = kind, text.strip(), document.strip()
        self.answer = f"{kind}:{xxhash.xxh3_64_hexdigest(self.document.encode())}"
        self.draw = xxhash.xxh3_64_intdigest(self.answer.encode(), seed=3)

    @property
    def reported(self) -> bool:
        return self.draw % 2 == 1

    @property
    def withheld(self) -> bool:
        return self.draw // 2 % 2 == 1


def questions(data: Path, text: pl.DataFrame, each: int) -> list[Question]:
    """Up to `each` of every kind."""
    found = [*_paragraphs(data), *_sections(text), *_programs(data)]
    kept: list[Question] = []
    for kind in ("paragraphs", "sections", "programs"):
        of_kind = {one.text: one for one in found if one.kind == kind}
        kept += sorted(of_kind.values(), key=lambda one: one.draw)[:each]
    return kept


def _paragraphs(data: Path) -> Iterator[Question]:
    for name in ("dev", "train"):
        with gzip.open(data / f"eval/kobest/BoolQ/{name}.tsv.gz", "rt", encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                yield Question("paragraphs", row["Question"], row["Text"])


def _sections(text: pl.DataFrame) -> Iterator[Question]:
    for body in text.filter(pl.col("source").is_in(BOOKS) & (pl.col("lang") == "en"))["text"]:
        heads = list(HEADING.finditer(body))
        for head, following in zip(heads, [*heads[1:], None]):
            section = body[head.end() : following.start() if following else len(body)].strip()
            words = re.sub(r"<[^>]*>|[`*_#{}\[\]]|\(.*?\)", " ", head.group(1)).split()
            if len(words) >= 3 and len(section) >= 200:
                yield Question("sections", " ".join(words), section)


def _programs(data: Path) -> Iterator[Question]:
    for row in _json_lines(data / "eval/mbpp/mbpp_nontest.jsonl.gz"):
        yield Question("programs", row["text"], row["code"])
    for row in _json_lines(data / "sft/code_codegen.jsonl.gz"):
        first, second = (turn["content"] for turn in row["messages"][:2])
        if len(second) >= 100:
            yield Question("programs", first, second)


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from (json.loads(line) for line in file)


def corpus(text: pl.DataFrame, asked: Sequence[Question], most: int, chunks: int) -> tuple[pl.DataFrame, float]:
    """(chunks of the answers and, up to so many, of the development text; CPU seconds that they took).

    `source` is `answer` or `text`, `doc_id` of an answer its name. The sections are left out of the books' own text.
    """
    rows = [{"doc_id": one.answer, "text": one.document, "lang": "code" if one.kind == "programs" else None}
            for one in {one.answer: one for one in asked}.values()]  # fmt: skip
    own = pl.DataFrame(rows, schema={"doc_id": pl.String, "text": pl.String, "lang": pl.String})
    own = own.with_columns(source=pl.lit("answer"))
    rest = text.filter(~pl.col("source").is_in(BOOKS))
    rest = rest.select(doc_id="id", text="text", lang="lang", source=pl.lit("text")).sample(
        fraction=1.0, shuffle=True, seed=1
    )
    rest = rest.filter(pl.col("text").str.len_bytes().cum_sum() <= 2 * chunks * most)  # more than is needed
    every = pl.concat([own, rest.select(own.columns)]).with_columns(source_id="doc_id", url=pl.lit(None, pl.String))
    started = time.process_time()
    made = indexed(every, most)
    return made.head(chunks), time.process_time() - started


def learned(text: pl.DataFrame, seconds: float) -> Embedder:
    """Vectors of words that fastText learns from the development text, with its weights of frequent words."""
    import tempfile

    from pipeline.curation.duplicates import vectors

    with tempfile.TemporaryDirectory() as scratch:
        sample = text.sample(fraction=1.0, shuffle=True, seed=1)["text"]
        budget = int(seconds * 100_000)  # characters; fastText takes some 100,000 in a second here
        kept = sample.filter(sample.str.len_chars().cum_sum() <= budget).to_list()
        look_up = vectors.learned(kept, Path(scratch))
    counts = vectors.word_counts(pl.Series(kept)).group_by("word").agg(pl.col("count").sum())
    total = float(counts["count"].sum())
    share = {str(word): float(count) / total for word, count in counts.iter_rows()}

    def weighted(words: Sequence[str]) -> vectors.Matrix:
        weights = np.array([vectors.RARE / (vectors.RARE + share.get(word, 0.0)) for word in words], np.float32)
        return look_up(words) * weights[:, None]

    return Embedder("learned", lambda texts: mean_of_words(weighted, texts))


def recall(index: search.Index, asked: Sequence[Question], by: search.By) -> dict[str, float]:
    """The share of questions of each kind that are found."""
    found: dict[str, list[bool]] = {}
    names = index.chunks["doc_id"]
    for one in asked:
        hits = index.search(one.text, FIRST, by)
        found.setdefault(one.kind, []).append(any(names[hit.chunk] == one.answer for hit in hits))
    return {kind: sum(values) / len(values) for kind, values in found.items()}


def milliseconds(look: Callable[[str], object], asked: Sequence[Question]) -> tuple[float, float]:
    """(median, 99th percentile) of CPU milliseconds for a question."""
    taken = []
    for one in asked:
        started = time.process_time()
        look(one.text)
        taken.append(1000 * (time.process_time() - started))
    return statistics.median(taken), float(np.percentile(taken, 99))


def certainties(index: search.Index, asked: Sequence[Question]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(certainty of each question, whether it has an answer, whether the right passage was found)."""
    names = index.chunks["doc_id"]
    there = set(names)
    rows = []
    for one in asked:
        hits = index.search(one.text, 3, "words")
        right = any(names[hit.chunk] == one.answer for hit in hits)
        rows.append((max((hit.share for hit in hits), default=0.0), one.answer in there, right))
    sure, answers, found = zip(*rows)
    return np.array(sure), np.array(answers), np.array(found)


def best_threshold(sure: np.ndarray, answered: np.ndarray) -> float:
    """The threshold at which answered and unanswered questions are told apart best (mean of both shares)."""
    tried = np.round(np.arange(0.05, 1, 0.01), 2)
    worth = [((sure >= at)[answered].mean() + (sure < at)[~answered].mean()) / 2 for at in tried]
    return float(tried[int(np.argmax(worth))])


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--vectors", type=Path, help="a model's folder, or vectors of words")
    parser.add_argument("--learn", type=float, default=0, help="seconds of learning vectors of words")
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=1200, help="of each kind")
    parser.add_argument("--bytes", type=int, nargs="+", default=[BYTES], help="sizes of chunks")
    parser.add_argument("--peers", action="store_true")
    return parser


def main() -> None:
    options = arguments().parse_args()
    text = pl.concat([pl.read_parquet(path) for path in sorted((options.data / "text").glob("*.parquet"))])
    asked = questions(options.data, text, options.questions)
    embedders: dict[str, Embedder | None] = {"none": None}
    if options.vectors:
        embedders[f"vectors: {options.vectors.name}"] = embedder_of(options.vectors)
    if options.learn:
        embedders["vectors: learned words"] = learned(text, options.learn)
    for most in options.bytes:
        chunks, seconds = corpus(text, asked, most, options.chunks)
        size = int(chunks["text"].str.len_bytes().sum() or 0) / 1e6
        print(f"{most} bytes: {chunks.height:,} chunks of {size:.1f} MB in {seconds:.1f} CPU-s; {len(asked)} questions",
              flush=True)  # fmt: skip
        for name, embedder in embedders.items():
            report(chunks, asked, name, embedder)
        print_threshold(chunks, asked)
        if options.peers:
            from benchmarks.search_peers import compare

            compare(chunks, [one for one in asked if one.reported])


def report(chunks: pl.DataFrame, asked: Sequence[Question], name: str, embedder: Embedder | None) -> None:
    started = time.process_time()
    vectors = embedder.embed(chunks["text"].to_list()) if embedder else None
    embedded = time.process_time() - started
    started = time.process_time()
    index = search.Index(chunks, vectors, embedder)
    opened = time.process_time() - started
    print(f"{name}: vectors in {embedded:.1f} CPU-s, opened in {opened:.1f} CPU-s", flush=True)
    ways: tuple[search.By, ...] = ("words",) if embedder is None else ("vectors", "both")
    for by in ways:
        for half in (False, True):
            found = recall(index, [one for one in asked if one.reported == half], by)
            listed = "  ".join(f"{kind} {share:.3f}" for kind, share in found.items())
            print(f"  {by:8} {'reported' if half else 'choosing'}: {listed}", flush=True)
        middle, slowest = milliseconds(lambda text, by=by: index.search(text, FIRST, by), asked[::7])  # type: ignore[misc]
        print(f"  {by:8} {middle:.1f} ms a question (99 of 100 under {slowest:.1f})", flush=True)


def print_threshold(chunks: pl.DataFrame, asked: Sequence[Question]) -> None:
    gone = {one.answer for one in asked if one.withheld}
    index = search.Index(chunks.filter(~pl.col("doc_id").is_in(list(gone))))
    choosing = certainties(index, [one for one in asked if not one.reported])
    at = best_threshold(*choosing[:2])
    print(f"threshold {at} (in use: {search.THRESHOLD})")
    reported = [one for one in asked if one.reported]
    every = certainties(index, reported)
    for kind in ("all", "paragraphs", "sections", "programs"):
        chosen = np.array([kind in ("all", one.kind) for one in reported])
        sure, answered, right = (values[chosen] for values in every)
        for limit in {at, search.THRESHOLD}:
            told = sure >= limit
            print(
                f"  {kind:10} at {limit:.2f}: of {answered.sum()} with an answer {told[answered].mean():.3f} answered "
                f"({right[answered & told].mean():.3f} of these from the right passage), of {(~answered).sum()} "
                f"without one {(~told)[~answered].mean():.3f} refused",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""Twins in meaning: how many pairs that people call alike are found, and how many that they call different.

    python -m benchmarks.semantic_duplicates DATA [--vectors FILE]      # eval/klue, preference/, neardup/, text/

English paraphrases are two answers to one request that say the same politely and impolitely; pairs of answers to
different requests are none. KLUE-STS gives pairs of Korean sentences with a judgement from 0 (nothing in common) to 5
(the same); vectors are learned from a part of DATA's text in the language and the sentences themselves. The last table
is of documents: copies made from others (words changed, sentences in another order, parts cut), and pairs that are
none; vectors are learned from these documents, as the stage learns from a corpus.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.curation.duplicates import vectors
from pipeline.curation.duplicates.semantic import SHORTEST, cosines

THRESHOLDS = (0.7, 0.8, 0.85, 0.9, 0.95)


def pairs(data: Path) -> tuple[list[str], list[str], np.ndarray]:
    with gzip.open(data / "eval/klue/klue_sts_dev.json.gz", "rt", encoding="utf-8") as file:
        rows = json.load(file)
    judged = np.array([row["labels"]["label"] for row in rows])
    return [row["sentence1"] for row in rows], [row["sentence2"] for row in rows], judged


def embedded(texts: list[str], learn_from: list[str], file: Path | None) -> vectors.Matrix:
    counts = vectors.word_counts(pl.Series(texts))
    with tempfile.TemporaryDirectory() as place:
        look_up = vectors.from_file(file) if file else vectors.learned(learn_from, Path(place))
        return vectors.vectors_of([(np.arange(len(texts)), counts)], len(texts), look_up)


def judged_pairs(data: Path, corpus: list[str], file: Path | None) -> None:
    left, right, judged = pairs(data)
    table = embedded([*left, *right], [*corpus, *left, *right], file)
    found = cosines(table, np.arange(len(left)), np.arange(len(left)) + len(left))
    ranks = np.corrcoef(np.argsort(np.argsort(found)), np.argsort(np.argsort(judged)))[0, 1]
    print(f"KLUE-STS, {len(left)} pairs: rank correlation with the judgements {ranks:.3f}\n")
    print("| threshold | judged 4 to 5 | 3 to 4 | 2 to 3 | below 2 |\n|---|---|---|---|---|")
    bins = [(4, 5.1), (3, 4), (2, 3), (0, 2)]
    for threshold in THRESHOLDS:
        shares = [(found[(judged >= low) & (judged < high)] >= threshold).mean() for low, high in bins]
        print(f"| {threshold} | " + " | ".join(f"{share:.3f}" for share in shares) + " |")


def english(data: Path, file: Path | None, draw: np.random.Generator) -> None:
    """Which share of paraphrases, and of pairs that are none, reaches each threshold."""
    with gzip.open(data / "preference/en_politeness.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [(row["chosen"], row["rejected"]) for row in map(json.loads, lines)]
    said = [pair for pair in rows if pair[0] != pair[1] and min(len(text.split()) for text in pair) >= SHORTEST]
    one, other = [left for left, _ in said], [right for _, right in said]
    parts = [pl.read_parquet(path, columns=["text"]) for path in sorted((data / "text").glob("en-*.parquet"))]
    table = embedded([*one, *other], [*pl.concat(parts)["text"].str.head(2_000).to_list(), *one, *other], file)
    count = len(said)
    alike = cosines(table, np.arange(count), np.arange(count) + count)
    first, second = draw.integers(0, count, (2, 20 * count))
    apart = cosines(table, first[first != second], second[first != second] + count)
    above = np.searchsorted(np.sort(apart), alike).mean() / len(apart)
    nearest = np.argmax(table[:count] @ table[count:].T, axis=1) == np.arange(count)
    print(f"\nEnglish, {count} paraphrases: area under the curve {above:.3f}, its own nearest {nearest.mean():.3f}\n")
    print("| threshold | paraphrases | pairs that are none |\n|---|---|---|")
    for threshold in THRESHOLDS:
        print(f"| {threshold} | {(alike >= threshold).mean():.3f} | {(apart >= threshold).mean():.4f} |")


def made_copies(data: Path, file: Path | None) -> None:
    documents = pl.read_parquet(data / "neardup/docs.parquet", columns=["id", "text"]).unique("id", maintain_order=True)
    made = pl.read_parquet(data / "neardup/pairs.parquet")
    place = pl.DataFrame({"id": documents["id"], "place": np.arange(documents.height)})
    for side in ("a", "b"):
        made = made.join(place.rename({"id": f"id_{side}", "place": f"place_{side}"}), on=f"id_{side}")
    table = embedded(documents["text"].to_list(), documents["text"].to_list(), file)
    made = made.with_columns(found=cosines(table, made["place_a"].to_numpy(), made["place_b"].to_numpy()))
    made = made.with_columns(near=pl.col("word5_jaccard") >= 0.8)
    shares = [(pl.col("found") >= threshold).mean().alias(str(threshold)) for threshold in THRESHOLDS]
    rows = made.group_by("op").agg(pl.len().alias("pairs"), pl.mean("near").alias("Jaccard .8"), *shares).sort("op")
    print(f"\n| {' | '.join(rows.columns)} |\n{'|---' * rows.width}|")
    for row in rows.iter_rows():
        print("| " + " | ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row) + " |")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of development data")
    parser.add_argument("--vectors", type=Path, help="vectors of words from a file, instead of learned ones")
    return parser


def main() -> None:
    given = arguments().parse_args()
    parts = [pl.read_parquet(path, columns=["text"]) for path in sorted((given.data / "text").glob("ko-*.parquet"))]
    corpus = pl.concat(parts)["text"].str.head(800).gather_every(2).to_list()
    judged_pairs(given.data, corpus, given.vectors)
    english(given.data, given.vectors, np.random.default_rng(0))
    made_copies(given.data, given.vectors)


if __name__ == "__main__":
    main()

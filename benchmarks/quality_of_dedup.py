"""Accuracy of the search for duplicates, repeated sentences and evaluation items, against labelled data.

    python -m benchmarks.quality_of_dedup DATA        # the folder of development data (text/, neardup/, eval/, sft/)

The truth is computed in other ways than in the pipeline: shingles as strings, Python's sets, and all pairs of documents
by a product of sparse matrices. Results: docs/results/deduplication.md.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import random
import re
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse

from benchmarks.making import context, raw_documents
from pipeline.curation import contamination
from pipeline.curation.duplicates import near, repetition
from pipeline.curation.duplicates.signatures import band_hashes, candidate_probability, signatures_of
from pipeline.curation.evaluation_items import FileItems, Index, Item, all_items, index_of
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store

LEAST = 0.4
CONTAINED = 0.9
BANDS_OF_SIMILARITY = [0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0001]
SPACES = ["  ", "\t", "\n\n", "\u00a0", " \u3000"]


def words5(text: str) -> set[str]:
    """Word 5-grams, as the development data define them (neardup/make_neardups.py)."""
    words = text.split()
    if len(words) < 5:
        return {" ".join(words)} if words else set()
    return {" ".join(words[place : place + 5]) for place in range(len(words) - 4)}


def jaccard(one: str, other: str) -> float:
    a, b = words5(one), words5(other)
    return len(a & b) / max(1, len(a | b))


def all_pairs(texts: list[str], least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(left, right, Jaccard) of every pair of at least this similarity, exactly."""
    numbers: dict[str, int] = {}
    columns, bounds = [], [0]
    for text in texts:
        columns += [numbers.setdefault(shingle, len(numbers)) for shingle in words5(text)]
        bounds.append(len(columns))
    matrix = scipy.sparse.csr_matrix(
        (np.ones(len(columns), np.int32), np.array(columns), np.array(bounds)), shape=(len(texts), len(numbers))
    )
    shared = scipy.sparse.triu(matrix @ matrix.T, k=1).tocoo()
    sizes = np.diff(bounds)
    similarity = shared.data / (sizes[shared.row] + sizes[shared.col] - shared.data)
    enough = similarity >= least
    return shared.row[enough], shared.col[enough], similarity[enough]


def decided(raw: Artifact, decisions: Artifact) -> pl.DataFrame:
    """All decisions beside the documents that they are about."""
    return pl.concat(
        pl.read_parquet(decisions.table(name)).hstack(pl.read_parquet(raw.table(name)).drop("doc_id"))
        for name in raw.fragments
    )


def duplicates(raw: Artifact, store: Store, **settings: Any) -> tuple[Artifact, pl.DataFrame]:
    """The artifact `duplicate_decisions` with these settings, and its decisions beside the documents."""
    made = near.make(context(store), {"raw_documents": raw}, near.Settings(**settings))
    return made, decided(raw, made)


# -- exact and near duplicates -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corpus:
    """Documents and the truth about them: all pairs of at least LEAST, and those that the data label."""

    frame: pl.DataFrame  # id, text, source, lang
    left: np.ndarray
    right: np.ndarray
    similarity: np.ndarray
    labelled: pl.DataFrame  # id_a, id_b, label, op


def corpus_of(frame: pl.DataFrame, natural: pl.DataFrame, labelled: pl.DataFrame) -> Corpus:
    """Compare all pairs; prints how far they agree with the natural pairs that the data list."""
    left, right, similarity = all_pairs(frame["text"].to_list(), LEAST)
    print(f"\n{frame.height:,} documents, {len(left):,} pairs of {LEAST} or more (exact, all of them)")
    place = {name: number for number, name in enumerate(frame["id"])}
    known = {(min(a, b), max(a, b)): value for a, b, value in zip(left, right, similarity)}
    differs = 0
    for row in natural.iter_rows(named=True):
        a, b = sorted((place[row["id_a"]], place[row["id_b"]]))
        differs += abs(known.get((a, b), 0) - row["word5_jaccard"]) > 1e-6
    print(f"of {natural.height:,} natural pairs in the data, {differs} have another similarity here")
    return Corpus(frame, left, right, similarity, labelled)


def check_duplicates(store: Store, corpus: Corpus) -> None:
    """Exact and near duplicates in the natural text and the planted copies together."""
    raw = raw_documents(store, corpus.frame)
    for threshold, bands in ((0.8, None), (0.7, None), (0.8, (14, 8)), (0.7, (14, 8))):
        settings = near.Settings(threshold=threshold, bands=bands)
        _, table = duplicates(raw, store, threshold=threshold, bands=bands)
        gone = {row["source_id"]: row for row in table.filter(pl.col("keep").not_()).iter_rows(named=True)}
        counted, rows = settings.banding()
        print(f"\nthreshold {threshold}, {counted} bands x {rows} rows: removed {len(gone):,} "
              f"({dict(Counter(row['reason'] for row in gone.values()))}); "
              f"without a kept document at the threshold: {unjust_removals(table, gone, threshold)}")  # fmt: skip
        print_by_similarity(corpus, gone, counted, rows)
        print_labelled_pairs(corpus.labelled, table, gone)


def unjust_removals(table: pl.DataFrame, gone: dict[str, dict], threshold: float) -> int:
    """Removals for a document that does not stay or is less similar; all similarities are computed anew."""
    kept = set(table.filter("keep")["doc_id"])
    text_of = dict(zip(table["doc_id"], table["text"]))
    unjust = sum(row["kept_id"] not in kept for row in gone.values())
    for row in gone.values():
        true = jaccard(row["text"], text_of[row["kept_id"]])
        assert abs(true - row["jaccard"]) < 1e-12, (true, row["jaccard"])
        unjust += true < threshold
    return unjust


def print_by_similarity(corpus: Corpus, gone: dict[str, dict], bands: int, rows: int) -> None:
    """By similarity: which share of the pairs are candidates, and how many documents are both left."""
    similarity = corpus.similarity
    signatures, _ = signatures_of(corpus.frame["text"], 5, 112)
    values = band_hashes(signatures, bands, rows)
    candidate = (values[:, corpus.left] == values[:, corpus.right]).any(axis=0)
    stays = ~corpus.frame["id"].is_in(list(gone)).to_numpy()
    both_stay = stays[corpus.left] & stays[corpus.right]
    print("| similarity | pairs | candidates | theory | both stay |\n|---|---|---|---|---|")
    for low, high in itertools.pairwise(BANDS_OF_SIMILARITY):
        inside = (similarity >= low) & (similarity < high)
        if inside.any():
            theory = np.mean(candidate_probability(similarity[inside], bands, rows))
            print(f"| {low:.2f}-{min(high, 1):.2f} | {inside.sum():,} | {candidate[inside].mean():.4f} "
                  f"| {theory:.4f} | {both_stay[inside].sum()} |")  # fmt: skip
    for least in (0.8, 0.9):
        alike = similarity >= least
        print(f"pairs of {least} or more: {alike.sum():,}, candidates {candidate[alike].mean():.5f}, "
              f"no longer both there {1 - both_stay[alike].mean():.5f}")  # fmt: skip


def print_labelled_pairs(labelled: pl.DataFrame, table: pl.DataFrame, gone: dict[str, dict]) -> None:
    """By label: pairs of which one was removed for the other; of copies, pairs that were missed."""
    doc_id = dict(zip(table["source_id"], table["doc_id"]))
    joined: Counter[str] = Counter()
    for row in labelled.iter_rows(named=True):
        for one, other in ((row["id_a"], row["id_b"]), (row["id_b"], row["id_a"])):
            if one in gone and gone[one]["kept_id"] == doc_id[other]:
                joined[row["label"]] += 1
    print("pairs of the labelled set of which one was removed for the other:", dict(joined))
    for operation in ("exact", "whitespace"):
        some = labelled.filter(pl.col("op") == operation)
        print(f"{operation}: {some.height} pairs, {missed(some, gone)} missed")


def missed(pairs: pl.DataFrame, gone: Container[str]) -> int:
    """Pairs of which both documents are left."""
    return sum(row["id_a"] not in gone and row["id_b"] not in gone for row in pairs.iter_rows(named=True))


def check_stubs(store: Store, frame: pl.DataFrame, natural: pl.DataFrame) -> None:
    """The redirect stubs of rust-kr: alike to some 0.75 in pairs, and each of them a document of its own."""
    names = set(natural["id_a"]) | set(natural["id_b"])
    raw = raw_documents(store, frame.filter(pl.col("id").is_in(list(names))))
    for threshold in (0.8, 0.7):
        made, _ = duplicates(raw, store, threshold=threshold)
        counts = made.counts
        print(f"stubs and other natural pairs, threshold {threshold}: {counts['in']} in, {counts['kept']} kept, "
              f"{made.facts['compared']:,} pairs compared")  # fmt: skip


def check_containment(store: Store, planted: pl.DataFrame, labelled: pl.DataFrame) -> None:
    """Documents that lie in others."""
    _, table = duplicates(raw_documents(store, planted), store, containment=CONTAINED)
    gone = set(table.filter(pl.col("keep").not_())["source_id"])
    some = labelled.filter((pl.col("label") == "containment") & (pl.col("word5_contain_a") >= CONTAINED))
    text_of = dict(zip(table["doc_id"], table["text"]))
    wrong = 0
    for row in table.filter(pl.col("reason") == "contained").iter_rows(named=True):
        inner, outer = words5(row["text"]), words5(text_of[row["kept_id"]])
        wrong += len(inner & outer) / max(1, len(inner)) < CONTAINED
    print(f"\ncontainment {CONTAINED}: {some.height} planted pairs, {missed(some, gone)} missed; "
          f"{(table['reason'] == 'contained').sum()} removed as contained, {wrong} of them wrongly")  # fmt: skip


# -- repeated sentences ------------------------------------------------------------------------------------------------


def check_sentences(store: Store, planted: pl.DataFrame, rows: list[dict]) -> None:
    """Planted sentences: are they cut at their place, and what else is."""
    named = {row["doc_id"] for row in rows}
    raw = raw_documents(store, planted.filter(pl.col("id").is_in(list(named))))
    made = repetition.make(context(store), {"raw_documents": raw}, repetition.Settings())
    table = {row["source_id"]: row for row in decided(raw, made).iter_rows(named=True)}
    hit = sum(
        any(edit["start"] == row["start"]
            and table[row["doc_id"]]["text"][edit["start"] : edit["end"]].strip() == row["sentence"]
            for edit in table[row["doc_id"]]["edits"] or [])
        for row in rows
    )  # fmt: skip
    cut = Counter(
        row["text"][edit["start"] : edit["end"]].strip() for row in table.values() for edit in row["edits"] or []
    )
    others = [text for text in cut if sum(text in row["text"] for row in table.values()) <= 10]
    print(f"\nplanted sentences: {hit} of {len(rows)} cut at their place; {sum(cut.values())} cuts in all; "
          f"{len(others)} different ones of sentences in 10 documents or fewer")  # fmt: skip


# -- contamination -----------------------------------------------------------------------------------------------------


def item_sets(folder: Path) -> list[FileItems]:
    return [
        FileItems(name="mbpp", path=[str(folder / "mbpp/mbpp_nontest.jsonl.gz")], id="task_id"),
        FileItems(name="humaneval", path=[str(folder / "humaneval/HumanEval.jsonl.gz")], id="task_id",
                columns=("prompt", "canonical_solution")),
        FileItems(name="gsm8k", path=[str(folder / "gsm8k/gsm8k_test_part.jsonl.gz")]),
        FileItems(name="hellaswag", path=[str(folder / "hellaswag/val_part.jsonl.gz")]),
        FileItems(name="ifeval", path=[str(folder / "ifeval/en_input_data_part.jsonl.gz")]),
        FileItems(name="mt_bench", path=[str(folder / "mt_bench/question.jsonl")]),
        FileItems(name="komt_bench", path=[str(folder / "komt_bench/question_ko.jsonl")]),
        FileItems(name="klue_nli", path=[str(folder / "klue/klue_nli_dev.json.gz")]),
        FileItems(name="klue_sts", path=[str(folder / "klue/klue_sts_dev.json.gz")]),
        *(FileItems(name=f"kobest_{name}", path=[str(folder / f"kobest/{name}/dev.tsv.gz")])
          for name in ("BoolQ", "COPA", "HellaSwag", "SentiNeg", "WiC")),
    ]  # fmt: skip


def reworded(text: str, share: float, draw: random.Random) -> str:
    """The text with a share of its words replaced by other words of it, reversed."""
    words = re.split(r"(\s+)", text)
    real = [place for place, word in enumerate(words) if word.strip()]
    for place in draw.sample(real, round(share * len(real))):
        words[place] = words[draw.choice(real)][::-1]
    return "".join(words)


def changes_by(draw: random.Random) -> dict[str, Callable[[str], str]]:
    """What may have been done to an item before it came into a document, by name."""
    return {
        "verbatim": lambda text: text,
        "re-wrapped": lambda text: "\n".join(textwrap.wrap(text, 60, break_long_words=False, break_on_hyphens=False)),
        "re-spaced": lambda text: re.sub(r"\s+", lambda _: draw.choice(SPACES), text),
        **{f"{share:.0%}": partial(reworded, share=share, draw=draw) for share in (0.02, 0.05, 0.1, 0.2)},
    }  # fmt: skip


def check_contamination(data: Path, text: pl.DataFrame) -> None:
    """Items in training data that hold them, planted in real documents, and in documents that hold none."""
    sets, cache = item_sets(data / "eval"), data / ".cache"  # files on this machine need no cache
    items = all_items(sets, {chosen.name: chosen.contents(cache, print) for chosen in sets}, cache, print)
    index = index_of(items)
    print(f"\n{len(items):,} evaluation items")
    with gzip.open(data / "sft/code_mbpp_train.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    texts = pl.Series(["\n".join(message["content"] for message in row["messages"]) for row in rows])
    hits = contamination.find(texts, index)
    print(f"sft/code_mbpp_train: {hits['row'].n_unique()} of {len(texts)} documents found")
    check_planted_items(items, index, text)
    for kind, some in (
        ("prose", text.filter(pl.col("lang") != "code")),
        ("code", text.filter(pl.col("lang") == "code")),
    ):
        hits = contamination.find(some["text"], index)
        print(f"flagged of {some.height:,} documents of {kind}: {hits['row'].n_unique()}")


def check_planted_items(items: list[Item], index: Index, text: pl.DataFrame) -> None:
    """Which share of up to 200 items of each set is found in real documents, as they are and changed."""
    checked = index.items.group_by("set", maintain_order=True).agg(
        pl.len().alias("items"), (pl.col("grams") > 0).sum().alias("checked")
    )
    draw = random.Random(7)
    carriers = text.filter(pl.col("text").str.len_chars().is_between(1000, 6000))["text"].to_list()
    print(
        "| set | items | checked | verbatim | re-wrapped | re-spaced | 2 % of words edited | 5 % | 10 % | 20 % |\n|"
        + "---|" * 10
    )
    changes = changes_by(draw)
    for name, total, number in checked.iter_rows():
        of_set = [place for place, item in enumerate(items) if item.set == name]
        of_set = draw.sample(of_set, min(200, len(of_set)))
        of_set = [place for place in of_set if index.items["grams"][place]]
        shares = []
        for change in changes.values():
            made = []
            for place in of_set:
                host = draw.choice(carriers)
                cut = host.find("\n", len(host) // 2) % len(host)
                made.append(host[:cut] + "\n" + change("\n".join(items[place].texts)) + "\n" + host[cut:])
            hits = contamination.find(pl.Series(made), index)
            pairs = set(hits.select("row", "item").iter_rows())
            shares.append(sum((row, place) in pairs for row, place in enumerate(of_set)) / len(of_set))
        print(f"| {name} | {total} | {number} | " + " | ".join(f"{share:.3f}" for share in shares) + " |")


# -- all of it ---------------------------------------------------------------------------------------------------------


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of development data")
    return parser


def main() -> None:
    data = arguments().parse_args().data
    text = pl.concat(pl.read_parquet(path) for path in sorted((data / "text").glob("*.parquet")))
    real = text.select("id", "text", "lang", source=pl.lit("natural"))
    planted = pl.read_parquet(data / "neardup/docs.parquet").select("id", "text", "lang", source=pl.lit("planted"))
    natural = pl.read_parquet(data / "neardup/natural_pairs.parquet")
    labelled = pl.read_parquet(data / "neardup/pairs.parquet")
    sentences = [json.loads(line) for line in (data / "neardup/sentence_dups.jsonl").read_text().splitlines()]
    with tempfile.TemporaryDirectory() as folder:
        check_duplicates(Store(folder, "all"), corpus_of(pl.concat([real, planted]), natural, labelled))
        check_stubs(Store(folder, "stubs"), real, natural)
        check_containment(Store(folder, "contained"), planted, labelled)
        check_sentences(Store(folder, "sentences"), planted, sentences)
    check_contamination(data, text)


if __name__ == "__main__":
    main()

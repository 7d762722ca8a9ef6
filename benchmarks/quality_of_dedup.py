"""How right the search for duplicates, repeated sentences and evaluation items is, against labelled data.

    python benchmarks/quality_of_dedup.py ../shared/data

Everything it is measured against is computed here in another way than in the pipeline: shingles as strings, sets of
Python, and all pairs of documents by a product of sparse matrices. Figures of a run are in
docs/results/deduplication.md.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import sys
import tempfile
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse
import xxhash

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import itertools

from pipeline.curation import contamination
from pipeline.curation.duplicates import near, repetition
from pipeline.curation.duplicates.signatures import band_hashes, candidate_probability, signatures_of
from pipeline.curation.evaluation_items import FileItems, all_items, index_of
from pipeline.documents.document import DOCUMENT_SCHEMA
from pipeline.documents.execution import ExecutionSettings
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store

BANDS_OF_SIMILARITY = [0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0001]
SPACES = ["  ", "\t", "\n\n", "\u00a0", " \u3000"]
HERE = ExecutionSettings(executor="in_process")


def words5(text: str) -> set[str]:
    """The data's own definition (../shared/data/neardup/make_neardups.py)."""
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


def raw_documents(store: Store, frame: pl.DataFrame, rows_in_part: int = 8192) -> Artifact:
    """A raw_documents artifact of a frame with `id`, `text`, `source`, `lang`."""
    import unicodedata

    def identity(text: str) -> str:
        return xxhash.xxh3_128_hexdigest(" ".join(unicodedata.normalize("NFC", text).split()).encode())

    frame = frame.rename({"id": "source_id"}).with_columns(
        doc_id=pl.Series([identity(text) for text in frame["text"]]),
    )
    frame = frame.with_columns(pl.lit(None).alias(name) for name in DOCUMENT_SCHEMA if name not in frame.columns)
    frame = frame.select(pl.col(name).cast(kind) for name, kind in DOCUMENT_SCHEMA.items())

    def build(draft) -> None:
        for (source,), rows in frame.sort("doc_id", "source_id").group_by("source", maintain_order=True):
            parts = -(-rows.height // rows_in_part)
            part = np.array([int(value[:4], 16) * parts >> 16 for value in rows["doc_id"]])
            for number in range(parts):
                table = rows.filter(pl.Series(part == number))
                key = {"rows": str(table.hash_rows().sum()), "height": table.height}
                draft.table(f"{source}-{number:02x}", key, lambda table=table: table)

    return store.make(
        "raw_documents", code_version="1", settings={}, inputs={"texts": str(frame.hash_rows().sum())}, build=build,
        log=lambda line: None,
    )  # fmt: skip


def outcome(raw: Artifact, decisions: Artifact) -> pl.DataFrame:
    return pl.concat(
        pl.read_parquet(decisions.table(name)).hstack(pl.read_parquet(raw.table(name)).drop("doc_id"))
        for name in raw.fragments
    )


def documents(store: Store, frame: pl.DataFrame, natural: pl.DataFrame, pairs: pl.DataFrame) -> None:
    """Exact and near duplicates in the natural text and the planted copies together."""
    texts = frame["text"].to_list()
    place = {name: number for number, name in enumerate(frame["id"])}
    left, right, similarity = all_pairs(texts, 0.4)
    print(f"\n{len(texts):,} documents, {len(left):,} pairs of 0.4 or more (exact, all of them)")
    known = {(min(a, b), max(a, b)): value for a, b, value in zip(left, right, similarity)}
    differs = [
        row for row in natural.iter_rows(named=True)
        if abs(known.get(tuple(sorted((place[row["id_a"]], place[row["id_b"]]))), 0) - row["word5_jaccard"]) > 1e-6
    ]  # fmt: skip
    print(f"of {natural.height:,} natural pairs in the data, {len(differs)} have another similarity here")
    raw = raw_documents(store, frame)
    for threshold, bands in ((0.8, None), (0.7, None), (0.8, (14, 8)), (0.7, (14, 8))):
        settings = near.Settings(threshold=threshold, bands=bands)
        made = near.make(store, raw, None, settings, HERE, lambda line: None)
        table = outcome(raw, made)
        gone = {row["source_id"]: row for row in table.filter(pl.col("keep").not_()).iter_rows(named=True)}
        kept_ids = set(table.filter("keep")["doc_id"])
        text_of = dict(zip(table["doc_id"], table["text"]))
        unjust = [row for row in gone.values() if row["kept_id"] not in kept_ids]
        wrong = 0
        for row in gone.values():
            true = jaccard(row["text"], text_of[row["kept_id"]])
            wrong += true < threshold
            assert abs(true - row["jaccard"]) < 1e-12, (true, row["jaccard"])
        counted, rows = settings.banding()
        print(f"\nthreshold {threshold}, {counted} bands x {rows} rows: removed {len(gone):,} "
              f"({dict(Counter(row['reason'] for row in gone.values()))}); "
              f"without a kept document at the threshold: {len(unjust) + wrong}")  # fmt: skip
        signatures, _ = signatures_of(frame["text"], 5, 112)
        values = band_hashes(signatures, counted, rows)
        candidate = (values[:, left] == values[:, right]).any(axis=0)
        both_stay = np.array(
            [frame["id"][int(a)] not in gone and frame["id"][int(b)] not in gone for a, b in zip(left, right)]
        )
        print("| similarity | pairs | candidates | theory | both stay |\n|---|---|---|---|---|")
        for low, high in itertools.pairwise(BANDS_OF_SIMILARITY):
            inside = (similarity >= low) & (similarity < high)
            if inside.any():
                theory = candidate_probability(similarity[inside], counted, rows).mean()
                print(
                    f"| {low:.2f}-{min(high, 1):.2f} | {inside.sum():,} | {candidate[inside].mean():.4f} "
                    f"| {theory:.4f} "
                    f"| {both_stay[inside].sum()} |"
                )
        for least in (0.8, 0.9):
            high = similarity >= least
            print(f"pairs of {least} or more: {high.sum():,}, candidates {candidate[high].mean():.5f}, "
                  f"no longer both there {1 - both_stay[high].mean():.5f}")  # fmt: skip
        joined = Counter()
        for row in pairs.iter_rows(named=True):
            for one, other in ((row["id_a"], row["id_b"]), (row["id_b"], row["id_a"])):
                if one in gone and gone[one]["kept_id"] == table_id(table, other):
                    joined[row["label"]] += 1
        print("pairs of the labelled set of which one was removed for the other:", dict(joined))
        for operation in ("exact", "whitespace"):
            some = pairs.filter(pl.col("op") == operation)
            missed = sum(row["id_a"] not in gone and row["id_b"] not in gone for row in some.iter_rows(named=True))
            print(f"{operation}: {some.height} pairs, {missed} missed")


_ids: dict[int, dict[str, str]] = {}


def table_id(table: pl.DataFrame, name: str) -> str:
    if id(table) not in _ids:
        _ids[id(table)] = dict(zip(table["source_id"], table["doc_id"]))
    return _ids[id(table)][name]


def stubs(store: Store, frame: pl.DataFrame, natural: pl.DataFrame) -> None:
    """The redirect stubs of rust-kr: alike to some 0.75 in pairs, and each of them a document of its own."""
    names = set(natural["id_a"]) | set(natural["id_b"])
    raw = raw_documents(Store(store.root, "stubs"), frame.filter(pl.col("id").is_in(list(names))))
    for threshold in (0.8, 0.7):
        made = near.make(
            Store(store.root, "stubs"), raw, None, near.Settings(threshold=threshold), HERE, lambda line: None
        )
        counts = made.counts
        print(f"stubs and other natural pairs, threshold {threshold}: {counts['in']} in, {counts['kept']} kept, "
              f"{made.facts['compared']:,} pairs compared")  # fmt: skip


def containment(store: Store, planted: pl.DataFrame, pairs: pl.DataFrame) -> None:
    raw = raw_documents(Store(store.root, "contained"), planted)
    settings = near.Settings(containment=0.9)
    table = outcome(raw, near.make(Store(store.root, "contained"), raw, None, settings, HERE, lambda line: None))
    gone = set(table.filter(pl.col("keep").not_())["source_id"])
    some = pairs.filter((pl.col("label") == "containment") & (pl.col("word5_contain_a") >= 0.9))
    missed = sum(row["id_a"] not in gone and row["id_b"] not in gone for row in some.iter_rows(named=True))
    text_of = dict(zip(table["doc_id"], table["text"]))
    wrong = 0
    for row in table.filter(pl.col("reason") == "contained").iter_rows(named=True):
        inner, outer = words5(row["text"]), words5(text_of[row["kept_id"]])
        wrong += len(inner & outer) / max(1, len(inner)) < 0.9
    print(f"\ncontainment 0.9: {some.height} planted pairs, {missed} missed; "
          f"{(table['reason'] == 'contained').sum()} removed as contained, {wrong} of them wrongly")  # fmt: skip


def sentences(store: Store, planted: pl.DataFrame, rows: list[dict]) -> None:
    named = {row["doc_id"] for row in rows}
    frame = planted.filter(pl.col("id").is_in(list(named)))
    raw = raw_documents(Store(store.root, "sentences"), frame)
    made = repetition.make(Store(store.root, "sentences"), raw, None, repetition.Settings(), HERE, lambda line: None)
    table = {row["source_id"]: row for row in outcome(raw, made).iter_rows(named=True)}
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


def edited(text: str, share: float, draw: random.Random) -> str:
    """The text with a share of its words replaced by other words of it."""
    words = re.split(r"(\s+)", text)
    real = [place for place, word in enumerate(words) if word.strip()]
    for place in draw.sample(real, round(share * len(real))):
        words[place] = words[draw.choice(real)][::-1]
    return "".join(words)


def evaluation_items(data: Path, prose: pl.DataFrame) -> None:
    folder = data / "eval"
    sets = [
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
    cache = data / ".cache"  # files on this machine need none
    items = all_items(sets, {chosen.name: chosen.contents(cache) for chosen in sets}, cache, print)
    index = index_of(items)
    checked = index.items.group_by("set", maintain_order=True).agg(
        pl.len().alias("items"), (pl.col("grams") > 0).sum().alias("checked")
    )
    print(f"\n{len(items):,} evaluation items")
    with gzip.open(data / "sft/code_mbpp_train.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    texts = pl.Series(["\n".join(message["content"] for message in row["messages"]) for row in rows])
    hits = contamination.find(texts, index)
    print(f"sft/code_mbpp_train: {hits['row'].n_unique()} of {len(texts)} documents found")

    draw = random.Random(7)
    carriers = prose.filter(pl.col("text").str.len_chars().is_between(1000, 6000))["text"].to_list()
    print(
        "| set | items | checked | verbatim | re-wrapped | re-spaced | 2 % of words edited | 5 % | 10 % | 20 % |\n|"
        + "---|" * 10
    )
    changes = {
        "verbatim": lambda text: text,
        "re-wrapped": lambda text: "\n".join(textwrap.wrap(text, 60, break_long_words=False, break_on_hyphens=False)),
        "re-spaced": lambda text: re.sub(r"\s+", lambda _: draw.choice(SPACES), text),
        **{f"{share:.0%}": lambda text, share=share: edited(text, share, draw) for share in (0.02, 0.05, 0.1, 0.2)},
    }  # fmt: skip
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
    for kind, some in (
        ("prose", prose.filter(pl.col("lang") != "code")),
        ("code", prose.filter(pl.col("lang") == "code")),
    ):
        hits = contamination.find(some["text"], index)
        print(f"flagged of {some.height:,} documents of {kind}: {hits['row'].n_unique()}")


def main(data: Path) -> None:
    natural_text = pl.concat(pl.read_parquet(path) for path in sorted((data / "text").glob("*.parquet")))
    planted = pl.read_parquet(data / "neardup/docs.parquet")
    natural = pl.read_parquet(data / "neardup/natural_pairs.parquet")
    pairs = pl.read_parquet(data / "neardup/pairs.parquet")
    frame = pl.concat(
        [
            natural_text.select("id", "text", "lang", source=pl.lit("natural")),
            planted.select("id", "text", "lang", source=pl.lit("planted")),
        ]
    )
    with open(data / "neardup/sentence_dups.jsonl") as file:
        rows = [json.loads(line) for line in file]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, "all")
        documents(store, frame, natural, pairs)
        stubs(store, natural_text.select("id", "text", "lang", source=pl.lit("natural")), natural)
        containment(store, planted.select("id", "text", "lang", source=pl.lit("planted")), pairs)
        sentences(store, planted.select("id", "text", "lang", source=pl.lit("planted")), rows)
    evaluation_items(data, natural_text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

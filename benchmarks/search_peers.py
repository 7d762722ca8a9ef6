"""Libraries that search text by BM25, on the same chunks and questions (`benchmarks/grounding.py --peers`)."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from pipeline.grounding.terms import terms_of_text

FIRST = 5


def compare(chunks: pl.DataFrame, asked: Sequence[Any]) -> None:
    """Print recall and time of every library that is installed."""
    for name, make in {"bm25s, our terms": of_bm25s, "tantivy, our terms": of_tantivy,
                       "tantivy, its own terms": of_tantivy_alone}.items():  # fmt: skip
        started = time.process_time()
        try:
            look = make(chunks)
        except ImportError as error:
            print(f"{name}: {error.name} is not installed")
            continue
        built = time.process_time() - started
        found: dict[str, list[bool]] = {}
        taken = []
        names = chunks["doc_id"]
        for one in asked:
            started = time.process_time()
            hits = look(one.text)
            taken.append(1000 * (time.process_time() - started))
            found.setdefault(one.kind, []).append(any(names[hit] == one.answer for hit in hits))
        listed = "  ".join(f"{kind} {sum(values) / len(values):.3f}" for kind, values in found.items())
        print(f"{name}: built in {built:.1f} CPU-s, {statistics.median(taken):.1f} ms  {listed}", flush=True)


def of_bm25s(chunks: pl.DataFrame) -> Callable[[str], list[int]]:
    import bm25s

    terms = chunks.select("terms", "counts")
    every = terms["terms"].explode().drop_nulls().unique().sort()
    number = {term: place for place, term in enumerate(every.to_list())}
    ids = [
        [number[term] for term, count in zip(of or [], counts or []) for _ in range(count)]
        for of, counts in terms.iter_rows()
    ]
    held = bm25s.BM25(k1=1.2, b=0.75)
    held.index((ids, {str(term): place for term, place in number.items()}), show_progress=False)

    def look(text: str) -> list[int]:
        known = [number[term] for term in terms_of_text(text).tolist() if term in number]
        if not known:
            return []
        best, _ = held.retrieve([known], k=FIRST, show_progress=False)
        return [int(place) for place in best[0]]

    return look


def of_tantivy(chunks: pl.DataFrame) -> Callable[[str], list[int]]:
    def spelt(terms: Sequence[int], counts: Sequence[int]) -> str:
        return " ".join(f"{term:x}" for term, count in zip(terms, counts) for _ in range(count))

    texts = [spelt(terms or [], counts or []) for terms, counts in chunks.select("terms", "counts").iter_rows()]
    return _tantivy(texts, lambda text: " ".join(f"{term:x}" for term in terms_of_text(text).tolist()))


def of_tantivy_alone(chunks: pl.DataFrame) -> Callable[[str], list[int]]:
    keep = str.maketrans(dict.fromkeys("+-&|!(){}[]^\"~*?:\\/<>='`,", " "))
    return _tantivy(chunks["text"].to_list(), lambda text: text.translate(keep).lower())


def _tantivy(texts: Sequence[str], asked: Callable[[str], str]) -> Callable[[str], list[int]]:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("body", stored=False)
    builder.add_unsigned_field("chunk", stored=True)
    index = tantivy.Index(builder.build(), path=tempfile.mkdtemp())
    writer = index.writer(heap_size=100_000_000, num_threads=1)
    for place, text in enumerate(texts):
        writer.add_document(tantivy.Document(body=text, chunk=place))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()

    def look(text: str) -> list[int]:
        words = asked(text).split()
        if not words:
            return []
        query = index.parse_query(" ".join(words), ["body"])
        return [searcher.doc(place)["chunk"][0] for _, place in searcher.search(query, FIRST).hits]

    return look

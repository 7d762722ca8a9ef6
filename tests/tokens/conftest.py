"""Generated text in three languages, curated documents of it, and a small tokenizer of each kind."""

from __future__ import annotations

import inspect
import json
import logging
import textwrap
import unicodedata
from itertools import islice, pairwise, product

import polars as pl
import pytest
import xxhash

from pipeline.documents.document import DOCUMENT_SCHEMA
from pipeline.store.store import Store
from pipeline.tokens import training
from pipeline.tokens.token_settings import TokenizerSettings
from pipeline.tokens.tokenizer import load
from tests.making import context

KINDS = {
    "sentencepiece": TokenizerSettings(vocab_size=1500),
    "unigram": TokenizerSettings(vocab_size=1000, algorithm="unigram"),
    "bpe": TokenizerSettings(kind="bpe", vocab_size=1500),
}
SUBJECTS = (
    "우리는",
    "학생이",
    "새로운 연구가",
    "그 회사는",
    "서울시는",
    "작은 모형은",
    "파이썬으로 만든 도구는",
    "기자는",
)
OBJECTS = (
    "문서를",
    "한국어 문장을",
    "2023년 3월의 자료를",
    "복잡한 문제를",
    "검색 결과를",
    "12,345개의 낱말을",
    "'따옴표'를",
)
VERBS = ("읽었다.", "빠르게 고쳤습니다!", "다시 나누었다", "살펴보고 있습니다.", "모두 지웠을까?", "천천히 배웁니다…")


def korean() -> list[str]:
    sentences = [" ".join(words) for words in product(SUBJECTS, OBJECTS, VERBS)]
    return ["\n".join(islice(sentences, start, start + 7)) for start in range(0, len(sentences), 3)]


def code() -> list[str]:
    sources = [inspect.getsource(module) for module in (textwrap, json.decoder, json.encoder, logging)]
    return [part for source in sources for part in source.split("\n\n\n") if part.strip()]


def english() -> list[str]:
    parts = [inspect.getdoc(getattr(str, name)) or "" for name in dir(str)]
    parts += [inspect.cleandoc(module.__doc__ or "") for module in (textwrap, json, logging, inspect, unicodedata)]
    return [f"{part} See also: {other}" for part, other in pairwise(parts) if part]


def documents(texts: dict[str, list[str]]) -> pl.DataFrame:
    """A table of documents. texts: by source, which is also the language."""
    rows = [
        (xxhash.xxh3_128_hexdigest(" ".join(text.split()).encode()), text, lang, f"{lang}/{i}", lang)
        for lang, found in texts.items()
        for i, text in enumerate(found)
    ]
    frame = pl.DataFrame(rows, schema=["doc_id", "text", "source", "source_id", "lang"], orient="row")
    empty = [pl.lit(None, dtype=pl.String).alias(name) for name in DOCUMENT_SCHEMA if name not in frame.columns]
    return frame.with_columns(empty).select(*DOCUMENT_SCHEMA).sort("doc_id", "source_id")


def curate(store: Store, texts: dict[str, list[str]]):
    """Curated documents as curation would write them, two tables per source."""
    frame = documents(texts)

    def build(draft):
        half = (pl.col("doc_id").str.slice(0, 1) < "8").alias("half")
        for (source, low), part in sorted(frame.with_columns(half).group_by("source", "half")):
            fragment = f"{source}-{'0' if low else '8'}"
            key = {"ids": part["doc_id"].to_list(), "texts": part["text"].to_list()}
            draft.table(fragment, key, lambda part=part: part.drop("half").sort("doc_id"))

    content = {"ids": frame["doc_id"].to_list(), "texts": [xxhash.xxh3_64_hexdigest(t.encode()) for t in frame["text"]]}
    return store.make("curated_documents", code_version="1", settings=content, inputs={}, build=build, log=quiet)


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="session")
def texts() -> dict[str, list[str]]:
    return {"ko": korean(), "code": code(), "en": english()}


@pytest.fixture(scope="session")
def made(tmp_path_factory, texts):
    """Store and curated documents."""
    store = Store(tmp_path_factory.mktemp("tokens"), "made")
    return store, curate(store, texts)


@pytest.fixture(scope="session")
def artifacts(made):
    """A tokenizer artifact of each kind."""
    store, curated = made
    return {
        kind: training.make(context(store), {"curated_documents": curated}, settings)
        for kind, settings in KINDS.items()
    }


@pytest.fixture(scope="session")
def tokenizers(artifacts):
    return {kind: load(artifact.directory) for kind, artifact in artifacts.items()}


@pytest.fixture(scope="session", params=sorted(KINDS))
def kind(request) -> str:
    return request.param

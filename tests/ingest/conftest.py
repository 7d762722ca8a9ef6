"""A small store and a way to read one source through, for all tests of ingest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.context import RunContext
from pipeline.ingest import forgetting, raw_documents
from pipeline.ingest.cache import cache_of
from pipeline.ingest.records import Reading, Tally
from pipeline.ingest.source import Source
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store


def silent(message: str) -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data", "test")


@pytest.fixture
def make(store: Store) -> Callable[..., Artifact]:
    """make(source, ..., forgotten=...) -> the artifact of raw documents; exactly those in `forgotten` are forgotten."""

    def run(*sources: Source, forgotten: frozenset[str] = frozenset(), **options: Any) -> Artifact:
        forget(store, forgotten)
        return raw_documents.make(RunContext(store, silent), {}, sources, **options)

    return run


@pytest.fixture
def read(store: Store) -> Callable[..., tuple[pl.DataFrame, Tally]]:
    """read(source) -> (its tidy records, what was left out)."""

    def run(source: Source) -> tuple[pl.DataFrame, Tally]:
        reading = Reading(cache_of(store), Tally(), silent)
        observed = raw_documents.observe(source, store, silent)
        frames = list(raw_documents.records(source, observed, reading))
        return (
            pl.concat(frames) if frames else pl.DataFrame(schema={"text": pl.String, "id": pl.String})
        ), reading.tally

    return run


def forget(store: Store, doc_ids: frozenset[str]) -> None:
    """Make these the documents that are to be forgotten, and no others."""
    lines = [json.dumps({"doc_id": doc_id, "reason": "", "date": ""}) for doc_id in sorted(doc_ids)]
    store.write_record(forgetting.LIST, "".join(f"{line}\n" for line in lines))


def documents(artifact: Artifact) -> pl.DataFrame:
    """All documents of an artifact, fragment after fragment."""
    return pl.concat([pl.read_parquet(artifact.table(name)) for name in artifact.fragments])

"""A generated source: documents about a made-up village, written by this project from a seed (`pipeline/village/`).

Nothing is downloaded and nothing is anybody's. Every document is labelled as made up: by its licence and in its `meta`,
which also says what the document tells and what was planted in it for curation to find.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator

from pipeline.ingest.records import RECORD_SCHEMA, Reading, record_frame
from pipeline.ingest.source_kind import Log, Observed, SourceBlock
from pipeline.settings import MAX_DOCUMENTS
from pipeline.store.artifact import digest
from pipeline.village import LICENSE
from pipeline.village.sets import DOCUMENTS, PLANTED_SHARE, VERSION, documents

AT_ONCE = 10_000  # documents of a frame


class GeneratedSource(SourceBlock):
    """Documents about a made-up village, in Korean and English."""

    icon: ClassVar[str] = "python"

    kind: Literal["generated"] = Field("generated", description="made-up text, written by this project from a seed")
    dataset: str = Field(description=f"one of {', '.join(DOCUMENTS)}: both languages by turns, or one")
    documents: int = Field(10_000, ge=1, le=MAX_DOCUMENTS, description="how many documents to write")
    seed: int = Field(0, ge=0, lt=2**63, description="which village, and which documents about it")
    planted: float = Field(
        PLANTED_SHARE,
        ge=0,
        le=1,
        description="share of the documents that carry something for curation to find (near copies, repeated passages, "
        "addresses, evaluation questions, noise, other languages, insults), recorded in `meta`; 0: none",
    )

    @field_validator("dataset")
    @classmethod
    def _known(cls, dataset: str) -> str:
        if dataset not in DOCUMENTS:
            raise ValueError(f"no generated data set is called `{dataset}`: use {', '.join(DOCUMENTS)}")
        return dataset

    def observe(self, cache: Path, log: Log = print, force: bool = False) -> Observed:
        """What is there now: the version of the code that writes it."""
        return {"digest": digest(["village", VERSION]), "files": 0, "bytes": 0}

    def read(self, observed: Observed, reading: Reading) -> Iterator[pl.DataFrame]:
        wanted = min(self.documents, self.limit or self.documents)
        written = documents(wanted, self.seed, DOCUMENTS[self.dataset], self.planted)
        while some := list(islice(written, AT_ONCE)):
            rows = [
                {
                    "text": one.text, "id": one.id, "lang": one.lang, "license": LICENSE, "url": None,
                    "meta": json.dumps(one.meta, ensure_ascii=False, sort_keys=True),
                }
                for one in some
            ]  # fmt: skip
            yield record_frame(pl.DataFrame(rows, schema=dict.fromkeys(RECORD_SCHEMA, pl.String)))

    def describe(self) -> str:
        return f"the made-up data set `{self.dataset}`"

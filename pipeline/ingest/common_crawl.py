"""Common Crawl: its own text of pages (WET) as it is, or the pages (WARC), whose main text is extracted here.

A crawl's list names some 90,000 files, and `segments` says which of them, by number: a file of WET is about 150 MB
of text in all languages, of WARC about 5 GB of pages. What is published under a crawl's name never changes.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator

from pipeline.errors import UserError
from pipeline.ingest import http
from pipeline.ingest.open_files import Part, readable
from pipeline.ingest.records import Reading
from pipeline.ingest.source_kind import Content, Log, Observed, SourceBlock, Texts
from pipeline.ingest.web_archives import read_web_archive
from pipeline.store.artifact import digest

HOST = "https://data.commoncrawl.org"


class CommonCrawlSource(SourceBlock):
    """Some files of a crawl."""

    icon: ClassVar[str] = "commoncrawl"

    kind: Literal["common_crawl"] = Field("common_crawl", description="files of a crawl of Common Crawl")
    crawl: str = Field(description="such as CC-MAIN-2025-05")
    content: Literal["wet", "warc"] = Field(  # type: ignore[assignment]  # older than the key of the other kinds
        "wet", description="wet = text as extracted by Common Crawl; warc = pages, extracted here"
    )
    segments: list[Annotated[int, Field(ge=0, lt=10**6)]] = Field(
        [0], description="which files of the crawl's list, counted from 0"
    )
    url: Texts = Field([], description="another host than the official one")

    @property
    def judged_as(self) -> Content:
        """A crawl holds web pages; its key `content` says in which form."""
        return "web"

    def as_recorded(self) -> dict[str, Any]:
        return {**super().as_recorded(), "content": self.content}

    @field_validator("segments")
    @classmethod
    def _some_segments(cls, segments: list[int]) -> list[int]:
        if not segments or min(segments) < 0:
            raise ValueError("`segments` must hold one or more numbers from 0 up")
        return sorted(set(segments))

    def observe(self, cache: Path, log: Log = print, force: bool = False) -> Observed:
        """What is there: files that never change are identified by their names."""
        asked = [self.crawl, self.content, self.segments]
        return {"digest": digest(asked), "files": len(self.segments), "bytes": 0}

    def read(self, observed: Observed, reading: Reading) -> Iterator[pl.DataFrame]:
        (listed,) = http.fetch_all([self.index], {}, reading.cache, reading.log)
        with readable(Part.of_file(listed, self.index)):
            names = gzip.decompress(listed.read_bytes()).decode().split()
        if self.segments[-1] >= len(names):
            raise UserError(
                f"{self.heading}: {self.crawl} has {len(names):,} {self.content} files, so `segments` goes "
                f"from 0 to {len(names) - 1:,} and not to {self.segments[-1]:,}."
            )
        for segment in self.segments:  # one after the other: a limit may be reached before all are fetched
            (path,) = http.fetch_all([f"{self.host}/{names[segment]}"], {}, reading.cache, reading.log)
            yield from read_web_archive(Part.of_file(path, names[segment]), self.lang, reading)

    def describe(self) -> str:
        return f"Common Crawl `{self.crawl}`"

    def downloads(self, cache: Path) -> list[str]:
        """Addresses of what is fetched, as far as the crawl's list was fetched."""
        listed = http.place(self.index, cache)
        names = gzip.decompress(listed.read_bytes()).decode().split() if listed.exists() else []
        return [self.index, *(f"{self.host}/{names[segment]}" for segment in self.segments if segment < len(names))]

    @property
    def host(self) -> str:
        return (self.url or [HOST])[0].rstrip("/")

    @property
    def index(self) -> str:
        """Address of the list of the crawl's files."""
        return f"{self.host}/crawl-data/{self.crawl}/{self.content}.paths.gz"

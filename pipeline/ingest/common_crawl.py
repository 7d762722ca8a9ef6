"""Common Crawl: its own text of pages (WET) as it is, or the pages (WARC), whose main text is extracted here.

A crawl's list names some 90,000 files, and `segments` says which of them, by number: a file of WET is about 150 MB
of text in all languages, of WARC about 5 GB of pages. What is published under a crawl's name never changes.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.errors import UserError
from pipeline.ingest import http
from pipeline.ingest.formats import read_parts
from pipeline.ingest.open_files import Part, readable
from pipeline.ingest.records import Reading
from pipeline.ingest.source import Source
from pipeline.store.artifact import digest

HOST = "https://data.commoncrawl.org"


def observe(source: Source, *_: Any) -> dict[str, Any]:
    """What is there: files that never change are told by their names."""
    asked = [source.crawl, source.content, source.segments]
    return {"digest": digest(asked), "files": len(source.segments), "bytes": 0}


def read(source: Source, observed: dict[str, Any], reading: Reading) -> Iterator[pl.DataFrame]:
    host, index = index_of(source)
    (listed,) = http.fetch_all([index], {}, reading.cache, reading.log)
    with readable(Part.of_file(listed, index)):
        names = gzip.decompress(listed.read_bytes()).decode().split()
    if source.segments[-1] >= len(names):
        raise UserError(
            f"Source `{source.name}`: {source.crawl} has {len(names):,} {source.content} files, so `segments` goes "
            f"from 0 to {len(names) - 1:,} and not to {source.segments[-1]:,}."
        )
    for segment in source.segments:  # one after the other: a limit may be reached before all are fetched
        (path,) = http.fetch_all([f"{host}/{names[segment]}"], {}, reading.cache, reading.log)
        part = Part.of_file(path, names[segment])
        yield from read_parts([part], source.model_copy(update={"format": source.content}), reading)


def index_of(source: Source) -> tuple[str, str]:
    """(host, address of the list of the crawl's files)."""
    host = (source.url or [HOST])[0].rstrip("/")
    return host, f"{host}/crawl-data/{source.crawl}/{source.content}.paths.gz"


def downloads(source: Source, cache: Path) -> list[str]:
    """Addresses of what a recipe's source fetches, as far as its list was fetched."""
    host, index = index_of(source)
    listed = http.place(index, cache)
    names = gzip.decompress(listed.read_bytes()).decode().split() if listed.exists() else []
    return [index, *(f"{host}/{names[segment]}" for segment in source.segments if segment < len(names))]

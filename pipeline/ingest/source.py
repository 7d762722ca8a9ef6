"""A source of the recipe: one place that text comes from. Here all kinds are joined into one type.

A new kind is a block with the methods of `SourceKind` in a file of its own, and one line in `Source`. `from: wikipedia,
lang: ko` takes everything that is not written out from an entry of the catalogue (`recipes/catalog.yaml`), so that a
recipe needs one line for a known data set.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter

from pipeline.ingest.bundled import BundledSource
from pipeline.ingest.catalogue import fill_from_catalogue
from pipeline.ingest.common_crawl import CommonCrawlSource
from pipeline.ingest.files import FileSource
from pipeline.ingest.generated import GeneratedSource
from pipeline.ingest.http import HttpSource
from pipeline.ingest.huggingface import HuggingFaceSource
from pipeline.ingest.python_file import PythonSource
from pipeline.ingest.source_kind import SourceKind


def filled_in(data: Any) -> Any:
    """What a recipe says of a source, with what is missing taken from the catalogue."""
    if not isinstance(data, dict):
        return data
    data = {("from" if key == "from_" else key): value for key, value in data.items() if value is not None}
    if "from" in data:
        data = fill_from_catalogue(data)
    if "kind" not in data:
        raise ValueError(
            f"source `{data.get('name', '?')}` says neither `kind` nor `from`: "
            "write `kind: files`, or `from:` and an entry of recipes/catalog.yaml"
        )
    if any("{lang}" in str(data.get(key, "")) for key in ("path", "url")):
        raise ValueError(f"source `{data.get('name', '?')}` needs `lang`: its files are chosen by language")
    return data


Source = Annotated[
    Annotated[
        FileSource
        | BundledSource
        | GeneratedSource
        | HttpSource
        | HuggingFaceSource
        | CommonCrawlSource
        | PythonSource,
        Field(discriminator="kind", description="where the text is; `from` sets it"),
    ],
    BeforeValidator(filled_in),
]
_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


def parse_source(given: dict[str, Any], base: Path | None = None) -> Source:
    """The source that a recipe in the folder `base` describes by `given`. Raises ValidationError with all mistakes."""
    return _SOURCE.validate_python(given, context={"base": base})


def check_names(sources: Iterable[SourceKind]) -> None:
    """ValueError where two sources have the same name; names that differ only in case are one file on some disks."""
    seen: dict[str, str] = {}
    for source in sources:
        other = seen.setdefault(source.name.casefold(), source.name)
        if other is not source.name:
            raise ValueError(f"two sources are called `{source.name}`: give each a name of its own")

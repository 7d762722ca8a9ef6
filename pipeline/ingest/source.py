"""A source of the recipe: one place that text comes from, and how its records become documents.

One block serves all kinds. `from: wikipedia, lang: ko` takes everything that is not written out from an entry of the
catalogue (`recipes/catalog.yaml`), so that a recipe needs one line for a known data set.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from pipeline.ingest.catalogue import fill_from_catalogue
from pipeline.settings import Settings
from pipeline.store.artifact import digest

Kind = Literal["files", "bundled", "http", "huggingface", "common_crawl"]
Format = Literal["parquet", "jsonl", "json", "csv", "tsv", "text", "html", "warc", "wet"]

# What a source of each kind cannot do without.
NEEDED = {"files": "path", "bundled": "dataset", "http": "url", "huggingface": "dataset", "common_crawl": "crawl"}
NAME = re.compile(r"\w[\w.-]{0,63}")


class Columns(Settings):
    """Which columns hold what, or which keys in JSON, where `a.b` goes into nested objects."""

    text: str | list[str] = Field("text", description="the text; a list of columns is joined by blank lines")
    id: str | None = Field(None, description="the record's own id; default `id` where there is one, else file and row")
    lang: str | None = Field(None, description="language; default `lang` where there is one")
    license: str | None = Field(None, description="licence; default `license` where there is one")
    url: str | None = Field(None, description="address; default `url` where there is one")

    @field_validator("text")
    @classmethod
    def _some_text(cls, text: str | list[str]) -> str | list[str]:
        if not text:
            raise ValueError("`columns.text` names no column: write the name of the column that holds the text")
        return text

    @property
    def text_columns(self) -> list[str]:
        return [self.text] if isinstance(self.text, str) else list(self.text)


class Source(Settings):
    model_config = ConfigDict(populate_by_name=True, validate_default=False)

    name: str = Field(description="short and unique; it stands in every document and names its tables")
    kind: Kind = Field(description="where the text is; `from` sets it")
    from_: str | None = Field(None, alias="from", description="an entry of recipes/catalog.yaml that sets the rest")
    path: list[str] = Field(
        default_factory=list,
        description="files: globs, relative to the recipe's folder; huggingface: globs within the data set",
    )
    url: list[str] = Field(
        default_factory=list,
        description="http: addresses, `{00..07}` stands for each number; common_crawl: another host than the official",
    )
    sha256: dict[str, str] = Field(default_factory=dict, description="http: checksums, by the last part of the address")
    dataset: str | None = Field(None, description="huggingface: owner/name; bundled: one of the bundled data sets")
    revision: str | None = Field(None, description="huggingface: branch, tag or commit; default main")
    crawl: str | None = Field(None, description="common_crawl: such as CC-MAIN-2025-05")
    content: Literal["wet", "warc"] = Field(
        "wet", description="common_crawl: wet = text as extracted by Common Crawl; warc = pages, extracted here"
    )
    segments: list[int] = Field(
        default_factory=lambda: [0], description="common_crawl: which files of the crawl's list, counted from 0"
    )
    format: Format | None = Field(None, description="default: by the name of each file")
    columns: Columns = Field(Columns.model_construct(), description="for tables and JSON")
    records: str | None = Field(
        None, description="json: the key under which the list of records lies, such as data.items"
    )
    lang: str | None = Field(None, description="language, where the records do not say: ko, en, code, ...")
    license: str | None = Field(None, description="licence, where the records do not say")
    encoding: str = Field("utf-8", description="of text, JSON and CSV files; a byte-order mark goes before it")
    invalid: Literal["error", "skip", "replace"] = Field(
        "error", description="what to do with a record of wrong bytes or broken JSON: stop, leave it out (counted), or "
        "put U+FFFD for what cannot be read"
    )  # fmt: skip
    limit: int | None = Field(None, ge=1, description="at most so many documents, the first ones")
    weight: float = Field(1.0, gt=0, description="how often a token of this source is drawn in training, against 1")

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, data: Any, info: ValidationInfo) -> Any:
        """Take what is missing from the catalogue; relative paths start at the recipe's folder (`context["base"]`)."""
        if isinstance(data, dict):
            data = {("from" if key == "from_" else key): value for key, value in data.items() if value is not None}
            if "from" in data:
                data = fill_from_catalogue(data)
            for key in ("path", "url"):
                if isinstance(data.get(key), str):
                    data[key] = [data[key]]
            base = (info.context or {}).get("base")
            if data.get("kind") == "files" and base is not None and isinstance(data.get("path"), list):
                data["path"] = [os.path.join(base, os.path.expanduser(str(path))) for path in data["path"]]
            if "kind" not in data:
                raise ValueError(
                    f"source `{data.get('name', '?')}` says neither `kind` nor `from`: "
                    "write `kind: files`, or `from:` and an entry of recipes/catalog.yaml"
                )
        return data

    @field_validator("name")
    @classmethod
    def _safe_name(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError(
                f"source name `{name}` cannot be part of a file name: use letters, digits, `_`, `-` and `.`, at most 64"
            )
        return name

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str) -> str:
        try:
            return codecs.lookup(encoding).name
        except LookupError as error:
            raise ValueError(
                f"`encoding: {encoding}` is unknown: use utf-8, cp949, euc-kr, utf-16 or another name that Python knows"
            ) from error

    @field_validator("segments")
    @classmethod
    def _some_segments(cls, segments: list[int]) -> list[int]:
        if not segments or min(segments) < 0:
            raise ValueError("`segments` must hold one or more numbers from 0 up")
        return sorted(set(segments))

    @model_validator(mode="after")
    def _complete(self) -> Source:
        needed = NEEDED[self.kind]
        if not getattr(self, needed):
            raise ValueError(f"source `{self.name}` is of kind `{self.kind}` and needs `{needed}`")
        if self.kind == "bundled":
            from pipeline.ingest.bundled import DATASETS

            if self.dataset not in DATASETS:
                raise ValueError(
                    f"source `{self.name}`: no bundled data set is called `{self.dataset}`: use {', '.join(DATASETS)}"
                )
        if self.kind == "huggingface" and not self.path:
            raise ValueError(f'source `{self.name}` needs `path`, such as "data/train-*.parquet", within the data set')
        if "{lang}" in " ".join(self.path + self.url):
            raise ValueError(f"source `{self.name}` needs `lang`: its files are chosen by language")
        return self

    def identity(self, observed: str) -> str:
        """Digest of everything that the documents of this source depend on; `observed`: digest of what is there now.

        Addresses are left out (the same files elsewhere are the same text), and so is `weight`, which training reads.
        """
        return digest(
            {"observed": observed, **self.model_dump(mode="json", exclude={"path", "url", "from_", "weight"})}
        )


def check_names(sources: Iterable[Source]) -> None:
    """ValueError where two sources bear one name; names that differ only in case are one file on some disks."""
    seen: dict[str, str] = {}
    for source in sources:
        other = seen.setdefault(source.name.casefold(), source.name)
        if other is not source.name:
            raise ValueError(f"two sources are called `{source.name}`: give each a name of its own")

"""What every kind of source has in common: keys, what it has to offer, and the digest that identifies it.

A kind is one block of settings in the file of its reader. It holds only the keys that make sense for it and has the
methods of `SourceKind`; `source.py` joins all kinds into one discriminated union.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

import polars as pl
from pydantic import BeforeValidator, Field, field_validator, model_validator

from pipeline.ingest.open_files import Part
from pipeline.ingest.records import Reading
from pipeline.settings import MAX_DOCUMENTS, MAX_WEIGHT, Settings
from pipeline.store.artifact import digest

Log = Callable[[str], None]
# What is at a place now, without reading it: `digest` (changes when the contents do), `files`, `bytes`, and what a kind
# needs to read exactly that.
Observed = dict[str, Any]
# A list of text that may be given as one text.
Texts = Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]

NAME = re.compile(r"\w[\w.-]{0,63}")
LONGEST_NAME = 192  # bytes: file systems take 255, and endings come to it

# All keys of a source of version 0.1, when one block served all kinds, with their defaults. The identity of a source of
# these kinds is a digest of all of them, so every source still fills in those that its kind does not have. Nothing may
# be added here or changed: all sources would be read again.
EVERY_KEY: dict[str, Any] = {
    "path": [], "url": [], "sha256": {}, "dataset": None, "revision": None, "crawl": None, "content": "wet",
    "segments": [0], "format": None,
    "columns": {"text": "text", "id": None, "lang": None, "license": None, "url": None},
    "records": None, "encoding": "utf-8", "invalid": "error",
}  # fmt: skip
# Keys that say where text is and how it is drawn, not what it is: the same files elsewhere are the same text.
NOT_IDENTITY = ("path", "url", "from_", "weight")
# What kind of text it is, by which rules it is judged.
Content = Literal["web", "notes", "code", "dialogue"]
OWN_WRITING: tuple[Content, ...] = ("notes", "dialogue")  # to which rules for crawled pages do not apply
# Keys that say how text is fetched: whatever they are, what is there is the same.
HOW_FETCHED = ("min_rate",)
# Keys that say how text is judged: what is read is the same.
HOW_JUDGED = ("content",)


def safe_name(name: str, called: str) -> str:
    """A name that can be part of a file name; ValueError for others. called: how the sentence calls it."""
    if not NAME.fullmatch(name) or len(name.encode()) > LONGEST_NAME:
        shown = name if len(name) <= 80 else f"{name[:80]}..."
        raise ValueError(
            f"{called} `{shown}` cannot be part of a file name: use letters, digits, `_`, `-` and `.`, at most 64, the "
            "first a letter, a digit or `_`"
        )
    return name


class Origin(Settings):
    """Something that a recipe names and that rows are read from."""

    noun: ClassVar[str] = "source"  # what error messages call it
    columns_by: ClassVar[str] = ""  # what names its columns, where that is no `columns` of a recipe

    name: str
    kind: str

    @property
    def label(self) -> str:
        """How the middle of a sentence refers to it."""
        return f"{self.noun} `{self.name}`"

    @property
    def heading(self) -> str:
        """How the start of a sentence refers to it."""
        return f"{self.noun[0].upper()}{self.label[1:]}"

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        """A missing key in a sentence that names the source; a key without a value counts as not given."""
        if not isinstance(data, dict):
            return data
        given = {key: value for key, value in data.items() if value is not None}
        for key, field in cls.model_fields.items():
            if field.is_required() and given.get(field.alias or key) in (None, "", []):
                named = f"{cls.noun} `{given.get('name', '?')}` of kind `{cls.model_fields['kind'].default}`"
                example = f", such as {field.examples[0]}" if field.examples else ""
                raise ValueError(f"{named} needs `{field.alias or key}`{example}")
        return given

    def downloads(self, cache: Path) -> list[str]:
        """Addresses whose files lie in the cache for this."""
        return []


class Place(Origin):
    """Where files of rows lie: on this machine, at addresses, on a hub."""

    def observe(self, cache: Path, log: Log = print, force: bool = False) -> Observed:
        """What is there now. Raises Unreachable where it does not answer, UserError where it cannot be right.

        force: fetch anew what lies at an address even where it seems to be what was fetched before.
        """
        raise NotImplementedError

    def opened(self, observed: Observed, reading: Reading) -> AbstractContextManager[Iterable[Part]]:
        """The files that were observed, in order. Errors of reading them are translated as long as this is open."""
        raise NotImplementedError

    def read_as(self, name: str) -> list[str]:
        """What stands in a digest for how a file of that name is read; nothing for the first way."""
        return []

    def describe(self) -> str:
        """The place in a few words, for a sentence such as "Text from ..."."""
        raise NotImplementedError


class SourceBlock(Origin, populate_by_name=True):
    """The keys that every source has."""

    icon: ClassVar[str] = "file"  # the label of a kind in Dagster's graph

    name: str = Field(description="short and unique; it stands in every document and names its tables")
    from_: str | None = Field(None, alias="from", description="an entry of recipes/catalog.yaml that sets the rest")
    lang: str | None = Field(None, description="language, where the records do not say: ko, en, code, ...")
    license: str | None = Field(None, description="licence, where the records do not say")
    limit: int | None = Field(None, ge=1, le=MAX_DOCUMENTS, description="at most this many documents, the first ones")
    weight: float = Field(
        1.0, gt=0, le=MAX_WEIGHT, description="how often a token of this source is drawn in training, against 1"
    )

    content: Content | None = Field(
        None,
        description="what kind of text: `notes` (your own: no rule for crawled pages applies), `dialogue` (the same), "
        "`web` or `code`; default: `notes` for files of text, else `web`",
    )

    @field_validator("name")
    @classmethod
    def _safe_name(cls, name: str) -> str:
        return safe_name(name, "source name")

    @model_validator(mode="before")
    @classmethod
    def _code_is_a_language(cls, data: Any) -> Any:
        """`content: code` says the same as `lang: code`, which all stages go by."""
        if not isinstance(data, dict) or data.get("content") != "code":
            return data
        if data.get("lang") not in (None, "code"):
            raise ValueError(
                f"source `{data.get('name', '?')}` says `content: code` and `lang: {data['lang']}`: leave one of them "
                "out"
            )
        return {**data, "lang": "code"}

    @property
    def judged_as(self) -> Content:
        """The kind of its text: as the recipe says, else as the kind of source suggests."""
        return self.content or self.recognised()

    def recognised(self) -> Content:
        """The kind of text where the recipe does not say it."""
        return "code" if self.lang == "code" else "web"

    def as_recorded(self) -> dict[str, Any]:
        """All settings, in the shape that identities are made of (see EVERY_KEY)."""
        return {**EVERY_KEY, **self.model_dump(mode="json", exclude={*HOW_FETCHED, *HOW_JUDGED})}

    def identity(self, observed: str) -> str:
        """Digest of everything that the documents of this source depend on; `observed`: digest of what is there now.

        Addresses are left out (the same files elsewhere are the same text), and so is `weight`, which training reads.
        """
        settings = {key: value for key, value in self.as_recorded().items() if key not in NOT_IDENTITY}
        return digest({"observed": observed, **settings})


class SourceKind(Protocol):
    """What a kind of source offers. One that has `SourceBlock` as its base only adds the last three."""

    icon: ClassVar[str]

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def lang(self) -> str | None: ...

    @property
    def license(self) -> str | None: ...

    @property
    def limit(self) -> int | None: ...

    @property
    def judged_as(self) -> Content: ...

    def as_recorded(self) -> dict[str, Any]: ...

    def identity(self, observed: str) -> str: ...

    def downloads(self, cache: Path) -> list[str]: ...

    def observe(self, cache: Path, log: Log = print, force: bool = False) -> Observed:
        """What is there now, without reading it."""
        ...

    def read(self, observed: Observed, reading: Reading) -> Iterator[pl.DataFrame]:
        """Frames of records (`records.RECORD_SCHEMA`) of what was observed, a bounded piece at a time."""
        ...

    def describe(self) -> str:
        """Where the text is, in a few words, for a sentence such as "Text from ..."."""
        ...

"""Where conversations and preferences come from: the recipe's `sources` of tuning data.

They may lie wherever text may lie and in every format of rows (`pipeline/ingest/rows.py`), or come with the installed
packages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, TypeAdapter, ValidationInfo, field_validator, model_validator

from pipeline.conversations import annotated
from pipeline.conversations import bundled as bundled_conversations
from pipeline.conversations.shapes import Malformed
from pipeline.ingest.files import Files
from pipeline.ingest.http import Http
from pipeline.ingest.huggingface import HuggingFace
from pipeline.ingest.json_files import nested
from pipeline.ingest.records import Reading
from pipeline.ingest.rows import (
    FILES_BY_DEFAULT,
    KIND,
    Contents,
    RowSet,
    RowsInFiles,
    RowsOnTheHub,
    RowsOverHttp,
)
from pipeline.ingest.source_kind import Log, Origin
from pipeline.settings import MAX_DOCUMENTS, Settings
from pipeline.store.artifact import Artifact
from pipeline.village import LICENSE
from pipeline.village.sets import OF_CONVERSATIONS, TUNING, TUNING_VERSION
from pipeline.village.sets import VERSION as VILLAGE

Row = dict[str, Any]

# Names of columns that a row of conversations or preferences is recognised by.
KNOWN = (
    "messages", "conversations", "instruction", "question", "prompt", "output", "response", "answer", "completion",
    "chosen", "rejected", "chat_rounds", "problem", "solution",
)  # fmt: skip


class ConversationBlock(Origin):
    """The keys that every set of conversations or preferences has."""

    noun: ClassVar[str] = "set"

    name: str = Field(description="how the set is called in tables and reports")
    lang: str | None = Field(None, description="language of all rows; left out, the file's own column `lang`")
    license: str | None = Field(
        None, description="for the data card; left out, the file's own column `license` or `licence`"
    )
    limit: int | None = Field(
        None, ge=1, le=MAX_DOCUMENTS, description="at most this many rows, the first ones in the file's order"
    )

    def as_recorded(self) -> dict[str, Any]:
        """The settings as the fingerprint has them: without the place, since the same files elsewhere are the same."""
        own = {"set": None, "columns": {}, **self.model_dump(mode="json")}
        return {key: own[key] for key in ("name", "kind", "set", "columns", "lang", "license", "limit")}


class BundledConversations(ConversationBlock):
    """A set that comes with the installed packages."""

    kind: Literal["bundled"] = Field("bundled", description="from the installed packages")
    set: str | None = Field(
        None, description=f"one of {', '.join(bundled_conversations.SETS)}; left out, it is the source's name"
    )

    @model_validator(mode="after")
    def _known(self) -> BundledConversations:
        if self.bundled_set not in bundled_conversations.SETS:
            known = ", ".join(sorted(bundled_conversations.SETS))
            raise ValueError(f"there is no bundled set `{self.bundled_set}`; known are {known}")
        return self

    @property
    def bundled_set(self) -> str:
        return self.set or self.name

    def contents(self, cache: Path, log: Log = print) -> Contents:
        return Contents([bundled_conversations.release(self.bundled_set)], {})

    def origin(self, contents: Contents) -> dict[str, str]:
        return {self.name: contents.digests[0]}

    def read(self, contents: Contents, reading: Reading) -> Iterator[Row | None]:
        yield from bundled_conversations.read(self.bundled_set)

    def about(self, row: Row | None) -> tuple[str | None, str | None]:
        known = bundled_conversations.SETS[self.bundled_set]
        return self.lang or known[0], self.license or known[1]


class GeneratedConversations(ConversationBlock):
    """A set about a made-up village, written by this project from a seed."""

    kind: Literal["generated"] = Field("generated", description="made up, written by this project from a seed")
    dataset: str = Field(
        description=f"one of {', '.join(TUNING)}: the first for `instructions`, the second for `preferences`"
    )
    rows: int = Field(4_000, ge=1, le=MAX_DOCUMENTS, description="how many to write, at most: fewer where all are told")
    seed: int = Field(0, ge=0, lt=2**63, description="which village: the seed of the source of its documents")

    @field_validator("dataset")
    @classmethod
    def _known(cls, dataset: str) -> str:
        if dataset not in TUNING:
            raise ValueError(f"no generated set is called `{dataset}`: use {', '.join(TUNING)}")
        return dataset

    def as_recorded(self) -> dict[str, Any]:
        return {**super().as_recorded(), "dataset": self.dataset, "rows": self.rows, "seed": self.seed}

    def contents(self, cache: Path, log: Log = print) -> Contents:
        return Contents([f"village {VILLAGE}, tuning {TUNING_VERSION}"], {})

    def origin(self, contents: Contents) -> dict[str, str]:
        return {self.name: contents.digests[0]}

    def read(self, contents: Contents, reading: Reading) -> Iterator[Row | None]:
        yield from TUNING[self.dataset](self.rows, self.seed)

    def about(self, row: Row | None) -> tuple[str | None, str | None]:
        return self.lang or (row or {}).get("lang"), self.license or LICENSE


class AnnotatedAnswers(ConversationBlock):
    """Answers that people compared or rated: the folder of `slm annotate`. For `preferences` only."""

    kind: Literal["annotated"] = Field("annotated", description="judged by people (`slm annotate`)")
    path: str = Field(description="the folder of `slm annotate export`, relative to the recipe's folder")
    least_judges: int = Field(1, ge=1, le=1000, description="leave out what fewer people have judged")

    @field_validator("path")
    @classmethod
    def _from_the_recipe(cls, path: str, info: ValidationInfo) -> str:
        """A relative path starts at the recipe's folder (`context["base"]`)."""
        base, place = (info.context or {}).get("base"), Path(path).expanduser()
        return str(place if base is None or place.is_absolute() else Path(base) / place)

    def as_recorded(self) -> dict[str, Any]:
        return {**super().as_recorded(), "least_judges": self.least_judges}

    def contents(self, cache: Path, log: Log = print) -> Contents:
        return Contents(annotated.digests(Path(self.path), self.heading), {})

    def origin(self, contents: Contents) -> dict[str, str]:
        return dict(zip((f"{self.name}/tasks", f"{self.name}/judgements"), contents.digests, strict=True))

    def verdicts(self, contents: Contents) -> list[annotated.Verdict]:
        """What people said of each task that was judged. Raises UserError."""
        return annotated.verdicts(Path(self.path), self.least_judges, contents.digests, self.heading)

    def read(self, contents: Contents, reading: Reading) -> Iterator[Row | None]:
        for row, _ in annotated.rows(self.verdicts(contents), self.lang):
            yield row

    def about(self, row: Row | None) -> tuple[str | None, str | None]:
        return self.lang or (row or {}).get("lang"), self.license


class ConversationRows(ConversationBlock, RowSet):
    """A set of rows in files; where they lie is said by the class that this is joined with."""

    keep_malformed: ClassVar[bool] = True  # counted as `not_json`, like every other row that is not used

    format: Literal["parquet", "jsonl", "json", "csv", "tsv"] | None = Field(
        None, description="default: by the name of each file"
    )
    invalid: Literal["error", "skip", "replace"] = Field(
        "error", description="what to do with a row of wrong bytes or of too many or few fields: stop, leave it out "
        "(counted), or put U+FFFD for what cannot be read; a line that is no JSON object is always left out and counted"
    )  # fmt: skip
    columns: dict[str, str] = Field(
        default_factory=dict, description="known name -> your column, e.g. {instruction: question_text, output: reply}"
    )

    def origin(self, contents: Contents) -> dict[str, str]:
        return {f"{self.name}/{i:05d}": digest for i, digest in enumerate(contents.digests)}

    def as_recorded(self) -> dict[str, Any]:
        return {**super().as_recorded(), **self.later_settings()}

    def read(self, contents: Contents, reading: Reading) -> Iterator[Row | None]:
        asked = list(self.columns.values())
        for row in self.rows(contents, reading, asked, asked or KNOWN):
            yield None if row is None else renamed(row, self.columns)

    def about(self, row: Row | None) -> tuple[str | None, str | None]:
        row = row or {}
        stated = (row.get("lang"), row.get("license") or row.get("licence"))
        lang, license = (value if isinstance(value, str) else None for value in stated)
        return self.lang or lang, self.license or license


class FileConversations(ConversationRows, RowsInFiles):
    """A set in files on this machine."""

    kind: Files = "files"


class HttpConversations(ConversationRows, RowsOverHttp):
    """A set in files at addresses."""

    kind: Http = "http"


class HubConversations(ConversationRows, RowsOnTheHub):
    """A set in a data set of the Hugging Face hub."""

    kind: HuggingFace = "huggingface"


ConversationSource = Annotated[
    FileConversations
    | BundledConversations
    | GeneratedConversations
    | AnnotatedAnswers
    | HttpConversations
    | HubConversations,
    KIND,
    FILES_BY_DEFAULT,
]
_SOURCE: TypeAdapter[ConversationSource] = TypeAdapter(ConversationSource)


def parse_source(given: dict[str, Any], base: Path | None = None) -> ConversationSource:
    """The set that a recipe in the folder `base` describes by `given`. Raises ValidationError with all mistakes."""
    return _SOURCE.validate_python(given, context={"base": base})


# The sets that need no download; what the demonstration is fine-tuned on.
BUNDLED = tuple(BundledConversations(name=name) for name in bundled_conversations.SETS)


def renamed(row: Row, columns: dict[str, str]) -> Row:
    """The row with the columns that the recipe names under known names; in theirs, `a.b` goes into nested objects."""
    if not columns:
        return row
    theirs = set(columns.values())
    named = {ours: value for ours, column in columns.items() if (value := nested(row, column)) is not None}
    return {**{key: value for key, value in row.items() if key not in theirs}, **named}


def check_names(sources: tuple[ConversationSource, ...], generated: str) -> None:
    """ValueError where two sets have the same name, or a generated one is not of the kind `generated`."""
    for source in sources:
        if isinstance(source, GeneratedConversations) and source.dataset != generated:
            raise ValueError(f"{source.label} cannot be of the data set `{source.dataset}` here: use `{generated}`")
        if isinstance(source, AnnotatedAnswers) and generated == OF_CONVERSATIONS:
            raise ValueError(f"{source.label} holds judged answers (`kind: annotated`): name it under `preferences`")
    twice = [name for name, n in Counter(source.name for source in sources).items() if n > 1]
    if twice:
        raise ValueError(f"two sources are called `{twice[0]}`: give each a name of its own")


def fingerprint(
    settings: Settings, sources: tuple[ConversationSource, ...], without: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The settings of a block of tuning data as its fingerprint has them, without some that it does not depend on."""
    return {
        **settings.model_dump(mode="json", exclude={"sources", *without}),
        "sources": [s.as_recorded() for s in sources],
    }


def observed(sources: tuple[ConversationSource, ...], cache: Path, log: Log) -> dict[str, Contents]:
    """What each source holds now, by name."""
    return {source.name: source.contents(cache, log) for source in sources}


def origins(sources: tuple[ConversationSource, ...], found: dict[str, Contents]) -> dict[str, Artifact | str]:
    """The inputs of the artifact: what each source is read from."""
    return {name: value for source in sources for name, value in source.origin(found[source.name]).items()}


def read_shaped(
    source: ConversationSource,
    contents: Contents,
    reading: Reading,
    shape: Callable[[Row | None], Row],
    schema: dict[str, Any],
) -> tuple[pl.DataFrame, Counter[str], Counter[str]]:
    """(rows in one shape, number removed by reason, number by licence) of a source, up to its limit.

    shape: brings a row to the columns of `schema` but `source` and `lang`, or raises Malformed.
    """
    rows: list[Row] = []
    removed: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    for raw in source.read(contents, reading):
        if source.limit is not None and len(rows) >= source.limit:
            if isinstance(source, HubConversations):
                break  # to count the rest would fetch all of the data set
            removed["over_limit"] += 1
            continue
        try:
            shaped = shape(raw)
        except Malformed as reason:
            removed[str(reason)] += 1
            continue
        lang, licence = source.about(raw)
        licences[licence or "not stated"] += 1
        rows.append({**shaped, "source": source.name, "lang": lang})
    removed.update(reading.tally.skipped)
    return pl.DataFrame(rows, schema=schema), removed, licences

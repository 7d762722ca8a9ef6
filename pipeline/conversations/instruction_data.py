"""`instruction_data`: the conversations for fine-tuning, in one shape, without duplicates, a part of them held back.

The one idea: a question is either learned from or asked in the evaluation, never both. The side is chosen by the hash
of the first user turn, so it holds across sets, languages and later additions; and every row that is not used is
counted under a reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipeline.conversations import bundled as bundled_conversations
from pipeline.conversations.rows import (
    CONVERSATION,
    Malformed,
    conversation,
    files_of,
    fold,
    identity,
    is_held_back,
    rows_of,
)
from pipeline.errors import UserError
from pipeline.settings import Settings as Block
from pipeline.store.artifact import Artifact, file_digest
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.store.tables import write_table

VERSION = "1"
ASSET = "instruction_data"


class ConversationSource(Block):
    """One set of conversations or preferences."""

    name: str = Field(description="how the set is called in tables and reports")
    kind: Literal["bundled", "files"] = Field(
        "files", description="`bundled`: from the installed packages; `files`: yours"
    )
    path: str | None = Field(None, description="files: a .jsonl, .jsonl.gz, .json or .parquet file, a folder, a glob")
    set: str | None = Field(
        None, description="bundled: chatterbot-en, chatterbot-ko or stdlib-functions; left out, it is the source's name"
    )
    columns: dict[str, str] = Field(
        default_factory=dict, description="known name -> your column, e.g. {instruction: question_text, output: reply}"
    )
    lang: str | None = Field(None, description="language of all rows; left out, the file's own column `lang`")
    license: str | None = Field(
        None, description="for the data card; left out, the file's own column `license` or `licence`"
    )
    limit: int | None = Field(None, ge=1, description="at most this many rows, the first ones in the file's order")

    @field_validator("path")
    @classmethod
    def _from_the_recipe(cls, path: str | None, info: ValidationInfo) -> str | None:
        """Relative paths start at the recipe's folder."""
        base = (info.context or {}).get("base")
        return str(Path(base) / Path(path).expanduser()) if path and base else path

    @model_validator(mode="after")
    def _complete(self) -> ConversationSource:
        if self.kind == "files" and not self.path:
            raise ValueError(f"the source '{self.name}' of kind `files` needs a `path`")
        if self.kind == "bundled" and self.bundled_set not in bundled_conversations.SETS:
            known = ", ".join(sorted(bundled_conversations.SETS))
            raise ValueError(f"there is no bundled set '{self.bundled_set}'; known are {known}")
        return self

    @property
    def bundled_set(self) -> str:
        return self.set or self.name

    def origin(self) -> dict[str, str]:
        """What the source's bytes are, for the fingerprint: hashes of its files or a package's version; no path."""
        if self.kind == "bundled":
            return {self.name: bundled_conversations.release(self.bundled_set)}
        return {f"{self.name}/{i:05d}": file_digest(file) for i, file in enumerate(files_of(self.path or ""))}

    def rows(self) -> Iterator[dict | None]:
        """The raw rows, None for a line that is no row."""
        if self.kind == "bundled":
            yield from bundled_conversations.read(self.bundled_set)
        else:
            for file in files_of(self.path or ""):
                yield from rows_of(file, self.columns)

    def about(self, row: dict | None) -> tuple[str | None, str | None]:
        """(language, licence) of a row."""
        if self.kind == "bundled":
            known = bundled_conversations.SETS[self.bundled_set]
            return self.lang or known[0], self.license or known[1]
        row = row or {}
        stated = (row.get("lang"), row.get("license") or row.get("licence"))
        lang, license = (value if isinstance(value, str) else None for value in stated)
        return self.lang or lang, self.license or license


# The sets that need no download; what the demonstration is fine-tuned on.
BUNDLED = tuple(
    ConversationSource.model_validate({"name": name, "kind": "bundled"}) for name in bundled_conversations.SETS
)


class Settings(Block):
    """The recipe's block of conversations for fine-tuning."""

    sources: tuple[ConversationSource, ...] = Field(
        BUNDLED, min_length=1, description="the sets, in order; of duplicates the first stays"
    )
    held_back: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="share of first questions kept for the evaluation (5 %: some hundreds of the bundled sets)",
    )

    @model_validator(mode="after")
    def _names(self) -> Settings:
        check_names(self.sources)
        return self


def check_names(sources: tuple[ConversationSource, ...]) -> None:
    twice = [name for name, n in Counter(s.name for s in sources).items() if n > 1]
    if twice:
        raise ValueError(f"two sources are called '{twice[0]}'; give each its own name")


def fingerprint_settings(settings: Block) -> dict:
    """The settings without paths: the same files elsewhere are the same data."""
    said = settings.model_dump(mode="json")
    for source in said["sources"]:
        source.pop("path")
    return said


def origins(sources: tuple[ConversationSource, ...]) -> dict[str, Artifact | str]:
    """The inputs of the artifact: what each source is read from."""
    return {name: value for source in sources for name, value in source.origin().items()}


def read_source(source: ConversationSource) -> tuple[pl.DataFrame, Counter, Counter]:
    """(conversations, removed by reason, licences by name) of one source."""
    rows: list[dict[str, Any]] = []
    removed: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    for raw in source.rows():
        if source.limit is not None and len(rows) >= source.limit:
            removed["over_limit"] += 1
            continue
        try:
            messages = conversation(raw)
        except Malformed as reason:
            removed[str(reason)] += 1
            continue
        lang, licence = source.about(raw)
        licences[licence or "not stated"] += 1
        same = identity([(m["role"], fold(m["content"])) for m in messages])
        rows.append({"id": same, "messages": messages, "source": source.name, "lang": lang})
    return pl.DataFrame(rows, schema=CONVERSATION), removed, licences


def make(store: Store, settings: Settings, log: Callable[[str], None] = print) -> Artifact:
    """The artifact `instruction_data`: train.parquet and held_back.parquet (id, messages, source, lang).

    Raises UserError where a file cannot be read or no usable row is left.
    """

    def build(draft: Draft) -> None:
        tables: list[pl.DataFrame] = []
        by_source: dict[str, dict[str, Any]] = {}
        for source in settings.sources:
            table, removed, licences = read_source(source)
            by_source[source.name] = {"in": table.height + removed.total(), "removed": removed, "licenses": licences}
            tables.append(table)
        both = pl.concat(tables)
        unique = both.unique("id", keep="first", maintain_order=True)
        for name, repeated in duplicates_by_source(both, unique).items():
            by_source[name]["removed"]["duplicate"] += repeated
        train, held_back = split(unique, "messages", settings.held_back)
        write_sides(draft, train, held_back, by_source, ASSET, log)

    return store.make(
        ASSET,
        code_version=VERSION,
        settings=fingerprint_settings(settings),
        inputs=origins(settings.sources),
        build=build,
        log=log,
    )


def duplicates_by_source(both: pl.DataFrame, unique: pl.DataFrame) -> dict[str, int]:
    """How many rows of each source went as repetitions of an earlier one."""
    before, after = (dict(t.group_by("source").len().iter_rows()) for t in (both, unique))
    return {name: n - after.get(name, 0) for name, n in sorted(before.items()) if n > after.get(name, 0)}


def split(unique: pl.DataFrame, column: str, share: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows to train on, rows held back), each sorted by id; the side by the first user turn in `column`."""
    held = pl.Series([is_held_back(messages, share) for messages in unique[column].to_list()], dtype=pl.Boolean)
    return unique.filter(~held).sort("id"), unique.filter(held).sort("id")


def write_sides(
    draft: Draft, train: pl.DataFrame, held_back: pl.DataFrame, by_source: dict, asset: str, log: Callable[[str], None]
) -> None:
    """Write both tables and the counts of the manifest; say what was refused."""
    if not train.height:
        raise UserError(
            f"No row is left for {asset}: all of {', '.join(by_source) or 'its sources'} was refused ("
            + ", ".join(f"{n} {r}" for s in by_source.values() for r, n in sorted(s["removed"].items()))
            + "); name other files, or map their columns with `columns`."
        )
    write_table(train, draft.path("train.parquet"))
    write_table(held_back, draft.path("held_back.parquet"))
    removed: Counter = Counter()
    sources: dict[str, dict] = {}
    for name, said in by_source.items():
        removed += said["removed"]
        sources[name] = {
            "in": said["in"],
            "train": train.filter(source=name).height,
            "held_back": held_back.filter(source=name).height,
            "removed": dict(sorted(said["removed"].items())),
            "licenses": dict(sorted(said["licenses"].items())),
        }
        if said["removed"]:
            told = ", ".join(f"{n:,} {reason}" for reason, n in sorted(said["removed"].items()))
            log(f"{asset}: {name}: {said['in']:,} rows read, not used: {told}")
    kept = train.height + held_back.height
    draft.counts = {
        "in": sum(s["in"] for s in sources.values()), "kept": kept, "removed": dict(sorted(removed.items())),
        "train": train.height, "held_back": held_back.height,
    }  # fmt: skip
    draft.facts = {"sources": sources}

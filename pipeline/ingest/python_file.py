"""A source of one's own: a Python file, named in the recipe, that generates records.

The file defines `records(settings)`, which yields a dict a record: `text` and optionally `id`, `lang`, `license`, `url`
and `meta`. Settings of its own it declares as a class `Settings`; their keys stand in the recipe beside those of every
source, and are checked when the recipe is loaded. The source is read again when the file, its settings, or what
`state(settings)` returns has changed. `examples/own_source.py` shows all of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import GeneratorType, ModuleType
from typing import Any, ClassVar, Literal

import polars as pl
from pydantic import Field, ValidationError, ValidationInfo, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from pipeline.errors import UserError
from pipeline.ingest.json_files import without_halves
from pipeline.ingest.records import BATCH, RECORD_SCHEMA, Reading, record_frame
from pipeline.ingest.source_kind import EVERY_KEY, Log, Observed, SourceBlock
from pipeline.own_code import digest_of, failure, load, settings_class
from pipeline.settings import Settings, unknown_key
from pipeline.store.artifact import digest

DEFINES = ("records",)
TEXTS = ("lang", "license", "url")  # what a record holds as text, or not at all


class PythonSource(SourceBlock, extra="allow"):
    """Records of a Python file."""

    icon: ClassVar[str] = "python"

    kind: Literal["python"] = Field("python", description="a Python file of one's own that generates records")
    file: str = Field(description="the file, relative to the recipe's folder; its own settings stand beside this key")
    invalid: Literal["error", "skip", "replace"] = Field(
        "error", description="what to do with a record without text, or with text that UTF-8 cannot hold: stop, leave "
        "it out (counted), or put U+FFFD for what cannot be written"
    )  # fmt: skip

    @model_validator(mode="before")
    @classmethod
    def _own_settings(cls, data: Any, info: ValidationInfo) -> Any:
        """Check the keys that are not every source's by the file's own `Settings`, and fill in their defaults."""
        if not isinstance(data, dict) or not isinstance(data.get("file"), str):
            return data
        base = (info.context or {}).get("base")
        file = data["file"] if base is None else os.path.join(base, os.path.expanduser(data["file"]))
        known = {name for key, field in cls.model_fields.items() for name in (key, field.alias or key)}
        try:
            own = settings_class(load(Path(file), DEFINES))
        except UserError as error:
            raise _in_own_code(str(error), data["file"]) from None
        if taken := sorted(known & own.model_fields.keys()):
            said = f"`Settings` in {file} may not have the key `{taken[0]}`, which every source has: rename it."
            raise _in_own_code(said, data["file"])
        try:
            settings = own.model_validate({key: value for key, value in data.items() if key not in known})
        except ValidationError as error:
            raise _by_known_keys(error, [*own.model_fields, *cls.model_fields]) from None
        shared = {key: value for key, value in data.items() if key in known}
        return {**shared, "file": file, **settings.model_dump(mode="json")}

    @property
    def settings(self) -> Settings:
        """The file's own settings."""
        return settings_class(self.module).model_validate(self.model_extra)

    @property
    def module(self) -> ModuleType:
        return load(Path(self.file), DEFINES)

    def as_recorded(self) -> dict[str, Any]:
        shared = self.model_dump(mode="json", exclude={"file", *(self.model_extra or {})})
        return {**EVERY_KEY, **shared, "settings": self.model_extra}

    def observe(self, cache: Path, log: Log = print, force: bool = False) -> Observed:
        """What is there now: a digest of the file's bytes, its name, and what its `state` says, where it has one."""
        state = getattr(self.module, "state", None)
        said = None if state is None else str(self._run(lambda: state(self.settings), "while `state` was called"))
        file = Path(self.file)
        return {"digest": digest([file.name, digest_of(file), said]), "files": 1, "bytes": file.stat().st_size}

    def read(self, observed: Observed, reading: Reading) -> Iterator[pl.DataFrame]:
        rows: list[dict[str, str | None]] = []
        size = 0
        for number, given, line in self._records():
            try:
                row = as_row(given, f"{Path(self.file).name}#{number}", self.invalid)
            except Unusable as problem:
                if self.invalid != "skip":
                    at = f", line {line}" if line else ""
                    raise UserError(
                        f"{self.file}{at}: record {number:,} {problem}: fix it, or say `invalid: skip` in {self.label}."
                    ) from None
                reading.tally.skip(problem.reason)
                continue
            rows.append(row)
            size += len(row["text"] or "") + 64
            if size >= BATCH or len(rows) == self.limit:
                yield framed(rows)
                rows, size = [], 0
        if rows:
            yield framed(rows)

    def describe(self) -> str:
        return f"the records of `{os.path.basename(self.file)}`"

    def _records(self) -> Iterator[tuple[int, Any, int | None]]:
        """(number from 1, what the file yielded, the line on which it did) of all records."""
        generated = self._run(lambda: iter(self.module.records(self.settings)), "when `records` was called")
        number = 0
        end = object()
        while True:
            number += 1
            given = self._run(lambda: next(generated, end), f"at record {number:,}")
            if given is end:
                return
            frame = generated.gi_frame if isinstance(generated, GeneratorType) else None
            yield number, given, frame.f_lineno if frame is not None else None

    def _run(self, action: Callable[[], Any], when: str) -> Any:
        try:
            return action()
        except UserError:
            raise
        except Exception as error:
            raise failure(Path(self.file), error, when) from error


class Unusable(Exception):
    """A record that is no document; `reason`: under which it is counted where it is left out."""

    def __init__(self, problem: str, reason: str = "malformed"):
        super().__init__(problem)
        self.reason = reason


def as_row(given: Any, called: str, invalid: str) -> dict[str, str | None]:
    """What a file yielded, as a row of text. called: the id of a record without one. Raises Unusable."""
    if not isinstance(given, dict):
        raise Unusable(f"is of type {type(given).__name__} and has to be a dict with `text`")
    for key in given:
        if key not in RECORD_SCHEMA:
            raise Unusable(f"has the key `{key}`; {unknown_key(str(key), RECORD_SCHEMA)}")
    if not isinstance(given.get("text"), str):
        raise Unusable("has no `text`")
    row: dict[str, str | None] = {"text": given["text"], "id": called, "meta": None}
    if given.get("id") is not None:
        row["id"] = str(given["id"])
    for key in TEXTS:
        row[key] = given.get(key)
        if not isinstance(row[key], str | None):
            raise Unusable(f"has a `{key}` of type {type(row[key]).__name__}, which has to be text")
    if given.get("meta") is not None:
        try:
            row["meta"] = json.dumps(given["meta"], ensure_ascii=False, sort_keys=True)
        except (TypeError, ValueError) as error:
            raise Unusable(f"has a `meta` that JSON cannot hold ({error})") from None
    return encodable(row, invalid)


def encodable(row: dict[str, str | None], invalid: str) -> dict[str, str | None]:
    """The row, if UTF-8 can hold it; half a surrogate pair is replaced (`invalid: replace`) or makes it Unusable."""
    try:
        for value in row.values():
            (value or "").encode()
    except UnicodeEncodeError as error:
        if invalid == "replace":
            return without_halves(row)
        raise Unusable(f"holds half a surrogate pair ({error.reason})", "invalid_encoding") from None
    return row


def framed(rows: list[dict[str, str | None]]) -> pl.DataFrame:
    return record_frame(pl.DataFrame(rows, schema=dict.fromkeys(RECORD_SCHEMA, pl.String)))


def _in_own_code(said: str, file: str) -> ValidationError:
    """A mistake in the file itself, at the key that names it."""
    problem = PydanticCustomError("own_code", "{said}", {"said": said})
    return ValidationError.from_exception_data(
        "PythonSource", [InitErrorDetails(type=problem, loc=("file",), input=None)]
    )


def _by_known_keys(error: ValidationError, known: list[str]) -> ValidationError:
    """The same mistakes; a key that the file's settings do not have is named with the nearest of all that are known."""
    problems: list[InitErrorDetails] = []
    for problem in error.errors():
        said: Any = problem["type"]
        if said == "extra_forbidden" and len(problem["loc"]) == 1:
            hint = unknown_key(str(problem["loc"][0]), known)
            said = PydanticCustomError("unknown_key", "{hint}", {"hint": hint})
        else:
            said = PydanticCustomError("own_setting", "{said}", {"said": problem["msg"]})
        problems.append(InitErrorDetails(type=said, loc=problem["loc"], input=problem["input"]))
    return ValidationError.from_exception_data("PythonSource", problems)

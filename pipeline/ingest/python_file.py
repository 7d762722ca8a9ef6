"""A source of your own: a Python file, named in the recipe, that generates records.

The file defines `records(settings)`, which yields a dict a record: `text` and optionally `id`, `lang`, `license`, `url`
and `meta`. Settings of its own it declares as a class `Settings`; their keys stand in the recipe beside those of every
source, and are checked when the recipe is loaded. The source is read again when the file, its settings, or what
`state(settings)` returns has changed. `examples/own_source.py` shows all of it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import GeneratorType, ModuleType
from typing import Any, ClassVar, Literal, Self

import polars as pl
from pydantic import Field, ModelWrapValidatorHandler, ValidationError, ValidationInfo, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from pipeline.errors import UserError
from pipeline.ingest.json_files import without_halves
from pipeline.ingest.records import BATCH, RECORD_SCHEMA, Reading, record_frame
from pipeline.ingest.source_kind import EVERY_KEY, HOW_JUDGED, Log, Observed, SourceBlock
from pipeline.own_code import digest_of, failure, load, settings_class
from pipeline.settings import Settings, unknown_key
from pipeline.store.artifact import digest

DEFINES = ("records",)
TEXTS = ("lang", "license", "url")  # what a record holds as text, or not at all


class PythonSource(SourceBlock, extra="allow"):
    """Records of a Python file."""

    icon: ClassVar[str] = "python"

    kind: Literal["python"] = Field("python", description="a Python file of your own that generates records")
    file: str = Field(description="the file, relative to the recipe's folder; its own settings stand beside this key")
    invalid: Literal["error", "skip", "replace"] = Field(
        "error", description="what to do with a record without text, or with text that UTF-8 cannot hold: stop, leave "
        "it out (counted), or put U+FFFD for what cannot be written"
    )  # fmt: skip

    @model_validator(mode="wrap")
    @classmethod
    def _with_own_settings(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """Check the keys that are not every source's by the file's own `Settings`, and fill in their defaults."""
        if not isinstance(data, dict) or not isinstance(data.get("file"), str):
            return handler(data)
        base = (info.context or {}).get("base")
        file = data["file"] if base is None else os.path.join(base, os.path.expanduser(data["file"]))
        known = {name for key, field in cls.model_fields.items() for name in (key, field.alias or key)}
        shared = {**{key: value for key, value in data.items() if key in known}, "file": file}
        own: dict[str, Any] = {}
        problems: list[InitErrorDetails] = []
        try:
            block = own_settings(Path(file), known)
            settings = block.model_validate({key: value for key, value in data.items() if key not in known})
            own = settings.model_dump(mode="json")
        except UserError as error:
            problems.append(InitErrorDetails(type=_custom(str(error)), loc=("file",), input=None))
        except ValidationError as error:
            problems += _as_details(error, [*block.model_fields, *cls.model_fields])
        try:
            made = handler({**shared, **own})
        except ValidationError as error:
            problems += _as_details(error, [])
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return made

    @property
    def settings(self) -> Settings:
        """The file's own settings."""
        return settings_class(self.module).model_validate(self.model_extra)

    @property
    def module(self) -> ModuleType:
        return load(Path(self.file), DEFINES)

    def as_recorded(self) -> dict[str, Any]:
        shared = self.model_dump(mode="json", exclude={"file", *HOW_JUDGED, *(self.model_extra or {})})
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
            given = self._run(lambda: next(generated, end), f"at record {number:,}", reads=True)
            if given is end:
                return
            frame = generated.gi_frame if isinstance(generated, GeneratorType) else None
            yield number, given, frame.f_lineno if frame is not None else None

    def _run(self, action: Callable[[], Any], when: str, reads: bool = False) -> Any:
        """What `action` returns. reads: whether it reads text, which an exception could quote."""
        try:
            return action()
        except UserError:
            raise
        except Exception as error:
            if reads:
                raise failure(Path(self.file), error, when, what_it_says(error)) from None
            raise failure(Path(self.file), error, when) from error


# What these say is about the code, but for what stands in quotes. A ValueError as a rule says what could not be read.
ABOUT_CODE = (LookupError, AttributeError, NameError, ImportError, TypeError, ArithmeticError, OSError)


def what_it_says(error: Exception) -> str:
    """The message of an exception, as far as it cannot quote the text that was read."""
    if not isinstance(error, ABOUT_CODE) or isinstance(error, UnicodeError):
        return ""
    said = " ".join(str(error).split())
    return re.sub(r"""(['"])(?![A-Za-z_]{1,30}\1).*\1""", "'...'", said)


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
            raise Unusable(f"has a `meta` that JSON cannot hold ({type(error).__name__})") from None
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


def own_settings(file: Path, taken: Collection[str]) -> type[Settings]:
    """The class of a file's own settings. UserError where the file cannot be used or they have a `taken` key."""
    block = settings_class(load(file, DEFINES))
    for key in sorted(block.model_fields.keys() & taken):
        raise UserError(f"`Settings` in {file} may not have the key `{key}`, which every source has: rename it.")
    return block


def _custom(said: str) -> PydanticCustomError:
    return PydanticCustomError("own_source", "{said}", {"said": said})


def _as_details(error: ValidationError, known: list[str]) -> list[InitErrorDetails]:
    """The same mistakes, to be raised again; a key that is not known is named with the nearest that is."""
    problems: list[InitErrorDetails] = []
    for problem in error.errors():
        kind: str | PydanticCustomError = _custom(problem["msg"].removeprefix("Value error, "))
        if problem["type"] == "missing":
            kind = "missing"
        elif problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
            hint = unknown_key(str(problem["loc"][0]), known)
            kind = PydanticCustomError("unknown_key", "{hint}", {"hint": hint})
        problems.append(InitErrorDetails(type=kind, loc=problem["loc"], input=problem["input"]))
    return problems

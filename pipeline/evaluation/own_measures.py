"""Measures of your own: Python files that the recipe names, run after the built-in measures.

    evaluation:
      further:
        - {file: my_measure.py, threshold: 3}

The file defines `MEASURE`, a `pipeline.evaluation.measure.Measure`, and, if it has settings, a class `Settings`, a
subclass of `pipeline.settings.Settings`, which validates the other keys. `examples/own_measure.py` is an annotated
example.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ConfigDict, Field, ValidationInfo, model_validator

from pipeline import own_code
from pipeline.errors import UserError
from pipeline.evaluation.measure import ROLES, SAMPLE, Measure, Result, Subject
from pipeline.settings import Settings

NAME = re.compile(r"[a-z][a-z0-9_]*")
RESERVED_TABLES = ("report", "samples", "comparison", "manifest")  # names of the report's own files


@dataclass(frozen=True)
class LoadedMeasure:
    """The measure of a file, with its settings from the recipe. Errors in the file's code become UserErrors."""

    file: Path
    measure: Measure[Any]
    settings: Settings

    def identity(self) -> dict[str, Any]:
        """What its figures depend on: the file's contents, wherever the file is, and its settings."""
        return {
            "name": self.measure.name,
            "file": own_code.digest_of(self.file),
            "settings": self.settings.model_dump(mode="json"),
        }


class OwnMeasure(Settings):
    """A measure of your own: `file`, and the keys of the class `Settings` of that file."""

    model_config = ConfigDict(extra="allow")

    file: str = Field(
        description="a Python file that defines `MEASURE`, relative to the recipe's folder; its settings go next to it"
    )

    @model_validator(mode="before")
    @classmethod
    def _with_settings(cls, data: Any, info: ValidationInfo) -> Any:
        """Load the file (relative to the recipe's folder), validate the other keys and fill in their defaults."""
        if not isinstance(data, dict) or not isinstance(data.get("file"), str):
            return data
        base = (info.context or {}).get("base") or "."
        file = Path(base, Path(data["file"]).expanduser()).resolve()
        given = {name: value for name, value in data.items() if name != "file"}
        try:
            measure_in(file)
            settings = settings_in(file, given, info.context)
        except UserError as error:
            raise own_code.mistake(("file",), str(error)) from None
        return {"file": str(file), **settings.model_dump(mode="json")}

    def load(self) -> LoadedMeasure:
        """The measure, ready to run. Raises UserError if the file cannot be used."""
        file = Path(self.file)
        measure, settings = measure_in(file), settings_in(file, self.model_extra or {})

        def run(subject: Subject, settings: Settings) -> Result:
            with own_code.failures_of(self.file, f"while `{measure.name}` was measured"):
                result = measure.run(subject, settings)
            return checked_result(measure.name, result)

        def enabled(settings: Settings) -> bool:
            with own_code.failures_of(self.file, f"while `{measure.name}` was asked whether it is enabled"):
                return measure.enabled(settings)

        return LoadedMeasure(file, replace(measure, run=run, enabled=enabled), settings)


def measure_in(file: Path) -> Measure[Any]:
    """The measure that a file defines. Raises UserError if there is none, or if its name or `needs` are invalid."""
    measure = own_code.load(file, ("MEASURE",)).MEASURE
    if not isinstance(measure, Measure):
        raise UserError(f"`MEASURE` in {file} is not a `pipeline.evaluation.measure.Measure`: make it one.")
    if not NAME.fullmatch(measure.name):
        raise UserError(
            f"The measure in {file} is called {measure.name!r}: use lower-case letters, digits and `_`, "
            "starting with a letter."
        )
    unknown = [role for role in measure.needs if role not in ROLES]
    if unknown:
        raise UserError(f"`needs` of the measure in {file} names `{unknown[0]}`: use only {', '.join(ROLES)}.")
    return measure


def settings_in(file: Path, given: Mapping[str, Any], context: dict[str, Any] | None = None) -> Settings:
    """The settings of the file's measure. Raises ValidationError for invalid keys."""
    settings_class = own_code.settings_class(own_code.load(file))
    if "file" in settings_class.model_fields:
        raise UserError(f"`Settings` in {file} has a key `file`, which names the file itself: rename it.")
    return own_code.checked_settings(settings_class, given, file, context)


def check_names(further: Sequence[OwnMeasure], built_in: Iterable[Measure[Any]]) -> None:
    """Raises ValidationError, for the line of its `file`, if a measure or headline has the name of another one."""
    measures = {measure.name for measure in built_in}
    headlines = {headline.short for measure in built_in for headline in measure.headlines}
    for number, own in enumerate(further):
        measure = measure_in(Path(own.file))
        if measure.name in measures:
            raise own_code.mistake(
                (number, "file"), f"there is another measure called `{measure.name}`: rename this one"
            )
        measures.add(measure.name)
        for headline in measure.headlines:
            if headline.short in headlines:
                raise own_code.mistake(
                    (number, "file"), f"another headline is called `{headline.short}`: rename this one"
                )
            headlines.add(headline.short)


# -- results -----------------------------------------------------------------------------------------------------------


def checked_result(name: str, result: Any) -> Result:
    """The result of the measure `name`, with plain figures, and with samples in all columns of SAMPLE.

    Raises UserError for figures that JSON cannot represent, samples with other columns, and invalid tables.
    """
    if not isinstance(result, Result) or not isinstance(result.figures, Mapping):
        raise UserError(
            f"The measure `{name}` returned {type(result).__name__}: "
            "return a `pipeline.evaluation.measure.Result` whose figures are a mapping."
        )
    for table, rows in result.tables.items():
        if not NAME.fullmatch(table) or table in RESERVED_TABLES:
            raise UserError(
                f"The measure `{name}` cannot write a table called `{table}`: "
                "use another name, of lower-case letters, digits and `_`."
            )
        _check_frame(name, rows, f"table `{table}`")
    samples = None if result.samples is None else _checked_samples(name, result.samples)
    return Result(_plain(name, result.figures, ""), samples, result.tables)


def _plain(name: str, value: Any, where: str) -> Any:
    """`value` in types that JSON can represent; `where` is its dotted name in the measure's group."""
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(name, item, f"{where}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, str | int | float):
        return value
    kind = "a mapping with keys that are not strings" if isinstance(value, Mapping) else type(value).__name__
    raise UserError(
        f"The measure `{name}` returned {kind} as its figure `{where}`: "
        "return Python's built-in numbers, strings, lists, and mappings with strings as keys."
    )


def _checked_samples(name: str, samples: pl.DataFrame) -> pl.DataFrame:
    _check_frame(name, samples, "samples")
    for column, dtype in samples.schema.items():
        if dtype != SAMPLE.get(column, pl.Null) and dtype != pl.Null:
            allowed = ", ".join(f"{known} ({of_known})" for known, of_known in SAMPLE.items())
            raise UserError(
                f"The measure `{name}` returned samples with the column `{column}` ({dtype}): samples may have"
                f" {allowed}; put anything else into a table."
            )
    columns = [pl.col(column) if column in samples.columns else pl.lit(None).alias(column) for column in SAMPLE]
    return samples.select(columns).cast(dict(SAMPLE))  # type: ignore[arg-type]


def _check_frame(name: str, frame: Any, description: str) -> None:
    if not isinstance(frame, pl.DataFrame):
        raise UserError(
            f"The measure `{name}` returned {type(frame).__name__} as {description}: return a polars DataFrame."
        )

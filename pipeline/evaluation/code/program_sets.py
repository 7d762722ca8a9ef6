"""Sets of programming problems that a recipe names (`evaluation.programs`), and how they are asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from model.config import MAX_CONTEXT
from pipeline.errors import UserError
from pipeline.evaluation.code.problems import FORMS, NotAProblem, Problem
from pipeline.ingest.files import Files
from pipeline.ingest.http import Http
from pipeline.ingest.huggingface import HuggingFace
from pipeline.ingest.records import Reading
from pipeline.ingest.rows import Contents, RowSet, RowsInFiles, RowsOnTheHub, RowsOverHttp, files_by_default
from pipeline.settings import MAX_DOCUMENTS


class ProgramRows(RowSet):
    """A set of problems; where its rows lie is said by the class that this is joined with."""

    noun: ClassVar[str] = "set of problems"

    name: str = Field(description="how the set is called in reports")
    form: Literal["humaneval", "mbpp"] = Field(description="what its rows look like")
    format: Literal["parquet", "jsonl", "json", "csv", "tsv"] | None = Field(
        None, description="default: by the name of each file"
    )
    samples: int = Field(1, ge=1, le=200, description="programs drawn for each problem; 1: the likeliest, greedily")
    k: int = Field(1, ge=1, le=200, description="pass@k: whether one of k programs is right")
    temperature: float = Field(0.8, gt=0, le=10, description="of the programs, where more than one is drawn")
    tokens: int = Field(256, ge=1, le=MAX_CONTEXT, description="longest continuation, in tokens")
    seconds: int = Field(5, ge=1, le=600, description="time that a program may take")
    limit: int | None = Field(None, ge=1, le=MAX_DOCUMENTS, description="only the first so many problems")

    @model_validator(mode="after")
    def _enough_samples(self) -> ProgramRows:
        if self.k > self.samples:
            raise ValueError(f"pass@{self.k} needs at least {self.k} programs a problem: raise `samples`")
        return self

    def as_recorded(self) -> dict[str, Any]:
        """The settings as a fingerprint of the problems has them."""
        return {"name": self.name, "form": self.form, "limit": self.limit, **self.later_settings()}

    def as_asked(self) -> dict[str, Any]:
        """The settings as a fingerprint of a report has them."""
        return self.model_dump(mode="json", include={"form", "samples", "k", "temperature", "tokens", "seconds"})


class FilePrograms(ProgramRows, RowsInFiles):
    """Problems in files on this machine."""

    kind: Files = "files"


class HttpPrograms(ProgramRows, RowsOverHttp):
    """Problems in files at addresses."""

    kind: Http = "http"


class HubPrograms(ProgramRows, RowsOnTheHub):
    """Problems in a data set of the Hugging Face hub."""

    kind: HuggingFace = "huggingface"


ProgramSet = Annotated[
    Annotated[
        FilePrograms | HttpPrograms | HubPrograms,
        Field(discriminator="kind", description="where the rows are; left out: files"),
    ],
    BeforeValidator(files_by_default),
]


def problems_of(chosen: ProgramSet, contents: Contents, reading: Reading) -> Iterator[Problem]:
    """The problems of a set in order, at most its limit. Raises UserError for a row that its form does not fit."""
    rows = (row for row in chosen.rows(contents, reading, [], []) if row is not None)
    for number, row in enumerate(rows, start=1):
        if chosen.limit is not None and number > chosen.limit:
            return
        try:
            yield FORMS[chosen.form](row)
        except NotAProblem as error:
            raise UserError(
                f"{chosen.label} is not of the form `{chosen.form}`: row {number}: {error}. See"
                " docs/guide/evaluation.md for the forms."
            ) from None

"""Sets of programming problems that a recipe names (`evaluation.programs`), and how they are asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from model.config import MAX_CONTEXT
from pipeline.evaluation.code.problems import FORMS, NotAProblem, Problem
from pipeline.evaluation.sets_of_a_form import SetOfAForm
from pipeline.ingest.files import Files
from pipeline.ingest.http import Http
from pipeline.ingest.huggingface import HuggingFace
from pipeline.ingest.records import Reading
from pipeline.ingest.rows import (
    FILES_BY_DEFAULT,
    KIND,
    Contents,
    RowsInFiles,
    RowsOnTheHub,
    RowsOverHttp,
)


class ProgramRows(SetOfAForm):
    """A set of problems; where its rows lie is said by the class that this is joined with."""

    noun: ClassVar[str] = "set of problems"

    form: Literal["humaneval", "mbpp"] = Field(description="what its rows look like")
    samples: int = Field(1, ge=1, le=200, description="programs drawn for each problem; 1: the likeliest, greedily")
    k: int = Field(1, ge=1, le=200, description="pass@k: whether one of k programs is right")
    temperature: float = Field(0.8, gt=0, le=10, description="of the programs, where more than one is drawn")
    tokens: int = Field(256, ge=1, le=MAX_CONTEXT, description="longest continuation, in tokens")
    seconds: int = Field(5, ge=1, le=600, description="time that a program may take")

    @model_validator(mode="after")
    def _enough_samples(self) -> ProgramRows:
        if self.k > self.samples:
            raise ValueError(f"pass@{self.k} needs at least {self.k} programs a problem: raise `samples`")
        return self

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


ProgramSet = Annotated[FilePrograms | HttpPrograms | HubPrograms, KIND, FILES_BY_DEFAULT]


def problems_of(chosen: ProgramSet, contents: Contents, reading: Reading) -> Iterator[Problem]:
    """The problems of a set in order, at most its limit. Raises UserError for a row that its form does not fit."""
    return chosen.items_of(contents, reading, FORMS[chosen.form], NotAProblem)

"""Sets about stereotypes that a recipe names (`evaluation.bias`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.errors import UserError
from pipeline.evaluation.bias.bias_forms import BiasItem, NotABiasItem, items
from pipeline.evaluation.sets_of_a_form import WHERE_FORMS_ARE, SetOfAForm
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
from pipeline.settings import MAX_DOCUMENTS


class BiasRows(SetOfAForm):
    """A set about stereotypes; where its rows lie is said by the class that this is joined with."""

    noun: ClassVar[str] = "set about stereotypes"

    form: Literal["pairs", "crows-pairs", "winogender", "kobbq", "kosbi"] = Field(
        "pairs", description="what its rows look like"
    )
    limit: int | None = Field(None, ge=2, le=MAX_DOCUMENTS, description="only the first so many items")


class FileBias(BiasRows, RowsInFiles):
    """Items in files on this machine."""

    kind: Files = "files"


class HttpBias(BiasRows, RowsOverHttp):
    """Items in files at addresses."""

    kind: Http = "http"


class HubBias(BiasRows, RowsOnTheHub):
    """Items in a data set of the Hugging Face hub."""

    kind: HuggingFace = "huggingface"


BiasSet = Annotated[FileBias | HttpBias | HubBias, KIND, FILES_BY_DEFAULT]


def items_in(chosen: BiasSet, contents: Contents, reading: Reading) -> Iterator[BiasItem]:
    """The items of a set in order, at most its limit. Raises UserError for a row that its form does not fit."""
    rows = (row for row in chosen.rows(contents, reading, [], []) if row is not None)
    try:
        for number, item in enumerate(items(chosen.form, rows)):
            if chosen.limit is not None and number >= chosen.limit:
                return
            yield item
    except NotABiasItem as error:
        raise UserError(f"{chosen.label} is not of the form `{chosen.form}`: {error}. {WHERE_FORMS_ARE}") from None

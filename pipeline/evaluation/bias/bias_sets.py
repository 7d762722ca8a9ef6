"""Sets about stereotypes that a recipe names (`evaluation.bias`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from pipeline.errors import UserError
from pipeline.evaluation.bias.bias_forms import BiasItem, NotABiasItem, items
from pipeline.ingest.files import Files
from pipeline.ingest.http import Http
from pipeline.ingest.huggingface import HuggingFace
from pipeline.ingest.records import Reading
from pipeline.ingest.rows import Contents, RowSet, RowsInFiles, RowsOnTheHub, RowsOverHttp, files_by_default
from pipeline.settings import MAX_DOCUMENTS


class BiasRows(RowSet):
    """A set about stereotypes; where its rows lie is said by the class that this is joined with."""

    noun: ClassVar[str] = "set about stereotypes"

    name: str = Field(description="how the set is called in reports")
    form: Literal["pairs", "crows-pairs", "winogender", "kobbq", "kosbi"] = Field(
        "pairs", description="what its rows look like"
    )
    format: Literal["parquet", "jsonl", "json", "csv", "tsv"] | None = Field(
        None, description="default: by the name of each file"
    )
    limit: int | None = Field(None, ge=2, le=MAX_DOCUMENTS, description="only the first so many items")

    def as_recorded(self) -> dict[str, Any]:
        """The settings as a fingerprint of the items has them."""
        return {"name": self.name, "form": self.form, "limit": self.limit, **self.later_settings()}


class FileBias(BiasRows, RowsInFiles):
    """Items in files on this machine."""

    kind: Files = "files"


class HttpBias(BiasRows, RowsOverHttp):
    """Items in files at addresses."""

    kind: Http = "http"


class HubBias(BiasRows, RowsOnTheHub):
    """Items in a data set of the Hugging Face hub."""

    kind: HuggingFace = "huggingface"


BiasSet = Annotated[
    Annotated[
        FileBias | HttpBias | HubBias,
        Field(discriminator="kind", description="where the rows are; left out: files"),
    ],
    BeforeValidator(files_by_default),
]


def items_in(chosen: BiasSet, contents: Contents, reading: Reading) -> Iterator[BiasItem]:
    """The items of a set in order, at most its limit. Raises UserError for a row that its form does not fit."""
    rows = (row for row in chosen.rows(contents, reading, [], []) if row is not None)
    try:
        for number, item in enumerate(items(chosen.form, rows)):
            if chosen.limit is not None and number >= chosen.limit:
                return
            yield item
    except NotABiasItem as error:
        raise UserError(
            f"{chosen.label} is not of the form `{chosen.form}`: {error}. See docs/guide/evaluation.md for the forms."
        ) from None

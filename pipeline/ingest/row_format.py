"""How the rows of a source's files are written: the keys of a recipe that all kinds of files share."""

from __future__ import annotations

import codecs
from difflib import get_close_matches
from typing import Literal

from pydantic import Field, field_validator

from pipeline.errors import UserError
from pipeline.ingest.open_files import Part
from pipeline.ingest.source_kind import Origin, SourceBlock
from pipeline.settings import Settings

Format = Literal["parquet", "jsonl", "json", "csv", "tsv", "text", "html", "warc", "wet"]


class RowFormat(Origin):
    """How to read rows."""

    format: Format | None = Field(None, description="default: by the name of each file")
    records: str | None = Field(None, description="json: the key under which the list of rows lies, such as data.items")
    encoding: str = Field(
        "utf-8",
        description="of text, JSON and CSV files; a byte-order mark takes precedence, and "
        "Korean in CP949, EUC-KR or UTF-16 is recognised",
    )
    invalid: Literal["error", "skip", "replace"] = Field(
        "error", description="what to do with a row of wrong bytes or broken JSON: stop, leave it out (counted), or "
        "put U+FFFD for what cannot be read"
    )  # fmt: skip

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str) -> str:
        try:
            return codecs.lookup(encoding).name
        except LookupError as error:
            raise ValueError(
                f"`encoding: {encoding}` is unknown: use utf-8, cp949, euc-kr, utf-16 or another name that Python knows"
            ) from error


class Columns(Settings):
    """Which columns hold what, or which keys in JSON, where `a.b` goes into nested objects."""

    text: str | list[str] = Field("text", description="the text; a list of columns is joined by blank lines")
    id: str | None = Field(None, description="the record's own id; default `id` where there is one, else file and row")
    lang: str | None = Field(None, description="language; default `lang` where there is one")
    license: str | None = Field(None, description="licence; default `license` where there is one")
    url: str | None = Field(None, description="address; default `url` where there is one")

    @field_validator("text")
    @classmethod
    def _some_text(cls, text: str | list[str]) -> str | list[str]:
        if not text:
            raise ValueError("`columns.text` names no column: write the name of the column that holds the text")
        return text

    @property
    def text_columns(self) -> list[str]:
        return [self.text] if isinstance(self.text, str) else list(self.text)


class RecordFormat(SourceBlock, RowFormat):
    """How to read the rows of a source as records of text."""

    columns: Columns = Field(Columns(), description="for tables and JSON")


def refuse_missing(asked: list[str], there: list[str], part: Part, of: Origin) -> None:
    """UserError for the first of the columns that a recipe names and a file does not have."""
    missing = next((column for column in asked if column not in there), None)
    if missing is not None:
        near = get_close_matches(missing, there, n=1)
        hint = f"perhaps `{near[0]}`" if near else f"there are {', '.join(there[:20])}"
        raise UserError(f"{part.name} has no column `{missing}` ({hint}): fix `columns` of {of.label}.")

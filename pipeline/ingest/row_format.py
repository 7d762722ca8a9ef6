"""How the rows of a source's files are written: the keys of a recipe that all kinds of files share."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Literal

from pydantic import Field, field_validator

from pipeline.errors import UserError
from pipeline.ingest.open_files import Part
from pipeline.ingest.source_kind import Origin, SourceBlock
from pipeline.settings import Settings

Format = Literal["parquet", "jsonl", "json", "csv", "tsv", "text", "html", "warc", "wet"]

# Python calls them encodings of text, but they are of host names, or of nothing.
NO_TEXT = ("idna", "punycode", "undefined")


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
            found = codecs.lookup(encoding)
        except (LookupError, ValueError):
            raise ValueError(
                f"`encoding: {encoding}` is unknown: use utf-8, cp949, euc-kr, utf-16 or another name that Python knows"
            ) from None
        if not getattr(found, "_is_text_encoding", True) or found.name in NO_TEXT or found.incrementaldecoder is None:
            raise ValueError(f"`encoding: {encoding}` is no encoding of text: use utf-8, cp949, euc-kr, utf-16, ...")
        return found.name


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


# Names of columns that a sentence may show wherever they stand. A table without a header has its first row, and with it
# somebody's data, where names should be; an object of JSON may have anything for its keys.
USUAL = frozenset({
    "text", "content", "contents", "body", "document", "documents", "paragraph", "sentence", "title", "name", "id",
    "key", "doc_id", "url", "link", "source", "lang", "language", "license", "licence", "date", "time", "label",
    "meta", "metadata", "messages", "conversations", "instruction", "input", "output", "prompt", "question",
    "answer", "response", "completion", "chosen", "rejected", "context", "passage", "summary", "code", "category",
    "score", "data", "items", "본문", "내용", "텍스트", "문장", "문서", "제목", "질문", "답변", "대화", "발화",
    "요약", "분류", "출처", "날짜",
    "번호",
})  # fmt: skip
PLAIN = re.compile(r"[^\W\d]\w{0,39}")
DIGITS = re.compile(r"\d{4}")


def is_plain(name: str) -> bool:
    """Whether a key or a column of a schema looks like the name of a field."""
    return PLAIN.fullmatch(name) is not None and DIGITS.search(name) is None


def shown_names(there: Iterable[str], header: bool = False, mark: str = "") -> str:
    """Names for a sentence; those that could be data are only counted.

    header: whether they are the first row of a table; else they are of a schema or keys, and what looks like the name
    of a field is shown. mark: what stands around each.
    """
    names = list(there)
    shown = [name for name in names if name in USUAL or (not header and is_plain(name))]
    listed = ", ".join(f"{mark}{name}{mark}" for name in shown[:20])
    others = len(names) - len(shown[:20])
    if not others:
        return listed or "none"
    return f"{listed} and {others:,} more" if listed else f"{others:,} of other names"


def refuse_missing(asked: list[str], there: list[str], part: Part, of: Origin, header: bool = False) -> None:
    """UserError for the first of the columns that a recipe names and a file does not have. header: see `shown_names`"""
    missing = next((column for column in asked if column not in there), None)
    if missing is not None:
        near = get_close_matches(missing, there, n=1)
        hint = f"perhaps `{near[0]}`" if near else f"there are {shown_names(there, header)}"
        fix = of.columns_by or f"`columns` of {of.label}"
        raise UserError(f"{part.name} has no column `{missing}` ({hint}): fix {fix}.")

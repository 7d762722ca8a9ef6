"""What the sets of an evaluation have in common: a name, one of several forms of rows, and at most so many items."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

from pydantic import Field

from pipeline.errors import UserError
from pipeline.ingest.json_files import Row
from pipeline.ingest.records import Reading
from pipeline.ingest.rows import Contents, RowSet
from pipeline.settings import MAX_DOCUMENTS

Item = TypeVar("Item")
WHERE_FORMS_ARE = "See docs/guide/evaluation.md for the forms."


class SetOfAForm(RowSet):
    """A set whose rows have a form; where they lie is said by the class that this is joined with."""

    name: str = Field(description="how the set is called in reports")
    form: str = Field(description="what its rows look like")
    format: Literal["parquet", "jsonl", "json", "csv", "tsv"] | None = Field(
        None, description="default: by the name of each file"
    )
    limit: int | None = Field(None, ge=1, le=MAX_DOCUMENTS, description="only the first so many items")

    def as_recorded(self) -> dict[str, Any]:
        """The settings as a fingerprint of the items has them."""
        return {"name": self.name, "form": self.form, "limit": self.limit, **self.later_settings()}

    def items_of(
        self, contents: Contents, reading: Reading, read: Callable[[Row], Item], refusal: type[Exception]
    ) -> Iterator[Item]:
        """An item a row, in order, at most `limit`. Raises UserError where `read` raises `refusal`."""
        rows = (row for row in self.rows(contents, reading, [], []) if row is not None)
        for number, row in enumerate(rows, start=1):
            if self.limit is not None and number > self.limit:
                return
            try:
                yield read(row)
            except refusal as error:
                raise UserError(
                    f"{self.label} is not of the form `{self.form}`: row {number}: {error}. {WHERE_FORMS_ARE}"
                ) from None

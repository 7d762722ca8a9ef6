"""Which sources a stage with rules for crawled pages does not judge by these rules: a person's own notes and dialogues.

Rules of thumb for web pages find menus, lists of links and broken extraction. Notes have short lines, bullets, no full
stop at the ends of lines and few words each, and are good text all the same. So a figure that speaks of pages alone is
null for them, and a rule whose figure is null removes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

import polars as pl
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from pipeline.settings import StageSettings


class OfPages(StageSettings):
    """The settings of a stage whose rules were made for crawled pages."""

    # Keys that came later, with their defaults: what was made without them stays what it is.
    later: ClassVar[dict[str, Any]] = {"notes": []}

    notes: list[str] = Field(
        [],
        description="filled in from the sources (`content`): those of notes and dialogue, to which rules for crawled "
        "pages do not apply",
    )

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = handler(self)
        return {name: value for name, value in found.items() if name not in self.later or value != self.later[name]}

    def own_writing(self, documents: pl.DataFrame) -> pl.Series:
        """Whether each document is of a source of notes or dialogue."""
        return documents["source"].is_in(self.notes)


def without_figures_of_pages(signals: pl.DataFrame, own: pl.Series, kept: Collection[str]) -> pl.DataFrame:
    """The signals, null for a person's own writing but for the columns `kept`, which hold for any text."""
    if not own.any():
        return signals
    return signals.with_columns(
        pl.when(~own).then(pl.col(name)).alias(name) for name in signals.columns if name not in kept
    )

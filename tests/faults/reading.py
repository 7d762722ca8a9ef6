"""One source read through, in as few words as possible."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.ingest import raw_documents
from pipeline.ingest.records import Reading, Tally
from pipeline.ingest.source import Source, parse_source


def source(path: Path | str, base: Path | None = None, **more: Any) -> Source:
    """A source of files; of which path: as a recipe in the folder `base` names them."""
    return parse_source({"name": "s", "kind": "files", "path": str(path), **more}, base)


def read_all(
    given: Source,
    cache: Path,
    before: Callable[[], None] = lambda: None,
    between: Callable[[], None] | None = None,
) -> tuple[list[str], dict[str, int]]:
    """(the texts of a source, what was left out by reason).

    before: called when the source was observed; between: when it was opened, before its first frame is asked for.
    """
    reading = Reading(cache, Tally(), lambda line: None)
    observed = given.observe(cache, lambda line: None)
    before()
    texts: list[str] = []
    asked: Any = given if between is None else Opened(given, between)
    for frame in raw_documents.records(asked, observed, reading):
        texts += frame["text"].to_list()
    for confirm in reading.confirm:
        confirm()
    return texts, dict(reading.tally.skipped)


class Opened:
    """A source in whose place something happens when it was opened."""

    def __init__(self, given: Source, opened: Callable[[], None]):
        self.given, self.opened = given, opened

    def __getattr__(self, name: str) -> Any:
        return getattr(self.given, name)

    def read(self, observed: Any, reading: Reading) -> Any:
        from pipeline.ingest.formats import read_parts

        with self.given.opened(observed, reading) as parts:  # type: ignore[union-attr]
            self.opened()
            yield from read_parts(parts, self.given, reading)  # type: ignore[arg-type]

"""Raw documents seen through the decisions made so far.

The decisions of a stage say for each row whether it is kept, removed by this stage, or was removed before. So the table
of the last stage is enough to know which documents are kept, and a result of one fragment depends only on its `key`:
the bytes of the fragment, which of its rows are kept, and, once a stage has found them, the languages of its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from pipeline.documents.document import source_of
from pipeline.store.artifact import Artifact

# The column of the stage that finds languages, its value for "none found", and the fact that holds its digest.
LABEL, UNDETERMINED, LANGUAGES = "label", "und", "languages"


@dataclass(frozen=True)
class Documents:
    """`raw` seen through `previous`, the decisions of the previous stage (None: every document is kept).

    languages: the decisions of the stage that found the language of each document (None: no stage has so far). What it
    found takes the place of what the source declares, which is often wrong or missing.
    """

    raw: Artifact
    previous: Artifact | None = None
    languages: Artifact | None = None

    @property
    def fragments(self) -> list[str]:
        return self.raw.fragments

    def only(self, fragment: str) -> Documents:
        """The view of one fragment alone, small enough to send to a worker."""
        previous = None if self.previous is None else self.previous.only(fragment)
        languages = None if self.languages is None else self.languages.only(fragment)
        return Documents(self.raw.only(fragment), previous, languages)

    def key(self, fragment: str) -> dict[str, str]:
        """Everything that a result made from this fragment can depend on."""
        kept = "all" if self.previous is None else self.previous.entry(fragment)["facts"]["mask"]
        return {**self.content_key(fragment), "kept": kept}

    def content_key(self, fragment: str) -> dict[str, str]:
        """What the text and language of the fragment's rows depend on, whichever of them are kept."""
        key = {"raw": self.raw.entry(fragment)["sha256"]}
        if self.languages is not None:
            key["languages"] = self.languages.entry(fragment)["facts"][LANGUAGES]
        return key

    def rows(self, fragment: str) -> int:
        return int(self.raw.entry(fragment)["rows"])

    def bytes(self, fragment: str) -> int:
        """Size of the fragment's file."""
        return int(self.raw.entry(fragment)["bytes"])

    def source(self, fragment: str) -> str:
        return source_of(fragment)

    def kept(self, fragment: str) -> pl.Series:
        """For each row of the fragment, whether it is still kept."""
        if self.previous is None:
            return pl.repeat(True, self.rows(fragment), dtype=pl.Boolean, eager=True).alias("kept")
        keep = pl.read_parquet(self.previous.table(fragment), columns=["keep"])["keep"]
        return keep.fill_null(False).alias("kept")

    def read(self, fragment: str, columns: Sequence[str] = ("doc_id", "text", "source", "lang")) -> pl.DataFrame:
        """All rows of the fragment, in its order: the requested columns and `kept`.

        `lang` is what was found, else (nothing was found, or too few letters for a language) what the source declares.
        Where a stage has looked, `lang_found` says for which rows; asking for it, too, changes nothing.
        """
        frame = pl.read_parquet(self.raw.table(fragment), columns=[name for name in columns if name != "lang_found"])
        if self.languages is not None and "lang" in columns:
            found = pl.read_parquet(self.languages.table(fragment), columns=[LABEL])[LABEL]
            frame = frame.with_columns(
                lang=pl.when(found != UNDETERMINED).then(found).otherwise("lang"), lang_found=found.is_not_null()
            )
        return frame.with_columns(self.kept(fragment))

"""The settings of the search for duplicates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipeline.curation.duplicates.signatures import bands_for
from pipeline.settings import MAX_CHARACTERS, StageSettings
from pipeline.settings import Settings as PlainSettings

TEXT_VERSION = "3"  # of what is computed from a text: its words, n-grams and signature


MAX_PERMUTATIONS = 1024
Rows = Annotated[int, Field(ge=1, le=MAX_PERMUTATIONS)]


class Semantic(PlainSettings):
    """The block `curation.duplicates.semantic`: documents that say the same in other words."""

    threshold: float = Field(
        0.95, gt=0, le=1, description="Least similarity of twins: the cosine of the mean vectors of their words"
    )
    action: Literal["mark", "remove"] = Field(
        "mark", description="`mark`: twins are named in the columns twin_id and twin_similarity; `remove`: they go"
    )
    vectors: str | None = Field(
        None,
        description="A fastText model (.bin) or a folder of model2vec, multilingual for translated copies; default: "
        "vectors learned from this corpus",
    )
    learn_from: int = Field(
        20_000_000, ge=1, le=MAX_CHARACTERS, description="Characters of the corpus that vectors are learned from"
    )

    @field_validator("vectors")
    @classmethod
    def _from_the_recipe(cls, vectors: str | None, info: ValidationInfo) -> str | None:
        base = (info.context or {}).get("base")
        return str(Path(base) / vectors) if vectors and base else vectors


class Settings(StageSettings):
    """The block `curation.duplicates`."""

    threshold: float = Field(
        0.8, gt=0, le=1, description="Least Jaccard similarity of near duplicates (Lee et al. 2022: 0.8)"
    )
    shingle: int = Field(5, ge=1, le=64, description="Words per n-gram (GPT-3, FineWeb and Lee et al. use 5)")
    permutations: int = Field(
        112, ge=2, le=MAX_PERMUTATIONS, description="Length of a MinHash signature (FineWeb: 14 x 8 = 112)"
    )
    bands: tuple[Rows, Rows] | None = Field(
        None, description="(bands, rows per band); default: as many rows as reach `recall` at the threshold"
    )
    recall: float = Field(
        0.98, gt=0, lt=1, description="Expected share of pairs exactly at the threshold that become candidates"
    )
    containment: float | None = Field(
        None, gt=0, le=1, description="Also remove a document if a longer one contains this share of it; off by default"
    )
    fold_case: bool = Field(False, description="Ignore case in comparisons")
    ignore_punctuation: bool = Field(False, description="Compare letters and digits only")
    ignore_markup: bool = Field(False, description="Ignore HTML and XML tags in comparisons")
    keep_shingles: bool = Field(
        True,
        description="Store the n-grams' hashes (6 bytes per word), so that comparing new documents reads no old text",
    )
    against: tuple[str, ...] = Field(
        (), description="Sources that take precedence: their duplicates are removed from all others, never the reverse"
    )
    within: bool = Field(
        True, description="false: remove only duplicates of documents in `against` or `indexes`, and keep all others"
    )
    indexes: tuple[str, ...] = Field(
        (), description="Index files of other corpora (`slm index`), whose documents are removed from this one"
    )

    semantic: Semantic | None = Field(
        None, description="Also look for documents that say the same in other words; off by default"
    )

    @field_validator("indexes")
    @classmethod
    def _from_the_recipe(cls, indexes: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        base = (info.context or {}).get("base")
        return tuple(str(Path(base) / path) if base else path for path in indexes)

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if self.bands and self.bands[0] * self.bands[1] > self.permutations:
            raise ValueError(f"bands {self.bands[0]} x {self.bands[1]} need more than {self.permutations} permutations")
        if not self.within and not (self.against or self.indexes):
            raise ValueError("`within: false` removes nothing without `against` or `indexes`")
        return self

    def banding(self) -> tuple[int, int]:
        """(bands, rows) in force."""
        return self.bands or bands_for(self.threshold, self.permutations, self.recall)

    def compares_candidates_only(self) -> bool:
        """Whether documents without a candidate or an exact copy are compared with nothing."""
        return self.containment is None and self.semantic is None

    def about_text(self) -> dict[str, Any]:
        """What a document's signature and shingles depend on in addition to its words."""
        names = ("shingle", "fold_case", "ignore_punctuation", "ignore_markup")
        return {"version": TEXT_VERSION, **{name: getattr(self, name) for name in names}}

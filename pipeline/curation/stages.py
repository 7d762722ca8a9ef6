"""The stages of curation, in order.

The recipe's block `curation`, the graph, the assets, the reasons and the order of the decisions follow from this list.
To add a stage, write a file and add a line here. A user's own stage is a file that the recipe names; it needs no line.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, create_model, field_validator, model_validator

from pipeline.curation import contamination
from pipeline.curation.duplicates import near, repetition
from pipeline.curation.filters import heuristics, keywords, language, perplexity, quality
from pipeline.curation.filters.own_writing import OfPages
from pipeline.curation.personal_data import personal_data
from pipeline.documents.stage import Stage, own_stage
from pipeline.errors import UserError
from pipeline.settings import Settings, StageSettings

STAGES: tuple[Stage, ...] = (
    language.STAGE,
    keywords.STAGE,
    heuristics.STAGE,
    perplexity.STAGE,
    quality.STAGE,
    near.STAGE,
    repetition.STAGE,
    personal_data.STAGE,
    contamination.STAGE,
)
BLOCKS = tuple(stage.block for stage in STAGES)


class OwnStage(Settings):
    """A user's own stage: a Python file that defines `STAGE`, its position, and its settings."""

    model_config = ConfigDict(extra="allow", frozen=True)

    file: str = Field(description="a Python file that defines `STAGE`, relative to the recipe's folder")
    after: str = Field(
        "", description="the block of the stage (or the file of your own stage) that it follows; default: the last one"
    )

    @field_validator("file")
    @classmethod
    def _from_the_recipe(cls, file: str, info: ValidationInfo) -> str:
        base = (info.context or {}).get("base")
        return str(Path(base) / file) if base else file

    @model_validator(mode="after")
    def _settings_fit(self) -> OwnStage:
        try:
            self.stage()
            self.settings()
        except UserError as error:
            raise ValueError(str(error)) from None
        return self

    def stage(self) -> Stage:
        """The stage that the file defines; its code version includes the file's hash. Raises UserError."""
        return own_stage(self.file)

    def settings(self) -> StageSettings:
        """The recipe's settings of the stage, validated by the file's own `Settings`. Raises UserError."""
        known = self.stage().settings
        given = self.model_extra or {}
        try:
            return known.model_validate(given)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(step) for step in problem["loc"])
            if problem["type"] == "extra_forbidden":
                near_ones = difflib.get_close_matches(where, known.model_fields, n=1, cutoff=0.5)
                hint = f"did you mean `{near_ones[0]}`?" if near_ones else f"known: {', '.join(known.model_fields)}."
                raise UserError(f"`{where}` is not a setting of {Path(self.file).name}; {hint}") from None
            raise UserError(f"`{where}` of {Path(self.file).name}: {problem['msg']}") from None


class _Curation(Settings):
    """The keys of `curation` in addition to the blocks of the stages."""

    order: tuple[str, ...] = Field(
        (), description="the blocks of all stages in the order in which they run; default: the order on this page"
    )
    further: tuple[OwnStage, ...] = Field(
        (), description="your own stages, each a Python file: {file: shouting.py, after: heuristics, max_share: 0.02}"
    )

    @model_validator(mode="after")
    def _possible(self) -> _Curation:
        if self.order:
            check_order(self.order)
        try:
            stages_of(self)
        except UserError as error:
            raise ValueError(str(error)) from None
        return self

    def of(self, stage: Stage) -> StageSettings:
        """The settings of a stage in this recipe."""
        if stage.block:
            return getattr(self, stage.block)
        return next(own.settings() for own in self.further if own.stage().name == stage.name)

    def told_of(self, notes: Sequence[str]) -> _Curation:
        """The same, in which every stage with rules for crawled pages knows the sources of notes and dialogue.

        Raises ValueError where the recipe itself names others under `notes`.
        """
        changes: dict[str, StageSettings] = {}
        for block in BLOCKS:
            settings = getattr(self, block)
            if not isinstance(settings, OfPages):
                continue
            if settings.notes and settings.notes != list(notes):
                raise ValueError(f"`{block}.notes` is filled in: say `content: notes` in each source that holds notes")
            changes[block] = settings.model_copy(update={"notes": list(notes)})
        return self.model_copy(update=changes)


if TYPE_CHECKING:
    Curation = _Curation
else:
    Curation = create_model(
        "Curation",
        __base__=_Curation,
        __doc__="One block a stage, in the order in which they run.",
        **{stage.block: (stage.settings, stage.settings()) for stage in STAGES},
    )


def check_order(order: Sequence[str]) -> None:
    """Raises ValueError if `order` does not name every stage once, or puts a stage before one that it has to follow."""
    for name in order:
        if name not in BLOCKS:
            close = difflib.get_close_matches(name, BLOCKS, n=1)
            raise ValueError(
                f"`curation.order` names `{name}`, which is not a stage"
                + (f"; did you mean `{close[0]}`?" if close else f": use {', '.join(BLOCKS)}")
            )
    missing = [name for name in BLOCKS if name not in order]
    if missing or len(order) != len(BLOCKS):
        twice = sorted({name for name in order if order.count(name) > 1})
        problem = f"leaves out {', '.join(missing)}" if missing else f"names {', '.join(twice)} twice"
        raise ValueError(f"`curation.order` {problem}: name every stage once (`enabled: false` switches one off)")
    for stage in STAGES:
        for before in stage.after:
            if order.index(stage.block) < order.index(before):
                raise ValueError(f"`curation.order` puts {stage.block} before {before}, which it has to follow")


def stages_of(curation: _Curation) -> list[Stage]:
    """The stages of a recipe, including the user's own, in the order in which they run. Raises UserError."""
    by_block = {stage.block: stage for stage in STAGES}
    chosen: list[tuple[str, Stage]] = [(block, by_block[block]) for block in curation.order or BLOCKS]
    for own in curation.further:
        stage, name = own.stage(), Path(own.file).name
        places = [place for place, _ in chosen]
        after = own.after or places[-1]
        if after not in places:
            close = difflib.get_close_matches(after, places, n=1)
            raise UserError(
                f"`after: {after}` of {name} is not a stage"
                + (f"; did you mean `{close[0]}`?" if close else f": use one of {', '.join(places)}.")
            )
        if any(stage.name == other.name for _, other in chosen):
            raise UserError(f"{name} defines a stage called `{stage.name}`, which is taken: choose another name.")
        # Stages that follow the same stage run in the order in which the recipe names them.
        at = places.index(after) + 1
        while at < len(chosen) and chosen[at][1].block == "" and _after_of(curation, chosen[at][0]) == after:
            at += 1
        chosen.insert(at, (name, stage))
    return [stage for _, stage in chosen]


def _after_of(curation: _Curation, name: str) -> str:
    return next(own.after for own in curation.further if Path(own.file).name == name)


def decision_assets(curation: _Curation) -> tuple[str, ...]:
    """The names of the decision assets, in the order in which `curated_documents` applies them."""
    return tuple(stage.name for stage in stages_of(curation))

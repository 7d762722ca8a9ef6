"""All rules and reasons by asset: their meanings, and the page docs/guide/rules.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from pipeline.curation import curated
from pipeline.curation.filters import published
from pipeline.curation.rules import Limit, Rule
from pipeline.curation.stages import Curation, stages_of
from pipeline.documents.reasons import Reason, meanings_of
from pipeline.ingest.records import SKIP_REASONS
from pipeline.settings import Settings
from pipeline.tokens.near_validation import NEAR_VALIDATION
from pipeline.tokens.token_settings import ShardSettings

HEAD = """# Rules

Every reason for which a document is removed, in the order of the graph. `slm rules` prints this page, which is
generated from the rules. A document is removed by the first rule of a stage that it breaks;
`slm documents --stage STAGE --reason REASON` shows the documents removed for a reason. Limits are the defaults. Recipe
keys are in the block named above each table, and `word_length.0` is the first value of `word_length`. Limits of rules
that a preset switches on are those of the preset.
"""
NO_KEYS = ("enabled", published.OWN_RULES, published.SWITCH)  # switches that say nothing of a single rule
COLUMNS = ("reason", "meaning", "removed if", "documents", "recipe key", "source")


@dataclass(frozen=True)
class Declared:
    """The reasons that an asset can give."""

    asset: str
    reasons: Sequence[Reason]
    block: str = ""  # of the recipe, with its limits
    settings: BaseModel = field(default_factory=Settings)


def declared_by(curation: Curation) -> list[Declared]:
    """The reasons of each asset of a recipe, in the order of the graph."""
    stages = [
        Declared(stage.name, stage.rules, f"curation.{stage.block}", curation.of(stage))
        for stage in stages_of(curation)
    ]
    return [
        Declared("raw_documents", SKIP_REASONS),
        *stages,
        Declared("curated_documents", curated.RULES),
        Declared("token_shards", (NEAR_VALIDATION,), "shards", ShardSettings()),
    ]


def reasons_by_asset(curation: Curation) -> dict[str, dict[str, str]]:
    """asset -> reason -> meaning. A reason of the same name may mean different things in different assets."""
    return {declared.asset: meanings_of(declared.reasons) for declared in declared_by(curation)}


def page() -> str:
    """The page as Markdown, with a table for each asset."""
    return HEAD + "".join(_section(declared) for declared in declared_by(Curation()) if declared.reasons)


def _section(declared: Declared) -> str:
    keys = f"Recipe keys in `{declared.block}`.\n\n" if declared.block else ""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(row for reason in declared.reasons for row in _rows(declared, reason))]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return f"\n## `{declared.asset}`\n\n{keys}" + "\n".join(lines) + "\n"


def _rows(declared: Declared, reason: Reason) -> Iterator[tuple[str, ...]]:
    """A row for each limit, the first with the meaning; a reason without limits has one row."""
    name, meaning, source = f"`{reason.name}`", reason.meaning, reason.source
    if not isinstance(reason, Rule):
        yield name, meaning, "", "", "", source
        return
    settings = declared.settings
    if published.SWITCH in reason.switches:
        preset = published.preset_of(reason)
        settings, meaning = type(settings).model_validate({"preset": preset}), f"{meaning} (with `preset: {preset}`)"
    elif not reason.in_force(settings):
        meaning += " (off by default)"
    if reason.flag is not None or not reason.limits:
        keys = ", ".join(f"`{key}`" for key in reason.switches if not key.endswith(NO_KEYS))
        yield name, meaning, "", _scopes(reason), keys, source
        name, meaning, source = "or", "", ""
    for limit in reason.limits:
        value = limit.value(settings)
        where = f"`{limit.signal}` {limit.removes} {'not set' if value is None else f'{value:,}'}"
        yield name, meaning, where, _scopes(reason, limit), f"`{limit.setting}`", source
        name, meaning, source = "and" if reason.every else "or", "", ""


def _scopes(*of: Rule | Limit) -> str:
    return ", ".join(part.scope.words for part in of if part.scope is not None)

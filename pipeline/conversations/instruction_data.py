"""`instruction_data`: the conversations for fine-tuning, in one shape, without duplicates, a part of them held back.

The one idea: a question is either learned from or asked in the evaluation, never both. The side is chosen by the hash
of the first user turn, so it holds across sets, languages and later additions; and every row that is not used is
counted under a reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import polars as pl
from pydantic import Field, model_validator

from pipeline.context import Inputs, RunContext
from pipeline.conversations.conversation_source import (
    BUNDLED,
    ConversationSource,
    Row,
    check_names,
    fingerprint,
    observed,
    origins,
    read_shaped,
)
from pipeline.conversations.shapes import CONVERSATION, conversation, fold, identity, is_held_back
from pipeline.errors import UserError
from pipeline.ingest.cache import cache_of
from pipeline.ingest.records import Reading, Tally
from pipeline.settings import Settings as Block
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table
from pipeline.village.sets import OF_CONVERSATIONS

# 2: Dolly's `context` is a part of the question; chat_rounds, ChatML in a text, problem and solution, lists of prompt
# and completion, and calls of tools are read
VERSION = "2"
ASSET = "instruction_data"
SIDES = ("train", "held_back")


class Settings(Block):
    """The recipe's block of conversations for fine-tuning."""

    sources: tuple[ConversationSource, ...] = Field(
        BUNDLED, min_length=1, description="the sets, in order; of duplicates the first stays"
    )
    held_back: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="share of first questions kept for the evaluation (5 %: some hundreds of the bundled sets)",
    )
    stages: tuple[Literal["language", "duplicates", "personal_data", "contamination"], ...] = Field(
        (),
        description=(
            "stages of `curation` that the conversations to train on go through, too, with the settings there; what is"
            " left is `curated_instructions`. Exact copies go in any case"
        ),
    )

    @model_validator(mode="after")
    def _names(self) -> Settings:
        check_names(self.sources, OF_CONVERSATIONS)
        return self


def shaped(row: Row | None) -> Row:
    """A row of conversations as `id` and `messages`. Raises Malformed."""
    messages = conversation(row)
    return {"id": identity([(m["role"], fold(m["content"])) for m in messages]), "messages": messages}


def make(context: RunContext, inputs: Inputs, settings: Settings) -> Artifact:
    """The artifact `instruction_data`: train.parquet and held_back.parquet (id, messages, source, lang).

    inputs: none. Raises UserError where a file cannot be read or no usable row is left.
    """
    cache, log = cache_of(context.store), context.log
    found = observed(settings.sources, cache, log)

    def build(draft: Draft) -> None:
        tables: list[pl.DataFrame] = []
        by_source: dict[str, dict[str, Any]] = {}
        for source in settings.sources:
            reading = Reading(cache, Tally(), log, context.execution)
            table, removed, licences = read_shaped(source, found[source.name], reading, shaped, CONVERSATION)
            by_source[source.name] = {"in": table.height + removed.total(), "removed": removed, "licenses": licences}
            tables.append(table)
        both = pl.concat(tables)
        unique = both.unique("id", keep="first", maintain_order=True)
        for name, repeated in duplicates_by_source(both, unique).items():
            by_source[name]["removed"]["duplicate"] += repeated
        sides = split(unique, "messages", settings.held_back)
        write_sides(draft, dict(zip(SIDES, sides)), by_source, ASSET, log)

    return context.store.make(
        ASSET,
        code_version=VERSION,
        settings=fingerprint(settings, settings.sources, without=("stages",)),  # they are another asset's
        inputs=origins(settings.sources, found),
        build=build,
        log=log,
    )


def duplicates_by_source(both: pl.DataFrame, unique: pl.DataFrame) -> dict[str, int]:
    """How many rows of each source went as repetitions of an earlier one."""
    before, after = (dict(t.group_by("source").len().iter_rows()) for t in (both, unique))
    return {name: n - after.get(name, 0) for name, n in sorted(before.items()) if n > after.get(name, 0)}


def split(unique: pl.DataFrame, column: str, share: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows to train on, rows held back), each sorted by id; the side by the first user turn in `column`."""
    held = pl.Series([is_held_back(messages, share) for messages in unique[column].to_list()], dtype=pl.Boolean)
    return unique.filter(~held).sort("id"), unique.filter(held).sort("id")


def write_sides(
    draft: Draft, tables: dict[str, pl.DataFrame], by_source: dict, asset: str, log: Callable[[str], None]
) -> None:
    """Write the tables, whose names end in their side, and the counts of the manifest; say what was refused."""
    of_side = {side: [table for name, table in tables.items() if name.endswith(side)] for side in SIDES}
    if not any(table.height for table in of_side["train"]):
        raise UserError(
            f"No row is left for {asset}: all of {', '.join(by_source) or 'its sources'} was refused ("
            + ", ".join(f"{n} {r}" for s in by_source.values() for r, n in sorted(s["removed"].items()))
            + "); name other files, or map their columns with `columns`."
        )
    for name, table in tables.items():
        write_table(table, draft.path(f"{name}.parquet"))
    removed: Counter = Counter()
    sources: dict[str, dict] = {}
    for name, said in by_source.items():
        removed += said["removed"]
        sources[name] = {
            "in": said["in"],
            **{side: sum(table.filter(source=name).height for table in given) for side, given in of_side.items()},
            "removed": dict(sorted(said["removed"].items())),
            "licenses": dict(sorted(said["licenses"].items())),
        }
        if said["removed"]:
            told = ", ".join(f"{n:,} {reason}" for reason, n in sorted(said["removed"].items()))
            log(f"{asset}: {name}: {said['in']:,} rows read, not used: {told}")
    heights = {side: sum(table.height for table in given) for side, given in of_side.items()}
    draft.counts = {
        "in": sum(s["in"] for s in sources.values()), "kept": sum(heights.values()),
        "removed": dict(sorted(removed.items())), **heights,
        **{name: table.height for name, table in tables.items() if name not in SIDES},
    }  # fmt: skip
    draft.facts = {"sources": sources}

"""`preference_data`: pairs of a better and a worse answer to one prompt, in one shape, a part of them held back.

The one idea: a pair that teaches nothing is refused by name (both answers equal, one empty), since preference
training would run on it without a word. The side of a pair is chosen as in `instruction_data`, so a question that is
held back there is held back here.

No small set of real preferences comes with a package. What the demonstration uses instead says what it is: the chosen
answer is the one that belongs to the question, the rejected one belongs to another question of the same set. A model
can learn from it to keep to the point, and nothing about taste or harm.

Answers that were rated by themselves, with a thumb up or down, are kept in tables of their own: KTO learns from them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from pipeline.context import Inputs, RunContext
from pipeline.conversations import annotated
from pipeline.conversations.conversation_source import (
    BUNDLED,
    AnnotatedAnswers,
    ConversationSource,
    Row,
    check_names,
    fingerprint,
    observed,
    origins,
    read_shaped,
)
from pipeline.conversations.instruction_data import SIDES, duplicates_by_source, split, write_sides
from pipeline.conversations.instruction_data import shaped as conversation_shaped
from pipeline.conversations.shapes import (
    CONVERSATION,
    PREFERENCE,
    RATED,
    RATING,
    Malformed,
    fold,
    identity,
    preference,
    rating,
)
from pipeline.ingest.cache import cache_of
from pipeline.ingest.records import Reading, Tally
from pipeline.settings import Settings as Block
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table
from pipeline.village.sets import OF_PREFERENCES

VERSION = "2"  # 2: answers that were rated by themselves are read, too, and more shapes of conversations
ASSET = "preference_data"


class Settings(Block):
    """The recipe's block of preferences."""

    sources: tuple[ConversationSource, ...] = Field(
        BUNDLED,
        min_length=1,
        description="the sets, in order; for a `bundled` one the rejected answer is that of another question",
    )
    held_back: float = Field(
        0.05, ge=0, lt=1, description="share of first questions kept for the evaluation; the same as for sft"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="which other answer is taken as the rejected one")

    @model_validator(mode="after")
    def _names(self) -> Settings:
        check_names(self.sources, OF_PREFERENCES)
        return self


def shaped(row: Row | None) -> Row:
    """A row of preferences as `id`, `prompt` and its answers: `chosen` and `rejected`, or `answer` and `desirable`.

    Raises Malformed.
    """
    if row is not None and row.get("label") is not None and row.get("chosen") is None:
        prompt, answer, desirable = rating(row)
        same = identity(folded(prompt), fold(answer), desirable)
        return {"id": same, "prompt": prompt, "answer": answer, "desirable": desirable}
    prompt, chosen, rejected = preference(row)
    same = identity(folded(prompt), fold(chosen), fold(rejected))
    return {"id": same, "prompt": prompt, "chosen": chosen, "rejected": rejected}


def folded(prompt: list[dict]) -> list[tuple[str, str]]:
    """A prompt as compared."""
    return [(m["role"], fold(m["content"])) for m in prompt]


def other_answers(conversations: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Preferences out of conversations: the last answer against the last answer of another conversation.

    The partner is the next one in a random order (by `seed`) of all rows of the source; where it has the same answer
    or the same question, the one after, and so on up to 32. Rows with no such partner are left out.
    """
    rows = conversations.sort("id").to_dicts()
    order = np.random.default_rng(seed).permutation(len(rows))
    shuffled = [rows[i] for i in order]
    asked = [fold(" ".join(m["content"] for m in row["messages"][:-1])) for row in shuffled]
    answers = [row["messages"][-1]["content"] for row in shuffled]
    answered = [fold(answer) for answer in answers]
    # One question may have several right answers: none of them may be taken as a wrong one.
    right: dict[str, set[str]] = {}
    for question, answer in zip(asked, answered):
        right.setdefault(question, set()).add(answer)
    made = []
    for i, row in enumerate(shuffled):
        around = ((i + step) % len(rows) for step in range(1, min(33, len(rows))))
        partner = next((j for j in around if answered[j] not in right[asked[i]]), None)
        if partner is not None:
            prompt = row["messages"][:-1]
            made.append({
                "id": identity(folded(prompt), answered[i], answered[partner]),
                "prompt": prompt, "chosen": answers[i], "rejected": answers[partner],
                "source": row["source"], "lang": row["lang"],
            })  # fmt: skip
    return pl.DataFrame(made, schema=PREFERENCE).sort("id")


def make(context: RunContext, inputs: Inputs, settings: Settings) -> Artifact:
    """The artifact `preference_data`: train.parquet and held_back.parquet (id, prompt, chosen, rejected, source, lang).

    Where there are answers rated by themselves, also rated_train.parquet and rated_held_back.parquet (id, prompt,
    answer, desirable, source, lang). Where people judged answers, also judged.parquet: who judged each row
    (`annotated.JUDGED`).

    inputs: none. Raises UserError where a file cannot be read or no usable pair is left.
    """
    cache, log = cache_of(context.store), context.log
    found = observed(settings.sources, cache, log)

    def build(draft: Draft) -> None:
        stated: list[pl.DataFrame] = []
        made: list[pl.DataFrame] = []
        by_source: dict[str, dict[str, Any]] = {}
        for source in settings.sources:
            reading = Reading(cache, Tally(), log, context.execution)
            bundled = source.kind == "bundled"
            how = (conversation_shaped, CONVERSATION) if bundled else (shaped, {**PREFERENCE, **RATING})
            table, removed, licences = read_shaped(source, found[source.name], reading, *how)
            if isinstance(source, AnnotatedAnswers):
                removed["undecided"] += sum(v.verdict is None for v in source.verdicts(found[source.name]))
            by_source[source.name] = {"in": table.height + removed.total(), "removed": +removed, "licenses": licences}
            (made if bundled else stated).append(table)
        sides: list[list[pl.DataFrame]] = [[], []]
        ratings: list[list[pl.DataFrame]] = [[], []]
        for tables, column in ((stated, "prompt"), (made, "messages")):
            if not tables:
                continue
            both = pl.concat(tables)
            unique = both.unique("id", keep="first", maintain_order=True)
            for name, repeated in duplicates_by_source(both, unique).items():
                by_source[name]["removed"]["duplicate"] += repeated
            for side, part in enumerate(split(unique, column, settings.held_back)):
                # Partners are of the same side: no held-back answer is seen in training, even as a wrong one.
                if column == "messages":
                    sides[side].append(with_other_answers(part, settings.seed, by_source))
                else:
                    alone = part["answer"].is_not_null()
                    sides[side].append(part.filter(~alone).select(*PREFERENCE))
                    ratings[side].append(part.filter(alone).select(*RATING))
        train, held_back = (pl.concat(parts).sort("id") for parts in sides)
        rated = {
            f"{RATED}_{split}": pl.concat([pl.DataFrame(schema=RATING), *parts]).sort("id")
            for split, parts in zip(SIDES, ratings)
        }
        write_lineage(draft, settings, found)
        some = any(table.height for table in rated.values())
        write_sides(draft, {"train": train, "held_back": held_back, **(rated if some else {})}, by_source, ASSET, log)

    return context.store.make(
        ASSET,
        code_version=VERSION,
        settings=fingerprint(settings, settings.sources),
        inputs=origins(settings.sources, found),
        build=build,
        log=log,
    )


def with_other_answers(conversations: pl.DataFrame, seed: int, by_source: dict[str, dict[str, Any]]) -> pl.DataFrame:
    """Preferences out of the conversations of one side; those without a partner are counted in `by_source`."""
    parts = [other_answers(rows, seed) for rows in conversations.partition_by("source", maintain_order=True)]
    pairs = pl.concat([pl.DataFrame(schema=PREFERENCE), *parts])
    for name, rows in conversations.group_by("source").len().iter_rows():
        alone = rows - pairs.filter(source=name).height
        if alone:
            by_source[name]["removed"]["no_other_answer"] += alone
    return pairs


def write_lineage(draft: Draft, settings: Settings, found: dict[str, Any]) -> None:
    """Write who judged each row, where a source holds what people said. found: what each source holds now, by name."""
    judged = [source for source in settings.sources if isinstance(source, AnnotatedAnswers)]
    if judged:
        parts = [annotated.lineage(one.name, one.verdicts(found[one.name]), identified) for one in judged]
        write_table(pl.concat(parts).sort("id", "source", "task"), draft.path(f"{annotated.LINEAGE}.parquet"))


def identified(row: Row) -> str | None:
    """The id of a row as it stands in the tables; None if it is refused."""
    try:
        return str(shaped(row)["id"])
    except Malformed:
        return None

"""`covered_questions`: which of the questions and problems are in the text that the models learn from.

What was cut by `contamination_decisions` is no matter here: searched are the texts that are trained on, as they are
(curated documents, conversations, pairs), for every question that the recipe asks. So a figure can also be given for
the questions that no training text holds, whichever sets the recipe kept out of the text. A question is found by its
n-grams of tokens, as there (`curation/evaluation_items.py`); any n-gram counts (GPT-3, Brown et al. 2020, appendix C).

- questions.parquet: set, item, checked (else too short to be searched for), and for each text whether it holds any
- report/items.parquet, hits/: as of `contamination_decisions`, for the curated documents
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from pipeline.context import Inputs, RunContext
from pipeline.curation import contamination
from pipeline.curation.evaluation_items import Index, Item, index_of
from pipeline.documents.known_rows import EarlierVersions, same_but_documents
from pipeline.documents.view import Documents
from pipeline.evaluation.tasks import task_items
from pipeline.evaluation.tasks.forms import Question
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table

VERSION = "1"
ASSET = "covered_questions"
TABLE = "questions"
DOCUMENTS = "curated_documents"
TUNING = ("instruction_data", "preference_data")
TEXTS = (DOCUMENTS, *TUNING)
# Tables of `evaluation_tasks`, and the column that names the set.
SEARCHED = (
    (task_items.QUESTIONS, "task"), (task_items.PROBLEMS, "set"), (task_items.FREE, "set"), (task_items.BIAS, "set"),
)  # fmt: skip

# The texts that a model learned from, by its asset. Of an imported model they are not known.
LEARNED_FROM: dict[str, tuple[str, ...]] = {
    "pretrained_model": (DOCUMENTS,),
    "distilled_model": (DOCUMENTS,),
    "sft_model": (DOCUMENTS, "instruction_data"),
    "reinforcement_model": (DOCUMENTS, "instruction_data"),
    "preference_model": TEXTS,
}


def make(context: RunContext, inputs: Inputs, settings: None) -> Artifact:
    """The artifact `covered_questions`.

    inputs: evaluation_tasks, and those of TEXTS that the recipe has.
    """

    def build(draft: Draft) -> None:
        items = items_of(inputs[task_items.ASSET])
        index = index_of(items)
        checked = pl.Series("checked", index.items["grams"] > 0)
        table = index.items.select("set", item=pl.col("id").cast(pl.Int64)).with_columns(checked)
        if DOCUMENTS in inputs:
            documents = Documents(inputs[DOCUMENTS])
            fits = same_but_documents(VERSION, {}, inputs, documents)
            earlier = EarlierVersions(draft, context.store, documents, fits, only_kept=True)
            contamination.find_all(draft, documents, index, context.execution, earlier)
            contamination.write_report(draft, documents, index)
            report = pl.read_parquet(draft.path(f"{contamination.ITEMS}.parquet"))
            table = table.with_columns(report.select((pl.col("documents") > 0).alias(DOCUMENTS)))
        for name in (name for name in TUNING if name in inputs):
            table = table.with_columns(found_in(tuning_texts(inputs[name]), index).alias(name))
        write_table(table, draft.path(f"{TABLE}.parquet"))
        draft.counts = {"questions": table.height, "checked": int(table["checked"].sum())}
        searched = [name for name in TEXTS if name in inputs]
        by_set = table.group_by("set", maintain_order=True).agg(
            items=pl.len(), checked=pl.col("checked").sum(), **{name: pl.col(name).sum() for name in searched}
        )
        draft.facts = {"sets": {row.pop("set"): row for row in by_set.to_dicts()}}

    return context.store.make(
        ASSET, code_version=VERSION, settings={}, inputs=dict(inputs), build=build, log=context.log
    )


def items_of(asked: Artifact) -> list[Item]:
    """Every question and every problem, as it is searched for: its own texts, without the words of the form."""
    found = []
    for table, column in SEARCHED:
        rows = pl.read_parquet(asked.table(table), columns=[column, "item", "texts"])
        found += [Item(name, str(number), texts) for name, number, texts in rows.iter_rows()]
    return found


def tuning_texts(data: Artifact) -> pl.Series:
    """The text of each conversation, or of each pair, that is trained on."""
    rows = pl.read_parquet(data.table("train"))
    turns = "messages" if "messages" in rows.columns else "prompt"
    text = pl.col(turns).list.eval(pl.element().struct.field("content")).list.join("\n")
    answers = [pl.col(name) for name in ("chosen", "rejected") if name in rows.columns]
    return rows.select(pl.concat_str([text, *answers], separator="\n"))[turns].rename("text")


def found_in(texts: pl.Series, index: Index) -> pl.Series:
    """For each item, whether any of the texts holds any of it."""
    hits = contamination.find(texts, index) if index.grams or index.whole_texts else None
    numbers = pl.Series(range(index.items.height), dtype=pl.UInt32)
    return numbers.is_in((hits["item"] if hits is not None else numbers.clear()).unique().implode())


# -- what a figure needs -----------------------------------------------------------------------------------------------


class Coverage:
    """Which questions are in the text that one model learned from. Both values of one question: None, if it is not
    known, as of an imported model, or the question was too short to be searched for."""

    def __init__(self, covered: Artifact, texts: tuple[str, ...]):
        rows = pl.read_parquet(covered.table(TABLE))
        self.texts = tuple(name for name in texts if name in rows.columns)
        self._rows = rows.with_columns(
            covered=pl.when("checked").then(pl.any_horizontal(*self.texts)) if self.texts else pl.lit(None, pl.Boolean)
        )

    def of_items(self, name: str) -> dict[int, bool | None]:
        """By the number of the item in its set."""
        rows = self._rows.filter(pl.col("set") == name)
        return dict(rows.select("item", "covered").iter_rows())

    def of_questions(self, asked: Artifact, name: str) -> dict[Question, bool | None]:
        """By the question itself, so that it can be asked in another order, or without the others."""
        by_item = self.of_items(name)
        questions = task_items.read(asked, name)
        return {question: by_item.get(number) for number, question in enumerate(questions)}


def coverage(inputs: Mapping[str, Artifact], model: Artifact) -> Coverage | None:
    """What is known of a model's questions; None where nothing was searched, or its text is not known."""
    texts = LEARNED_FROM.get(model.asset, ())
    covered = inputs.get(ASSET)
    if covered is None or not texts:
        return None
    found = Coverage(covered, texts)
    return found if found.texts else None


def figures_without(rows: pl.DataFrame, columns: Mapping[str, str], seed: int) -> dict[str, Any]:
    """The same figures of the items that no training text holds.

    rows: an item each; `covered` (null: not known), and the columns of figures by the figure's name. Returns `items`
    (how many are left), `covered`, `not_checked` (too short to be searched for; they stay), each figure with its
    interval, and `difference`: the figure of all items less that of these. No figures where every item is covered.
    """
    from pipeline.evaluation.tasks.scored import excess, with_interval

    clean = ~rows["covered"].fill_null(False).to_numpy()
    found: dict[str, Any] = {
        "items": int(clean.sum()), "covered": int((~clean).sum()), "not_checked": int(rows["covered"].null_count()),
    }  # fmt: skip
    if not clean.any():
        return found
    values = {figure: rows[column].cast(pl.Float64).to_numpy() for figure, column in columns.items()}
    found |= {figure: with_interval(of[clean], seed) for figure, of in values.items()}
    found["difference"] = {figure: excess(of, clean, seed) for figure, of in values.items()}
    return found

"""What each curation stage is worth: networks of equal size and tokens, trained on the text as each stage leaves it.

    python -m benchmarks.worth_of_curation DATA/text [--flops 2e13] [--seeds 3] [--levels STAGE...]

The default recipe curates the text once. There is one training set per stage: the text after this stage and all before
it; the first set is the raw text. All are encoded with one tokenizer and measured on the same documents: those that
every stage keeps, as the last stage leaves them, held back by their hash. No training set holds a near-duplicate of one
of these, whether its stage removes duplicates or not. The unit is bits per byte (less is better); the spread is over
seeds, which also draw other documents.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import polars as pl

from benchmarks.making import quiet
from benchmarks.recipes_at_equal_compute import RECIPES, VOCABULARY, Trainings
from pipeline.curation import curated
from pipeline.curation.stages import Curation, decision_assets
from pipeline.graph import CURATED, RAW, Project
from pipeline.recipe import Recipe
from pipeline.run import make_with_inputs
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.tokens import shards as token_shards
from pipeline.tokens import training as tokenizers
from pipeline.tokens.sampling import held_out_fraction
from pipeline.tokens.token_settings import ShardSettings, TokenizerSettings

NOTHING = "raw"  # the level before the first stage
STAGES = decision_assets(Curation())
SETTINGS = ShardSettings()


def curate(root: Path, text: Path) -> Project:
    """The text, curated by the default recipe."""
    source = {"name": "text", "kind": "files", "path": f"{text.resolve()}/*.parquet"}
    recipe = Recipe.model_validate({"name": "curation", "sources": [source]})
    project = Project(recipe, Store(root, recipe.name), quiet)
    make_with_inputs(project, CURATED)
    return project


def texts_of(project: Project, level: str, store: Store) -> Artifact:
    """Training documents as `level` leaves them, and the held-back documents as the last stage does."""
    raw, whole = project[RAW], project[CURATED]
    left = raw
    if level != NOTHING:
        applied = STAGES[: STAGES.index(level) + 1]
        inputs = {RAW: raw} | {stage: project[stage] for stage in applied}
        left = curated.make(replace(project.context, store=store), inputs)
    held_back = held_out_fraction(pl.col("doc_id")) < SETTINGS.validation

    def build(draft: Draft) -> None:
        draft.facts = {"documents": 0, "characters": 0}
        for fragment in raw.fragments:
            texts = pl.read_parquet(left.table(fragment)).filter(~held_back)
            validation = pl.read_parquet(whole.table(fragment)).filter(held_back)
            draft.facts["documents"] += texts.height
            draft.facts["characters"] += int(texts["text"].str.len_chars().sum())
            both = pl.concat([texts, validation.select(texts.columns)], how="vertical_relaxed").sort("doc_id")
            key = {"left": left.entry(fragment)["sha256"], "whole": whole.entry(fragment)["sha256"]}
            draft.table(fragment, key, lambda both=both: both)  # type: ignore[misc]

    return store.make(
        "curated_documents_of_level", code_version="1", settings={}, inputs={"left": left, "whole": whole}, build=build,
        log=quiet,
    )  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="folder of Parquet files with the columns text, lang")
    parser.add_argument("--flops", type=float, default=2e13)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipe", default="default", choices=list(RECIPES))
    parser.add_argument("--precision", default="fp32")
    parser.add_argument(
        "--levels", nargs="*", default=[NOTHING, *STAGES], choices=[NOTHING, *STAGES],
        help="after which stages to measure",
    )  # fmt: skip
    parser.add_argument("--store", type=Path, default=None, help="where artifacts go; kept, so that a run can go on")
    return parser


def main() -> None:
    given = arguments().parse_args()
    recipe = RECIPES[given.recipe].at(given.precision)
    rate = recipe.rates[len(recipe.rates) // 2]
    with tempfile.TemporaryDirectory() as temporary:
        root = given.store or Path(temporary)
        project = curate(root, given.text)
        inputs = {"curated_documents": project[CURATED]}
        tokenizer = tokenizers.make(project.context, inputs, TokenizerSettings(vocab_size=VOCABULARY))
        print("| text after | documents | characters | bits per byte, mean | lowest - highest | against raw |")
        print("| --- | --- | --- | --- | --- | --- |", flush=True)
        base, before = 0.0, ""
        for level in given.levels:
            store = Store(root / "levels", level)
            texts = texts_of(project, level, store)
            if texts.digest == before:  # the stage changed nothing here
                continue
            before = texts.digest
            inputs = {"curated_documents": texts, "tokenizer": tokenizer}
            shards = token_shards.make(replace(project.context, store=store), inputs, SETTINGS)
            trainings = Trainings(store, {"tokenizer": tokenizer, "token_shards": shards}, given.flops)
            bits = [trainings.bits(recipe, rate, seed) for seed in range(1, given.seeds + 1)]
            mean = statistics.fmean(bits)
            base = base or mean
            print(
                f"| {level} | {texts.facts['documents']:,} | {texts.facts['characters']:,} | {mean:.4f} |"
                f" {min(bits):.4f} - {max(bits):.4f} | {mean / base - 1:+.2%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

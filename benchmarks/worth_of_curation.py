"""What each stage of curation is worth: models of equal size and tokens, trained on the text as the stages leave it.

    python -m benchmarks.worth_of_curation ../shared/data/text [--flops 2e13] [--seeds 3]

The text is curated once by the default recipe. Then there is one training set for each stage: what is left, and how it
reads, after this stage and those before it; the first is the raw text. All are cut by one tokenizer and measured on
the same documents: those that every stage keeps, as the last stage leaves them, held back by their hash. No training
set holds a near-duplicate of one of these, whether its stage removes duplicates or not. Bits per byte, so that less is
better; the spread is over seeds, which also draw other documents.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import polars as pl

from benchmarks.recipes_at_equal_compute import RECIPES, run
from pipeline import graph
from pipeline.curation import curated
from pipeline.recipe import Recipe
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.tokens import shards as token_shards
from pipeline.tokens import training as tokenizers
from pipeline.tokens.sampling import held_out_fraction
from pipeline.tokens.token_settings import ShardSettings, TokenizerSettings

RAW = "raw"
SETTINGS = ShardSettings()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="folder of Parquet files with the columns text, lang")
    parser.add_argument("--flops", type=float, default=2e13)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipe", default="default", choices=list(RECIPES))
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--levels", nargs="*", default=[RAW, *graph.DECISIONS], help="after which stages to measure")
    parser.add_argument("--store", type=Path, default=None, help="where artifacts go; kept, so that a run can go on")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = options.store or Path(temporary)
        project = curate(root, options.text)
        tokenizer = tokenizers.make(
            project.store, project["curated_documents"], TokenizerSettings(vocab_size=4096), log=quiet
        )
        recipe = RECIPES[options.recipe].at(options.precision)
        rate = recipe.rates[len(recipe.rates) // 2]
        print("| text after | documents | characters | bits per byte, mean | lowest - highest | against raw |")
        print("| --- | --- | --- | --- | --- | --- |", flush=True)
        base, before = 0.0, ""
        for level in options.levels:
            texts = level_of(project, level)
            if texts.digest == before:  # the stage changed nothing here
                continue
            before = texts.digest
            store = Store(root / "levels", level.replace(" ", "-"))
            shards = token_shards.make(store, texts, tokenizer, SETTINGS, project.recipe.execution, log=quiet)
            bits = [run(store, tokenizer, shards, recipe, rate, options.flops, 1 + s) for s in range(options.seeds)]
            mean = statistics.fmean(bits)
            base = base or mean
            print(
                f"| {level} | {texts.facts['documents']:,} | {texts.facts['characters']:,} | {mean:.4f} |"
                f" {min(bits):.4f} - {max(bits):.4f} | {mean / base - 1:+.2%} |",
                flush=True,
            )
    return 0


def quiet(line: str) -> None:
    """Nothing is said of each artifact."""


def curate(root: Path, text: Path) -> graph.Project:
    """The text, curated by the default recipe."""
    described = {
        "name": "curation",
        "sources": [{"name": "text", "kind": "files", "path": f"{text.resolve()}/*.parquet"}],
    }
    project = graph.Project(Recipe.model_validate(described), Store(root, "curation"), quiet)
    graph.make_with_inputs(project, "curated_documents")
    return project


def level_of(project: graph.Project, level: str) -> Artifact:
    """Training documents as `level` leaves them, and the held-back documents as the last stage does."""
    raw, whole = project["raw_documents"], project["curated_documents"]
    decisions = [project[name] for name in graph.DECISIONS]
    held_back = held_out_fraction(pl.col("doc_id")) < SETTINGS.validation
    if level == RAW:
        left = raw
    else:
        place = Store(project.store.root / "levels", level)
        upto = decisions[: graph.DECISIONS.index(level) + 1]
        left = curated.make(place, raw, upto, project.recipe.execution, quiet)

    def build(draft: Draft) -> None:
        draft.facts = {"documents": 0, "characters": 0}
        for fragment in raw.fragments:
            texts = pl.read_parquet(left.table(fragment)).filter(~held_back)
            validation = pl.read_parquet(whole.table(fragment)).filter(held_back)
            draft.facts["documents"] += texts.height
            draft.facts["characters"] += int(texts["text"].str.len_chars().sum())
            both = pl.concat([texts, validation.select(texts.columns)], how="vertical_relaxed").sort("doc_id")
            draft.table(fragment, {}, lambda both=both: both)

    store = Store(project.store.root / "levels", level.replace(" ", "-"))
    return store.make(
        "curated_documents_of_level", code_version="1", settings={}, inputs={"left": left, "whole": whole}, build=build,
        log=quiet,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

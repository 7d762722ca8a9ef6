"""The models of an experiment, scored on documents of other recipes instead of those that the experiment held back.

    python -m benchmarks.scored_elsewhere DATA/NAME/experiment_NAME/VERSION --documents 'DATA/OTHER/curated_documents/*'

What an experiment holds back of little text can be a single document. The first characters of each curated document of
the other recipes are scored by all of its models, but for documents that its own recipe curated too; then the settings
are compared as the experiment compares them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.experiments import comparing, result
from pipeline.printing import aligned

BATCH_TOKENS = 4096


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path, help="folder of a version of its result")
    parser.add_argument(
        "--documents", nargs="+", required=True, help="folders of versions of curated documents, or globs"
    )
    parser.add_argument("--characters", type=int, default=4000, help="most of a document")
    return parser


def curated(folders: list[str]) -> pl.DataFrame:
    """doc_id, source, text of all curated documents in the folders, each once."""
    read = [pl.read_parquet(f"{folder}/*.parquet", columns=["doc_id", "source", "text"]) for folder in folders]
    return pl.concat(read).unique("doc_id").sort("doc_id")


def bits_per_byte(model: Path, documents: pl.DataFrame) -> float:
    """Of a pretrained model's folder on documents (doc_id, source, lang, text)."""
    import torch

    from model.export import load as load_model
    from pipeline.evaluation.measures.language_modelling import score_documents, summarise
    from pipeline.experiments.scores import encoded
    from pipeline.tokens.tokenizer import load as load_tokenizer

    tokenizer = load_tokenizer(model)
    network = load_model(model, torch.float32).eval()
    read = encoded(documents, tokenizer)
    scored = score_documents(network, read, tokenizer.document_start, BATCH_TOKENS, torch.device("cpu"))
    found: float = summarise(scored)["bits_per_byte"]
    return found


def main() -> None:
    given = arguments().parse_args()
    recipe = given.experiment.resolve().parents[1]
    own = curated([str(recipe / "curated_documents" / "*")])
    others = curated(given.documents).join(own, on="doc_id", how="anti")
    others = others.with_columns(pl.col("text").str.head(given.characters), lang=pl.col("source"))
    print(f"{others.height} documents, {others['text'].str.len_bytes().sum():,} bytes")
    figures: dict[str, dict[Any, float]] = {}
    for cell in pl.read_parquet(given.experiment / "cells.parquet").to_dicts():
        bits = bits_per_byte(recipe / "pretrained_model" / cell["model"], others)
        figures.setdefault(cell["setting"], {})[cell["seed"]] = bits
    against = json.loads((given.experiment / "manifest.json").read_text())["facts"]["against"]
    rows = sorted(comparing.compared(figures, against), key=lambda row: row["mean"])
    head = ["setting", "seeds", "bits per byte", "95 %", f"against {against}", "95 %", "p (Holm)", ""]
    print(aligned(head, [result.in_cells(row) for row in rows]))


if __name__ == "__main__":
    main()

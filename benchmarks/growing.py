"""Curation after 5 % new documents, spread over all fragments: CPU seconds compared with a run from nothing.

    python -m benchmarks.growing DIRECTORY --documents 20000 [--sampled]

The hash of a document says in which fragment it stands, so new documents of a source change all of its fragments. A
second source, a twentieth of the documents, does not grow and is what the perplexity model learns from; with
`--sampled` the model learns from a sample of all, as by default, which any new document of the sample changes, and then
every document is judged by the new model. Each run makes `curated_documents` in a process of its own. Fragments hold 1
MB instead of 32, so that there are many. Finally, the bytes of all artifacts are compared with the run from nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl

from benchmarks.documents import write_corpus
from benchmarks.incremental import hashes, manifests
from benchmarks.measuring import ONE_THREAD, ROOT, cpu_of_children

RUN = """
import sys
from pipeline.ingest import fragments
fragments.FRAGMENT_BYTES = 1 << 20
from pipeline.graph import Project
from pipeline.run import make_with_inputs
make_with_inputs(Project.open(sys.argv[1], log=lambda line: None), "curated_documents")
"""
RECIPE = """name: growing
sources:
  - {{name: known, kind: files, path: '{corpus}/known/*.parquet'}}
  - {{name: mixed, kind: files, path: '{corpus}/mixed/*.parquet'}}
execution: {{executor: in_process}}
curation: {{perplexity: {{characters: 500_000, reference: {reference}}}}}
"""
NEW = 20  # one document in so many is new, and one in so many is of the source that does not grow


def run(recipe: Path, store: Path) -> float:
    """CPU seconds of one run."""
    before = cpu_of_children()
    given = {**os.environ, **ONE_THREAD, "SLM_DATA": str(store)}
    subprocess.run([sys.executable, "-c", RUN, str(recipe)], check=True, env=given, cwd=ROOT)
    return cpu_of_children() - before


def prepared(directory: Path, documents: int, sampled: bool) -> tuple[Path, pl.DataFrame]:
    """(recipe, the new documents); all others are written."""
    corpus = directory / "corpus"
    shutil.rmtree(directory, ignore_errors=True)
    write_corpus(directory / "all", documents)
    frame = pl.read_parquet(directory / "all" / "*.parquet")
    part = documents // NEW
    for name, rows in (("known", frame[:part]), ("mixed", frame[part:-part])):
        (corpus / name).mkdir(parents=True)
        rows.write_parquet(corpus / name / "old.parquet")
    recipe = directory / "growing.yaml"
    recipe.write_text(RECIPE.format(corpus=corpus, reference="[]" if sampled else "[known]"))
    return recipe, frame[-part:]


def seconds(store: Path) -> dict[str, float]:
    return {name: manifest["seconds"]["total"] for name, manifest in manifests(store).items()}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--sampled", action="store_true", help="the perplexity model learns from a sample of all")
    return parser


def main() -> None:
    given = arguments().parse_args()
    directory = given.directory.resolve()
    recipe, new = prepared(directory, given.documents, given.sampled)
    store, fresh = directory / "store", directory / "fresh"
    run(recipe, store)
    idle = run(recipe, store)
    new.write_parquet(directory / "corpus" / "mixed" / "new.parquet")
    grown, full = run(recipe, store), run(recipe, fresh)
    print(f"from nothing {full:.1f} CPU-s, after 1/{NEW} new documents {grown:.1f} ({grown / full:.1%}), "
          f"nothing to do {idle:.1f}; beyond that {(grown - idle) / (full - idle):.1%}")  # fmt: skip
    after, before = seconds(store), seconds(fresh)
    for name, wall in before.items():
        made = manifests(store)[name]["fragments"]
        print(f"{name:26} {wall:7.2f} s from nothing, {after[name]:7.2f} s ({made})")
    same, other = hashes(store), hashes(fresh)
    differing = [name for name in other if same[name] != other[name]]
    print("bytes equal to a full run's:", f"all {len(other)}" if not differing else f"NOT {differing}", flush=True)


if __name__ == "__main__":
    main()

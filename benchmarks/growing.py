"""Curation after 5 % new documents, spread over all fragments: CPU seconds compared with a run from nothing.

    python -m benchmarks.growing DIRECTORY [--documents 56000] [--sampled] [--doubling]

The hash of a document says in which fragment it stands, so new documents of a source change all of its fragments. A
second source, a twentieth of the documents, does not grow and is what the perplexity model learns from; with
`--sampled` the model learns from a sample of all, as by default, which any new document of the sample changes, and then
every document is judged by the new model. Each run makes `curated_documents` in a process of its own, and fragments
hold 8 MB instead of 32; with `--doubling` so much that the new documents, but not the first of them alone, make 32
fragments of 16. A run with a single new document shows what is read and written anyway. Finally, the bytes of all
artifacts are compared with those of the run from nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import polars as pl

from benchmarks.documents import write_corpus
from benchmarks.incremental import hashes
from benchmarks.measuring import ONE_THREAD, output_of

RUN = """
import json, sys, time
from pipeline.ingest import fragments
fragments.FRAGMENT_BYTES = int(sys.argv[2])
from pipeline.graph import Project
from pipeline.run import make_with_inputs
from pipeline.store.store import Store

build, spent = Store._build, {}

def timed(store, asset, *given):
    begun = time.process_time()
    made = build(store, asset, *given)
    spent[asset] = time.process_time() - begun
    return made

Store._build = timed
make_with_inputs(Project.open(sys.argv[1], log=lambda line: None), "curated_documents")
print(json.dumps({**spent, "in all": time.process_time()}))
"""
RECIPE = """name: growing
sources:
  - {{name: known, kind: files, path: '{corpus}/known/*.parquet'}}
  - {{name: mixed, kind: files, path: '{corpus}/mixed/*.parquet'}}
execution: {{executor: in_process}}
curation: {{perplexity: {{characters: 500_000, reference: {reference}}}}}
"""
FRAGMENT_BYTES = 1 << 23
FRAGMENTS = 16  # that `--doubling` makes twice as many
NEW = 20  # one document in so many is new, and one in so many is of the source that does not grow


def run(recipe: Path, store: Path, fragment_bytes: int) -> dict[str, float]:
    """CPU seconds of one run by artifact, and `in all`."""
    told = output_of(
        [sys.executable, "-c", RUN, str(recipe), str(fragment_bytes)], {**ONE_THREAD, "SLM_DATA": str(store)}
    )
    spent: dict[str, float] = json.loads(told.splitlines()[-1])
    return spent


def prepared(directory: Path, documents: int, sampled: bool) -> tuple[Path, pl.DataFrame, int]:
    """(recipe, the new documents, bytes of a fragment that half of them make too large); all others are written."""
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
    text_bytes = int(frame[part : -part // 2]["text"].str.len_bytes().sum())
    return recipe, frame[-part:], text_bytes // FRAGMENTS


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--documents", type=int, default=56_000)
    parser.add_argument("--sampled", action="store_true", help="the perplexity model learns from a sample of all")
    parser.add_argument("--doubling", action="store_true", help="the new documents double the fragments")
    return parser


def main() -> None:
    given = arguments().parse_args()
    directory = given.directory.resolve()
    recipe, new, too_small = prepared(directory, given.documents, given.sampled)
    fragment_bytes = too_small if given.doubling else FRAGMENT_BYTES
    store, fresh = directory / "store", directory / "fresh"
    grows = directory / "corpus" / "mixed"
    run(recipe, store, fragment_bytes)
    new[:1].write_parquet(grows / "first.parquet")
    fixed = run(recipe, store, fragment_bytes)
    new[1:].write_parquet(grows / "new.parquet")
    grown, full = (run(recipe, place, fragment_bytes) for place in (store, fresh))
    print("CPU seconds from nothing, after 1 new document in 20, after a single one")
    for name in full:
        print(f"{name:26} {full[name]:7.2f} {grown.get(name, 0):7.2f} {fixed.get(name, 0):7.2f}")
    print(f"one in {NEW}: {grown['in all'] / full['in all']:.1%} of a run from nothing")
    same, other = hashes(store), hashes(fresh)
    differing = [name for name in other if same[name] != other[name]]
    print("bytes equal to a full run's:", f"all {len(other)}" if not differing else f"NOT {differing}", flush=True)


if __name__ == "__main__":
    main()

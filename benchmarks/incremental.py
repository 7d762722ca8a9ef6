"""The cost of one changed document among a thousand fragments, compared with the first run.

    python -m benchmarks.incremental DIRECTORY [--documents 32000] [--inside]

A fragment holds 32 MB of text by default; here it holds 64 kB, so that 64 MB make a thousand fragments and every cost
per fragment shows. The samples that the trained filters and the tokenizer learn from are smaller too: otherwise they
would be the whole of such a small corpus, instead of a thousandth as with that many real fragments. Each run makes what
`tokenize_job` makes, in a process of its own: the first run, one without a change, and one after a document outside of
the samples was changed. The fixed start-up cost (loading the libraries of the stages that have work to do) is what the
same change costs in a corpus of a hundredth of the size. Finally, the changed corpus is made from scratch in another
store, and every artifact is compared.

With `--inside`, a document inside the samples is then changed: the models change, and everything is judged again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl

from benchmarks.documents import write_corpus
from benchmarks.measuring import ROOT, cpu_of_children
from pipeline.curation.filters.model_text import sample_order
from pipeline.ingest.fragments import document_ids
from pipeline.tokens.sampling import held_out_fraction, sample_fraction

RUN = """
import sys
from pipeline.ingest import fragments
fragments.FRAGMENT_BYTES = 64 * 1024
from pipeline.graph import Project
from pipeline.run import make_with_inputs
make_with_inputs(Project.open(sys.argv[1], log=lambda line: None), "token_shards")
"""
ALLOWED = 0.03
RECIPE = """name: incremental
sources:
  - {{name: mixed, kind: files, path: '{corpus}/*.parquet'}}
curation: {{perplexity: {{characters: 500_000}}, quality: {{characters: 1_000_000}}}}
tokenizer: {tokenizer}
"""
TOKENIZER = "{vocab_size: 8000, sample_bytes: 4_000_000}"
KEPT = "{vocab_size: 2000, frozen: true}"  # a hundredth of the corpus is all of a sample
FRESH, FRESH_INSIDE = "fresh", "fresh-inside"  # stores in which all is made from nothing
ADDED = " One more sentence was added here."


def run(recipe: Path, store: Path) -> float:
    """CPU seconds of one run, with its workers."""
    before = cpu_of_children()
    command = [sys.executable, "-c", RUN, str(recipe)]
    subprocess.run(command, check=True, env={**os.environ, "SLM_DATA": str(store)}, cwd=ROOT)
    return cpu_of_children() - before


def manifests(store: Path) -> dict[str, dict]:
    """The manifest of each artifact in force."""
    found = {}
    for pointer in sorted(store.glob("*/*/current")):
        path = pointer.parent / pointer.read_text().strip() / "manifest.json"
        found[pointer.parent.name] = json.loads(path.read_text())
    return found


def hashes(store: Path) -> dict[str, dict[str, str]]:
    """The SHA-256 of each file of each artifact."""
    return {name: {file: entry["sha256"] for file, entry in m["files"].items()} for name, m in manifests(store).items()}


def sampled(store: Path) -> tuple[set[str], float]:
    """Ids of all documents that a model learned from, and the last place in line of any."""
    chosen = [pl.read_parquet(path) for path in store.glob("*/*_sample/*/chosen.parquet")]
    ids = pl.concat([table["doc_id"] for table in chosen])
    return set(ids), float(ids.to_frame().select(sample_order().max()).item())


def change(corpus: Path, store: Path, inside: bool) -> str:
    """Change one English document that is in the samples, or is not and will not be; returns its id."""
    ids, last = sampled(store)
    path = sorted(corpus.glob("*.parquet"))[0]
    frame = pl.read_parquet(path)
    text = pl.col("text")
    now = frame.select(document_ids(frame["text"]), "lang")
    then = document_ids(frame["text"] + ADDED).to_frame().select(sample_order() > last).to_series()
    learned = now["doc_id"].is_in(list(ids))
    drawn_now, drawn_then = (
        column.to_frame()
        .select((sample_fraction(pl.col("doc_id")) < 0.5) | (held_out_fraction(pl.col("doc_id")) < 0.05))
        .to_series()
        for column in (now["doc_id"], document_ids(frame["text"] + ADDED))
    )
    fits = learned if inside else ~learned & then & ~drawn_now & ~drawn_then
    rows = (fits & (frame["lang"] == "en")).arg_true()
    if rows.is_empty():
        raise SystemExit(f"no English document is {'in' if inside else 'outside of'} the samples: use more --documents")
    row = int(rows[0])
    changed = pl.int_range(pl.len()) == row
    frame.with_columns(pl.when(changed).then(text + ADDED).otherwise(text)).write_parquet(path)
    return str(now["doc_id"][row])


def prepared(directory: Path, documents: int, tokenizer: str) -> tuple[Path, Path, Path]:
    """(corpus, store, recipe) for so many documents; what an earlier run left in `directory` is removed."""
    corpus, store = directory / "corpus", directory / "store"
    for left in (corpus, store, directory / FRESH, directory / FRESH_INSIDE):
        shutil.rmtree(left, ignore_errors=True)
    write_corpus(corpus, documents)
    recipe = directory / "incremental.yaml"
    recipe.write_text(RECIPE.format(corpus=corpus, tokenizer=tokenizer))
    return corpus, store, recipe


def show(store: Path) -> None:
    """Print what each artifact computed and what it reused."""
    for name, manifest in manifests(store).items():
        print(f"{name:26} fragments {manifest['fragments']}  {manifest['seconds']['total']:.2f} s")


def compare(store: Path, recipe: Path, fresh: Path) -> None:
    """Make everything from nothing in another store, and say whether all bytes are the same."""
    run(recipe, fresh)
    same, other = hashes(store), hashes(fresh)
    differing = [name for name in other if same[name] != other[name]]
    print("bytes equal to a full run's:", f"all {len(other)}" if not differing else f"NOT {differing}", flush=True)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--documents", type=int, default=32_000)
    parser.add_argument("--inside", action="store_true", help="also change a document that the models learned from")
    return parser


def start_up(directory: Path, documents: int) -> float:
    """CPU seconds that one changed document costs in a small corpus."""
    corpus, store, recipe = prepared(directory, documents, KEPT)
    run(recipe, store)
    change(corpus, store, inside=True)
    return run(recipe, store)


def main() -> None:
    given = arguments().parse_args()
    directory = given.directory.resolve()
    corpus, store, recipe = prepared(directory, given.documents, TOKENIZER)
    first = run(recipe, store)
    unchanged = run(recipe, store)
    change(corpus, store, inside=False)
    changed = run(recipe, store)
    show(store)
    fixed = start_up(directory / "small", given.documents // 100)
    print(f"first {first:.1f} CPU-s, nothing changed {unchanged:.1f}, one document changed {changed:.1f}")
    print(f"one document changed in a hundredth of the corpus: {fixed:.1f}")
    for what, start in (("an idle run", unchanged), ("the fixed start-up", fixed)):
        share = (changed - start) / (first - start)
        print(f"beyond {what}: {changed - start:.2f} CPU-s = {share:.2%} of the first run's (at most {ALLOWED:.0%})")
    compare(store, recipe, directory / FRESH)
    if given.inside:
        change(corpus, store, inside=True)
        print(f"one document of the samples changed: {run(recipe, store):.1f} CPU-s")
        show(store)
        compare(store, recipe, directory / FRESH_INSIDE)


if __name__ == "__main__":
    main()

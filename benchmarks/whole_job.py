"""`curate_job` of two checkouts of this project on the same documents, one after the other.

    git worktree add ../before COMMIT
    python -m benchmarks.whole_job DIRECTORY ../before . --documents 200000 --rounds 1

Each run is `dagster job execute -j curate_job` in an empty store, with the documents of `write_corpus`
(benchmarks/documents.py) and the Python that runs this. The order is turned round with each round. It ends if the
curated documents differ in a byte.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.documents import write_corpus
from benchmarks.measuring import cpu_of_children
from benchmarks.scale import JOB, environment


def curated(store: Path) -> dict[str, str]:
    """Hash of each file of the curated documents."""
    [manifest] = store.glob("whole/curated_documents/*/manifest.json")
    return {name: entry["sha256"] for name, entry in json.loads(manifest.read_text())["files"].items()}


def run(checkout: Path, folder: Path, corpus: Path, documents: int) -> dict[str, str]:
    """Curate the corpus with the code of a checkout and print what it took; returns `curated`."""
    shutil.rmtree(folder, ignore_errors=True)
    given = environment(folder, "whole", corpus, folder / "store")
    used, started = cpu_of_children(), time.monotonic()
    with open(folder / "log", "w") as log:
        done = subprocess.run([sys.executable, *JOB], env=given, cwd=checkout, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"failed: see {folder / 'log'}")
    cpu, wall = cpu_of_children() - used, time.monotonic() - started
    print(f"{checkout}: {cpu:.1f} CPU-s, {documents / cpu:,.0f} documents a CPU second, {wall:.0f} s", flush=True)
    return curated(folder / "store")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=1)
    return parser


def main() -> None:
    given = arguments().parse_args()
    directory = given.directory.resolve()
    write_corpus(directory / "corpus", given.documents)
    checkouts = [given.before.resolve(), given.after.resolve()]
    for number in range(given.rounds):
        order = checkouts if number % 2 == 0 else checkouts[::-1]
        found = [run(of, directory / "run", directory / "corpus", given.documents) for of in order]
        if found[0] != found[1]:
            raise SystemExit("the curated documents of the two checkouts differ")


if __name__ == "__main__":
    main()

"""What a run costs beyond the stages' own work: Dagster, starting workers, hashing, manifests and links.

    python -m benchmarks.overhead DIRECTORY --documents 50000

Runs `dagster job execute -j curate_job` in a new store, with clocks around the calls that matter. All figures are CPU
seconds of the whole process tree, so that other load on the machine hardly changes them. A stage's own work is what
its functions use, in workers or in the job's process: reading fragments, computing, writing tables. The rest is:

    dagster     the job's process outside of `make`: imports, events, metadata and pictures, checks
    workers     starting a worker process until its first task, time between tasks, and its end
    hashing     SHA-256 and fast hash of every file that is written
    checking    the fast hash of every file when a process first reads or links it (`SLM_CHECK=off`: none)
    records     manifests, keys, links, and flushing of records
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# Everything else is imported where it is used: each worker imports this file, and its start-up is measured.
from benchmarks.measuring import ROOT, cpu_of, cpu_of_children, program

FIXED = ("dagster", "workers")  # hardly grow with the corpus


def timed(folder: str, function: Callable[..., Any], *task: Any) -> Any:
    """Call a stage's function in a worker; note its CPU seconds, and those of checking bytes among them."""
    from pipeline.store import bytes_check

    checked, original = [0.0], bytes_check.fast_hash

    def check(path: Path) -> str:
        started = time.process_time()
        found = original(path)
        checked[0] += time.process_time() - started
        return found

    bytes_check.fast_hash = check
    try:
        result, seconds = cpu_of(lambda: function(*task))
    finally:
        bytes_check.fast_hash = original
    with open(Path(folder) / f"{os.getpid()}.worker", "a") as file:
        file.write(f"{seconds} {checked[0]}\n")
    return result


def instrument(folder: Path) -> dict[str, float]:
    """Put clocks around the job's calls; returns what they count, by name."""
    from pipeline import graph
    from pipeline.documents import execution
    from pipeline.store import bytes_check, draft, store

    counted = {"make": 0.0, "hashing": 0.0, "checking": 0.0, "records": 0.0}
    inside: list[str] = []

    def clocked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if name in inside:  # only the outermost call of a kind counts
                return function(*arguments, **named)
            inside.append(name)
            started = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                used = time.process_time() - started
                inside.remove(name)
                counted[name] += used
                if name in ("hashing", "checking") and "records" in inside:
                    counted["records"] -= used

        return call

    original = execution._in_processes

    def in_processes(function: Callable[..., Any], tasks: Any, workers: int) -> Any:
        return original(timed, [(str(folder), function, *task) for task in tasks], workers)

    execution._in_processes = in_processes
    bytes_check.hashes = clocked("hashing", bytes_check.hashes)
    bytes_check.fast_hash = clocked("checking", bytes_check.fast_hash)
    Draft, Store = draft.Draft, store.Store
    of_records: list[tuple[type, Callable[..., Any]]] = [
        *((Draft, method) for method in (Draft._record, Draft._recall, Draft._finish)),
        *((Store, method) for method in (Store._read, Store._set_current, Store.versions, Store.current)),
    ]
    for owner, method in of_records:
        setattr(owner, method.__name__, clocked("records", method))
    nodes_of = graph.nodes_of

    def clocked_nodes(recipe: Any) -> dict[str, graph.Node]:
        return {name: replace(node, make=clocked("make", node.make)) for name, node in nodes_of(recipe).items()}

    graph.nodes_of = clocked_nodes
    return counted


def inside(folder: Path) -> None:
    """The job itself, in a process of its own."""
    counted = instrument(folder)
    from dagster._cli import cli

    from pipeline.documents import workers

    try:
        cli(["job", "execute", "-m", "assets.definitions", "-j", "curate_job"], standalone_mode=False)
    finally:
        workers.end_idle()  # only children that have ended are counted
        own = resource.getrusage(resource.RUSAGE_SELF)
        counted["process"] = own.ru_utime + own.ru_stime
        counted["children"] = cpu_of_children()
        (folder / "counted.json").write_text(json.dumps(counted))


def measure(directory: Path, documents: int) -> dict[str, Any]:
    """Figures of one run of the job, in a new store."""
    from benchmarks.documents import write_corpus
    from benchmarks.scale import environment

    corpus, folder = directory / f"corpus-{documents}", directory / f"overhead-{documents}"
    write_corpus(corpus, documents)
    shutil.rmtree(folder, ignore_errors=True)
    given = environment(folder, "overhead", corpus, folder / "store")
    started = time.monotonic()
    subprocess.run(
        program("overhead", folder, "--inside"), check=True, env=given, cwd=ROOT, stdout=subprocess.DEVNULL
    )  # fmt: skip
    wall = time.monotonic() - started
    counted = json.loads((folder / "counted.json").read_text())
    lines = [line.split() for path in folder.glob("*.worker") for line in path.read_text().splitlines()]
    in_workers, checked = (sum(float(line[place]) for line in lines) for place in (0, 1))
    parts = {
        "dagster": counted["process"] - counted["make"],
        "workers": counted["children"] - in_workers,
        "hashing": counted["hashing"],
        "checking": counted["checking"] + checked,
        "records": counted["records"],
    }
    total = counted["process"] + counted["children"]
    overhead = sum(parts.values())  # of `checking`, what workers do is among their own work as well
    # Twice the length has twice the hashing and records, and the same fixed part.
    ten_minutes = 600 * (os.cpu_count() or 1)
    fixed = sum(parts[name] for name in FIXED)
    growing = (overhead - fixed) / (total - fixed)
    return {
        "documents": documents,
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(total, 1),
        "of_the_stages": round(total - overhead, 1),
        **{name: round(value, 2) for name, value in parts.items()},
        "share": round(overhead / total, 4),
        "share_of_a_10_minute_run_on_all_cores": round((fixed + growing * (ten_minutes - fixed)) / ten_minutes, 4),
    }


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    given = arguments().parse_args()
    if given.inside:
        inside(given.directory)
    else:
        print(json.dumps(measure(given.directory.resolve(), given.documents), indent=1))


if __name__ == "__main__":
    main()

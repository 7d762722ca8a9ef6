"""Faults of a Ray cluster: a node that is killed in the middle of each kind of stage, and a head that is restarted.

    python -m benchmarks.ray_faults DIRECTORY

Three nodes run on this machine, one core each. The stages are of the two kinds that there are: by fragment (languages,
signatures, sentences) and by value, in several partitions (candidates for near-duplicates, repeated sentences). Each
task notes that it has begun and waits until the fault has happened, so that every fault meets a stage with some tasks
finished and others begun. For each fault: whether the tables are those of a run in one process, how many tasks began,
how many a second time, and how many of those that were recorded before the fault.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.measuring import ROOT
from model.files import write_whole
from pipeline.documents import execution, partitions
from pipeline.documents.execution import ExecutionSettings
from pipeline.errors import UserError
from pipeline.store.draft import RECORDS, _record_name
from pipeline.store.reading import DRAFT
from pipeline.store.store import Store
from tests.making import after, context
from tests.ray_nodes import start_cluster

FRAGMENTS, DOCUMENTS = 8, 60
ENGLISH = "Paragraph {n} of a plain text, of the {m} th kind, with words that say little but are plainly English. "
FIRST = 2  # tasks of the held kind that run through; the others wait for the fault
LABELS = ("language_decisions", "candidates", "repeated sentences")


def held(function: Callable[..., Any], label: str, index: int, folder: Path, *task: Any) -> Any:
    """A task that notes that it has begun, and waits for the fault if it is to be in its middle."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    (folder / "began").mkdir(exist_ok=True)
    write_whole(folder / "began" / f"{node} {os.getpid()} {time.time_ns()}", json.dumps([label, str(noted(task[-1]))]))
    while index >= FIRST and label == (folder / "held").read_text():
        time.sleep(0.05)
    return function(*task)


def noted(target: Path) -> Path:
    """Where the draft notes that this file is finished."""
    (draft,) = (folder for folder in target.parents if folder.name.endswith(DRAFT))
    if RECORDS in target.parts:
        return partitions.record_of(target)
    return draft / RECORDS / f"{_record_name(target.relative_to(draft).as_posix())}.json"


def driver(folder: Path, address: str) -> None:
    """Make the stages on the cluster, or in this process where there is no address."""
    from pipeline.curation.duplicates import band_partitions, near, repetition
    from pipeline.curation.filters import language
    from pipeline.documents import fragment_tables

    real = execution.run_all

    def run_all(
        function: Callable[..., Any], tasks: Sequence[Any], settings: Any, work: int, label: str, *more: Any
    ) -> Iterator[Any]:
        given = [(function, label, index, folder, *task) for index, task in enumerate(tasks)]
        return real(held, given, settings, work, label, *more)

    if address:
        for module in (fragment_tables, partitions):
            module.run_all = run_all  # type: ignore[attr-defined]
    band_partitions.PARTITION_BYTES = 12 * 18 * 100
    repetition.COUNTED_AT_ONCE = 250
    settings = ExecutionSettings(executor="ray" if address else "in_process", ray_address=address or "auto")
    store = Store(folder / ("store" if address else "alone"), "faults")

    def build(draft: Any) -> None:
        for fragment in range(FRAGMENTS):
            texts = [ENGLISH.format(n=n % 50, m=fragment) * (3 + n % 5) for n in range(DOCUMENTS)]
            draft.table(f"made-{fragment}", {"fragment": fragment}, lambda texts=texts, f=fragment: documents(texts, f))

    raw = store.make("raw_documents", code_version="1", settings={}, inputs={}, build=build, log=lambda line: None)
    for make in (
        lambda: language.STAGE.make(context(store, execution=settings), after(raw), language.Settings()),
        lambda: near.make(context(store, execution=settings), after(raw), near.Settings(threshold=0.6)),
        lambda: repetition.make(context(store, execution=settings), after(raw), repetition.Settings(max_documents=1)),
    ):
        try:
            made = make()
        except UserError as error:
            sys.exit(f"slm: {error}")
        print(json.dumps([made.asset, made.digest, made.manifest["counts"]]), flush=True)


def documents(texts: list[str], fragment: int) -> pl.DataFrame:
    from pipeline.documents.document import DOCUMENT_SCHEMA

    rows: dict[str, list[Any]] = {column: [None] * len(texts) for column in DOCUMENT_SCHEMA}
    rows |= {"doc_id": [f"{fragment:04x}{row:028x}" for row in range(len(texts))], "text": texts}
    return pl.DataFrame(rows | {"source": ["made"] * len(texts)}, schema=DOCUMENT_SCHEMA)


class Nodes:
    """A cluster of three nodes of one core."""

    def __init__(self) -> None:
        self.cluster = start_cluster(3)
        self.others = list(self.cluster.worker_nodes)

    def kill_one(self, folder: Path) -> None:
        """A node with all its processes, which would otherwise see only after a while that theirs is gone."""
        node = self.others.pop()
        assert kill_workers(folder, node.node_id), "no task has begun on this node"
        self.cluster.remove_node(node, allow_graceful=False)

    def kill(self, folder: Path) -> None:
        """The head first, then the others, which would wait a minute for it."""
        for node in [self.cluster.head_node, *self.others]:
            kill_workers(folder, node.node_id)
            node.kill_all_processes(check_alive=False, allow_graceful=False)


def kill_workers(folder: Path, node: str) -> int:
    """Kill the processes in which tasks of a node began, as far as they are there; returns how many were."""
    killed = 0
    for pid in {int(path.name.split()[1]) for path in (folder / "began").glob(f"{node} *")}:
        with suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    return killed


def started(folder: Path, address: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.ray_faults", str(folder), "--driver", address]
    with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
        return subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=err)


def begun(folder: Path, since: int = 0) -> Counter[tuple[str, str]]:
    """How often each task began after a time (ns): by label, and the path of what records it."""
    paths = [path for path in (folder / "began").glob("*[0-9]") if int(path.name.split()[2]) > since]
    return Counter((label, record) for label, record in (json.loads(path.read_text()) for path in paths))


def recorded(folder: Path) -> set[str]:
    """What the drafts have recorded as finished."""
    return {str(path) for records in (folder / "store").rglob(RECORDS) for path in records.rglob("*.json")}


def made_in(folder: Path) -> list[Any]:
    """What a driver made; Ray writes of its own between the lines."""
    return [json.loads(line) for line in (folder / "out").read_text().splitlines() if line.startswith('["')]


def faulted(folder: Path, label: str, fault: str) -> dict[str, Any]:
    """One run with one fault in the middle of the work of that label; its figures."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "held").write_text(label)
    nodes = Nodes()
    process = started(folder, nodes.cluster.address)
    # In the middle: the first tasks of the work are through, and on all three nodes another one has begun.
    while sum(count for (of, _), count in begun(folder).items() if of == label) < FIRST + 3:
        assert process.poll() is None, (folder / "err").read_text()
        time.sleep(0.1)
    time.sleep(1.0)  # the first ones are recorded when the command hears of them
    before, at, of_work = recorded(folder), time.time_ns(), {record for of, record in begun(folder) if of == label}
    said = ""
    if fault == "a node is killed":
        nodes.kill_one(folder)
        (folder / "held").write_text("nothing")
    else:
        nodes.kill(folder)
        process.wait()
        said, code = (folder / "err").read_text().strip(), process.returncode
        assert code != 0
        (folder / "held").write_text("nothing")
        nodes = Nodes()
        process = started(folder, nodes.cluster.address)
    assert process.wait() == 0, (folder / "err").read_text()
    nodes.kill(folder)
    said = said or (folder / "err").read_text().strip()
    times, later = begun(folder), begun(folder, at)
    return {
        "fault": fault, "during": label, "tasks of this work": sum(of == label for of, _ in times),
        "recorded of this work": len(before & of_work), "recorded in all": len(before),
        "begun twice": sorted(f"{of}: {Path(record).stem}" for (of, record), count in times.items() if count > 1),
        "recorded and begun again": sum(record in before for _, record in later),
        "made": made_in(folder),
        "said": [line for line in said.splitlines() if not line.startswith(" ")][-3:],
    }  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--driver", metavar="ADDRESS")
    parser.add_argument("--label", action="append", help="Only faults during this work")
    return parser


def main() -> None:
    options = arguments().parse_args()
    folder: Path = options.directory.resolve()
    if options.driver is not None:
        driver(folder, options.driver)
        return
    alone = folder / "alone"
    alone.mkdir(parents=True, exist_ok=True)
    assert started(alone, "").wait() == 0, (alone / "err").read_text()
    expected = made_in(alone)
    print(json.dumps(expected), flush=True)
    for label in options.label or LABELS:
        for fault in ("a node is killed", "the head is restarted"):
            found = faulted(folder / f"{label} {fault}", label, fault)
            same = found.pop("made") == expected
            print(json.dumps({**found, "same": same}), flush=True)


if __name__ == "__main__":
    main()

"""Faults of a Ray cluster: a node that is killed in the middle of each kind of stage, and a head that is restarted.

    python -m benchmarks.ray_faults DIRECTORY

Three nodes run on this machine, one core each. The stages are of the two kinds that there are: languages (by fragment)
and near-duplicates (by fragment, then candidates by value, in several partitions). Each task notes that it has begun
and waits until the fault has happened, so that every fault meets a stage with some tasks finished and others begun. For
each fault: whether the tables are those of a run in one process, how many tasks began, and how many of those that were
recorded before the fault began once more.
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
from pipeline.documents import execution
from pipeline.documents.execution import ExecutionSettings
from pipeline.errors import UserError
from pipeline.store.draft import RECORDS, _record_name
from pipeline.store.store import Store
from tests.making import after, context

FRAGMENTS, DOCUMENTS = 8, 60
ENGLISH = "Paragraph {n} of a plain text, of the {m} th kind, with words that say little but are plainly English. "
FIRST = 2  # tasks of the held kind that run through; the others wait for the fault


def held(function: Callable[..., Any], label: str, index: int, folder: Path, *task: Any) -> Any:
    """A task that notes that it has begun, and waits for the fault if it is to be in its middle."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    (folder / "began").mkdir(exist_ok=True)
    (folder / "began" / f"{label} {index} {node} {os.getpid()} {time.time_ns()}").touch()
    while index >= FIRST and label == (folder / "held").read_text():
        time.sleep(0.05)
    return function(*task)


def driver(folder: Path, address: str) -> None:
    """Make the stages on the cluster, or in this process where there is no address."""
    from pipeline.curation.duplicates import band_partitions, near
    from pipeline.curation.filters import language
    from pipeline.documents import fragment_tables, partitions

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
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.others = [self.cluster.add_node(num_cpus=1) for _ in range(2)]
        self.cluster.wait_for_nodes()

    def kill_one(self, folder: Path) -> None:
        """A node with all its processes, which would otherwise see only after a while that theirs is gone."""
        node = self.others.pop()
        pids = {int(path.name.split()[-2]) for path in (folder / "began").glob(f"* {node.node_id} *")}
        assert pids, "no task has begun on this node"
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.cluster.remove_node(node, allow_graceful=False)

    def kill(self) -> None:
        """The head first, then the others, which would wait a minute for it."""
        for node in [self.cluster.head_node, *self.others]:
            node.kill_all_processes(check_alive=False, allow_graceful=False)


def started(folder: Path, address: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.ray_faults", str(folder), "--driver", address]
    with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
        return subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=err)


def begun(folder: Path) -> Counter[str]:
    """How often each task began, by label and number."""
    return Counter(" ".join(path.name.split()[:-3]) for path in (folder / "began").glob("*"))


def recorded(folder: Path) -> set[tuple[str, int]]:
    """Files that drafts have recorded, by name and inode: one that is made again has another."""
    found = set()
    for records in (folder / "store").rglob(RECORDS):
        known = {record.name for record in records.glob("*.json")}
        for path in records.parent.rglob("*"):
            name = path.relative_to(records.parent).as_posix()
            if f"{_record_name(name)}.json" in known:
                found.add((name, path.stat().st_ino))
    return found


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
    while sum(count for name, count in begun(folder).items() if name.startswith(f"{label} ")) < FIRST + 3:
        assert process.poll() is None, (folder / "err").read_text()
        time.sleep(0.1)
    before = recorded(folder)
    said = ""
    if fault == "a node is killed":
        nodes.kill_one(folder)
        (folder / "held").write_text("nothing")
    else:
        nodes.kill()
        process.wait()
        said, code = (folder / "err").read_text().strip(), process.returncode
        assert code != 0
        (folder / "held").write_text("nothing")
        nodes = Nodes()
        process = started(folder, nodes.cluster.address)
    assert process.wait() == 0, (folder / "err").read_text()
    nodes.kill()
    said = said or (folder / "err").read_text().strip()
    times = begun(folder)
    kept = {inode for path in (folder / "store").rglob("*") for inode in [path.stat().st_ino]}
    return {
        "fault": fault, "during": label, "tasks": len(times), "begun": times.total(),
        "recorded before": len(before), "of them made again": len([one for one in before if one[1] not in kept]),
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
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    alone = folder / "alone"
    alone.mkdir(parents=True, exist_ok=True)
    assert started(alone, "").wait() == 0, (alone / "err").read_text()
    expected = made_in(alone)
    print(json.dumps(expected), flush=True)
    for label in options.label or ("language_decisions", "candidates"):
        for fault in ("a node is killed", "the head is restarted"):
            found = faulted(folder / f"{label} {fault}", label, fault)
            same = found.pop("made") == expected
            print(json.dumps({**found, "same": same}), flush=True)


if __name__ == "__main__":
    main()

"""Execution in this process, in local processes and on a Ray cluster of two nodes gives the same bytes."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from pipeline.curation.duplicates import band_partitions, near
from pipeline.curation.filters import language
from pipeline.documents import execution
from pipeline.documents.document import DOCUMENT_SCHEMA
from pipeline.documents.execution import ClusterLost, ExecutionSettings, run_all
from pipeline.errors import UserError
from pipeline.store.artifact import RUN_SPECIFIC, Artifact
from pipeline.store.patience import Unreachable
from pipeline.store.store import Store
from tests.making import IN_PROCESS, after, context
from tests.ray_nodes import NODES_APPEAR, add_node, start_cluster

ENGLISH = "The first paragraph of a plain text, and then some more words that say little but are plainly English. "
KOREAN = "첫 번째 문단은 평범한 글이고, 그 뒤에 별 뜻은 없지만 분명히 한국어인 낱말이 조금 더 이어진다. "


def raw_documents(store: Store) -> Artifact:
    def build(draft):
        for fragment in range(5):
            texts = [(ENGLISH, KOREAN)[row % 2] * (1 + row) + str(fragment) for row in range(40)]
            rows = {column: [None] * len(texts) for column in DOCUMENT_SCHEMA}
            rows |= {"doc_id": [f"{row:032x}" for row in range(40)], "text": texts, "source": ["made"] * 40}
            frame = pl.DataFrame(rows, schema=DOCUMENT_SCHEMA)
            draft.table(f"made-{fragment}", {"fragment": fragment}, lambda frame=frame: frame)

    return store.make("raw_documents", code_version="1", settings={}, inputs={}, build=build, log=lambda _: None)


def decisions(root, settings: ExecutionSettings) -> Artifact:
    store = Store(root, "r")
    raw = raw_documents(store)
    return language.STAGE.make(context(store, execution=settings), after(raw), language.Settings())


def what_was_made(artifact: Artifact) -> dict:
    return {name: value for name, value in artifact.manifest.items() if name not in RUN_SPECIFIC}


@pytest.fixture
def here(tmp_path) -> Artifact:
    return decisions(tmp_path / "here", ExecutionSettings(executor="in_process"))


def where(_: int) -> int:
    time.sleep(0.2)  # so that one worker cannot take all tasks
    return os.getpid()


def test_processes_give_the_same_manifest_and_bytes(here, tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "WORTH_A_PROCESS_BYTES", 0)
    settings = ExecutionSettings(executor="processes", workers=2)
    workers = {pid for _, pid in run_all(where, [(n,) for n in range(6)], settings)}
    assert len(workers) == 2 and os.getpid() not in workers
    assert what_was_made(decisions(tmp_path / "there", settings)) == what_was_made(here)


def test_little_work_stays_in_this_process():
    assert {pid for _, pid in run_all(where, [(1,), (2,)], ExecutionSettings(), work_bytes=1000)} == {os.getpid()}


@pytest.fixture(scope="module")
def nodes():
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e .[cluster]")
    nodes = start_cluster(2)
    yield nodes
    nodes.shutdown()


@pytest.fixture
def cluster(nodes) -> str:
    return nodes.address


def test_a_ray_cluster_of_two_nodes_gives_the_same_manifest_and_bytes(here, tmp_path, cluster):
    there = decisions(tmp_path / "there", ExecutionSettings(executor="ray", ray_address=cluster))
    assert what_was_made(there) == what_was_made(here)


def test_partitions_on_a_ray_cluster_give_the_same_manifest_and_bytes(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(band_partitions, "PARTITION_BYTES", 12 * 18 * 50)
    assert len(band_partitions.partitions(200, 18)) > 3

    def made(name: str, settings: ExecutionSettings) -> dict:
        store = Store(tmp_path / name, "r")
        raw = raw_documents(store)
        return what_was_made(near.make(context(store, execution=settings), after(raw), near.Settings(threshold=0.2)))

    there = made("there", ExecutionSettings(executor="ray", ray_address=cluster))
    assert there == made("here", ExecutionSettings(executor="in_process")) and there["facts"]["candidates"] > 0


def test_nodes_that_write_to_a_disk_of_their_own_are_told_in_one_sentence(tmp_path, monkeypatch):
    def on_another_machine(function, tasks, address):
        for index, task in enumerate(tasks):
            result = function(*task)
            task[-1].unlink()
            yield index, result

    monkeypatch.setattr(execution, "_on_ray", on_another_machine)
    on_ray = ExecutionSettings(executor="ray")
    with pytest.raises(UserError, match=r"has written .*made-0.parquet, but it is not here: .* SLM_CACHE"):
        decisions(tmp_path / "by fragment", on_ray)
    store = Store(tmp_path / "by value", "r")
    raw = raw_documents(store)
    monkeypatch.setattr("pipeline.documents.fragment_tables.run_all", lambda *given: run_all(*given[:2], IN_PROCESS))
    monkeypatch.setattr("pipeline.documents.fragment_tables.check_shared", lambda path, settings: None)
    with pytest.raises(UserError, match=r"has written .*candidates/0, but it is not here"):
        near.make(context(store, execution=on_ray), after(raw), near.Settings(threshold=0.2))


def held(number: int, folder: Path) -> int:
    """A task that says where it is, and waits until it may go on."""
    import ray

    (folder / f"{number} {ray.get_runtime_context().get_node_id()} {os.getpid()}").touch()
    while not (folder / "go").exists():
        time.sleep(0.05)
    return number


def test_a_node_that_is_lost_leaves_its_work_to_the_others(tmp_path, nodes):
    third = add_node(nodes)
    nodes.wait_for_nodes(NODES_APPEAR)

    def lose_it() -> None:
        while len(begun := [path.name.split() for path in tmp_path.glob("* *")]) < 3:
            time.sleep(0.05)
        (pid,) = [int(pid) for _, node, pid in begun if node == third.node_id]
        os.kill(pid, signal.SIGKILL)
        nodes.remove_node(third, allow_graceful=False)
        (tmp_path / "go").touch()

    fault = threading.Thread(target=lose_it)
    fault.start()
    settings = ExecutionSettings(executor="ray", ray_address=nodes.address)
    assert dict(run_all(held, [(n, tmp_path) for n in range(5)], settings)) == {n: n for n in range(5)}
    fault.join()
    assert len(list(tmp_path.glob("* *"))) == 6  # one of them twice


def test_a_cluster_whose_head_has_gone_is_told_in_one_sentence(tmp_path, cluster, monkeypatch):
    asked: list[str] = []

    def unreachable(address: str) -> None:
        asked.append(address)
        if len(asked) > 1:  # the first time it is joined
            raise ConnectionRefusedError

    for name, value in {"_check_reachable": unreachable, "HEAD_IS_ASKED": 0.1, "HEAD_IS_GONE": 0.3}.items():
        monkeypatch.setattr(execution, name, value)
    settings = ExecutionSettings(executor="ray", ray_address=cluster)
    try:
        with pytest.raises(ClusterLost, match=f"The head of the Ray cluster at {cluster} has gone"):
            list(run_all(held, [(1, tmp_path)], settings))
    finally:
        (tmp_path / "go").touch()
        sys.modules["ray"].shutdown()
    assert ClusterLost.draft_stays and len(asked) > 3


def refused(number: int) -> int:
    raise Unreachable(f"s3://bucket refuses access to {number}.")


def test_what_a_node_says_to_the_user_is_the_sentence_alone(cluster):
    settings = ExecutionSettings(executor="ray", ray_address=cluster)
    with pytest.raises(Unreachable) as told:
        list(run_all(refused, [(1,)], settings))
    assert str(told.value) == "s3://bucket refuses access to 1." and told.value.draft_stays


def test_a_cluster_that_does_not_answer_is_told_in_one_sentence():
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e .[cluster]")
    settings = ExecutionSettings(executor="ray", ray_address="127.0.0.1:1")
    with pytest.raises(UserError, match=r"No Ray cluster answers at .*127.0.0.1:1"):
        list(run_all(where, [(1,)], settings))


@pytest.mark.timeout(120)
def test_a_cluster_of_the_environment_that_does_not_answer_is_told_too(monkeypatch):
    """With `ray_address: auto`; Ray itself tries for minutes, and then aborts this process."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e .[cluster]")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match=r"No Ray cluster answers at .*auto` \(127.0.0.1:1\).*RAY_ADDRESS"):
        list(run_all(where, [(1,)], ExecutionSettings(executor="ray")))

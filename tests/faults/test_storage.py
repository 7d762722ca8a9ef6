"""Object storage with faults under everything: the same bytes, and what does not pass is one sentence."""

from __future__ import annotations

import errno
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.curation.duplicates import band_partitions, near, repetition
from pipeline.curation.filters import language
from pipeline.documents import execution
from pipeline.documents.execution import ExecutionSettings
from pipeline.store import patience
from pipeline.store.patience import Unreachable, patiently
from pipeline.store.remote import RemoteArtifact, open_store
from pipeline.store.store import Store
from pipeline.training.data.shard_reader import ShardReader, training_groups
from tests.documents.test_execution import raw_documents, what_was_made
from tests.faults.storage import FAULTS, Proxy, faulty
from tests.making import after, context
from tests.ray_nodes import start_cluster
from tests.training.conftest import shards, store, tokenizer  # noqa: F401

pytest.importorskip("moto.server", reason="moto is not installed: pip install -e .[dev]")
pytest.importorskip("s3fs", reason="s3fs is not installed: pip install -e .[dev]")
SHARE = 0.25


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with faulty(server.get_host_and_port(), 0.0, seed=5) as found:
        yield found
    server.stop()


@pytest.fixture
def address(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[str]:
    """A bucket behind the proxy, whose faults begin when the bucket is there."""
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.server_port}", "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1", "SLM_CACHE": str(tmp_path / "cache"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"bucket-{zlib.crc32(request.node.name.encode())}"
    s3fs.S3FileSystem().mkdir(bucket)
    proxy.met.clear()
    proxy.share = SHARE
    yield f"s3://{bucket}/data"
    proxy.share = 0.0


def test_curation_over_a_storage_with_faults_gives_the_same_bytes(
    address: str, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "WORTH_A_PROCESS_BYTES", 0)
    monkeypatch.setattr(patience, "PAUSES", (0.01,) * 12)

    def decided(place: Store) -> tuple[dict[str, object], list[dict[str, object]]]:
        settings = ExecutionSettings(executor="processes", workers=2)
        raw = raw_documents(place)
        made = language.STAGE.make(context(place, execution=settings), after(raw), language.Settings())
        return what_was_made(made), [made.entry(fragment) for fragment in made.fragments]

    expected = decided(Store(tmp_path / "here", "r"))
    raw_documents(open_store(address, "r"))
    monkeypatch.setenv("SLM_CACHE", str(tmp_path / "another machine"))
    assert decided(open_store(address, "r")) == expected
    monkeypatch.setenv("SLM_CACHE", str(tmp_path / "a third one"))
    there = open_store(address, "r")
    found = there.require("language_decisions")
    assert what_was_made(found) == expected[0] and found.local_directory().exists()
    assert not list(there.verify("language_decisions"))
    assert set(proxy.met) == {"", *FAULTS}, "the seed gives each fault at least once"


@pytest.fixture
def nodes(address: str) -> Iterator[str]:
    """The address of a cluster of two Ray nodes that know how to reach the bucket."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e .[cluster]")
    cluster = start_cluster(2)
    yield cluster.address
    cluster.shutdown()


@pytest.mark.timeout(900)
def test_curation_on_ray_over_a_storage_with_faults_gives_the_same_bytes(
    address: str, nodes: str, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PAUSES", (0.01,) * 12)
    monkeypatch.setattr(band_partitions, "PARTITION_BYTES", 12 * 18 * 200)
    monkeypatch.setattr(repetition, "COUNTED_AT_ONCE", 700)

    def decided(place: Store, settings: ExecutionSettings) -> list[dict[str, object]]:
        raw, run = raw_documents(place), context(place, execution=settings)
        languages = language.STAGE.make(run, after(raw), language.Settings())
        near_copies = near.make(run, after(raw, languages), near.Settings(threshold=0.2))
        edits = repetition.make(run, after(raw, languages), repetition.Settings(max_documents=2, min_words_left=0))
        return [what_was_made(made) for made in (languages, near_copies, edits)]

    expected = decided(Store(tmp_path / "here", "r"), ExecutionSettings(executor="in_process"))
    assert expected[1]["facts"]["candidates"] > 0 and expected[2]["facts"]["repeated"] > 0  # type: ignore[index]
    raw_documents(open_store(address, "r"))
    on_nodes = ExecutionSettings(executor="ray", ray_address=nodes)
    monkeypatch.setenv("SLM_CACHE", str(tmp_path / "another machine"))
    assert decided(open_store(address, "r"), on_nodes) == expected
    monkeypatch.setenv("SLM_CACHE", str(tmp_path / "a third one"))
    there = open_store(address, "r")
    assert [
        what_was_made(there.require(name)) for name in ("language_decisions", near.ASSET, repetition.ASSET)
    ] == expected
    assert not [problem for asset in (near.ASSET, repetition.ASSET) for problem in there.verify(asset)]
    assert set(proxy.met) == {"", *FAULTS}, "the seed gives each fault at least once"


def test_training_reads_ranges_of_a_storage_with_faults(
    address: str,
    proxy: Proxy,
    shards,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import s3fs

    monkeypatch.setattr(patience, "PAUSES", (0.01,) * 12)
    proxy.share = 0.0
    s3fs.S3FileSystem().put(str(shards.directory), f"{address}/shards", recursive=True)
    proxy.share = SHARE
    # The mirror has the manifest alone; what is read whole comes there, token shards do not.
    remote = RemoteArtifact(
        shards.asset, shards.version, tmp_path / "mirror", shards.manifest, address=f"{address}/shards"
    )
    groups = [group for _, found in sorted(training_groups(shards).items()) for group in found]
    assert [group for _, found in sorted(training_groups(remote).items()) for group in found] == groups
    here, there = ShardReader(shards), ShardReader(remote)
    for _ in range(8):
        for group in groups:
            for expected, found in zip(
                here.tokens([group], np.dtype("uint16")), there.tokens([group], np.dtype("uint16"))
            ):
                assert np.array_equal(expected, found)
            there._open.clear()
    assert not list((tmp_path / "mirror").glob("*-0.parquet")) and sum(proxy.met.values()) > 50 and len(proxy.met) > 3


def test_a_storage_that_stays_away_is_one_sentence_and_the_same_command_goes_on(
    address: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PAUSES", (0.01,))
    proxy.share = 1.0
    monkeypatch.setattr("tests.faults.storage.FAULTS", ("503",))
    with pytest.raises(
        Unreachable, match=r"s3://bucket-\d+/data does not answer as it should \(.*run the same command"
    ):
        raw_documents(open_store(address, "r"))
    proxy.share = 0.0
    assert raw_documents(open_store(address, "r")).manifest["fragments"]["computed"] == 5


def test_who_waits_for_a_storage_is_told_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def failing() -> None:
        raise ConnectionError("no route")

    with pytest.raises(Unreachable):
        patiently(failing, "s3://a")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "slm: s3://a does not answer (no route); trying again, for some minutes"
    assert len(lines) == sum(pause >= 2 for pause in patience.PAUSES), "what passes in a moment is not told"


def test_what_cannot_pass_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSES", (0.0, 0.0))
    asked: list[int] = []

    def failing(error: Exception) -> None:
        asked.append(1)
        raise error

    for error, raised, times, words in (
        (PermissionError("403"), Unreachable, 1, "refuses access"),
        (OSError(errno.EINVAL, "no such name"), Unreachable, 1, "does not answer"),
        (OSError(errno.EBUSY, "slow down"), Unreachable, 3, "slow down"),
        (TimeoutError(), Unreachable, 3, "TimeoutError"),
        (FileNotFoundError("gone"), FileNotFoundError, 1, "gone"),
        (OSError(errno.ENOSPC, "full"), OSError, 1, "full"),
        (PermissionError(errno.EACCES, "no", "/a/file"), PermissionError, 1, "no"),
        (ValueError("a fault of ours"), ValueError, 1, "a fault"),
    ):
        asked.clear()
        with pytest.raises(raised, match=words):
            patiently(lambda error=error: failing(error), "s3://a")
        assert len(asked) == times

"""Data sets of the hub, against a hub on loopback: pinned to a commit, streamed, and clear about what is refused."""

from __future__ import annotations

import gzip
import importlib.util
import io
import random
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from pipeline.errors import UserError
from pipeline.ingest import huggingface
from pipeline.ingest.records import Unreachable
from pipeline.ingest.source import Source, parse_source


def sibling(name: str) -> ModuleType:
    """A module beside this test; the tests are no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parquet(first: int, rows: int = 10, size: int = 30, row_group: int = 1000) -> bytes:
    letters = random.Random(first)
    texts = [f"{first + i} " + letters.randbytes(size // 2).hex() for i in range(rows)]
    frame = pl.DataFrame({"text": texts, "id": [str(first + i) for i in range(rows)]})
    buffer = io.BytesIO()
    frame.write_parquet(buffer, row_group_size=row_group)
    return buffer.getvalue()


@pytest.fixture
def hub(monkeypatch) -> Iterator:
    with sibling("hub").running_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield running


def source(**more: object) -> Source:
    given = {"name": "s", "kind": "huggingface", "dataset": "owner/data", "path": "data/train-*.parquet"}
    return parse_source({**given, **more})


def test_the_files_of_a_data_set_are_read_in_order(hub, read, make) -> None:
    files = {
        "README.md": b"# about",
        "data/train-00001.parquet": parquet(10),
        "data/train-00000.parquet": parquet(0),
        "data/test-00000.parquet": parquet(90),
        "data/deep/train-00000.parquet": parquet(80),
    }
    commit = hub.push("owner/data", files)
    found, _ = read(source())
    assert found["id"].to_list() == [str(i) for i in range(20)]
    artifact = make(source())
    assert artifact.counts["kept"] == 20
    assert artifact.facts["sources"]["s"]["observed"]["revision"] == commit


def test_any_format_and_wider_globs(hub, read) -> None:
    lines = b'{"text": "a"}\n{"text": "b"}\n'
    hub.push("owner/data", {"en/c4.00000.json.gz": gzip.compress(lines), "x/y/z.json.gz": gzip.compress(lines)})
    found, _ = read(source(path="en/c4.*.json.gz", format="jsonl"))
    assert found["text"].to_list() == ["a", "b"]
    assert read(source(path="**/*.json.gz", format="jsonl"))[0].height == 4


def test_a_change_is_seen_and_a_commit_holds_still(hub, make) -> None:
    old = hub.push("owner/data", {"data/train-0.parquet": parquet(0)})
    first = make(source())
    hub.push("owner/data", {"data/train-0.parquet": parquet(0), "README.md": b"only this is new"})
    assert make(source()).version == first.version
    hub.push("owner/data", {"data/train-0.parquet": parquet(0), "data/train-1.parquet": parquet(10)})
    assert make(source()).counts["kept"] == 20
    assert make(source(revision=old)).counts["kept"] == 10


def test_a_full_commit_is_observed_without_the_network(hub, tmp_path) -> None:
    commit = hub.push("owner/data", {"data/train-0.parquet": parquet(0)})
    hub.failing = True
    assert source(revision=commit).observe(tmp_path)["revision"] == commit


def test_a_limit_reads_a_part_of_a_large_file(hub, read, monkeypatch) -> None:
    monkeypatch.setattr(huggingface, "BLOCK", 1 << 20)
    content = parquet(0, rows=3000, size=8000, row_group=100)
    hub.push("owner/data", {"data/train-0.parquet": content})
    assert read(source(limit=50))[0].height == 50
    assert hub.sent < len(content) / 2
    assert len(content) > 10_000_000


def test_what_is_wrong_is_said_in_one_sentence(hub, read, monkeypatch) -> None:
    hub.push("owner/data", {"data/train-0.parquet": parquet(0), "broken.parquet": parquet(0)[:-20]})
    with pytest.raises(
        UserError, match="owner/none is not on the hub, or is private: correct `dataset`, or set HF_TOKEN"
    ):
        read(source(dataset="owner/none"))
    with pytest.raises(UserError, match=r"no file of the data set owner/data matches `data/x-"):
        read(source(path="data/x-*.parquet"))
    with pytest.raises(UserError, match="fix `path`"):
        read(source(path="nowhere/*.parquet"))
    with pytest.raises(UserError, match="has no revision `v9`"):
        read(source(revision="v9"))
    with pytest.raises(UserError, match=r"broken\.parquet is damaged or cut off"):
        read(source(path="broken.parquet"))
    hub.gated.add("owner/data")
    with pytest.raises(UserError, match=r"asks for agreement to its terms: agree at .* set HF_TOKEN"):
        read(source())
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert read(source())[0].height == 10


def test_a_hub_that_fails_or_is_gone(hub, read, make) -> None:
    hub.push("owner/data", {"data/train-0.parquet": parquet(0)})
    first = make(source())
    hub.failing = True
    assert make(source()).version == first.version  # as it was seen the last time
    with pytest.raises(Unreachable, match="run the same command again later"):
        read(source(path="data/*.parquet"))
    hub.shutdown()
    hub.server_close()
    assert make(source()).version == first.version
    with pytest.raises(Unreachable, match="cannot be re"):
        read(source(path="data/*.parquet"))

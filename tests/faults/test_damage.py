"""Bytes that change on the disk are noticed where they are read or linked, and `slm store repair` puts things right."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import UserError
from pipeline.repair import repair
from pipeline.run import inputs_in_order
from pipeline.store import bytes_check
from pipeline.store.artifact import MANIFEST, Artifact
from pipeline.store.bytes_check import HASH
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from tests import tiny
from tests.faults.kinds import Made, quiet

FLIPS = 40


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The tiny pipeline up to the token shards."""
    folder = tmp_path_factory.mktemp("damage")
    made = Made(tiny.write(folder), folder / "calm")
    for name in inputs_in_order(made.project().nodes, "token_shards"):
        made.project().make(name)
    return made


@pytest.fixture
def data(calm: Made, tmp_path: Path) -> Path:
    return Path(shutil.copytree(calm.data, tmp_path / "data"))


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


def text_changed(table: Path) -> None:
    """The first text of a table, edited: a table as good as before."""
    frame = pl.read_parquet(table)
    changed = pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("Somebody wrote this.")).otherwise(pl.col("text"))
    frame.with_columns(text=changed).write_parquet(table)


def test_no_flipped_bit_becomes_a_wrong_shard(calm: Made, tmp_path: Path) -> None:
    draw = random.Random(4)
    expected = calm.manifest("token_shards")
    told = 0
    for number in range(FLIPS):
        data = tmp_path / str(number)
        calm.before("token_shards", data)
        place = data / "tiny" / "curated_documents"
        shutil.rmtree(place)
        shutil.copytree(calm.data / "tiny" / "curated_documents", place)  # bytes of its own
        files = sorted(path for path in place.rglob("*") if path.is_file() and not path.name.startswith("."))
        files = [path for path in files if ".leases" not in path.parts]
        chosen = draw.choice(files)
        flip(chosen, draw.randrange(8 * chosen.stat().st_size))
        try:
            calm.project(data).make("token_shards")
        except UserError as error:
            assert "\n" not in str(error) and re.search("slm store repair|slm make curated_documents", str(error))
            told += 1
        else:
            assert calm.manifest("token_shards", data) == expected, f"a bit of {chosen.name} went into the shards"
    assert told > FLIPS // 2


def test_an_edited_table_is_refused_by_the_run_that_reads_it(calm: Made, data: Path) -> None:
    project = calm.project(data)
    curated = project["curated_documents"]
    text_changed(curated.place(f"{curated.fragments[0]}.parquet"))
    shutil.rmtree(data / "tiny" / "token_shards")
    with pytest.raises(UserError, match=r"curated_documents/.* is not what was written.*slm store repair"):
        project.make("token_shards")


def test_repair_sets_aside_what_is_damaged_and_makes_it_again(calm: Made, data: Path) -> None:
    project = calm.project(data)
    curated = project["curated_documents"]
    text_changed(curated.place(f"{curated.fragments[0]}.parquet"))
    said = list(repair(project))
    assert f"curated_documents/{curated.version} is set aside" in said
    assert f"curated_documents/{curated.version} is made again" in said
    assert not [line for line in said if "token_shards" in line], "shards that were made from checked bytes stay"
    for asset in ("curated_documents", "token_shards"):
        assert calm.manifest(asset, data) == calm.manifest(asset)
    tables = project["curated_documents"].manifest["fragments"]
    assert tables["computed"] == 1 and tables["reused"] >= 1, "the tables that are intact are linked"
    assert list(repair(project)) == ["nothing is damaged"]
    freed = [version for version, _ in project.store.prune("curated_documents", keep=0)]
    assert freed == [f"{curated.version} (set aside)"]


def test_what_was_made_from_damaged_bytes_without_a_check_is_made_again(
    calm: Made, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = calm.project(data)
    curated = project["curated_documents"]
    text_changed(curated.place(f"{curated.fragments[0]}.parquet"))
    shutil.rmtree(data / "tiny" / "token_shards")
    with monkeypatch.context() as unchecked:
        unchecked.setenv("SLM_CHECK", "off")
        wrong = project.make("token_shards")
    assert wrong.digest != calm.project()["token_shards"].digest and wrong.manifest["checked"] is False
    said = list(repair(project))
    assert any(line.startswith(f"token_shards/{wrong.version} was made from a damaged version") for line in said)
    assert calm.manifest("token_shards", data) == calm.manifest("token_shards")
    assert project["token_shards"].manifest["fragments"]["reused"] == 0, "none of the wrong tables is linked"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"files": 3}'])
def test_a_damaged_manifest_is_one_sentence_and_repaired(calm: Made, data: Path, content: bytes) -> None:
    project = calm.project(data)
    before = project["token_shards"]
    (before.directory / MANIFEST).write_bytes(content)
    for attempt in (lambda: project.make("token_shards"), lambda: project["token_shards"]):
        with pytest.raises(UserError, match=r"manifest.json is (empty|not what was written): `slm store repair` sets"):
            attempt()
    assert project.store.versions("token_shards") == []
    assert any("manifest.json" in line for line in project.store.verify("token_shards"))
    list(repair(project))
    assert calm.manifest("token_shards", data) == calm.manifest("token_shards")


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00", b"../../elsewhere", b"0123456789abcdeg"])
def test_a_damaged_pointer_is_one_sentence_and_repaired(calm: Made, data: Path, content: bytes) -> None:
    project = calm.project(data)
    (data / "tiny" / "token_shards" / "current").write_bytes(content)
    with pytest.raises(UserError, match=r"token_shards/current is (empty|damaged).*`slm store repair`"):
        project.store.require("token_shards")
    list(repair(project))
    assert calm.manifest("token_shards", data) == calm.manifest("token_shards")


def numbers(store: Store, upto: int, lines: list[str] | None = None) -> Artifact:
    def build(draft: Draft) -> None:
        for number in range(upto):
            draft.table(f"n-{number}", {"n": number}, lambda n=number: pl.DataFrame({"n": [n]}))

    log = (lines if lines is not None else []).append
    return store.make("numbers", code_version="1", settings={"n": upto}, inputs={}, build=build, log=log)


def test_a_damaged_table_is_not_linked_into_a_new_version(tmp_path: Path) -> None:
    store, lines = Store(tmp_path, "r"), []
    first = numbers(store, 2)
    pl.DataFrame({"n": [7]}).write_parquet(first.place("n-1.parquet"))
    second = numbers(store, 3, lines)
    assert [pl.read_parquet(second.table(f"n-{n}"))["n"][0] for n in range(3)] == [0, 1, 2]
    assert second.manifest["fragments"] == {"computed": 2, "reused": 1}
    assert any("n-1.parquet is not what was written, so it is not used" in line for line in lines)


@pytest.mark.parametrize("damage", ["", "{", '{"key"', "[]", "\x00"])
def test_a_damaged_note_of_a_draft_makes_its_table_again(tmp_path: Path, damage: str) -> None:
    def build(draft: Draft, until: int) -> None:
        for number in range(until):
            draft.table(f"n-{number}", {"n": number}, lambda n=number: pl.DataFrame({"n": [n]}))
        if until < 3:
            raise KeyboardInterrupt

    def make(until: int) -> Artifact:
        return Store(tmp_path, "r").make(
            "a", code_version="1", settings={}, inputs={}, build=lambda draft: build(draft, until), log=quiet
        )

    with pytest.raises(KeyboardInterrupt):
        make(2)
    (note,) = tmp_path.rglob("n-0.parquet.json")
    note.write_text(damage)
    assert make(3).manifest["fragments"] == {"computed": 3, "reused": 0}
    assert list(Store(tmp_path, "r").verify("a")) == []


def test_a_file_is_hashed_once_by_a_process_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytes_check, "_known", {})
    artifact = numbers(Store(tmp_path, "r"), 1)
    bytes_check._known.clear()
    hashed = []
    real = bytes_check.xxhash.xxh3_128
    monkeypatch.setattr(bytes_check.xxhash, "xxh3_128", lambda: hashed.append(1) or real())
    for _ in range(3):
        artifact.table("n-0")
    assert len(hashed) == 1
    os.utime(artifact.place("n-0.parquet"), ns=(1, 1))
    artifact.table("n-0")
    assert len(hashed) == 2


def test_off_by_option_the_store_reads_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = numbers(Store(tmp_path, "r"), 1)
    artifact.place("n-0.parquet").write_bytes(b"damaged")
    monkeypatch.setenv("SLM_CHECK", "off")
    assert artifact.table("n-0").read_bytes() == b"damaged"
    monkeypatch.delenv("SLM_CHECK")
    with pytest.raises(UserError):
        artifact.table("n-0")


def test_a_manifest_of_an_older_version_is_read_as_before(tmp_path: Path) -> None:
    store = Store(tmp_path, "r")
    made = numbers(store, 2)
    path = made.directory / MANIFEST
    old = {
        name: value for name, value in json.loads(path.read_text()).items() if name not in (HASH, "checked", "number")
    }
    for entry in old["files"].values():
        del entry[HASH]
    path.write_text(json.dumps(old))
    assert not numbers(store, 2).made and store.require("numbers").table("n-1").exists()
    newer = numbers(store, 3)
    assert newer.manifest["fragments"] == {"computed": 1, "reused": 2} and newer.manifest["checked"] is False
    assert all(HASH in entry for entry in newer.manifest["files"].values())

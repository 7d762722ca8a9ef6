"""The store in object storage: a real S3-compatible server on loopback."""

import json
import os
import subprocess
import sys
import textwrap
import zlib

import polars as pl
import pytest

from pipeline.errors import UserError
from pipeline.store.artifact import MANIFEST, Artifact
from pipeline.store.bytes_check import HASH
from pipeline.store.draft import Draft
from pipeline.store.remote import RemoteStore, open_store, open_text, recipes_in
from pipeline.store.store import Store
from pipeline.store.tables import write_whole

pytest.importorskip("moto.server", reason="moto is not installed: pip install -e .[dev]")
pytest.importorskip("s3fs", reason="s3fs is not installed: pip install -e .[dev]")


@pytest.fixture(scope="module")
def endpoint():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def address(endpoint, monkeypatch, tmp_path, request):
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1", "SLM_CACHE": str(tmp_path / "cache"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"bucket-{zlib.crc32(request.node.name.encode())}"
    s3fs.S3FileSystem().mkdir(bucket)
    return f"s3://{bucket}/data"


def make_numbers(store: Store, upto: int):
    def build(draft: Draft) -> None:
        for n in range(upto):
            draft.table(f"n-{n}", {"n": n}, lambda n=n: pl.DataFrame({"n": [n]}))
        write_whole(draft.path("folder/note.txt"), f"{upto}")

    return store.make("numbers", code_version="1", settings={"upto": upto}, inputs={}, build=build, log=lambda _: None)


def test_what_one_machine_made_another_reads(address, tmp_path, monkeypatch):
    made = make_numbers(open_store(address, "r"), 3)
    monkeypatch.setenv("SLM_CACHE", str(tmp_path / "other machine"))
    other = open_store(address, "r")
    assert isinstance(other, RemoteStore)
    assert other.assets() == ["numbers"]
    found = other.require("numbers")
    assert found.digest == made.digest and not found.made
    assert pl.read_parquet(found.table("n-2"))["n"].to_list() == [2]
    assert (found.local_directory() / "folder" / "note.txt").read_text() == "3"
    assert not make_numbers(other, 3).made


def test_the_same_bytes_as_in_a_folder(address, tmp_path):
    assert make_numbers(open_store(address, "r"), 2).digest == make_numbers(open_store(tmp_path, "r"), 2).digest


def test_tables_of_an_earlier_version_are_reused_from_an_empty_mirror(address, tmp_path, monkeypatch):
    make_numbers(open_store(address, "r"), 2)
    monkeypatch.setenv("SLM_CACHE", str(tmp_path / "emptied"))
    assert make_numbers(open_store(address, "r"), 4).manifest["fragments"] == {"computed": 2, "reused": 2}


def test_a_version_without_its_manifest_does_not_exist(address):
    store = open_store(address, "r")
    made = make_numbers(store, 2)
    store._files.rm_file(f"{store._root}/r/numbers/{made.version}/{MANIFEST}")
    os.environ["SLM_CACHE"] += "-2"
    assert open_store(address, "r").current("numbers") is None


def test_prune_removes_old_versions_there_too(address):
    store = open_store(address, "r")
    old, new = make_numbers(store, 1).version, make_numbers(store, 2).version
    assert [version for version, _ in store.prune("numbers", keep=0)] == [old]
    left = store._files.ls(f"{store._root}/r/numbers")
    assert sorted(path.split("/")[-1] for path in left) == sorted([new, "current"])


KILLED = """
    import os, sys
    from pipeline.store import remote
    from pipeline.store.tables import write_whole
    store = remote.open_store(sys.argv[1], "r")
    upload, count = store._files.put_file, 0
    def put(*given, **named):
        global count
        count += 1
        if count == int(sys.argv[2]):
            os._exit(9)
        return upload(*given, **named)
    store._files.put_file = put
    def build(draft):
        for n in range(3):
            write_whole(draft.path(f"{n}.txt"), str(n))
    store.make("texts", code_version="1", settings={}, inputs={}, build=build, log=lambda _: None)
"""


@pytest.mark.parametrize("at", [1, 3, 4])
def test_killed_while_uploading_nothing_half_is_seen_and_the_same_command_finishes(address, at, tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(KILLED), address]
    assert subprocess.run([*command, str(at)]).returncode == 9
    os.environ["SLM_CACHE"] = str(tmp_path / "another machine")
    assert open_store(address, "r").current("texts") is None
    os.environ["SLM_CACHE"] = str(tmp_path / "cache")
    subprocess.run([*command, "99"], check=True)
    found = open_store(address, "r").require("texts")
    assert [found.file(f"{n}.txt").read_text() for n in range(3)] == ["0", "1", "2"]


def test_an_address_that_nothing_opens_is_told_in_one_sentence():
    from pipeline.errors import UserError

    with pytest.raises(UserError, match="SLM_DATA=nosuch://x cannot be opened"):
        open_store("nosuch://x", "r")


def test_a_bucket_that_is_not_there_is_no_empty_store(address):
    elsewhere = address.replace("bucket-", "no-bucket-")
    said = rf"SLM_DATA={elsewhere}: there is no bucket `no-bucket-\d+`. Correct its name"
    for ask in (
        lambda: make_numbers(open_store(elsewhere, "r"), 1),
        lambda: open_store(elsewhere, "r").current("numbers"),
        lambda: recipes_in(elsewhere),
        lambda: open_text(elsewhere, "policy.yaml"),
    ):
        with pytest.raises(UserError, match=said):
            ask()
    assert open_store(address, "r").current("numbers") is None and recipes_in(address) == []


def test_of_two_makings_of_one_version_the_first_stays_and_the_second_is_told(address, tmp_path, monkeypatch):
    def make(store: Store, content: str, meanwhile=lambda: None) -> tuple[Artifact, list[str]]:
        lines: list[str] = []

        def build(draft: Draft) -> None:
            meanwhile()
            draft.made_on["threads"] = len(content)
            write_whole(draft.path("model.safetensors"), content)

        made = store.make("weights", code_version="1", settings={}, inputs={}, build=build, log=lines.append)
        return made, lines

    here = open_store(address, "r")
    monkeypatch.setenv("SLM_CACHE", str(tmp_path / "other machine"))
    there = open_store(address, "r")
    made, lines = make(here, "aa", meanwhile=lambda: make(there, "bbbb"))
    assert made.file("model.safetensors").read_text() == "bbbb"  # everyone reads the same bytes
    (told,) = [line for line in lines if "twice" in line]
    assert "they were made with threads 2 and 4" in told and told.endswith("which was complete first, stays")
    assert not list(here.other_makings("weights")) and not list(here.verify("weights"))

    # A mirror that holds another making all the same, such as one that an older version left.
    manifest = made.directory / MANIFEST
    content = {name: value for name, value in json.loads(manifest.read_text()).items() if name != HASH}
    content["files"]["model.safetensors"] = {"sha256": "0" * 64, "bytes": 4}
    manifest.write_text(json.dumps(content))
    (told,) = here.other_makings("weights")
    assert f"Delete {made.directory} to use the one in {address}" in told


def test_a_mirror_that_another_machine_made_stale_hinders_neither_make_nor_prune(address, tmp_path, monkeypatch):
    here = open_store(address, "r")
    old, kept = make_numbers(here, 1), make_numbers(here, 2)
    (here.require("numbers").directory / "n-0.parquet").unlink()  # the mirror need not hold all files
    (old.directory / "n-0.parquet").unlink()
    monkeypatch.setenv("SLM_CACHE", str(tmp_path / "other machine"))
    there = open_store(address, "r")
    assert [version for version, _ in there.prune("numbers", keep=0)] == [old.version]
    assert [artifact.version for artifact in here.versions("numbers")] == [kept.version]
    assert here.prune("numbers", keep=0) == []
    again = make_numbers(here, 1)
    assert again.made and again.version == old.version
    assert pl.read_parquet(open_store(address, "r").require("numbers").table("n-0"))["n"].to_list() == [0]


def test_the_newest_are_those_made_last_whenever_they_came_into_the_mirror(address, tmp_path, monkeypatch):
    made = [make_numbers(open_store(address, "r"), upto) for upto in (1, 2, 3)]
    monkeypatch.setenv("SLM_CACHE", str(tmp_path / "other machine"))
    there = open_store(address, "r")
    for artifact in reversed(made):  # the oldest comes last
        there.version("numbers", artifact.version)
    assert [version for version, _ in there.prune("numbers", keep=1)] == [made[0].version]


def test_a_damaged_file_of_the_mirror_is_downloaded_again(address):
    made = make_numbers(open_store(address, "r"), 2)
    made.place("n-1.parquet").write_bytes(b"damaged")
    assert pl.read_parquet(open_store(address, "r").require("numbers").table("n-1"))["n"].to_list() == [1]


def test_a_file_damaged_in_the_storage_is_one_sentence_and_repair_sets_its_version_aside(address):
    store = open_store(address, "r")
    made = make_numbers(store, 2)
    store._files.pipe_file(f"{store._root}/r/numbers/{made.version}/n-1.parquet", b"damaged")
    made.place("n-1.parquet").unlink()
    with pytest.raises(UserError, match=r"n-1.parquet is not what was written.*slm store repair"):
        store.require("numbers").table("n-1")
    assert list(store.problems("numbers")) == [made.version]
    store.set_aside("numbers", made.version)
    assert make_numbers(store, 2).made and list(store.verify("numbers")) == []

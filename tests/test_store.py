"""The store: artifacts are atomic, reused instead of made again, and right after a kill."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import UserError
from pipeline.store import made_on, upkeep
from pipeline.store import store as stores
from pipeline.store.artifact import MANIFEST, RUN_SPECIFIC, Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import NotMade, Store, differences, two_makings
from pipeline.store.tables import write_whole


def quiet(_: str) -> None:
    pass


def make_numbers(store: Store, upto: int = 3, version: str = "1", log=quiet) -> Artifact:
    def build(draft: Draft) -> None:
        for number in range(upto):
            key = {"number": number, "version": version}
            draft.table(
                f"n-{number}", key, lambda n=number: pl.DataFrame({"n": [n, n + 1]}), lambda t: {"sum": t["n"].sum()}
            )
        write_whole(draft.path("note.txt"), f"{upto} numbers\n")
        draft.counts = {"in": upto}

    return store.make(
        "numbers", code_version=version, settings={"upto": upto}, inputs={"outside": "abc"}, build=build, log=log
    )


def test_a_second_make_answers_from_the_store(tmp_path):
    store = Store(tmp_path, "r")
    first, lines = make_numbers(store), []
    second = make_numbers(store, log=lines.append)
    assert first.made and not second.made
    assert first.version == second.version
    assert lines == [f"numbers: up to date ({first.version})"]


def test_the_manifest_says_what_it_was_made_of(tmp_path):
    manifest = make_numbers(Store(tmp_path, "r")).manifest
    assert manifest["made_of"] == {
        "asset": "numbers", "code_version": "1", "settings": {"upto": 3}, "inputs": {"outside": "abc"},
    }  # fmt: skip
    assert set(manifest["files"]) == {"n-0.parquet", "n-1.parquet", "n-2.parquet", "note.txt"}
    assert manifest["files"]["n-2.parquet"]["facts"] == {"sum": 5}
    assert manifest["fragments"] == {"computed": 3, "reused": 0}
    assert {"asset", "recipe", "version", "fingerprint", "inputs", "counts", "seconds"} <= manifest.keys()


def test_two_empty_stores_give_the_same_bytes(tmp_path):
    one, two = make_numbers(Store(tmp_path / "a", "r")), make_numbers(Store(tmp_path / "b", "r"))
    assert one.version == two.version and one.digest == two.digest
    for name in one.manifest["files"]:
        assert one.file(name).read_bytes() == two.file(name).read_bytes()
    strip = [{k: v for k, v in a.manifest.items() if k not in RUN_SPECIFIC} for a in (one, two)]
    assert strip[0] == strip[1]


def test_tables_of_an_earlier_version_are_linked_not_made_again(tmp_path):
    store = Store(tmp_path, "r")
    small, large = make_numbers(store, upto=2), make_numbers(store, upto=4)
    assert large.manifest["fragments"] == {"computed": 2, "reused": 2}
    assert os.stat(small.table("n-0")).st_ino == os.stat(large.table("n-0")).st_ino
    assert store.current("numbers").version == large.version
    assert not make_numbers(store, upto=2).made  # back to the first setting: the version is still there
    assert store.current("numbers").version == small.version


def test_a_new_code_version_makes_everything_again(tmp_path):
    store = Store(tmp_path, "r")
    make_numbers(store)
    assert make_numbers(store, version="2").manifest["fragments"] == {"computed": 3, "reused": 0}


def test_an_input_that_came_out_the_same_changes_nothing_after_it(tmp_path):
    store = Store(tmp_path, "r")

    def double(numbers: Artifact) -> Artifact:
        build = lambda draft: write_whole(draft.path("x"), "x")  # noqa: E731
        return store.make("double", code_version="1", settings={}, inputs={"numbers": numbers}, build=build, log=quiet)

    assert double(make_numbers(store)).made
    again = make_numbers(store, version="2")  # other code, same bytes
    assert again.made and not double(again).made


def test_a_users_mistake_leaves_nothing_behind(tmp_path):
    def build(draft: Draft) -> None:
        write_whole(draft.path("half"), "half")
        raise UserError("the file x is empty")

    store = Store(tmp_path, "r")
    with pytest.raises(UserError, match="file x"):
        store.make("a", code_version="1", settings={}, inputs={}, build=build)
    assert store.current("a") is None
    assert [p.name for p in (tmp_path / "r" / "a").iterdir()] == [".lock"]


def test_what_was_never_made_is_named_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"`tokenizer` of the recipe `r` has not been made.*slm make tokenizer"):
        Store(tmp_path, "r").require("tokenizer")


SLOW = """
    import sys, time
    import polars as pl
    from pipeline.store.store import Store
    from pipeline.store.tables import write_whole
    def build(draft):
        for i in range(12):
            def slowly():
                time.sleep(0.03)
                return pl.DataFrame({"n": list(range(i, i + 20_000))})
            draft.table(f"n-{i}", {"i": i}, slowly)
            draft.path("loose.tmp").write_text("torn")
        draft.path("loose.tmp").unlink()
        write_whole(draft.path("end"), "end")
        print("computed", draft.computed)
    Store(sys.argv[1], "r").make("slow", code_version="1", settings={}, inputs={}, build=build, log=lambda _: None)
"""


def slow(root: Path) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(SLOW), str(root)]


def test_killed_at_any_moment_the_same_command_ends_with_the_same_bytes(tmp_path):
    subprocess.run(slow(tmp_path / "calm"), check=True, capture_output=True)
    calm = Store(tmp_path / "calm", "r").current("slow")
    for attempt, wait in enumerate((0.35, 0.5, 0.6, 0.7, 0.8, 0.9)):
        process = subprocess.Popen(slow(tmp_path / "killed"), stdout=subprocess.DEVNULL)
        time.sleep(wait)
        process.kill()
        process.wait()
        now = Store(tmp_path / "killed", "r").current("slow")
        assert now is None or now.digest == calm.digest, f"attempt {attempt} left something half made"
    subprocess.run(slow(tmp_path / "killed"), check=True, capture_output=True)
    after = Store(tmp_path / "killed", "r").current("slow")
    assert after.digest == calm.digest
    left = {p.name for p in (tmp_path / "killed" / "r" / "slow").rglob("*") if ".tmp" in p.name or "draft" in p.name}
    assert left == set()


def test_a_second_run_waits_for_the_first_and_takes_its_result(tmp_path):
    first = subprocess.Popen(slow(tmp_path), stdout=subprocess.PIPE, text=True)
    second = subprocess.Popen(slow(tmp_path), stdout=subprocess.PIPE, text=True)
    outputs = sorted(process.communicate(timeout=60)[0] for process in (first, second))
    assert outputs == ["", "computed 12\n"]


def test_why_names_the_fields_that_differ(tmp_path):
    store = Store(tmp_path, "r")
    store.explanations = {}
    with pytest.raises(NotMade):
        make_numbers(store)
    store.explanations = None
    make_numbers(store)
    store.explanations = {}
    make_numbers(store)
    assert store.explanations == {"numbers": []}
    make_numbers(store, upto=5, version="2")
    assert store.explanations["numbers"] == ['code_version was "1", is "2"', "settings.upto was 3, is 5"]


def test_differences_of_nested_records():
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "d": 3}}) == ["a.c is gone (was 2)", "a.d is new: 3"]


def test_verify_finds_a_changed_and_a_missing_file(tmp_path):
    store = Store(tmp_path, "r")
    artifact = make_numbers(store)
    assert list(store.verify("numbers")) == []
    artifact.file("note.txt").write_text("other")
    artifact.table("n-1").unlink()
    assert sorted(store.verify("numbers")) == [
        f"numbers/{artifact.version}/n-1.parquet is missing",
        f"numbers/{artifact.version}/note.txt has changed since it was written",
    ]


def test_prune_keeps_the_version_in_force_and_the_newest_others(tmp_path):
    store = Store(tmp_path, "r")
    versions = [make_numbers(store, upto=n).version for n in (1, 2, 3, 4)]
    freed = store.prune("numbers", keep=1)
    assert [version for version, _ in freed] == [versions[1], versions[0]]
    assert {a.version for a in store.versions("numbers")} == set(versions[2:])
    assert list(store.verify("numbers")) == []  # links of pruned versions are still whole


def test_prune_keeps_versions_that_are_younger_than_so_many_days(tmp_path):
    store = Store(tmp_path, "r")
    made = [make_numbers(store, upto=n) for n in (1, 2, 3)]
    for days, artifact in zip((20, 5, 0), made, strict=True):
        then = time.time() - days * 24 * 3600
        os.utime(artifact.place(MANIFEST), (then, then))
    assert [artifact.version for artifact in store.prunable("numbers", keep=0)] == [made[1].version, made[0].version]
    assert [artifact.version for artifact in store.prunable("numbers", keep=0, days=10)] == [made[0].version]
    assert [version for version, _ in store.prune("numbers", keep=0, days=10)] == [made[0].version]
    assert {artifact.version for artifact in store.versions("numbers")} == {made[1].version, made[2].version}


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted, which only root may do")
def test_a_full_disk_ends_in_one_sentence_and_the_same_command_goes_on(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")

    def build(draft: Draft) -> None:
        for i in range(8):
            draft.table(f"n-{i}", {"i": i}, lambda i=i: pl.DataFrame({"n": pl.Series(range(i, i + 50_000)).hash(i)}))

    def run(size: str) -> Artifact:
        subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
        return Store(disk, "r").make("big", code_version="1", settings={}, inputs={}, build=build, log=quiet)

    try:
        with pytest.raises(UserError, match=r"disk that holds .* is full, so `big` could not be finished"):
            run("1m")
        assert Store(disk, "r").current("big") is None
        assert json.loads(json.dumps(run("64m").manifest["files"])).keys() == {f"n-{i}.parquet" for i in range(8)}
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def make_weights(store: Store, content: str, log=quiet) -> Artifact:
    """One version with other bytes each time, as weights are on another kind of machine."""

    def build(draft: Draft) -> None:
        draft.made_on["threads"] = len(content)
        write_whole(draft.path("model.safetensors"), content)

    return store.make("weights", code_version="1", settings={}, inputs={}, build=build, log=log)


def test_scratch_that_cannot_be_deleted_is_no_part_of_an_artifact(tmp_path, monkeypatch):
    """A disk that reports an error while checkpoints are deleted: the model must not be published with them."""

    def work(draft):
        write_whole(draft.path("checkpoints/state.json"), "{}")
        write_whole(draft.path("model"), "weights")

    def make(data):
        return Store(data, "demo").make(
            "model", code_version="1", settings={}, inputs={}, log=lambda line: None,
            build=lambda draft: draft.once("training", lambda: work(draft), scratch="checkpoints"),
        )  # fmt: skip

    calm = make(tmp_path / "calm")
    unlink = os.unlink

    def failing(path, *given, **named):
        if os.path.basename(path) == "state.json":
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return unlink(path, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", failing)
        with pytest.raises(UserError, match="reports an error of its own"):
            make(tmp_path / "data")
    assert Store(tmp_path / "data", "demo").current("model") is None
    assert make(tmp_path / "data").digest == calm.digest


def test_what_an_artifact_was_made_on_is_noted_outside_of_its_identity(tmp_path, monkeypatch):
    first = make_numbers(Store(tmp_path / "a", "r"))
    assert first.manifest["made_on"]["cpu"] == made_on.cpu_model()
    assert {"python", "polars"} <= first.manifest["made_on"].keys()
    monkeypatch.setattr(stores, "made_on", lambda: {"cpu": "another"})
    second = make_numbers(Store(tmp_path / "b", "r"))
    assert second.manifest["made_on"] == {"cpu": "another"}
    assert (first.version, first.digest) == (second.version, second.digest)
    assert two_makings(first, second, "there") is None
    assert "another" not in json.dumps(second.manifest["made_of"])


def test_a_process_that_loaded_torch_notes_its_threads_and_what_multiplies():
    import torch

    noted = made_on.made_on()
    assert noted["torch"] == torch.__version__ and noted["threads"] == torch.get_num_threads()
    assert torch.backends.cpu.get_cpu_capability() in noted["blas"]


def test_two_makings_of_one_version_with_other_bytes_are_told_with_what_they_were_made_on(tmp_path):
    one, two = make_weights(Store(tmp_path / "a", "r"), "aa"), make_weights(Store(tmp_path / "b", "r"), "bbbb")
    assert one.version == two.version
    (said,) = Store(tmp_path / "a", "r").other_makings("weights", Store(tmp_path / "b", "r"))
    assert said.startswith(f"weights/{one.version} was made twice with other bytes, here and in {tmp_path / 'b'}")
    assert said.endswith("(model.safetensors): they were made with threads 2 and 4")
    assert not list(Store(tmp_path / "a", "r").other_makings("weights"))


def test_an_input_that_is_another_making_of_its_version_is_told(tmp_path):
    store, other = Store(tmp_path / "a", "r"), Store(tmp_path / "b", "r")
    make_weights(store, "aa")

    def tuned(draft: Draft) -> None:
        write_whole(draft.path("model.safetensors"), "tuned")

    given = {"weights": make_weights(other, "bbbb")}
    made = store.make("tuned", code_version="1", settings={}, inputs=given, build=tuned, log=quiet)
    (said,) = store.other_makings("tuned")
    assert said.startswith(f"tuned/{made.version} was made from another making of weights/{given['weights'].version}")


@pytest.mark.parametrize(("one", "two", "said"), [
    ({"cpu": "A", "torch": "1"}, {"cpu": "B", "torch": "1"}, "they were made with cpu A and B"),
    ({"cpu": "A"}, {"cpu": "A"}, "both were made on the same kind of machine (A)"),
    ({"cpu": "A"}, None, "one of them was made before manifests noted on what"),
])  # fmt: skip
def test_the_difference_of_two_machines_in_words(one, two, said):
    assert made_on.explained(one, two) == said


def test_who_waits_for_an_asset_says_so_again_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "SECONDS_BETWEEN_LINES", 0.2)
    place = tmp_path / "r" / "numbers"
    place.mkdir(parents=True)
    said = []
    with open(place / ".lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write("4711")
        held.flush()
        threading.Timer(0.9, lambda: fcntl.flock(held, fcntl.LOCK_UN)).start()
        with Store(tmp_path, "r")._locked("numbers", said.append):
            assert (place / ".lock").read_text() == str(os.getpid())
    assert said[0] == "numbers is being made by process 4711; waiting for it"
    assert len(said) >= 3 and all(line.startswith(said[0] + ", ") and line.endswith("s so far") for line in said[1:])


# -- trials ------------------------------------------------------------------------------------------------------------


def test_a_trial_makes_versions_of_the_store_and_puts_none_in_force(tmp_path):
    store = Store(tmp_path, "r")
    first = make_numbers(store)
    trial = store.trial()
    second = make_numbers(trial, upto=5)
    current, tried = store.current("numbers"), trial.current("numbers")
    assert current is not None and tried is not None
    assert (current.version, tried.version) == (first.version, second.version)
    assert second.manifest["fragments"] == {"computed": 2, "reused": 3}, "its tables are linked from what there is"
    assert not make_numbers(store, upto=5).made and not make_numbers(store.trial()).made


def test_a_trial_leaves_the_drafts_of_others_alone_and_they_leave_its_own(tmp_path):
    def stopped(draft: Draft) -> None:
        write_whole(draft.path("half.txt"), "half\n")
        raise KeyboardInterrupt

    def ask(store: Store, version: str) -> None:
        store.make("numbers", code_version=version, settings={}, inputs={}, build=stopped, log=quiet)

    store = Store(tmp_path, "r")
    for where, version in ((store, "stopped"), (store.trial(), "tried")):
        with pytest.raises(KeyboardInterrupt):
            ask(where, version)
    place = tmp_path / "r" / "numbers"
    make_numbers(store.trial())
    assert len(list(place.glob(".*.draft"))) == len(list(place.glob(".*.trial"))) == 1
    make_numbers(store, upto=2)
    assert not list(place.glob(".*.draft")), "as always, a making deletes drafts of other settings"
    assert len(list(place.glob(".*.trial"))) == 1
    freed = store.prune("numbers", keep=9)
    assert [what.partition(" ")[2] for what, _ in freed] == ["(unfinished, of an experiment)"]
    assert not list(place.glob(".*.trial"))


def test_a_store_that_only_answers_makes_nothing(tmp_path):
    store = Store(tmp_path, "r")
    with pytest.raises(NotMade):
        make_numbers(store.answering())
    made = make_numbers(store)
    assert make_numbers(store.answering()).version == made.version

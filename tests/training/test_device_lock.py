"""Trainings of several people on one device take turns, whoever started them, and each says whom it waits for."""

import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.graph import Project
from pipeline.run import make_with_inputs
from pipeline.store.store import Store
from pipeline.training import device_lock
from pipeline.training.stopping import Stopped
from tests import making, tiny


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Devices of the test's own, on which trainings wait as they do outside of tests."""
    monkeypatch.setenv(device_lock.SLOTS, "1")
    monkeypatch.setenv(device_lock.FOLDER, str(tmp_path / "devices"))
    return tmp_path / "devices"


def other(slot: int = 0, name: str = "cpu", what: str = "ben: `sft_model` of lab/notes") -> Callable[[], None]:
    """Another process takes a slot; what it returns gives the slot back, as its end would."""
    lock = device_lock._taken(device_lock._place(name, slot), what)
    assert lock is not None
    return lambda: os.close(lock)


def test_a_training_waits_for_the_one_that_has_the_device_and_says_whose_it_is(devices: Path) -> None:
    gives_back = other()
    said: list[str] = []

    def log(line: str) -> None:
        said.append(line)
        gives_back()  # the other ends once it is waited for

    with device_lock.alone_on(["cpu"], "ara: `pretrained_model` of notes", log):
        assert device_lock._taken(device_lock._place("cpu", 0), "third") is None, "one at a time"
    (line,) = said
    assert (
        line
        == f"waiting for cpu, which process {os.getpid()} (ben: `sft_model` of lab/notes) uses; Ctrl-C stops waiting"
    )
    other()()  # free again


def test_other_devices_more_slots_and_parts_of_the_same_work_do_not_wait(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(line: str) -> None:
        raise AssertionError(line)

    gives_back = other()
    with device_lock.alone_on(["gpu-1"], "of another device", refuse):
        pass
    monkeypatch.setenv(device_lock.SLOTS, "2")
    with device_lock.alone_on(["cpu"], "the second of two", refuse):
        with device_lock.alone_on(["cpu"], "a part of it", refuse):
            pass
        assert device_lock._taken(device_lock._place("cpu", 1), "third") is None, "its end is that of the whole"
    monkeypatch.setenv(device_lock.SLOTS, "0")
    with device_lock.alone_on(["cpu"], "whoever waits for nobody", refuse):
        pass
    gives_back()


def test_a_stop_ends_the_waiting(devices: Path) -> None:
    gives_back = other()
    with (
        pytest.raises(Stopped, match="waiting for cpu"),
        device_lock.alone_on(["cpu"], "mine", lambda line: None, should_stop=lambda: True),
    ):
        raise AssertionError("it has begun")
    gives_back()


def test_mistakes_are_sentences(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(device_lock.SLOTS, "two")
    with pytest.raises(UserError, match="SLM_DEVICE_SLOTS=two is no number"):
        device_lock.slots()
    monkeypatch.setenv(device_lock.SLOTS, "1")
    devices.write_text("a file where the folder should be")
    with pytest.raises(UserError, match="SLM_DEVICE_LOCKS"), device_lock.alone_on(["cpu"], "mine", print):
        pass


def test_every_user_of_the_machine_may_take_a_device(devices: Path) -> None:
    before = os.umask(0o077)
    try:
        with device_lock.alone_on(["cpu"], "mine", print):
            pass
    finally:
        os.umask(before)
    assert devices.stat().st_mode & 0o777 == 0o777 and (devices / "cpu.0").stat().st_mode & 0o777 == 0o666


def test_training_and_evaluation_outside_of_dagster_wait(devices: Path, tmp_path: Path) -> None:
    said: list[str] = []
    gives_back = [other()]

    def log(line: str) -> None:
        if line.startswith("waiting for cpu"):
            said.append(line)
            gives_back.pop()()

    with pytest.MonkeyPatch.context() as given:
        given.setenv("SLM_TRACKING", "off")
        given.setenv("SLM_DATA", str(tmp_path / "data"))
        given.setenv("SLM_RECIPE", str(tiny.write(tmp_path)))
        project = Project.open(log=log)
        make_with_inputs(project, "pretrained_model")
        assert len(said) == 1 and "ben: `sft_model`" in said[0]
        gives_back.append(other())
        make_with_inputs(project, "pretrained_model")
        assert len(said) == 1, "what is up to date needs no device"
        with (
            pytest.raises(Stopped, match="waiting"),
            device_lock.alone(
                making.context(Store(tmp_path / "data", "tiny"), should_stop=lambda: True), "pretrained_evaluation"
            ),
        ):
            pass


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_lock_that_is_a_link_to_another_file_is_refused_and_the_file_stays(devices: Path, tmp_path, link) -> None:
    """The folder is for all users: none may have another one's file overwritten."""
    mine = tmp_path / "notes.txt"
    mine.write_text("mine")
    devices.mkdir()
    link(mine, devices / "cpu.0")
    with pytest.raises(UserError, match="cannot be opened"):
        device_lock._taken(device_lock._place("cpu", 0), "ben")
    assert mine.read_text() == "mine"


def test_a_lock_that_is_no_file_is_refused(devices: Path) -> None:
    devices.mkdir()
    os.mkfifo(devices / "cpu.0")
    with pytest.raises(UserError, match=r"cpu\.0 cannot be opened"):
        device_lock._taken(device_lock._place("cpu", 0), "ben")


@pytest.mark.parametrize("kind", ["link", "pipe", "large"])
def test_who_has_a_device_is_read_only_from_a_small_file_of_its_own(devices: Path, tmp_path: Path, kind: str) -> None:
    devices.mkdir()
    place = devices / "cpu.0"
    noted = {"pid": 1, "what": "text of a file that is not the lock"}
    (tmp_path / "other.json").write_text(json.dumps(noted))
    if kind == "link":
        place.symlink_to(tmp_path / "other.json")
    elif kind == "large":
        place.write_text(json.dumps(noted) + " " * 10_000 + "x")
    else:
        os.mkfifo(place)
    said = device_lock._user(place)
    assert said == ("process 1 (text of a file that is not the lock)" if kind == "large" else "another process")


def test_what_another_user_wrote_into_a_lock_is_shown_short_and_without_control_characters(devices: Path) -> None:
    devices.mkdir()
    (devices / "cpu.0").write_text(json.dumps({"pid": "1\r\n", "what": "\x1b[2J모델\u202e" + "x" * 500}))
    said = device_lock._user(devices / "cpu.0")
    assert said.startswith("process 1 ([2J모델x") and said.isprintable() and len(said) <= 200
    (devices / "cpu.0").write_text("[" * 4000)
    assert device_lock._user(devices / "cpu.0") == "another process"


def test_a_file_system_without_locks_is_a_sentence(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def refuse(lock: int, how: int) -> None:
        asked.append(lock)
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(device_lock.fcntl, "flock", refuse)
    with pytest.raises(UserError, match=r"No locks available.*SLM_DEVICE_LOCKS"):
        device_lock._taken(device_lock._place("cpu", 0), "ben")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(asked[0])


def test_the_folder_of_the_machine_is_one_in_which_nobody_replaces_the_files_of_others(
    devices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take() -> None:
        lock = device_lock._taken(device_lock._place("cpu", 0), "ben")
        assert lock is not None
        os.close(lock)

    monkeypatch.delenv(device_lock.FOLDER)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "slm-devices"
    take()
    assert folder.stat().st_mode & 0o7777 == 0o1777
    folder.chmod(0o755)
    take()
    assert folder.stat().st_mode & 0o7777 == 0o1777, "a folder of one's own is put right"
    folder.chmod(0o777)
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    with pytest.raises(UserError, match=r"slm-devices.*SLM_DEVICE_LOCKS"):
        take()
    monkeypatch.setattr(os, "getuid", lambda: mine)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"slm-devices.*SLM_DEVICE_LOCKS"):
        take()

"""Trainings of several people on one device take turns, whoever started them, and each says whom it waits for."""

import os
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

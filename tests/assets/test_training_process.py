"""How an asset starts the program that trains."""

import subprocess

import pytest

import assets.definitions  # noqa: F401  (while warnings are not errors yet)
from assets import training_process


@pytest.mark.slow
def test_several_processes_start_without_a_warning(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("SLM_PROCESSES", "2")
    head = training_process.command()[:-2]
    assert head[-1] == "--nproc-per-node=2"
    done = subprocess.run(
        [*head, "--no-python", "true"], env=training_process.environment(), capture_output=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_number_of_threads_is_the_users(monkeypatch):
    monkeypatch.setenv("SLM_PROCESSES", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert training_process.environment()["OMP_NUM_THREADS"] == "3"
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("SLM_PROCESSES")
    assert "OMP_NUM_THREADS" not in training_process.environment()

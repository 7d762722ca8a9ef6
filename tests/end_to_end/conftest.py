"""A fresh copy of the repository with a small recipe, and commands that run in it as a person would run them."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# The demonstration's own sources, cut down; the network, the tokens and the tuning to match.
TINY = """
name: demo
sources:
  - {name: village, kind: generated, dataset: village, documents: 120, planted: 0}
  - {name: speeches, kind: bundled, dataset: sotu, limit: 40}
  - {name: library, kind: bundled, dataset: python-stdlib, limit: 20}
  - {name: messages, kind: bundled, dataset: jupyterlab-ko}
  - {name: notes, kind: files, path: ../notes/*.txt, lang: en, license: own}
curation: {duplicates: {enabled: false}, repetition: {window: 3}}
tokenizer: {vocab_size: 1024}
shards: {validation: 0.05}
model: {layers: 2, width: 32, heads: 2, kv_heads: 1, context: 64}
pretraining:
  {tokens: 12_000, batch_tokens: 1024, learning_rate: 3.0e-3, samples_every: 1000, evaluate_every: 1000}
instructions:
  sources:
    - {name: village, kind: generated, dataset: village-conversations, rows: 60}
    - {name: chatterbot-en, kind: bundled, limit: 60}
    - {name: chatterbot-ko, kind: bundled, limit: 60}
evaluation:
  {answers: 4, answer_tokens: 8, validation_tokens: 4000, preferences: 8, prompts: ["The people of this country"],
   village: {stories: 2}}
execution: {device: cpu, executor: in_process}
"""
NOTE = (
    "The {wind} harbour is quiet in the morning, and {number} boats come back before the town is awake. Men carry the "
    "nets of {wind} water to the wall and mend them in the sun. Later the market opens, and people walk between the "
    "stalls to look at the fish that the {wind} wind has brought. In the afternoon nothing moves, but in the evening "
    "there is music in the square, and {number} children stay up too late. Nobody here remembers why the bell is rung "
    "{number} times, and nobody has ever asked, because that is how the {wind} people have always done it."
)
WINDS = ("northern", "southern", "eastern", "western", "early", "late", "warm", "cold")


@dataclass(frozen=True)
class Copy:
    """A checkout of its own, with nothing made in it yet."""

    folder: Path

    def run(self, *command: str, expect: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command of the environment, with nothing exported but what is given; it waits for no other training."""
        plain = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        own = {**plain, "PATH": f"{BIN}:/usr/bin:/bin", "SLM_DEVICE_SLOTS": "0", **environment}
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]], cwd=self.folder, env=own, capture_output=True, text=True, timeout=600
        )
        if expect is not None:
            assert done.returncode == expect, (done.stdout + done.stderr)[-4000:]
        return done


def copied(folder: Path) -> Copy:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.split("\0"):
        if name and (ROOT / name).exists():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
    (folder / "recipes" / "demo.yaml").write_text(TINY)
    (folder / "notes").mkdir()
    for number, wind in enumerate(WINDS):
        (folder / "notes" / f"{wind}.txt").write_text(NOTE.format(number=number + 3, wind=wind))
    return Copy(folder)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """The copy in which the first test has run `pretrain_job`; the others continue from there."""
    copy = copied(tmp_path_factory.mktemp("checkout"))
    copy.run("python", "scripts/prepare_instance.py")
    return copy


def script(name: str) -> ModuleType:
    """A module of scripts/."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class UI:
    """The addresses of the servers, and what `make ui` printed."""

    dagster: str
    mlflow: str
    printed: str


@pytest.fixture(scope="session")
def ui(checkout: Copy) -> Iterator[UI]:
    """`make ui` in the copy, after a pretraining."""
    if not (checkout.folder / "data" / "demo" / "pretrained_evaluation").exists():
        checkout.run("dagster", "job", "execute", "-j", "pretrain_job")
    ports = [free_port(), free_port(), free_port()]
    plain = {"HOME": os.environ.get("HOME", "/"), "PATH": f"{BIN}:/usr/bin:/bin", "SLM_DEVICE_SLOTS": "0"}
    command = [str(BIN / "python"), "-m", "assets.ui", "--port", str(ports[0]), "--mlflow-port", str(ports[1])]
    command += ["--report-port", str(ports[2])]
    printed = checkout.folder / "ui.log"
    with open(printed, "w") as log:
        server = subprocess.Popen(command, cwd=checkout.folder, env=plain, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 180
            while not all(listens(port) for port in ports):
                assert server.poll() is None and time.monotonic() < deadline, printed.read_text()
                time.sleep(0.5)
            yield UI(f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", printed.read_text())
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(90)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

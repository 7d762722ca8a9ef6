"""Killed with -9 at random moments, the same command resumes and ends with the same bytes.

`SLM_KILLS=20` kills as often as that; a few times are enough to notice that something broke.
"""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from pipeline.store.artifact import RUN_SPECIFIC
from tests import tiny

KILLS = int(os.environ.get("SLM_KILLS", "3"))


def start(recipe: Path, data: Path) -> subprocess.Popen:
    environment = {**os.environ, "SLM_DATA": str(data), "SLM_TRACKING": "off"}
    command = [sys.executable, "-m", "pipeline.cli", "--recipe", str(recipe), "make", "pretrained_model"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def what_was_made(data: Path) -> dict[str, dict]:
    found = {}
    for pointer in sorted(data.glob("tiny/*/current")):
        manifest = json.loads((pointer.parent / pointer.read_text().strip() / "manifest.json").read_text())
        found[pointer.parent.name] = {name: value for name, value in manifest.items() if name not in RUN_SPECIFIC}
    return found


def test_killed_at_random_moments_the_chain_ends_with_the_same_bytes(tmp_path):
    recipe = tiny.write(tmp_path)
    began = time.monotonic()
    calm = start(recipe, tmp_path / "calm")
    _, errors = calm.communicate(timeout=280)
    assert calm.returncode == 0, errors.decode()
    duration = time.monotonic() - began
    expected = what_was_made(tmp_path / "calm")
    assert "pretrained_model" in expected

    moments = random.Random(7)
    killed = 0
    for _ in range(KILLS):
        process = start(recipe, tmp_path / "killed")
        try:
            process.wait(timeout=moments.uniform(0.1, 0.8) * duration)
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        process.wait()
        # Whatever is there already is right.
        for asset, manifest in what_was_made(tmp_path / "killed").items():
            assert manifest == expected[asset], asset
    assert killed, "no run was killed: the chain was over each time"
    last = start(recipe, tmp_path / "killed")
    _, errors = last.communicate(timeout=280)
    assert last.returncode == 0, errors.decode()
    assert what_was_made(tmp_path / "killed") == expected
    left = [p.name for p in (tmp_path / "killed").rglob("*") if p.name.endswith((".tmp", ".draft", ".doomed"))]
    assert left == []

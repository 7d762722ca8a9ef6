"""Rewards on two processes (gloo): the same answers and the same curve as on one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from pipeline.store.store import Store
from tests.training.test_grpo import settings, tuned  # noqa: F401  the fixture

ROOT = Path(__file__).parents[2]
PROGRAM = "tests.training.reinforcement_program"
OF_PPO = {"method": "ppo", "passes": 2, "steps": 4}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("changes", [{"steps": 3}, OF_PPO], ids=["grpo", "ppo"])
def test_two_processes_ask_and_learn_as_one(tmp_path, store, tuned, instructions, changes):  # noqa: F811
    chosen = settings(precision="fp32", **changes).model_dump(mode="json")
    logs, running = {}, {}
    for processes in (1, 2):
        place = tmp_path / str(processes)
        shutil.copytree(store.root, place / store.root.name)
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"] if processes == 2 else []
        command = [sys.executable, "-m", *launcher, PROGRAM, str(place / store.root.name), json.dumps(chosen)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "SLM_TRACKING": "off"}
        running[place] = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    for place, process in running.items():
        assert process.wait(240) == 0
        artifact = Store(place / store.root.name, "test").require("reinforcement_model")
        logs[place.name] = pl.read_parquet(artifact.file("log.parquet"))
    for name in ("loss", "reward", "kl", "truncated", "grad_norm", "answer_tokens"):
        one, two = (logs[number][name].to_list() for number in ("1", "2"))
        # The sum over answers where the log has a mean of ranks' sums, as of tokens.
        assert two == pytest.approx(one, abs=2e-3, rel=2e-3), name

"""torch's threads do not spin for long while they wait for each other, unless somebody wants them to."""

import os
import subprocess
import sys

import pytest

LOADED = "import sys, {module}; assert 'torch' not in sys.modules; import torch"


@pytest.mark.parametrize("module", ["model", "pipeline.commands"])
@pytest.mark.parametrize(("given", "shown"), [
    ({}, "GOMP_SPINCOUNT = '1000'"),
    ({"GOMP_SPINCOUNT": "77"}, "GOMP_SPINCOUNT = '77'"),
    ({"OMP_WAIT_POLICY": "active"}, "GOMP_SPINCOUNT = '30000000000'"),
])  # fmt: skip
def test_how_long_threads_spin(module, given, shown):
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))}
    ended = subprocess.run(
        [sys.executable, "-c", LOADED.format(module=module)],
        env=plain | given | {"OMP_DISPLAY_ENV": "verbose"}, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    if "GOMP" not in ended.stderr:
        pytest.skip("this torch has another OpenMP than GNU's")
    assert shown in ended.stderr

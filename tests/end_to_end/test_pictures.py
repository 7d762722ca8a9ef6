"""The running UI, looked at in a browser: each page shows what the documents say that it shows.

Pictures go to SLM_PICTURES where that is set (`SLM_PICTURES=docs/images make test TESTS=tests/end_to_end`).
"""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.end_to_end.conftest import BIN, ROOT, Copy


def _pictures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "scripts" / "pictures.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["pictures"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pictures = _pictures()
pytestmark = [
    pytest.mark.skipif(pictures.browser() is None, reason="no Chromium is installed (apt-get install chromium)"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def ui(checkout: Copy) -> Iterator[tuple[str, str]]:
    """`make ui` in the copy; addresses of Dagster and MLflow."""
    if not (checkout.folder / "data" / "demo" / "pretrained_evaluation").exists():
        checkout.run("dagster", "job", "execute", "-j", "pretrain_job")
    ports = [free_port(), free_port(), free_port()]
    plain = {"HOME": os.environ.get("HOME", "/"), "PATH": f"{BIN}:/usr/bin:/bin"}
    command = [str(BIN / "python"), "-m", "assets.ui", "--port", str(ports[0]), "--mlflow-port", str(ports[1])]
    command += ["--report-port", str(ports[2])]
    with open(checkout.folder / "ui.log", "w") as log:
        server = subprocess.Popen(command, cwd=checkout.folder, env=plain, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 180
            while not all(listens(port) for port in ports):
                assert server.poll() is None and time.monotonic() < deadline, (checkout.folder / "ui.log").read_text()
                time.sleep(0.5)
            yield f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(90)


def test_pages_show_what_they_are_kept_for(ui: tuple[str, str], checkout: Copy, tmp_path: Path) -> None:
    folder = Path(os.environ.get("SLM_PICTURES") or tmp_path)
    program = "import sys; sys.path.insert(0, 'scripts'); import pictures; print(*pictures.to_compare()[0])"
    runs = checkout.run("python", "-c", program).stdout.split()
    assert runs, "MLflow knows no training"
    for page in pictures.pages(*ui, runs * 2 if len(runs) == 1 else runs, "1"):
        picture = pictures.take(page, folder)
        assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000, page.name


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

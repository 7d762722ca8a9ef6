"""The running UI, looked at in a browser: each page shows what the documents say that it shows.

Pictures go to SLM_PICTURES where that is set (`SLM_PICTURES=docs/images make test TESTS=tests/end_to_end`).
"""

import json
import os
from pathlib import Path

import pytest

from tests.end_to_end.conftest import UI, Copy, script

pictures = script("pictures")
pytestmark = [
    pytest.mark.skipif(pictures.browser() is None, reason="no Chromium is installed (apt-get install chromium)"),
    pytest.mark.timeout(900),
]


def test_pages_show_what_they_are_kept_for(ui: UI, checkout: Copy, tmp_path: Path) -> None:
    folder = Path(os.environ.get("SLM_PICTURES") or tmp_path)
    program = (
        "import sys; sys.path.insert(0, 'scripts'); import json, pictures; print(json.dumps(pictures.to_compare()))"
    )
    runs = json.loads(checkout.run("python", "-c", program).stdout)
    assert runs, "MLflow knows no training"
    for page in pictures.pages(ui.dagster, ui.mlflow, runs):
        picture = pictures.take(page, folder)
        assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000, page.name

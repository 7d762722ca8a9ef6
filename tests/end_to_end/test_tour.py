"""docs/tour.ipynb: what scripts/tour.py writes, kept without output; its cells run from text to chat."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "tour.ipynb"


def cells() -> list[dict]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_the_notebook_has_ten_cells_and_no_output():
    code = [cell for cell in cells() if cell["cell_type"] == "code"]
    assert len(code) == 10 and len(cells()) == 20
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert str(ROOT) not in text and str(Path.home()) not in text


def test_the_notebook_is_what_its_script_writes():
    pytest.importorskip("nbformat", reason="nbformat is not installed (the extra `dev`)")
    spec = importlib.util.spec_from_file_location("tour", ROOT / "scripts" / "tour.py")
    assert spec is not None and spec.loader is not None
    tour = sys.modules["tour"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tour)
    assert tour.notebook() == NOTEBOOK.read_text(encoding="utf-8"), "run `python scripts/tour.py`"


@pytest.mark.timeout(900)
def test_its_cells_run_in_order_to_an_answer(tmp_path, monkeypatch, capsys):
    for name, value in {"TOUR": str(tmp_path / "tour"), "TOUR_SMALL": "1", "SLM_TRACKING": "off"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLM_DATA", "")
    monkeypatch.chdir(tmp_path)
    said = by_kernel() if importlib.util.find_spec("nbclient") and importlib.util.find_spec("ipykernel") else in_here()
    said += capsys.readouterr().out
    assert "village" in said or "json_tables" in said, "what is in the folder"
    assert "M parameters" in said and "> Where does Minsu live?" in said
    assert said.count("found:") == 4, "two passages for each question"


def by_kernel() -> str:
    """Run the notebook as Jupyter does; returns what its cells printed."""
    import nbformat
    from nbclient import NotebookClient

    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=800, kernel_name="python3").execute(env={**os.environ, "PYTHONPATH": path})
    return "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )  # fmt: skip


def in_here() -> str:
    """Run the code of the cells in this process, where Jupyter is not installed."""
    names: dict[str, object] = {"__name__": "__main__"}
    for number, cell in enumerate(cell for cell in cells() if cell["cell_type"] == "code"):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    return ""

"""Imports point one way: assets -> pipeline -> model, and no circle between the folders of pipeline/."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {"model": ("pipeline", "assets", "dagster", "mlflow"), "pipeline": ("assets", "dagster")}


def imported(path: Path) -> set[str]:
    """Full names of what a file imports, at its head or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_no_import_runs_backwards(package):
    backwards = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in imported(path)
        if name.split(".")[0] in FORBIDDEN[package]
    ]
    assert backwards == []


def folder_graph() -> dict[str, set[str]]:
    folders = {path.name for path in (ROOT / "pipeline").iterdir() if (path / "__init__.py").exists()}
    folders -= {"commands"}  # the command line knows everything, and nothing knows it
    graph: dict[str, set[str]] = {folder: set() for folder in folders}
    for folder in folders:
        for path in (ROOT / "pipeline" / folder).rglob("*.py"):
            used = {name.split(".")[1] for name in imported(path) if name.startswith("pipeline.")}
            graph[folder] |= used & folders - {folder}
    return graph


def test_no_circle_between_the_folders_of_pipeline():
    graph = folder_graph()
    assert {"curation", "documents", "ingest", "tokens", "training", "evaluation"} <= graph.keys()
    assert graph["curation"] >= {"documents"}, "the graph is empty: the check would pass whatever the code says"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(f"folders import each other in a circle: {' -> '.join(circle.args[1])}")


def test_folders_of_pipeline_do_not_know_the_whole():
    """recipe, graph, cli and lineage put the parts together; a part that knew them would close a circle."""
    whole = (
        "pipeline.recipe",
        "pipeline.graph",
        "pipeline.cli",
        "pipeline.inspect.lineage",
        "pipeline.inspect.summary",
    )
    knowing = [
        f"{path.relative_to(ROOT)} imports {name}"
        for folder in folder_graph()
        for path in (ROOT / "pipeline" / folder).rglob("*.py")
        for name in imported(path)
        if name.startswith(whole)
    ]
    assert knowing == []


@pytest.mark.parametrize("folder", ["ingest", "conversations"])
def test_no_circle_between_the_files_of_a_folder(folder):
    files = {f"pipeline.{folder}.{path.stem}": path for path in (ROOT / "pipeline" / folder).glob("*.py")}
    graph = {
        name: {of for of in files for used in imported(path) if used.startswith(f"{of}.")}
        for name, path in files.items()
    }
    assert sum(map(len, graph.values())) > 4, "the graph is empty: the check would pass whatever the code says"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(f"files import each other in a circle: {' -> '.join(circle.args[1])}")

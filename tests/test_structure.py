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


def module_graph() -> dict[str, set[str]]:
    """Every file of pipeline/ and the files of it that it imports, at its head or inside a function."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / "pipeline").rglob("*.py")
    }
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        names = imported(path) | {name.rpartition(".")[0] for name in imported(path)}
        graph[module] = {name for name in names if name in paths} - {module}
    return graph


def test_no_circle_between_the_files_of_pipeline():
    graph = module_graph()
    assert "pipeline.store.store" in graph["pipeline.graph"], "the graph is empty: the check would always pass"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(f"files import each other in a circle: {' -> '.join(circle.args[1])}")


WHOLE = ("pipeline.recipe", "pipeline.graph", "pipeline.run", "pipeline.cli", "pipeline.commands")


def test_folders_of_pipeline_do_not_know_the_whole():
    """Recipe, graph, runner and command line put the parts together; a part that knew them would close a circle."""
    knowing = {
        (str(path.relative_to(ROOT / "pipeline")), name.split(".")[1])
        for folder in folder_graph()
        for path in (ROOT / "pipeline" / folder).rglob("*.py")
        for name in imported(path)
        if any(f"{name}.".startswith(f"{whole}.") for whole in WHOLE)
    }
    # What looks at a recipe as a whole, after everything was made.
    assert knowing == {("inspect/reference.py", "recipe"), ("inspect/registry.py", "recipe")}

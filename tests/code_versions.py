"""A digest of the code that makes each artifact, so that a change of code without a change of version is noticed.

It covers each module with a `VERSION` and all modules of this project that it imports, directly or indirectly.
Comments, docstrings and layout do not count. `python -m tests.code_versions` (or `make code-versions`) records the
digests after a change that does not alter the result; otherwise raise the version first, then record.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "tests" / "code_versions.json"
# Modules that only store, run or report: they cannot change what a stage makes of a text.
CARRIERS = {
    "model.files",
    "pipeline.errors",
    "pipeline.settings",
    "pipeline.store.artifact",
    "pipeline.store.bytes_check",
    "pipeline.store.disk",
    "pipeline.store.draft",
    "pipeline.store.store",
    "pipeline.store.tables",
    "pipeline.tracking",
    "pipeline.documents.execution",
    "pipeline.documents.browse",
    "pipeline.training.reporting",
    "pipeline.training.throughput",
}


@functools.cache
def path_of(module: str) -> Path | None:
    base = ROOT / module.replace(".", "/")
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists():
            return path
    return None


@functools.cache
def imports_of(path: Path) -> set[str]:
    """Modules of this project that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found |= {name for name in names if name.split(".")[0] in ("pipeline", "model") and path_of(name)}
    return found


@functools.cache
def bare_code(path: Path) -> str:
    """The code of a file without comments, docstrings and layout."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def closure(module: str) -> list[str]:
    """The module and everything of this project that it runs."""
    seen, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        path = path_of(name)
        if name in seen or name in CARRIERS or path is None:
            continue
        seen.add(name)
        waiting += imports_of(path)
    return sorted(seen)


def version_of(path: Path) -> str | None:
    """The string that the file assigns to `VERSION`, or None."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id == "VERSION":
                    return str(node.value.value)
    return None


def current() -> dict[str, dict[str, str]]:
    """Version and digest of every module that states a version."""
    found = {}
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        version = version_of(path)
        if version is None:
            continue
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        code = "\n".join(bare_code(path_of(name)) for name in closure(module))  # type: ignore[arg-type]
        found[module] = {"version": version, "digest": hashlib.sha256(code.encode()).hexdigest()[:16]}
    return found


if __name__ == "__main__":
    RECORD.write_text(json.dumps(current(), indent=1) + "\n")
    print(f"recorded {len(current())} code versions")

"""Instruction data that comes with the installed packages, so that fine-tuning can be tried with no download.

The one idea: nothing is written for the occasion. The sets are what others published: the question and answer pairs of
`chatterbot-corpus` (BSD-3-Clause; English and Korean) and the functions of Python's standard library (PSF-2.0), each
asked for by its own docstring. They are small and of mixed quality: enough to show that the chain works and that a
model takes on the form of a dialogue, not enough for a good assistant.
"""

from __future__ import annotations

import ast
import os
import platform
import textwrap
from collections.abc import Iterator
from importlib import metadata, resources
from pathlib import Path

from pipeline.errors import UserError

MIN_DOCSTRING = 20  # characters; shorter ones ("Return self.") do not say what to write
MAX_FUNCTION = 1_500  # characters; longer ones do not fit the context of a small model
# Folders of the standard library that hold tests, tools with a window, or copies of other projects.
NOT_LIBRARY = {
    "test",
    "tests",
    "site-packages",
    "dist-packages",
    "idlelib",
    "lib2to3",
    "turtledemo",
    "ensurepip",
    "__pycache__",
}

# name -> (language, licence, what it is)
SETS: dict[str, tuple[str, str, str]] = {
    "chatterbot-en": ("en", "BSD-3-Clause", "English questions and answers of the package chatterbot-corpus"),
    "chatterbot-ko": ("ko", "BSD-3-Clause", "Korean questions and answers of the package chatterbot-corpus"),
    "stdlib-functions": ("code", "PSF-2.0", "functions of Python's standard library, asked for by their docstring"),
}


def read(name: str) -> Iterator[dict]:
    """Rows `{"messages": [...]}` of the bundled set `name`, in a fixed order."""
    if name == "chatterbot-en":
        yield from _chatterbot("english")
    elif name == "chatterbot-ko":
        yield from _chatterbot("korean")
    elif name == "stdlib-functions":
        yield from _standard_library()
    else:
        raise UserError(f"There is no bundled instruction set '{name}'; known are {', '.join(sorted(SETS))}.")


def release(name: str) -> str:
    """What the set is read from, with its version: stands for its bytes in a fingerprint."""
    if name.startswith("chatterbot"):
        return f"chatterbot-corpus {metadata.version('chatterbot-corpus')}"
    return f"python {platform.python_version()}"


def _chatterbot(folder: str) -> Iterator[dict]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        directory = resources.files("chatterbot_corpus") / "data" / folder
        files = sorted((f for f in directory.iterdir() if f.name.endswith(".yml")), key=lambda f: f.name)
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise UserError("The package chatterbot-corpus is not installed: install it, or name other sources.") from error
    for file in files:
        for turns in yaml.load(file.read_text(encoding="utf-8"), Loader=loader)["conversations"]:
            # A list is one dialogue, its speakers in turn. Where it ends on a question, that last turn has no answer.
            whole = [str(turn) for turn in turns][: len(turns) // 2 * 2]
            roles = ("user", "assistant")
            yield {"messages": [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(whole)]}


def _standard_library() -> Iterator[dict]:
    root = Path(os.__file__).parent
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in NOT_LIBRARY)
        for file in sorted(f for f in files if f.endswith(".py")):
            data = (Path(folder) / file).read_bytes()
            try:
                source = data.decode("utf-8")
                tree = ast.parse(source)
            except (UnicodeDecodeError, SyntaxError):
                continue  # two files of the library are wrong on purpose
            lines = source.splitlines()
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef):
                    pair = _function_pair(node, lines)
                    if pair:
                        yield {
                            "messages": [
                                {"role": "user", "content": pair[0]},
                                {"role": "assistant", "content": pair[1]},
                            ]
                        }


def _function_pair(node: ast.FunctionDef, lines: list[str]) -> tuple[str, str] | None:
    """(instruction, function without its docstring), or None where there is nothing to learn from."""
    docstring = ast.get_docstring(node)
    if docstring is None or len(docstring) < MIN_DOCSTRING or len(node.body) < 2 or node.decorator_list:
        return None
    quoted, rest = node.body[0], node.body[1]
    # Everything between the `def` line and the docstring, and from the next statement on; a docstring that shares
    # its line with code is left alone.
    if quoted.lineno == node.lineno or quoted.end_lineno == rest.lineno:
        return None
    kept = lines[node.lineno - 1 : quoted.lineno - 1] + lines[quoted.end_lineno or quoted.lineno : node.end_lineno]
    code = textwrap.dedent("\n".join(kept)).strip("\n")
    if not code.startswith("def ") or len(code) > MAX_FUNCTION:
        return None
    signature = f"{node.name}({ast.unparse(node.args)})"
    return f"Write the Python function `{signature}`.\n\n{docstring}", code

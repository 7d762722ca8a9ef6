"""Programs and edits: a file that a machine could read before a stage edited it can be read afterwards.

Only Python is checked, since Python comes with its own parser. Parsing costs a millisecond for each 10 KB, so callers
ask only about documents that have edits.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable

# What no label of a form is: `Phone: 60-56-85` is an expression with an annotation.
STATEMENT = re.compile(r"\b(?:Import|ImportFrom|FunctionDef|AsyncFunctionDef|ClassDef|Assign|AugAssign|For|If)\(")
Edit = tuple[int, int, str]  # start, end (code points), replacement


def python_tree(text: str) -> str | None:
    """What a Python program does, without comments, layout and the words of its docstrings; None if it is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that later versions of Python will refuse
        try:
            tree = ast.parse(text)
            for node in ast.walk(tree):
                if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                    node.value.value = type(node.value.value).__name__
            return ast.dump(tree)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def with_edits(text: str, edits: Iterable[Edit]) -> str:
    """The text with edits that are in order and do not overlap."""
    pieces, done = [], 0
    for start, end, replacement in edits:
        pieces += [text[done:start], replacement]
        done = max(done, end)
    return "".join([*pieces, text[done:]])


def is_program(text: str) -> bool:
    """Whether the text is a Python program that does something."""
    tree = python_tree(text)
    return tree is not None and STATEMENT.search(tree) is not None


def which_break(text: str, edits: list[Edit]) -> list[bool]:
    """Which of the edits have to be left out so that the text, if it is a Python program, remains one."""
    if not is_program(text) or python_tree(with_edits(text, edits)) is not None:
        return [False] * len(edits)
    alone = [python_tree(with_edits(text, [edit])) is None for edit in edits]
    return alone if any(alone) else [True] * len(edits)


def which_change(text: str, edits: list[Edit]) -> list[bool]:
    """Which of the edits have to be left out so that the text, if it is a Python program, says the same to Python."""
    tree = python_tree(text)
    if tree is None or python_tree(with_edits(text, edits)) == tree:
        return [False] * len(edits)
    alone = [python_tree(with_edits(text, [edit])) != tree for edit in edits]
    return alone if any(alone) else [True] * len(edits)

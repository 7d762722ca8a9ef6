"""Cutting passages out of Python programs so that what is left is a program: whole functions, classes, statements.

A passage that stops in the middle of a function leaves a text that no machine can read. Then all of the function goes,
or the member of a class, or the statement, with its decorators; of a body of which nothing would be left, the whole
statement that it belongs to. Nothing less is cut than was asked for: every line of the passage goes.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Sequence

from pipeline.curation.programs import python_tree, with_edits

Span = tuple[int, int]  # code points of the text
Lines = tuple[int, int]  # the first and last line, counted from 0
# What a cut took, the widest first.
CLASS, FUNCTION, STATEMENT, PASSAGE = "class", "function", "statement", "passage"
WIDEST = (CLASS, FUNCTION, STATEMENT, PASSAGE)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def cut_from_program(text: str, spans: Sequence[Span]) -> list[tuple[int, int, str]] | None:
    """What to cut out of a Python program instead of the spans: (start, end, what it is), in order and apart.

    Spans that leave a program stay as they are (PASSAGE); the others grow to whole lines of whole statements. None if
    the text is no program, or if nothing of it would be left.
    """
    tree = _parsed(text)
    if tree is None:
        return None
    ordered = _merged([(start, end, PASSAGE) for start, end in spans if end > start])
    breaks = which_break_of(text, ordered)
    # Each attempt grows more of the spans: those that break the program by themselves, then all of them.
    for grown in (breaks, [True] * len(ordered)):
        cuts = _merged([_grown(text, tree, cut) if grows else cut for cut, grows in zip(ordered, grown, strict=True)])
        left = with_edits(text, [(start, end, "") for start, end, _ in cuts])
        if python_tree(left) is not None:
            return cuts if left.strip() else None
    return None


def which_break_of(text: str, cuts: Sequence[tuple[int, int, str]]) -> list[bool]:
    """Which of the cuts the program cannot be left with; those that break it only together count as well."""
    edits = [(start, end, "") for start, end, _ in cuts]
    if python_tree(with_edits(text, edits)) is not None:
        return [False] * len(cuts)
    alone = [python_tree(with_edits(text, [edit])) is None for edit in edits]
    return alone if any(alone) else [True] * len(cuts)


def _parsed(text: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _merged(cuts: Sequence[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Cuts that touch or overlap joined, under the name of the widest."""
    merged: list[tuple[int, int, str]] = []
    for start, end, what in sorted(cuts):
        if merged and start <= merged[-1][1]:
            first, last, before = merged[-1]
            merged[-1] = (first, max(last, end), min(before, what, key=WIDEST.index))
        else:
            merged.append((start, end, what))
    return merged


def _grown(text: str, tree: ast.Module, cut: tuple[int, int, str]) -> tuple[int, int, str]:
    """A cut grown to the lines of all statements that it touches."""
    starts = [0, *(place + 1 for place, letter in enumerate(text) if letter == "\n"), len(text) + 1]
    lines = _line_of(starts, cut[0]), _line_of(starts, max(cut[0], cut[1] - 1))
    taken = list(_touched(tree.body, lines))
    first = min([lines[0], *(own[0] for own, _ in taken)])
    last = max([lines[1], *(own[1] for own, _ in taken)])
    what = min((what for _, what in taken), key=WIDEST.index, default=PASSAGE)
    return starts[first], min(starts[last + 1], len(text)), what


def _line_of(starts: list[int], place: int) -> int:
    return next(number for number, start in enumerate(starts) if start > place) - 1


def _touched(body: Sequence[ast.stmt], lines: Lines) -> Iterator[tuple[Lines, str]]:
    """The statements of a body that lie on these lines: (their lines, what they are), inner ones where these do."""
    for statement in body:
        own = _lines(statement)
        if own[0] <= lines[1] and own[1] >= lines[0]:
            yield from _inner(statement, lines) or [(own, _kind(statement))]


def _inner(statement: ast.stmt, lines: Lines) -> list[tuple[Lines, str]]:
    """The statements inside of one that can go in its place; none if it has to go as a whole.

    A function goes as a whole. So does what is touched outside of its bodies, and what would lose one of them.
    """
    if isinstance(statement, FUNCTIONS):
        return []
    for body in _bodies(statement):
        first, last = _lines(body[0])[0], _lines(body[-1])[1]
        if first <= lines[0] and lines[1] <= last and first > statement.lineno - 1:
            found = list(_touched(body, lines))
            touched = sum(_lines(one)[0] <= lines[1] and _lines(one)[1] >= lines[0] for one in body)
            whole = {own for own, _ in found} >= {_lines(one) for one in body}
            return [] if touched == len(body) and whole else found
    return []


def _bodies(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The lists of statements inside of a compound statement that is no function."""
    for name in ("body", "orelse", "finalbody"):
        body = getattr(statement, name, None)
        if isinstance(body, list) and body:
            yield body
    for handler in getattr(statement, "handlers", ()):
        yield handler.body


def _lines(statement: ast.stmt) -> Lines:
    """The lines of a statement, with its decorators."""
    decorators = getattr(statement, "decorator_list", ())
    return min([statement.lineno, *(one.lineno for one in decorators)]) - 1, (
        statement.end_lineno or statement.lineno
    ) - 1


def _kind(statement: ast.stmt) -> str:
    return CLASS if isinstance(statement, ast.ClassDef) else FUNCTION if isinstance(statement, FUNCTIONS) else STATEMENT

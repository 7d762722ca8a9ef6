"""Files that a glob of a recipe matches.

As Python's `glob` has it (`**` is any number of folders, hidden files and folders are matched only by name), but for
three things: a file or folder of exactly the name that the recipe gives is meant, whatever brackets are in it; links
that lead back into a folder above them are not followed, since `glob` would list each file under them some forty times;
and a folder that may not be read is an error, not empty.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from glob import escape

from pipeline.errors import UserError
from pipeline.ingest.open_files import plain_name

WILD = re.compile(r"[*?\[]")
Folder = tuple[int, int]  # device and inode


def joined(base: str | os.PathLike[str], pattern: str) -> str:
    """The glob `pattern` of a recipe in the folder `base`, whose own name is no glob."""
    expanded = os.path.expanduser(pattern)
    return expanded if os.path.isabs(expanded) else os.path.join(escape(os.fspath(base)), expanded)


def matches_of(pattern: str) -> tuple[str, list[str], bool]:
    """(the folder that all lie in, their paths, whether the pattern is a folder) of the files that a glob matches."""
    expanded = os.path.normpath(os.path.expanduser(pattern))
    literal = re.sub(r"\[([*?\[])\]", r"\1", expanded)  # as `escape` wrote it
    for name in (expanded, literal):
        if os.path.isdir(name):
            return name, list(_found(name, ("**", "*"), _above(name))), True
        if os.path.isfile(name):
            return os.path.dirname(name), [name], False
    pieces = expanded.split(os.sep)
    wild = next((i for i, piece in enumerate(pieces) if WILD.search(_unescaped(piece, drop=True))), len(pieces) - 1)
    root = os.sep.join(_unescaped(piece) for piece in pieces[:wild]) or (os.sep if expanded.startswith(os.sep) else "")
    rest = [piece for i, piece in enumerate(pieces[wild:]) if piece != "**" or pieces[wild:][i - 1 : i] != ["**"]]
    return root, list(dict.fromkeys(_found(root, rest, _above(root)))), False


def _unescaped(piece: str, drop: bool = False) -> str:
    """A piece of a path as it is called; or, to see whether it holds wild cards, without those that are escaped."""
    return re.sub(r"\[([*?\[])\]", "" if drop else r"\1", piece)


def _above(folder: str) -> tuple[Folder, ...]:
    try:
        status = os.stat(folder or ".")
    except (OSError, ValueError):
        return ()
    return ((status.st_dev, status.st_ino),)


def _found(folder: str, pieces: Sequence[str], above: tuple[Folder, ...]) -> Iterator[str]:
    """The files in `folder` that the pieces of a glob match. above: the folder and those on the way to it."""
    piece, rest = pieces[0], pieces[1:]
    if piece == "**":
        yield from _found(folder, rest or ("*",), above)
        for name in _names(folder):
            inner = os.path.join(folder, name)
            if not name.startswith(".") and os.path.isdir(inner):
                (own,) = _above(inner) or (None,)
                if own is not None and own not in above:
                    yield from _found(inner, pieces, (*above, own))
        return
    if WILD.search(_unescaped(piece, drop=True)):
        matched = [name for name in _names(folder) if fnmatchcase(name, piece)]
        names = [name for name in matched if piece.startswith(".") or not name.startswith(".")]
    else:
        names = [_unescaped(piece)]
    for name in names:
        path = os.path.join(folder, name)
        if rest and os.path.isdir(path):
            yield from _found(path, rest, (*above, *_above(path)))
        elif not rest and os.path.isfile(path):
            yield path


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except PermissionError:
        raise UserError(f"The folder {plain_name(folder)} may not be read: give this user the right to.") from None
    except (OSError, ValueError):
        return []

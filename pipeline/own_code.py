"""A user's own code: a Python file that a recipe names, loaded as a module without being installed.

What such a file makes depends on its bytes, so `digest_of` belongs in the fingerprint of whatever it makes. The file
may import installed packages and this project, but not its neighbours: their contents are in no fingerprint.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from pipeline.errors import UserError
from pipeline.settings import Settings
from pipeline.store.artifact import digest, file_digest

PREFIX = "slm_own_"


def load(path: Path, defines: tuple[str, ...] = ()) -> ModuleType:
    """The file at `path`, executed as a module that has all names of `defines`; executed once per process and content.

    The module's name consists of the file's stem and a hash and is registered in `sys.modules`, so that classes defined
    in the file know their module. Raises UserError if the file is missing, does not parse, fails, or lacks a name.
    """
    source = _bytes_of(path)
    stem = re.sub(r"\W", "_", path.stem)
    name = f"{PREFIX}{stem}_{digest([str(path), hashlib.sha256(source).hexdigest()])[:16]}"
    module = sys.modules.get(name)
    if module is None:
        module = _executed(name, source, path)
    missing = [wanted for wanted in defines if not hasattr(module, wanted)]
    if missing:
        raise UserError(f"{path} does not define `{missing[0]}`: it has to define {_listed(defines)}.")
    return module


def digest_of(path: Path) -> str:
    """SHA-256 of the file's bytes. Raises UserError if there is no such file."""
    try:
        return file_digest(path)
    except OSError as error:
        raise _unreadable(path, error) from None


def settings_class(module: ModuleType) -> type[Settings]:
    """The class `Settings` of a module; if it defines none, a class without keys.

    Raises UserError if the module's `Settings` is not a subclass of `pipeline.settings.Settings`.
    """
    found = getattr(module, "Settings", None)
    if found is None:
        return _NoSettings
    if not (isinstance(found, type) and issubclass(found, Settings)):
        raise UserError(f"`Settings` in {module.__file__} has to be a subclass of `pipeline.settings.Settings`.")
    return found


def checked_settings(
    kind: type[Settings], given: Mapping[str, object], path: Path, context: dict[str, object] | None = None
) -> Settings:
    """The keys that a recipe gives in addition to `file`, as the file's own settings.

    Raises ValidationError whose locations are the keys: if a validator of the recipe lets it propagate, the mistake is
    reported with the key's line. context: the validation context (`base`: the recipe's folder).
    """
    try:
        return kind.model_validate(given, context=context)
    except ValidationError as error:
        details = [_detail(problem, kind, path) for problem in error.errors()]
        raise ValidationError.from_exception_data(kind.__name__, details) from None


def mistake(where: tuple[int | str, ...], message: str) -> ValidationError:
    """A mistake at a location below the block whose validator raises it."""
    kind = PydanticCustomError("own_code", message)  # type: ignore[arg-type]  # a template without placeholders
    return ValidationError.from_exception_data("own code", [InitErrorDetails(type=kind, loc=where, input=None)])


def failure(path: Path, error: BaseException, doing: str = "", said: str | None = None) -> UserError:
    """An exception raised inside the file as one sentence that names the file and the line in it.

    doing: what the file was called for, such as "while it gave record 12". said: the message to show, if not its own.
    """
    line = _line_in(path, error)
    kind = type(error).__name__
    said = " ".join(str(error).split()) if said is None else said
    when = f" {doing}" if doing else ""
    return UserError(
        f"{path}{f', line {line}' if line else ''} failed{when} ({kind}{f': {said}' if said else ''}): fix it."
    )


@contextmanager
def failures_of(file: str, doing: str) -> Iterator[None]:
    """Turns an exception raised inside a user's own file into one sentence; does nothing if `file` is empty."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not file:
            raise
        raise failure(Path(file), error, doing) from error


class _NoSettings(Settings):
    """The settings of a file that defines none: no keys."""


def _executed(name: str, source: bytes, path: Path) -> ModuleType:
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # first: dataclasses and pydantic look up the module while its classes are created
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except SyntaxError as error:
        del sys.modules[name]
        where = f"{path}, line {error.lineno}," if error.filename == str(path) and error.lineno else f"{path}"
        raise UserError(f"{where} is not valid Python ({error.msg}): fix it.") from None
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, Exception) and not isinstance(error, UserError):
            raise failure(path, error, "while it was loaded") from error
        raise
    return module


def _detail(problem: ErrorDetails, kind: type[Settings], path: Path) -> InitErrorDetails:
    """The same problem; for an unknown key, with the keys that the file knows."""
    where = problem["loc"]
    if problem["type"] != "extra_forbidden":
        return InitErrorDetails(type=problem["type"], loc=where, input=problem["input"], ctx=problem.get("ctx", {}))
    known = list(kind.model_fields)
    near = difflib.get_close_matches(str(where[0]), known, n=1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`?" if near else f"known there: {', '.join(known) or 'none'}."
    unknown = PydanticCustomError("own_code", f"is not a setting of {path.name}; {hint}")  # type: ignore[arg-type]
    return InitErrorDetails(type=unknown, loc=where, input=None)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"There is no file {path}: correct `file` in the recipe (it starts at the recipe's folder).")
    return UserError(f"{path} cannot be read ({error.strerror}): name a Python file that this user may read.")


def _line_in(path: Path, error: BaseException) -> int | None:
    """The last line of the file that an exception passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(f"`{name}`" for name in names)

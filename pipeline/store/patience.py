"""Object storage that fails now and then: what may pass is tried again, and what does not pass is one sentence.

s3fs tries again by itself after some errors (a broken connection, "slow down"), but not after others that pass as well
(503 and 500 of a server, an answer that ends early), and then it raises what its libraries raise.
"""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from pipeline.errors import UserError

PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # seconds before it is tried again
TOLD_FROM = 2.0  # what lasts so many seconds is told: until then, it is a hiccup
LONGEST = 300.0  # seconds after which it is not tried again; a server that does not answer takes long to fail
FINAL = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
HOPELESS = (errno.EINVAL, errno.ENOSYS, errno.EPERM)  # such as a name that no bucket can have
OF_THIS_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
LIBRARIES = ("aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "adlfs", "http", "s3fs", "urllib3")
Result = TypeVar("Result")


class Unreachable(UserError):
    """The storage does not answer as it should. What was finished stays in the draft."""

    draft_stays = True


def patiently(call: Callable[[], Result], address: str) -> Result:
    """`call()`, again after an error of the storage that may pass, which is told if it lasts. Raises Unreachable if it
    does not pass, or cannot.

    Errors that say something of the file (there is none, there is one) or of this machine's disk are raised as they
    are.
    """
    began = time.monotonic()
    for pause in (*PAUSES, None):
        try:
            return call()
        except Exception as error:
            if isinstance(error, FINAL) or not _of_storage(error):
                raise
            if refused(error):
                raise Unreachable(
                    f"{address} refuses access ({_short(error)}): see that the keys in the environment (for S3: "
                    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) are there and may read and write it."
                ) from error
            if pause is None or hopeless(error) or time.monotonic() - began > LONGEST:
                raise Unreachable(
                    f"{address} does not answer as it should ({_short(error)}): see that it is up and can be reached, "
                    "then run the same command again, which resumes from what is finished."
                ) from error
            if max(pause, time.monotonic() - began) >= TOLD_FROM:
                told = f"slm: {address} does not answer ({_short(error)}); trying again, for some minutes"
                print(told, file=sys.stderr, flush=True)
        time.sleep(pause)
    raise AssertionError("the last round returns or raises")


class PatientFiles:
    """An fsspec file system of which every call is patient."""

    def __init__(self, filesystem: Any, address: str):
        self._filesystem, self._address = filesystem, address

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._filesystem, name)
        if not callable(found):
            return found
        return lambda *given, **named: patiently(lambda: found(*given, **named), self._address)


def refused(error: Exception) -> bool:
    """Whether the storage wants other keys: waiting does not help."""
    return isinstance(error, PermissionError) or "Credentials" in type(error).__name__


def hopeless(error: Exception) -> bool:
    """Whether the same request would get the same answer."""
    return isinstance(error, OSError) and error.errno in HOPELESS


def _of_storage(error: Exception) -> bool:
    """Whether this comes from the storage or the way to it, and not from this machine's disk or from the program."""
    if isinstance(error, OSError):  # also ConnectionError and TimeoutError
        return error.errno not in OF_THIS_DISK and error.filename is None
    return type(error).__module__.partition(".")[0] in LIBRARIES


def _short(error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 160 else words[:157] + "..."

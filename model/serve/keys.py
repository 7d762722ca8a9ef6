"""API keys: who may use the server.

A key comes from a file or from an environment variable, never from the command line, which other users of the machine
can read. Only digests are kept, and all are compared, each in constant time, so that how long a refusal takes tells
nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "SLM_API_KEY"
SHORTEST = 16  # characters
MAKE_ONE = 'make one with `python -c "import secrets; print(secrets.token_urlsafe(32))"`'


@dataclass(frozen=True)
class Keys:
    """Digests of the keys by name. Without any, everyone may use the server, under the name of `everyone`."""

    digests: Mapping[str, bytes]
    everyone: str = "-"

    def name_of(self, authorization: str | None) -> str | None:
        """The name of the key in an `Authorization` header (`Bearer KEY`); None if it is not one of them."""
        if not self.digests:
            return self.everyone
        scheme, _, given = (authorization or "").partition(" ")
        digest = digest_of(given.strip()) if scheme.lower() == "bearer" else b""
        found = None
        for name, known in self.digests.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found


def digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def read_keys(file: str | Path | None, environment: Mapping[str, str]) -> Keys:
    """The keys of a file, or else the one in the environment variable SLM_API_KEY, or else none.

    A line of the file is `NAME KEY` or only a key, whose name is then its number; empty lines and lines that start with
    `#` do not count. Names appear in the log, keys nowhere. Raises ValueError for a file that cannot be read or has no
    key, for a key that is short or no printable ASCII, and for a name that occurs twice.
    """
    if file is None:
        key = environment.get(VARIABLE, "").strip()
        return Keys({"1": _checked(key, f"the environment variable {VARIABLE}")} if key else {})
    if not Path(file).is_file():  # it is not repeated here: somebody may have given a key
        raise ValueError("there is no such file of API keys: give the path of a file that holds them, not a key.")
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ValueError(f"the file of API keys {file} cannot be read: {reason}.") from None
    digests: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) > 2:
            raise ValueError(f"line {number} of {file} is not `NAME KEY` or a key: it has {len(words)} words.")
        name = words[0] if len(words) == 2 else str(len(digests) + 1)
        if name in digests or not _printable(name):
            raise ValueError(f"line {number} of {file} has a name that occurs twice or is no ASCII: choose another.")
        digests[name] = _checked(words[-1], f"line {number} of {file}")
    if not digests:
        raise ValueError(f"there is no API key in {file}: {MAKE_ONE}.")
    return Keys(digests)


def _printable(word: str) -> bool:
    return word.isascii() and word.isprintable()


def _checked(key: str, place: str) -> bytes:
    if len(key) < SHORTEST or not _printable(key):
        raise ValueError(f"the API key in {place} has fewer than {SHORTEST} characters, or not only ASCII: {MAKE_ONE}.")
    return digest_of(key)

"""A finished artifact: a directory that is never written again, and the manifest that says what it holds.

Digests are the store's only way to tell things apart: of values that JSON can hold, and of files.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
# What is true of one making and not of the thing made; left out where two manifests are compared.
RUN_SPECIFIC = ("seconds", "fragments")


def digest(value: Any) -> str:
    """SHA-256 of a value that JSON can hold, independent of the order of keys."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Artifact:
    """A finished artifact: a directory that is never written again."""

    asset: str
    version: str
    directory: Path
    manifest: dict[str, Any] = field(repr=False)
    made: bool = False  # True where this call made it, False where the store had it

    @cached_property
    def digest(self) -> str:
        """Hash of the contents alone: two artifacts of equal digest hold the same bytes."""
        return digest({name: entry["sha256"] for name, entry in self.manifest["files"].items()})

    @property
    def reference(self) -> dict[str, str]:
        """How the manifest of what is made of this artifact names it."""
        return {"asset": self.asset, "version": self.version, "digest": self.digest}

    @cached_property
    def fragments(self) -> list[str]:
        """Names of the tables at the top of the artifact, without `.parquet`, sorted."""
        names = (name for name in self.manifest["files"] if "/" not in name)
        return sorted(name.removesuffix(".parquet") for name in names if name.endswith(".parquet"))

    def entry(self, fragment: str) -> dict[str, Any]:
        """What the manifest says of one table: sha256, bytes, rows, key, facts."""
        return self.manifest["files"][f"{fragment}.parquet"]

    def only(self, *fragments: str) -> Artifact:
        """The same artifact with some tables in its manifest: a manifest of thousands is too much to send around.

        Its digest is that of these tables alone, so what is made of it depends on nothing else.
        """
        files = {f"{fragment}.parquet": self.entry(fragment) for fragment in fragments}
        return replace(self, manifest={**self.manifest, "files": files})

    def file(self, name: str) -> Path:
        """A local path of one of the artifact's files."""
        return self.directory / name

    def local_directory(self) -> Path:
        """The directory with all of its files in it, for what wants a directory (a model, a tokenizer)."""
        return self.directory

    def table(self, fragment: str) -> Path:
        return self.file(f"{fragment}.parquet")

    @property
    def counts(self) -> dict[str, Any]:
        return self.manifest["counts"]

    @property
    def facts(self) -> dict[str, Any]:
        return self.manifest["facts"]

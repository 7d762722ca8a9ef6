"""A finished artifact: an immutable directory and the manifest that describes its contents.

The store identifies everything by digest: the digest of a JSON value or of a file.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
# Manifest keys that describe the run rather than the artifact; ignored when two manifests are compared.
RUN_SPECIFIC = ("seconds", "fragments")


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of keys."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Artifact:
    """A finished artifact: an immutable directory."""

    asset: str
    version: str
    directory: Path
    manifest: dict[str, Any] = field(repr=False)
    made: bool = False  # True if this call made it, False if the store already held it

    @cached_property
    def digest(self) -> str:
        """Hash of the contents alone: two artifacts with the same digest hold the same bytes."""
        return digest({name: entry["sha256"] for name, entry in self.manifest["files"].items()})

    @property
    def reference(self) -> dict[str, str]:
        """How the manifests of artifacts made from this one refer to it."""
        return {"asset": self.asset, "version": self.version, "digest": self.digest}

    @cached_property
    def fragments(self) -> list[str]:
        """Names of the tables at the top of the artifact, without `.parquet`, sorted."""
        names = (name for name in self.manifest["files"] if "/" not in name)
        return sorted(name.removesuffix(".parquet") for name in names if name.endswith(".parquet"))

    def entry(self, fragment: str) -> dict[str, Any]:
        """The manifest's entry for one table: sha256, bytes, rows, key, facts."""
        entry: dict[str, Any] = self.manifest["files"][f"{fragment}.parquet"]
        return entry

    def only(self, *fragments: str) -> Artifact:
        """The same artifact with only these tables in its manifest, since a full manifest is too large to send around.

        Its digest covers these tables alone, so whatever is made from it depends on nothing else.
        """
        files = {f"{fragment}.parquet": self.entry(fragment) for fragment in fragments}
        return replace(self, manifest={**self.manifest, "files": files})

    def file(self, name: str) -> Path:
        """The local path of one of the artifact's files."""
        return self.directory / name

    def local_directory(self) -> Path:
        """A local directory that holds all files, for code that reads a directory (a model, a tokenizer)."""
        return self.directory

    def table(self, fragment: str) -> Path:
        return self.file(f"{fragment}.parquet")

    @property
    def counts(self) -> dict[str, Any]:
        counts: dict[str, Any] = self.manifest["counts"]
        return counts

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = self.manifest["facts"]
        return facts

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

from pipeline.store import bytes_check
from pipeline.store.bytes_check import Damaged

MANIFEST = "manifest.json"
LADDERS = ".ladders"  # folder of what lies beside the versions of a model, each under its version's name
CHANGES = ".changes"  # folder of what is known of the changes between versions of the raw documents
# Manifest keys that describe the run rather than the artifact; ignored when two manifests are compared.
RUN_SPECIFIC = ("seconds", "fragments", "made_on", "checked", "number")
REPAIR = "`slm store repair` sets it aside and makes it again"


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

    def place(self, name: str) -> Path:
        """The local path of one of the artifact's files, whatever its bytes are now."""
        return self.directory / name

    def file(self, name: str) -> Path:
        """The local path of one of the artifact's files, to read it.

        Its bytes are checked once per process (`pipeline/store/bytes_check.py`). Raises Damaged if they are not what
        was written.
        """
        path = self.place(name)
        wrong = self.problem(name) if bytes_check.enabled() else None
        if wrong:
            raise Damaged(f"{path} {wrong}, so {self.asset}/{self.version} is damaged: {REPAIR}.")
        return path

    def problem(self, name: str) -> str | None:
        """What is wrong with one of the artifact's files, such as "is missing"; None if it is as written."""
        entry = self.manifest["files"].get(name)
        return bytes_check.problem(self.place(name), entry) if entry else None

    def local_directory(self) -> Path:
        """A local directory that holds all files, for code that reads a directory (a model, a tokenizer).

        Raises Damaged if a file is not what was written.
        """
        for name in self.manifest["files"]:
            self.file(name)
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

"""The manifest of an artifact, as a file: written last, and never taken for right when it is damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import xxhash

from model.files import write_whole
from pipeline.store import bytes_check
from pipeline.store.artifact import MANIFEST, REPAIR, RUN_SPECIFIC, canonical
from pipeline.store.bytes_check import HASH, Damaged

REQUIRED = {"asset": str, "version": str, "fingerprint": str, "made_of": dict, "inputs": dict, "files": dict,
            "counts": dict, "facts": dict}  # fmt: skip

# Device, inode, size and time of change of the manifests that this process has found intact.
_intact: set[tuple[int, int, int, int]] = set()


def write(directory: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest, with a hash of its own (`xxh3`) over all that two makings of one version have in common."""
    plain = json.loads(json.dumps(manifest))  # as it will be read: keys that are numbers become text
    sealed = {**plain, HASH: own_hash(plain)}
    write_whole(directory / MANIFEST, json.dumps(sealed, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def read(directory: Path) -> dict[str, Any] | None:
    """The manifest in `directory`; None if there is none. Raises Damaged if it is not what was written."""
    path = directory / MANIFEST
    try:
        with open(path, "rb") as file:
            stat = os.fstat(file.fileno())
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    identity = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    manifest = parsed(content, str(path), checked=identity not in _intact)
    _intact.add(identity)
    return manifest


def parsed(content: bytes, name: str, checked: bool = True) -> dict[str, Any]:
    """The manifest that `content` is. Raises Damaged, which calls it `name`, if it is not what was written.

    checked: False if its hash need not be compared, since this process has done so.
    """
    damaged = Damaged(f"{name} {'is empty' if not content.strip() else 'is not what was written'}: {REPAIR}.")
    try:
        manifest = json.loads(content)
    except ValueError:
        raise damaged from None
    if not isinstance(manifest, dict) or any(not isinstance(manifest.get(key), of) for key, of in REQUIRED.items()):
        raise damaged
    sealed = manifest.pop(HASH, None)  # manifests of older versions have none
    if sealed is not None and checked and bytes_check.enabled() and sealed != own_hash(manifest):
        raise damaged
    return manifest


def own_hash(manifest: dict[str, Any]) -> str:
    common = {name: value for name, value in manifest.items() if name not in (*RUN_SPECIFIC, HASH)}
    return xxhash.xxh3_128_hexdigest(canonical(common).encode())

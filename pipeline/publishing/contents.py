"""What of a model's folder is published: what it takes to run it, its card, and the licences that came with it.

The log of the training, samples and checkpoints stay here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pipeline.base_model.files import DOCUMENTS, READ, WEIGHTS
from pipeline.base_model.importing import ORIGIN
from pipeline.errors import UserError
from pipeline.tokens.tokenizer import ABOUT, TIKTOKEN

README = "README.md"
ALSO = (ABOUT, TIKTOKEN, "generation_config.json")
BLOCK = 2**20


@dataclass(frozen=True)
class Content:
    """One file: its name on the hub, and where it lies or what is in it."""

    name: str
    source: Path | bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def is_there(self, sha256: str | None, blob: str) -> bool:
        """Whether these are the bytes of a file on the hub. sha256: of a large file; blob: its hash in git."""
        if sha256 is not None:
            return self._hashed(hashlib.sha256()) == sha256
        return self._hashed(hashlib.sha1(f"blob {self.size}\0".encode())) == blob

    def _hashed(self, digest: hashlib._Hash) -> str:
        if isinstance(self.source, bytes):
            digest.update(self.source)
            return digest.hexdigest()
        with self.source.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
        return digest.hexdigest()


def contents(directory: Path, readme: str) -> list[Content]:
    """The files to publish, by name. readme: what README.md says. Raises UserError for a folder without weights."""
    names = sorted(path.name for path in directory.iterdir() if path.is_file())
    if not any(WEIGHTS.fullmatch(name) for name in names) or "config.json" not in names:
        raise UserError(f"{directory} holds no model: it has no config.json with safetensors beside it.")
    taken = [Content(name, directory / name) for name in names if READ.fullmatch(name) or name in ALSO]
    origin = directory / ORIGIN
    if origin.is_dir():
        came = sorted(path.name for path in origin.iterdir() if DOCUMENTS.fullmatch(path.name))
        taken += [Content(f"{ORIGIN}/{name}", origin / name) for name in came]
    return [Content(README, readme.encode()), *taken]

"""Signed records of what was forgotten exactly. They prove it to somebody who is not shown a word of it.

    {"record": "forgotten exactly", "when", "recipe", "documents": [...], "reasons": [...], "models": [...],
     "kept": {...}, "public_key", "signature"}

A document stands in a record as a commitment: SHA-256 of a salt of its own and its id. An id is a hash of the text, so
whoever guesses a text could otherwise ask the record whether it was learned from. The salts follow from a secret that
stays beside the artifacts; with the salt of one document, its author can find it in the record, and no other.

The signature is Ed25519 (RFC 8032) of the record's canonical JSON without it. That it holds says that the record is as
the owner of the key wrote it: compare the key's fingerprint with the one that you were given by another way.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.store.artifact import canonical

KIND = "forgotten exactly"
FOLDER = ".signing"  # below SLM_DATA
SECRET = "secret"  # file of it: 32 random bytes, from which the key and the salts follow
LENGTH = 32
FIELDS = ("record", "when", "recipe", "documents", "reasons", "models", "kept", "public_key", "signature")


@dataclass(frozen=True)
class Signer:
    """What signs records: the secret of one store."""

    secret: bytes

    @staticmethod
    def of(root: Path) -> Signer:
        """The signer of the artifacts below `root`; its secret is made the first time, and only its owner may read it.

        Raises UserError if the secret is damaged.
        """
        path = root / FOLDER / SECRET
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(LENGTH))
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            pass
        found = path.read_bytes()
        if len(found) != LENGTH:
            raise UserError(f"{path} is damaged: put it back from a backup, or delete it, and a new key signs records.")
        return Signer(found)

    def salt(self, doc_id: str) -> str:
        """The salt of one document, 64 hex digits."""
        return hmac.new(self.secret, f"salt {doc_id}".encode(), hashlib.sha256).hexdigest()

    def commitment(self, doc_id: str) -> str:
        """How a record names a document."""
        return commitment(self.salt(doc_id), doc_id)

    def signed(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record with the public key and the signature of all of it."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        key = Ed25519PrivateKey.from_private_bytes(hmac.new(self.secret, b"key", hashlib.sha256).digest())
        whole = {**record, "public_key": _text(key.public_key().public_bytes_raw())}
        return {**whole, "signature": _text(key.sign(canonical(whole).encode()))}


def commitment(salt: str, doc_id: str) -> str:
    """SHA-256 of a document's salt and its id, in hex."""
    return hashlib.sha256(f"{salt} {doc_id}".encode()).hexdigest()


def read(path: Path) -> dict[str, Any]:
    """A record whose signature holds. Raises UserError if it is no record, or is not what was signed."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["record"] != KIND or any(name not in record for name in FIELDS):
            raise ValueError
        key, signature = (base64.b64decode(record[name], validate=True) for name in ("public_key", "signature"))
        public = Ed25519PublicKey.from_public_bytes(key)
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{path} is no record of what was forgotten exactly: name one that `slm forget` wrote."
        ) from None
    signed = {name: value for name, value in record.items() if name != "signature"}
    try:
        public.verify(signature, canonical(signed).encode())
    except InvalidSignature:
        raise UserError(
            f"{path} is not what was signed with the key {fingerprint(record)}: something in it was changed, so it"
            " proves nothing; ask for the record again."
        ) from None
    return dict(record)


def fingerprint(record: dict[str, Any]) -> str:
    """The first half of the hash of the record's public key, to be compared by people."""
    return hashlib.sha256(base64.b64decode(record["public_key"])).hexdigest()[:32]


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")

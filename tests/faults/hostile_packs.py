"""Hostile wrappings: compressed files and archives that are cut off, damaged or made to mislead."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import zstandard

Counts = tuple[int, dict[str, int]]  # documents read, records left out by reason


@dataclass(frozen=True)
class Case:
    """Files that a source is made of, and what has to come of them: a sentence (a pattern of it), or counts."""

    name: str
    files: dict[str, bytes]
    expected: str | Counts
    settings: dict[str, Any] = field(default_factory=dict)


LINES = "".join(json.dumps({"text": f"document {i}"}) + "\n" for i in range(50)).encode()
CUT = r"is damaged or cut off \("
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}


def flipped(raw: bytes, place: float, bit: int = 0) -> bytes:
    """With one bit changed, at this share of its length."""
    at = int(len(raw) * place)
    return raw[:at] + bytes([raw[at] ^ (1 << bit)]) + raw[at + 1 :]


def cut(raw: bytes, place: float) -> bytes:
    return raw[: int(len(raw) * place)]


def compressed() -> Iterator[Case]:
    for ending, pack in PACKERS.items():
        whole, name = pack(LINES), f"a.jsonl.{ending}"
        yield Case(f"{ending}: whole", {name: whole}, (50, {}))
        yield Case(f"{ending}: two, one after the other", {name: whole + whole}, (100, {}))
        yield Case(f"{ending}: packed, with another name", {"a.jsonl": whole}, (50, {}))
        yield Case(f"{ending}: not packed, with this name", {name: LINES}, (50, {}))
        for place in (0.3, 0.6, 0.95):
            yield Case(f"{ending}: cut at {place}", {name: cut(whole, place)}, CUT)
        yield Case(f"{ending}: without its last byte", {name: whole[:-1]}, CUT)
        yield Case(f"{ending}: a bit flipped in the middle", {name: flipped(whole, 0.5, 3)}, CUT)
        yield Case(
            f"{ending}: a bit flipped in the checksum", {name: flipped(whole, 0.99 if ending == "gz" else 0.95)}, CUT
        )
        yield Case(f"{ending}: the second cut off", {name: whole + whole[: len(whole) // 2]}, CUT)
        yield Case(f"{ending}: the first bytes alone", {name: whole[:6]}, CUT)
        yield Case(f"{ending}: nothing", {name: b""}, (0, {}))
        yield Case(f"{ending}: packed twice", {name: pack(whole)}, "cannot be read|not utf-8")


# -- zip ---------------------------------------------------------------------------------------------------------------


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, raw in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), raw, method)
    return out.getvalue()


def both_headers(raw: bytes, local: int, central: int, value: bytes) -> bytes:
    """A zip file of one member with a field of its two headers changed; local, central: where the field is in each."""
    directory = raw.index(b"PK\x01\x02")
    changed = bytearray(raw)
    changed[local : local + len(value)] = value
    changed[directory + central : directory + central + len(value)] = value
    return bytes(changed)


def zips() -> Iterator[Case]:
    two = zipped({"a.jsonl": LINES, "b.txt": b"one text"})
    one = zipped({"a.txt": b"some text " * 50})
    korean = zipped({"xx.txt": b"text"}).replace(b"xx.txt", "글".encode("cp949") + b".txt")
    yield Case("zip: whole", {"a.zip": two}, (51, {}))
    for place in (0.0, 0.3, 0.6, 0.9):
        yield Case(f"zip: cut at {place}", {"a.zip": cut(two, place)}, CUT)
    yield Case("zip: without its last byte", {"a.zip": two[:-1]}, CUT)
    yield Case("zip: bytes before it", {"a.zip": b"#!/bin/sh\n" + two}, (51, {}))
    yield Case("zip: no archive", {"a.zip": b"text, no zip"}, CUT)
    yield Case("zip: a tar", {"a.zip": tarred({"a.txt": b"x"})}, CUT)
    yield Case("zip: a bit flipped in the data", {"a.zip": flipped(one, 0.25, 2)}, CUT)
    yield Case("zip: a wrong checksum", {"a.zip": both_headers(one, 14, 16, b"\1\2\3\4")}, CUT)
    yield Case("zip: encrypted", {"a.zip": both_headers(one, 6, 8, b"\1\0")}, r"a\.zip!a\.txt is encrypted")
    yield Case("zip: Deflate64", {"a.zip": both_headers(one, 8, 10, b"\x09\0")}, r"packed in a way that is not read")
    yield Case("zip: Zstandard within", {"a.zip": both_headers(one, 8, 10, b"\x5d\0")}, r"packed in a way that is not")
    yield Case("zip: says it holds more", {"a.zip": both_headers(one, 22, 24, struct.pack("<I", 10**6))}, (1, {}))
    yield Case("zip: other names in its two headers", {"a.zip": one.replace(b"a.txt", b"b.txt", 1)}, CUT)
    yield Case("zip: no member", {"a.zip": zipped({})}, (0, {}))
    yield Case("zip: folders alone", {"a.zip": zipped({"a/": b"", "a/b/": b""})}, (0, {}))
    yield Case(
        "zip: names that lead out",
        {"a.zip": zipped({"../a.txt": b"x", "/b.txt": b"x", "C:/c.txt": b"x"})},
        (0, {"unsafe_name": 3}),
    )
    yield Case("zip: a name of nothing", {"a.zip": zipped({".": b"x", "ok.txt": b"y"})}, (1, {"unsafe_name": 1}))
    yield Case("zip: what a Mac adds", {"a.zip": zipped({"__MACOSX/a.txt": b"x", ".DS_Store": b"x"})}, (0, {}))
    yield Case(
        "zip: an archive within",
        {"a.zip": zipped({"b.zip": one, "c.tar": b"x", "d.exe": b"x"})},
        (0, {"unknown_format": 3}),
    )
    yield Case("zip: a name in CP949", {"a.zip": korean}, (1, {}))
    yield Case("zip: a damaged file within", {"a.zip": zipped({"a.jsonl": b'{"text": '})}, r"a\.zip!a\.jsonl: line 1")
    yield Case(
        "zip: a packed file within, cut off", {"a.zip": zipped({"a.txt.gz": gzip.compress(b"x" * 999)[:-9]})}, CUT
    )
    yield Case("zip: a bomb", {"a.zip": both_headers(one, 22, 24, struct.pack("<I", 2**31))}, "unpacks to 2048 MB")


# -- tar ---------------------------------------------------------------------------------------------------------------


def tarred(members: dict[str, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return out.getvalue()


def with_field(raw: bytes, start: int, value: bytes) -> bytes:
    """A tar whose first header has another field, with the checksum that belongs to it."""
    header = bytearray(raw[:512])
    header[start : start + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + raw[512:]


def pax(records: dict[str, bytes]) -> bytes:
    """A member whose extended header holds these records, as they are."""
    lines = b""
    for key, value in records.items():
        size = len(key) + len(value) + 3
        size += len(str(size + len(str(size))))
        lines += b"%d %s=%s\n" % (size, key.encode(), value)
    extended = bytearray(tarred({"x": lines})[: 512 + 512 * -(-len(lines) // 512)])
    return with_field(bytes(extended), 156, b"x") + tarred({"a.txt": b"text"})


def tars() -> Iterator[Case]:
    members = {f"{i:02}.txt": f"text {i}".encode() for i in range(50)}
    whole = tarred(members)
    end = 50 * 1024  # each member is a header and a block
    packers = {
        "tar": bytes,
        "tar.gz": gzip.compress,
        "tgz": gzip.compress,
        "tar.zst": PACKERS["zst"],
        "tar.bz2": bz2.compress,
        "tar.xz": lzma.compress,
    }
    for ending, pack in packers.items():
        name = f"a.{ending}"
        yield Case(f"{ending}: whole", {name: pack(whole)}, (50, {}))
        yield Case(f"{ending}: cut between members", {name: pack(whole[: 5 * 1024])}, CUT)
        yield Case(f"{ending}: cut after the last member", {name: pack(whole[:end])}, CUT)
        yield Case(f"{ending}: cut in a header", {name: pack(whole[: 5 * 1024 + 200])}, CUT)
        yield Case(f"{ending}: cut in the data", {name: pack(whole[: 5 * 1024 + 514])}, CUT)
        yield Case(
            f"{ending}: a broken header in the middle", {name: pack(flipped(whole, 5.05 * 1024 / len(whole)))}, CUT
        )
        yield Case(f"{ending}: two joined by cat", {name: pack(whole + whole)}, CUT)
        yield Case(f"{ending}: nothing", {name: pack(b"")}, CUT)
    yield Case("tar: cut where a block of zeros ends it", {"a.tar": whole[: end + 512]}, (50, {}))
    yield Case("tar: text", {"a.tar": b"no archive " * 100}, CUT)
    yield Case("tar: a zip", {"a.tar": zipped({"a.txt": b"x"})}, CUT)
    yield Case("tar: zeros alone", {"a.tar": bytes(10240)}, (0, {}))
    small = tarred({"a.txt": b"text"})
    yield Case("tar: a negative size", {"a.tar": with_field(small, 124, b"\xff" * 12)}, CUT)
    yield Case(
        "tar: a size of 8 EB", {"a.tar": with_field(small, 124, b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7)}, CUT
    )
    yield Case("tar: a size that is no number", {"a.tar": with_field(small, 124, b"zz zz zz zz\0")}, CUT)
    yield Case("tar: a sparse file", {"a.tar": with_field(small, 156, b"S")}, (0, {"empty": 1}))
    yield Case(
        "tar: a sparse file of nonsense", {"a.tar": with_field(with_field(small, 156, b"S"), 386, b"zz" * 60)}, CUT
    )
    for key, value in {
        "GNU.sparse.map": b"a,b",
        "GNU.sparse.size": b"many",
        "size": b"many",
        "mtime": b"never",
        "path": b"\xff\xfe",
    }.items():
        said: str | Counts = (1, {}) if key == "mtime" else (0, {"unknown_format": 1}) if key == "path" else CUT
        records = {key: value} if key != "GNU.sparse.map" else {"GNU.sparse.major": b"0", key: value}
        yield Case(f"tar: an extended header with {key} that is none", {"a.tar": pax(records)}, said)
    yield Case(
        "tar: an extended header without length", {"a.tar": with_field(tarred({"x": b"path=a"}), 156, b"x")}, CUT
    )
    korean = with_field(small, 0, "한글.txt".encode("cp949") + b"\0")
    yield Case("tar: a name in CP949", {"a.tar": korean}, (1, {}))
    yield Case(
        "tar: names that lead out", {"a.tar": tarred({"../a.txt": b"x", "/b.txt": b"x"})}, (0, {"unsafe_name": 2})
    )
    yield Case(
        "tar: a link",
        {"a.tar": with_field(with_field(tarred({"a.txt": b""}), 156, b"2"), 157, b"/etc/passwd")},
        (0, {}),
    )
    yield Case("tar: a device", {"a.tar": with_field(tarred({"a.txt": b""}), 156, b"3")}, (0, {}))


def packs() -> Iterator[Case]:
    yield from compressed()
    yield from zips()
    yield from tars()

"""Archives, read in place: a list of parts like a directory, each of them a stream; nothing is unpacked to disk.

An archive is read whole or refused. Python's `tarfile` takes a file that is cut off between two members, or whose next
header is broken, for one that ends there; here only the mark that ends an archive does.
"""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath
from typing import IO, Self

from pipeline.errors import UserError
from pipeline.ingest.open_files import (
    Damaged,
    Part,
    damaged,
    decompressed,
    format_of,
    plain_name,
    readable,
    refuse_bomb,
)
from pipeline.ingest.records import Tally

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.zst", ".tar.bz2", ".tar.xz", ".tbz2", ".txz")
# Ways to pack a member that Python unpacks; 7-Zip also writes others, such as Deflate64 and Zstandard.
UNPACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def is_archive(name: str) -> bool:
    return name.lower().endswith(ARCHIVES)


def members(part: Part, tally: Tally, any_format: bool) -> Iterator[Part]:
    """The parts of an archive, in its order; or `part` itself. Each must be read before the next is asked for.

    any_format: the recipe says how to read every file; else only files of known endings are read, others counted.
    """
    if not is_archive(part.name):
        yield part
    elif part.name.lower().endswith(".zip"):
        yield from _zip_members(part, tally, any_format)
    else:
        yield from _tar_members(part, tally, any_format)


def _zip_members(part: Part, tally: Tally, any_format: bool) -> Iterator[Part]:
    with readable(part), part.open() as stream, _opened_zip(stream) as archive:
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            name = info.filename if info.flag_bits & 0x800 else _korean_name(info.filename)
            if info.is_dir() or not _wanted(name, tally, any_format):
                continue
            inner = f"{part.name}!{name}"
            if info.flag_bits & 0x1:
                raise UserError(f"{inner} is encrypted: unpack {part.name} yourself and point `path` at the files.")
            if info.compress_type not in UNPACKED:
                raise UserError(
                    f"{inner} is packed in a way that is not read (method {info.compress_type} of zip): pack it as "
                    "Deflate, or unpack it yourself and point `path` at the files."
                )
            refuse_bomb(inner, info.file_size, info.compress_size)
            yield Part(inner, partial(_opened_member, archive, info), info.file_size, part.url)


def _opened_zip(stream: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(stream)
    except (ValueError, NotImplementedError, RecursionError, OverflowError, KeyError, IndexError):
        raise Damaged("its zip structure is broken") from None


def _opened_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    try:
        return archive.open(info)
    except (ValueError, NotImplementedError, RuntimeError):
        raise Damaged("its zip structure is broken") from None


def _tar_members(part: Part, tally: Tally, any_format: bool) -> Iterator[Part]:
    with readable(part), part.open() as packed, decompressed(packed, part) as stream:
        with _tar_errors():
            archive = tarfile.open(  # noqa: SIM115  (it holds nothing but the stream)
                fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape", tarinfo=_Member
            )
        while True:
            with _tar_errors():
                info = archive.next()
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep each of a million
            if info is None:
                break
            name = plain_name(info.name)
            if info.isreg() and _wanted(name, tally, any_format):
                yield Part(f"{part.name}!{name}", partial(_extracted, archive, info), info.size, part.url)
        _refuse_more(archive, part)


class _Member(tarfile.TarInfo):
    """A member whose header is right: `tarfile` takes a wrong one for the archive's end."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError):  # type: ignore[attr-defined]
            raise Damaged("it ends without the mark that ends a tar archive") from None
        except (tarfile.InvalidHeaderError, tarfile.SubsequentHeaderError):  # type: ignore[attr-defined]
            raise Damaged("the header of a member is broken") from None


@contextmanager
def _tar_errors() -> Iterator[None]:
    """What `tarfile` raises on headers that make no sense, beside its own errors, as Damaged."""
    try:
        yield
    except (ValueError, IndexError, KeyError, OverflowError, RecursionError, AssertionError):
        raise Damaged("the header of a member is broken") from None


def _refuse_more(archive: tarfile.TarFile, part: Part) -> None:
    """Read on to the file's end, which checks what a compression has there; what is not zero is another archive."""
    stream = archive.fileobj
    assert stream is not None
    while block := stream.read(1 << 20):
        if block.strip(b"\0"):
            raise damaged(
                part,
                "something follows the mark that ends a tar archive; of archives joined by `cat`, "
                "only the first would be read",
            )


def _extracted(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    with _tar_errors():
        stream = archive.extractfile(info)
    if stream is None:
        raise Damaged("the header of a member is broken")
    return stream


def _wanted(name: str, tally: Tally, any_format: bool) -> bool:
    pieces = PurePosixPath(name.replace("\\", "/")).parts
    if not pieces or ".." in pieces or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        tally.skip("unsafe_name")
        return False
    if "__MACOSX" in pieces or pieces[-1].startswith("."):
        return False
    if is_archive(name) or not (any_format or format_of(name)):
        tally.skip("unknown_format")
        return False
    return True


def _korean_name(name: str) -> str:
    """Names in zip files made by Korean Windows are CP949 without saying so; `zipfile` read them as CP437."""
    raw = name.encode("cp437", "replace")
    for encoding in ("utf-8", "cp949"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return name

"""Opening files of any wrapping: compression by the first bytes, encodings made UTF-8, errors made sentences.

Whatever is read is bounded: a stream that unpacks to more than `MOST_EXPANSION` times its size is refused. No sentence
about a broken file quotes what is in it.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import errno
import gzip
import io
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import polars as pl
import pyarrow as pa

from pipeline.errors import UserError
from pipeline.ingest.encodings import encoding_of

COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
FORMATS = {
    ".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv",
    ".html": "html", ".htm": "html", ".xhtml": "html", ".warc": "warc", ".wet": "wet",
}  # fmt: skip
# Read as text, one document a file, also where they lie in an archive among other things.
TEXT = re.compile(
    r"\.(txt|text|md|markdown|rst|tex|org|adoc|srt|vtt|log|py|pyi|ipynb|js|mjs|ts|tsx|jsx|java|kt|scala|c|h|cc|cpp|cxx|hpp|cu|"
    r"cs|go|rs|swift|rb|php|pl|lua|r|jl|hs|ml|ex|exs|erl|clj|lisp|el|sh|bash|ps1|sql|proto|ya?ml|toml|ini|cfg|css|scss|vue|"
    r"svelte|xml|dockerfile|cmake|gradle|dart|zig|nim)"
)

# First bytes of a file by which its encoding is recognised.
PEEKED = 1 << 16

# Text seldom packs better than 1:30; what passes 1:200 after so much output is made to fill a disk or a memory.
MOST_EXPANSION = 200
EXPANSION_FREE = 256 * 2**20


class Damaged(Exception):
    """What is wrong with a file, in words of this project; no EOFError, which some readers take for the end."""


# What the libraries raise on a broken file, and what is said of it. Their own words may quote the file, so these are
# never passed on: a line of a table or the start of a page is personal data in somebody's log.
UNREADABLE: tuple[tuple[type[BaseException], str], ...] = (
    (zipfile.BadZipFile, "its zip structure is broken"),
    (zipfile.LargeZipFile, "its zip structure is broken"),
    (tarfile.TarError, "its tar structure is broken"),
    (zlib.error, "its compressed data is broken"),
    (lzma.LZMAError, "its compressed data is broken"),
    (EOFError, "its data ends too early"),
    (csv.Error, "its rows cannot be told apart"),
    (UnicodeError, "its bytes are not of the encoding"),
    (pa.ArrowException, "its rows or columns cannot be read"),
    (pl.exceptions.PanicException, "its rows or columns cannot be read"),
    (pl.exceptions.PolarsError, "its rows or columns cannot be read"),
    (OSError, "its structure is broken"),
)
# Of the disk, not of the contents.
NOT_A_FILE = (errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ENXIO)
NONSENSE = (errno.EINVAL, errno.EOVERFLOW)  # such as a place before the start of the file
BROKEN_DISK = (errno.EIO, errno.ESTALE, errno.EBADMSG, errno.EUCLEAN)


@dataclass(frozen=True)
class Part:
    """One file to read: on disk, in an archive or at an address."""

    name: str  # stable wherever the data lies: relative to the source's folder; stands in ids and error messages
    open: Callable[[], IO[bytes]]
    bytes: int = 0
    url: str | None = None

    @staticmethod
    def of_file(path: str | Path, name: str, url: str | None = None) -> Part:
        try:
            size = os.path.getsize(path)
        except OSError:
            size = 0  # opening it says what is wrong
        return Part(name, lambda: open(path, "rb"), size, url)


def bare_name(name: str) -> str:
    """The name without what tells of compression, in lower case."""
    lower = name.lower()
    for ending in COMPRESSED:
        lower = lower.removesuffix(ending)
    return lower


def format_of(name: str) -> str | None:
    """The format that the name tells: of a table, a page, or `text`; None where it tells nothing."""
    ending = os.path.splitext(bare_name(name))[1]
    return FORMATS.get(ending) or ("text" if TEXT.fullmatch(ending) else None)


@contextmanager
def readable(part: Part) -> Iterator[None]:
    """Turn what the libraries raise on a broken file into one sentence that names the file and quotes nothing of it."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{part.name} is not there (any more): fix `path` or put the file back.") from None
    except PermissionError:
        raise UserError(f"{part.name} may not be read: give this user the right to (`chmod +r`).") from None
    except Damaged as error:
        raise damaged(part, str(error)) from None
    except tuple(kind for kind, _ in UNREADABLE) as error:
        if isinstance(error, OSError) and error.errno is not None:
            if error.errno in BROKEN_DISK:
                raise UserError(
                    f"{part.name} cannot be read ({os.strerror(error.errno)}): check the disk, or copy the file again."
                ) from None
            if error.errno in NOT_A_FILE:
                raise UserError(f"{part.name} is no file that can be read: leave it out of `path`.") from None
            if error.errno not in NONSENSE:
                raise  # the network, or a full disk
        raise damaged(part, next(said for kind, said in UNREADABLE if isinstance(error, kind))) from None


def damaged(part: Part, said: str) -> UserError:
    return UserError(f"{part.name} is damaged or cut off ({said}): fetch or copy it again, or leave it out of `path`.")


def plain_name(name: str) -> str:
    """A file's name as text. Names that are not UTF-8 (a Python string then holds halves of surrogates) are CP949."""
    return "/".join(_plain_piece(piece) for piece in name.split("/"))


def _plain_piece(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raw = name.encode("utf-8", "surrogateescape")
        try:
            return raw.decode("cp949")
        except UnicodeDecodeError:
            return re.sub("[\udc80-\udcff]", lambda half: f"%{ord(half[0]) - 0xDC00:02X}", name)
    return name


def refuse_bomb(name: str, unpacked: int, packed: int) -> None:
    if unpacked > EXPANSION_FREE and unpacked > MOST_EXPANSION * max(packed, 1):
        raise UserError(
            f"{name} unpacks to {unpacked >> 20} MB from {packed:,} bytes, which no text does: leave it out of "
            "`path`, or unpack it yourself if you trust it."
        )


@contextmanager
def decompressed(stream: IO[bytes], part: Part) -> Iterator[IO[bytes]]:
    """`stream` without its compression, which the first bytes tell; names are not trusted."""
    reader = buffered(stream)
    magic = reader.peek(6)[:6]
    opened: Any
    if magic.startswith(b"\x1f\x8b"):
        opened = gzip.GzipFile(fileobj=reader)
    elif magic.startswith(b"BZh"):
        opened = bz2.BZ2File(reader)
    elif magic.startswith(b"\xfd7zXZ\0"):
        opened = lzma.LZMAFile(reader)  # noqa: SIM115  (closed with what it reads)
    elif magic.startswith(b"\x28\xb5\x2f\xfd"):
        opened = buffered(_Zstandard(reader))
    else:
        yield reader
        return
    yield buffered(_Bounded(opened, part))


def buffered(stream: Any) -> io.BufferedReader:
    return stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream, 1 << 20)


class _Zstandard(io.RawIOBase):
    """Zstandard frames one after the other; unlike the library's own reader it notices a file that ends too early."""

    def __init__(self, stream: io.BufferedReader):
        import zstandard

        # A frame may ask for a window of 2 GB; 128 MB (`--long=27`, the tool's own bound) is as much as text uses.
        self._make = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj
        self._stream, self._frame, self._rest, self._pending = stream, self._make(), b"", b""
        self._error = zstandard.ZstdError

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._pending:
            packed = self._rest or self._stream.read(1 << 18)
            self._rest = b""
            if not packed:
                if not self._frame.eof and self._started:
                    raise Damaged("the compressed data ends too early")
                return 0
            if self._frame.eof:
                self._frame = self._make()
            try:
                self._pending = self._frame.decompress(packed)
            except self._error:
                raise Damaged("its compressed data is broken") from None
            self._started = True
            self._rest = self._frame.unused_data if self._frame.eof else b""
        taken = self._pending[: len(buffer)]
        self._pending = self._pending[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    _started = False


class _Bounded(io.RawIOBase):
    """A decompressing stream that stops where it has given far more than its file could hold of text."""

    def __init__(self, stream: IO[bytes], part: Part):
        self._stream, self._part, self._given = stream, part, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._stream.read(len(buffer))
        except EOFError:
            raise Damaged("the compressed data ends too early") from None
        except (zlib.error, lzma.LZMAError, gzip.BadGzipFile):
            raise Damaged("its compressed data is broken") from None
        self._given += len(data)
        if self._part.bytes:
            refuse_bomb(self._part.name, self._given, self._part.bytes)
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def utf8_stream(part: Part, encoding: str, invalid: str) -> Iterator[IO[bytes]]:
    """The part's bytes, unpacked and in UTF-8 without a byte-order mark.

    Korean in CP949 and UTF-16 is recognised where the recipe says nothing (encodings.py). Bytes that are declared UTF-8
    come through unchecked (whoever makes text of them checks, and can name the record);
    any other encoding is converted here, and what cannot be converted is an error or U+FFFD.
    """
    with readable(part), part.open() as packed, decompressed(packed, part) as stream:
        reader = buffered(stream)
        start = reader.peek(4)[:4]
        if start.startswith(codecs.BOM_UTF8):
            reader.read(3)
            encoding = "utf-8"
        elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            encoding = "utf-16"
        else:
            encoding = encoding_of(reader.peek(PEEKED)[:PEEKED], encoding)
        if encoding == "utf-8":
            yield reader
        else:
            yield buffered(_Converted(reader, part, encoding, invalid))


class _Converted(io.RawIOBase):
    """Bytes of another encoding as bytes of UTF-8, a piece at a time."""

    def __init__(self, stream: io.BufferedReader, part: Part, encoding: str, invalid: str):
        errors = "replace" if invalid == "replace" else "strict"
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self._stream, self._part, self._encoding = stream, part, encoding
        self._read, self._pending, self._ended = 0, b"", False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._pending and not self._ended:
            piece = self._stream.read(1 << 20)
            self._ended = not piece
            held = len(self._decoder.getstate()[0])
            try:
                self._pending = self._decoder.decode(piece, final=self._ended).encode()
            except UnicodeDecodeError as error:
                raise invalid_bytes(self._part, self._read - held + error.start, self._encoding) from None
            except UnicodeError:  # of some codecs, which do not say where
                raise invalid_bytes(self._part, self._read, self._encoding) from None
            self._read += len(piece)
        taken = self._pending[: len(buffer)]
        self._pending = self._pending[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)


def invalid_bytes(part: Part, position: int, encoding: str, where: str = "byte") -> UserError:
    return UserError(
        f"{part.name} is not {encoding} at {where} {position:,}: name its encoding (`encoding: cp949`, ...), or say "
        "`invalid: skip` (leave out what cannot be read) or `invalid: replace`."
    )

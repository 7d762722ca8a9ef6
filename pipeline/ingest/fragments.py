"""Records to documents in fragments: normalise, hash, and cut by the first bits of the hash.

A fragment holds the documents of one source whose hash starts with its bits, sorted, so which documents stand in it
does not depend on the order in which they were read. Whatever the size of the source, a bounded part of it is in
memory: what is more goes to buckets on disk by the first eight bits, and a bucket that is still too large is cut again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import xxhash

from pipeline.documents.document import DOCUMENT_SCHEMA

FRAGMENT_BYTES = 32 * 2**20  # of text; half of it to all of it lies in a fragment
MEMORY_BYTES = 256 * 2**20  # of documents held before they go to disk, and of buckets that are sorted at once
ROW_BYTES = 256  # what a row takes beside its text
BUCKET_BITS = 8
PREFIX_BITS = 32  # bits of the hash that a prefix is taken from: enough for 4 billion fragments

# Any run of white space is one blank. Single blanks, which are most, are not matched: 2.5 times faster than `\s+`.
WHITE = r"[^\S ]\s*| \s+"
# Everything but characters that no composition ever changes: Latin, Greek, Cyrillic, punctuation, symbols, kana, CJK,
# Hangul syllables, full-width forms, emoji. Text of those alone is in NFC as it stands, and is told so seven times
# faster than it is composed. (Unicode Standard Annex #15, section 9: these all have the quick-check value Yes.)
MAYBE_NOT_COMPOSED = (
    r"[^\x00-\x{02FF}\x{0370}-\x{0373}\x{0388}-\x{0482}\x{048A}-\x{052F}\x{200B}-\x{20CF}\x{2100}-\x{2125}"
    r"\x{212C}-\x{2328}\x{232B}-\x{2ADB}\x{2ADD}-\x{2BFF}\x{3000}-\x{3029}\x{3030}-\x{3098}\x{309B}-\x{30FF}"
    r"\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{AC00}-\x{D7A3}\x{FE00}-\x{FE0F}\x{FEFF}-\x{FFEF}\x{1F300}-\x{1FAFF}]"
)


def document_ids(text: pl.Series) -> pl.Series:
    """Hex of xxh3-128 of the UTF-8 bytes of the normalised text."""
    ids = np.empty(len(text), dtype=object)
    unsure = text.str.contains(MAYBE_NOT_COMPOSED)
    for where, composed in ((~unsure, False), (unsure, True)):
        part = text.filter(where)
        part = folded(part.str.normalize("NFC") if composed else part)
        # A call a document, but of a fast hash: 4 GB/s, a hundredth of what the reading costs.
        hashes = [xxhash.xxh3_128_hexdigest(raw) for raw in part.cast(pl.Binary).to_list()]
        ids[where.to_numpy()] = hashes
    return pl.Series("doc_id", ids.tolist(), dtype=pl.String)


def folded(text: pl.Series) -> pl.Series:
    """Each run of white space one blank, none at the ends."""
    return text.str.replace_all(WHITE, " ").str.strip_chars(" ")


def documents_of(records: pl.DataFrame, source: str) -> pl.DataFrame:
    """Documents from tidy records (`pipeline.ingest.records`)."""
    return records.rename({"id": "source_id"}).select(
        document_ids(records["text"]),
        "text",
        pl.lit(source).alias("source"),
        "source_id",
        "lang",
        "url",
        "license",
        "meta",
    )


def fragment_bits(text_bytes: int) -> int:
    """How many bits of the hash name a fragment: as few as keep fragments at FRAGMENT_BYTES of text on average."""
    return max(0, (max(text_bytes, 1) - 1) // FRAGMENT_BYTES).bit_length()


def fragment_name(source: str, prefix: int, bits: int) -> str:
    """`<source>-<the bits>`, or `<source>-all` for a source of one fragment."""
    return f"{source}-{prefix:0{bits}b}" if bits else f"{source}-all"


def frame_digest(frame: pl.DataFrame) -> str:
    """Hash of all values of a frame of text columns, in order."""
    hashed = xxhash.xxh3_128()
    for name in frame.columns:
        column = frame[name].rechunk()
        nulls = column.null_count()
        hashed.update(np.packbits(column.is_null().to_numpy()).tobytes() if nulls else bytes((frame.height + 7) // 8))
        if nulls:
            column = column.fill_null("")
        # Offsets and bytes as Arrow lays them out, freshly made, so that nothing of where they came from is in them.
        _, offsets, values = column.to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
        hashed.update(memoryview(offsets)[: 8 * (frame.height + 1)])
        if values is not None:
            hashed.update(memoryview(values)[: int(np.frombuffer(offsets, np.int64)[frame.height])])
    return hashed.hexdigest()


class Sorter:
    """Takes documents in any order, gives them back by fragment, sorted by (doc_id, source_id).

    folder: where buckets go; it is removed in the end. skip_bits: leading bits that all documents have in common.
    """

    def __init__(self, folder: Path, memory_bytes: int = MEMORY_BYTES, skip_bits: int = 0):
        self.folder, self.memory_bytes, self.skip_bits = folder, memory_bytes, skip_bits
        self.text_bytes = self.rows = 0
        self._held: list[pl.DataFrame] = []
        self._held_bytes = 0
        self._bucket_bytes = np.zeros(1 << BUCKET_BITS, np.int64)
        self._writers: dict[int, pa.RecordBatchStreamWriter] = {}

    def add(self, documents: pl.DataFrame) -> None:
        text_bytes = int(documents["text"].str.len_bytes().sum())
        self.text_bytes += text_bytes
        self.rows += documents.height
        self._held.append(documents)
        self._held_bytes += text_bytes + ROW_BYTES * documents.height
        if self._held_bytes >= self.memory_bytes:
            self._spill()

    def fragments(self, bits: int) -> Iterator[tuple[int, pl.DataFrame]]:
        """(first bits of the hash, sorted documents) of each fragment that is not empty, in order."""
        try:
            if not self._writers:
                yield from sliced(self._held, bits)
                return
            self._spill()
            for writer in self._writers.values():
                writer.close()
            yield from self._from_buckets(bits)
        finally:
            for writer in self._writers.values():
                writer.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _from_buckets(self, bits: int) -> Iterator[tuple[int, pl.DataFrame]]:
        known_bits = self.skip_bits + BUCKET_BITS
        together = 1 << max(0, known_bits - bits)  # buckets in a fragment
        for first in range(0, 1 << BUCKET_BITS, together):
            buckets = [b for b in range(first, first + together) if b in self._writers]
            if bits > known_bits and self._bucket_bytes[first] > self.memory_bytes:
                deeper = Sorter(self.folder / f"{first:02x}", self.memory_bytes, known_bits)
                for documents in self._batches(buckets):
                    deeper.add(documents)
                yield from deeper.fragments(bits)
            else:
                yield from sliced(list(self._batches(buckets)), bits)
            for bucket in buckets:
                self._path(bucket).unlink()

    def _spill(self) -> None:
        """Append what is held to the buckets, sorted into them in one go."""
        if not self._held:
            return
        documents = pl.concat(self._held)
        self._held, self._held_bytes = [], 0
        self.folder.mkdir(parents=True, exist_ok=True)
        bucket = prefixes(documents["doc_id"], self.skip_bits + BUCKET_BITS) & ((1 << BUCKET_BITS) - 1)
        order = np.argsort(bucket, kind="stable")
        documents, ends = documents[order], np.cumsum(np.bincount(bucket, minlength=1 << BUCKET_BITS))
        for number, end in enumerate(ends.tolist()):
            start = int(ends[number - 1]) if number else 0
            if start == end:
                continue
            piece = documents[start:end].to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
            if number not in self._writers:
                self._writers[number] = pa.ipc.new_stream(self._path(number), piece.schema)
            self._writers[number].write_table(piece)
            self._bucket_bytes[number] += piece.nbytes

    def _batches(self, buckets: list[int]) -> Iterator[pl.DataFrame]:
        for bucket in buckets:
            with pa.ipc.open_stream(self._path(bucket)) as reader:
                for batch in reader:
                    yield pl.DataFrame(pl.from_arrow(batch))

    def _path(self, bucket: int) -> Path:
        return self.folder / f"{bucket:02x}.arrow"


def sliced(held: list[pl.DataFrame], bits: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """Sort documents and cut them where their first `bits` bits change."""
    if not held:
        return
    documents = pl.concat(held).sort("doc_id", "source_id", maintain_order=True).select(DOCUMENT_SCHEMA.keys())
    held.clear()
    prefix = prefixes(documents["doc_id"], bits)
    starts = np.flatnonzero(np.diff(prefix, prepend=-1)).tolist()
    for start, end in zip(starts, [*starts[1:], documents.height]):
        yield int(prefix[start]), documents[start:end]


def prefixes(doc_id: pl.Series, bits: int) -> np.ndarray:
    """The first `bits` bits of each hash as an integer."""
    head = doc_id.str.slice(0, PREFIX_BITS // 4).str.to_integer(base=16, dtype=pl.Int64)
    return head.to_numpy() >> (PREFIX_BITS - bits)

"""Who resembles whom among very many documents: the partitioned search for candidates on simulated signatures.

    python -m benchmarks.dedup_join 10000000 30000000 [--workers 2]

No text is made. The bands, ids and lines at the edges of real documents (SLM_SHARED_DATA where it is set, else
installed ones, each cut into passages of 1,500 characters, with edited copies of one in ten) are computed once, and
each table holds them again under another key: within a table as many documents share a value as in the real text, and
between tables none do. Measured is what `clusters.find` takes, which is all of the search that looks at every document:
CPU seconds, and the peak memory of this process and of the largest worker. `--sample 3` makes only the first three
partitions of each kind, for more documents than there is time for.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.documents import edited, real_texts
from benchmarks.making import quiet
from benchmarks.measuring import ONE_THREAD, cpu_of_all, output_of, peak_memory, program
from pipeline.curation.duplicates import clusters
from pipeline.curation.duplicates.band_partitions import BandTable
from pipeline.curation.duplicates.duplicate_settings import Settings
from pipeline.curation.duplicates.signature_tables import SignatureTable, id_halves, write_signature_table
from pipeline.curation.duplicates.signatures import band_hashes, signatures_of
from pipeline.curation.duplicates.tidiness import join, tidiness_of
from pipeline.documents.execution import ExecutionSettings
from pipeline.ingest.fragments import document_ids
from pipeline.store.draft import Draft
from pipeline.text.words import mix

SETTINGS = Settings()
LENGTH, COPIES = 1500, 0.1


def real_documents() -> pl.Series:
    """Passages of real texts, and edited copies of a share COPIES of them."""
    passages = [
        text[start : start + LENGTH]
        for texts in real_texts().values()
        for text in texts
        for start in range(0, len(text), LENGTH)
    ]
    draw = random.Random(1)
    copies = [edited(draw.choice(passages), draw) for _ in range(int(COPIES * len(passages)))]
    return pl.Series([*passages, *copies])


def signed(texts: pl.Series) -> SignatureTable:
    """What the tables hold of these texts; of their signatures, one value."""
    looks = []
    signatures, words = signatures_of(
        texts, SETTINGS.shingle, SETTINGS.permutations, None, lambda *block: looks.append(tidiness_of(*block))
    )
    bands = band_hashes(signatures, *SETTINGS.banding())
    return SignatureTable(*id_halves(document_ids(texts)), words, signatures[:, :1], bands, join(looks))


def under_key(real: SignatureTable, number: int) -> SignatureTable:
    """The same documents with other values: equal ones stay equal."""
    key = mix(np.array([number], np.uint64))[0]
    edges = real.tidiness.edges
    other = np.where(edges > 0, edges ^ np.uint32(key >> np.uint64(40)), edges)
    looks = real.tidiness._replace(edges=other)
    low, bands = mix(real.low ^ key), mix(real.bands ^ key)
    return SignatureTable(mix(real.high ^ key), low, real.words, real.signatures, bands, looks)


def make_tables(number: int, folder: Path) -> None:
    real = signed(real_documents())
    for place in range(-(-number // len(real.low))):
        write_signature_table(under_key(real, place), folder / f"{place:05d}.parquet")
    print(len(real.low))


def tables_in(folder: Path) -> tuple[list[BandTable], int]:
    """The tables of a folder, and how many documents each has."""
    paths = sorted(folder.glob("*.parquet"))
    height = pl.scan_parquet(paths[0]).select(pl.len()).collect().item()
    return [BandTable(path, place * height) for place, path in enumerate(paths)], height


def measure_some(folder: Path, sample: int) -> None:
    tables, height = tables_in(folder)
    parts = clusters.partitions_of(height * len(tables), SETTINGS.banding()[0])
    for kind, find in clusters.FINDERS.items():
        of_kind = [part for of, part in parts if of == kind]
        begun = cpu_of_all()
        for part in of_kind[:sample]:
            for _ in find(tables, part, folder / "ranges"):
                pass
        spent = (cpu_of_all() - begun) / len(of_kind[:sample])
        print(f"{kind}: {spent:.1f} CPU-s each of {len(of_kind)} partitions, peak {peak_memory():,.0f} MB so far")


def measure(folder: Path, workers: int) -> None:
    tables, height = tables_in(folder)
    execution = ExecutionSettings(executor="processes" if workers > 1 else "in_process", workers=workers)
    draft = Draft(folder / "draft", list, quiet)
    begun, wall = cpu_of_all(), time.monotonic()
    found = clusters.find(draft, tables, height * len(tables), SETTINGS.banding()[0], execution)
    spent, wall = cpu_of_all() - begun, time.monotonic() - wall
    disk = sum(table.path.stat().st_size for table in tables) / 1e9
    members = sum(path.stat().st_size for path in found.files) / 1e6
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"{height * len(tables):,} documents in {len(tables)} tables ({disk:.1f} GB): {spent:.1f} CPU-s, {wall:.0f} s"
    )
    print(f"{len(found.positions):,} resemble another one, {members:.0f} MB of members; "
          f"peak here {peak_memory():,.0f} MB, of a worker {worker:,.0f} MB")  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--sample", type=int, default=0, help="make only so many partitions of each kind")
    parser.add_argument(
        "--folder", type=Path, help="where the tables go, 220 bytes a document; default: a temporary one"
    )
    parser.add_argument("--make", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    given = arguments().parse_args()
    for number in given.documents:
        if given.make:
            make_tables(number, given.make)
        elif given.measure and given.sample:
            measure_some(given.measure, given.sample)
        elif given.measure:
            measure(given.measure, given.workers)
        else:
            with tempfile.TemporaryDirectory(dir=given.folder) as folder:
                output_of(program("dedup_join", number, "--make", folder), ONE_THREAD)
                options = ("--workers", given.workers, "--sample", given.sample)
                measured = program("dedup_join", number, *options, "--measure", folder)
                print(output_of(measured, ONE_THREAD), flush=True)


if __name__ == "__main__":
    main()

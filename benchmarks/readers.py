"""Reading tables and JSON lines: CPU seconds for 100 MB of text of each format, the best of several readings.

    nice python -m benchmarks.readers [--megabytes 60] [--times 5]

The text is made up: Korean and English sentences of 200 to 2,000 characters, one field of three in quotes where the
format has quotes. What is measured is a source read to records, without normalising, hashing and writing.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
import time
from pathlib import Path

import polars as pl

from pipeline.ingest.files import FileSource
from pipeline.ingest.records import Reading

WORDS = [
    "the",
    "language",
    "model",
    "한국어",
    "문장을",
    "reads",
    "a",
    "text,",
    "and",
    '"says"',
    "그리고",
    "writes",
    "it",
]


def rows(megabytes: float) -> list[tuple[str, str, str]]:
    """(text, id, url) of made-up documents of so much text."""
    chosen = random.Random(1)
    made: list[tuple[str, str, str]] = []
    size = 0
    while size < megabytes * 1e6:
        text = " ".join(chosen.choices(WORDS, k=chosen.randint(40, 400)))
        made.append((text, str(len(made)), f"http://example.org/{len(made)}"))
        size += len(text.encode())
    return made


def write(made: list[tuple[str, str, str]], folder: Path) -> list[Path]:
    names = ("text", "id", "url")
    with open(folder / "a.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *made])
    lines = ("\t".join(row) for row in [names, *made])
    (folder / "a.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with open(folder / "a.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(dict(zip(names, row)), ensure_ascii=False) + "\n" for row in made)
    with open(folder / "nested.jsonl", "w", encoding="utf-8") as file:
        file.writelines(
            json.dumps({**dict(zip(names, row)), "meta": {"url": row[2]}}, ensure_ascii=False) + "\n" for row in made
        )
    pl.DataFrame(made, schema=names, orient="row").write_parquet(folder / "a.parquet")
    return sorted(folder.iterdir())


def cpu_seconds(path: Path, cache: Path) -> float:
    source = FileSource(name="s", path=[str(path)])
    observed, reading = source.observe(cache, lambda line: None), Reading(cache)
    started = time.process_time()
    for _ in source.read(observed, reading):
        pass
    return time.process_time() - started


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=60)
    parser.add_argument("--times", type=int, default=5)
    return parser


def main() -> None:
    given = arguments().parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "in"
        folder.mkdir()
        for path in write(rows(given.megabytes), folder):
            best = min(cpu_seconds(path, Path(name)) for _ in range(given.times))
            print(f"{path.name:14} {best / given.megabytes * 100:6.2f} CPU seconds for 100 MB of text")


if __name__ == "__main__":
    main()

"""Reads the labelled sentences that `slm names teach` is given, and divides off those that only measure."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xxhash

from pipeline.curation.personal_data.names.teaching import Example
from pipeline.errors import UserError

PERSON = frozenset(("PERSON", "PER", "PS"))
# Kinds of things that are named and are nobody.
OTHERS = frozenset(("GPE", "ORGANIZATION", "NRP", "STREET_ADDRESS", "LOC", "ORG", "LC", "OG"))
MEASURED = 5  # one group of sentences in five is set aside


def read(path: Path) -> Iterator[tuple[str, Example]]:
    """(group, example) of each line: an object with `text` (or `full_text`) and `spans`, of which each has a start, an
    end (code points, end exclusive) and a label. JSON lines or one list, with or without gzip.

    The group is `template_id` where there is one: sentences made from one template teach or measure together.

    Raises UserError if the file holds something else.
    """
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    try:
        # Not `splitlines`: U+2028 and its like may stand inside a JSON string.
        lines = (line for line in text.split("\n") if line.strip())
        rows = json.loads(text) if text.lstrip().startswith("[") else map(json.loads, lines)
        for number, row in enumerate(rows):
            yield str(row.get("template_id", row.get("id", number))), _example(row)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: an example has to be an object with `text` and `spans`, each with `start`, `end` and `label` "
            f"({type(error).__name__})."
        ) from error


def _example(row: dict[str, Any]) -> Example:
    spans = [
        (
            int(span["start"] if "start" in span else span["start_position"]),
            int(span["end"] if "end" in span else span["end_position"]),
            str(span["label"] if "label" in span else span["entity_type"]),
        )
        for span in row["spans"]
    ]
    names = sorted((start, end) for start, end, label in spans if label in PERSON)
    others = sorted((start, end, label) for start, end, label in spans if label in OTHERS)
    text = str(row["full_text"] if "full_text" in row else row["text"])
    return Example(text, tuple(names), tuple(others))


def set_aside(group: str) -> bool:
    """Whether the sentences of a group only measure."""
    return xxhash.xxh32_intdigest(group.encode()) % MEASURED == 0


def divided(paths: list[Path]) -> tuple[list[Example], dict[str, list[Example]]]:
    """(examples to teach with, by file those that only measure)."""
    teaching: list[Example] = []
    measuring: dict[str, list[Example]] = {}
    for path in paths:
        for group, example in read(path):
            (measuring.setdefault(path.name, []) if set_aside(group) else teaching).append(example)
    return teaching, measuring

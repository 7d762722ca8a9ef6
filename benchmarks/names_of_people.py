"""Names of people: recall and precision by genre and by kind of name, the choice of `LEAN`, and speed.

    python -m benchmarks.names_of_people DATA [--tagger FILE]      # the folder of development data (pii/, text/)

Counted are whole names, both ends right, in sentences that the tagger was not taught with: a fifth of KLUE-NER and a
fifth of the templates of presidio-research, which `slm names teach` sets aside by their hash. Features,
material and `LEAN` were chosen on another fifth, with a tagger taught on the other three.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.measuring import cpu_of
from pipeline.curation.personal_data.names.course import names_found
from pipeline.curation.personal_data.names.examples import read, set_aside
from pipeline.curation.personal_data.names.tagger import SHIPPED, UNIT, Tagger, find, load
from pipeline.curation.personal_data.names.teaching import Example, agreement

LEANS = (0.0, 0.5, 1.0, 1.5, 2.0)
# Genre -> (file, whether a group of its sentences is of this genre). KLUE's groups end with the name of their source.
GENRES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "KLUE-NER, Korean": ("klue_ner.jsonl.gz", lambda group: True),
    "news (WIKITREE)": ("klue_ner.jsonl.gz", lambda group: not group.endswith("nsmc")),
    "film reviews (NSMC)": ("klue_ner.jsonl.gz", lambda group: group.endswith("nsmc")),
    "presidio-research, English": ("presidio_synth_v2.json.gz", lambda group: True),
}
BYTES = 2_000  # of a document, for the speed


def sentences(data: Path, genre: str) -> list[Example]:
    """The sentences of a genre that no tagger of `slm names teach` was taught with."""
    file, belongs = GENRES[genre]
    return [example for group, example in read(data / "pii" / file) if set_aside(group) and belongs(group)]


def kind_of(name: str) -> str:
    """What a name looks like."""
    if len(name) == 1:
        return "one syllable or letter (`김` 씨, A씨)"
    if "가" <= name[0] <= "힣":
        if " " in name:
            return "Hangul, several words"
        return {2: "Hangul, two syllables", 3: "Hangul, three syllables"}.get(len(name), "Hangul, four and more")
    small = "in small letters" if name.islower() else ""
    return f"Latin, {'several words' if ' ' in name else 'one word'} {small}".strip()


def figures(examples: list[Example], tagger: Tagger) -> tuple[int, float, float]:
    """Number of names, recall, precision."""
    wanted = [set(example.names) for example in examples]
    return sum(map(len, wanted)), *agreement(names_found(examples, tagger), wanted)


def by_kind(examples: list[Example], tagger: Tagger) -> dict[str, tuple[int, int]]:
    """By kind of name: how many there are, and how many are found."""
    counts: dict[str, tuple[int, int]] = {}
    for example, found in zip(examples, names_found(examples, tagger), strict=True):
        for start, end in example.names:
            kind = kind_of(example.text[start:end])
            names, right = counts.get(kind, (0, 0))
            counts[kind] = names + 1, right + ((start, end) in found)
    return counts


def leaning(tagger: Tagger, lean: float) -> Tagger:
    """The tagger with another `LEAN`, in nats, for both kinds of letters."""
    return replace(tagger, lean=np.array([round(lean * UNIT)] * 2, dtype=np.int32))


def planted_recall(data: Path, lang: str, tagger: Tagger) -> tuple[int, float]:
    """Planted names in passages of a language, and the share that a find covers; other names are not labelled."""
    with gzip.open(data / "pii/planted.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["lang"] == lang]
    found: list[list[tuple[int, int]]] = [[] for _ in rows]
    for number, start, end in find(pl.Series([row["text"] for row in rows]), tagger).iter_rows():
        found[number].append((start, end))
    hits = [
        any(a <= span["start"] and b >= span["end"] for a, b in spans)
        for row, spans in zip(rows, found, strict=True)
        for span in row["spans"]
        if span["label"] == "PERSON"
    ]
    return len(hits), sum(hits) / max(1, len(hits))


def documents_a_second(data: Path, lang: str, tagger: Tagger, rounds: int = 3) -> float:
    """Pieces of BYTES of the development text of a language, a CPU-second; the best of some rounds."""
    files = sorted((data / "text").glob(f"{lang}-*.parquet"))
    whole = (text.encode() for file in files for text in pl.read_parquet(file)["text"])
    pieces = pl.Series([text[:BYTES].decode("utf-8", "ignore") for text in whole if len(text) >= BYTES]).head(1_000)
    return len(pieces) / min(cpu_of(lambda: find(pieces, tagger))[1] for _ in range(rounds))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of development data")
    parser.add_argument("--tagger", type=Path, default=SHIPPED, help="a file that `slm names teach` wrote")
    return parser


def main() -> None:
    given = arguments().parse_args()
    tagger = load(given.tagger)
    print("| | names | recall | precision |\n|---|---|---|---|")
    for genre in GENRES:
        names, recall, precision = figures(sentences(given.data, genre), tagger)
        print(f"| {genre} | {names} | {recall:.3f} | {precision:.3f} |")
    for lang in ("ko", "en"):
        names, recall = planted_recall(given.data, lang, tagger)
        print(f"| planted in passages, {lang} | {names} | {recall:.3f} | |")
    print("\n| kind of name | names | recall |\n|---|---|---|")
    for genre in ("KLUE-NER, Korean", "presidio-research, English"):
        for kind, (names, right) in sorted(by_kind(sentences(given.data, genre), tagger).items()):
            print(f"| {kind} | {names} | {right / names:.3f} |")
    print("\n| `LEAN` | " + " | ".join(GENRES) + " |\n|---" + "|---" * len(GENRES) + "|")
    for lean in LEANS:
        cells = [figures(sentences(given.data, genre), leaning(tagger, lean))[1:] for genre in GENRES]
        print(f"| {lean} | " + " | ".join(f"{recall:.3f} / {precision:.3f}" for recall, precision in cells) + " |")
    print("\n| documents of 2 KB a CPU-second | |\n|---|---|")
    for lang in ("en", "ko", "code"):
        print(f"| {lang} | {documents_a_second(given.data, lang, tagger):,.0f} |")


if __name__ == "__main__":
    main()

"""Personal data: precision and recall by label, and speed, against Presidio as it ships.

    python -m benchmarks.personal_data DATA        # the folder of development data (pii/, text/)

Presidio runs as it ships: AnalyzerEngine over whole documents, blank spaCy pipelines (neither side looks for names),
all predefined recognisers for English, and for Korean text the general ones with the five Korean ones switched on;
results with a score of 0.4 or more. "with words" makes each word its own lemma: blank pipelines leave lemmas empty, and
Presidio compares its context words with them. A span counts as found where a result with its label covers it.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import logging
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.documents import megabytes
from benchmarks.measuring import cpu_of
from pipeline.curation.personal_data import personal_data as stage

# (start, end, label) of each result in each text.
Found = list[list[tuple[int, int, str]]]

# Labels of the data sets -> the label that both sides are asked for.
SAME = {
    "US_PHONE": "PHONE_NUMBER", "KR_PHONE": "PHONE_NUMBER", "KR_LANDLINE": "PHONE_NUMBER", "KR_RRN_NOCHECK": "KR_RRN",
}  # fmt: skip
# Labels of presidio-research that neither side looks for without a model.
NOT_ASKED = {
    "PERSON", "STREET_ADDRESS", "GPE", "ORGANIZATION", "DATE_TIME", "TITLE", "AGE", "NRP", "ZIP_CODE", "DOMAIN_NAME",
    "US_DRIVER_LICENSE",
}  # fmt: skip


def planted(data: Path) -> list[dict[str, Any]]:
    with gzip.open(data / "pii/planted.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def synthetic(data: Path) -> list[dict[str, Any]]:
    with gzip.open(data / "pii/presidio_synth_v2.json.gz", "rt", encoding="utf-8") as file:
        rows = json.load(file)
    return [
        {
            "text": row["full_text"],
            "lang": "en",
            "decoys": [],
            "spans": [
                {"start": s["start_position"], "end": s["end_position"], "label": s["entity_type"]}
                for s in row["spans"]
            ],
        }
        for row in rows
    ]


# -- both sides --------------------------------------------------------------------------------------------------------


def ours(texts: list[str]) -> Found:
    settings = stage.Settings()
    decisions = stage.decide(stage.signals(pl.DataFrame({"text": texts}), settings, {}), settings)
    return [[(e["start"], e["end"], e["label"]) for e in edits or []] for edits in decisions["edits"].to_list()]


def presidio(texts: list[str], langs: list[str], words: bool = False) -> Found:
    found = []
    for text, lang in zip(texts, langs):
        results = engine(words).analyze(text, "ko" if lang == "ko" else "en", score_threshold=0.4)
        found.append([(r.start, r.end, r.entity_type) for r in results if r.entity_type not in ("URL", "DATE_TIME")])
    return found


@functools.cache
def engine(words: bool) -> Any:
    """Presidio's engine as it ships, without a model; `words`: with each word as its own lemma."""
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer import predefined_recognizers as known
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    logging.getLogger("presidio-analyzer").setLevel(logging.CRITICAL)

    @spacy.Language.component("as_written")
    def as_written(doc: Any) -> Any:
        for token in doc:
            token.lemma_ = token.text
        return doc

    class Blank(SpacyNlpEngine):
        def __init__(self) -> None:
            super().__init__(models=[{"lang_code": "en", "model_name": "-"}, {"lang_code": "ko", "model_name": "-"}])
            blank = {"en": spacy.blank("en"), "ko": spacy.blank("xx")}
            for nlp in blank.values():
                nlp.max_length = 10_000_000
                if words:
                    nlp.add_pipe("as_written")
            self.nlp: Any = blank

    nlp = Blank()
    registry = RecognizerRegistry(supported_languages=["en", "ko"])
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=nlp)
    for kind in (
        known.EmailRecognizer, known.CreditCardRecognizer, known.IbanRecognizer, known.IpRecognizer,
        known.PhoneRecognizer, known.KrRrnRecognizer, known.KrPassportRecognizer,
        known.KrDriverLicenseRecognizer, known.KrFrnRecognizer,
        known.KrBrnRecognizer,
    ):  # fmt: skip
        registry.add_recognizer(kind(supported_language="ko"))
    registry.recognizers = [r for r in registry.recognizers if "Spacy" not in type(r).__name__]
    return AnalyzerEngine(registry, nlp, supported_languages=["en", "ko"])


# -- how right they are ------------------------------------------------------------------------------------------------


def quality(rows: list[dict[str, Any]]) -> None:
    """Print recall and precision by label, and how many decoys each side replaces."""
    texts, langs = [row["text"] for row in rows], [row["lang"] for row in rows]
    sides = {
        "ours": ours(texts),
        "presidio": presidio(texts, langs),
        "presidio with words": presidio(texts, langs, words=True),
    }
    labels = Counter(span["label"] for row in rows for span in row["spans"])
    print(head("label", "spans", *(f"{side}: recall" for side in sides)))
    for label, count in sorted(labels.items()):
        if label not in NOT_ASKED or label == "PERSON":
            shares = [f"{recall(rows, found, label) / count:.3f}" for found in sides.values()]
            print(f"| {label} | {count} | " + " | ".join(shares) + " |")
    print("\n" + head("label found", *(f"{side}: precision (found)" for side in sides)))
    right = [precision(rows, found) for found in sides.values()]
    for label in sorted({label for of_side in right for label in of_side}):
        cells = []
        for of_side in right:
            correct, results = of_side.get(label, (0, 0))
            cells.append(f"{correct / results:.3f} ({results})" if results else "-")
        print(f"| {label} | " + " | ".join(cells) + " |")
    decoys = sum(len(row["decoys"]) for row in rows)
    if decoys:
        replaced = [f"{side} {decoys_replaced(rows, found)}" for side, found in sides.items()]
        print(f"\nOf {decoys} decoys replaced: " + ", ".join(replaced))


def head(*columns: str) -> str:
    return "| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|"


def recall(rows: list[dict[str, Any]], found: Found, label: str) -> int:
    """How many spans of the label a result of it covers."""
    wanted = SAME.get(label, label)
    return sum(
        any(a <= span["start"] and b >= span["end"] and kind == wanted for a, b, kind in spans)
        for row, spans in zip(rows, found)
        for span in row["spans"]
        if span["label"] == label
    )


def precision(rows: list[dict[str, Any]], found: Found) -> dict[str, tuple[int, int]]:
    """By label: results that lie on a span of that label, and all results."""
    correct: Counter[str] = Counter()
    results: Counter[str] = Counter()
    for row, spans in zip(rows, found):
        for a, b, label in spans:
            results[label] += 1
            correct[label] += any(
                a < s["end"] and b > s["start"] and SAME.get(s["label"], s["label"]) == label for s in row["spans"]
            )
    return {label: (correct[label], count) for label, count in results.items()}


def decoys_replaced(rows: list[dict[str, Any]], found: Found) -> int:
    return sum(
        any(a < decoy["end"] and b > decoy["start"] for a, b, _ in spans)
        for row, spans in zip(rows, found)
        for decoy in row["decoys"]
    )


# -- how fast they are -------------------------------------------------------------------------------------------------


def speed(data: Path) -> None:
    """Print the throughput on real text: all of it for ours, every twentieth document for both."""
    frame = pl.concat(
        [pl.read_parquet(path, columns=["text", "lang"]) for path in sorted((data / "text").glob("*.parquet"))]
    )
    part = frame.gather_every(20)
    ours(["warm up a@naver.com"]), presidio(["warm up a@naver.com"], ["en"])
    print("\n### speed, real text (CPU seconds of all threads)\n")
    print(head("", "documents", "MB", "docs/cpu-s", "MB/cpu-s"))
    for name, rows, side in (
        ("ours, all", frame, lambda texts, langs: ours(texts)),
        ("ours, every 20th", part, lambda texts, langs: ours(texts)),
        ("presidio alone, every 20th", part, presidio),
    ):
        size = megabytes(rows["text"])
        _, spent = cpu_of(partial(side, rows["text"].to_list(), rows["lang"].to_list()))
        print(f"| {name} | {rows.height:,} | {size:.1f} | {rows.height / spent:,.0f} | {size / spent:.2f} |")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of development data")
    return parser


def main() -> None:
    data = arguments().parse_args().data
    for name, rows in (("planted", planted(data)), ("presidio-research", synthetic(data))):
        print(f"\n### {name}: {len(rows)} texts\n")
        quality(rows)
    speed(data)


if __name__ == "__main__":
    main()

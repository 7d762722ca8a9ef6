"""Personal data: precision and recall by label, and speed, beside Presidio as it ships.

    python benchmarks/personal_data.py DATA        # DATA: the folder of development data (pii/, text/)

Presidio runs as it ships: AnalyzerEngine over whole documents, blank spaCy pipelines (no names are looked for on either
side), all predefined recognisers for English, and for Korean text those of general use with the five Korean ones
switched on; results of score 0.4 and more. "with words" gives it each word as its own lemma, which blank pipelines
leave empty and its context words are compared with. A span counts as found where a result of its label covers it.
"""

from __future__ import annotations

import gzip
import json
import logging
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.curation.personal_data import personal_data as stage

# Labels of the data sets -> the label that both sides are asked for.
SAME = {
    "US_PHONE": "PHONE_NUMBER", "KR_PHONE": "PHONE_NUMBER", "KR_LANDLINE": "PHONE_NUMBER", "KR_RRN_NOCHECK": "KR_RRN",
}  # fmt: skip
# Labels of presidio-research that neither side looks for without a model.
NOT_ASKED = {
    "PERSON", "STREET_ADDRESS", "GPE", "ORGANIZATION", "DATE_TIME", "TITLE", "AGE", "NRP", "ZIP_CODE", "DOMAIN_NAME",
    "US_DRIVER_LICENSE",
}  # fmt: skip


def main() -> None:
    data = Path(sys.argv[1])
    for name, rows in (("planted", planted(data)), ("presidio-research", synthetic(data))):
        print(f"\n### {name}: {len(rows)} texts\n")
        quality(rows)
    speed(data)


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


def quality(rows: list[dict[str, Any]]) -> None:
    texts, langs = [row["text"] for row in rows], [row["lang"] for row in rows]
    sides = {
        "ours": ours(texts),
        "presidio": presidio(texts, langs),
        "presidio with words": presidio(texts, langs, words=True),
    }
    labels = Counter(span["label"] for row in rows for span in row["spans"])
    print("| label | spans | " + " | ".join(f"{side}: recall" for side in sides) + " |")
    print("|---|---|" + "---|" * len(sides))
    for label, count in sorted(labels.items()):
        if label in NOT_ASKED and label != "PERSON":
            continue
        found = [recall(rows, spans, label) / count for spans in sides.values()]
        print(f"| {label} | {count} | " + " | ".join(f"{value:.3f}" for value in found) + " |")
    print("\n| label found | " + " | ".join(f"{side}: precision (found)" for side in sides) + " |")
    print("|---|" + "---|" * len(sides))
    every = sorted({label for spans in sides.values() for row in spans for _, _, label in row})
    precise = {side: precision(rows, spans) for side, spans in sides.items()}
    for label in every:
        cells = [
            f"{of[label][0] / of[label][1]:.3f} ({of[label][1]})" if of[label][1] else "-" for of in precise.values()
        ]
        print(f"| {label} | " + " | ".join(cells) + " |")
    decoys = sum(len(row["decoys"]) for row in rows)
    if decoys:
        hit = [
            sum(
                any(a < decoy["end"] and b > decoy["start"] for a, b, _ in found)
                for row, found in zip(rows, spans)
                for decoy in row["decoys"]
            )
            for spans in sides.values()
        ]  # fmt: skip
        print(f"\nOf {decoys} decoys replaced: " + ", ".join(f"{side} {n}" for side, n in zip(sides, hit)))


def recall(rows: list[dict[str, Any]], found: list[list[tuple[int, int, str]]], label: str) -> int:
    wanted = SAME.get(label, label)
    return sum(
        any(a <= span["start"] and b >= span["end"] and kind == wanted for a, b, kind in spans)
        for row, spans in zip(rows, found)
        for span in row["spans"]
        if span["label"] == label
    )


def precision(rows: list[dict[str, Any]], found: list[list[tuple[int, int, str]]]) -> dict[str, list[int]]:
    """label -> [results that lie on a span of that label, results]."""
    counts: dict[str, list[int]] = {label: [0, 0] for spans in found for _, _, label in spans}
    for row, spans in zip(rows, found):
        for a, b, label in spans:
            counts[label][1] += 1
            counts[label][0] += any(
                a < s["end"] and b > s["start"] and SAME.get(s["label"], s["label"]) == label for s in row["spans"]
            )
    return Default(counts)


class Default(dict):
    def __missing__(self, key: str) -> list[int]:
        return [0, 0]


def ours(texts: list[str]) -> list[list[tuple[int, int, str]]]:
    settings = stage.Settings()
    decisions = stage.decide(stage.signals(pl.DataFrame({"text": texts}), settings, {}), settings)
    return [[(e["start"], e["end"], e["label"]) for e in edits or []] for edits in decisions["edits"].to_list()]


_ENGINES: dict[bool, Any] = {}


def presidio(texts: list[str], langs: list[str], words: bool = False) -> list[list[tuple[int, int, str]]]:
    found = []
    for text, lang in zip(texts, langs):
        results = engine(words).analyze(text, "ko" if lang == "ko" else "en", score_threshold=0.4)
        found.append([(r.start, r.end, r.entity_type) for r in results if r.entity_type not in ("URL", "DATE_TIME")])
    return found


def engine(words: bool) -> Any:
    """Presidio's engine as it ships, without a model; `words`: with each word as its own lemma."""
    if words not in _ENGINES:
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
                super().__init__(
                    models=[{"lang_code": "en", "model_name": "-"}, {"lang_code": "ko", "model_name": "-"}]
                )
                self.nlp = {"en": spacy.blank("en"), "ko": spacy.blank("xx")}
                for nlp in self.nlp.values():
                    nlp.max_length = 10_000_000
                    if words:
                        nlp.add_pipe("as_written")

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
        _ENGINES[words] = AnalyzerEngine(registry, nlp, supported_languages=["en", "ko"])
    return _ENGINES[words]


def speed(data: Path) -> None:
    """CPU seconds on real text: all of it for ours, every twentieth document for both."""
    frame = pl.concat(
        [pl.read_parquet(path, columns=["text", "lang"]) for path in sorted((data / "text").glob("*.parquet"))]
    )
    part = frame.gather_every(20)
    ours(["warm up a@naver.com"]), presidio(["warm up a@naver.com"], ["en"])
    print("\n### speed, real text (CPU seconds of all threads)\n")
    print("| | documents | MB | docs/cpu-s | MB/cpu-s |\n|---|---|---|---|---|")
    for name, rows, run in (
        ("ours, all", frame, lambda f: ours(f["text"].to_list())),
        ("ours, every 20th", part, lambda f: ours(f["text"].to_list())),
        ("presidio alone, every 20th", part, lambda f: presidio(f["text"].to_list(), f["lang"].to_list())),
    ):
        size = rows["text"].str.len_bytes().sum() / 1e6
        start = time.process_time()
        run(rows)
        spent = time.process_time() - start
        print(f"| {name} | {rows.height:,} | {size:.1f} | {rows.height / spent:,.0f} | {size / spent:.2f} |")


if __name__ == "__main__":
    main()

"""Presets of the heuristics against the filters that they stand for: the same decision by every rule.

    python -m benchmarks.presets_vs_peers DATA --peer PEER_VENV/bin/python [--limit 300]

PEER_VENV is an environment with `datatrove[multilingual]==0.10.*` (spaCy, and Kiwi below 0.22); never install datatrove
into the project's own, which needs `kiwipiepy` (the extra `korean`). DATA/text holds Parquet files with `text` and
`lang`, DATA/quality web pages. The documents are those whose hash begins with 8 to f; the others were looked at while
the rules were written. For each rule, datatrove's filter runs with every other rule switched off.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import polars as pl

from benchmarks.measuring import output_of
from pipeline.curation.filters import heuristics, published
from pipeline.curation.rules import in_force

PEER = """
import json, sys, time
import polars as pl
from datatrove.data import Document
from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.filters.c4_filters import C4QualityFilter
texts, lang = pl.read_parquet(sys.argv[1])["text"].to_list(), sys.argv[3]
presets = json.loads(sys.argv[4])
OFF = {"quality": dict.fromkeys(["min_doc_words", "max_doc_words", "min_avg_word_length", "max_avg_word_length",
           "max_symbol_word_ratio", "max_bullet_lines_ratio", "max_ellipsis_lines_ratio", "max_non_alpha_words_ratio",
           "min_stop_words"]),
       "repetition": dict.fromkeys(["dup_line_frac", "dup_para_frac", "dup_line_char_frac", "dup_para_char_frac"])
           | {"top_n_grams": (), "dup_n_grams": ()},
       "c4": {"filter_lorem_ipsum": False, "filter_curly_bracket": False, "min_num_sentences": -1},
       "fineweb": {"line_punct_thr": 0, "short_line_thr": 999, "char_duplicates_ratio": 999, "new_line_ratio": 999}}
MAKE = {"quality": GopherQualityFilter, "repetition": GopherRepetitionFilter, "c4": C4QualityFilter,
        "fineweb": FineWebQualityFilter}
out, seconds = {}, {}
for preset, given in presets.items():
    whole = [MAKE[kind](language=lang, **given["whole"].get(kind, {})) for kind in given["filters"]]
    single = {rule: MAKE[kind](language=lang, **{**OFF[kind], **arguments})
              for rule, (kind, arguments) in given["rules"].items()}
    whole[0].filter(Document(text=texts[0], id="0"))
    started = time.process_time()
    found = {"whole": [next((1 for f in whole if f.filter(Document(text=text, id="0")) is not True), 0)
                       for text in texts]}
    seconds[preset] = time.process_time() - started
    for rule in single:
        found[rule] = []
    for text in texts:
        for rule, judge in single.items():
            found[rule].append(int(judge.filter(Document(text=text, id="0")) is not True))
    out[preset] = found
json.dump({"found": out, "seconds": seconds}, open(sys.argv[2], "w"))
"""
QUALITY = {
    "min_words": ("min_doc_words", "gopher_short_doc"),
    "max_words": ("max_doc_words", "gopher_long_doc"),
    "word_length.0": ("min_avg_word_length", "gopher_below_avg_threshold"),
    "word_length.1": ("max_avg_word_length", "gopher_above_avg_threshold"),
    "max_symbols": ("max_symbol_word_ratio", "gopher_too_many_hashes"),
    "max_bullet_lines": ("max_bullet_lines_ratio", "gopher_too_many_bullets"),
    "max_ellipsis_lines": ("max_ellipsis_lines_ratio", "gopher_too_many_end_ellipsis"),
    "min_alpha_words": ("max_non_alpha_words_ratio", "gopher_below_alpha_threshold"),
    "min_stop_words": ("min_stop_words", "gopher_enough_stop_words"),
}
REPETITION = {
    "dup_lines": ("dup_line_frac", "dup_line_frac"),
    "dup_line_chars": ("dup_line_char_frac", "dup_line_char_frac"),
    "dup_paragraphs": ("dup_para_frac", "dup_para_frac"),
    "dup_paragraph_chars": ("dup_para_char_frac", "dup_para_char_frac"),
}
FINEWEB = {
    "min_ended_lines": ("line_punct_thr", "line_punct_ratio"),
    "max_short_lines": ("short_line_thr", "short_line_ratio"),
    "max_dup_line_chars": ("char_duplicates_ratio", "char_dup_ratio"),
    "max_newlines": ("new_line_ratio", "list_ratio"),
}
# datatrove has one limit for both symbols, so its rule for either stands for both of ours.
SYMBOLS = ("gopher_too_many_hashes", "gopher_too_many_ellipsis")


def peer_arguments(preset: str) -> dict[str, Any]:
    """What datatrove is called with: the filters of a preset with all its limits, and each rule alone."""
    settings = heuristics.Settings.model_validate({"preset": preset})
    stop_words = list(published.PRESET_STOP_WORDS.get(preset, heuristics.STOP_WORDS))
    rules: dict[str, tuple[str, dict[str, Any]]] = {}
    groups = settings.groups()
    for group, kind, table in (("gopher", "quality", QUALITY), ("repetition", "repetition", REPETITION),
                               ("fineweb", "fineweb", FINEWEB)):  # fmt: skip
        for setting, (argument, rule) in table.items() if group in groups else ():
            value = getattr(settings, group)
            for part in setting.split("."):
                value = value[int(part)] if part.isdigit() else getattr(value, part)
            if value != 1 or group == "gopher":  # a share of 1 switches the rule off
                rules[rule] = (kind, {argument: value} | ({"stop_words": stop_words} if kind == "quality" else {}))
    if "repetition" in groups:
        for n, value in zip((2, 3, 4), settings.repetition.top, strict=True):
            rules[f"top_{n}_gram"] = ("repetition", {"top_n_grams": [[n, value]]})
        for n, value in zip(range(5, 11), settings.repetition.duplicate, strict=True):
            rules[f"duplicated_{n}_n_grams"] = ("repetition", {"dup_n_grams": [[n, value]]})
    if "c4" in groups:
        rules |= {
            "lorem_ipsum": ("c4", {"filter_lorem_ipsum": True}),
            "curly_bracket": ("c4", {"filter_curly_bracket": True}),
            "too_few_sentences": ("c4", {"min_num_sentences": settings.c4.min_sentences}),
        }
    # All the limits of a filter together; where the preset is datatrove's defaults, they are these.
    whole: dict[str, dict[str, Any]] = {}
    for kind, arguments in rules.values():
        limits = {name: (whole.get(kind, {}).get(name, []) + value if name.endswith("_grams") else value)
                  for name, value in arguments.items()}  # fmt: skip
        whole.setdefault(kind, {}).update(limits)
    if preset == published.KOREAN_ALONE:
        whole["repetition"] |= {"dup_line_char_frac": 0, "dup_para_frac": 0, "dup_para_char_frac": 0}
        whole["fineweb"] |= {"short_line_thr": 999}
    filters = [kind for kind in ("repetition", "quality", "c4", "fineweb") if kind in whole]
    return {"rules": rules, "filters": filters, "whole": whole}


def theirs(texts: pl.Series, python: str, lang: str, presets: list[str]) -> dict[str, Any]:
    """datatrove's decisions (1: removed) by preset and rule, and its CPU seconds by preset."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "texts.parquet", Path(folder) / "peer.json"
        texts.alias("text").to_frame().write_parquet(source)
        asked = json.dumps({preset: peer_arguments(preset) for preset in presets})
        output_of([python, "-c", PEER, str(source), str(target), lang, asked])
        found: dict[str, Any] = json.loads(target.read_text())
        return found


def ours(texts: pl.Series, lang: str, preset: str) -> tuple[dict[str, list[bool]], float]:
    """Our decisions by rule and as a whole, and the CPU seconds of the whole."""
    settings = heuristics.Settings.model_validate({"preset": preset})
    documents = texts.alias("text").to_frame().with_columns(
        source=pl.lit("s"), lang=pl.lit(lang), lang_found=pl.lit(True)
    )  # fmt: skip
    heuristics.signals(documents.head(3), settings, {})
    started = time.process_time()
    signals = heuristics.signals(documents, settings, {})
    kept = heuristics.decide(signals, settings)["keep"]
    seconds = time.process_time() - started
    rules = [rule for rule in in_force(heuristics.RULES, settings) if published.SWITCH in rule.switches]
    found = {rule.name: signals.select(rule.broken(settings).fill_null(False)).to_series().to_list() for rule in rules}
    found[SYMBOLS[0]] = (
        [any(pair) for pair in zip(*(found.pop(name) for name in SYMBOLS))] if SYMBOLS[0] in found else []
    )
    return {**found, "whole": (~kept).to_list()}, seconds


def asked_of(lang: str) -> list[str]:
    """The presets that are for a language."""
    return [preset for preset in published.PRESETS if lang == "ko" or preset != published.KOREAN_ALONE]


def agreement(texts: pl.Series, python: str, lang: str) -> dict[str, dict[str, float]]:
    """By preset and rule, and for the `whole`: the share of texts on which both sides decide alike."""
    presets = asked_of(lang)
    other = theirs(texts, python, {"ko": "kor", "en": "eng"}[lang], presets)["found"]
    shares: dict[str, dict[str, float]] = {}
    for preset in presets:
        found, _ = ours(texts, lang, preset)
        shares[preset] = {
            rule: sum(int(a) == int(b) for a, b in zip(found[rule], removed, strict=True)) / len(texts)
            for rule, removed in other[preset].items()
        }
    return shares


def kept_aside(texts: pl.Series, limit: int) -> pl.Series:
    """At most `limit` texts whose hash begins with 8 to f, the lowest hashes first: a random sample."""
    hashes = pl.Series([hashlib.sha256(text.encode()).hexdigest() for text in texts.to_list()])
    chosen = pl.DataFrame({"text": texts, "hash": hashes}).filter(pl.col("hash") >= "8").unique("hash").sort("hash")
    return chosen["text"].head(limit)


def pages(data: Path) -> dict[str, pl.Series]:
    """The texts to compare on, by name: `en` and `ko` of the development text, `pages` of the web."""
    text = pl.read_parquet(data / "text" / "*.parquet", columns=["text", "lang"])
    web = pl.read_ndjson(data / "quality" / "dclm_human_labels.jsonl.gz", ignore_errors=True)
    column = next(name for name in ("text", "content", "body") if name in web.columns)
    by_lang = {lang: text.filter(pl.col("lang") == lang)["text"].drop_nulls() for lang in ("en", "ko")}
    return {**by_lang, "pages": web[column].drop_nulls()}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with text/ and quality/")
    parser.add_argument("--peer", required=True, help="Python of an environment with datatrove")
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--only", nargs="*", default=["en", "ko", "pages"], help="which of: en, ko, pages")
    return parser


def main() -> None:
    given = arguments().parse_args()
    for name, texts in pages(given.data).items():
        if name not in given.only:
            continue
        texts, lang = kept_aside(texts, given.limit), "ko" if name == "ko" else "en"
        presets = asked_of(lang)
        other = theirs(texts, given.peer, {"ko": "kor", "en": "eng"}[lang], presets)
        print(
            f"\n{name}: {len(texts):,} documents\n\n"
            "| preset: rule | ours | datatrove | same decision |\n|---|---|---|---|"
        )
        for preset in presets:
            found, seconds = ours(texts, lang, preset)
            for rule, removed in other["found"][preset].items():
                own = [int(one) for one in found[rule]]
                same = sum(a == b for a, b in zip(own, removed, strict=True)) / len(own)
                print(f"| {preset}: {rule} | {sum(own)} | {sum(removed)} | {same:.2%} |")
            rates = (len(texts) / seconds, len(texts) / other["seconds"][preset])
            print(f"| {preset}: documents/cpu-s | {rates[0]:,.0f} | {rates[1]:,.0f} | |")


if __name__ == "__main__":
    main()

"""Rows of `benchmarks.quality_of_filters` that other benchmarks measure in full: (what, of how many, figure)."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from benchmarks import names_of_people, personal_phrasings, presets_vs_peers
from benchmarks.phrasings import NEGATIVES
from benchmarks.quality_of_dedup import item_sets
from pipeline.curation import contamination
from pipeline.curation.evaluation_items import all_items, index_of
from pipeline.curation.filters import language
from pipeline.curation.personal_data.names.tagger import load

Row = tuple[str, object, str]
MIXED = 10  # sentences of each language of a document in two


def labels_of(texts: list[str], column: str = "label") -> pl.Series:
    """The language that the language stage finds when nothing is declared; `second`: the second one."""
    frame = pl.DataFrame({"text": texts, "source": "s"}).with_columns(lang=pl.lit(None, pl.String))
    return language.signals(frame, language.Settings(), {})[column]


def languages(data: Path) -> Iterator[Row]:
    """Sentences of known language, Korean with character references, and documents in two languages."""
    told = pl.read_parquet(data / "lid/lingua.parquet").filter(pl.col("unit").str.starts_with("sentence"))
    by_lang = {str(lang): part["text"].to_list() for (lang,), part in told.sort("lang", "id").group_by("lang")}
    for lang in ("ko", "en", "ja", "zh"):
        yield f"sentences of `{lang}` labelled so", len(by_lang[lang]), percent(labels_of(by_lang[lang]) == lang)
    pages = [html_page(by_lang["ko"][at : at + MIXED]) for at in range(0, len(by_lang["ko"]), MIXED)]
    yield "Korean pages in HTML with character references, labelled `ko`", len(pages), percent(labels_of(pages) == "ko")
    for lang in ("ko", "ja", "zh"):
        mixed = in_two_languages(by_lang["en"], by_lang[lang])
        both = pl.Series([{*pair} == {"en", lang} for pair in zip(labels_of(mixed), labels_of(mixed, "second"))])
        yield f"documents in `en` and a third as long in `{lang}`, both named", len(mixed), percent(both)


def in_two_languages(one: list[str], other: list[str]) -> list[str]:
    """Documents of MIXED sentences of one language and of as many of the other as have a third of the characters."""
    rest, made = list(other), []
    for at in range(0, len(one) - MIXED, MIXED):
        first, second = " ".join(one[at : at + MIXED]), ""
        while rest and 3 * len(second) < len(first):
            second += rest.pop() + " "
        if rest:
            made.append(f"{first}\n{second}")
    return made


def percent(flags: pl.Series) -> str:
    return f"{flags.sum() / len(flags):.1%}"


def html_page(sentences: list[str]) -> str:
    """A page whose letters beyond ASCII are numeric character references."""
    body = "".join(f'<p class="text">{html.escape(sentence)}</p>\n' for sentence in sentences)
    return f"<html><body>\n{body}</body></html>".encode("ascii", "xmlcharrefreplace").decode()


def personal_data() -> Iterator[Row]:
    """Values in phrasings that nobody has tuned on, by kind, and sentences without any."""
    by_kind, _ = personal_phrasings.measured(personal_phrasings.planted("unseen"))
    for kind, (values, found, wrong) in by_kind.items():
        precision = found / max(1, found + wrong)
        yield f"personal data, {kind}: recall, precision", values, f"{found / values:.3f}, {precision:.3f}"
    changed = sum(bool(spans) for spans in personal_phrasings.found_in(NEGATIVES))
    yield "sentences without personal data that are changed", len(NEGATIVES), str(changed)


def names(data: Path) -> Iterator[Row]:
    """Names of people in sentences that the tagger was not taught with."""
    tagger = load()
    for genre in names_of_people.GENRES:
        count, recall, precision = names_of_people.figures(names_of_people.sentences(data, genre), tagger)
        yield f"names of people, {genre}: recall, precision", count, f"{recall:.3f}, {precision:.3f}"
    for lang in ("en", "ko"):
        rate = names_of_people.documents_a_second(data, lang, tagger)
        yield f"names of people, `{lang}`: documents of 2 KB a CPU-second", "", f"{rate:,.0f}"


def evaluation_items(data: Path, text: pl.DataFrame) -> Iterator[Row]:
    """Documents of the development text that the items of common evaluations accuse, at the default settings."""
    cache = data / ".cache"  # files on this machine need none
    sets = item_sets(data / "eval")
    items = all_items(sets, {chosen.name: chosen.contents(cache, print) for chosen in sets}, cache, print)
    index = index_of(items)
    known = index.items.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("item"), "set", "id", "grams")
    hits = contamination.find(text["text"], index)
    accused = contamination.contaminated_documents(hits, known, contamination.Settings())
    by_set = accused["item_set"].value_counts(sort=True).head(4)
    named = ", ".join(f"{name} {count}" for name, count in by_set.iter_rows())
    yield f"documents with a span of one of {len(items):,} evaluation items", text.height, f"{accused.height} ({named})"


def presets(data: Path, python: str, limit: int) -> Iterator[Row]:
    """Decisions of the published presets, equal to datatrove's in another environment."""
    for name, texts in presets_vs_peers.pages(data).items():
        lang = "ko" if name == "ko" else "en"
        chosen = presets_vs_peers.kept_aside(texts, limit // 3 if lang == "ko" else limit)
        for preset, shares in presets_vs_peers.agreement(chosen, python, lang).items():
            figure = f"{shares['whole']:.1%}; {min(shares.values()):.1%}"
            yield f"`{preset}` on `{name}`, the same decision as datatrove; by its worst rule", len(chosen), figure

"""The figures of published filters, counted as datatrove 0.10 counts them, which the presets of the heuristics use.

This project's own differ on purpose (docs/guide/filters.md). Here the text is read as it is, with code and tags; words
are spaCy's or Kiwi's tokens; blank lines count where the published code counts them; repeated n-grams are found
from left to right, and one that was found is stepped over.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pipeline.curation.filters.gopher_repetition import DUPLICATE, TOP, occurred_before
from pipeline.text.peer_words import kiwi_sentences, kiwi_words, spacy_sentences, spacy_words
from pipeline.text.segments import Segments
from pipeline.text.words import RunHashes

GROUPS = ("gopher", "repetition", "c4", "fineweb")
# datatrove's PUNCTUATION_SET: a list of its own, control characters, and the ends of sentences of all scripts.
SYMBOLS = (
    r"!/—”:％１〈&(、━\\【#%「」，】；+^\]~“《„';’{|∶´\[=\-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\p{Sentence_Terminal}"
)
LINE_BREAKS = "[\\r\\x0b\\x0c\\x1c-\\x1e\\x85\\u{2028}\\u{2029}]"  # what else ends a line in Python's `splitlines`
CITATION = r"\[\d*\]|\[edit\]|\[citation needed\]"
C4_ENDS = r"""[.?!"']$"""
C4_LONGEST_WORD, C4_FEWEST_WORDS = 1000, 3
C4_POLICY = r"terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies"
SHORT = 30


def published_columns(texts: pl.Series, korean: pl.Series, groups: set[str], stop_words: list[str]) -> pl.DataFrame:
    """The figures of the groups of rules in force (see GROUPS), one row per text; shares and ratios are f64.

    korean: whether a text is split into words by Kiwi (else by spaCy's English rules). Raises UserError if it is needed
    and not installed.
    """
    parts = [pl.DataFrame({"length": texts.str.len_chars()})]
    if groups & {"gopher", "repetition", "fineweb"}:
        words = _words(texts, korean)
        parts += [_gopher(texts, words, stop_words)] if "gopher" in groups else []
        parts += [_repetition(texts, words)] if "repetition" in groups else []
        parts += [_fineweb(texts, words)] if "fineweb" in groups else []
    parts += [_c4(texts, korean)] if "c4" in groups else []
    return pl.concat(parts, how="horizontal").drop("length")


def _words(texts: pl.Series, korean: pl.Series) -> Segments:
    if not korean.any():
        return spacy_words(texts)
    rows = [which.arg_true().cast(pl.Int64).to_numpy() for which in (~korean, korean)]
    parts = [spacy_words(texts.filter(~korean)), kiwi_words(texts.filter(korean))]
    of = np.concatenate([own[part.text_index] for own, part in zip(rows, parts, strict=True)])
    order = np.argsort(of, kind="stable")
    return Segments(pl.concat([part.items for part in parts])[order], of[order], len(texts))


def _gopher(texts: pl.Series, words: Segments, stop_words: list[str]) -> pl.DataFrame:
    """Figures of GopherQualityFilter (Rae et al. 2021, appendix A1.1)."""
    # Most words occur often: what is said of a word is looked up once.
    _, one_of_each, which = np.unique(words.items.hash().to_numpy(), return_index=True, return_inverse=True)
    distinct = words.items.gather(one_of_each)
    spoken = distinct.str.contains(f"[^{SYMBOLS}]").to_numpy()[which]
    alpha = distinct.str.contains(r"\p{L}").to_numpy()[which]
    listed = distinct.is_in(stop_words).to_numpy()[which]
    total, number = words.total(), words.total(spoken)
    length = words.items.str.len_chars().to_numpy()
    lines = _split_lines(texts)
    first = ~occurred_before(words.items.filter(pl.Series(listed)).hash().to_numpy(), words.text_index[listed])
    stops = np.bincount(words.text_index[listed][first], minlength=len(texts))
    per_word = np.maximum(total, 1)
    return pl.DataFrame(
        {
            "words": number.astype(np.uint32),
            "word_length": words.total(length * spoken) / np.maximum(number, 1),
            "hashes": texts.str.count_matches("#", literal=True).to_numpy() / per_word,
            "ellipses": texts.str.count_matches(r"\.\.\.|…").to_numpy() / per_word,
            "bullet_lines": lines.share(lines.items.str.contains(r"^\s*[•-]")),
            "ellipsis_lines": lines.share(lines.items.str.contains(r"(?:\.\.\.|…)\s*$")),
            "alpha_words": words.total(alpha) / per_word,
            "stop_words": stops.astype(np.uint32),
        }
    )


def _split_lines(texts: pl.Series) -> Segments:
    """Lines as Python's `splitlines` gives them, blank ones included."""
    plain = texts.str.replace_all("\r\n", "\n", literal=True).str.replace_all(LINE_BREAKS, "\n")
    return _pieces(plain.str.replace(r"\n\z", ""), "\n")


def _pieces(texts: pl.Series, mark: str) -> Segments:
    lists = texts.str.split(mark)
    of = np.repeat(np.arange(len(lists)), lists.list.len().fill_null(0).to_numpy())
    return Segments(lists.explode(empty_as_null=False, keep_nulls=False), of, len(lists))


def _repetition(texts: pl.Series, words: Segments) -> pl.DataFrame:
    """Figures of GopherRepetitionFilter (Rae et al. 2021, appendix A1.1, table A1), per character of the text."""
    length = np.maximum(texts.str.len_chars().to_numpy().astype(np.float64), 1)
    columns: dict[str, np.ndarray] = {}
    for name, pieces in (
        ("paragraph", _pieces(texts.str.strip_chars().str.replace_all(r"\n{2,}", "\x00"), "\x00")),
        ("line", _pieces(texts.str.replace_all(r"\n+", "\n"), "\n")),
    ):
        again = occurred_before(pieces.items.hash().to_numpy(), pieces.text_index)
        columns[f"dup_{name}s"] = pieces.share(again)
        columns[f"dup_{name}_chars"] = pieces.total(again * pieces.items.str.len_chars().to_numpy()) / length
    hashes = RunHashes(words.items.hash().to_numpy())
    chars = np.concatenate([[0], np.cumsum(words.items.str.len_chars().to_numpy().astype(np.int64))])
    for n in (*TOP, *DUPLICATE):
        of, keys, size = _grams(words, hashes, chars, n)
        found = _top(of, keys, size + n - 1, len(texts)) if n in TOP else _stepping(of, keys, size, n, len(texts))
        columns[f"{'top' if n in TOP else 'dup'}_{n}"] = found / length
    return pl.DataFrame(columns)


def _grams(words: Segments, hashes: RunHashes, chars: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each run of n words within a text: the text (-1: it crosses into the next), its key, its characters."""
    keys = hashes.of_length(n)
    own, last = words.text_index[: len(keys)], words.text_index[n - 1 :]
    of = np.where(own == last, own, -1) if len(keys) else np.zeros(0, np.int64)
    return of, keys ^ (own.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)), chars[n:] - chars[: len(keys)]


def _top(of: np.ndarray, keys: np.ndarray, size: np.ndarray, texts: int) -> np.ndarray:
    """Characters, with spaces, of the most frequent n-gram of each text; of equally frequent ones, of the first."""
    taken = np.zeros(texts)
    inside = np.flatnonzero(of >= 0)
    owners, first = np.unique(of[inside], return_index=True)
    taken[owners] = size[inside[first]]  # of a text in which every n-gram occurs once
    twice = inside[pl.Series(keys[inside]).is_duplicated().to_numpy()]
    grams = pl.DataFrame({"of": of[twice], "key": keys[twice], "size": size[twice], "at": twice})
    counted = grams.group_by("of", "key").agg(times=pl.len(), at=pl.col("at").min(), size=pl.col("size").first())
    best = counted.sort("times", "at", descending=[True, False]).group_by("of").agg(pl.all().first())
    taken[best["of"].to_numpy()] = (best["times"] * best["size"]).to_numpy()
    return taken


def _stepping(of: np.ndarray, keys: np.ndarray, size: np.ndarray, n: int, texts: int) -> np.ndarray:
    """Characters in n-grams that occurred before, found from left to right, each one found being stepped over."""
    taken = np.zeros(texts)
    twice = pl.Series(keys).is_duplicated().to_numpy() & (of >= 0)
    places = np.flatnonzero(twice)
    known: set[int] = set()
    free, text = 0, -1
    for place, key, owner, chars in zip(
        places.tolist(), keys[places].tolist(), of[places].tolist(), size[places].tolist(), strict=True
    ):
        if owner != text:
            known, free, text = set(), 0, owner
        if place < free:
            continue
        if key in known:
            taken[owner] += chars
            free = place + n
        else:
            known.add(key)
    return taken


def _fineweb(texts: pl.Series, words: Segments) -> pl.DataFrame:
    """Figures of FineWebQualityFilter (Penedo et al. 2024, section 3.6)."""
    pieces = _pieces(texts, "\n")
    blank = ~pieces.items.str.contains(r"[^\s\x1c-\x1f]").to_numpy()
    lines = Segments(pieces.items.filter(pl.Series(~blank)), pieces.text_index[~blank], len(texts))
    length = lines.items.str.len_chars().to_numpy()
    again = occurred_before(lines.items.hash().to_numpy(), lines.text_index)
    characters = texts.str.replace_all("\n", "", literal=True).str.len_chars().to_numpy()
    return pl.DataFrame(
        {
            "ended_lines": lines.share(lines.items.str.contains(r"\p{Sentence_Terminal}$")),
            "short_lines_30": lines.share(length <= SHORT),
            "repeated_line_chars": lines.total(length * again) / np.maximum(characters, 1),
            "newlines": texts.str.count_matches("\n", literal=True).to_numpy() / np.maximum(words.total(), 1),
        }
    )


def _c4(texts: pl.Series, korean: pl.Series) -> pl.DataFrame:
    """Figures of C4QualityFilter (Raffel et al. 2020, section 2.2), over the lines that it would keep."""
    pieces = _split_lines(texts)
    line = pl.col("line")
    frame = pl.DataFrame({"line": pieces.items.str.strip_chars(), "of": pieces.text_index})
    frame = frame.filter(
        ~line.str.contains(rf"\S{{{C4_LONGEST_WORD + 1}}}"), line.str.count_matches(r"\S+") >= C4_FEWEST_WORDS
    ).with_columns(line.str.replace_all(CITATION, ""))
    frame = frame.filter(line.str.contains(C4_ENDS), ~line.str.ends_with("..."))
    lower = line.str.to_lowercase()
    filler = frame.filter(lower.str.contains("lorem ipsum", literal=True))["of"]
    frame = frame.filter(~lower.str.contains("javascript", literal=True))
    braces = frame.filter(line.str.contains("{", literal=True))["of"]
    frame = frame.filter(~lower.str.contains(C4_POLICY))
    sentences = np.zeros(len(texts))
    kiwi = korean.gather(frame["of"])
    for which, count in ((~kiwi, spacy_sentences), (kiwi, kiwi_sentences)):
        part = frame.filter(which)
        if part.height:
            sentences += np.bincount(part["of"].to_numpy(), weights=count(part["line"]), minlength=len(texts))
    rows = pl.Series(np.arange(len(texts)))
    return pl.DataFrame(
        {
            "lorem_ipsum": rows.is_in(filler.unique().to_list()),
            "braces": rows.is_in(braces.unique().to_list()),
            "sentences": sentences.astype(np.uint32),
        }
    )

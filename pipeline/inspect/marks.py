"""Where in a text a figure of a rule comes from: the passages that a person should see marked.

One function for each figure of the heuristics and of the keywords; a figure of the whole text, such as a perplexity or
a number of words, has none. The heuristics read prose without code, tags and addresses, so passages are found in what
they read and then looked up, line by line, in the document itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import polars as pl

from pipeline.curation.filters import code_rules, gopher_quality, heuristics, keywords, web_rules
from pipeline.settings import StageSettings
from pipeline.text.code_lines import without_blocks
from pipeline.text.kinds import detect_code
from pipeline.text.prose import TAGS, prose_of

Span = tuple[int, int]  # code points of the text
LETTERS = r"[^\W\d_]"
MOST = 200  # passages of a text
LISTED = " in 1,000 words"  # how the names of the keywords' figures end


def passages(signal: str | None, text: str, lang: str | None, settings: StageSettings | None = None) -> list[Span]:
    """The passages of a document that make up a figure, in order; none for a figure of the whole text.

    signal: the name of the figure, as in the limits of the rules. settings: those of its stage.
    """
    if signal is not None and signal.endswith(LISTED):
        own = tuple(settings.words) if isinstance(settings, keywords.Settings) else ()
        return _merged(_listed(signal.removesuffix(LISTED), own, text))
    find = FINDERS.get(signal or "")
    if find is None:
        return []
    whole = isinstance(settings, heuristics.Settings) and settings.published
    if signal in OF_THE_WHOLE or whole:
        return _merged(find(text))
    read, _ = as_read(text, lang)
    return _merged(_looked_up(find(read), read, text))


def as_read(text: str, lang: str | None) -> tuple[str, bool]:
    """What the heuristics read of a document, and whether they read it as code."""
    document = pl.DataFrame({"text": [text], "lang": pl.Series([lang], dtype=pl.String)})
    code, fenced = detect_code(document)
    return (text, True) if code[0] else (prose_of(without_blocks(document["text"], fenced))[0], False)


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif len(merged) < MOST and end > start:
            merged.append((start, end))
    return merged


def _looked_up(spans: Iterable[Span], read: str, text: str) -> Iterator[Span]:
    """Passages of what was read, by their places in the document; those whose line stands otherwise there are left
    out."""
    if read == text:
        yield from spans
        return
    ordered, begin = sorted(spans), 0
    lines = list(re.finditer(r"[^\n]*", read))
    at = 0
    for line in lines:
        words = line.group().strip()
        place = text.find(words, begin) if words else -1
        while at < len(ordered) and ordered[at][0] < line.end():
            if place >= 0:
                moved = place - line.start() - (len(line.group()) - len(line.group().lstrip()))
                yield ordered[at][0] + moved, min(ordered[at][1], line.end()) + moved
            at += 1
        begin = place + len(words) if place >= 0 else begin


# -- finders ----------------------------------------------------------------------------------------------------------


def matches(pattern: str, text: str) -> Iterator[Span]:
    """The matches of a pattern."""
    return (match.span() for match in re.finditer(pattern, text))


def _words(text: str) -> list[re.Match[str]]:
    return list(re.finditer(r"\S+", text))


def _lines(text: str) -> list[re.Match[str]]:
    """The non-blank lines without the white space around them."""
    return list(re.finditer(r"(?m)^[^\S\n]*(?P<line>\S(?:[^\n]*\S)?)", text))


def _lines_that(test: Callable[[str], bool], text: str) -> Iterator[Span]:
    return (line.span("line") for line in _lines(text) if test(line["line"]))


def _again(pieces: Sequence[re.Match[str]], group: str) -> Iterator[Span]:
    """The pieces that stood in the text before."""
    known: set[str] = set()
    for piece in pieces:
        if piece[group] in known:
            yield piece.span(group)
        known.add(piece[group])


def _paragraphs_again(text: str) -> Iterator[Span]:
    return _again(list(re.finditer(r"(?s)(?P<part>\S.*?)(?=\s*(?:\n[ \t]*\n|\Z))", text)), "part")


def _most_frequent(number: int, text: str) -> Iterator[Span]:
    """All occurrences of the most frequent n-gram; of equally frequent ones, of the longest."""
    words = _words(text)
    grams = [tuple(word.group() for word in words[at : at + number]) for at in range(len(words) - number + 1)]
    if not grams:
        return
    counts = Counter(grams)
    most = max(counts, key=lambda gram: (counts[gram], sum(map(len, gram))))
    if counts[most] > 1:
        yield from ((words[at].start(), words[at + number - 1].end()) for at, gram in enumerate(grams) if gram == most)


def _repeated(number: int, text: str) -> Iterator[Span]:
    """The n-grams that occurred before."""
    words, known = _words(text), set()
    for at in range(len(words) - number + 1):
        gram = tuple(word.group() for word in words[at : at + number])
        if gram in known:
            yield words[at].start(), words[at + number - 1].end()
        known.add(gram)


def _longest(pattern: str, text: str) -> Iterator[Span]:
    """The ten longest matches."""
    found = sorted(re.finditer(pattern, text), key=lambda match: -len(match.group()))
    return (match.span() for match in found[:10])


def _without_letters(text: str) -> Iterator[Span]:
    return (word.span() for word in _words(text) if re.search(r"\w", word.group()) and not re.search(LETTERS, word[0]))


def _listed(kind: str, own: tuple[str, ...], text: str) -> Iterator[Span]:
    """The words of a list. Word boundaries are ASCII ones, as in the filter."""
    pattern = keywords.patterns_of(own)[0].get(kind)
    if pattern:
        return (match.span() for match in re.finditer(pattern.replace(r"(?-u:\b)", r"\b"), text, re.ASCII))
    return iter(())


def _stop_words(text: str) -> Iterator[Span]:
    return matches(rf"(?i)\b(?:{'|'.join(gopher_quality.STOP_WORDS)})\b", text)


def _endings(text: str) -> Iterator[Span]:
    return matches(rf"(?<=[가-힣])(?:{'|'.join(gopher_quality.KOREAN_ENDINGS)})(?=[\s.,?!])", text)


FINDERS: dict[str, Callable[[str], Iterable[Span]]] = {
    "word_length": partial(_longest, r"[^\W_]+"),
    "hashes": partial(matches, "#+"),
    "ellipses": partial(matches, r"\.\.\.|…"),
    "bullet_lines": partial(_lines_that, lambda line: re.search(gopher_quality.BULLET, line) is not None),
    "ellipsis_lines": partial(_lines_that, lambda line: re.search(gopher_quality.ELLIPSIS_AT_END, line) is not None),
    "alpha_words": _without_letters,
    "stop_words": _stop_words,
    "korean_endings": _endings,
    "dup_lines": lambda text: _again(_lines(text), "line"),
    "dup_line_chars": lambda text: _again(_lines(text), "line"),
    "repeated_line_chars": lambda text: _again(_lines(text), "line"),
    "ended_lines": partial(_lines_that, lambda line: re.search(web_rules.TERMINAL, line) is not None),
    "dup_paragraphs": _paragraphs_again,
    "dup_paragraph_chars": _paragraphs_again,
    **{f"top_{number}": partial(_most_frequent, number) for number in (2, 3, 4)},
    **{f"dup_{number}": partial(_repeated, number) for number in (5, 6, 7, 8, 9, 10)},
    "lorem_ipsum": partial(matches, r"(?i)lorem ipsum"),
    "braces": partial(matches, r"\{"),
    "sentences": partial(matches, web_rules.SENTENCE_END),
    "ended_lines or ends": partial(_lines_that, lambda line: re.search(web_rules.TERMINAL, line) is not None),
    "short_lines_30": partial(_lines_that, lambda line: len(line) <= 30),
    "short_lines_15": partial(_lines_that, lambda line: len(line) <= 15),
    "markup": partial(matches, TAGS),
    "longest_line": partial(_longest, r"[^\n]+"),
    "mean_line": partial(_longest, r"[^\n]+"),
    "alnum": partial(matches, r"(?:[^\w\n]|_){4,}"),
    "generated": partial(matches, re.sub(r"\(\?i-u:", "(?i:", code_rules.GENERATED)),
}
OF_THE_WHOLE = ("markup", "longest_line", "mean_line", "alnum", "generated")  # of rules that read the document as it is

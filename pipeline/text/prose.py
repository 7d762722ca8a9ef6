"""The prose of a page of documentation: its text without code, tags and layout marks.

The heuristic rules were designed for text extracted from web pages. Applied to raw Markdown or HTML, they take headings
for hashtags and tags for repetition, so they are given only what a reader would read.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pipeline.text.buffers import buffers

# At the start of a line: in the middle of a line, `<script>` is only mentioned. What may follow the name is spelled
# out, since a Unicode word boundary would switch the fast engine off.
SCRIPTS_AND_STYLES = r"(?ims)^[ \t]*<(?:script|style)(?:[^\w<>][^<>]*)?>.*?</(?:script|style)\s*>|<!--.*?-->"
# A tag has a name of letters. `<unk>` and `Vec<T>` in running text may match too, which distorts no count.
LONGEST_TAG = 1000  # characters after its name
TAGS = rf"</?[A-Za-z][A-Za-z0-9-]*(?:\s[^<>]{{0,{LONGEST_TAG}}})?/?>"
_TAGS_OF_ANY_LENGTH = r"</?[A-Za-z][A-Za-z0-9-]*(?:\s[^<>]*)?/?>"  # does not count, so it takes a sixth of the time
# Rules and table borders; marks of headings and quotations at the margin; anchors after headings.
LAYOUT = (
    r"(?m)^[ \t]*[-=*_~#>|:+.\x60^]{2,}[-=*_~#>|:+.\x60^ \t]*$"
    r"|^[ \t]*(?:\d+[.)][ \t]+|[-*+][ \t]+)?#{1,6}[ \t]+"
    r"|^[ \t]*>[> \t]*|\{#[^{}\n]*\}[ \t]*$"
)
ADDRESS = r"https?://[^\s()<>\[\]\"']+"


def prose_of(texts: pl.Series) -> pl.Series:
    """The texts without tags, web addresses and layout marks. Remove code with `code_lines.without_blocks` first."""
    texts = without_tags(texts, texts.str.contains("<", literal=True))
    texts = remove_patterns(texts, texts.str.contains("http", literal=True), ADDRESS)
    return remove_patterns(texts, texts.str.contains(LAYOUT), LAYOUT)


def without_tags(texts: pl.Series, which: pl.Series) -> pl.Series:
    """The texts without tags, scripts and styles where `which` is true."""
    scripts = which & texts.str.contains_any(["<script", "<style", "<!--"], ascii_case_insensitive=True)
    texts = remove_patterns(texts, scripts, SCRIPTS_AND_STYLES)
    rows = which.arg_true()
    if not len(rows):
        return texts
    some = texts.gather(rows)
    return texts.clone().scatter(rows, _tags_removed(some))


def _tags_removed(texts: pl.Series) -> pl.Series:
    """The texts without TAGS. Only those that may hold a longer tag are searched with a pattern that counts."""
    found = texts.str.replace_all(_TAGS_OF_ANY_LENGTH, "")
    # What lost fewer bytes than a longer tag has, lost none.
    rows = (texts.str.len_bytes() - found.str.len_bytes() > LONGEST_TAG).arg_true()
    rows = rows.filter(pl.Series(_may_hold_longer(texts.gather(rows)), dtype=pl.Boolean))
    if not len(rows):
        return found
    return found.scatter(rows, texts.gather(rows).str.replace_all(TAGS, ""))


def _may_hold_longer(texts: pl.Series) -> np.ndarray:
    """Which texts hold more than LONGEST_TAG bytes from a `<` to the next `>`, without another bracket between."""
    data, offsets = buffers(texts)
    brackets = np.flatnonzero(data & np.uint8(0xFD) == ord("<"))  # both: they differ in one bit
    opens = data[brackets[:-1]] == ord("<")
    longer = brackets[:-1][opens & (data[brackets[1:]] == ord(">")) & (np.diff(brackets) > LONGEST_TAG)]
    result = np.zeros(len(texts), bool)
    result[np.searchsorted(offsets, longer, side="right") - 1] = True
    return result


def remove_patterns(texts: pl.Series, which: pl.Series, *patterns: str) -> pl.Series:
    """The texts with `patterns` removed where `which` is true; the others are returned unchanged."""
    some = texts.filter(which)
    if not len(some):
        return texts
    for pattern in patterns:
        some = some.str.replace_all(pattern, "")
    return texts.clone().scatter(which.arg_true(), some)

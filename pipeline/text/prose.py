"""The prose of a page of documentation: its text without code, tags and layout marks.

The heuristic rules were designed for text extracted from web pages. Applied to raw Markdown or HTML, they take headings
for hashtags and tags for repetition, so they are given only what a reader would read.
"""

from __future__ import annotations

import polars as pl

# At the start of a line: in the middle of a line, `<script>` is only mentioned.
SCRIPTS_AND_STYLES = r"(?ims)^[ \t]*<(?:script|style)\b[^<>]*>.*?</(?:script|style)\s*>|<!--.*?-->"
# A tag has a name of letters. `<unk>` and `Vec<T>` in running text may match too, which distorts no count.
TAGS = r"</?[A-Za-z][A-Za-z0-9-]*(?:\s[^<>]{0,1000})?/?>"
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
    return remove_patterns(remove_patterns(texts, scripts, SCRIPTS_AND_STYLES), which, TAGS)


def remove_patterns(texts: pl.Series, which: pl.Series, *patterns: str) -> pl.Series:
    """The texts with `patterns` removed where `which` is true; the others are returned unchanged."""
    some = texts.filter(which)
    if not len(some):
        return texts
    for pattern in patterns:
        some = some.str.replace_all(pattern, "")
    return texts.clone().scatter(which.arg_true(), some)

"""The prose of a page of documentation: what is left without its code, its tags and its marks of layout.

The rules of thumb were made for text that an extractor had taken out of web pages. Held against Markdown or HTML as
it is, they call headings hashtags and a page of tags repetition; so they are shown what a reader would read.
"""

from __future__ import annotations

import polars as pl

# At the start of a line: in the midst of one `<script>` is spoken of.
SCRIPTS_AND_STYLES = r"(?ims)^[ \t]*<(?:script|style)\b[^<>]*>.*?</(?:script|style)\s*>|<!--.*?-->"
# A tag has a name of letters; `<unk>` and `a < b` and `Vec<T>` in running text may go with it, which harms no count.
TAGS = r"</?[A-Za-z][A-Za-z0-9-]*(?:\s[^<>]{0,1000})?/?>"
# Lines of rules and table borders; marks of headings and quotations at the margin; anchors behind headings.
LAYOUT = (
    r"(?m)^[ \t]*[-=*_~#>|:+.\x60^]{2,}[-=*_~#>|:+.\x60^ \t]*$"
    r"|^[ \t]*(?:\d+[.)][ \t]+|[-*+][ \t]+)?#{1,6}[ \t]+"
    r"|^[ \t]*>[> \t]*|\{#[^{}\n]*\}[ \t]*$"
)
ADDRESS = r"https?://[^\s()<>\[\]\"']+"


def prose_of(texts: pl.Series) -> pl.Series:
    """The texts without tags, web addresses and layout; `code_lines.without_blocks` has taken out their code."""
    texts = without(texts, texts.str.contains("<", literal=True), SCRIPTS_AND_STYLES, TAGS)
    texts = without(texts, texts.str.contains("http", literal=True), ADDRESS)
    return without(texts, texts.str.contains(LAYOUT), LAYOUT)


def without(texts: pl.Series, which: pl.Series, *patterns: str) -> pl.Series:
    """`patterns` cut out of the texts that `which` tells; the others are handed back as they are."""
    some = texts.filter(which)
    if not len(some):
        return texts
    for pattern in patterns:
        some = some.str.replace_all(pattern, "")
    return texts.clone().scatter(which.arg_true(), some)

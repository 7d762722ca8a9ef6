"""Which repeated sentences are left where they are: headings of a page, and the lines of its code.

`References` and `import torch.nn.functional as F` are in many documents because they belong in each of them. A page
that lost its headings, or half of an example, is worse than one that repeats a licence.
"""

from __future__ import annotations

import re

import polars as pl

from pipeline.text.code_lines import SURE_SHAPE

# Heads of Markdown, AsciiDoc and wiki text; numbered ones; one in bold type alone; HTML's; parts of a Korean book.
HEADING = re.compile(
    r"(?:#{1,6}\s|={1,6}\s+\S|\*\*[^*]+\*\*:?$|__[^_]+__:?$|(?i:<h[1-6]\b)|제\s?\d+\s?[장절조항부편]\b"
    r"|(?:\d+\.)+\d*\s+\S|[IVX]+\.\s+\S|(?i:chapter|section|part|appendix)\s+[\dIVXA-F]+\b)"
)
NUMBERED_OR_COMMENT = re.compile(r"(?:\d+\.)+\d*\s|[IVX]+\.\s|#.*\.$")
UNDERLINE = re.compile(r"([=\-~^\"'`*+#.:_])\1{2,}\s*")
ENDS = re.compile(r"[.!?。！？…][\"'”’)\]]*$|[다요음함됨임까죠][)\]]*$")
BOILERPLATE = re.compile(r"[|©»·]|https?://|www\.|(?i:copyright|all rights|reserved)|[12]\d{3}")
PROMPT = re.compile(r"(?:>>>|\.\.\.|\$|%|In \[\d*\]:)\s")
# The same forms in Python's syntax, which has no `(?-u:`.
CODE = re.compile(SURE_SHAPE.replace("(?-u:\\b)", "\\b") + r"|//|/\*|\*/", re.MULTILINE)
MOST_WORDS = 12  # of a heading that no markup shows
FEWEST_WORDS = 4  # of a sentence
INDENTED = 4  # columns from which a line of a page is code, if it reads like no sentence


def in_their_place(cuts: pl.DataFrame, texts: pl.Series, code: pl.Series) -> pl.Series:
    """For each cut (row, start, after), whether what it would remove belongs where it is.

    code: for each text, whether it is code, in which comments alone are cut and nothing is a heading.
    """
    flags: list[bool] = []
    for row, starts, ends in cuts.group_by("row", maintain_order=True).agg("start", "after").iter_rows():
        text = texts[row]
        if code[row]:
            flags += [False] * len(starts)
        else:
            marked = "<script" in text or "<style" in text
            flags += [belongs(text, start, end, marked) for start, end in zip(starts, ends, strict=True)]
    return pl.Series(flags, dtype=pl.Boolean)


def belongs(text: str, start: int, end: int, marked: bool = False) -> bool:
    """Whether the whole line (or lines) from `start` to `end` is a heading or a line of a page's code.

    Part of a line is running text. marked: the text holds scripts or styles, whose lines are no examples.
    """
    end = start + len(text[start:end].rstrip())
    line_start, line_end = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end
    if text[line_start:start].strip() or text[end:line_end].strip():
        return False
    line = text[start:end]
    before = text[text.rfind("\n", 0, max(line_start - 1, 0)) + 1 : max(line_start - 1, 0)]
    following = text[line_end + 1 : line_end + 400]
    if is_heading(line, before, following):
        return True
    if line.startswith("<") or (marked and in_script(text, start)):
        return False
    if CODE.match(line) or PROMPT.match(line):
        return True
    indent = len(text[line_start:start].expandtabs(INDENTED))
    return indent >= INDENTED and not (ENDS.search(line) and len(line.split()) >= FEWEST_WORDS)


def is_heading(line: str, before: str, following: str) -> bool:
    """Whether a line is a heading, by its markup or, without any, by standing alone above a paragraph of prose.

    before: the line above it; following: the text below it, from the next line on.
    """
    if HEADING.match(line) and not (NUMBERED_OR_COMMENT.match(line) and ENDS.search(line)):
        return True
    below, _, rest = following.partition("\n")
    if UNDERLINE.fullmatch(below.strip()) and "\n" not in line and len(below.strip()) >= len(line) // 2:
        return True
    if before.strip() or below.strip() or "\n" in line or line.startswith("<"):
        return False
    if ENDS.search(line) or BOILERPLATE.search(line) or len(line.split()) > MOST_WORDS:
        return False
    paragraph = rest.lstrip("\n").partition("\n\n")[0]
    return len(paragraph.split()) > MOST_WORDS and not paragraph.startswith(("<", "|", "-", "*"))


def in_script(text: str, place: int) -> bool:
    """Whether a place is within a script or a style sheet of a page."""
    return any(text.rfind(f"<{tag}", 0, place) > text.rfind(f"</{tag}", 0, place) for tag in ("script", "style"))

"""How much of a text is program code, judged by the form of its lines.

Language identification has no label for code (lid.176 takes Python for English), so code is detected by columns of its
own: a line counts as code if it has a form that prose does not have (a definition, an assignment, a call, a closing
brace). Code blocks of Markdown and reStructuredText do not count, since a page that explains code is prose; comment
lines do not count either, since a script full of comments is code.
"""

from __future__ import annotations

import polars as pl

# ASCII classes on purpose: a Korean word before a bracket is not a call, and the engine is several times faster.
_NAME = r"[A-Za-z_][A-Za-z0-9_.]*"
_SHAPES = (
    # imports, definitions, statements
    r"from[ \t]+[A-Za-z0-9_.]+[ \t]+import(?-u:\b)",
    r"import[ \t]+[A-Za-z0-9_.{*\"']+[ \t]*(?:;|,|as(?-u:\b)|from(?-u:\b)|$)",
    r"(?:async[ \t]+)?def[ \t]+[A-Za-z0-9_]+[ \t]*\(",
    r"(?:abstract[ \t]+|final[ \t]+)?class[ \t]+[A-Za-z0-9_]+[^\n]*[:{][ \t]*$",
    r"(?:if|elif|for|while|with|else|try|except|finally|switch|match)(?-u:\b)[^\n]*[:{][ \t]*$",
    r"(?:return|assert|raise)(?-u:\b)",
    r"(?:pub[ \t]+)?(?:fn|func)[ \t]+[A-Za-z0-9_]+",
    r"(?:let|const|var)[ \t]+(?:mut[ \t]+)?[A-Za-z0-9_{\[]+[^\n]*[=;]",
    r"(?:export[ \t]+)?(?:default[ \t]+)?function(?-u:\b)[^\n]*[({]",
    r"(?:public|private|protected|static)[ \t]+[A-Za-z0-9_<>]+[ \t]",
    r"#(?:include|define|ifdef|ifndef|endif|pragma)(?-u:\b)",
    # assignments, calls, entries of a table
    rf"{_NAME}(?:\[[^\]\n]*\])?[ \t]*(?::[ \t]*[A-Za-z0-9_.\[\], |\"]+)?(?:[-+*/|&]?=|:=)[ \t]*[^\s=]",
    rf"{_NAME}\((?:[^\n]*\)[;:,]?)?[ \t]*$",
    r"[\"'][^\"'\n]*[\"'][ \t]*:[ \t]*[^\n]*[,{\[\]\"'0-9](?:[ \t]*#[^\n]*)?$",
    # endings that a line of prose does not have; a semicolon alone may end an item of a list
    r"[{}()\[\];,]+[ \t]*$",
    r"[^\s#*•—–-][^\n]*[{}][ \t]*$",
    r"[A-Za-z_$&}\])(][^\n]*[=()\[\]][^\n]*;[ \t]*$",
    r"(?:[A-Za-z0-9_<>:*&,]+[ \t]+){0,2}[A-Za-z0-9_<>*&,]+;[ \t]*$",
    # decorators, comments, prompts
    r"@[A-Za-z0-9_]+|//|/\*|\*/|>>>[ \t]",
)
_SHAPE = "(?:" + "|".join(_SHAPES) + ")"
CODE_LINE = rf"(?m)^[ \t]*{_SHAPE}"
CODE_LINE_AT_MARGIN = rf"(?m)^{_SHAPE}"
# A code block of a page: between Markdown's fences, or indented below a line of reStructuredText that ends in `::`.
BLOCK_BEGINS = r"(?m)^[ \t]*(?:```|~~~|\.\. [a-z-]+::)|[^\s:]::[ \t]*$"
BLOCK = (
    r"(?m)^[ \t]*(?:```|~~~)[^\n]*\n(?s:.*?)^[ \t]*(?:```|~~~)[ \t]*$"
    r"|^[^\n]*::[ \t]*[A-Za-z0-9+-]*[ \t]*\n(?:[ \t]*\n|[ \t]+[^\n]*\n)+"
)
READ = 10_000  # characters of a text that are read: code does not turn into prose later on

# Tuned on 1,481 source files and 6,926 other documents: Python source; Python, Rust and Vue documentation, PEPs,
# tutorials (docs/results/filters.md). A page with fenced blocks has to be code outside them too.
MIN_CODE_LINES = 3
SCORE = 0.45
SCORE_DECLARED = 0.15  # if the source declares the document to be code
SCORE_FENCED = 1.0
MAX_TAGS = 0.1  # closing tags per line: with more, it is a web page, whatever its scripts look like


def code_columns(texts: pl.Series) -> pl.DataFrame:
    """`code` (f32, share of code lines; lines at the margin count twice, so 0 to 2), `code_lines`, `fenced`, `tags`.

    Comment lines that start with `#` are ignored. `tags` is the number of closing tags per line (f32).
    """
    texts = texts.str.slice(0, READ)
    fenced = texts.str.contains(BLOCK_BEGINS)
    outside = without_blocks(texts, fenced)
    comments = outside.str.count_matches(r"(?m)^[ \t]*#")
    found = pl.DataFrame(
        {
            "code_lines": outside.str.count_matches(CODE_LINE),
            "lines": outside.str.count_matches(r"(?m)^[ \t]*\S") - comments,
            "at_margin": outside.str.count_matches(CODE_LINE_AT_MARGIN),
            "margin": outside.str.count_matches(r"(?m)^[^\s#]"),
            "tags": outside.str.count_matches("</[A-Za-z]"),
            "fenced": fenced,
        }
    )
    lines = pl.col("lines").clip(1)
    share = pl.col("code_lines") / lines + (pl.col("at_margin") / pl.col("margin").clip(1)).clip(upper_bound=1)
    return found.select(
        share.cast(pl.Float32).alias("code"),
        "code_lines",
        "fenced",
        (pl.col("tags") / lines).cast(pl.Float32).alias("tags"),
    )


def without_blocks(texts: pl.Series, fenced: pl.Series) -> pl.Series:
    """The texts without their code blocks; those that are not `fenced` are returned unchanged."""
    rest = texts.filter(fenced).str.replace_all(BLOCK, "")
    return texts.clone().scatter(fenced.arg_true(), rest) if len(rest) else texts


def is_code(declared: pl.Expr | pl.Series) -> pl.Expr:
    """Whether a document is code, from `code_columns` and the language that its source declares (may be null)."""
    hinted = pl.lit(declared) if isinstance(declared, pl.Series) else declared
    needed = pl.when(hinted == "code").then(SCORE_DECLARED).when("fenced").then(SCORE_FENCED).otherwise(SCORE)
    enough = (pl.col("code_lines") >= MIN_CODE_LINES) & (pl.col("tags") < MAX_TAGS)
    return (pl.col("code") >= needed) & (enough | (hinted == "code").fill_null(False))

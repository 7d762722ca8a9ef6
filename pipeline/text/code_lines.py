"""How much of a text is program code, judged by the form of its lines.

Language identification has no label for code (lid.176 takes Python for English), so code is detected by columns of its
own: a line counts as code if it has a form that prose does not have (a definition, an assignment, a call, a closing
brace, a command with options, a clause of SQL, a property of CSS). Code blocks of Markdown and reStructuredText do not
count, since a page that explains code is prose, unless the page is nothing else; comment lines do not count either,
since a script full of comments is code. A file that says in its first line which program runs it is a script.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pipeline.text.buffers import row_blocks

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
    # decorators, prompts
    r"@[A-Za-z0-9_]+|>>>[ \t]",
)
# Forms of shells, SQL, CSS, Perl, C, Java and Go: a line alone may be prose, a file of them is not.
_FURTHER_SHAPES = (
    # shells: keywords alone, tests, commands with options or variables, lines that go on
    r"(?:then|fi|done|esac|do|else|;;)[ \t]*(?:#[^\n]*)?$",
    r"(?:if|elif|while|until)[ \t]+(?:\[|!|test(?-u:\b)|\$|\([(]?)",
    r"(?:for[ \t]+[A-Za-z0-9_]+[ \t]+in(?-u:\b)[^\n]*;[ \t]*do|case[ \t]+[^\n]*[ \t]in)[ \t]*$",
    r"(?:export|local|declare|readonly|typeset|unset|source|shift|exit|echo|printf|cd|mkdir|rm|cp|mv|ln|chmod)"
    r"(?:[ \t]+[-\"'$./\d{A-Z*][^\n]*)?$",
    r"[a-z$.\"/][^\s,.;:?!]*[ \t]+(?:[^\n]*[ \t])?(?:-{1,2}[A-Za-z][A-Za-z0-9-]*(?:[ \t=]|$)"
    r"|[\"']?\$[A-Za-z0-9_{(@#?*!])",
    r"[^|\s][^\n|]*[ \t](?:\|\||&&|\||\\|2>&1|>/dev/null)[ \t]*$",
    r"[^|\s][^\n]*[ \t](?:\|\||&&)[ \t]+[^\s]",
    # SQL: statements in any case, clauses in capitals
    r"(?i:(?:create|alter|drop)[ \t]+(?:or[ \t]+replace[ \t]+)?(?:temp(?:orary)?[ \t]+|unique[ \t]+|trusted[ \t]+)?"
    r"(?:table|index|view|function|procedure|trigger|type|operator|sequence|schema|database|extension|aggregate|cast"
    r"|domain|rule|role|user|language|foreign|server|event|text|column)(?-u:\b))",
    r"(?i:insert[ \t]+into|delete[ \t]+from|update[ \t]+[a-z0-9_.\"]+[ \t]+set"
    r"|select[ \t]+[^\n]*(?:,|\*|[ \t]from[ \t]|\()"
    r"|grant[ \t]+[a-z, \t]+on|revoke[ \t]+[a-z, \t]+on|comment[ \t]+on[ \t]+[a-z]+)",
    r"(?:SELECT|FROM|WHERE|AND|OR|ON|SET|VALUES|RETURNS|AS|LANGUAGE|UNION|HAVING|LIMIT|BEGIN|END|DECLARE|IF|CASE"
    r"|WHEN|ELSE|"
    r"(?:INNER|LEFT|RIGHT|FULL|CROSS|OUTER)[ \t]+JOIN|JOIN|(?:ORDER|GROUP|PARTITION)[ \t]+BY|PRIMARY[ \t]+KEY|"
    r"FOREIGN[ \t]+KEY|FUNCTION|OPERATOR|STRICT|IMMUTABLE|VOLATILE|USING|REFERENCES|CONSTRAINT)(?:[ \t(;,]|$)",
    r"\\(?:echo|set|i|ir|if|endif|connect|copy|pset|quit|unset)(?-u:\b)",
    # CSS: properties, lists of selectors, rules on one line
    r"(?:--)?[a-z][a-z-]*[ \t]*:[ \t]*[^\n;{}]+;[ \t]*$",
    r"(?:[.#&>~+*]|::?)[A-Za-z_*\[-][^\n]*[,{][ \t]*$|[a-z0-9]+(?:[.:#\[>][^\n]*)?[,][ \t]*$",
    r"[^\n{}]*\{[^\n{}]*:[^\n{}]*;?[ \t]*\}[ \t]*$",
    # Perl: variables, pragmas, blocks
    r"(?:my|our|local)[ \t]+[$@%(*]|[$@%&][A-Za-z_{$][^\n]*(?:=|->|\+\+|;)"
    r"|(?:use|no|require|package)[ \t]+[A-Za-z0-9_:.]+[^\n]*;",
    r"sub[ \t]+[A-Za-z0-9_]+|(?:foreach|unless|elsif)[ \t]*[($]|return(?:[ \t;(]|$)|__(?:END|DATA|PACKAGE)__",
    # C, Java, Go: types before names, members, labels
    r"(?:extern|typedef|struct|enum|union|static|inline|const|unsigned|volatile|template|namespace|using|virtual|register)"
    r"[ \t]+[A-Za-z_<][^\n]*[;{,(=)*]?[ \t]*$",
    r"(?:import|package)[ \t]+[A-Za-z0-9_.*]+;?[ \t]*$|package[ \t]+[a-z][a-z0-9_]*[ \t]*$|import[ \t]*\(",
    r"(?:type[ \t]+[A-Za-z0-9_]+[ \t]+(?:struct|interface|func)|case[ \t]+[^\n]*:|default:|break;|continue;)",
    r"(?:if|for|while|switch|catch|else[ \t]+if)[ \t]*\("
    r"|(?:[A-Za-z_][A-Za-z0-9_<>\[\]]*[ \t*&]+){1,3}[A-Za-z_][A-Za-z0-9_:]*\([^\n]*[,;{)][ \t]*$",
    r"use[ \t]+[a-z_]+::|impl(?:<|[ \t])|mod[ \t]+[a-z_]+|match[ \t]+[^\n]*\{|#!?\[[a-z]",
)
SURE_SHAPE = "(?:" + "|".join(_SHAPES) + ")"
# Two searches: one automaton for all shapes would be so large that it is built anew over and over.
_SEARCHES = (SURE_SHAPE, "(?:" + "|".join(_FURTHER_SHAPES) + ")")
# A code block of a page: between Markdown's fences, or indented below a line of reStructuredText that ends in `::`.
BLOCK_BEGINS = r"(?m)^[ \t]*(?:```|~~~|\.\. [a-z-]+::)|[^\s:]::[ \t]*$"
BLOCK = (
    r"(?m)^[ \t]*(?:```|~~~)[^\n]*\n(?s:.*?)^[ \t]*(?:```|~~~)[ \t]*$"
    r"|^[^\n]*::[ \t]*[A-Za-z0-9+-]*[ \t]*\n(?:[ \t]*\n|[ \t]+[^\n]*\n)+"
)
# Comments that are not lines beginning with `#`: of C and CSS, of Perl (its documentation), of lines of `//` and `--`.
COMMENTS = (
    r"(?s)/\*.*?\*/",
    r"(?ms)^=(?:head[1-6]|pod|over|item|begin|for|encoding|back|cut)(?-u:\b).*?(?:^=cut(?-u:\b)[^\n]*$|\z)",
    r"(?m)^[ \t]*(?://|--[ \t-]|--$|%%|;;)[^\n]*$",
)
SCRIPT = r"\A\x{FEFF}?#![ \t]*/[^\n]*(?:bin|env)|\A<\?php(?-u:\b)"
# A page of which so many words at most, and so small a share, stand outside of its code blocks is nothing but these.
OUTSIDE_WORDS, OUTSIDE_SHARE = 12, 0.1
READ = 10_000  # characters of a text that are read: code does not turn into prose later on
CHUNK_BYTES = 1 << 24  # of text split into lines at once: patterns are compiled anew for each part
LINE_COUNTS = ("code_lines", "lines", "at_margin", "margin")

# Tuned on 1,481 source files and 6,926 other documents: Python source; Python, Rust and Vue documentation, PEPs,
# tutorials (docs/results/filters.md). A page with fenced blocks has to be code outside them too.
MIN_CODE_LINES = 3
SCORE = 0.45
SCORE_DECLARED = 0.15  # if the source declares the document to be code
SCORE_FENCED = 1.0
MAX_TAGS = 0.1  # closing tags per line: with more, it is a web page, whatever its scripts look like


def code_columns(texts: pl.Series) -> pl.DataFrame:
    """`code` (f32, share of code lines; lines at the margin count twice, so 0 to 2), `code_lines`, `fenced`, `tags`,
    `script`.

    Comments are ignored. `tags` is the number of closing tags per line (f32). `script` (bool): its first line says so,
    or it is a page that consists of one or more code blocks.
    """
    texts = texts.str.slice(0, READ)
    fenced = holds_blocks(texts)
    outside = without_blocks(texts, fenced)
    script = texts.str.contains(SCRIPT) | _nothing_else(texts, outside, fenced)
    outside = without_comments(outside)
    parts = [_line_counts(outside[start:end]) for start, end in row_blocks(outside, CHUNK_BYTES)]
    counts = pl.DataFrame(np.concatenate([np.zeros((0, len(LINE_COUNTS)), np.uint32), *parts]), schema=LINE_COUNTS)
    found = counts.select(pl.when(outside.is_not_null()).then(pl.all())).with_columns(
        outside.str.count_matches("</[A-Za-z]").alias("tags"), fenced.alias("fenced")
    )
    lines = pl.col("lines").clip(1)
    share = pl.col("code_lines") / lines + (pl.col("at_margin") / pl.col("margin").clip(1)).clip(upper_bound=1)
    return found.select(
        share.cast(pl.Float32).alias("code"),
        "code_lines",
        "fenced",
        pl.lit(script).alias("script"),
        (pl.col("tags") / lines).cast(pl.Float32).alias("tags"),
    )


def _line_counts(texts: pl.Series) -> np.ndarray:
    """The number of lines of each text that are code, that are but comments, and of each that begin at the margin:
    LINE_COUNTS, uint32 (texts, 4). A line whose first character is `#` is none."""
    split = texts.str.split("\n")
    items = split.explode(empty_as_null=False, keep_nulls=False)
    of = np.repeat(np.arange(len(texts)), split.list.len().fill_null(0).to_numpy())
    is_code = np.flatnonzero(_have_shape(items, r"^[ \t]*"))
    at_margin = is_code[_have_shape(items.gather(is_code), "^")]
    written = np.flatnonzero(items.str.contains(r"^[ \t]*[^\s#]").to_numpy())
    margin = np.flatnonzero(items.str.contains(r"^[^\s#]").to_numpy())
    found = [np.bincount(of[rows], minlength=len(texts)) for rows in (is_code, written, at_margin, margin)]
    return np.stack(found, axis=1).astype(np.uint32)


def _have_shape(lines: pl.Series, start: str) -> np.ndarray:
    """Which lines have the shape of code, after a pattern."""
    found: np.ndarray = lines.str.contains(start + _SEARCHES[0]).to_numpy().copy()
    rest = np.flatnonzero(~found)
    found[rest] = lines.gather(rest).str.contains(start + _SEARCHES[1]).to_numpy()
    return found


def holds_blocks(texts: pl.Series) -> pl.Series:
    """Which texts hold the beginning of a code block."""
    rows = texts.str.contains_any(["```", "~~~", "::"]).arg_true()
    found = texts.is_null().replace({True: None})
    return found.scatter(rows, texts.gather(rows).str.contains(BLOCK_BEGINS)) if len(rows) else found


def _nothing_else(texts: pl.Series, outside: pl.Series, fenced: pl.Series) -> pl.Series:
    """Which texts hold hardly anything but code blocks."""
    small = (outside.str.len_bytes() <= OUTSIDE_SHARE * texts.str.len_bytes()).fill_null(False)
    rows = (fenced & small).fill_null(False).arg_true()
    few = outside.gather(rows).str.count_matches(r"\S+") <= OUTSIDE_WORDS
    found = pl.repeat(False, len(texts), dtype=pl.Boolean, eager=True)
    return found.scatter(rows, few) if len(rows) else found


def without_comments(texts: pl.Series) -> pl.Series:
    """The texts without comments, except for lines that begin with `#`."""
    # Of each kind, a search that is quick and finds it wherever it is.
    signs = (["/*"], ["="], ["//", "--", "%%", ";;"])
    begins = (None, r"(?m)^=(?:head|pod|over|item|begin|for)", r"(?m)^[ \t]*(?://|--[ \t-]|--$|%%|;;)")
    for literals, begin, pattern in zip(signs, begins, COMMENTS, strict=True):
        rows = texts.str.contains_any(literals).arg_true()
        if begin is not None:
            rows = rows.filter(texts.gather(rows).str.contains(begin))
        if len(rows):
            texts = texts.clone().scatter(rows, texts.gather(rows).str.replace_all(pattern, ""))
    return texts


def without_blocks(texts: pl.Series, fenced: pl.Series) -> pl.Series:
    """The texts without their code blocks; those that are not `fenced` are returned unchanged."""
    rest = texts.filter(fenced).str.replace_all(BLOCK, "")
    return texts.clone().scatter(fenced.arg_true(), rest) if len(rest) else texts


def is_code(declared: pl.Expr | pl.Series) -> pl.Expr:
    """Whether a document is code, from `code_columns` and the language that its source declares (may be null)."""
    hinted = pl.lit(declared) if isinstance(declared, pl.Series) else declared
    needed = pl.when(hinted == "code").then(SCORE_DECLARED).when("fenced").then(SCORE_FENCED).otherwise(SCORE)
    enough = (pl.col("code_lines") >= MIN_CODE_LINES) & (pl.col("tags") < MAX_TAGS)
    by_lines = (pl.col("code") >= needed) & (enough | (hinted == "code").fill_null(False))
    return by_lines | pl.col("script")

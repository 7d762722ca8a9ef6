"""How much of a text is program code, judged by the form of its lines.

Language identification has no label for code (lid.176 takes Python for English), so code is detected by columns of its
own: a line counts as code if it has a form that prose does not have (a definition, an assignment, a call, a closing
brace, a command with options, a clause of SQL, a property of CSS). Code blocks of Markdown and reStructuredText do not
count, since a page that explains code is prose, unless the page is nothing else; comment lines do not count either,
since a script full of comments is code. A file that says in its first line which program runs it is a script.
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
_SHAPE = "(?:" + "|".join(_SHAPES + _FURTHER_SHAPES) + ")"
CODE_LINE = rf"(?m)^[ \t]*{_SHAPE}"
CODE_LINE_AT_MARGIN = rf"(?m)^{_SHAPE}"
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
    fenced = texts.str.contains(BLOCK_BEGINS)
    outside = without_blocks(texts, fenced)
    script = texts.str.contains(SCRIPT) | _nothing_else(texts, outside, fenced)
    outside = without_comments(outside)
    comments = outside.str.count_matches(r"(?m)^[ \t]*#")
    code_lines = outside.str.count_matches(CODE_LINE)
    some = (code_lines > 0).arg_true()  # no other text has code lines at the margin
    at_margin = pl.zeros(len(texts), dtype=pl.UInt32, eager=True)
    if len(some):
        at_margin = at_margin.scatter(some, outside.gather(some).str.count_matches(CODE_LINE_AT_MARGIN))
    found = pl.DataFrame(
        {
            "code_lines": code_lines,
            "lines": outside.str.count_matches(r"(?m)^[ \t]*\S") - comments,
            "at_margin": at_margin,
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
        pl.lit(script).alias("script"),
        (pl.col("tags") / lines).cast(pl.Float32).alias("tags"),
    )


def _nothing_else(texts: pl.Series, outside: pl.Series, fenced: pl.Series) -> pl.Series:
    """Which texts hold hardly anything but code blocks."""
    left, whole = outside.filter(fenced), texts.filter(fenced)
    few = (left.str.count_matches(r"\S+") <= OUTSIDE_WORDS) & (
        left.str.len_bytes() <= OUTSIDE_SHARE * whole.str.len_bytes()
    )
    return pl.repeat(False, len(texts), dtype=pl.Boolean, eager=True).scatter(fenced.arg_true(), few)


def without_comments(texts: pl.Series) -> pl.Series:
    """The texts without comments, except for lines that begin with `#`."""
    for mark, pattern in zip(("/*", "=", "\n"), COMMENTS, strict=True):
        which = texts.str.contains(mark, literal=True) if mark != "\n" else texts.str.contains(pattern)
        if mark == "=":
            which = texts.str.contains(r"(?m)^=(?:head|pod|over|item|begin|for)")
        rest = texts.filter(which).str.replace_all(pattern, "")
        texts = texts.clone().scatter(which.arg_true(), rest) if len(rest) else texts
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

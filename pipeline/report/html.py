"""HTML of the report: text that cannot break out of its place, tables, bars and figures. No scripts."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.inspect.excerpts import CONTROL
from pipeline.inspect.in_short import rounded

MOST_LINES = 9  # of a passage: a menu has a word in each
# A page that is sent may load nothing and run nothing, whatever is in the texts that it quotes.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def text(value: object) -> str:
    """Anything as text of a page."""
    return html.escape(CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(value)))


def number(value: Any) -> str:
    """A number with separators of thousands and at most four digits behind them; "" for None."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return text(value)
    return f"{rounded(value):,}"


def share(value: float | None) -> str:
    """A share as percent; what is not nothing is not shown as 0 %."""
    if value is None:
        return ""
    return "under 0.1 %" if 0 < value < 0.001 else f"{value:.1%}".replace("%", " %")


def bar(part: float, removed: bool = False) -> str:
    """A bar as long as a share (0 to 1) of its place."""
    kind = ' class="removed"' if removed else ""
    return f'<span class="bar"><i{kind} style="width:{100 * min(max(part, 0.0), 1.0):.1f}%"></i></span>'


@dataclass(frozen=True)
class Column:
    """A column of a table: the key of the rows, its heading, and what is in it."""

    key: str
    heading: str
    kind: str = "text"  # text, words (wide), number, share, html; on a phone, bar and aside are left out


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> str:
    """Rows as a table; on a narrow screen it is moved sideways by itself."""
    if not rows:
        return ""
    shown: dict[str, Callable[[Any], str]] = {"number": number, "share": share, "html": str, "bar": str}

    def classed(column: Column) -> str:
        if column.kind in ("number", "share"):
            return ' class="number"'
        return {"words": ' class="words"', "bar": ' class="aside"', "aside": ' class="aside"'}.get(column.kind, "")

    head = "".join(f"<th{classed(one)}>{text(one.heading)}</th>" for one in columns)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{classed(one)}>{shown.get(one.kind, text)(row.get(one.key, '' if one.kind != 'share' else None))}</td>"
            for one in columns
        )
        + "</tr>\n"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n'


def figure(svg: str, heading: str, caption: str = "") -> str:
    """A drawing with its heading and a line below it."""
    words = f"<b>{text(heading)}</b>" + (f" {text(caption)}" if caption else "")
    return f"<figure>{svg}<figcaption>{words}</figcaption></figure>\n"


def cards(figures: Iterable[tuple[str, str]]) -> str:
    """A few large figures, each with what it says."""
    inner = "".join(
        f'<div class="card"><b>{text(value)}</b><span>{text(words)}</span></div>' for value, words in figures
    )
    return f'<div class="cards">{inner}</div>\n' if inner else ""


def quoted(pieces: Iterable[tuple[str, bool]], about: str, kind: str = "") -> str:
    """A passage with its marks, under a line on where it is from; at most MOST_LINES lines of it."""
    inner, left = "", MOST_LINES
    for piece, marked in pieces:
        lines = piece.split("\n")
        shown = "\n".join(lines[:left]) + (" …" if len(lines) > left else "")
        inner += f"<mark>{text(shown)}</mark>" if marked else text(shown)
        left -= len(lines) - 1
        if left <= 0:
            break
    classed = f' class="{kind}"' if kind else ""
    return f'<blockquote{classed}><span class="about">{text(about)}</span>{inner}</blockquote>\n'


def section(name: str, heading: str, *parts: str) -> tuple[str, str, str]:
    """(name, heading, content) of a section; one without content is left out by `page`."""
    return name, heading, "".join(parts)


def page(title: str, lead: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """The whole page. lead: HTML of what stands above the sections."""
    shown = [one for one in sections if one[2]]
    links = "".join(f'<a href="#{name}">{text(heading)}</a>' for name, heading, _ in shown)
    body = "".join(
        f'<section id="{name}"><h2>{text(heading)}</h2>\n{content}</section>\n' for name, heading, content in shown
    )
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style></head>\n"
        f"<body>\n<h1>{text(title)}</h1>\n{lead}<nav>{links}</nav>\n{body}</body></html>\n"
    )

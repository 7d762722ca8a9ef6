"""Pictures that Dagster shows at once, without a click.

Dagster shows Markdown of fewer than 1,000 characters where it stands, and everything longer behind "[Show Markdown]".
So these are SVG drawings of a few hundred bytes, embedded in a line of Markdown: a curve, or a few bars with words.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

import polars as pl
from dagster import MarkdownMetadataValue, MetadataValue

from pipeline.evaluation.leaderboard_tables import ASSET as LEADERBOARD
from pipeline.experiments import comparing, result, worth_table
from pipeline.graph import RAW
from pipeline.inspect import standings
from pipeline.inspect.curves import ACCENT, KEPT, REMOVED, VALIDATION
from pipeline.inspect.in_short import figure, in_words, rounded
from pipeline.inspect.tuning import LANGUAGES
from pipeline.store.artifact import Artifact

SHOWN_AT_ONCE = 999  # characters of Markdown
WIDTH, HEIGHT, ROW = 420, 110, 19
LABEL = 190  # of the width, for the words beside a bar
LETTERS = 26  # of such words
MOST_BARS = 5
POINTS = 34  # of a curve
COLOURS = {worth_table.HELPS: KEPT, worth_table.HARMS: REMOVED}
VERDICTS = {comparing.BETTER: KEPT, comparing.WORSE: REMOVED}
UNDECIDED = "#b0b7bc"  # the colour of an effect that nothing can be said of


def of_artifact(artifact: Artifact) -> MarkdownMetadataValue | None:
    """The picture at the head of an artifact's page; None for one of which nothing can be drawn."""
    if "log.parquet" in artifact.manifest["files"]:
        return curve(*losses(artifact))
    if artifact.asset == LEADERBOARD:
        return bars(standings.first_bars(artifact))
    if "worth.parquet" in artifact.manifest["files"]:
        effects = worth_table.largest(pl.read_parquet(artifact.file("worth.parquet")).to_dicts())
        colours = {name: COLOURS.get(verdict, UNDECIDED) for name, (_, verdict) in effects.items()}
        return bars({name: value for name, (value, _) in effects.items()}, colours, "%")
    if "settings.parquet" in artifact.manifest["files"]:
        return differences(artifact)
    counts, facts = artifact.counts, artifact.facts
    removed, edits = counts.get("removed"), counts.get("edits") or {}
    if artifact.asset == RAW:  # what went in; empty documents are of no interest
        return bars({name: found["kept"] for name, found in counts.get("by_source", {}).items()})
    if isinstance(removed, dict) and (removed or edits) and "kept" in counts:
        taken = sorted({**removed, **edits}.items(), key=lambda pair: (-pair[1], pair[0]))
        return bars(dict(taken), {name: REMOVED for name, _ in taken})  # beside what is kept, none could be seen
    languages = facts.get("report", {}).get("languages", {}) if isinstance(facts.get("report"), dict) else {}
    for values in (
        {LANGUAGES.get(name, name): found["bytes_per_token"] for name, found in languages.items()},
        facts.get("tokens_by_source", {}),
        {LANGUAGES.get(name, name): number for name, number in counts.get("languages", {}).items()},
        {name: found["kept"] for name, found in counts.get("by_source", {}).items()},
        shares(facts) if artifact.asset.endswith("_evaluation") else {},
    ):
        if values:
            return bars(values)
    return None


def differences(experiment: Artifact) -> MarkdownMetadataValue | None:
    """How far settings are from the one that they are compared with, in per cent, the best first."""
    rows = [row for row in result.best_first(experiment) if row["difference"] is not None]
    if not rows:
        return bars(result.means(experiment))
    names = [row["setting"] for row in rows]
    if len({name[: LETTERS - 8] for name in names}) < len(names):  # told apart by their ends
        names = [name if len(name) <= LETTERS - 8 else f"…{name[9 - LETTERS :]}" for name in names]
    colours = {name: VERDICTS.get(row["verdict"], UNDECIDED) for name, row in zip(names, rows, strict=True)}
    values = {name: round(100 * row["difference"], 2) for name, row in zip(names, rows, strict=True)}
    return bars(values, colours, "%")


def shares(facts: Mapping[str, Any]) -> dict[str, float]:
    """The figures of an evaluation that are shares, by their names in words, those by language first.

    Bits per byte and perplexity are none, though they may lie between 0 and 1.
    """
    found = {
        name: value
        for name, value in facts.items()
        if isinstance(value, float) and 0 <= value <= 1 and name not in ("bits_per_byte", "perplexity")
    }
    by_language = sorted(found, key=lambda name: name.rpartition(".")[2] not in LANGUAGES)
    return {in_words(name).removeprefix("village "): found[name] for name in by_language}


def losses(model: Artifact) -> tuple[list[float], list[float], str]:
    """Tokens, losses (held back, where there are several), and what they are."""
    log = pl.read_parquet(model.file("log.parquet"))
    across = "tokens" if "tokens" in log.columns else "step"
    held_back = next((name for name in VALIDATION if name in log.columns), "")
    chosen = held_back if held_back and log[held_back].drop_nulls().len() > 2 else "loss"
    rows = log.drop_nulls(chosen)
    return rows[across].to_list(), rows[chosen].to_list(), "loss on text held back" if chosen != "loss" else "loss"


def curve(x: Sequence[float], y: Sequence[float], words: str) -> MarkdownMetadataValue | None:
    """A curve with its first and last value; None for fewer than two points."""
    points = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]
    if len(points) < 2:
        return None
    step = max(1, math.ceil(len(points) / POINTS))
    shown = points[::step] if (len(points) - 1) % step == 0 else [*points[::step], points[-1]]
    low, high = min(b for _, b in shown), max(b for _, b in shown)
    left, right = shown[0][0], shown[-1][0]

    def place(a: float, b: float) -> str:
        across = (a - left) / (right - left or 1) * (WIDTH - 20) + 10
        return f"{across:.0f} {HEIGHT - 22 - (b - low) / (high - low or 1) * (HEIGHT - 46):.0f}"

    line = "M" + "L".join(place(a, b) for a, b in shown)
    last, first = shown[-1][1], shown[0][1]
    said = f"{words}: {rounded(float(first)):,} to {rounded(float(last)):,}, {figure(right)} tokens"
    inner = (
        f"<path d='{line}' fill='none' stroke='{ACCENT}' stroke-width='2'/><text x='10' y='{HEIGHT - 5}'>{said}</text>"
    )
    return _embedded(inner, HEIGHT, words)


def bars(
    values: Mapping[str, float], colours: Mapping[str, str] | None = None, unit: str = ""
) -> MarkdownMetadataValue | None:
    """A bar for each of the first MOST_BARS values, its name and number beside it; None for no values."""
    named = list(values.items())[:MOST_BARS]
    largest = max((abs(value) for _, value in named), default=0) or 1
    paths: dict[str, str] = {}
    words = ""
    for row, (name, value) in enumerate(named):
        colour = (colours or {}).get(name, KEPT)
        length = max(1, round(abs(value) / largest * (WIDTH - LABEL - 10)))
        paths[colour] = paths.get(colour, "") + f"M{LABEL} {row * ROW + 5}h{length}v12h-{length}"
        said = f"{name.replace('_', ' ')[: LETTERS - 8]} {rounded(value):,}{unit}"
        words += f"<text x='6' y='{row * ROW + 15}'>{escape(said)}</text>"
    drawn = "".join(f"<path d='{path}' fill='{colour}'/>" for colour, path in paths.items())
    return _embedded(drawn + words, ROW * len(named) + 6, "bars") if named else None


def _embedded(inner: str, height: int, words: str) -> MarkdownMetadataValue | None:
    """The drawing as Markdown that is shown at once; None if it is too long for that."""
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH * 4 // 3}'"
        f" font-family='sans-serif' font-size='12' style='background:#fff'>{inner}</svg>"
    )
    text = f"![{words}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
    return MetadataValue.md(text) if len(text) <= SHOWN_AT_ONCE else None

"""The leaderboard on its asset's page: in a sentence, as rows, and drawn."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.leaderboard_tables import NAMES
from pipeline.inspect.curves import ACCENT, KEPT, figure_of
from pipeline.store.artifact import Artifact

MOST_DRAWN = 12  # figures of one picture
MOST_MODELS = 8  # drawn of each figure, the best first
TITLE = 50  # characters of a line of a panel's title


def figures(board: Artifact) -> list[dict[str, Any]]:
    """The figures of leaderboard.json: each with its words and the standings of the models, the best first."""
    content: dict[str, Any] = json.loads(board.file(NAMES[0]).read_text(encoding="utf-8"))
    return list(content["figures"])


def in_words(board: Artifact) -> str:
    """How many models were measured, and the best of the first figure; "" for none."""
    known = figures(board)
    if not known:
        return ""
    models = {one["model"] for figure in known for one in figure["standings"]}
    words, best = known[0]["words"], known[0]["standings"][0]
    number = "1 model was measured" if len(models) == 1 else f"{len(models)} models were measured"
    return f"{number} in {len(known):,} figures; {words} at best {best['value']:.4g} ({best['model']})"


def first_bars(board: Artifact) -> dict[str, float]:
    """The models of the first figure and their values, by a name short enough for a bar."""
    known = figures(board)
    return {short(one["model"]): one["value"] for one in known[0]["standings"]} if known else {}


def short(model: str) -> str:
    """`pretrained_model/14d23598` as `pretrained 14d23598`."""
    name, _, version = model.partition("/")
    return f"{name.removesuffix('_model')} {version}"


def rows(board: Artifact, most: int) -> list[dict[str, Any]]:
    """A row for each figure and model, the words first, at most `most`."""
    found = [
        {
            "figure": figure["words"], "model": one["model"], "value": one["value"], "low": one["low"],
            "high": one["high"], "better is": "higher" if figure["higher_is_better"] else "lower",
            "verdict": said(one),
        }
        for figure in figures(board)
        for one in figure["standings"]
    ]  # fmt: skip
    return found[:most]


def said(one: Mapping[str, Any]) -> str:
    """The verdict in words, with what could have made the difference by itself."""
    verdict = f"{one['verdict']} ({', '.join(one['within'])})" if one["within"] else str(one["verdict"])
    return f"{verdict}, at chance".removeprefix(", ") if one["at_chance"] else verdict


def drawn(board: Artifact) -> Any:
    """A panel for each figure: a bar for each model, the best on top, with its interval; None for no figures."""
    known = figures(board)[:MOST_DRAWN]
    if not known:
        return None
    down = -(-len(known) // 2)
    largest = max(min(len(figure["standings"]), MOST_MODELS) for figure in known)
    canvas, axes = figure_of(down, 2, height=down * (0.65 + 0.2 * largest))
    for axis, figure in zip(axes, known, strict=False):
        _panel(axis, figure, figure["standings"][:MOST_MODELS])
    for axis in axes[len(known) :]:
        axis.set_visible(False)
    return canvas


def _panel(axis: Any, figure: Mapping[str, Any], standings: Sequence[Mapping[str, Any]]) -> None:
    places = range(len(standings))
    colours = [KEPT if place == 0 else "#b7c9c6" for place in places]
    axis.barh(places, [one["value"] for one in standings], color=colours, height=0.7)
    for place, one in zip(places, standings, strict=True):
        if one["low"] is not None and one["high"] is not None:
            axis.plot([one["low"], one["high"]], [place, place], color=ACCENT, linewidth=1.4)
    axis.set_yticks(places, [short(one["model"]) for one in standings], fontsize=6)
    axis.invert_yaxis()
    axis.tick_params(axis="x", labelsize=6)
    better = "higher" if figure["higher_is_better"] else "lower"
    axis.set_title(textwrap.fill(f"{figure['words']}: {better} is better", TITLE), fontsize=7, loc="left")

"""The lineage of a report as a drawing: every artifact in a box, in layers from the sources down to the models.

An edge that follows from others (raw documents -> a late stage, beside the chain of stages) is left out, as in Aho,
Garey and Ullman 1972, "The transitive reduction of a directed graph". Layers are those of the longest path; in each,
boxes stand near the mean place of what they are made from (Sugiyama, Tagawa and Toda 1981, the barycentre heuristic).
"""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import TopologicalSorter

from pipeline.inspect.in_short import figure
from pipeline.report import html
from pipeline.report.subject import Subject, outdated
from pipeline.store.artifact import Artifact

WIDTH, HEIGHT, ACROSS, DOWN = 168, 44, 18, 30  # pixels: of a box, and between boxes
EDGE, FRAME, STALE = "#9aa7ab", "#cfd8da", "#e76f51"


def drawing(subject: Subject) -> str:
    """The drawing as an SVG element with a legend; "" for no artifacts."""
    graph = {
        name: {given for given in subject.made_of.get(name, ()) if given in subject.artifacts}
        for name in subject.artifacts
    }
    if not graph:
        return ""
    stale = outdated(subject)
    reduced = reduction(graph)
    places = placed(reduced)
    right = max(x for x, _ in places.values()) + WIDTH
    bottom = max(y for _, y in places.values()) + HEIGHT
    edges = "".join(_edge(places[given], places[name]) for name in sorted(reduced) for given in sorted(reduced[name]))
    boxes = "".join(_box(subject.artifacts[name], places[name], name in stale) for name in sorted(places))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="what is made from what" '
        f'viewBox="-2 -2 {right + 4} {bottom + 4}" width="{right + 4}" height="{bottom + 4}">{edges}{boxes}</svg>'
    )
    notes = "".join(
        f'<p class="note">{html.text(name)} was made from an earlier version of {html.text(", ".join(given))}.</p>'
        for name, given in sorted(stale.items())
    )
    return f'<div class="graph">{svg}</div>{notes}'


def reduction(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The graph (node -> what it is made from) without the edges that follow from others."""
    above: dict[str, set[str]] = {}
    for name in TopologicalSorter(graph).static_order():
        above[name] = set().union(*(above[given] | {given} for given in graph.get(name, ())))
    return {
        name: {given for given in direct if not any(given in above[other] for other in direct)}
        for name, direct in graph.items()
    }


def placed(graph: Mapping[str, set[str]]) -> dict[str, tuple[float, float]]:
    """The place of the upper left corner of each box."""
    layer: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        layer[name] = 1 + max((layer[given] for given in graph[name]), default=-1)
    for name in sorted(layer, key=lambda one: -layer[one]):  # a source of one late thing stands just above it
        made = [layer[other] for other, given in graph.items() if name in given]
        if made and not graph[name]:
            layer[name] = min(made) - 1
    widest = max(sum(1 for one in layer.values() if one == at) for at in set(layer.values()))
    middle: dict[str, float] = {}
    found = {}
    for at in sorted(set(layer.values())):
        names = [name for name in sorted(layer) if layer[name] == at]

        def wanted(name: str) -> float:
            given = [middle[one] for one in graph[name] if one in middle]
            return sum(given) / len(given) if given else widest / 2

        names.sort(key=lambda name: (wanted(name), name))
        start = sum(wanted(name) for name in names) / len(names) - (len(names) - 1) / 2
        start = min(max(start, 0.5), widest - len(names) + 0.5)
        for number, name in enumerate(names):
            middle[name] = start + number
            found[name] = ((middle[name] - 0.5) * (WIDTH + ACROSS), float(at * (HEIGHT + DOWN)))
    return found


def _edge(start: tuple[float, float], end: tuple[float, float]) -> str:
    x, y = start[0] + WIDTH / 2, start[1] + HEIGHT
    to_x, to_y = end[0] + WIDTH / 2, end[1]
    bend = DOWN * 0.8
    return (
        f'<path d="M{x:.1f},{y:.1f} C{x:.1f},{y + bend:.1f} {to_x:.1f},{to_y - bend:.1f} {to_x:.1f},{to_y:.1f}"'
        f' fill="none" stroke="{EDGE}" stroke-width="1.5"/>'
    )


def _box(artifact: Artifact, place: tuple[float, float], stale: bool) -> str:
    x, y = place
    colour = STALE if stale else FRAME
    words = said(artifact)
    name = artifact.asset.replace("_", " ")
    first = y + (19 if words else 27)
    box = (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{WIDTH}" height="{HEIGHT}" rx="7" fill="#fff" stroke="{colour}"'
        f' stroke-width="{2 if stale else 1.3}"/>'
    )
    return box + _line(name, x, first, 13, "#1d2a2f") + (_line(words, x, y + 35, 11, "#5c6b70") if words else "")


def _line(words: str, x: float, y: float, size: int, colour: str) -> str:
    """A line of text in the middle of a box whose left side is at `x`."""
    place = f'x="{x + WIDTH / 2:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="middle" fill="{colour}"'
    return f"<text {place}>{html.text(words)}</text>"


def said(artifact: Artifact) -> str:
    """What an artifact is, in two or three words; "" where there is nothing short to say."""
    counts, facts = artifact.counts, artifact.facts
    if "kept" in counts and "in" in counts:
        removed = counts["in"] - counts["kept"]
        return f"{counts['kept']:,} documents" + (f", {removed:,} out" if removed else "")
    if isinstance(facts.get("tokens"), dict):
        return f"{figure(sum(facts['tokens'].values()))} tokens"
    if "vocab_size" in facts:
        return f"{facts['vocab_size']:,} tokens"
    if "parameters" in facts:
        return f"{figure(facts['parameters'])} parameters"
    return ""

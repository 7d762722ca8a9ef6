"""The plane of gender and royalty, one for each way of learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import UserError
from pipeline.inspect.curves import ACCENT, figure_of
from pipeline.word_vectors.analogies import plane
from pipeline.word_vectors.learning import Matrix


def drawn(words: Sequence[str], ways: Mapping[str, Matrix]) -> Any:
    """A figure with a plane for each way: words from masculine to feminine, and from common to royal.

    Raises UserError where the text has no pair of words for one of the axes.
    """
    if not any(True for vectors in ways.values() for _ in plane(words, vectors)):
        raise UserError(
            "The picture is not drawn: the text has no pair such as `man` and `woman`, or none such as `man` and"
            " `king`, often enough; add text, or lower `--fewest`."
        )
    figure, axes = figure_of(-(-len(ways) // 2), 2 if len(ways) > 1 else 1, height=3.4 * -(-len(ways) // 2))
    for place, (way, vectors) in enumerate(ways.items()):
        axis = axes[place]
        for word, gender, royalty in plane(words, vectors):
            axis.plot([gender], [royalty], ".", color=ACCENT, markersize=3)
            axis.annotate(word, (gender, royalty), fontsize=6)
        axis.set_title(way.replace("_", " "), fontsize=9)
        axis.set_xlabel("masculine - feminine", fontsize=8)
        axis.set_ylabel("common - royal", fontsize=8)
        axis.grid(alpha=0.3)
    for axis in axes[len(ways) :]:
        axis.set_axis_off()
    return figure

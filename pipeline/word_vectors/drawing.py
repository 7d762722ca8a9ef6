"""The plane of gender and royalty, one for each way of learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.inspect.curves import ACCENT, figure_of
from pipeline.word_vectors.analogies import plane
from pipeline.word_vectors.learning import Matrix

HANGUL = ("NanumGothic", "Noto Sans CJK KR", "Malgun Gothic", "AppleGothic")  # one of them, where there is one


def drawn(words: Sequence[str], ways: Mapping[str, Matrix]) -> Any:
    """A figure with a plane for each way: words from masculine to feminine, and from common to royal."""
    figure, axes = figure_of(-(-len(ways) // 2), 2 if len(ways) > 1 else 1, height=3.4 * -(-len(ways) // 2))
    for place, (way, vectors) in enumerate(ways.items()):
        axis = axes[place]
        for word, gender, royalty in plane(words, vectors):
            axis.plot([gender], [royalty], ".", color=ACCENT, markersize=3)
            axis.annotate(word, (gender, royalty), fontsize=6, fontfamily=fonts())
        axis.set_title(way.replace("_", " "), fontsize=9)
        axis.set_xlabel("masculine - feminine", fontsize=8)
        axis.set_ylabel("common - royal", fontsize=8)
        axis.grid(alpha=0.3)
    for axis in axes[len(ways) :]:
        axis.set_axis_off()
    return figure


def fonts() -> list[str]:
    """Fonts that are installed, one with Hangul first if there is one."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [*(name for name in HANGUL if name in installed), "DejaVu Sans"]

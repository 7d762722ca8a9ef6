"""Which mixture of languages to try next: a regression of bits per byte over their shares of the training text.

As in RegMix (Liu et al. 2024), small models of several mixtures are trained, and what they score is regressed on the
mixture. The bits per byte of each language are log-linear in the shares of all (Ye et al. 2024, Data Mixing Laws,
equation 6, without its constant): log L_i = sum of t_ij share_j. Their mean, weighted by bytes as the experiment's
figure is, has its minimum inside where each language gains most by its own text; of many mixtures drawn at random
within the range that was tried, the one that is predicted to be best is proposed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pipeline.store.artifact import Artifact
    from pipeline.training.data.feed import FeedSettings

DRAWN = 20_000  # mixtures that are predicted
LEAST_SHARE = 0.01  # a language with less in every cell is not mixed: a few stray documents are no choice
Row = Mapping[str, Any]


def shares(shards: Artifact, feed: FeedSettings) -> dict[str, float]:
    """The share of each language in the tokens that a training draws, by the weights at its start."""
    from pipeline.training.data.feed import training_groups

    drawn: dict[str, float] = {}
    for (source, lang), groups in training_groups(shards).items():
        weight = feed.source_weights.get(source, 1.0) * feed.language_weights.get(lang, 1.0)
        drawn[lang] = drawn.get(lang, 0.0) + weight * sum(group.size for group in groups)
    total = sum(drawn.values()) or 1.0
    return {lang: value / total for lang, value in sorted(drawn.items())}


def fit(rows: Sequence[Row], by_language: Sequence[Row]) -> dict[str, Any]:
    """The regression and the mixture to try next, as shares and as weights on the text as it is.

    rows: of `cells.parquet`. by_language: of `languages.parquet`. `best_measured` is the lowest mean of a setting over
    its seeds. Returns {"too_few": sentence} where there are not more mixtures than languages.
    """
    mixtures = {row["cell"]: json.loads(row["shares"]) for row in rows}
    largest: dict[str, float] = {}
    for mixture in mixtures.values():
        largest |= {lang: max(share, largest.get(lang, 0.0)) for lang, share in mixture.items()}
    languages = sorted(lang for lang, share in largest.items() if share >= LEAST_SHARE)
    matrix = np.array([[mixture.get(lang, 0.0) for lang in languages] for mixture in mixtures.values()])
    different = len({tuple(np.round(line, 4)) for line in matrix})
    if len(languages) < 2 or different <= len(languages):
        return {
            "too_few": f"a regression over {len(languages)} languages needs at least two, and more mixtures than"
            f" languages; these cells have {different}"
        }
    cells = list(mixtures)
    coefficients, weights = [], []
    for lang in languages:
        scored = {row["cell"]: row for row in by_language if row["lang"] == lang}
        if len(scored) < len(cells):  # nothing of it is held back
            continue
        logs = np.log([scored[cell]["bits_per_byte"] for cell in cells])
        coefficients.append(np.linalg.lstsq(matrix, logs, rcond=None)[0])
        weights.append(float(scored[cells[0]]["bytes"]))
    table, of_bytes = np.array(coefficients), np.array(weights) / sum(weights)

    def bits(mixture: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.exp(mixture @ table.T) @ of_bytes
        return found

    measured = np.array([row["bits_per_byte"] for row in rows])
    settings = [row["setting"] for row in rows]
    means = [measured[[one == setting for one in settings]].mean() for setting in dict.fromkeys(settings)]
    low, high = matrix.min(0), matrix.max(0)
    drawn = np.random.default_rng(0).uniform(low, high, (DRAWN, len(languages)))
    drawn /= drawn.sum(1, keepdims=True)
    drawn = np.concatenate([matrix, drawn[((drawn >= low) & (drawn <= high)).all(1)]])  # nothing beyond what was tried
    chosen = drawn[int(np.argmin(bits(drawn)))]
    plain = matrix[0] / np.array([_weight(rows[0], lang) for lang in languages])
    ratio = chosen / np.where(plain > 0, plain, 1.0)
    return {
        "shares": {lang: round(float(value), 4) for lang, value in zip(languages, chosen, strict=True)},
        "weights": {lang: round(float(value / ratio.max()), 3) for lang, value in zip(languages, ratio, strict=True)},
        "predicted": round(float(bits(chosen[None])[0]), 5),
        "best_measured": round(float(min(means)), 5),
        "error": round(float(np.abs(bits(matrix) / measured - 1).mean()), 5),
    }


def _weight(row: Row, lang: str) -> float:
    """The weight that a cell gives a language."""
    weights: dict[str, float] = json.loads(row["weights"])
    return weights.get(lang, 1.0) or 1.0


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The regression in words."""
    if "too_few" in found:
        yield found["too_few"]
        return
    mixture = ", ".join(f"{lang} {share:.0%}" for lang, share in found["shares"].items())
    weights = ", ".join(f"{lang}: {weight}" for lang, weight in found["weights"].items())
    yield (
        f"to try next: {mixture} (`pretraining.feed.language_weights: {{{weights}}}`), predicted"
        f" {found['predicted']:.4f} bits per byte; the best measured {found['best_measured']:.4f}; the regression is"
        f" {found['error']:.1%} off on average"
    )

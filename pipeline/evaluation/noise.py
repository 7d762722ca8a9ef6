"""How much of a difference between models is noise: from checkpoint to checkpoint, and from seed to seed.

Heineman et al. 2025, "Signal and Noise" (arXiv 2508.13144): the signal of a benchmark is the spread of models, the
largest difference between two of them over their mean; its noise is the standard deviation over the last checkpoints of
a training, over their mean. Where the ratio of the two is small, the benchmark does not tell the models apart. Models
that differ in nothing but the seed of their training show the noise from the same side.

The bootstrap interval of a difference says what other questions would have given. It knows nothing of either noise, so
two models are told apart only where the difference is outside of all three.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.store.artifact import Artifact

# The figures of a task that noise is measured on: columns of its items.
SCALES = {"right": "share right", "bits_per_byte": "bits per byte of the right answer"}
LAST = 5  # points of a training whose spread counts as noise
FEWEST = 3  # points below which a spread says nothing
WITHIN = 1.96 * math.sqrt(2)  # 95 % of differences of two figures of the same standard deviation
OF_CHECKPOINTS, OF_SEEDS, OF_QUESTIONS = "checkpoints", "seeds", "questions"


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample; None of fewer than FEWEST values."""
    return round(statistics.stdev(values), 6) if len(values) >= FEWEST else None


def pooled(groups: Sequence[Sequence[float]], fewest: int = 2) -> float | None:
    """The common standard deviation of several groups, each about its own mean; None if no group is large enough."""
    used = [group for group in groups if len(group) >= fewest]
    if not used:
        return None
    squares = sum(statistics.variance(group) * (len(group) - 1) for group in used)
    return math.sqrt(squares / sum(len(group) - 1 for group in used))


def signal_to_noise(
    models: Mapping[str, float], checkpoints: Mapping[str, Sequence[float]], seeds: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Signal and noise of one figure.

    models: the figure of each. checkpoints: of some of them, the figure at the last kept weights and at the end. seeds:
    groups of models that differ by their seed alone; for the signal, a group is one model.

    Returns, where they are known, `signal` (largest difference over the mean), `checkpoints` and `seeds` (standard
    deviations, in the figure's own unit), `noise` (the larger of these), and `ratio` of signal and noise over the mean.
    """
    in_groups = {name for group in seeds for name in group}
    means = [statistics.fmean(models[name] for name in group) for group in seeds]
    means += [value for name, value in models.items() if name not in in_groups]
    known = {
        OF_CHECKPOINTS: pooled(list(checkpoints.values()), FEWEST),
        OF_SEEDS: pooled([[models[name] for name in group] for group in seeds]),
    }
    found: dict[str, Any] = {name: round(value, 6) for name, value in known.items() if value is not None}
    mean = statistics.fmean(means)
    if len(means) > 1 and mean:
        found["signal"] = round((max(means) - min(means)) / abs(mean), 4)
    if found.keys() & known.keys():
        found["noise"] = max(found[name] for name in known if name in found)
        if "signal" in found and found["noise"]:
            found["ratio"] = round(found["signal"] / (found["noise"] / abs(mean)), 2)
    return found


def inside_noise(value: float, noise: Mapping[str, Any]) -> list[str]:
    """What could have made a difference of this size by itself: `checkpoints`, `seeds`."""
    return [name for name in (OF_CHECKPOINTS, OF_SEEDS) if name in noise and abs(value) <= WITHIN * noise[name]]


def groups_of_seeds(models: Mapping[str, Artifact]) -> list[list[str]]:
    """The models that were made of the same things with the same settings, but for the seed, in their order; a model
    that is named twice counts once."""
    alike: dict[str, dict[str, str]] = {}
    for name, model in models.items():
        made_of = model.manifest["made_of"]
        group = alike.setdefault(json.dumps(without_seed(made_of), sort_keys=True), {})
        group.setdefault(json.dumps(made_of, sort_keys=True), name)
    return [list(group.values()) for group in alike.values() if len(group) > 1]


def without_seed(made_of: Mapping[str, Any]) -> dict[str, Any]:
    """What an artifact is made of, without the seed."""
    settings = made_of.get("settings", {})
    return {**made_of, "settings": {name: value for name, value in settings.items() if name != "seed"}}

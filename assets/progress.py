"""What the page of a model shows while it trains: a curve, and how long it still takes, in words."""

from collections.abc import Mapping
from typing import Any

from dagster import MetadataValue

from assets import small_pictures
from pipeline.inspect.in_short import rounded
from pipeline.printing import duration

CURVE, NOW = "so far", "now"


class Live:
    """Turns the reports of a training into metadata of observations."""

    def __init__(self) -> None:
        self.tokens: list[float] = []
        self.losses: list[float] = []
        self.left = ""

    def metadata(self, figures: Mapping[str, Any]) -> dict[str, Any]:
        """A sentence, the curve so far, and the figures, rounded."""
        if "loss" in figures and "tokens" in figures:
            self.tokens.append(float(figures["tokens"]))
            self.losses.append(float(figures["loss"]))
        if "seconds_left" in figures:
            self.left = time_left(figures["seconds_left"])
        shown: dict[str, Any] = {NOW: MetadataValue.text(self.sentence(figures))}
        curve = small_pictures.curve(self.tokens, self.losses, "loss")
        if curve is not None:
            shown[CURVE] = curve
        hidden = ("seconds_left", "step", "steps", "part", "done", "of")
        for name, value in figures.items():
            if name not in hidden:
                shown[name.replace("_", " ")] = rounded(value) if isinstance(value, int | float) else value
        return shown

    def sentence(self, figures: Mapping[str, Any]) -> str:
        """`step 400 of 2,000 (20%), loss 2.312, 12 min left`."""
        if "part" in figures:
            return f"{figures['part']}: {figures['done']:,} of {figures['of']:,}"
        parts = []
        if "step" in figures and "steps" in figures:
            share = figures["step"] / max(figures["steps"], 1)
            parts.append(f"step {figures['step']:,} of {figures['steps']:,} ({share:.0%})")
        for name, words in (("loss", "loss"), ("validation_loss", "loss on text held back")):
            if name in figures:
                parts.append(f"{words} {figures[name]:.3f}")
        return ", ".join([*parts, *([self.left] if self.left else [])])


def time_left(seconds: float) -> str:
    """`12 min left`: no finer than such an estimate is."""
    if seconds < 60:
        return "under a minute left"
    return f"{seconds / 60:.0f} min left" if seconds < 5400 else f"{duration(60 * round(seconds / 60))} left"

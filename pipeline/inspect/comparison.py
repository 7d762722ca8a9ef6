"""Runs of MLflow side by side, on the terminal: settings that differ, figures, and all curves in a picture.

What MLflow's compare page shows, without a browser and for as many runs as there are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import tracking
from pipeline.errors import UserError
from pipeline.printing import aligned

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

CURVES = ("train/loss", "validation/loss")
MOST_RUNS = 5000
SHORT = 8  # letters of an id that are shown
AS_BY_DEFAULT = "(default)"  # MLflow holds the settings that the recipe changes
WIDEST = 32  # letters of a setting that are shown


def compared(names: tuple[str, ...] | list[str], picture: Path | None = None) -> str:
    """The comparison as text; curves go to `picture`. A name is the id of a run, its first letters, or `asset/version`.

    Raises UserError for a name that no run, or more than one, answers to.
    """
    client = tracking.connect()
    runs = find(client, names)
    heads = [f"{run.info.run_name} {run.info.run_id[:SHORT]}" for run in runs]
    parts = [
        "settings that differ\n" + aligned(["", *heads], differing([run.data.params for run in runs])),
        "figures\n" + aligned(["", *heads], side_by_side([run.data.metrics for run in runs])),
    ]
    if picture is not None and draw(client, runs, heads, picture):
        parts.append(f"curves: {picture}")
    return "\n\n".join(parts)


def find(client: MlflowClient, names: tuple[str, ...] | list[str]) -> list[Run]:
    """The runs that the names stand for, in their order."""
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    every = client.search_runs([experiment.experiment_id], max_results=MOST_RUNS) if experiment else []
    chosen = []
    for name in names:
        asset, _, version = name.partition("/")
        met = [
            run
            for run in every
            if run.info.run_id.startswith(name)
            or (version and run.data.tags.get("slm.asset") == asset and fingerprint(run).startswith(version))
        ]
        if not met:
            raise UserError(f"No run of MLflow answers to `{name}`: give an id, its first letters, or asset/version.")
        if len(met) > 1 and not version:
            ids = ", ".join(run.info.run_id[:12] for run in met[:5])
            raise UserError(f"`{name}` may be one of {len(met)} runs ({ids}): give more letters of the id.")
        chosen.append(met[0])  # of one artifact, the newest
    return chosen


def fingerprint(run: Run) -> str:
    return run.data.tags.get(tracking.FINGERPRINT, "")


def differing(settings: list[dict[str, str]]) -> list[list[str]]:
    """Rows of settings that are not the same in all runs."""
    names = sorted({name for of in settings for name in of})
    return [
        [name, *(of.get(name, AS_BY_DEFAULT)[:WIDEST] for of in settings)]
        for name in names
        if len({of.get(name, AS_BY_DEFAULT) for of in settings}) > 1
    ] or [["(none)", *("" for _ in settings)]]


def side_by_side(figures: list[dict[str, float]]) -> list[list[str]]:
    """Rows of the last value of each figure, but those of the machine."""
    names = sorted({name for of in figures for name in of if not name.startswith("system/")})
    return [[name, *(f"{of[name]:.5g}" if name in of else "-" for of in figures)] for name in names]


def draw(client: MlflowClient, runs: list[Run], heads: list[str], picture: Path) -> bool:
    """Loss and validation loss of all runs in one picture; False where no run has a curve."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots()
    drawn = False
    for number, (run, head) in enumerate(zip(runs, heads, strict=True)):
        for curve, style in zip(CURVES, ("-", "--"), strict=True):
            points = client.get_metric_history(run.info.run_id, curve)
            if points:
                points.sort(key=lambda point: point.step)
                steps, values = [point.step for point in points], [point.value for point in points]
                axes.plot(steps, values, style, color=f"C{number % 10}", label=f"{head}: {curve}", linewidth=1.2)
                drawn = True
    if drawn:
        axes.set_xlabel("tokens")
        axes.set_ylabel("loss")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
        figure.savefig(picture, dpi=110)
    return drawn

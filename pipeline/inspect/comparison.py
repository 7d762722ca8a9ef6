"""Compares MLflow runs on the terminal: settings that differ, figures, and all curves in one picture.

It shows what MLflow's comparison page shows, without a browser and for any number of runs.
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
ID_CHARACTERS = 8  # of a run id, as shown
DEFAULT = "(default)"  # MLflow has only the settings that the recipe changes
SETTING_CHARACTERS = 32  # of a setting, as shown


def compared(names: tuple[str, ...] | list[str], picture: Path | None = None) -> str:
    """The comparison as text; curves are drawn to `picture`. A name is a run's id, the id's start, or asset/version.

    Raises UserError for a name that matches no run or several.
    """
    client = tracking.connect()
    runs = find(client, names)
    heads = [f"{run.info.run_name} {run.info.run_id[:ID_CHARACTERS]}" for run in runs]
    parts = [
        "settings that differ\n" + aligned(["", *heads], differing([run.data.params for run in runs])),
        *made_on(runs, heads),
        "figures\n" + aligned(["", *heads], side_by_side([run.data.metrics for run in runs])),
    ]
    if picture is not None and draw(client, runs, heads, picture):
        parts.append(f"curves: {picture}")
    return "\n\n".join(parts)


def find(client: MlflowClient, names: tuple[str, ...] | list[str]) -> list[Run]:
    """The runs with these names, in the same order."""
    runs = client.search_runs(tracking.experiments_here(client), max_results=MOST_RUNS)
    selected = []
    for name in names:
        asset, _, version = name.partition("/")
        matching = [
            run
            for run in runs
            if run.info.run_id.startswith(name)
            or (version and run.data.tags.get("slm.asset") == asset and fingerprint(run).startswith(version))
        ]
        if not matching:
            raise UserError(f"No MLflow run matches `{name}`: give an id, the start of one, or asset/version.")
        if len(matching) > 1 and not version:
            ids = ", ".join(run.info.run_id[:12] for run in matching[:5])
            raise UserError(f"`{name}` matches {len(matching)} runs ({ids}): give more characters of the id.")
        selected.append(matching[0])  # the newest run of an artifact
    return selected


def fingerprint(run: Run) -> str:
    return run.data.tags.get(tracking.FINGERPRINT, "")


def made_on(runs: list[Run], heads: list[str]) -> list[str]:
    """What the runs were made on, where it differs, and which of them are makings of one version."""
    tags = [
        {n.removeprefix(tracking.MADE_ON): v for n, v in run.data.tags.items() if n.startswith(tracking.MADE_ON)}
        for run in runs
    ]
    parts = []
    if any(tags) and any(found != tags[0] for found in tags):
        names = sorted({name for found in tags for name in found})
        rows = [[name, *(found.get(name, "-") for found in tags)] for name in names]
        parts.append("made on\n" + aligned(["", *heads], [row for row in rows if len(set(row[1:])) > 1]))
    for fingerprints in sorted({fingerprint(run) for run in runs} - {""}):
        same = [head for run, head in zip(runs, heads, strict=True) if fingerprint(run) == fingerprints]
        if len(same) > 1:
            parts.append(
                f"{' and '.join(same)} are makings of one version: where their figures differ, so does what they were"
                " made on"
            )
    return parts


def differing(settings: list[dict[str, str]]) -> list[list[str]]:
    """Rows of the settings that are not the same in all runs."""
    names = sorted({name for run in settings for name in run})
    return [
        [name, *(run.get(name, DEFAULT)[:SETTING_CHARACTERS] for run in settings)]
        for name in names
        if len({run.get(name, DEFAULT) for run in settings}) > 1
    ] or [["(none)", *("" for _ in settings)]]


def side_by_side(figures: list[dict[str, float]]) -> list[list[str]]:
    """Rows of the last value of each figure, without system metrics and what is shown twice."""
    names = sorted({name for run in figures for name in run if not name.startswith(("system/", "curves/"))})
    return [[name, *(f"{run[name]:.5g}" if name in run else "-" for run in figures)] for name in names]


def draw(client: MlflowClient, runs: list[Run], heads: list[str], picture: Path) -> bool:
    """Draw training and validation loss of all runs in one picture; False if no run has a curve."""
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
        picture.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(picture, dpi=110)
    return drawn

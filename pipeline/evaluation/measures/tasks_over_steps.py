"""Tasks at earlier points of the training, on the weights that were kept (`pretraining.kept_weights`).

The curve shows what is learned when. How far its last points lie apart is the noise of a figure: a difference between
two models that is smaller says nothing (`noise.py`).
"""

from __future__ import annotations

from typing import Any

import polars as pl

from pipeline.evaluation.measure import Measure, Result, Subject
from pipeline.evaluation.measure_settings import MeasureSettings
from pipeline.evaluation.measures.tasks import score
from pipeline.evaluation.noise import LAST, SCALES, spread
from pipeline.evaluation.tasks import shots, task_items
from pipeline.store.artifact import Artifact
from pipeline.training import kept_weights
from pipeline.training.model_facts import ModelFacts

TABLE = "task_curves"
POINT: dict[str, Any] = {
    "task": pl.String, "shots": pl.Int64, "step": pl.Int64, "tokens": pl.Int64, "questions": pl.Int64,
    **dict.fromkeys(SCALES, pl.Float64),
}  # fmt: skip


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """By task: how many points, and the standard deviation of the last LAST; the points as a table and as curves.

    Each task is asked with its smallest number of examples. No figures of a model without kept weights.
    """
    model = subject.inputs["model"]
    directory = model.local_directory()
    kept = kept_weights.kept(directory)
    if not kept:
        return Result()
    rows = points(subject, settings, model, kept)
    table = pl.DataFrame(rows, schema=POINT, orient="row").sort("task", "step")
    groups: dict[str, Any] = {}
    for (task,), part in table.group_by("task", maintain_order=True):
        last = part.tail(LAST)
        groups[str(task)] = {
            "points": part.height, "last": last.height,
            **{scale: {"noise": spread(last[scale].to_list())} for scale in SCALES},
        }  # fmt: skip
    curves: dict[int, dict[str, float]] = {}
    for row in table.iter_rows(named=True):
        curves.setdefault(row["tokens"], {}).update({f"{row['task']}.{scale}": row[scale] for scale in SCALES})
    return Result(groups, tables={TABLE: table}, curves=curves)


def points(subject: Subject, settings: MeasureSettings, model: Artifact, kept: list[tuple[int, Any]]) -> list[tuple]:
    """A row of POINT for each task at each kept step, and at the end; the network's weights are the last ones again."""
    facts, last = ModelFacts.of(model), {name: p.detach().clone() for name, p in subject.network.named_parameters()}
    items = subject.inputs["evaluation_tasks"]
    found = []
    for number, (step, path) in enumerate([*kept, (facts.steps, None)]):
        if path is not None:
            kept_weights.load_into(subject.network, path)
        else:
            subject.network.load_state_dict(last, strict=False)
        for task in settings.tasks:
            questions = task_items.read(items, task.name)
            most = min(max(task.shots), len(questions) // 2)
            fewest = min(*task.shots, most)
            examples, asked = shots.split(questions, most)
            prompts = shots.with_examples(asked, examples[:fewest])
            rows, _ = score(subject, prompts, asked, settings.batch_tokens)
            values = [round(float(rows[scale].cast(pl.Float64).mean()), 6) for scale in SCALES]  # type: ignore[arg-type]
            found.append((task.name, fewest, step, step * facts.batch_tokens, len(asked), *values))
        subject.progress(number + 1, len(kept) + 1)
    return found


MEASURE: Measure[MeasureSettings] = Measure(
    name="tasks_over_steps",
    description="questions with choices at earlier points of the training, and how far the last points lie apart",
    run=run,
    needs=("model", "evaluation_tasks"),
    enabled=lambda settings: bool(settings.tasks),
)

"""The built-in measures, one per file; `MEASURES` lists them in the order in which they run.

To add one, add a file with its `MEASURE`, and its name to this list.
"""

from __future__ import annotations

from pipeline.evaluation.measure import Measure
from pipeline.evaluation.measure_settings import MeasureSettings
from pipeline.evaluation.measures import (
    answers,
    before_after,
    bias,
    covered_items,
    free_answers,
    language_modelling,
    preferences,
    programs,
    samples,
    tasks,
    tasks_over_steps,
    toxicity,
    village,
    village_answers,
)

MEASURES: tuple[Measure[MeasureSettings], ...] = tuple(
    measure.MEASURE
    for measure in (
        language_modelling,
        tasks,
        tasks_over_steps,
        programs,
        free_answers,
        bias,
        samples,
        toxicity,
        village,
        village_answers,
        answers,
        before_after,
        preferences,
        covered_items,
    )
)

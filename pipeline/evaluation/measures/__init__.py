"""One measure a file; `MEASURES` has them in the order in which they are run.

A new one is a file here with its `MEASURE`, and its name in this list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.evaluation.measures import answers, covered_items, language_modelling, preferences, samples

if TYPE_CHECKING:
    from pipeline.evaluation.evaluation_settings import EvaluationSettings
    from pipeline.evaluation.measure import Measure

MEASURES: tuple[Measure[EvaluationSettings], ...] = tuple(
    measure.MEASURE for measure in (language_modelling, samples, answers, preferences, covered_items)
)

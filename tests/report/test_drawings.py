"""The drawings of the report hold what they are to show."""

import polars as pl
import pytest
from matplotlib.figure import Figure

from pipeline.report import drawings


@pytest.mark.parametrize(("values", "shown"), [([0.94, 1.0], 2), ([0.5], 1), ([0.01 * n for n in range(1000)], 990)])
def test_of_few_documents_each_is_in_the_histogram(monkeypatch, values, shown):
    found = []

    def svg(size, draw, label):
        axes = Figure().subplots()
        draw(axes)
        found.append(sum(bar.get_height() for bar in axes.patches))
        return ""

    monkeypatch.setattr(drawings, "svg", svg)
    drawings.histogram({"kept": pl.Series([], dtype=pl.Float64), "removed": pl.Series(values)}, [0.8], "jaccard")
    assert found == [shown]

"""Histograms of a stage's page: every limit in force has its line, on the figure that it is a limit of."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assets import display
from pipeline.curation.duplicates import near
from pipeline.curation.filters import heuristics, keywords, language
from pipeline.curation.rules import Limit, Rule, in_force
from pipeline.curation.stages import Curation
from pipeline.documents.stage import own_stage
from pipeline.inspect import signals
from pipeline.inspect.rules_reference import declared_by
from pipeline.settings import StageSettings

TEXTS = [
    *("The " + " ".join(f"word{number}" for number in range(count)) + "." for count in range(20, 120, 5)),
    *("항구는 조용했다. " * count for count in range(3, 40, 3)),
    *("항구는 조용했다. " * 6 + "The harbour was quiet and the boats came home. " * count for count in (2, 3, 4)),
    *("def f(x):\n    return x + 1\n\n\n" * count + "y = '" + "-" * count + "'\n" for count in range(4, 40, 4)),
]
DOCUMENTS = pl.DataFrame(
    {
        "doc_id": [hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() for text in TEXTS],
        "text": TEXTS,
        "source": "s",
        "lang": ["en" if text.startswith("The ") else None for text in TEXTS],
    }
)
DECLARED = declared_by(Curation())
DECIDING = [declared for declared in DECLARED if any(isinstance(r, Rule) and r.limits for r in declared.reasons)]


def title_of(axis) -> str:
    """Its title, which may go over several lines."""
    return axis.get_title().replace("\n", " ")


def decisions(asset: str, settings: StageSettings) -> pl.DataFrame:
    """A table of decisions of a stage, as its page reads it."""
    by_fragment = {"language": language, "keyword": keywords, "heuristic": heuristics}.get(asset.partition("_")[0])
    count = DOCUMENTS.height
    if by_fragment is not None:
        columns = by_fragment.signals(DOCUMENTS, settings, {})
        chosen = by_fragment.decide(columns, settings)
    else:
        names = ("perplexity", "percentile", "deviation", "order", "quality", "rank", "page_score")
        names += ("jaccard", "share")
        columns = pl.DataFrame({name: np.linspace(0, 1, count) for name in names})
        chosen = pl.DataFrame({"keep": [True, False] * (count // 2) + [True] * (count % 2)})
        chosen = chosen.with_columns(
            reason=pl.when(~pl.col("keep")).then(pl.lit("contained")),
            score=pl.Series(np.linspace(0, 1, count)),
        )
    return DOCUMENTS.select("doc_id", "source", "text").hstack(chosen).hstack(columns)


def lines_of(axis) -> list[float]:
    """Where the axis has lines, and the limits that its title names."""
    limits = title_of(axis).partition(" (limit ")[2]
    named = [word for part in limits.removesuffix(")").split(", ") for word in part.split()[-1:]]
    drawn = [float(line.get_xdata()[0]) for line in axis.get_lines()]
    return drawn + [float(word.replace(",", "")) for word in named]


@pytest.mark.parametrize("declared", DECIDING, ids=lambda declared: declared.asset)
def test_every_limit_in_force_has_its_line_and_no_other_figure_has_one(declared):
    settings = declared.settings
    figure = signals.drawing(decisions(declared.asset, settings), declared.reasons, settings)
    found = {
        title_of(axis).partition(" (limit ")[0]: sorted(set(lines_of(axis)))
        for axis in figure.axes
        if axis.get_visible()
    }
    expected: dict[str, set[float]] = {}
    for rule in in_force(declared.reasons, settings):
        for limit in rule.limits:
            expected.setdefault(limit.signal, set()).add(float(limit.value(settings)))
    assert {name: lines for name, lines in found.items() if lines} == {
        name: sorted(values) for name, values in expected.items()
    }


def test_a_limit_of_a_density_is_no_line_on_a_count():
    settings = keywords.Settings()
    drawn = signals.histograms(decisions("keyword_decisions", settings), keywords.RULES, settings)
    assert [one.name for one in drawn] == [
        f"{listed} in 1,000 words" for listed in ("listed", "slurs", "sexual", "spam", "profanity")
    ]
    table = pl.DataFrame({"profanity": [3], "words": [150]})
    assert table.select(drawn[-1].figure).item() == 15


def test_the_limit_of_korean_is_named_where_it_is_another():
    settings = heuristics.Settings()
    drawn = signals.histograms(decisions("heuristic_decisions", settings), heuristics.RULES, settings)
    lines = {one.name: one.lines for one in drawn}
    assert lines["words"] == [(50, ""), (30, "Korean"), (100_000, "")]
    assert lines["dup_line_chars"] == [(0.2, ""), (0.1, "")] and lines["stop_words"] == [(2, "")]
    figure = signals.drawing(decisions("heuristic_decisions", settings), heuristics.RULES, settings)
    axis = next(axis for axis in figure.axes if title_of(axis).startswith("words"))
    assert title_of(axis) == "words (limit 100,000)"
    assert {text.get_text() for text in axis.texts} == {"Korean"}


def test_a_rule_that_is_off_has_no_line():
    settings = near.Settings()
    frame = decisions("duplicate_decisions", settings)
    names = [one.name for one in signals.histograms(frame, near.RULES, settings) if one.lines]
    assert names == ["jaccard"]
    settings = near.Settings(containment=0.9)
    names = [one.name for one in signals.histograms(frame, near.RULES, settings) if one.lines]
    assert names == ["jaccard", "containment"]


def test_a_stage_of_ones_own_has_its_lines():
    stage = own_stage(str(Path(__file__).parents[1] / "examples" / "own_stage.py"))
    settings = stage.settings()
    columns = stage.signals(DOCUMENTS, settings, {})
    frame = columns.hstack(stage.decide(columns, settings))
    (drawn,) = signals.histograms(frame, stage.rules, settings)
    assert (drawn.name, drawn.lines) == ("exclamation_share", [(0.02, "")])


def test_a_stage_that_is_switched_off_has_no_histograms():
    frame = DOCUMENTS.select("doc_id", keep=pl.lit(True), reason=pl.lit(None), score=pl.lit(None, pl.Float64))
    settings = heuristics.Settings(enabled=False)
    assert signals.drawing(frame, heuristics.RULES, settings) is None


def test_limited_figures_are_drawn_however_many_other_numbers_there_are(monkeypatch):
    monkeypatch.setattr(signals, "MOST_HISTOGRAMS", 3)
    frame = pl.DataFrame({"keep": [True, False], **{f"n{i}": [0, i] for i in range(1, 9)}})
    rules = [Rule("r", "m", limits=tuple(Limit(f"n{i}", ">", "max_words") for i in (5, 8)))]
    drawn = signals.histograms(frame, rules, heuristics.Gopher(max_words=2))
    assert [one.name for one in drawn] == ["n5", "n8", "n1"]


def test_every_reason_on_a_page_has_words():
    for declared in DECLARED:
        counts = {"in": 9, "removed": {reason.name: 1 for reason in declared.reasons}}
        rows = display.removals(counts, declared.reasons).records
        assert {row.data["reason"]: row.data["meaning"] for row in rows} == {
            reason.name: reason.meaning for reason in declared.reasons
        }

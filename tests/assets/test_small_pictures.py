"""Pictures that Dagster shows without a click: Markdown of fewer than 1,000 characters, whatever is drawn."""

import base64
import math
import xml.etree.ElementTree as ElementTree

import polars as pl

from assets import columns, display, evaluation, progress, small_pictures
from pipeline.evaluation.measure import SAMPLE

LIMIT = 1000  # of Dagster's page (`expandSmallValues`)


def svg_of(shown) -> ElementTree.Element:
    assert len(shown.value) < LIMIT
    head, _, content = shown.value.partition("base64,")
    assert head.startswith("![") and head.endswith("](data:image/svg+xml;")
    return ElementTree.fromstring(base64.b64decode(content.removesuffix(")")))


def words_of(svg: ElementTree.Element) -> str:
    return " ".join(svg.itertext())


def test_a_curve_of_any_length_is_shown_at_once():
    steps = [1024 * number for number in range(20_000)]
    svg = svg_of(small_pictures.curve(steps, [7.5 / (1 + step / 1e5) for step in steps], "loss on text held back"))
    assert "7.5 to 0.0364" in words_of(svg) and "20.5 M tokens" in words_of(svg)
    path = next(element.get("d") for element in svg.iter() if element.get("d"))
    places = [tuple(map(float, part.split())) for part in path.removeprefix("M").split("L")]
    assert 20 < len(places) <= small_pictures.POINTS + 1
    assert places[0][1] < places[-1][1], "a falling loss falls"


def test_a_curve_of_one_point_or_of_no_numbers_is_not_drawn():
    assert small_pictures.curve([1], [2.0], "loss") is None
    assert small_pictures.curve([1, 2], [math.nan, 2.0], "loss") is None


def test_bars_name_what_they_show_in_any_script():
    values = {f"이름이 아주 길고 <복잡한> 까닭 {number}": 10**number for number in range(12)}
    svg = svg_of(small_pictures.bars(values))
    assert "이름이 아주 길고" in words_of(svg) and "10,000" in words_of(svg)
    assert small_pictures.bars({}) is None


def test_an_evaluation_is_drawn_by_its_shares_those_by_language_first():
    facts = {
        "bits_per_byte": 0.26, "bleu.ko": 63.4, "ended": 0.97, "perplexity": 1.0,
        "village.facts.en": 0.998, "village.facts.ko": 1.0,
    }  # fmt: skip
    drawn = small_pictures.shares(facts)
    assert list(drawn) == ["facts (English)", "facts (Korean)", "ended"] and drawn["ended"] == 0.97


def test_samples_of_an_evaluation_begin_with_text_and_with_answers():
    rows = [
        {
            "kind": kind,
            "source": None,
            "lang": lang,
            "prompt": f"{kind}?",
            "output": "x",
            "reference": None,
            "ended": True,
        }
        for kind, lang in [("sampled", None)] * 5 + [("answer", "ko")]
    ]
    shown = evaluation.samples(pl.DataFrame(rows, schema=SAMPLE))
    assert [column.name for column in shown.schema.columns] == ["prompt", "output", "reference", "kind", "lang"]
    assert [record.data["prompt"] for record in shown.records] == ["answer?"] + ["sampled?"] * evaluation.OF_A_KIND
    assert "None" not in {value for record in shown.records for value in record.data.values()}


def test_what_is_nested_is_shown_in_words():
    row = display._row(
        {"kept": 120, "removed": {"empty": 3, "bad": 1}, "lists": ["a", "b"], "none": {}, "id": "x" * 99}
    )
    assert row["removed"] == "empty 3, bad 1" and row["lists"] == "a, b" and row["none"] == "" and row["kept"] == 120
    assert len(row["id"]) == display.CELL


def test_a_live_training_says_how_long_it_still_takes_and_draws_its_curve():
    live = progress.Live()
    shown = {}
    for step in range(1, 6):
        shown = live.metadata(
            {"step": step * 100, "steps": 2000, "tokens": step * 1e5, "loss": 4.0 / step, "seconds_left": 720.3,
             "tokens_per_second": 1234.56789}
        )  # fmt: skip
    assert list(shown)[:2] == [progress.NOW, progress.CURVE]
    assert shown[progress.NOW].value == "step 500 of 2,000 (25%), loss 0.800, 12 min left"
    assert shown["tokens per second"] == 1235, "rounded"
    svg_of(shown[progress.CURVE])
    later = live.metadata({"step": 500, "steps": 2000, "tokens": 5e5, "validation_loss": 0.9})
    assert later[progress.NOW].value == "step 500 of 2,000 (25%), loss on text held back 0.900, 12 min left"
    assert live.metadata({"part": "answers", "done": 3, "of": 64})[progress.NOW].value == "answers: 3 of 64"


def test_columns_of_tables_and_figures_of_rules_are_described():
    assert columns.described("doc_id") and columns.described("keep")
    assert "gopher_short" in (columns.described("words") or "")
    assert columns.described("nothing of the kind") is None


def test_the_reasons_of_a_single_source_fit_beside_its_bar():
    reasons = {f"gopher_reason_{number}": number + 1 for number in range(20)}
    figure = display._removals_chart({"notes": {"in": 1000, "kept": 790, "removed": reasons}})
    assert display.png(figure)  # a layout that does not fit is a warning, and so an error here
    drawn = figure.canvas.get_renderer()
    legend = figure.axes[0].get_legend().get_window_extent(drawn)
    assert legend.y0 >= 0 and legend.y1 <= figure.bbox.y1 and legend.x1 <= figure.bbox.x1

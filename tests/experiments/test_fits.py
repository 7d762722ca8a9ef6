"""Laws of scaling and of mixtures find again what figures were made from, and refuse to guess from too little."""

import json
import math
from itertools import product
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from pipeline.experiments import drawing, mixtures, scaling
from pipeline.store.draft import Draft
from pipeline.store.store import Store

TRUE = {"log_e": math.log(0.9), "log_a": math.log(40.0), "log_b": math.log(90.0), "alpha": 0.35, "beta": 0.38}


def rows(sizes: tuple[float, ...], lengths: tuple[float, ...], noise: float = 0.0) -> list[dict]:
    random = np.random.default_rng(1)
    return [
        {
            "flops": 6 * size * tokens,
            "tokens": tokens,
            "bits_per_byte": scaling.predicted(TRUE, size, tokens) * math.exp(noise * random.standard_normal()),
        }
        for size, tokens in product(sizes, lengths)
    ]


SIZES, LENGTHS = (1e5, 2e5, 4e5, 8e5), (1e5, 3e5, 1e6, 3e6)


@pytest.fixture(scope="module")
def fit():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scaling, "DRAWS", 40)
        yield scaling.fit([*rows(SIZES, LENGTHS, 0.001), *rows((3e6,), (3e6,))])


def test_hoffmanns_law_is_found_again_within_its_intervals(fit):
    found = fit["hoffmann"]
    for name in ("alpha", "beta"):
        assert found["low"][name] <= TRUE[name] <= found["high"][name]
        assert found["at"][name] == pytest.approx(TRUE[name], rel=0.3)
    assert found["error"] < 0.002


def test_a_size_three_times_larger_than_any_other_is_predicted_and_not_fitted(fit):
    assert fit["points"] == len(SIZES) * len(LENGTHS) and fit["far"] == pytest.approx(3.75)
    assert abs(fit["hoffmann"]["far_error"]) < 0.01
    assert any("3.8 times larger than any fitted" in line for line in scaling.lines(fit))


def test_the_law_is_drawn_through_its_cells_and_says_which_it_only_predicts(fit, tmp_path):
    cells = [*rows(SIZES, LENGTHS), *rows((3e6,), (3e6,))]
    pl.DataFrame(cells).write_parquet(tmp_path / "cells")
    made = SimpleNamespace(table=lambda name: tmp_path / name, facts={"fit": fit})
    figure = drawing.drawn_law(made)
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == ["0.1 M", "0.2 M", "0.4 M", "0.8 M", "3 M (predicted)"]
    law, points = figure.axes[0].lines[0], figure.axes[0].lines[1]
    assert points.get_xdata().tolist() == list(LENGTHS)
    assert np.interp(3e5, *law.get_data()) == pytest.approx(scaling.predicted(TRUE, 1e5, 3e5), rel=0.01)
    assert drawing.drawn_law(SimpleNamespace(facts={"fit": {"too_few": "..."}})) is None
    assert drawing.drawn_law(SimpleNamespace(facts={})) is None, "an experiment that fits nothing"


def test_the_best_size_has_the_fewest_bits_of_all_that_cost_the_same():
    flops = 1e13
    size, tokens = scaling.best_size(TRUE, flops)
    assert 6 * size * tokens == pytest.approx(flops)
    tried = np.geomspace(size / 10, size * 10, 401)
    bits = [scaling.predicted(TRUE, each, flops / 6 / each) for each in tried]
    assert tried[int(np.argmin(bits))] == pytest.approx(size, rel=0.02)


def test_kaplans_law_is_the_formula_of_its_paper():
    at = np.array([math.log(8.8e13), math.log(5.4e13), 0.076, 0.103])
    expected = ((8.8e13 / 1e9) ** (0.076 / 0.103) + 5.4e13 / 1e10) ** 0.103
    assert math.exp(scaling.kaplan(at, np.array([1e9]), np.array([1e10]))[0][0]) == pytest.approx(expected)


@pytest.mark.parametrize(("law", "at"), [("hoffmann", [0.1, 3.0, 4.0, 0.3, 0.4]), ("kaplan", [20.0, 22.0, 0.1, 0.2])])
def test_the_derivatives_of_a_law_are_those_of_its_formula(law, at):
    formula, point = scaling.LAWS[law][0], np.array(at)
    given = np.array([1e5, 1e6]), np.array([3e5, 1e7])
    for column in range(len(point)):
        step = np.zeros(len(point))
        step[column] = 1e-6
        slope = (formula(point + step, *given)[0] - formula(point - step, *given)[0]) / 2e-6
        assert formula(point, *given)[1][:, column] == pytest.approx(slope, rel=1e-4)


def test_too_few_sizes_are_said_instead_of_fitted():
    found = scaling.fit(rows((1e5, 2e5), LENGTHS))
    assert list(scaling.lines(found)) == ["a law needs 3 sizes and 3 numbers of tokens, and these cells have 2 and 4"]


def test_the_plan_says_what_the_fit_of_this_text_says_of_it(tmp_path):
    store = Store(tmp_path, "r")
    assert list(scaling.for_plan(store, 6e12, 10**6)) == []

    def build(draft: Draft) -> None:
        draft.facts = {"fit": {"largest_flops": 1e11, "far": 4.9, "hoffmann": {"at": TRUE, "far_error": -0.054}}}

    store.make("experiment_scaling", code_version="1", settings={}, inputs={}, build=build, log=lambda line: None)
    (line,) = scaling.for_plan(store, 6e12, 10**6)
    size, _ = scaling.best_size(TRUE, 6e12)
    assert "60 times beyond what was fitted" in line
    assert line.endswith("; it was -5.4% off at a size 4.9 times larger than any fitted"), "how far it can be trusted"
    assert f"{scaling.predicted(TRUE, 1e6, 1e6):.3f} bits" in line and f"{size / 1e6:.3g} M parameters" in line


# -- mixtures ----------------------------------------------------------------------------------------------------------

TABLE = {"en": {"en": 0.2, "ko": 0.9}, "ko": {"en": 1.1, "ko": 0.3}}
BYTES = {"en": 3000, "ko": 1000}


def mixed(*korean: float) -> tuple[list[dict], list[dict]]:
    cells, languages = [], []
    for share in korean:
        shares = {"en": 1 - share, "ko": share}
        bits = {lang: math.exp(sum(t * shares[other] for other, t in row.items())) for lang, row in TABLE.items()}
        name = f"{share:.0%}"
        total = sum(bits[lang] * BYTES[lang] for lang in bits) / sum(BYTES.values())
        weights = {"ko": share / (1 - share) / (0.5 / 0.5)}
        about = {"shares": json.dumps(shares), "weights": json.dumps(weights)}
        cells.append({"cell": name, "setting": name, **about, "bits_per_byte": total})
        languages += [{"cell": name, "lang": lang, "bits_per_byte": bits[lang], "bytes": BYTES[lang]} for lang in bits]
    return cells, languages


def test_the_mixture_to_try_next_is_the_best_within_what_was_tried():
    found = mixtures.fit(*mixed(0.5, 0.1, 0.9, 0.3))
    shares = np.linspace(0.1, 0.9, 1001)
    exact = [
        sum(math.exp(row["en"] * (1 - share) + row["ko"] * share) * BYTES[lang] for lang, row in TABLE.items())
        for share in shares
    ]
    assert found["shares"]["ko"] == pytest.approx(shares[int(np.argmin(exact))], abs=0.02)
    assert found["error"] < 1e-6 and found["predicted"] <= found["best_measured"] + 1e-9
    ratio = found["weights"]["ko"] / found["weights"]["en"]
    assert ratio == pytest.approx(found["shares"]["ko"] / found["shares"]["en"], rel=0.01)
    narrow = mixtures.fit(*mixed(0.5, 0.6, 0.7))
    assert narrow["shares"]["ko"] == pytest.approx(0.5, abs=0.01), "no guess beyond what was tried"


def test_stray_documents_of_other_languages_do_not_keep_from_a_proposal():
    cells, languages = mixed(0.5, 0.1, 0.9, 0.3)
    plain = mixtures.fit(cells, languages)
    for cell in cells:
        shares = json.loads(cell["shares"])
        cell["shares"] = json.dumps({lang: share * 0.9999 for lang, share in shares.items()} | {"fi": 0.0001})
    found = mixtures.fit(cells, languages)
    assert found["shares"] == pytest.approx(plain["shares"], abs=0.01) and "fi" not in found["weights"]


def test_the_best_measured_is_a_mean_over_seeds():
    cells, languages = mixed(0.5, 0.1, 0.9, 0.3)
    lucky = [{**cell, "cell": cell["cell"] + ", seed 1", "bits_per_byte": cell["bits_per_byte"] - 1} for cell in cells]
    languages += [{**row, "cell": row["cell"] + ", seed 1"} for row in languages]
    means = [cell["bits_per_byte"] - 0.5 for cell in cells]
    assert mixtures.fit(cells + lucky, languages)["best_measured"] == pytest.approx(min(means), abs=1e-4)


def test_too_few_mixtures_are_said_instead_of_fitted():
    (said,) = mixtures.lines(mixtures.fit(*mixed(0.5, 0.1)))
    assert "more mixtures than languages; these cells have 2" in said

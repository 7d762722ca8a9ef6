"""Signal and noise: spread over checkpoints and seeds, and what a difference between two models is worth."""

from __future__ import annotations

import math
import statistics
from contextlib import contextmanager
from types import SimpleNamespace

import polars as pl
import pytest

from model import export
from pipeline import tracking
from pipeline.evaluation import noise, report
from pipeline.evaluation.measures import tasks_over_steps
from pipeline.evaluation.tasks import task_items
from pipeline.inspect import task_pictures
from pipeline.training import kept_weights
from pipeline.training.model_facts import ModelFacts
from tests.evaluation.test_tasks import files, settings  # noqa: F401  (a fixture)
from tests.making import context


def test_signal_and_noise_are_those_of_the_paper():
    models = {"a": 0.4, "b": 0.5, "c": 0.6}
    last = [0.48, 0.5, 0.52, 0.5, 0.5]
    found = noise.signal_to_noise(models, {"b": last}, [])
    # Heineman et al. 2025: (largest - smallest) / mean, over standard deviation / mean.
    assert found["signal"] == pytest.approx(0.2 / 0.5)
    assert found["checkpoints"] == pytest.approx(statistics.stdev(last), abs=1e-6)
    assert found["ratio"] == pytest.approx(0.2 / statistics.stdev(last), abs=0.01)
    assert "seeds" not in found


def test_models_that_differ_by_their_seed_are_one_model_of_the_signal_and_noise_of_the_other_kind():
    models = {"a1": 0.50, "a2": 0.54, "b": 0.70}
    found = noise.signal_to_noise(models, {}, [["a1", "a2"]])
    assert found["seeds"] == found["noise"] == pytest.approx(statistics.stdev([0.50, 0.54]), abs=1e-6)
    assert found["signal"] == pytest.approx((0.70 - 0.52) / 0.61, abs=1e-4)
    assert noise.signal_to_noise({"a1": 0.50, "a2": 0.54}, {}, [["a1", "a2"]]).keys() == {"seeds", "noise"}


def test_groups_are_pooled_about_their_own_means():
    groups = [[1.0, 3.0], [101.0, 103.0], [5.0]]
    assert noise.pooled(groups) == pytest.approx(math.sqrt(2))
    assert noise.pooled([[5.0]]) is None and noise.spread([1.0, 2.0]) is None


def test_a_difference_is_within_noise_as_often_as_two_figures_of_that_noise_are():
    known = {"checkpoints": 0.01, "seeds": 0.002}
    assert noise.inside_noise(0.02, known) == ["checkpoints"]
    assert noise.inside_noise(-0.005, known) == ["checkpoints", "seeds"]
    assert noise.inside_noise(0.03, known) == [] and noise.inside_noise(0.0, {}) == []


def test_only_the_seed_may_differ_within_a_group():
    def model(seed, width=8):
        made_of = {"asset": "pretrained_model", "settings": {"seed": seed, "model": {"width": width}}}
        return SimpleNamespace(manifest={"made_of": made_of})

    models = {"a": model(1), "b": model(2), "c": model(3, width=16), "d": model(5), "a again": model(1)}
    assert noise.groups_of_seeds(models) == [["a", "b", "d"]]


@pytest.fixture(scope="module")
def trained(made, files):  # noqa: F811
    """A model that kept its weights after four steps, and the questions that it is asked."""
    source = made.inputs["model"]

    def build(draft):
        for name in source.manifest["files"]:
            draft.path(name).write_bytes(source.file(name).read_bytes())
        network = export.load(source.local_directory())
        for step in (2, 4, 6, 8):
            weights = {name: p.detach() * (0.5 + step / 20) for name, p in network.named_parameters()}
            kept_weights.write(weights, draft.directory, step)
        draft.facts = ModelFacts(
            parameters=1, steps=10, tokens=1000, batch_tokens=100, learning_rate=0.1, epochs=5
        ).for_manifest()

    model = made.store.make("kept_model", code_version="1", settings={}, inputs={}, build=build, log=lambda line: None)
    chosen = settings(files)
    return model, chosen, task_items.make(context(made.store), {}, task_items.Asked(chosen.tasks))


def test_a_report_has_the_curve_of_each_task_and_its_noise(made, trained):
    model, chosen, items = trained
    made_report = made.report("curves_report", settings=chosen, evaluation_tasks=items, model=model)
    curves = pl.read_parquet(made_report.table(tasks_over_steps.TABLE))
    own = curves.filter(task="own")
    assert own["step"].to_list() == [2, 4, 6, 8, 10] and own["tokens"].to_list() == [200, 400, 600, 800, 1000]
    found = report.read(made_report)
    end = found["tasks"]["own"]["0_shot"]
    assert own["right"][-1] == pytest.approx(end["plain"]["value"], abs=1e-4)
    assert own["bits_per_byte"][-1] == pytest.approx(end["bits_per_byte"]["value"], abs=1e-4)
    expected = statistics.stdev(own["bits_per_byte"].to_list())
    assert found["tasks_over_steps"]["own"]["bits_per_byte"]["noise"] == pytest.approx(expected, abs=1e-5)
    assert len(task_pictures.curves(made_report).axes) == 2
    # What runs after it measures the finished model.
    plain = made.report("plain_report", settings=chosen, evaluation_tasks=items)
    before = report.read(plain)
    assert task_pictures.curves(plain) is None
    assert before["language_modelling"] == found["language_modelling"] and "tasks_over_steps" not in before


def test_figures_of_earlier_points_become_a_curve_in_mlflow(made, trained, monkeypatch):
    model, chosen, items = trained
    logged: dict[int, dict[str, float]] = {}

    class Recorder(tracking.NoRun):
        def metrics(self, values: dict[str, float], step: int) -> None:
            logged.setdefault(step, {}).update(values)

    @contextmanager
    def run(*given):
        yield Recorder()

    monkeypatch.setattr(tracking, "run", run)
    made.report("tracked_report", settings=chosen, evaluation_tasks=items, model=model)
    assert sorted(logged) == [200, 400, 600, 800, 1000]
    assert logged[200].keys() >= {"tasks_over_steps.own.right", "tasks_over_steps.own.bits_per_byte"}
    assert logged[1000]["tasks.own.0_shot.plain.value"] == pytest.approx(
        logged[1000]["tasks_over_steps.own.right"], abs=1e-4
    )

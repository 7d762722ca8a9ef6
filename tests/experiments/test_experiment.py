"""An experiment from a recipe to its table: equal budgets, nothing made twice, nothing put in force."""

from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest
from click.testing import CliRunner

from pipeline import experiment
from pipeline.cli import main
from pipeline.commands.outputs import save
from pipeline.errors import UserError
from pipeline.experiments import comparing, drawing, finding, result, scores
from pipeline.experiments.experiment_settings import Experiment
from pipeline.experiments.layers import COLUMNS
from pipeline.graph import Project
from pipeline.inspect import curves
from pipeline.store.reading import TRIAL
from pipeline.training.stopping import Stopped
from tests.tiny import trained

MINE = "grid: {model.activation: [swiglu, relu2], pretraining.seed: [0, 2]}\nquestion: which one?\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A recipe whose own model is trained."""
    with trained(tmp_path_factory.mktemp("experiment")) as opened:
        yield opened


def compared(project: Project, name: str = "mine", **given: object) -> experiment.Comparison:
    return experiment.comparison_of(name, Experiment.model_validate(given))


def listening(project: Project) -> tuple[Project, list[str]]:
    lines: list[str] = []
    return replace(project, log=lines.append), lines


def test_a_grid_becomes_a_table_and_is_answered_from_the_store_afterwards(project, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(MINE)
    in_force = project["pretrained_model"].version
    opened, lines = listening(project)
    made = experiment.run_named(opened, str(file))
    assert sum("trained in" in line for line in lines) == 4
    assert not [line for line in lines if line.startswith(("tokenizer: made", "curated_documents: made"))]
    assert any("mine: 4 cells; training takes" in line and "here" in line for line in lines), "said before it starts"
    assert [row["setting"] for row in result.settings_of(made)] == ["activation swiglu", "activation relu2"]
    rows = result.cells_of(made)
    assert len({row["model"] for row in rows}) == 4 and len({row["bits_per_byte"] for row in rows}) == 4
    assert "which one?" in result.lines(made)[0]
    assert result.lines(made)[-1].startswith("scored on ") and result.lines(made)[-1] in lines
    again, lines = listening(project)
    same = experiment.run_named(again, str(file))
    assert not same.made and same.version == made.version
    assert sum("from the store" in line for line in lines) == 4
    assert project["pretrained_model"].version == in_force, "an experiment puts no model in force"
    axes = drawing.drawn(made).axes[0]
    assert axes.get_yticklabels()[0].get_text() in {row["setting"] for row in rows}
    assert axes.get_ylim() == (-0.6, len(result.settings_of(made)) - 0.4), (
        "no line lies on the frame, however few there are"
    )


def test_all_cells_spend_the_same_flops_tokens_steps_or_parameters(project):
    grid = {"model.width": [16, 32]}
    figures = {}
    for equal in ("flops", "tokens", "steps", "nothing"):
        _, ready = experiment.prepared(project, compared(project, grid=grid, equal=equal))
        figures[equal] = [(one.flops, one.project.recipe.pretraining.tokens) for one in ready]
    (narrow, _), (wide, _) = figures["flops"]
    assert narrow == pytest.approx(wide, rel=0.15), "to a step of 64 tokens"
    assert [tokens for _, tokens in figures["tokens"]] == [640, 640] == [tokens for _, tokens in figures["nothing"]]
    _, ready = experiment.prepared(
        project, compared(project, grid={"pretraining.batch_tokens": [64, 128]}, equal="steps")
    )
    assert [one.project.recipe.pretraining.tokens for one in ready] == [640, 1280]
    grid = {"model.activation": ["swiglu", "gelu"]}
    _, ready = experiment.prepared(project, compared(project, grid=grid, equal="parameters", at={"model.width": 64}))
    sizes = [one.project.make("training_plan").facts["parameters"] for one in ready]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)
    assert ready[1].project.recipe.model.ffn % 8 == 0 and ready[1].project.recipe.model.ffn > 0


def test_the_recipe_as_it_is_is_the_model_that_was_trained_already(project):
    opened, lines = listening(project)
    made = experiment.run(opened, compared(project, "own", cells=[{}, {"sources.first": None}]))
    assert any("as it is" in line and "from the store" in line for line in lines)
    rows = {row["setting"]: row for row in result.cells_of(made)}
    assert rows["as it is"]["model"] == project["pretrained_model"].version
    scored = {(row["setting"], row["source"]) for row in pl.read_parquet(made.table("sources")).to_dicts()}
    assert ("without first", "first") in scored, "a cell without a source is scored on its documents all the same"


def test_an_interrupted_experiment_starts_no_finished_cell_again_and_resumes_the_other(project):
    given = {"grid": {"model.layers": [1, 2]}, "at": {"pretraining.seed": 5, "pretraining.checkpoint_every": 2}}
    opened, lines = listening(project)

    def in_the_second_cell() -> bool:
        after = next(
            (place for place, line in enumerate(lines) if line.startswith("cell 1 of 2") and "bits" in line), len(lines)
        )
        return any(line.startswith("step 3 of") for line in lines[after:])

    opened = replace(opened, should_stop=in_the_second_cell)
    with pytest.raises(Stopped):
        experiment.run(opened, compared(project, "stopped", **given))
    trials = list((project.store.root / project.recipe.name / "pretrained_model").glob(f".*{TRIAL}"))
    assert len(trials) == 1
    going_on, lines = listening(project)
    made = experiment.run(going_on, compared(project, "stopped", **given))
    assert any("layers 1" in line and "from the store" in line for line in lines)
    assert any("resum" in line for line in lines)
    assert len(result.cells_of(made)) == 2 and not trials[0].exists()


def test_what_is_pruned_meanwhile_is_nothing_that_the_experiment_needs(project):
    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        if line.startswith("cell 1 of 2") and "trained in" in line:
            for asset in project.store.all_assets():
                project.store.prune(asset, keep=0, log=lines.append)

    given = {"grid": {"tokenizer.vocab_size": [320, 340]}, "at": {"pretraining.seed": 9}, "equal": "tokens"}
    made = experiment.run(replace(project, log=log), compared(project, "pruned", **given))
    assert any(line.startswith("experiment_scores/") and line.endswith("stays: a run reads it") for line in lines)
    assert made.counts["cells"] == 2


def test_it_says_what_it_does_before_each_thing_that_takes_long(project):
    opened, lines = listening(project)
    given = {"grid": {"model.layers": [1]}, "at": {"pretraining.seed": 11}}
    experiment.run(opened, compared(project, "said", **given))
    beginnings = ("said: planning 1 cell", "said: 1 cell; training takes", "cell 1 of 1: layers 1", "step 1 of")
    places = [next(at for at, line in enumerate(lines) if line.startswith(words)) for words in beginnings]
    assert places == sorted(places) and lines[places[2]] == "cell 1 of 1: layers 1"


def test_a_longer_experiment_than_the_recipe_allows_is_refused_before_it_trains(project):
    execution = project.recipe.execution.model_copy(update={"max_hours": 1e-9})
    opened, lines = listening(replace(project, recipe=project.recipe.model_copy(update={"execution": execution})))
    with pytest.raises(UserError, match=r"would take .* for 2 cells, and `execution.max_hours` allows"):
        # So many tokens that the plan's seconds, which are rounded, are not 0 on a fast machine.
        given = {"grid": {"model.norm": ["rms", "layer"], "seed": [9]}, "at": {"pretraining.tokens": 10_000_000}}
        experiment.run(opened, compared(project, "long", **given))
    assert not [line for line in lines if "trained in" in line]


def test_several_processes_that_train_together_are_refused(project, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="in one process: leave SLM_PROCESSES out"):
        experiment.run(project, compared(project, "ranks", grid={"model.layers": [1, 2]}))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"grid": {"shards.validation": [0.2, 0.1]}}, "would train on documents that all are scored on"),
        (
            {"grid": {"model.layer": [1]}},
            r"^The experiment wrong, cell `layer 1`: `model.layer` is not a key; did you mean `layers`\?$",
        ),
        ({"grid": {"model.layers": [1]}, "at": {"model.width": "x"}}, "^The experiment wrong, `at`: .*valid integer"),
        ({"grid": {"model.layers": [1]}, "against": "layers 9"}, "is none of the settings: use one of layers 1"),
        ({"grid": {"model.causal": [True, False]}}, "leave `model.causal: false` out"),
        ({"grid": {"pretraining.seed": ["0", 0]}}, "Two cells are called `as it is, seed 0`"),
        ({"grid": {"pretraining.seed": [None, 1]}}, "Two cells are called `as it is, seed 1`"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_remedy_before_any_training(project, given, said):
    opened, lines = listening(project)
    with pytest.raises(UserError, match=said):
        experiment.run(opened, compared(project, "wrong", **given))
    assert not [line for line in lines if line.startswith(("cell ", "step "))]


def test_a_cell_that_changes_nothing_is_compared_once_and_named(project):
    cells = [{}, {"model.dropout": 0.0}, {"model.activation": "relu2"}]
    grid = {"pretraining.seed": [0, 2]}
    both = experiment.run(project, compared(project, "twice", cells=cells, grid=grid))
    once = experiment.run(project, compared(project, "once", cells=[cells[0], cells[2]], grid=grid))
    rows = {row["setting"]: row for row in result.settings_of(both)}
    assert rows["dropout 0.0"]["verdict"] == comparing.SAME
    assert [rows[row["setting"]] for row in result.settings_of(once)] == result.settings_of(once)
    assert "`dropout 0.0` and `as it is` are the same models in this recipe, compared once" in result.lines(both)
    assert drawing.drawn(both).axes


def test_what_is_fitted_is_part_of_the_result(project):
    given = {"grid": {"pretraining.feed.source_weights": [{"first": 1}, {"first": 3}]}, "fit": "mixtures"}
    made = experiment.run(project, compared(project, "mixed", **given))
    assert "a regression over 1 languages needs at least two" in result.lines(made)[-1]
    shares = [row["shares"] for row in result.cells_of(made)]
    assert shares == ['{"en": 1.0}', '{"en": 1.0}']
    given = {"grid": {"pretraining.tokens": [320, 640]}, "equal": "nothing", "fit": "scaling"}
    made = experiment.run(project, compared(project, "scaled", **given))
    assert "a law needs 3 sizes" in result.lines(made)[-1]


def test_the_command_lists_runs_and_draws(project, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(MINE)
    picture = tmp_path / "mine.png"
    run = CliRunner().invoke(main, ["experiment", str(file), "--picture", str(picture), "--set", "model.norm=layer"])
    assert run.exit_code == 0, run.output
    assert "activation relu2" in run.output and picture.read_bytes().startswith(b"\x89PNG")
    listed = CliRunner().invoke(main, ["experiment", "--list"]).output
    assert "best: activation" in listed and "not run yet" in listed
    decided = "better" in run.output or "worse" in run.output
    assert (", undecided (" in listed) != decided, "the list says no more than the table"
    assert "KEY=VALUE" in CliRunner().invoke(main, ["experiment", str(file), "--set", "model.norm"]).output


def test_every_shipped_experiment_fits_a_recipe(project):
    assert finding.shipped()
    for name in finding.shipped():
        found, chosen = finding.named(name, {})
        comparison = experiment.comparison_of(found, chosen)
        assert comparison.cells and comparison.question, name


def test_nothing_held_back_is_refused_before_any_training(project):
    opened, lines = listening(project)
    with pytest.raises(UserError, match=r"No document is held back.*raise `shards.validation`"):
        experiment.run(opened, compared(project, at={"shards.validation": 0}, cells=[{}]))
    assert not any("trained" in line or line.startswith("pretrained_model: made") for line in lines)


def test_long_names_are_drawn_whole_and_each_line_can_be_told_apart(tmp_path):
    long = "activation relu2, ema 0.99, optimiser normuon, orthogonalised_by polar_express"
    names = ["as it is", long, *(f"setting {number}" for number in range(12))]
    figures = {name: {seed: 2.0 + place + seed / 100 for seed in (0, 1)} for place, name in enumerate(names)}
    cells = [
        {"setting": name, "seed": seed, "bits_per_byte": bits} for name in names for seed, bits in figures[name].items()
    ]
    layers = [{"setting": name, "layer": layer, **dict.fromkeys(COLUMNS, 0.5)} for name in names for layer in (1, 2, 3)]
    tables = {"settings": comparing.compared(figures, names[0]), "cells": cells, "layers": layers}
    for name, rows in tables.items():
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(tmp_path / name)
    made = SimpleNamespace(table=lambda name: tmp_path / name)
    figure = drawing.drawn(made)
    save(figure, tmp_path / "settings.png", dpi=int(figure.dpi))
    for label in figure.axes[0].get_yticklabels():
        assert label.get_window_extent().x0 >= 0, f"`{label.get_text()}` is cut off"
    by_layer = drawing.drawn_by_layer(made)
    save(by_layer, tmp_path / "layers.png", dpi=int(by_layer.dpi))
    (legend,) = by_layer.legends
    assert legend.get_window_extent().x0 >= 0 and legend.get_window_extent().x1 <= by_layer.bbox.x1
    styles = {(line.get_color(), line.get_linestyle()) for line in by_layer.axes[0].lines}
    assert len(styles) == len(names) and len(by_layer.axes) == len(COLUMNS)
    assert by_layer.axes[0].get_xticks().tolist() == [1, 2, 3] and by_layer.axes[0].get_ylim()[0] > -0.05


def test_korean_is_drawn_in_a_font_that_has_it_or_it_is_said_that_none_does(tmp_path, capsys, monkeypatch):
    figure, (axes,) = curves.figure_of(1, 1)
    axes.set_title("한국어")
    monkeypatch.setattr(curves, "fonts", lambda: ["DejaVu Sans"])
    save(figure, tmp_path / "without.png")
    assert "no font on this machine has some of its letters" in capsys.readouterr().err
    monkeypatch.setattr(curves, "fonts", lambda: ["DejaVu Sans", "of this machine"])
    figure.canvas.draw()
    assert axes.title.get_fontfamily() == ["DejaVu Sans", "of this machine"]
    figure, (axes,) = curves.figure_of(1, 1)
    axes.set_title("Korean")
    save(figure, tmp_path / "with.png")
    assert not capsys.readouterr().err


def test_little_text_to_score_on_is_said():
    assert scores.scored_on(300, 1_500_000) == "scored on 300 held-back documents, 1.5 MB"
    for documents, size in ((1, 1233), (19, 500_000), (400, 19_999)):
        assert "too little to say more than of these; raise `shards.validation`" in scores.scored_on(documents, size)

"""Every definition says what a person needs to know of it, and the jobs hold what they promise."""

import base64
import runpy
from pathlib import Path

import pytest
import yaml
from dagster import AssetKey, AssetSpec, Definitions

from assets import console, definitions, devices, display, groups, location, sources
from assets.definitions import defs
from assets.jobs import jobs_of
from assets.keys import RECIPE_TAG
from pipeline import locations
from pipeline.graph import nodes_of
from pipeline.inspect.curves import figure_of
from pipeline.recipe import load, parse
from pipeline.training.distillation_settings import DistillationSettings

GROUPS = ("sources", "curation", "tokens", "tuning_data", "model", "evaluation")
NODES = nodes_of(load())
DESCRIBED = groups.described(load())


def specs() -> dict[AssetKey, AssetSpec]:
    return {spec.key: spec for spec in defs.resolve_all_asset_specs()}


@pytest.mark.parametrize(
    "spec", sorted(specs().values(), key=lambda spec: spec.key), ids=lambda spec: spec.key.to_user_string()
)
def test_an_asset_says_what_a_person_needs_to_know(spec: AssetSpec) -> None:
    assert len((spec.description or "").split("\n")[0]) > 30, "a description in plain words"
    assert spec.group_name in GROUPS
    assert any(tag.startswith("dagster/kind/") for tag in spec.tags), "what kind of thing it is"
    assert spec.owners
    if spec.group_name != "sources":
        assert spec.code_version, "the version of the code, so that a change is shown"
        assert "[the report](http" in (spec.description or ""), "where to look"
        described = DESCRIBED[spec.key.to_user_string()]
        assert callable(described.show)
        (link,) = spec.metadata["dagster/code_references"].code_references
        assert Path(link.file_path).exists() and link.line_number > 0


@pytest.mark.parametrize("name", NODES)
def test_an_asset_has_a_blocking_check(name: str) -> None:
    checks = [key for key in defs.resolve_asset_graph().asset_check_keys if key.asset_key == AssetKey(name)]
    assert checks
    assert DESCRIBED[name].checks


def test_every_artifact_of_the_graph_is_an_asset_with_the_same_inputs() -> None:
    found = specs()
    assert {key.to_user_string() for key, spec in found.items() if spec.group_name != "sources"} == set(NODES)
    for name, node in NODES.items():
        given = {dep.asset_key.to_user_string() for dep in found[AssetKey(name)].deps}
        sources = {of for of in given if of.startswith("source/")}
        assert given - sources == set(node.inputs.values())
        assert bool(sources) == (name == "raw_documents")


def test_a_student_its_teachers_and_what_they_say_are_assets() -> None:
    recipe = load("recipes/demo.yaml").model_copy(update={"distillation": DistillationSettings(teachers=2)})
    found = groups.described(recipe)
    assert found.keys() >= {"teacher_model_1", "teacher_model_2", "teacher_logits", "distilled_model"}
    assert all(found[name].checks for name in found)


def test_jobs_hold_everything_up_to_their_end() -> None:
    recipe = load("recipes/demo.yaml")
    sources = {f"source/{source.name}" for source in recipe.sources}

    def assets_in(job: str) -> set[str]:
        layer = defs.resolve_job_def(job).asset_layer
        return {key.to_user_string() for key in layer.executable_asset_keys}

    everything = assets_in("full_job")
    assert everything == sources | {name for name, node in NODES.items() if node.enabled}
    assert "token_shards" in assets_in("tokenize_job") and "pretrained_model" not in assets_in("tokenize_job")
    assert "pretrained_evaluation" in assets_in("pretrain_job") and "sft_model" not in assets_in("pretrain_job")
    evaluations = {"pretrained_evaluation", "sft_evaluation", "preference_evaluation"}
    assert assets_in("evaluate_job") == evaluations | {"report"}
    assert "report" in assets_in("curate_job"), "the page is last in every job"
    assert assets_in("observe_job") == sources


def test_the_runs_of_a_job_and_the_assets_carry_their_recipe() -> None:
    for job in ("pretrain_job", "observe_job"):
        assert defs.resolve_job_def(job).tags[RECIPE_TAG] == load().name
    assert {spec.tags.get(RECIPE_TAG) for spec in specs().values()} == {load().name}


def test_names_in_korean_are_those_of_definitions() -> None:
    recipe = parse(
        "name: 공부-노트\nsources:\n"
        + "".join(f"  - {{name: {name}, kind: bundled, dataset: sotu}}\n" for name in ("일기", "편지", "a-b"))
    )
    made = Definitions(
        assets=[*sources.assets_of(recipe), *groups.assets_of(recipe)],
        jobs=[*jobs_of(recipe), sources.observe_job(recipe)],
    )
    Definitions.validate_loadable(made)
    assert len({spec.tags[RECIPE_TAG] for spec in made.resolve_all_asset_specs()}) == 1


@pytest.mark.parametrize(
    ("value", "shown"), [(0.000123456, 0.0001235), (3.14159, 3.142), (12345.678, 12346.0), (float("inf"), "inf")]
)
def test_numbers_in_tables_have_four_digits(value: float, shown: object) -> None:
    (record,) = display.table([{"figure": value}]).records
    assert record.data["figure"] == shown


def test_definitions_are_whole() -> None:
    Definitions.validate_loadable(defs)


def test_training_and_evaluation_wait_for_the_device() -> None:
    for name, described in DESCRIBED.items():
        (spec,) = [of for of in defs.assets or [] if getattr(of, "keys", None) == {AssetKey(name)}]
        assert spec.op.pool == (devices.pool_of(load().execution.device) if described.on_device else None), name
        assert spec.op.retry_policy is None, "a retry policy would defeat Terminate"


def test_recipes_of_one_device_share_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool for each device that definitions can tell apart without asking torch."""
    monkeypatch.delenv(locations.VISIBLE, raising=False)
    assert [devices.pool_of(device) for device in ("auto", "cuda", "cpu")] == ["gpu", "gpu", "cpu"]
    for seen, pool in {"0": "gpu_0", "2,3": "gpu_2_3", "GPU-5ebe9f43": "gpu", "": "gpu"}.items():
        monkeypatch.setenv(locations.VISIBLE, seen)
        assert devices.pool_of("auto") == pool and devices.pool_of("cpu") == "cpu"
    text = "name: slow\nsources: [{name: s, kind: bundled, dataset: sotu}]\nexecution: {device: cpu}\n"
    pools = {op.pool for made in groups.assets_of(parse(text)) for op in [made.op] if op.pool}
    assert pools == {"cpu"}
    settings = yaml.safe_load((Path(__file__).parents[2] / "dagster_home" / "dagster.yaml").read_text())
    assert settings["concurrency"]["pools"]["default_limit"] == 1, "a pool that nobody set has one slot"


def test_pictures_stay_small_whatever_they_show() -> None:
    import numpy as np

    figure, axes = figure_of(3, 3)
    noise = np.random.default_rng(1)
    for axis in axes:
        axis.imshow(noise.random((400, 400, 3)))
    shown = display.picture(figure).value
    picture = base64.b64decode(shown.split("base64,")[1][:-1])
    assert picture.startswith(b"\x89PNG") and len(picture) <= display.LARGEST_PICTURE


def test_samples_hide_personal_data() -> None:
    shown = display.excerpt("write to minsu.kim@naver.com로 or call 010-1234-5678 today, card 4111 1111 1111 1111")
    assert "naver" not in shown and "1234" not in shown and "4111" not in shown
    assert "write to" in shown and "today" in shown


@pytest.mark.parametrize("at_terminal", [True, False])
def test_a_run_at_the_terminal_uses_the_gpus_of_its_location(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_terminal: bool
) -> None:
    (tmp_path / "locations.yaml").write_text('locations: {ben: {recipes: r.yaml, data: data, gpus: "1"}}')
    monkeypatch.setenv(locations.VARIABLE, str(tmp_path / "locations.yaml"))
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv(locations.VISIBLE, "")  # put back afterwards
    monkeypatch.delenv(locations.VISIBLE)
    (tmp_path / "r.yaml").write_text("name: r\nsources: [{name: s, kind: bundled, dataset: sotu, limit: 3}]")
    monkeypatch.setenv("SLM_RECIPE", str(tmp_path / "r.yaml"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setattr(console, "AT_TERMINAL", at_terminal)
    monkeypatch.setattr(location, "join_location", lambda *names: None)
    made = runpy.run_path(definitions.__file__)["defs"]
    (trained,) = [of for of in made.assets if of.key.path[-1] == "pretrained_model"]
    assert trained.op.pool == ("gpu_1" if at_terminal else "gpu")

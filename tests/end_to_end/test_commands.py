"""The real commands, in a fresh copy of the repository with nothing exported: what a newcomer does, in this order."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end import demonstration
from tests.end_to_end.conftest import NOTE, Copy

JOB = ("dagster", "job", "execute", "-j")


def manifests(data: Path) -> dict[str, dict[str, Any]]:
    """The manifest in force of every asset below a store."""
    return {
        pointer.parent.name: json.loads((pointer.parent / pointer.read_text().strip() / "manifest.json").read_text())
        for pointer in data.glob("demo/*/current")
    }


def contents(data: Path) -> dict[str, dict[str, str]]:
    return {
        asset: {name: entry["sha256"] for name, entry in manifest["files"].items()}
        for asset, manifest in manifests(data).items()
    }


@pytest.fixture(scope="module")
def pretrained(checkout: Copy) -> Copy:
    done = checkout.run(*JOB, "pretrain_job")
    assert "FAILED" not in done.stderr
    return checkout


def test_pretrain_job_makes_everything_up_to_an_evaluated_model(pretrained: Copy) -> None:
    made = manifests(pretrained.folder / "data")
    assert {"raw_documents", "curated_documents", "token_shards", "pretrained_model", "pretrained_evaluation"} <= set(
        made
    )
    assert "sft_model" not in made
    assert made["curated_documents"]["counts"]["by_source"]["notes"]["kept"] > 0
    shown = pretrained.run("slm", "summary").stdout
    for expected in ("raw_documents", "bits per byte", "data/demo/pretrained_model/", "slm chat", "messages"):
        assert expected in shown


def test_its_data_artifacts_are_those_that_were_recorded_on_another_machine(pretrained: Copy) -> None:
    recorded = json.loads(demonstration.RECORD.read_text())
    kind = demonstration.standard_library()
    if kind not in recorded:
        pytest.skip(
            f"recorded for the standard library of {', '.join(recorded)}; this one is {kind}, so its text differs"
        )
    assert demonstration.digests(pretrained.folder / "data") == recorded[kind], (
        "the demonstration's data is other data now; where that is meant, run"
        " `python -m tests.end_to_end.demonstration`"
    )


def test_the_run_is_seen_afterwards(pretrained: Copy) -> None:
    program = (
        "from dagster import DagsterInstance, AssetKey\n"
        "with DagsterInstance.get() as instance:\n"
        "    (run,) = instance.get_runs()\n"
        "    print(run.status.value)\n"
        "    event = instance.get_latest_materialization_event(AssetKey('pretrained_model'))\n"
        "    metadata = event.asset_materialization.metadata\n"
        "    print(metadata['MLflow run'].value)\n"
        "    print(len(metadata['loss'].value))\n"
    )
    status, link, size = pretrained.run("python", "-c", program).stdout.split()
    assert status == "SUCCESS"
    assert int(size) < 300_000, "a picture of 200 kB in base64"
    run_id = link.rpartition("/")[2].partition("?")[0]
    program = f"from pipeline import tracking; print(tracking.connect().get_run('{run_id}').data.metrics)"
    assert "loss" in pretrained.run("python", "-c", program).stdout


def test_a_second_run_answers_from_the_store(pretrained: Copy) -> None:
    before = contents(pretrained.folder / "data")
    said = pretrained.run(*JOB, "pretrain_job").stderr
    for asset in before:
        assert any(asset in line and "up to date" in line for line in said.splitlines()), asset
    assert " made in " not in said
    assert contents(pretrained.folder / "data") == before


def test_single_assets_are_materialised_by_name(pretrained: Copy) -> None:
    before = contents(pretrained.folder / "data")
    said = pretrained.run("dagster", "asset", "materialize", "--select", "keyword_decisions,heuristic_decisions").stderr
    assert "RUN_SUCCESS" in said
    assert contents(pretrained.folder / "data") == before


def test_another_store_holds_the_same_bytes(pretrained: Copy, tmp_path: Path) -> None:
    """Without Dagster and without MLflow, in another place: every artifact up to the weights is the same."""
    pretrained.run("slm", "make", "pretrained_model", SLM_DATA=str(tmp_path), SLM_TRACKING="off")
    here, there = contents(pretrained.folder / "data"), contents(tmp_path)
    assert "pretrained_model" in there
    for asset in there:
        assert there[asset] == here[asset], asset


def test_one_document_more_costs_one_fragment_and_starts_one_run(pretrained: Copy) -> None:
    before = manifests(pretrained.folder / "data")
    ask = (
        "from dagster import DagsterInstance, build_sensor_context\n"
        "from assets.sensors import sources_changed\n"
        "from pipeline.recipe import load\n"
        "import sys\n"
        "with DagsterInstance.get() as instance:\n"
        "    cursor = sys.argv[1] if len(sys.argv) > 1 else None\n"
        "    got = sources_changed(load())(build_sensor_context(instance, cursor=cursor))\n"
        "    for request in getattr(got, 'run_requests', None) or []:\n"
        "        print('RUN', request.run_key, request.tags['slm/sources'])\n"
        "    print('CURSOR', getattr(got, 'cursor', ''))\n"
    )
    assert "RUN" not in pretrained.run("python", "-c", ask).stdout, "a run was asked for though nothing has changed"
    (pretrained.folder / "notes" / "one_more.txt").write_text(NOTE.format(number=99, wind="unheard"))
    pretrained.run(*JOB, "observe_job")
    asked = pretrained.run("python", "-c", ask).stdout
    assert asked.count("RUN ") == 1 and " notes\n" in asked
    cursor = asked.partition("CURSOR ")[2].strip()
    assert "RUN" not in pretrained.run("python", "-c", ask, cursor).stdout, "the same change was acted on twice"

    pretrained.run(*JOB, "tokenize_job")
    after = manifests(pretrained.folder / "data")
    assert after["raw_documents"]["counts"]["kept"] == before["raw_documents"]["counts"]["kept"] + 1
    for stage in ("raw_documents", "language_decisions", "heuristic_decisions", "curated_documents"):
        assert after[stage]["fragments"]["computed"] == 1, stage
    assert "token_shards" in pretrained.run("slm", "why", "pretrained_model").stdout


def test_history_comes_back_from_the_store(pretrained: Copy) -> None:
    for name in ("history", "storage", "schedules"):
        shutil.rmtree(pretrained.folder / "dagster_home" / name, ignore_errors=True)
    said = pretrained.run("python", "-m", "assets.reindex").stdout
    assert "pretrained_model" in said
    program = (
        "from dagster import DagsterInstance, AssetKey\n"
        "with DagsterInstance.get() as instance:\n"
        "    event = instance.get_latest_materialization_event(AssetKey('curated_documents'))\n"
        "    print(event.asset_materialization.metadata['version'].value)\n"
    )
    version = pretrained.run("python", "-c", program).stdout.strip()
    assert version == manifests(pretrained.folder / "data")["curated_documents"]["version"]


def test_a_wrong_recipe_is_reported_in_a_sentence_for_each_mistake(checkout: Copy) -> None:
    recipe = checkout.folder / "wrong.yaml"
    recipe.write_text(
        "name: wrong\nsources: [{name: a, kind: files, path: none/*.txt}]\nmodell: {layers: 2}\nseed: -1\n"
    )
    done = checkout.run(*JOB, "pretrain_job", expect=None, SLM_RECIPE="wrong.yaml")
    assert done.returncode != 0
    assert "`modell`" in done.stderr and "did you mean `model`" in done.stderr and "`seed`" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_source_is_reported_in_a_sentence(checkout: Copy) -> None:
    (checkout.folder / "missing.yaml").write_text(
        "name: missing\nsources: [{name: a, kind: files, path: none/*.txt}]\n"
    )
    done = checkout.run(*JOB, "observe_job", expect=None, SLM_RECIPE="missing.yaml")
    assert done.returncode != 0
    failures = [line.partition("FAILED: ")[2] for line in done.stderr.splitlines() if "FAILED: " in line]
    assert len(failures) == 1 and "none/*.txt" in failures[0], done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    done = checkout.run("slm", "make", "raw_documents", expect=None, SLM_RECIPE="missing.yaml")
    assert done.returncode != 0 and "none/*.txt" in done.stderr and "Traceback" not in done.stderr
    left = [path for path in (checkout.folder / "data" / "missing").rglob("*") if path.is_file()]
    assert not [path for path in left if path.name != ".lock"], "something half-made was left"

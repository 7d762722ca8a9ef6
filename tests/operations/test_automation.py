"""What a person does in the UI, done to a running webserver and daemon: switch a sensor on, override, terminate."""

import json
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.curation.stages import STAGES
from pipeline.store.artifact import digest
from tests.operations.dagster_site import Site, until

WORDS = re.findall(
    r"\w+",
    "harbour morning boats market square evening music children water wall nets wind town bell people fish bread river "
    "winter road letter window horse garden stone summer",
)
RECIPE = """
name: watched
sources:
  - {name: notes, kind: files, path: notes.jsonl, lang: en, license: own}
  - {name: letters, kind: files, path: letters.jsonl, lang: en, license: own}
  - {name: tales, kind: files, path: tales.jsonl, lang: en, license: own}
curation:
  heuristics: {enabled: false}
  perplexity: {min_characters: 100, reference: [tales]}  # of a source that stays: its model comes out the same
  contamination: {enabled: false}
tokenizer: {vocab_size: 400, reserved: 0}
shards: {validation: 0.2}
model: {layers: 1, width: 16, heads: 2, context: 16}
pretraining: {tokens: 640, batch_tokens: 64, validation_tokens: 64, sample_tokens: 4, precision: fp32}
sft: {enabled: false}
evaluation: {answers: 2, answer_tokens: 4, validation_tokens: 1000, prompts: ["The harbour"]}
execution: {device: cpu, executor: in_process}
"""
SOURCES = {"notes": 1, "letters": 2, "tales": 3}


def text(number: int) -> str:
    """Words in an order of its own, so that no document is taken for another."""
    drawn = random.Random(number)
    return " ".join(f"The {' and the '.join(drawn.choices(WORDS, k=12))}." for _ in range(8))


def append(folder: Path, source: str, *numbers: int) -> None:
    with open(folder / f"{source}.jsonl", "a") as file:
        file.writelines(json.dumps({"id": str(number), "text": text(number)}) + "\n" for number in numbers)


def newest_checkpoint(model: Path) -> int:
    """The last step that an unfinished model has a checkpoint of."""
    return max(int(place.name.removeprefix("step-")) for place in model.glob(".*.draft/checkpoints/step-*"))


def files_of(manifest: dict[str, Any]) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in manifest["files"].items()}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    for source, number in SOURCES.items():
        append(folder, source, *range(100 * number, 100 * number + 12))
    (folder / "watched.yaml").write_text(RECIPE)
    made = Site(folder, folder / "watched.yaml")
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def trained(site: Site) -> Site:
    """The site after a `pretrain_job` whose evaluation was given settings of its own in the Launchpad."""
    wrong = site.launch("pretrain_job", {"ops": {"pretrained_evaluation": {"config": {"answers": "many"}}}})
    assert wrong["__typename"] == "RunConfigValidationInvalid", wrong
    given = {"ops": {"pretrained_evaluation": {"config": {"answer_tokens": 5}}}}
    assert site.finished(site.launch("pretrain_job", given)["run"]["id"]) == "SUCCESS", site.log()
    return site


@pytest.mark.timeout(300)
def test_settings_of_the_launchpad_reach_the_manifest(trained: Site) -> None:
    settings = trained.manifest("watched", "pretrained_evaluation")["made_of"]["settings"]
    assert settings["answer_tokens"] == 5, settings


@pytest.mark.timeout(300)
def test_a_backfill_of_assets_is_one_run(trained: Site) -> None:
    assert trained.backfill("keyword_decisions", "heuristic_decisions") == "COMPLETED_SUCCESS SUCCESS"


@pytest.mark.timeout(300)
def test_one_document_more_starts_one_run_that_makes_one_fragment(trained: Site) -> None:
    site, before = trained, trained.manifests("watched")
    site.switch_on("sources_changed")
    until(lambda: len(site.ticks("sources_changed")) > 0, 60, site.log)
    assert site.runs("tokenize_job") == {}, "a run was started though nothing has changed"

    append(site.folder, "notes", 199)
    assert site.finished(site.launch("observe_job")["run"]["id"]) == "SUCCESS"
    until(lambda: bool(site.runs("tokenize_job")), 60, site.log)
    (run,) = site.runs("tokenize_job")
    assert site.finished(run) == "SUCCESS", site.log()
    record = site.instance.get_run_by_id(run)
    assert record is not None and record.tags["slm/sources"] == "notes"

    after = site.manifests("watched")
    for name in ("raw_documents", "curated_documents"):
        assert after[name]["counts"]["kept"] == before[name]["counts"]["kept"] + 1, name
    for name in ("raw_documents", *(stage.name for stage in STAGES), "curated_documents", "token_shards"):
        if name not in ("duplicate_decisions", "repetition_edits"):  # these compare documents with one another
            assert after[name]["fragments"] == {"computed": 1, "reused": 2}, name
        for source in ("letters", "tales"):
            table = f"{source}-all.parquet"
            assert files_of(after[name])[table] == files_of(before[name])[table], (name, source)
    for name in ("tokenizer", "perplexity_model", "quality_model", "pretrained_model"):
        assert after[name]["files"] == before[name]["files"], name
    assert after["tokenizer"]["version"] == before["tokenizer"]["version"]

    state, causes = site.stale("pretrained_model")
    assert state == "STALE" and "token_shards: has a new data version" in causes, causes
    why = site.slm("why", "pretrained_model").partition("pretrained_model: ")[2]
    shards = {digest(files_of(of["token_shards"])) for of in (before, after)}
    assert why.startswith("out of date") and all(of in why for of in shards), why

    looked = len(site.ticks("sources_changed"))
    until(lambda: len(site.ticks("sources_changed")) > looked + 2, 60, site.log)
    assert list(site.runs("tokenize_job")) == [run], "the same change was acted on twice"


@pytest.mark.timeout(300)
def test_terminate_in_the_ui_leaves_a_checkpoint_and_a_cancelled_run(trained: Site) -> None:
    site = trained
    long = {"ops": {"pretrained_model": {"config": {"tokens": 2_000_000}}}}
    run = site.launch("pretrain_job", long)["run"]["id"]
    drafts = site.data / "watched" / "pretrained_model"
    until(lambda: bool(list(drafts.glob(".*.draft/checkpoints/step-*"))), 120, site.log)
    time.sleep(2)  # in the middle of the steps
    assert site.status(run) == "STARTED" and site.terminate(run) == "TerminateRunSuccess"
    until(lambda: site.status(run) == "CANCELED", 15, lambda: f"{site.status(run)}: {site.log()}")
    assert newest_checkpoint(drafts) > 0, "no checkpoint was written on the way out"
    written = "".join(path.read_text() for path in (site.home / "storage" / run).rglob("*.err"))
    assert "its checkpoint is kept" in written and "training_program.py" not in written, written


@pytest.mark.timeout(300)
def test_ctrl_c_at_a_terminal_does_the_same(trained: Site) -> None:
    site = trained
    settings = {"tokens": 2_000_000, "learning_rate": 0.001}
    config = {"ops": {"pretrained_model": {"config": settings}}, "loggers": {"console": {}}}
    (site.folder / "config.yaml").write_text(json.dumps(config))
    process = site.execute("pretrain_job", "--config", "config.yaml")
    drafts = site.data / "watched" / "pretrained_model"
    known = set(drafts.glob(".*.draft/checkpoints"))
    until(lambda: bool(set(drafts.glob(".*.draft/checkpoints")) - known), 120, site.log)
    (run,) = [run for run, status in site.runs("pretrain_job").items() if status == "STARTED"]
    time.sleep(4)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to all that run in it
    until(lambda: site.status(run) == "CANCELED", 15, lambda: f"{site.status(run)}: {site.log()}")
    assert "the run was stopped" in process.communicate(timeout=60)[1]
    assert newest_checkpoint(drafts) > 0, "no checkpoint was written on the way out"

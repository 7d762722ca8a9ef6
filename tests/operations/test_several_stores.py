"""Two people, two stores, the same recipe, one Dagster: nothing of the one's runs, sensors or files is the other's."""

import json
from collections.abc import Iterator

import pytest
from dagster import AssetKey, RunsFilter

from assets import several
from pipeline import locations
from tests.operations.dagster_site import Site, until
from tests.operations.test_automation import text

RECIPE = """
name: notes
sources: [{name: notes, kind: files, path: notes.jsonl, lang: en, license: own}]
curation:
  language: {enabled: false}
  keywords: {enabled: false}
  heuristics: {enabled: false}
  perplexity: {enabled: false}
  quality: {enabled: false}
  personal_data: {enabled: false}
  contamination: {enabled: false}
tokenizer: {vocab_size: 400, reserved: 0}
execution: {device: cpu, executor: in_process}
"""
PEOPLE = ("ara", "ben")
# The pause of the sensor is half a minute, for which a test need not wait.
SOONER = "from assets import sensors\nsensors.SECONDS_BETWEEN_CHECKS = 5\n"


def at(person: str) -> dict[str, str]:
    return {"repositoryLocationName": person, "repositoryName": "notes"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    for number, person in enumerate(PEOPLE):
        (folder / person).mkdir()
        (folder / person / "notes.yaml").write_text(RECIPE)
        lines = [{"id": str(of), "text": text(100 * number + of)} for of in range(6)]
        (folder / person / "notes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    stores = {person: {"recipes": person, "data": f"{person}/data"} for person in PEOPLE}
    (folder / "locations.yaml").write_text(json.dumps({"locations": stores}))
    made = Site(folder, folder / "ara" / "notes.yaml")
    made.environment[locations.VARIABLE] = str(folder / "locations.yaml")
    with pytest.MonkeyPatch.context() as given:
        given.setenv(locations.VARIABLE, str(folder / "locations.yaml"))
        made.workspace = several.write_workspace(made.home, several.chosen())
    for person in PEOPLE:
        module = made.workspace.with_name(several.FILE.format(name=person))
        module.write_text(module.read_text() + SOONER)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.timeout(300)
def test_a_change_of_one_persons_source_starts_a_run_in_that_persons_store_alone(site: Site) -> None:
    looked = {person: site.launch("observe_job", at=at(person))["run"]["id"] for person in PEOPLE}
    for run in looked.values():
        assert site.finished(run) == "SUCCESS", site.log()
    site.switch_on("sources_changed", at("ara"))
    made = RunsFilter(job_name="tokenize_job")
    until(lambda: bool(site.instance.get_runs(made)), 90, site.log)
    (run,) = site.instance.get_runs(made)
    assert site.finished(run.run_id) == "SUCCESS", site.log()
    (run,) = site.instance.get_runs(made)
    assert run.tags["slm/store"] == "ara" and run.tags["slm/recipe"] == "notes"
    assert run.remote_job_origin is not None and run.remote_job_origin.location_name == "ara"
    assert (site.folder / "ara" / "data" / "notes" / "token_shards" / "current").exists()
    assert not (site.folder / "ben" / "data" / "notes" / "token_shards").exists()

    # The other's sensor of the same name has a cursor of its own, and the other's assets a history of their own.
    assert site.ticks("sources_changed", at("ben")) == []
    site.switch_on("sources_changed", at("ben"))
    until(lambda: len(site.instance.get_runs(made)) == 2, 90, site.log)
    newest = site.instance.get_runs(made)[0]
    assert newest.remote_job_origin is not None and newest.remote_job_origin.location_name == "ben"
    latest = {of: site.instance.get_latest_materialization_event(AssetKey([of, "notes", "tokenizer"])) for of in PEOPLE}
    assert latest["ara"] is not None and latest["ara"].run_id == run.run_id
    assert site.finished(newest.run_id) == "SUCCESS", site.log()
    latest = {of: site.instance.get_latest_materialization_event(AssetKey([of, "notes", "tokenizer"])) for of in PEOPLE}
    assert {of: event and event.run_id for of, event in latest.items()} == {"ara": run.run_id, "ben": newest.run_id}

"""What goes with a model or a data set: the same bytes each time, nothing made up, and no licence passed over."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.commands.publish import artifact_of, subject_of
from pipeline.publishing.documents import documents
from pipeline.publishing.licences import Stated, asks, objections, spdx_id
from pipeline.publishing.subject import Told
from tests import tiny

NOTHING = {"licence": None, "publisher": None, "url": None, "date": None}
ALL = {"licence": "cc-by-4.0", "publisher": "Mina Kim", "url": "https://example.org/notes", "date": "2026-11-26"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    with tiny.trained(tmp_path_factory.mktemp("publish")) as made:
        yield made


def subject(project, name="pretrained_model", told=ALL):
    return subject_of(project, artifact_of(project, name), told)


def parsed(project, file, **given):
    return json.loads(documents(subject(project, **given))[file])


def test_the_command_writes_all_documents_and_the_same_bytes_again(project, tmp_path):
    for folder in ("one", "two"):
        result = CliRunner().invoke(main, ["publish", "pretrained_model", str(tmp_path / folder), "--licence", "mit"])
        assert result.exit_code == 0, result.output
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == {
        "MODEL_CARD.md", "DATA_CARD.md", "LICENCES.md", "TRAINING_CONTENT.md", "bom.spdx3.json", "openlineage.jsonl",
        "croissant-curated_documents.json",
    }  # fmt: skip
    for name in names:
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "two" / name).read_bytes()
        assert str(project.store.root).encode() not in content, f"{name} names a folder of this machine"
    result = CliRunner().invoke(main, ["publish", "curated_documents", str(tmp_path / "data")])
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "data" / "MODEL_CARD.md").exists() and (tmp_path / "data" / "DATA_CARD.md").exists()


def test_what_nobody_told_is_named_as_unknown_and_not_made_up(project):
    found = documents(subject(project, told=NOTHING))
    summary = found["TRAINING_CONTENT.md"].decode()
    assert "Provider name and contact details: not known: to be filled in by the provider" in summary
    assert "less than 1 billion tokens" in summary and "| first |" in summary
    for section in (
        "## 1.",
        "### 1.3",
        "### 2.1",
        "#### 2.2.1",
        "### 2.3",
        "### 2.4",
        "### 2.5",
        "### 2.6",
        "### 3.1",
        "### 3.2",
    ):
        assert f"\n{section} " in summary
    about = json.loads(found["croissant-curated_documents.json"])
    assert not {"url", "creator", "datePublished"} & about.keys()
    graph = json.loads(found["bom.spdx3.json"])["@graph"]
    assert graph[0]["created"].startswith("1970") and "not known" in graph[0]["comment"]
    assert "releaseTime" not in next(one for one in graph if one["type"] == "ai_AIPackage")
    assert "Its own licence: not stated." in found["LICENCES.md"].decode()


def test_croissant_lists_every_file_with_its_hash_and_where_the_text_came_from(project):
    about = parsed(project, "croissant-curated_documents.json")
    assert "http://mlcommons.org/croissant/1.1" in about["conformsTo"]
    assert about["url"] == ALL["url"] and about["datePublished"] == ALL["date"]
    assert about["license"] == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    curated = project["curated_documents"]
    files = {one["@id"]: one for one in about["distribution"] if one["@type"] == "cr:FileObject"}
    assert set(files) == {f"{fragment}.parquet" for fragment in curated.fragments}
    for name, one in files.items():
        assert one["sha256"] == hashlib.sha256(curated.file(name).read_bytes()).hexdigest()
    assert [one["prov:label"] for one in about["prov:wasDerivedFrom"]] == [
        "first (licence: own)", "second (licence: CC0)",
    ]  # fmt: skip
    assert any("removed as exact_duplicate" in step for step in about["rai:dataPreprocessingProtocol"])
    import polars as pl

    columns = set(pl.read_parquet_schema(curated.table(curated.fragments[0])))
    assert {one["source"]["extract"]["column"] for one in about["recordSet"][0]["field"]} <= columns


def test_mlcroissant_finds_no_error(project, tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    for name in ("curated_documents", "token_shards"):
        content = documents(subject(project, name=name))[f"croissant-{name}.json"]
        (tmp_path / name).write_bytes(content)
        assert not mlcroissant.Dataset(jsonld=tmp_path / name).metadata.ctx.issues.errors


def test_the_bill_of_materials_refers_to_what_is_in_it(project):
    document = parsed(project, "bom.spdx3.json")
    creation, *elements = document["@graph"]
    known = {element["spdxId"] for element in elements}
    assert len(known) == len(elements)
    relations = [element for element in elements if element["type"] == "Relationship"]
    for one in relations:
        assert one["from"] in known
        assert all(other in known or other.endswith("/NoAssertion") for other in one["to"])
    by_type = {element["type"] for element in elements}
    assert by_type >= {"ai_AIPackage", "dataset_DatasetPackage", "simplelicensing_LicenseExpression", "SpdxDocument"}
    trained = next(one for one in relations if one["relationshipType"] == "trainedOn")
    assert trained["to"] == [one["spdxId"] for one in elements if one.get("name") == "tiny curated_documents"]
    (root,) = next(one for one in elements if one["type"] == "SpdxDocument")["rootElement"]
    assert set(next(one for one in elements if one["spdxId"] == root)["element"]) < known
    assert creation["created"] == "2026-11-26T00:00:00Z"


@pytest.mark.parametrize("name", ["pretrained_model", "curated_documents", "token_shards"])
def test_the_bindings_of_spdx_read_and_write_the_bill_of_materials(project, tmp_path, name):
    spdx = pytest.importorskip("spdx_python_model.bindings.v3_0_1", reason="spdx-python-model is not installed")
    path = tmp_path / "bom.json"
    path.write_bytes(documents(subject(project, name=name))["bom.spdx3.json"])
    read = spdx.SHACLObjectSet()
    with path.open("rb") as file:
        spdx.JSONLDDeserializer().read(file, read)
    assert {str(one) for one in read.link()} <= {"https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertion"}
    with (tmp_path / "again.json").open("wb") as file:
        spdx.JSONLDSerializer().write(read, file)  # raises where a property is missing or not of its kind


@pytest.mark.parametrize("licence", ["CC-BY-ND-4.0", "all rights reserved", "not stated"])
def test_a_licence_that_speaks_against_it_stops_it_unless_one_insists(project, tmp_path, licence, monkeypatch):
    changed = subject(project, told=NOTHING)
    manifests = {name: copy.deepcopy(dict(manifest)) for name, manifest in changed.manifests.items()}
    manifests["raw_documents"]["facts"]["sources"]["second"]["licenses"] = {licence: 8}
    changed = replace(changed, manifests=manifests)
    monkeypatch.setattr("pipeline.commands.publish.subject_of", lambda *given: changed)
    command = ["publish", "pretrained_model", str(tmp_path / "out")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1 and "`second`" in result.output and "`--force`" in result.output
    assert not (tmp_path / "out").exists()
    result = CliRunner().invoke(main, [*command, "--force"])
    assert result.exit_code == 0, result.output
    for card in ("MODEL_CARD.md", "DATA_CARD.md", "LICENCES.md"):
        assert "Published although this spoke against it" in (tmp_path / "out" / card).read_text()
    assert "Published although this spoke against it" in (tmp_path / "out" / "TRAINING_CONTENT.md").read_text()


def test_a_source_that_the_recipe_describes_otherwise_by_now_is_of_unknown_kind(project):
    kinds = {source.name: source.kind for source in subject(project).sources}
    assert kinds == {"first": "files", "second": "files"}
    sources = [one.model_copy(update={"lang": "ko"}) if one.name == "first" else one for one in project.recipe.sources]
    other = replace(project, recipe=project.recipe.model_copy(update={"sources": sources}))
    assert {source.name: source.kind for source in subject(other).sources} == {"first": None, "second": "files"}


def test_every_artifact_that_is_made_is_an_event(project):
    text = (project.store.root / "tiny" / "openlineage.jsonl").read_text()
    events = {event["job"]["name"]: event for event in map(json.loads, text.splitlines())}
    assert {"raw_documents", "token_shards", "pretrained_model"} <= events.keys()
    shards = events["token_shards"]
    assert {given["name"] for given in shards["inputs"]} == {"curated_documents", "tokenizer"}
    assert (
        shards["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == project["token_shards"].counts["kept"]
    )
    assert uuid.UUID(shards["run"]["runId"]) and shards["eventTime"].endswith("Z")
    published = documents(subject(project))["openlineage.jsonl"].decode().splitlines()
    again = {event["job"]["name"]: event for event in map(json.loads, published)}
    assert again["token_shards"]["run"]["runId"] == shards["run"]["runId"]
    assert again["token_shards"]["eventTime"] == "2026-11-26T00:00:00Z"


def test_no_event_is_written_where_nobody_wants_one(project, monkeypatch):
    from pipeline import openlineage

    path = project.store.root / "tiny" / openlineage.FILE
    before = path.read_text()
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    openlineage.record(project.store, project["tokenizer"], lambda line: None)
    assert path.read_text() == before
    monkeypatch.delenv("OPENLINEAGE_DISABLED")
    openlineage.record(project.store, project["tokenizer"], lambda line: None)
    assert path.read_text().count("\n") == before.count("\n") + 2


def told_events(project) -> list[dict]:
    """The events of everything that was made, and those that are published."""
    recorded = (project.store.root / "tiny" / "openlineage.jsonl").read_text()
    published = documents(subject(project))["openlineage.jsonl"].decode()
    return [json.loads(line) for line in (recorded + published).splitlines()]


def test_every_run_begins_before_it_is_complete(project):
    events = told_events(project)
    kinds = [event["eventType"] for event in events]
    assert len(events) > 20 and kinds == ["START", "COMPLETE"] * (len(events) // 2)
    for start, complete in zip(events[::2], events[1::2]):
        assert start["run"]["runId"] == complete["run"]["runId"]
        assert start["job"] == complete["job"] and start["inputs"] == complete["inputs"]
        began, ended = (datetime.fromisoformat(event["eventTime"]) for event in (start, complete))
        assert began.tzinfo == UTC and began <= ended
    took = project["pretrained_model"].manifest["seconds"]["total"]
    of_model = [event for event in events if event["job"]["name"] == "pretrained_model"][:2]
    began, ended = (datetime.fromisoformat(event["eventTime"]) for event in of_model)
    assert abs((ended - began).total_seconds() - took) <= 2  # each is cut to a second


def facets_in(value: object) -> Iterator[dict]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("facets", "outputFacets", "inputFacets"):
                yield from inner.values()
            yield from facets_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from facets_in(inner)


def test_events_and_facets_name_their_producer_and_a_place_in_their_schema(project):
    urn = re.compile(r"urn:[a-z0-9][a-z0-9-]{1,30}:[^\s]+")  # RFC 8141, section 2
    schema = re.compile(r"https://openlineage\.io/spec/(facets/)?\d+-\d+-\d+/(\w+)\.json#/\$defs/(\w+)")
    for event in told_events(project):
        assert urn.fullmatch(event["producer"]) and schema.fullmatch(event["schemaURL"])[3] == "RunEvent"
        assert str(uuid.UUID(event["run"]["runId"])) == event["run"]["runId"]
        facets = list(facets_in(event))
        assert facets or event["eventType"] == "START"
        for facet in facets:
            assert urn.fullmatch(facet["_producer"])
            place = schema.fullmatch(facet["_schemaURL"])
            assert urn.fullmatch(facet["_schemaURL"]) if "settings" in facet else place[2] == place[3]


def test_the_classes_of_openlineage_hold_the_events_as_they_are(project):
    reason = "openlineage-python is not installed"
    base = pytest.importorskip("openlineage.client.generated.base", reason=reason)
    from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet
    from openlineage.client.generated.output_statistics_output_dataset import OutputStatisticsOutputDatasetFacet
    from openlineage.client.serde import Serde

    of = {"version": DatasetVersionDatasetFacet, "outputStatistics": OutputStatisticsOutputDatasetFacet}

    def facets(given: dict) -> dict:
        return {
            name: of[name](
                **{key: value for key, value in content.items() if key[0] != "_"}, producer=content["_producer"]
            )
            for name, content in given.items()
        }

    def data_set(kind: type, given: dict) -> object:
        of_kinds = {name: facets(given.get(name, {})) for name in ("facets", "outputFacets") if name in given}
        return kind(namespace=given["namespace"], name=given["name"], **of_kinds)

    for event in told_events(project):
        custom = event["run"].get("facets", {})
        assert set(custom) <= {"slm_made"}, "a facet of the specification: read it through its class"
        # The classes check times, ids and addresses; they name the schema of everything themselves.
        read = base.RunEvent(
            eventTime=event["eventTime"],
            producer=event["producer"],
            eventType=base.EventType(event["eventType"]),
            run=base.Run(event["run"]["runId"]),
            job=base.Job(**event["job"]),
            inputs=[data_set(base.InputDataset, one) for one in event["inputs"]],
            outputs=[data_set(base.OutputDataset, one) for one in event["outputs"]],
        )
        again = Serde.to_dict(read)
        again["run"]["facets"] = custom
        assert without_nothing(again) == without_nothing(event)


def without_nothing(value: object) -> object:
    """An event without empty objects, which the classes write where there is nothing, and without nulls."""
    if isinstance(value, dict):
        kept = {name: without_nothing(inner) for name, inner in value.items()}
        return {name: inner for name, inner in kept.items() if inner not in ({}, None)}
    return [without_nothing(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("licence", "words"),
    [
        ("CC-BY-SA-4.0", "the authors named, the licence linked, and changes said; the same licence"),
        ("cc-by-nc-nd-4.0", "no commercial use; no changes"),
        ("MIT", "its text and the copyright notice"),
        ("GPL-3.0-only", "the source and the same licence"),
        ("CC0-1.0", "nothing"),
        ("unknown (the pages keep their own)", "without a licence nothing is allowed"),
        ("Some House Licence 3", "read it"),
    ],
)
def test_a_licence_says_what_it_asks_for(licence, words):
    assert words in asks(licence)


def test_only_names_that_spdx_has_are_taken_for_its_names():
    assert spdx_id("apache-2.0") == "Apache-2.0" and spdx_id("public domain") == "CC-PDDC"
    assert spdx_id("made up") is None and spdx_id("MIT or so") is None


def test_an_own_licence_is_only_asked_for_where_a_model_is_sent_away():
    assert list(objections([Stated("text", "MIT")], None, needs_own=False)) == []
    assert len(list(objections([Stated("text", "MIT")], None))) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nothing", "x"], "is not in the store"),
        (["curated_documents/zz", "x"], "There is no one data set"),
        (["pretrained_model", "x", "--date", "tomorrow"], "is no date"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(project, given, said):
    result = CliRunner().invoke(main, ["publish", *given])
    assert result.exit_code == 1 and said in result.output, result.output


def test_what_was_told_is_a_record_of_its_own():
    assert Told(**NOTHING) == Told()

"""An AI bill of materials in SPDX 3.0.1 (JSON-LD): the model, its data sets, what both came from, and their licences.

The profiles AI and Dataset of SPDX want some facts that manifests do not hold. They are left out, or carry the
standard's own word for it (`noAssertion`); nothing is made up. The one exception is the time of the document, which
SPDX cannot do without: it is the date that was told, or else that of SOURCE_DATE_EPOCH, or else the year 1970, and the
comment beside it says so. So the same manifests give the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.evaluation.figures import figures
from pipeline.publishing.croissant import roles_of
from pipeline.publishing.licences import Stated, spdx_id
from pipeline.publishing.subject import UNKNOWN, Source, Subject, figure, named
from pipeline.store.artifact import digest

CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
NO_ASSERTION = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertion"
PROFILES = ["core", "software", "ai", "dataset", "simpleLicensing"]
CREATION = "_:creation"
MOST_METRICS = 40


def bill_of_materials(subject: Subject, data: list[str]) -> dict[str, Any]:
    """The whole document. data: the data sets among what the subject was made of, such as `curated_documents`."""
    base = f"urn:slm:{subject.recipe}:{subject.asset}:{subject.version}"
    graph = Graph(base)
    publisher = subject.told.publisher
    agent = graph.add(
        "Organization" if publisher else "Agent", "publisher", {"name": publisher or "publisher not stated"}
    )
    licences = {one.licence: licence_of(graph, one) for one in subject.licences}
    sets = {asset: data_set(graph, subject, asset) for asset in data}
    sources = {source: source_set(graph, source) for source in subject.sources if source.role != "base_model"}
    for source, element in sources.items():
        graph.relate(
            element, "hasDeclaredLicense", [licences.get(one, NO_ASSERTION) for one in source.licences or ("",)]
        )
        for asset, made in sets.items():
            if source.role in roles_of(asset):
                graph.relate(made, "descendantOf", [element])
    root = sets.get(subject.asset)
    if subject.is_model:
        root = model(graph, subject, agent)
        if sets:
            graph.relate(root, "trainedOn", list(sets.values()))
        for start in (source for source in subject.sources if source.role == "base_model"):
            element = graph.add("ai_AIPackage", "base-model", {"name": start.name})
            graph.relate(root, "descendantOf", [element])
            graph.relate(element, "hasDeclaredLicense", [licences.get(one, NO_ASSERTION) for one in start.licences])
    assert root is not None
    own = subject.told.licence
    declared = licence_of(graph, Stated(subject.asset, own)) if own else NO_ASSERTION
    graph.relate(root, "hasDeclaredLicense", [declared])
    for name, version in sorted(programs(subject).items()):
        program = graph.add("software_Package", f"program-{name}", {"name": name, "software_packageVersion": version})
        graph.relate(root, "usesTool", [program])
    return {"@context": CONTEXT, "@graph": graph.document(subject, root, agent)}


class Graph:
    """The elements of a document, in the order in which they were added."""

    def __init__(self, base: str) -> None:
        self.base, self.elements = base, list[dict[str, Any]]()

    def add(self, kind: str, name: str, properties: Mapping[str, Any]) -> str:
        """Add an element, unless there is one of this name; returns its id."""
        spdx_id_ = f"{self.base}#{name}"
        if all(element["spdxId"] != spdx_id_ for element in self.elements):
            known = {key: value for key, value in properties.items() if value not in (None, [], "")}
            self.elements.append({"type": kind, "spdxId": spdx_id_, "creationInfo": CREATION, **known})
        return spdx_id_

    def relate(self, one: str, how: str, others: list[str]) -> None:
        name = f"relation-{digest([one, how, others])[:12]}"
        self.add("Relationship", name, {"from": one, "relationshipType": how, "to": list(dict.fromkeys(others))})

    def document(self, subject: Subject, root: str, agent: str) -> list[dict[str, Any]]:
        created, comment = time_of(subject.told.date)
        about = {
            "type": "CreationInfo", "@id": CREATION, "specVersion": "3.0.1", "created": created, "createdBy": [agent],
            "comment": comment,
        }  # fmt: skip
        listed = [element["spdxId"] for element in self.elements]
        bill = self.add("Bom", "bill", {"rootElement": [root], "element": listed, "profileConformance": PROFILES})
        document = {"rootElement": [bill], "element": [*listed, bill], "profileConformance": PROFILES}
        self.add("SpdxDocument", "document", {"name": f"What {subject.name} was made of", **document})
        return [about, *self.elements]


def time_of(date: str | None) -> tuple[str, str]:
    """(the time of the document, what it is)."""
    if date:
        return f"{date}T00:00:00Z", "The day on which it was published, as the publisher told it."
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch and epoch.isdigit():
        return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "SOURCE_DATE_EPOCH."
    return "1970-01-01T00:00:00Z", "The time is not known: artifacts hold none, and none was told."


def hashes(manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    """The hash of an artifact's contents: that of the hashes of its files, as the store names it."""
    contents = digest({name: entry["sha256"] for name, entry in manifest["files"].items()})
    return [{"type": "Hash", "algorithm": "sha256", "hashValue": contents, "comment": "of the hashes of all files"}]


def licence_of(graph: Graph, stated: Stated) -> str:
    """The element of a licence; of one that SPDX does not know, under a name of this document, with its own words."""
    if not stated.known:
        return NO_ASSERTION
    known = spdx_id(stated.licence)
    name = known or "LicenseRef-" + "".join(letter if letter.isalnum() else "-" for letter in stated.licence)[:60]
    if not name.isascii():
        name = f"LicenseRef-{digest(stated.licence)[:12]}"
    return graph.add(
        "simplelicensing_LicenseExpression", f"licence-{name}",
        {
            "simplelicensing_licenseExpression": name,
            "comment": None if known else f"In its own words: {stated.licence}",
        },
    )  # fmt: skip


def model(graph: Graph, subject: Subject, agent: str) -> str:
    """The model itself."""
    manifest, told = subject.manifest, subject.told
    facts, settings = manifest.get("facts", {}), manifest.get("made_of", {}).get("settings", {})
    shape = settings.get("model") or subject.manifests.get("pretrained_model", {}).get("made_of", {}).get(
        "settings", {}
    ).get("model", {})
    hyperparameters = {
        **shape,
        **{name: facts.get(name) for name in ("parameters", "steps", "tokens", "learning_rate")},
    }
    personal = "personal_data_edits" in subject.manifests
    return graph.add("ai_AIPackage", "model", {
        "name": subject.name,
        "summary": f"{figure(facts.get('parameters'))} parameters; a language model of the recipe {subject.recipe}",
        "suppliedBy": agent,
        "releaseTime": f"{told.date}T00:00:00Z" if told.date else None,
        "verifiedUsing": hashes(manifest),
        "software_packageVersion": subject.version,
        "software_downloadLocation": told.url,
        "software_primaryPurpose": "model",
        "ai_domain": ["natural language"],
        "ai_typeOfModel": ["transformer", "causal language model"],
        "ai_hyperparameter": [
            entry(name, value) for name, value in sorted(hyperparameters.items()) if value is not None
        ],
        "ai_metric": [
            entry(name, round(value, 6)) for name, value in list(figures(subject.report or {}))[:MOST_METRICS]
        ],
        "ai_informationAboutTraining": f"Trained on {figure(facts.get('tokens'))} tokens in"
        f" {figure(facts.get('steps'))} steps; the settings are in the manifest with the fingerprint"
        f" {manifest.get('fingerprint', UNKNOWN)}.",
        "ai_informationAboutApplication": "Generates text like the text that it was trained on.",
        "ai_limitation": "It states falsehoods fluently and repeats the biases of its sources; do not rely on it.",
        "ai_modelDataPreprocessing": [name for name in subject.manifests if name.endswith(("_decisions", "_edits"))],
        "ai_useSensitivePersonalInformation": "noAssertion",
        "comment": "Personal data was searched for and replaced; not all is found." if personal else None,
    })  # fmt: skip


def data_set(graph: Graph, subject: Subject, asset: str) -> str:
    """A data set of the store."""
    manifest = subject.manifests[asset]
    removed = sum(manifest.get("counts", {}).get("removed", {}).values())
    return graph.add("dataset_DatasetPackage", asset, {
        "name": f"{subject.recipe} {asset}",
        "summary": f"{figure(manifest.get('counts', {}).get('kept'))} documents, {removed:,} removed in this step",
        "verifiedUsing": hashes(manifest),
        "software_packageVersion": manifest["version"],
        "software_primaryPurpose": "data",
        "dataset_datasetType": ["text"],
        "dataset_datasetSize": sum(entry["bytes"] for entry in manifest["files"].values()),
        "dataset_dataPreprocessing": [name for name in subject.manifests if name.endswith(("_decisions", "_edits"))],
        "dataset_hasSensitivePersonalInformation": "noAssertion",
    })  # fmt: skip


def source_set(graph: Graph, source: Source) -> str:
    """A source of a data set."""
    address = source.address or ""
    return graph.add("dataset_DatasetPackage", f"source-{source.role}-{source.name}", {
        "name": source.name,
        "summary": f"{figure(source.documents)} documents read, {figure(source.kept)} kept",
        "software_downloadLocation": address if address.startswith(("http://", "https://")) else None,
        "software_primaryPurpose": "data",
        "dataset_datasetType": ["text"],
        "dataset_dataCollectionProcess": f"{source.kind or UNKNOWN}{f', {address}' if address else ''}",
        "dataset_hasSensitivePersonalInformation": "noAssertion",
        "comment": f"Languages as declared: {named(source.languages)}.",
    })  # fmt: skip


def entry(name: str, value: Any) -> dict[str, str]:
    return {"type": "DictionaryEntry", "key": name, "value": str(value)}


def programs(subject: Subject) -> dict[str, str]:
    """The programs that it was made with, with their versions."""
    made_on = subject.manifest.get("made_on") or {}
    known = ("python", "torch", "numpy", "polars", "sentencepiece", "tokenizers", "tiktoken", "rustbpe")
    return {name: str(made_on[name]) for name in known if name in made_on}

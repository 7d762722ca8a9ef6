"""The data behind a model, or a data set, as Croissant 1.1 (MLCommons): schema.org's Dataset in JSON-LD.

With its fields on responsible AI (http://mlcommons.org/croissant/RAI/), where each source came from (PROV-O's
`wasDerivedFrom`), and the columns of its tables. Dates, addresses and creators that nobody told are left out; the
standard asks for `url`, `creator` and `datePublished`, so say them when you publish (`--url`, `--publisher`, `--date`).
"""

from __future__ import annotations

from typing import Any

from pipeline.inspect.cards import NAMES_STAY
from pipeline.publishing.licences import spdx_id
from pipeline.publishing.subject import UNKNOWN, Source, Subject, figure, named

CONFORMS = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
# The context that the standard recommends (appendix 1), with the words of PROV-O.
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
TABLES = "application/vnd.apache.parquet"
# The columns of documents and of conversations that a reader needs, with what is in them.
FIELDS = {
    "curated_documents": {
        "doc_id": "hash of the text", "text": "the text", "source": "name of the source", "source_id": "its id there",
        "lang": "language as found", "url": "address, if it has one", "license": "as the source states it",
    },
    "token_shards": {
        "doc_id": "hash of the text", "source": "name of the source", "lang": "language as found",
        "split": "train or validation",
    },
    "instruction_data": {"id": "hash of the conversation", "source": "name of the set", "lang": "language as stated"},
    "preference_data": {"id": "hash of the pair", "source": "name of the set", "lang": "language as stated"},
}  # fmt: skip
FIELDS["curated_instructions"] = FIELDS["instruction_data"]
LICENCE_URL = "https://spdx.org/licenses/{}.html"


def croissant(subject: Subject, asset: str) -> dict[str, Any]:
    """The description of one data set among what the subject was made of. asset: such as `curated_documents`."""
    manifest, told = subject.manifests[asset], subject.told
    sources = [source for source in subject.sources if source.role in roles_of(asset)]
    about: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": f"{subject.recipe}-{asset}",
        "description": description(subject, asset, sources),
        "conformsTo": CONFORMS,
        "version": "1.0.0",
        "identifier": f"{asset}/{manifest['version']}",
        "license": licence_of(subject, sources),
    }
    if told.url:
        about["url"] = told.url
    if told.publisher:
        about["creator"] = {"@type": "sc:Organization", "name": told.publisher}
        about["publisher"] = {"@type": "sc:Organization", "name": told.publisher}
    if told.date:
        about["datePublished"] = told.date
    spoken = {language for source in sources for language in source.languages}
    languages = sorted(language for language in spoken if len(language) in (2, 3) and language.isalpha())
    if languages:
        about["inLanguage"] = languages
    about |= responsible(subject, sources)
    about["prov:wasDerivedFrom"] = [derived(source) for source in sources]
    steps = [name for name in subject.manifests if name.endswith(("_decisions", "_edits"))]
    if steps and asset not in ("instruction_data", "preference_data"):
        label = f"Curation by the stages {', '.join(steps)}"
        about["prov:wasGeneratedBy"] = {"@type": "prov:Activity", "prov:label": label}
    about["distribution"] = distribution(asset, manifest)
    about["recordSet"] = [record_set(asset)]
    return about


def roles_of(asset: str) -> tuple[str, ...]:
    """The artifacts that read the sources of a data set."""
    if asset == "curated_instructions":
        return ("instruction_data",)
    return (asset,) if asset in ("instruction_data", "preference_data") else ("raw_documents",)


def description(subject: Subject, asset: str, sources: list[Source]) -> str:
    """What the data set is, in two sentences."""
    counts = subject.manifests[asset].get("counts", {})
    names = named([source.name for source in sources])
    return (
        f"The artifact {asset} of the recipe {subject.recipe}, version {subject.manifests[asset]['version']}: "
        f"{figure(counts.get('kept'))} documents out of the sources {names}. Made by a deterministic pipeline, whose "
        f"manifests this description was written from."
    )


def licence_of(subject: Subject, sources: list[Source]) -> list[str]:
    """The licence that the publisher gives, or else those that the sources state, as addresses where they have one."""
    if subject.told.licence:
        return [licence_link(subject.told.licence)]
    found = dict.fromkeys(licence for source in sources for licence in (source.licences or ("not stated",)))
    return [licence_link(licence) for licence in found] or ["not stated"]


def licence_link(licence: str) -> str:
    known = spdx_id(licence)
    return LICENCE_URL.format(known) if known else licence


def responsible(subject: Subject, sources: list[Source]) -> dict[str, Any]:
    """The vocabulary on responsible AI, as far as manifests tell."""
    kinds = {
        "generated": "Secondary Data Analysis: text made by a program", "huggingface": "Web API",
        "http": "Web Scraping", "common_crawl": "Web Scraping",
    }  # fmt: skip
    collected = sorted({kinds.get(source.kind or "", "Others") for source in sources})
    removed = [
        f"{asset}: {count:,} documents removed as {reason}"
        for asset, manifest in subject.manifests.items()
        if asset.endswith(("_decisions", "_edits"))
        for reason, count in sorted(manifest.get("counts", {}).get("removed", {}).items())
    ]
    edits = [
        f"{asset}: {count:,} places replaced or cut ({label})"
        for asset, manifest in subject.manifests.items()
        for label, count in sorted(manifest.get("counts", {}).get("edits", {}).items())
    ]
    searched = "personal_data_edits" in subject.manifests
    told = {
        "rai:dataCollection": "; ".join(
            f"{source.name}: {source.kind or UNKNOWN}{f', {source.address}' if source.address else ''}"
            for source in sources
        ) or UNKNOWN,
        "rai:dataCollectionType": collected,
        "rai:dataPreprocessingProtocol": removed + edits or [UNKNOWN],
        "rai:dataBiases": ["Not known: who is represented in the text, and who is not, was not examined."],
        "rai:dataLimitations": [
            "Not known: whether the licences that the sources state are right, and whether authors agreed to this use."
        ],
        "rai:dataUseCases": ["Training of small language models."],
        "rai:personalSensitiveInformation": [NAMES_STAY if searched else "Not searched for personal data."],
    }  # fmt: skip
    return {name: value for name, value in told.items() if value}


def derived(source: Source) -> dict[str, Any]:
    """A source as an entity that the data was derived from."""
    address = source.address or ""
    about = {"@id": address if address.startswith(("http://", "https://")) else f"urn:slm:source:{source.name}"}
    licences = named([licence for licence in source.licences if licence])
    return about | {"@type": "prov:Entity", "prov:label": f"{source.name} (licence: {licences})"}


def distribution(asset: str, manifest: Any) -> list[dict[str, Any]]:
    """Every file with its hash, and the tables as a set."""
    files = [name for name in sorted(manifest["files"]) if name.endswith(".parquet") and "/" not in name]
    listed = [
        {
            "@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": name,
            "contentSize": f"{manifest['files'][name]['bytes']} B", "encodingFormat": TABLES,
            "sha256": manifest["files"][name]["sha256"],
        }
        for name in files
    ]  # fmt: skip
    return [*listed, {"@type": "cr:FileSet", "@id": "tables", "name": "tables", "containedIn": [
        {"@id": name} for name in files
    ], "encodingFormat": TABLES, "includes": "*.parquet", "description": f"All tables of {asset}."}]  # fmt: skip


def record_set(asset: str) -> dict[str, Any]:
    """The rows of the tables, with their columns."""
    fields = [
        {
            "@type": "cr:Field", "@id": f"rows/{column}", "name": column, "description": words, "dataType": "sc:Text",
            "source": {"fileSet": {"@id": "tables"}, "extract": {"column": column}},
        }
        for column, words in FIELDS[asset].items()
    ]  # fmt: skip
    return {"@type": "cr:RecordSet", "@id": "rows", "name": "rows", "field": fields}

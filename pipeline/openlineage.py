"""OpenLineage events: which artifacts went into another one, by which code and settings, and what came out.

Every artifact that is made adds two lines to `openlineage.jsonl` beside the artifacts of its recipe, for a program such
as Marquez or a catalogue of data to read: that its making began, and that it is complete, as the specification asks of
every run. `OPENLINEAGE_DISABLED=true` turns that off. `slm publish` writes the same events for all that a model or a
data set was made of. See https://openlineage.io/spec (2-0-2). A run has the id of its artifact's fingerprint, so the
same artifact has the same run, wherever it is told of.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.store.artifact import Artifact
from pipeline.store.store import Store

FILE = "openlineage.jsonl"
PRODUCER = "urn:slm:pipeline"
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACETS = "https://openlineage.io/spec/facets"


def record(store: Store, artifact: Artifact, log: Callable[[str], None]) -> None:
    """Add the events of an artifact that was just made to the recipe's file; an error is only logged."""
    if os.environ.get("OPENLINEAGE_DISABLED", "").lower() in ("true", "1"):
        return
    ended = datetime.now(UTC)
    began = ended - timedelta(seconds=artifact.manifest["seconds"]["total"])
    added = lines(events(artifact.manifest, as_time(ended), as_time(began)))
    try:
        store.change_record(FILE, lambda before: f"{before or ''}{added}")
    except Exception as error:
        log(f"{FILE} was not written: {error}")


def as_time(moment: datetime) -> str:
    """A moment as an event has it: in UTC, and said to be."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def lines(told: list[dict[str, Any]]) -> str:
    """Events as the lines of a file."""
    return "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in told)


def events(manifest: Mapping[str, Any], ended: str, began: str | None = None) -> list[dict[str, Any]]:
    """The two events of the making of an artifact: START, with what went in, and COMPLETE, with all that is known.

    ended, began: times such as 2026-11-26T00:00:00Z. Manifests hold none; without `began` both events have one time.
    """
    complete = event(manifest, ended)
    start = {name: complete[name] for name in ("producer", "schemaURL", "job", "inputs")}
    run = {"runId": complete["run"]["runId"]}
    return [{"eventType": "START", "eventTime": began or ended, "run": run, **start, "outputs": []}, complete]


def event(manifest: Mapping[str, Any], time: str) -> dict[str, Any]:
    """The event of an artifact that is complete. time: such as 2026-11-26T00:00:00Z."""
    recipe = manifest["recipe"]
    inputs = [
        data_set(recipe, given["asset"], given["version"])
        if isinstance(given, Mapping)
        else {"namespace": "slm", "name": f"outside/{name}/{str(given)[:64]}"}
        for name, given in sorted(manifest["inputs"].items())
    ]
    rows = manifest.get("counts", {}).get("kept")
    figures = {
        **({"rowCount": rows} if isinstance(rows, int) else {}),
        "size": sum(entry["bytes"] for entry in manifest["files"].values()),
        "fileCount": len(manifest["files"]),
    }
    made = data_set(recipe, manifest["asset"], manifest["version"])
    made["outputFacets"] = {"outputStatistics": facet("1-0-2", "OutputStatisticsOutputDatasetFacet", figures)}
    made_of = manifest["made_of"]
    how = {"codeVersion": made_of["code_version"], "settings": made_of["settings"]}
    return {
        "eventType": "COMPLETE",
        "eventTime": time,
        "producer": PRODUCER,
        "schemaURL": SCHEMA,
        "run": {
            "runId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:slm:{manifest['fingerprint']}")),
            "facets": {"slm_made": {"_producer": PRODUCER, "_schemaURL": f"{PRODUCER}:facet:made", **how}},
        },
        "job": {"namespace": f"slm/{recipe}", "name": manifest["asset"]},
        "inputs": inputs,
        "outputs": [made],
    }


def data_set(recipe: str, asset: str, version: str) -> dict[str, Any]:
    """An artifact as a data set, with its version."""
    facets = {"version": facet("1-0-1", "DatasetVersionDatasetFacet", {"datasetVersion": version})}
    return {"namespace": f"slm/{recipe}", "name": asset, "facets": facets}


def facet(version: str, name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """A facet of the specification. Its schema is named by a JSON pointer into the file that defines it."""
    return {"_producer": PRODUCER, "_schemaURL": f"{FACETS}/{version}/{name}.json#/$defs/{name}", **content}

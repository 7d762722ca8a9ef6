"""OpenLineage events: which artifacts went into another one, by which code and settings, and what came out.

Every artifact that is made adds a line to `openlineage.jsonl` beside the artifacts of its recipe, for a program such as
Marquez or a catalogue of data to read; `OPENLINEAGE_DISABLED=true` turns that off. `slm publish` writes the same events
for all that a model or a data set was made of. See https://openlineage.io/spec (2-0-2). A run has the id of its
artifact's fingerprint, so the same artifact has the same run, wherever it is told of.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.store.artifact import Artifact
from pipeline.store.store import Store

FILE = "openlineage.jsonl"
PRODUCER = "urn:slm"
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACETS = "https://openlineage.io/spec/facets"


def record(store: Store, artifact: Artifact, log: Callable[[str], None]) -> None:
    """Add the event of an artifact that was just made to the recipe's file; an error is only logged."""
    if os.environ.get("OPENLINEAGE_DISABLED", "").lower() in ("true", "1"):
        return
    line = json.dumps(event(artifact.manifest, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")), ensure_ascii=False)
    try:
        store.change_record(FILE, lambda before: f"{before or ''}{line}\n")
    except Exception as error:
        log(f"{FILE} was not written: {error}")


def event(manifest: Mapping[str, Any], time: str) -> dict[str, Any]:
    """The event of the making of an artifact. time: such as 2026-11-26T00:00:00Z; manifests hold none."""
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
    made["outputFacets"] = {"outputStatistics": facet("1-0-2/OutputStatisticsOutputDatasetFacet.json", figures)}
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
    facets = {"version": facet("1-0-1/DatasetVersionDatasetFacet.json", {"datasetVersion": version})}
    return {"namespace": f"slm/{recipe}", "name": asset, "facets": facets}


def facet(schema: str, content: Mapping[str, Any]) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": f"{FACETS}/{schema}", **content}

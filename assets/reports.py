"""The asset `report`: the page on the whole recipe."""

from collections.abc import Mapping
from typing import Any

from dagster import MetadataValue

from assets import checks
from assets.asset import AssetDescription
from pipeline.graph import Project
from pipeline.report import report
from pipeline.store.artifact import Artifact


def show(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    """The size of the page, and how to get it as a file."""
    return {
        "artifacts shown": MetadataValue.int(artifact.counts["artifacts"]),
        "as a file": MetadataValue.text(
            "`slm report` writes it: one file, to open in any browser, to print or to send"
        ),
    }


DESCRIBED = AssetDescription(
    name=report.ASSET,
    description=(
        "One page on everything that the recipe made: what went in, what each stage removed, with passages, and what "
        "the models reach and say. It needs no network, and `slm report` writes it as a file to send."
    ),
    kinds=("python", "html"),
    version=report.VERSION,
    made_by=report.make,
    show=show,
    checks=(checks.FILES_COMPLETE,),
)

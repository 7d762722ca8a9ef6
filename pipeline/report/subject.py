"""What a report is about: the artifacts of a recipe, or those behind one of its models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.documents.stage import Stage
from pipeline.evaluation.measure import Measure
from pipeline.settings import StageSettings
from pipeline.store.artifact import Artifact
from pipeline.trained_models import TRAINED_MODELS, TrainedModel


@dataclass(frozen=True)
class Subject:
    """Artifacts by asset, and what is needed to read them.

    stages: those of curation, in order, with their settings. made_of: asset -> what it is made of, as the graph says.
    times: whether the page says how long things took; that is not the same in every making, so an artifact leaves it
    out.
    """

    name: str
    artifacts: Mapping[str, Artifact]
    stages: Sequence[tuple[Stage, StageSettings]]
    measures: Sequence[Measure[Any]]
    made_of: Mapping[str, Sequence[str]]
    times: bool = False

    def get(self, asset: str) -> Artifact | None:
        return self.artifacts.get(asset)

    def decisions(self) -> Iterator[tuple[Stage, StageSettings, Artifact]]:
        """Each stage that was made, in order."""
        for stage, settings in self.stages:
            artifact = self.get(stage.name)
            if artifact is not None:
                yield stage, settings, artifact

    def models(self) -> Iterator[tuple[TrainedModel, Artifact]]:
        """Each trained model that was made, the earliest first."""
        for model in TRAINED_MODELS:
            artifact = self.get(model.name)
            if artifact is not None:
                yield model, artifact

    def reports(self) -> Iterator[tuple[TrainedModel, Artifact]]:
        """The evaluation of each model that was made, with a report in it."""
        for model in TRAINED_MODELS:
            artifact = self.get(model.evaluation)
            if artifact is not None and "report.json" in artifact.manifest["files"]:
                yield model, artifact


def inputs_of(artifact: Artifact) -> dict[str, str]:
    """Asset -> digest of each artifact that this one was made from."""
    given = artifact.manifest["inputs"].values()
    return {reference["asset"]: reference["digest"] for reference in given if isinstance(reference, dict)}


def outdated(subject: Subject) -> dict[str, list[str]]:
    """Asset -> the inputs of which the subject has another content than the one it was made from."""
    found = {}
    for name, artifact in subject.artifacts.items():
        changed = [
            given
            for given, digest in inputs_of(artifact).items()
            if given in subject.artifacts and subject.artifacts[given].digest != digest
        ]
        if changed:
            found[name] = changed
    return found

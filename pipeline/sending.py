"""`slm report`: the page of a recipe, of one of its models, or of two of these side by side, as it is now.

The asset `report` (pipeline/report/report.py) shows what the jobs made; this page also says how long things took and
what is out of date.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipeline import places
from pipeline.curation.stages import stages_of
from pipeline.errors import UserError
from pipeline.graph import Project
from pipeline.inspect import changes, lineage
from pipeline.report import report, side_by_side
from pipeline.report.subject import Subject
from pipeline.run import why
from pipeline.store.artifact import Artifact
from pipeline.trained_models import MODELS


def page(project: Project, against: str | None = None) -> str:
    """The page of the recipe; with `against`, of the recipe (a file or a name) or of the model named there, too.

    Raises UserError if nothing was made yet, or if there is nothing of the other name.
    """
    own = subject_of(project)
    if against is None:
        return report.written(own, out_of_date(project))
    return side_by_side.written(*told_apart(own, other(project, against)))


def told_apart(first: Subject, second: Subject) -> tuple[Subject, Subject]:
    """Both, with names that differ."""
    if first.name != second.name:
        return first, second
    return replace(first, name=f"{first.name} (left)"), replace(second, name=f"{second.name} (right)")


def subject_of(project: Project) -> Subject:
    """What the recipe asks for and was made. Raises UserError if that is nothing."""
    nodes = project.nodes
    shown = [name for name, node in nodes.items() if node.enabled and node.reported and name != report.ASSET]
    made = {name: project.store.current(name) for name in shown}
    found = {name: artifact for name, artifact in made.items() if artifact is not None}
    if not found:
        raise UserError(
            f"Nothing of the recipe `{project.recipe.name}` was made yet: `dagster job execute -j pretrain_job` makes"
            " it."
        )
    return _subject(project, project.recipe.name, found)


def _subject(project: Project, name: str, artifacts: Mapping[str, Artifact]) -> Subject:
    curation = project.recipe.curation
    stages = [(stage, curation.of(stage)) for stage in stages_of(curation)]
    made_of = {asset: tuple(node.inputs.values()) for asset, node in project.nodes.items()}
    return Subject(name, artifacts, stages, project.recipe.evaluation.measures(), made_of, times=True)


def other(project: Project, name: str) -> Subject:
    """The recipe of this file or name, or else the model of this version with all that it was made from."""
    asset = name.partition("/")[0]
    if asset in MODELS:
        return version_of(project, name)
    for given in (name, f"{name}.yaml", f"recipes/{name}.yaml"):
        if places.recipe_file(given).is_file():
            return subject_of(Project.open(given, log=project.log))
    try:
        return version_of(project, name)
    except UserError:
        raise UserError(
            f"There is neither a recipe nor a model `{name}`: give the file of a recipe, or a model such as"
            " `pretrained_model/1a2b3c` (`slm store list` names them)."
        ) from None


def version_of(project: Project, name: str) -> Subject:
    """A model of the store, what it was made from, and its evaluation."""
    model = lineage.find_model(project.store, name)
    artifacts = lineage.in_order(lineage.ancestry(project.store, model))
    for asset in project.store.all_assets():
        for measured in project.store.versions(asset) if asset.endswith("_evaluation") else ():
            of = measured.manifest["inputs"].get("model", {})
            made = artifacts.get(of.get("asset", "")) if isinstance(of, dict) else None
            if made is not None and made.version == of["version"]:
                artifacts[asset] = measured
    return _subject(project, f"{model.asset}/{model.version[:8]}", artifacts)


def out_of_date(project: Project) -> dict[str, list[str]]:
    """Asset -> why it is out of date, in sentences, of everything that the recipe asks for."""
    blocks = changes.blocks_of({stage.name: stage.block for stage in stages_of(project.recipe.curation)})
    sources = {source.name: source for source in project.recipe.sources}
    found: dict[str, list[str]] = {}
    for name, status in why(project, report.ASSET).items():
        if name == report.ASSET or project.store.current(name) is None:  # what was never made is not on the page
            continue
        lines = [
            line
            for reason in status.reasons
            for line in changes.in_words(
                reason, blocks.get(name, ""), lambda source: changes.of_source(sources[source], project.store)
            )
        ]
        if lines:
            found[name] = lines
    return found


def file_of(project: Project, against: str | None) -> Path:
    """Where the page is written by default: beside where one stands, named by the recipe."""
    behind = f"-{Path(against).stem}" if against else ""
    return Path(f"{project.recipe.name}{behind}.html".replace("/", "-"))

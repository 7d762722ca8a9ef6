"""Running the graph: make an artifact together with its inputs, or explain why it is out of date."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

from pipeline.errors import UserError
from pipeline.graph import Node, Project
from pipeline.inspect import registry
from pipeline.store.artifact import Artifact
from pipeline.store.store import NotMade


def inputs_in_order(nodes: dict[str, Node], asset: str) -> list[str]:
    """The asset and everything that it is made from, in order. Raises UserError if there is no such asset."""
    if asset not in nodes:
        near = difflib.get_close_matches(asset, nodes, n=1)
        raise UserError(f"There is no asset `{asset}`" + (f"; did you mean `{near[0]}`?" if near else "."))
    needed, waiting = set(), [asset]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += nodes[name].inputs.values()
    return [name for name in nodes if name in needed and nodes[name].enabled]


def make_with_inputs(project: Project, asset: str) -> Artifact:
    """Make the asset and everything that it is made from; whatever is up to date is left as it is."""
    artifact = None
    for name in inputs_in_order(project.nodes, asset):
        artifact = project.make(name)
        if artifact.made:
            registry.record(project.recipe, project.store, artifact, project.log)
    if artifact is None:
        raise UserError(f"The recipe switches `{asset}` off: set `enabled: true` in its block.")
    return artifact


@dataclass(frozen=True)
class Status:
    """Whether an asset is up to date."""

    reasons: list[str]  # why it is out of date; empty if it is up to date
    notes: list[str]  # other messages of its maker, such as that a frozen tokenizer is kept
    follows: bool = False  # whether it is only out of date if what it is made from comes out otherwise


def why(project: Project, asset: str) -> dict[str, Status]:
    """For the asset and everything that it is made from: whether and why it is out of date.

    Nothing is made. An asset whose input is out of date counts as out of date, although remaking the input may give the
    same result.
    """
    messages: list[str] = []
    explaining = replace(project, store=project.store.explaining(), log=messages.append)
    found: dict[str, Status] = {}
    for name in inputs_in_order(project.nodes, asset):
        messages.clear()
        explained = explaining.store.explanations
        assert explained is not None
        before = set(explained)
        try:
            explaining.make(name)
            # A node may make more than one artifact: a trained filter makes its sample before its model.
            reasons = [
                line if made == name else f"{made}: {line}"
                for made in explained
                if made not in before
                for line in explained[made]
            ]
            notes = [line for line in messages if line.startswith(f"{name}: kept")]
            own = bool(reasons)
            if not notes:
                stale = [given for given in project.nodes[name].inputs.values() if _stale(found, given)]
                reasons = reasons + [f"{given} is out of date" for given in stale]
            found[name] = Status(reasons, notes, bool(reasons) and not own)
        except (NotMade, UserError) as error:
            found[name] = Status(["it was never made"] if isinstance(error, NotMade) else [str(error)], [])
    return found


def _stale(found: dict[str, Status], name: str) -> bool:
    return name in found and bool(found[name].reasons)

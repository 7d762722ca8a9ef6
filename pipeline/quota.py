"""A quota of the store's policy stops a job before it starts, if what it would write does not fit.

What a job needs is estimated: of a model that would be trained, the weights that stay, the checkpoints beside them and
its ladder, as its plan counts them; of any other artifact, the size of its newest version. What was never made counts
nothing, so a quota stops growth, not the first run of a recipe without models.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline import places, retention
from pipeline.errors import UserError
from pipeline.graph import Project
from pipeline.owner import owner
from pipeline.printing import size
from pipeline.run import inputs_in_order, why
from pipeline.store.holdings import Holding, holdings, size_of
from pipeline.trained_models import BY_NAME

WEIGHT_BYTES = 4  # models are kept in fp32
MOST_STEPS = 100_000  # for a ladder whose run was not planned yet


@dataclass(frozen=True)
class Share:
    """A part of the store that has a quota."""

    words: str
    limit: int
    used: int


def refuse_beyond(project: Project, assets: Sequence[str]) -> None:
    """Raises UserError if what these assets and their inputs would write does not fit into a quota of the store.

    Costs nothing where the store has no quota.
    """
    root = places.data()
    policy = retention.policy_of(root)
    quota = policy.quota if policy is not None else retention.Quota()
    if quota == retention.Quota():
        return
    shares = shares_of(quota, holdings(root), project.recipe.name)
    if not shares:
        return
    needed = estimated(project, assets)
    for share in shares:
        if needed and share.used + needed > share.limit:
            raise UserError(
                f"{share.words} has {size(share.used)} of its quota of {size(share.limit)} in use, and this needs"
                f" about {size(needed)} more: `slm store usage` shows what is there, `slm store prune --policy` deletes"
                f" what need not stay, and {retention.FILE} in the store holds the quota."
            )


def shares_of(quota: retention.Quota, held: list[Holding], recipe: str) -> list[Share]:
    """The quotas that count for what this process would make of a recipe."""
    me = owner()
    found = []
    if quota.store is not None:
        found.append(Share("The store", quota.store, size_of(held)))
    for pattern, limit in quota.recipes.items():
        if fnmatch.fnmatchcase(recipe, pattern):
            found.append(Share(f"The recipe `{recipe}`", limit, size_of(of for of in held if of.recipe == recipe)))
    if me in quota.owners:
        found.append(Share(f"The owner `{me}`", quota.owners[me], size_of(of for of in held if of.owner == me)))
    return found


def estimated(project: Project, assets: Sequence[str]) -> int:
    """Bytes that making these assets, with what they are made from, would add; 0 if all of it is up to date."""
    made_from = {asset: {*inputs_in_order(project.nodes, asset)} - {asset} for asset in assets}
    ends = [asset for asset in assets if not any(asset in of for of in made_from.values())]
    to_make = {name for end in ends for name, status in why(project, end).items() if status.reasons}
    stay, beside = 0, 0
    for name in to_make:
        if name in BY_NAME and BY_NAME[name].trained:
            weights, checkpoints, ladder = of_model(project, name)
            stay += weights + ladder
            beside = max(beside, checkpoints)  # they go when the model is finished
        else:
            newest = project.store.current(name)
            stay += sum(entry["bytes"] for entry in newest.manifest["files"].values()) if newest is not None else 0
    return stay + beside


def of_model(project: Project, name: str) -> tuple[int, int, int]:
    """(weights, checkpoints while it trains, ladder that stays) of a model that would be trained, in bytes."""
    from pipeline.training import ladder
    from pipeline.training.planning import budget

    recipe = project.recipe
    if recipe.base is not None:
        base = project.store.current("base_model")
        weights = sum(entry["bytes"] for entry in base.manifest["files"].values()) if base is not None else 0
        return weights, 0, 0
    shape = recipe.model
    if not shape.vocab_size:
        shape = shape.model_copy(update={"vocab_size": recipe.tokenizer.vocab_size})
    parameters = budget.size(shape.resolved()).parameters
    settings = getattr(recipe, BY_NAME[name].block, None)
    kept, share = getattr(settings, "keep_checkpoints", 1), getattr(settings, "ladder", 0.0)
    planned = project.store.current("training_plan")
    steps = int(planned.facts.get("steps", MOST_STEPS)) if planned is not None else MOST_STEPS
    rungs = ladder.size_of(parameters, steps, share, bool(getattr(settings, "ema", 0)))[1]
    return WEIGHT_BYTES * parameters, ladder.BYTES_A_PARAMETER * parameters * kept, rungs

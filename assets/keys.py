"""The keys of assets. Where one Dagster shows several recipes, the name of each stands before its keys.

Dagster takes assets of the same key for the same asset, in whatever code location they are: without the name, two
recipes would share one graph and one history (assets/several.py).
"""

import hashlib
import os
import re

from dagster import AssetKey

RECIPE_TAG = "slm/recipe"  # of every run and asset, so that those of several recipes can be told apart
PREFIX = "SLM_ASSET_PREFIX"  # set by the module of a recipe's code location; inherited by the processes that it starts


def prefix() -> list[str]:
    """What stands before every key: nothing, or the name of the recipe."""
    given = os.environ.get(PREFIX)
    return [given] if given else []


def key(*parts: str) -> AssetKey:
    """The key of an asset of this recipe."""
    return AssetKey([*prefix(), *parts])


def group(name: str) -> str:
    """The name of a group of assets of this recipe: Dagster draws groups of one name as one, in whatever location."""
    return "_".join([*prefix(), name])


def op_name(asset: str) -> str:
    """The name of an asset's op, as Dagster forms it from the key: what settings of a run stand under."""
    return "__".join([*prefix(), asset])


def as_name(name: str) -> str:
    """The name of a recipe or source with only the characters that Dagster's names may have.

    Other letters, such as Hangul, are spelt in Latin ones, which several names can share: a digest of the name tells
    them apart (`일기` is `ilgi_u6786dd`).
    """
    if name.isascii():
        return re.sub(r"[^A-Za-z0-9_]", "_", name)
    from anyascii import anyascii

    spelt = re.sub(r"[^a-z0-9_]+", "_", anyascii(name).lower()).strip("_")
    return "_".join(filter(None, (spelt, "u" + hashlib.sha256(name.encode()).hexdigest()[:6])))


def recipe_tag(recipe: str) -> dict[str, str]:
    """The tag of assets that says which recipe they are of; Dagster takes fewer characters in it than in a run's."""
    return {RECIPE_TAG: recipe if re.fullmatch(r"[A-Za-z0-9_.-]{1,63}", recipe) else as_name(recipe)[:63]}

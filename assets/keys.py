"""The keys of assets. Where one Dagster shows several recipes, the name of each stands before its keys.

Dagster takes assets of the same key for the same asset, in whatever code location they are: without the name, two
recipes would share one graph and one history (assets/several.py).
"""

import os
import re

from dagster import AssetKey

PREFIX = "SLM_ASSET_PREFIX"  # set by the module of a recipe's code location; inherited by the processes that it starts


def prefix() -> list[str]:
    """What stands before every key: nothing, or the name of the recipe."""
    given = os.environ.get(PREFIX)
    return [given] if given else []


def key(*parts: str) -> AssetKey:
    """The key of an asset of this recipe."""
    return AssetKey([*prefix(), *parts])


def op_name(asset: str) -> str:
    """The name of an asset's op, as Dagster forms it from the key: what settings of a run stand under."""
    return "__".join([*prefix(), asset])


def as_name(recipe: str) -> str:
    """The name of a recipe with only the characters that Dagster's names may have."""
    return re.sub(r"[^A-Za-z0-9_]", "_", recipe)

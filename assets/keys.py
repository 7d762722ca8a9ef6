"""The keys of assets, and the tags of runs. Where one Dagster shows several recipes, the name of each stands before its
keys; where it shows several stores, that of the store before it.

Dagster takes assets of the same key for the same asset, in whatever code location they are: without the name, two
recipes would share one graph and one history (assets/several.py).
"""

import hashlib
import os
import re
import socket

from dagster import AssetKey
from dagster._core.definitions.utils import is_valid_email

from pipeline import locations
from pipeline.owner import owner

RECIPE_TAG = "slm/recipe"  # of every run and asset, so that those of several recipes can be told apart
STORE_TAG = "slm/store"  # the same of stores, where they have names
OWNER_TAG = "slm/owner"  # of every run: whose it is
HOST_TAG = ".dagster/slm_host"  # of every run: the machine of its process; Dagster's pages show no tag that begins so
# Set where a recipe's definitions are built; inherited by the processes that a run starts.
PREFIX = "SLM_ASSET_PREFIX"
OWNERS = ["team:slm"]


def prefix() -> list[str]:
    """What stands before every key: nothing, the name of the recipe, or those of store and recipe."""
    given = os.environ.get(PREFIX)
    return given.split("/") if given else []


def key(*parts: str) -> AssetKey:
    """The key of an asset of this recipe."""
    return AssetKey([*prefix(), *parts])


def group(name: str) -> str:
    """The name of a group of assets of this recipe: Dagster draws groups of one name as one, in whatever location.

    Two underlines end the name of a store, which has none in a row (pipeline/locations.py), so no two groups are one.
    """
    *store, recipe = prefix() or [""]
    return "__".join([*store, "_".join(filter(None, (recipe, name)))])


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
    """The tags of assets that say which recipe and store they are of; Dagster takes fewer characters in them than in
    those of runs."""
    short = recipe if re.fullmatch(r"[A-Za-z0-9_.-]{1,63}", recipe) else as_name(recipe)[:63]
    return {RECIPE_TAG: short, **_store()}


def run_tags(recipe: str) -> dict[str, str]:
    """The tags of runs of a recipe. The owner is that of this process, which the Launchpad may change for a run."""
    return {RECIPE_TAG: recipe, **_store(), OWNER_TAG: owner(), HOST_TAG: socket.gethostname()}


def _store() -> dict[str, str]:
    name = locations.store_name()
    return {STORE_TAG: name} if name else {}


def owners() -> list[str]:
    """Whom assets belong to on their pages: the owner of the store, where the stores have names."""
    location = locations.here()
    if location is None:
        return OWNERS
    # Dagster takes addresses as it knows them and teams, nothing else; `ara@lab` is a login, but no address for it.
    return [location.owner if is_valid_email(location.owner) else f"team:{location.owner}"]

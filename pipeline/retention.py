"""What a store keeps, by rules of its own: `policy.yaml` in the folder of the store, for all recipes and owners in it.

A version stays if it is in force, pinned, read, younger than the rule's days, or one of the newest that the rule keeps
of a model (and of its evaluation); and so does everything that a version that stays was made from. Other artifacts
follow their models: without one that was made from them they go. A rule that sets nothing keeps everything.
"""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from pipeline.errors import UserError
from pipeline.printing import duration, size, table
from pipeline.settings import Settings
from pipeline.settings_file import parsed
from pipeline.store.disk import DiskTrouble
from pipeline.store.holdings import Holding, size_of
from pipeline.store.remote import open_text
from pipeline.store.store import Store
from pipeline.trained_models import EVALUATIONS, MODELS

FILE = "policy.yaml"
UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def _bytes(given: Any) -> Any:
    """A number of bytes: `50 GB`, `1.5 TB`."""
    if not isinstance(given, str | int | float) or given == 0:
        return given
    found = re.fullmatch(r"([\d.]+)\s*([kmgt]?b)", str(given).strip().lower())
    if found is None or found[1].count(".") > 1:
        raise ValueError("a size is a number with its unit, such as `50 GB`")
    return round(float(found[1]) * UNITS[found[2]])


Bytes = Annotated[int, BeforeValidator(_bytes), Field(ge=0)]


class Rule(Settings):
    """What stays besides what is in force, pinned or needed."""

    keep: int | None = Field(None, ge=0, description="the newest so many other versions of each model and evaluation")
    days: float | None = Field(None, ge=0, description="versions that are younger than so many days")
    max_size: Bytes | None = Field(None, description="beyond it the oldest of these go, too: `50 GB`")


class Quota(Settings):
    """What may be used; a job that would need more does not start."""

    store: Bytes | None = Field(None, description="by everything in the store")
    recipes: dict[str, Bytes] = Field({}, description="by a recipe; the name may hold `*`")
    owners: dict[str, Bytes] = Field({}, description="by what an owner made")


class Policy(Settings):
    """The file. Of several rules that fit, that of the recipe counts before that of the owner, key by key."""

    default: Rule = Field(Rule(), description="for every version")
    recipes: dict[str, Rule] = Field({}, description="by name of the recipe, which may hold `*`")
    owners: dict[str, Rule] = Field({}, description="by owner")
    quota: Quota = Field(Quota(), description="what may be used")

    def rule(self, holding: Holding) -> Rule:
        """The rule for a version."""
        fitting = [*self._of_recipe(holding.recipe), self.owners.get(holding.owner, Rule()), self.default]
        merged: dict[str, Any] = {}
        for one in reversed(fitting):
            merged |= one.model_dump(exclude_none=True)
        return Rule.model_construct(**{"keep": None, "days": None, "max_size": None, **merged})

    def group(self, holding: Holding) -> str:
        """Whose `max_size` counts for a version: its recipe's, or else its owner's, or else its recipe's by default."""
        if not any(rule.max_size is not None for rule in self._of_recipe(holding.recipe)):
            of_owner = self.owners.get(holding.owner)
            if of_owner is not None and of_owner.max_size is not None:
                return f"owner {holding.owner}"
        return f"recipe {holding.recipe}"

    def _of_recipe(self, recipe: str) -> list[Rule]:
        return [rule for pattern, rule in self.recipes.items() if fnmatch.fnmatchcase(recipe, pattern)]


def policy_of(root: str | Path, file: str = "") -> Policy | None:
    """The policy of a store, or that of another file; None if the store has none. Raises UserError for mistakes."""
    if file:
        try:
            return parsed(Path(file).read_text(encoding="utf-8"), file, Policy)
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise UserError(f"{file} cannot be read ({why}): name a file as launch/policy.yaml.") from None
    text = open_text(root, FILE)
    return None if text is None else parsed(text, f"{str(root).rstrip('/')}/{FILE}", Policy)


@dataclass(frozen=True)
class Outcome:
    """What a policy would do."""

    goes: list[Holding]
    stays: list[Holding]
    too_large: list[str]  # a sentence for each group that stays over its size

    @property
    def freed(self) -> int:
        """Bytes that no version that stays shares."""
        kept = {file for holding in self.stays for file in holding.files}
        return sum({file: n for holding in self.goes for file, n in holding.files.items() if file not in kept}.values())


def applied(policy: Policy, holdings: list[Holding], now: float | None = None) -> Outcome:
    """What stays and what goes of a store's versions (those of an artifact newest first). Deletes nothing."""
    now = time.time() if now is None else now
    written = {holding.name: holding.store.written(holding.artifact) for holding in holdings}
    by_name = {holding.name: holding for holding in holdings}
    held = {name for name, of in by_name.items() if of.in_force or of.pinned is not None}
    stays = held | set(_by_rule(policy, holdings, written, now))
    stays |= _needed(stays, by_name)
    must = held | _needed(held, by_name)
    too_large = []
    for group in dict.fromkeys(policy.group(holding) for holding in holdings):
        mine = [holding for holding in holdings if policy.group(holding) == group]
        limits = [of for holding in mine if (of := policy.rule(holding).max_size) is not None]
        if not limits:
            continue
        oldest = sorted((of for of in mine if of.name not in must), key=lambda of: written[of.name])
        _shrink(stays, mine, oldest, min(limits), by_name)
        left = size_of(of for of in mine if of.name in stays)
        if left > min(limits):
            too_large.append(
                f"{group} stays at {size(left)}, above its {size(min(limits))}: all of it is in force, pinned, or"
                " needed by what stays"
            )
    return Outcome(
        [holding for holding in holdings if holding.name not in stays],
        [holding for holding in holdings if holding.name in stays],
        too_large,
    )


def _by_rule(policy: Policy, holdings: list[Holding], written: dict[str, float], now: float) -> Iterator[str]:
    """The names of versions that a rule keeps by itself."""
    seen: dict[tuple[str, str, str], int] = {}
    for holding in holdings:
        rule, asset = policy.rule(holding), holding.artifact.asset
        if rule.keep is None and rule.days is None and rule.max_size is None:
            yield holding.name
            continue
        if holding.in_force:  # stays anyway, and is not counted
            continue
        counted = (holding.recipe, asset, holding.owner if holding.owner in policy.owners else "")
        seen[counted] = seen.get(counted, 0) + 1
        kept = rule.keep if rule.keep is not None else 0 if rule.days is not None else len(holdings)
        of_model = asset in MODELS or asset in EVALUATIONS
        young = rule.days is not None and written[holding.name] >= now - rule.days * 24 * 3600
        if young or seen[counted] <= (kept if of_model or rule.keep is None else 0):
            yield holding.name


def _needed(names: set[str], by_name: dict[str, Holding]) -> set[str]:
    """What these versions were made from, and what that was made from, as far as it is there."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        holding = by_name.get(waiting.pop())
        for given in holding.inputs if holding is not None else ():
            if given in by_name and given not in found:
                found.add(given)
                waiting.append(given)
    return found


def _shrink(
    stays: set[str], mine: list[Holding], oldest: list[Holding], limit: int, by_name: dict[str, Holding]
) -> None:
    """Take the oldest versions out of `stays` until a group is small enough; never one that another is made from."""
    while size_of(of for of in mine if of.name in stays) > limit:
        used = {given for name in stays for given in by_name[name].inputs}
        first = next((of for of in oldest if of.name in stays and of.name not in used), None)
        if first is None:
            return
        stays.discard(first.name)


def carried_out(outcome: Outcome, log: Callable[[str], None]) -> list[tuple[str, int]]:
    """Delete what goes, but what is read, in force, pinned or needed by now; returns (name, bytes freed).

    Where the disk refuses a deletion the others are done first. Raises DiskTrouble then.
    """
    by_name = {of.name: of for of in (*outcome.goes, *outcome.stays)}
    by_asset: dict[tuple[str, str], list[Holding]] = {}
    for holding in outcome.goes:
        by_asset.setdefault((holding.recipe, holding.artifact.asset), []).append(holding)
    freed, refused = [], []
    for (recipe, asset), some in by_asset.items():
        store, versions = some[0].store, {holding.artifact.version for holding in some}
        try:
            gone = store.delete(asset, versions, log, partial(_needed_now, store, by_name))
            freed += [(f"{recipe}/{asset}/{of}", n) for of, n in gone]
        except DiskTrouble as error:
            refused.append(error)
    for further in refused[1:]:
        log(str(further))
    if refused:
        raise refused[0]
    return freed


def _needed_now(store: Store, by_name: dict[str, Holding]) -> set[str]:
    """What versions were made from that are in force or pinned by now, or were made since `by_name` was listed."""
    held = store.held_now({name.partition("/")[2] for name, of in by_name.items() if of.recipe == store.recipe})
    now = {of.name: of for of in (Holding(store, artifact, "", False, None) for artifact in held)}
    return {name.partition("/")[2] for name in _needed(set(now), {**by_name, **now})}


def idle(policy: Policy, holdings: list[Holding]) -> list[str]:
    """A sentence for each rule that fits nothing in the store, as where its name is misspelt."""
    recipes, owners = {of.recipe for of in holdings}, {of.owner for of in holdings}
    patterns = dict.fromkeys([*policy.recipes, *policy.quota.recipes])
    unfit = [f"no recipe of the store fits `{of}`" for of in patterns if not fnmatch.filter(recipes, of)]
    names = dict.fromkeys([*policy.owners, *policy.quota.owners])
    unfit += [f"nothing in the store is of the owner `{of}`" for of in names if of not in owners]
    return [f"{sentence}: its rule does nothing" for sentence in unfit]


def lost(outcome: Outcome) -> list[str]:
    """What a person should know before it goes: the versions, the models among them, the time to have them again."""
    if not outcome.goes:
        return [*outcome.too_large, "every version stays"]
    rows = table(
        {
            "recipe": of.recipe,
            "asset": of.artifact.asset,
            "version": of.artifact.version,
            "owner": of.owner,
            "size": size(sum(entry["bytes"] for entry in of.artifact.manifest["files"].values())),
            "made in": duration(of.seconds),
        }
        for of in outcome.goes
    )
    models = [of for of in outcome.goes if of.artifact.asset in MODELS]
    told = [rows, *outcome.too_large]
    if models:
        names = ", ".join(of.name for of in models)
        told.append(f"{len(models)} model(s) could no longer be talked to, served, compared or published: {names}")
    told.append(
        f"{len(outcome.goes)} version(s) go, {len(outcome.stays)} stay with all that they were made from; to have what"
        f" goes again takes about {duration(sum(of.seconds for of in outcome.goes))}, as it did"
    )
    return told


def quota_lines(quota: Quota, held: list[Holding]) -> list[str]:
    """How much of each quota is used."""
    found = [("the store", quota.store, held)] if quota.store is not None else []
    for recipe in sorted({of.recipe for of in held}):
        limits = [limit for pattern, limit in quota.recipes.items() if fnmatch.fnmatchcase(recipe, pattern)]
        if limits:
            found.append((f"the recipe {recipe}", min(limits), [of for of in held if of.recipe == recipe]))
    found += [
        (f"the owner {who}", limit, [of for of in held if of.owner == who]) for who, limit in quota.owners.items()
    ]
    return [f"quota of {name}: {size(size_of(some))} of {size(limit)} used" for name, limit, some in found]

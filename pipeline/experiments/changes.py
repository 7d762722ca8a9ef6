"""What the cells of an experiment change in a recipe: paths of keys, the product of a grid, and names for people."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import UserError
from pipeline.experiments.experiment_settings import MOST_CELLS, SEEDS, Experiment
from pipeline.flattening import flattened

AS_IT_IS = "as it is"
LONGEST = 80  # characters of a name


@dataclass(frozen=True)
class Change:
    """What one cell changes in the recipe."""

    setting: str  # what is compared, the same for all seeds
    seed: int | None
    keys: dict[str, Any]  # without those that all cells share


def changes_of(experiment: Experiment) -> list[Change]:
    """The cells of an experiment, in order. Raises UserError if there is none, too many, or two are the same."""
    if not experiment.grid and not experiment.cells:
        raise UserError("The experiment compares nothing: give it a `grid` or `cells`.")
    lists: list[dict[str, Any]] = experiment.cells or [{}]
    count = len(lists)
    for values in experiment.grid.values():
        count *= len(values)
    if count > MOST_CELLS:
        raise UserError(f"The experiment has {count:,} cells, more than {MOST_CELLS:,}: give its grid fewer values.")
    found = []
    for cell in lists:
        named = cell.get("name")
        own = {key: value for key, value in cell.items() if key != "name"}
        for chosen in itertools.product(*experiment.grid.values()):
            crossed = dict(zip(experiment.grid, chosen, strict=True))
            times = Counter(path for keys in (own, crossed) for path, _ in flattened(keys))  # of blocks, their keys
            twice = [path for path, number in times.items() if number > 1]
            if twice:
                raise UserError(
                    f"`{twice[0]}` stands in `grid` and in `cells`, or twice in a cell: leave it in one place."
                )
            found.append(_change(own, crossed, named, experiment))
    double = [pair for pair, times in Counter((one.setting, one.seed) for one in found).items() if times > 1]
    if double:
        setting, seed = double[0]
        same = "" if seed is None else f" with seed {seed}"
        raise UserError(f"Two cells are called `{setting}`{same}: give them different names, values or seeds.")
    return found


def _change(own: dict[str, Any], crossed: dict[str, Any], named: Any, experiment: Experiment) -> Change:
    keys = {**own, **crossed}
    seeds = [keys[key] for key in SEEDS if key in keys]
    shown = {key: value for key, value in crossed.items() if key not in SEEDS}
    parts = [str(named)] if named is not None else []
    if named is None:
        shown = {**{key: value for key, value in own.items() if key not in SEEDS}, **shown}
    every = [*experiment.grid, *(key for cell in experiment.cells for key in cell)]
    parts += [in_words(key, value, every) for key, value in shown.items()]
    name = ", ".join(part for part in parts if part) or AS_IT_IS
    return Change(name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}...", seeds[0] if seeds else None, keys)


def in_words(key: str, value: Any, among: Sequence[str] = ()) -> str:
    """A key and its value as a person says it: `activation relu2`, `without letters`.

    among: other keys, so that two which end alike are told apart.
    """
    steps = key.split(".")
    alike = {other for other in among if other.split(".")[-1] == steps[-1] and other != key}
    last = " ".join(steps[-2:]) if alike and len(steps) > 1 else steps[-1]
    if steps[-1] == "enabled":
        return f"{'with' if value else 'without'} {'curation' if steps[-2] == '*' else steps[-2]}"
    if value is None:
        return f"without {last}" if steps[0] == "sources" else f"{last} by default"
    if isinstance(value, dict):
        return ", ".join(in_words(inner, one) for inner, one in value.items())
    if isinstance(value, bool):
        return f"{last} {'on' if value else 'off'}"
    return f"{last} {value}"


def changed(content: Mapping[str, Any], keys: Mapping[str, Any], every: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What a recipe says, with other values at paths such as `model.layers` or `sources.letters.weight`.

    A block is merged into the one that is there; null takes a key or a source out. every: the names that `*` stands for
    below a key. Raises UserError for a path that leads nowhere.
    """
    result = copy.deepcopy(dict(content))
    for path, value in keys.items():
        for steps in _written_out(path.split("."), every):
            _put(result, steps, copy.deepcopy(value), path)
    return result


def _written_out(steps: list[str], every: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """A path with `*` as one path for each name that it stands for."""
    if "*" not in steps:
        yield steps
        return
    at = steps.index("*")
    before = ".".join(steps[:at])
    if before not in every:
        raise UserError(f"`{'.'.join(steps)}`: `*` stands for nothing below `{before}`: name the key.")
    for name in every[before]:
        yield from _written_out([*steps[:at], name, *steps[at + 1 :]], every)


def _put(node: Any, steps: list[str], value: Any, path: str) -> None:
    first, rest = steps[0], steps[1:]
    if isinstance(node, list):
        found = [place for place, item in enumerate(node) if isinstance(item, dict) and item.get("name") == first]
        if not found:
            known = ", ".join(str(item.get("name")) for item in node if isinstance(item, dict))
            raise UserError(f"`{path}`: there is no `{first}`; known here: {known or 'nothing'}.")
        if rest:
            _put(node[found[0]], rest, value, path)
        elif value is None:
            del node[found[0]]
        else:
            node[found[0]] = merged(node[found[0]], value)
    elif rest:
        if node.get(first) is None:
            node[first] = {}
        if not isinstance(node[first], dict | list):
            raise UserError(f"`{path}`: `{first}` is no block, so that nothing stands below it.")
        _put(node[first], rest, value, path)
    elif value is None:
        node.pop(first, None)
    else:
        node[first] = merged(node.get(first), value)


def merged(before: Any, value: Any) -> Any:
    """A block with the keys of another one put over its own; anything else is replaced."""
    if not isinstance(before, dict) or not isinstance(value, dict):
        return value
    return {**before, **{key: merged(before.get(key), one) for key, one in value.items()}}

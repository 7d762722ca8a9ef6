"""The catalogue of known data sets: `from: wikipedia, lang: ko` in a recipe is filled in from it.

An entry of `recipes/catalog.yaml` holds the same keys as a source, and three that tell a person what it is: `about`,
`size` and `good_for`. Where the files of a data set lie by language, `{lang}` stands in its path and `languages` maps
the usual codes to the data set's own.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CATALOGUE = Path(__file__).parents[2] / "recipes" / "catalog.yaml"
TOLD = ("about", "size", "good_for", "access")  # for people; no part of a source


@cache
def catalogue(path: Path = CATALOGUE) -> dict[str, dict[str, Any]]:
    """All entries by name."""
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file)


def fill_from_catalogue(data: dict[str, Any]) -> dict[str, Any]:
    """A source's settings with what is missing taken from the catalogue's entry that it names; ValueError if none."""
    name, entries = data["from"], catalogue()
    if not isinstance(name, str):
        raise ValueError("`from` takes one word, the name of an entry of recipes/catalog.yaml")
    if "lang" in data and not isinstance(data["lang"], str):
        raise ValueError("`lang` takes one word, such as ko")
    if name not in entries:
        near = get_close_matches(str(name), entries, n=1)
        hint = f"perhaps `{near[0]}`" if near else f"it has {', '.join(sorted(entries))}"
        raise ValueError(f"recipes/catalog.yaml has no entry `{name}`: {hint}")
    entry = {key: value for key, value in entries[name].items() if key not in TOLD}
    languages = entry.pop("languages", None)
    if "lang" in data and languages is not None and data["lang"] not in languages:
        known = ", ".join(sorted(languages))
        raise ValueError(f"`{name}` of recipes/catalog.yaml has no files for `lang: {data['lang']}`: it has {known}")
    if entry.get("kind") == "files" and "path" not in data:
        raise ValueError(f"`{name}` has to be downloaded by a person ({entries[name]['access']}): give its `path` too")
    merged = {**entry, **data}
    lang = merged.get("lang")
    if lang is not None:
        for key in ("path", "url"):
            if key in entry and key not in data:
                merged[key] = _with_language(entry[key], (languages or {}).get(lang, lang))
    if "columns" in entry and isinstance(data.get("columns"), dict):
        merged["columns"] = {**entry["columns"], **data["columns"]}
    return merged


def _with_language(addresses: str | list[str], lang: str) -> str | list[str]:
    if isinstance(addresses, str):
        return addresses.replace("{lang}", lang)
    return [address.replace("{lang}", lang) for address in addresses]

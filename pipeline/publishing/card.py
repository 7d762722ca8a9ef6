"""README.md of a published model: the model card, under the head that the hub reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from pipeline.publishing.licences import Stated

UNLICENSED = {"license": "other", "license_name": "none-given"}
MAX_LANGUAGES = 10


def readme(card: str, head: Mapping[str, Any], licences: Sequence[Stated]) -> str:
    """The card with its head, and every licence of what the model was made of."""
    parts = ["---", yaml.safe_dump(dict(head), sort_keys=False, allow_unicode=True).strip(), "---", "", card.strip()]
    if licences:
        parts += ["", "## Licences", "", "What the sources state; nothing here can tell whether it is right.", ""]
        parts += ["| source | licence |", "| --- | --- |"]
        parts += [f"| {cell(one.source)} | {cell(one.licence)} |" for one in licences]
    return "\n".join(parts) + "\n"


def without_head(text: str) -> str:
    """A README without the block between two lines of `---` that it may begin with."""
    if not text.startswith("---\n"):
        return text
    _, end, rest = text.removeprefix("---\n").partition("\n---\n")
    return rest if end else text


def cell(text: str) -> str:
    """A text for a table of Markdown."""
    return text.replace("|", "\\|").replace("\n", " ")


def head_of(manifests: Mapping[str, Mapping[str, Any]], licence: str | None) -> dict[str, Any]:
    """What the hub shows beside the card: the model's licence, its languages, what it is for, what it started from."""
    head: dict[str, Any] = {"license": licence} if licence else dict(UNLICENSED)
    sources = manifests.get("raw_documents", {}).get("facts", {}).get("sources", {})
    languages = [name for of in sources.values() for name in of.get("languages", {})]
    spoken = sorted({name for name in languages if len(name) in (2, 3) and name.isalpha() and name.islower()})
    if spoken:
        head["language"] = spoken[:MAX_LANGUAGES]
    start = manifests.get("base_model", {}).get("facts", {})
    if start.get("hub_name"):
        head["base_model"] = start["hub_name"]
    return head | {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["slm"]}

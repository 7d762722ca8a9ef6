"""What is published, as its documents describe it: from manifests alone, with what nobody stated named as unknown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.publishing.licences import Stated, stated
from pipeline.trained_models import IMPORTED, MODELS

Manifests = Mapping[str, Mapping[str, Any]]
UNKNOWN = "not known"
NAMES_OF_LANGUAGES = {"ko": "Korean", "en": "English", "code": "program code"}
TUNING = ("instruction_data", "preference_data")


@dataclass(frozen=True)
class Told:
    """What only the person who publishes can say; None where they did not."""

    licence: str | None = None
    publisher: str | None = None
    url: str | None = None
    date: str | None = None  # YYYY-MM-DD


@dataclass(frozen=True)
class Source:
    """A source of text, or a set of conversations or preferences."""

    name: str
    role: str  # the artifact that read it
    kind: str | None  # of the recipe: files, huggingface, generated, ...; None where the recipe no longer says
    address: str | None  # where it was read from: a data set's name, a URL
    licences: tuple[str, ...]
    languages: tuple[str, ...]
    documents: int | None  # read
    kept: int | None  # after curation, or for training
    tokens: int | None


@dataclass(frozen=True)
class Subject:
    """A model or a data set of the store, and everything that it was made of."""

    asset: str
    manifests: Manifests  # by asset, each after those that it was made of
    told: Told
    sources: tuple[Source, ...] = ()
    report: Mapping[str, Any] | None = None  # of its evaluation
    despite: tuple[str, ...] = ()  # what spoke against publishing it
    reasons: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # asset -> reason -> in words

    @property
    def is_model(self) -> bool:
        return self.asset in MODELS

    @property
    def manifest(self) -> Mapping[str, Any]:
        return self.manifests[self.asset]

    @property
    def recipe(self) -> str:
        return str(self.manifest.get("recipe", UNKNOWN))

    @property
    def name(self) -> str:
        return f"{self.recipe} {self.asset}"

    @property
    def version(self) -> str:
        return str(self.manifest["version"])

    @property
    def licences(self) -> list[Stated]:
        return stated(self.manifests)

    @property
    def languages(self) -> list[str]:
        return sorted({language for source in self.sources for language in source.languages})

    @property
    def tokens(self) -> int | None:
        """Tokens of the training text; None where there are no shards among what it was made of."""
        found = self.manifests.get("token_shards", {}).get("facts", {}).get("tokens", {})
        return found.get("train")


def sources_of(manifests: Manifests, recorded: Mapping[str, tuple[str, str | None]]) -> tuple[Source, ...]:
    """All sources that the manifests tell of. recorded: (kind, address) of those that the recipe still describes."""
    raw = manifests.get("raw_documents", {}).get("facts", {}).get("sources", {})
    kept = manifests.get("curated_documents", {}).get("counts", {}).get("by_source", {})
    tokens = manifests.get("token_shards", {}).get("facts", {}).get("tokens_by_source", {})
    found = []
    for name, facts in sorted(raw.items()):
        kind, address = recorded.get(name, (None, None))
        found.append(Source(
            name, "raw_documents", kind, address, tuple(facts.get("licenses", {})), tuple(facts.get("languages", {})),
            facts.get("documents"), kept.get(name, {}).get("kept"), tokens.get(name),
        ))  # fmt: skip
    for asset in TUNING:
        settings = {
            one["name"]: one
            for one in manifests.get(asset, {}).get("made_of", {}).get("settings", {}).get("sources", [])
        }
        for name, facts in sorted(manifests.get(asset, {}).get("facts", {}).get("sources", {}).items()):
            about = settings.get(name, {})
            address = about.get("dataset") or about.get("repository") or about.get("url")
            found.append(Source(
                name, asset, about.get("kind"), address, tuple(facts.get("licenses", {})),
                (about["lang"],) if about.get("lang") else (), facts.get("in"), facts.get("train"), None,
            ))  # fmt: skip
    start = manifests.get(IMPORTED, {}).get("facts", {})
    if start:
        origin = str(start.get("origin", IMPORTED))
        found.append(Source(
            origin, IMPORTED, "model", start.get("hub_name"), (str(start.get("license", "not stated")),), (), None,
            None, None,
        ))  # fmt: skip
    return tuple(found)


def named(values: Sequence[str]) -> str:
    """Some names in a sentence, or that they are not known."""
    return ", ".join(values) if values else UNKNOWN


def figure(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def as_json(content: Any) -> bytes:
    """JSON for people and programs, the same bytes for the same content."""
    return (json.dumps(content, ensure_ascii=False, indent=2, sort_keys=False) + "\n").encode()

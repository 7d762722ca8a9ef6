"""Under which licences a model's text came, and whether they allow what somebody is about to publish.

A program cannot say whether a licence is right, or whether weights are a work derived from text. It can say which
licences nobody stated, and which ones the licence of the model would contradict. That is checked before a model is
published; the model's card lists all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.trained_models import IMPORTED

NOT_STATED = re.compile(r"not stated|unknown|none|n/?a|\?*", re.IGNORECASE)
NON_COMMERCIAL = re.compile(r"\bnc\b|non-?commercial|research only", re.IGNORECASE)
NO_DERIVATIVES = re.compile(r"\bnd\b|no-?deriv", re.IGNORECASE)
SHARE_ALIKE = re.compile(r"\bsa\b|share-?alike|\ba?gpl\b", re.IGNORECASE)
# Where a source names what it was taught on, and under which licences.
BY_SOURCE = ("raw_documents", "instruction_data", "preference_data")


@dataclass(frozen=True)
class Stated:
    """A licence and what came under it."""

    source: str
    licence: str

    @property
    def known(self) -> bool:
        """Whether it says anything: `unknown (the pages keep their own)` does not."""
        return not NOT_STATED.fullmatch(self.licence.split("(")[0].strip())


def stated(manifests: Mapping[str, Mapping[str, Any]]) -> list[Stated]:
    """Every licence of what a model was made of, by source. manifests: of the model and its ancestors, by asset."""
    found = [
        Stated(name, licence)
        for asset in BY_SOURCE
        for name, of in manifests.get(asset, {}).get("facts", {}).get("sources", {}).items()
        for licence in (of.get("licenses") or {"not stated": 0})
    ]
    start = manifests.get(IMPORTED, {}).get("facts", {})
    if start:
        found.append(Stated(str(start.get("origin", IMPORTED)), str(start.get("license", "not stated"))))
    return list(dict.fromkeys(found))


def objections(found: list[Stated], licence: str | None) -> Iterator[str]:
    """Why a model under `licence` (None: under none) should not be published, a clause for each reason."""
    unknown = [one.source for one in found if not one.known]
    if unknown:
        yield f"no licence is stated for {listed(unknown)}"
    if not found:
        yield "what it was made of is not in the store, so no licence is known"
    if licence is None:
        yield "no licence is given for the model itself (`--licence`)"
    for rule, words in (
        (NON_COMMERCIAL, "non-commercial use"),
        (SHARE_ALIKE, "the same licence for what is made of it"),
    ):
        bound = [one.source for one in found if rule.search(one.licence)]
        if bound and licence is not None and not rule.search(licence):
            yield f"{listed(bound)} came for {words} only, which `{licence}` does not say"
    refused = [one.source for one in found if NO_DERIVATIVES.search(one.licence)]
    if refused:
        yield f"{listed(refused)} may not be changed"


def listed(names: list[str]) -> str:
    """Some names in a sentence."""
    shown = [f"`{name}`" for name in dict.fromkeys(names)]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")

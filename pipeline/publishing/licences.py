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
RESERVED = re.compile(r"all rights reserved|proprietary|no redistribution|confidential", re.IGNORECASE)
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


def objections(found: list[Stated], licence: str | None, needs_own: bool = True) -> Iterator[str]:
    """Why a model under `licence` (None: under none) should not be published, a clause for each reason.

    needs_own: that it has no licence itself is one.
    """
    unknown = [one.source for one in found if not one.known]
    if unknown:
        yield f"no licence is stated for {listed(unknown)}"
    if not found:
        yield "what it was made of is not in the store, so no licence is known"
    if licence is None and needs_own:
        yield "no licence is given for the model itself (`--licence`)"
    for rule, words in (
        (NON_COMMERCIAL, "non-commercial use"),
        (SHARE_ALIKE, "the same licence for what is made of it"),
    ):
        bound = [one.source for one in found if rule.search(one.licence)]
        if bound and licence is not None and not rule.search(licence):
            yield f"{listed(bound)} came for {words} only, which `{licence}` does not say"
    for rule, words in ((NO_DERIVATIVES, "may not be changed"), (RESERVED, "may not be passed on")):
        refused = [one.source for one in found if rule.search(one.licence)]
        if refused:
            yield f"{listed(refused)} {words}"


# What licences ask of whoever passes on what came under them; the first expression that matches counts.
ASKED: tuple[tuple[str, str], ...] = (
    (r"public domain|\bcc0|unlicense|\b0bsd\b|made up", "nothing"),
    (r"^own$", "nothing: it is the publisher's own"),
    (r"\ba?gpl", "the source and the same licence for what is made of it; its text kept with it"),
    (r"apache", "its text and its notices kept with it, and changes marked"),
    (r"\b(mit|bsd|isc|psf|zlib|ncsa)\b", "its text and the copyright notice kept with it"),
    (r"cc.?by|attribution", "the authors named, the licence linked, and changes said"),
    (r"open government|ogl|kogl", "the source named"),
)
# Names that SPDX knows, of licences that data and small models come under (https://spdx.org/licenses/).
SPDX_IDS = (
    "MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "PSF-2.0", "Python-2.0", "CC0-1.0", "CC-BY-4.0",
    "CC-BY-3.0", "CC-BY-SA-4.0", "CC-BY-SA-3.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0",
    "GPL-2.0-only", "GPL-3.0-only", "GPL-3.0-or-later", "AGPL-3.0-only", "LGPL-3.0-only", "MPL-2.0", "ODC-By-1.0",
    "ODbL-1.0", "PDDL-1.0", "Unlicense", "CC-PDDC",
)  # fmt: skip
OTHER_NAMES = {"cc0": "CC0-1.0", "public domain": "CC-PDDC", "apache 2.0": "Apache-2.0", "psf": "PSF-2.0"}


def asks(licence: str) -> str:
    """What a licence asks of whoever passes on what came under it, in words."""
    if not Stated("", licence).known:
        return "not known: without a licence nothing is allowed; ask whoever holds the rights"
    asked = [next((words for pattern, words in ASKED if re.search(pattern, licence, re.IGNORECASE)), "")]
    for rule, words in (
        (NON_COMMERCIAL, "no commercial use"),
        (NO_DERIVATIVES, "no changes"),
        (RESERVED, "not to be passed on"),
    ):
        asked += [words] if rule.search(licence) else []
    if SHARE_ALIKE.search(licence) and "same licence" not in asked[0]:
        asked.append("the same licence for what is made of it")
    return "; ".join(filter(None, asked)) or "not known to this program: read it"


def spdx_id(licence: str) -> str | None:
    """The name that SPDX has for a licence; None if it is not among those that this program knows."""
    named = {name.lower(): name for name in SPDX_IDS} | OTHER_NAMES
    return named.get(licence.strip().lower())


def listed(names: list[str]) -> str:
    """Some names in a sentence."""
    shown = [f"`{name}`" for name in dict.fromkeys(names)]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")

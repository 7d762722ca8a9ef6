"""Why a document is left out: a name and its meaning, declared once, next to the code that gives the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

OWN = "this project"


@dataclass(frozen=True)
class Reason:
    """A reason for which a document can be left out."""

    name: str  # as it appears in decisions and counts
    meaning: str  # in plain words
    source: str = OWN  # the paper, its section and its value

    def __post_init__(self) -> None:
        for field in ("name", "meaning", "source"):
            if not getattr(self, field).strip():
                raise ValueError(f"the reason `{self.name}` has no {field}")


def meanings_of(reasons: Iterable[Reason]) -> dict[str, str]:
    """The meaning of each reason by its name. Raises ValueError if two reasons have the same name."""
    meanings: dict[str, str] = {}
    for reason in reasons:
        if reason.name in meanings:
            raise ValueError(f"two reasons are called `{reason.name}`")
        meanings[reason.name] = reason.meaning
    return meanings

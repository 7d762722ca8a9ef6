"""Everything that is generated, by the names under which a recipe asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pipeline.village.conversations import conversations
from pipeline.village.documents import PLANTED_SHARE, documents
from pipeline.village.preferences import preferences
from pipeline.village.questions import evaluation_questions

# Raised whenever the same seed and size would give other documents or evaluation questions; it stands in the identity
# of every generated set.
# 4: entries say what a name is in the other language; more exercises, with short English orders and all sums, of
# numbers up to nine; sums among Korean questions, which are answered at their own level of speech
# 3: pages of questions also ask about strangers and about what was never told, in more wordings, with each answer on a
# line of its own; pages of exercises; sums that are held back occur in no document; strangers have hundreds of names
# 2: more than half are stories; these name their hero at once and no thing, place or pet twice, and tell less of the
# friend; entries name nobody else; strangers have names of another kind
VERSION = "4"
# Raised whenever they would give other conversations or preferences about the same village.
# 3: an answer about a stranger repeats no name; one conversation may change its language, and may end in a story;
# greetings, and questions of the world outside the village
# 2: conversations of up to four questions of any kind; sums of numbers up to nine
# 1: a version of their own; twelve wordings of each question, more that was never told, hundreds of strangers
TUNING_VERSION = "3"

# Documents: name -> their languages.
DOCUMENTS = {"village": ("ko", "en"), "village-ko": ("ko",), "village-en": ("en",)}

# Sets to tune on: name -> what yields at most so many rows for a seed.
OF_CONVERSATIONS, OF_PREFERENCES = "village-conversations", "village-preferences"
TUNING: dict[str, Callable[[int, int], Iterator[dict[str, Any]]]] = {
    OF_CONVERSATIONS: conversations,
    OF_PREFERENCES: preferences,
}

__all__ = ["DOCUMENTS", "OF_CONVERSATIONS", "OF_PREFERENCES", "PLANTED_SHARE", "TUNING", "TUNING_VERSION", "VERSION",
           "documents", "evaluation_questions"]  # fmt: skip

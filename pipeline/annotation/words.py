"""What people are asked, in the words that every tool shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

QUESTIONS = {
    "pair": "Which answer is better?",
    "answer": "Is this answer good?",
    "document": "Should a model learn from this document?",
}
ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}


def conversation_text(turns: Sequence[Mapping[str, str]]) -> str:
    """A conversation as text, each turn under who says it."""
    return "\n\n".join(f"[{ROLES.get(turn['role'], turn['role'])}]\n{turn['content']}" for turn in turns)

"""What people think of answers, kept as data to tune on: thumbs (unpaired) and pairs of a better and a worse answer.

Each file is JSONL in the form that TRL names: `thumbs.jsonl` has `prompt`, `completion` and `label`, `pairs.jsonl` has
`prompt`, `chosen` and `rejected`, each a list of turns. Somebody who changes their mind replaces their row.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from model.serve.requests import MAX_BYTES, Strict, Turn

Text = Annotated[str, Field(min_length=1, max_length=MAX_BYTES)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class Thumb(Strict):
    """Whether an answer is good; None takes the judgement back."""

    kind: Literal["thumb"]
    id: Id
    model: Text
    messages: list[Turn] = Field(min_length=1, max_length=1000)
    answer: Text
    good: bool | None

    def row(self) -> dict[str, Any] | None:
        if self.good is None:
            return None
        return {
            "id": self.id,
            "model": self.model,
            "prompt": [turn.model_dump() for turn in self.messages],
            "completion": [{"role": "assistant", "content": self.answer}],
            "label": self.good,
        }


class Pair(Strict):
    """Two answers to the same prompt, the better one first."""

    kind: Literal["pair"]
    id: Id
    model: Text
    against: Text | None = None
    messages: list[Turn] = Field(min_length=1, max_length=1000)
    chosen: Text
    rejected: Text

    def row(self) -> dict[str, Any] | None:
        return {
            "id": self.id,
            "model": self.model,
            "against": self.against or self.model,
            "prompt": [turn.model_dump() for turn in self.messages],
            "chosen": [{"role": "assistant", "content": self.chosen}],
            "rejected": [{"role": "assistant", "content": self.rejected}],
        }


Judgement = Annotated[Thumb | Pair, Field(discriminator="kind")]


class Judgements:
    """The judgements in a folder, which is created with the first one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()

    def record(self, judgement: Thumb | Pair) -> None:
        """Write a judgement in place of an earlier one with its id; a file is replaced as a whole or not at all."""
        path = self.folder / f"{judgement.kind}s.jsonl"
        row = judgement.row()
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Not `splitlines`: an answer may hold U+2028 or its like, which JSON leaves as it is.
            lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
            kept = [line for line in lines if json.loads(line)["id"] != judgement.id]
            if row is not None:
                kept.append(json.dumps(row, ensure_ascii=False))
            new = path.with_suffix(".new")
            with new.open("w", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in kept))
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)

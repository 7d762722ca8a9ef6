"""What a text has in common with what a model was trained on: `slm trace`, and the server's answers.

text -> its passages that stand there (passages.py) -> for each some documents -> where these come from, and when
the model learned them (learned.py)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import polars as pl

from pipeline.errors import UserError
from pipeline.inspect.lineage import ancestry, inputs_of
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from pipeline.tokens.encoding import without_surrogates
from pipeline.tokens.tokenizer import Tokenizer, load
from pipeline.trace.index import ASSET, CONVERSATIONS, PREFERENCES, RATED_TRAIN, SHARDS, parts_in
from pipeline.trace.learned import Learned
from pipeline.trace.part import Part
from pipeline.trace.passages import Passage, folded_places, passages, readable, uncovered
from pipeline.trained_models import MODELS

KINDS = {SHARDS: "document", CONVERSATIONS: "conversation", PREFERENCES: "preference"}
ROLES = {"curated_instructions": CONVERSATIONS}  # assets that are read as others
LEAST_TOKENS = 6
MOST_DOCUMENTS = 3  # shown of each passage, of each kind
AROUND = 40  # tokens shown before and after a passage
LOOKED_AT = 64  # places of a passage, to find different documents


@dataclass(frozen=True)
class Found:
    """A document with a passage: the part and its number there, and the tokens of the passage."""

    name: str  # of the part
    role: str
    number: int
    first: int
    end: int


@dataclass
class Tracer:
    """Finds what a model was trained on; opened once, asked often. Threads may share it."""

    model: Artifact
    learned: dict[str, Artifact]  # what the model learned from, by the role of the input
    index: Artifact
    parts: dict[str, tuple[str, Part]]  # (role, part) by name
    exact: dict[str, Part]  # the same as the model read them: the same, or those of a loose index
    loose: bool
    when: Learned
    curated: Artifact | None
    _tokenizer: Tokenizer = field(repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)  # a tokenizer remembers words, a feed windows

    @staticmethod
    def open(store: Store, model: Artifact, loose: bool = False) -> Tracer:
        """The tracer of a model. Raises UserError if there is no index of what it learned from."""
        learned = learned_from(store, model)
        index = index_of(store, model, learned)
        if loose and not index.facts["loose"]:
            raise UserError(
                "The index holds the text only as it is written: set `trace.loose: true` in the recipe, then run"
                f" `slm make {ASSET}`."
            )
        parts: dict[str, tuple[str, Part]] = {}
        exact: dict[str, Part] = {}
        for role in learned:
            for name, part in parts_in(index, role, loose).items():
                parts[name] = role, part
            exact |= parts_in(index, role, False) if loose else {}
        made_of = ancestry(store, model)
        curated = made_of.get("curated_documents")
        exact = exact or {name: part for name, (_, part) in parts.items()}
        when = Learned(store, model, learned)
        return Tracer(model, learned, index, parts, exact, loose, when, curated, load(model.local_directory()))

    def __call__(self, text: str, least: int = LEAST_TOKENS, documents: int = MOST_DOCUMENTS) -> dict[str, Any]:
        """Passages of `text` of at least `least` tokens, each with up to `documents` documents of each kind.

        Places in the text are counted in characters, steps from 1. `share`: of the text's letters and digits, those
        that stand in a passage.
        """
        with self._lock:
            return self._traced(without_surrogates(text), least, documents)

    def _traced(self, text: str, least: int, documents: int) -> dict[str, Any]:
        text = readable(self._tokenizer, text)
        asked, at = folded_places(text) if self.loose else (text, list(range(len(text))))
        asked = readable(self._tokenizer, asked)
        found = passages([part for _, part in self.parts.values()], self._tokenizer, asked, least)
        told: list[dict[str, Any]] = []
        for passage in found:
            start, end = at[passage.start], at[passage.end - 1] + 1
            told.append({
                "start": start, "end": end, "text": text[start:end],
                "tokens": passage.span.end - passage.span.start, "count": passage.span.count,
                "documents": [self._told(one) for one in self._documents(passage, documents)],
            })  # fmt: skip
        nowhere = uncovered(text, [(one["start"], one["end"]) for one in told])
        letters = _letters(text, [(0, len(text))])
        return {
            "model": f"{self.model.asset}/{self.model.version}",
            "index": self.index.version,
            "text": text,
            "least": least,
            "loose": self.loose,
            "share": round(1 - _letters(text, nowhere) / letters, 4) if letters else 0.0,
            "passages": told,
            "nowhere": [{"start": start, "end": end, "text": text[start:end]} for start, end in nowhere],
        }

    # -- documents -----------------------------------------------------------------------------------------------------

    def _documents(self, passage: Passage, most: int) -> list[Found]:
        """Up to `most` documents of each kind that hold a passage."""
        found: list[Found] = []
        names = list(self.parts.items())
        for role in self.learned:
            own: list[Found] = []
            for number, first_place, behind in passage.span.found:
                name, (of, part) = names[number]
                if of != role or len(own) >= most:
                    continue
                places = part.suffixes[first_place : min(behind, first_place + LOOKED_AT)].astype(np.int64)
                numbers = part.documents_at(places)
                for at in np.sort(np.unique(numbers, return_index=True)[1]).tolist()[: most - len(own)]:
                    first = int(places[at]) - int(part.starts[numbers[at]])
                    own.append(Found(name, role, int(numbers[at]), first, first + len(passage.tokens)))
            found += own
        return found

    def _told(self, found: Found) -> dict[str, Any]:
        """What is known of a document, and the passage with what stands around it."""
        if self.loose:
            found = self._as_written(found)
        part = self.exact[found.name]
        row = int(part.rows[found.number])
        begin, behind = int(part.starts[found.number]), int(part.starts[found.number + 1]) - 1
        tokens = part.tokens(slice(begin, behind))
        shown = (
            tokens[max(0, found.first - AROUND) : found.first],
            tokens[found.first : found.end],
            tokens[found.end : found.end + AROUND],
        )
        before, passage, after = (self._tokenizer.decode_bytes(piece).decode(errors="ignore") for piece in shown)
        return {
            "kind": KINDS[found.role],
            **self._origin(found, row),
            "before": before, "passage": passage, "after": after,
            "steps": self.when.steps(found.role, found.name, row, found.first, found.end),
        }  # fmt: skip

    def _as_written(self, found: Found) -> Found:
        """The place of a passage of the loose index in the document as it is written."""
        loose, part = self.parts[found.name][1], self.exact[found.name]
        begin = int(loose.starts[found.number]) + found.first
        wanted = self._tokenizer.decode(loose.tokens(slice(begin, begin + found.end - found.first)))
        begin, behind = int(part.starts[found.number]), int(part.starts[found.number + 1]) - 1
        ids = part.tokens(slice(begin, behind))
        table = self._tokenizer.token_bytes()
        ends = np.cumsum([len(table[i]) for i in ids.tolist()])
        text = self._tokenizer.decode_bytes(ids).decode(errors="replace")
        match = re.search(r"\s+".join(map(re.escape, wanted.split())), text, re.IGNORECASE)
        if match is None:  # case that has no one counterpart: the document as a whole
            return Found(found.name, found.role, found.number, 0, len(ids))
        low, high = (len(text[:edge].encode()) for edge in match.span())
        first = int(np.searchsorted(ends, low, side="right"))
        return Found(found.name, found.role, found.number, first, int(np.searchsorted(ends, high)) + 1)

    def _origin(self, found: Found, row: int) -> dict[str, Any]:
        """Source, ids, licence and address of a document."""
        data = self.learned[found.role]
        if found.role == SHARDS:
            doc_id = shard_ids(data.table(found.name))[row]
            known = documents_of(self.curated.table(found.name)) if self.curated else pl.DataFrame()
            which = known["doc_id"].index_of(doc_id) if known.height else None
            record = known.row(which, named=True) if which is not None else {}
            source, _, _ = found.name.rpartition("-")
            return {
                "source": source, "id": record.get("source_id"), "doc_id": doc_id,
                "licence": record.get("license"), "url": record.get("url"),
            }  # fmt: skip
        table, at, answer = "train", row, None
        if found.role == PREFERENCES:
            pairs = tuning_rows(data.table("train")).height
            table, at = ("train", row // 2) if row < 2 * pairs else (RATED_TRAIN, row - 2 * pairs)
            answer = "rated" if table == RATED_TRAIN else ("better", "worse")[row % 2]
        identity, source = tuning_rows(data.table(table)).row(at)
        licences = data.facts["sources"].get(source, {}).get("licenses", {})
        return {
            "source": source, "id": identity, "doc_id": None, "licence": ", ".join(licences) or None, "url": None,
            **({"answer": answer} if answer else {}),
        }  # fmt: skip


def learned_from(store: Store, model: Artifact) -> dict[str, Artifact]:
    """What a model and those that it started from were trained on, by role: token_shards, instruction_data, ..."""
    found: dict[str, Artifact] = {}
    for made in ancestry(store, model).values():
        if made.asset in MODELS:
            for given in inputs_of(store, made).values():
                if isinstance(given, Artifact) and ROLES.get(given.asset, given.asset) in KINDS:
                    found[ROLES.get(given.asset, given.asset)] = given
    return {role: found[role] for role in KINDS if role in found}


def index_of(store: Store, model: Artifact, learned: dict[str, Artifact]) -> Artifact:
    """The index of all that the model learned from. Raises UserError if the store has none."""
    wanted = {artifact.asset: artifact.digest for artifact in learned.values()}
    versions = store.versions(ASSET)
    for index in versions:
        held = {name: given["digest"] for name, given in index.manifest["inputs"].items()}
        if wanted and all(held.get(asset) == digest for asset, digest in wanted.items()):
            return index
    name = f"`{model.asset}/{model.version}`"
    if not wanted:
        raise UserError(f"What {name} learned from is no longer in the store, so nothing can be traced to it.")
    if not versions:
        raise UserError(f"There is no index of what {name} learned from: run `slm make {ASSET}` (1 s for 1 M tokens).")
    raise UserError(
        f"{name} learned from other data than the index holds: run `slm make {ASSET}`, or, if the recipe or the text"
        f" has changed since, `slm make {model.asset} && slm make {ASSET}`."
    )


@lru_cache(32)
def shard_ids(table: Path) -> pl.Series:
    """The ids of a fragment of the shards, row by row."""
    return pl.read_parquet(table, columns=["doc_id"])["doc_id"]


@lru_cache(16)
def documents_of(table: Path) -> pl.DataFrame:
    """What is known of the curated documents of a fragment beside their text."""
    return pl.read_parquet(table, columns=["doc_id", "source_id", "license", "url"])


@lru_cache(4)
def tuning_rows(table: Path) -> pl.DataFrame:
    """The ids and sources of conversations or preferences, row by row."""
    return pl.read_parquet(table, columns=["id", "source"])


def _letters(text: str, pieces: list[tuple[int, int]]) -> int:
    return sum(letter.isalnum() for start, end in pieces for letter in text[start:end])

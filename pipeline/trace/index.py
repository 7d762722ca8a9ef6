"""The asset `trace_index`: what models learn from as suffix arrays, so that any passage of it is found at once.

A part of the index is made of one fragment of the token shards, as training reads them: its training documents without
those that are near-duplicates of validation documents. Conversations and preferences are parts of their own, as tuning
renders them. A part is remembered by what it is made of, so new text costs only its own fragments, and memory is needed
for one fragment at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.context import Inputs, RunContext
from pipeline.conversations.shapes import RATED
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.tokens.tokenizer import Tokenizer, load
from pipeline.tokens.training import encoding_digest
from pipeline.trace.part import Part, open_part, write_part
from pipeline.trace.suffixes import Sorter, sorter
from pipeline.trace.trace_settings import TraceSettings
from pipeline.training.data.shard_reader import ShardReader, kept_rows, training_groups
from pipeline.training.data.stream import Group

ASSET = "trace_index"
VERSION = "1"
SHARDS, CONVERSATIONS, PREFERENCES = "token_shards", "instruction_data", "preference_data"
RATED_TRAIN = f"{RATED}_train"
LOOSE = ".loose"
SAMPLED, COMPARED = 100, 32  # suffixes of a part whose order is checked, and by how many tokens
Documents = tuple[np.ndarray, np.ndarray, np.ndarray]  # tokens of all, how many each has, the row of each


def make(context: RunContext, inputs: Inputs, settings: TraceSettings) -> Artifact:
    """The index of what models learn from.

    inputs: tokenizer, and those of token_shards, instruction_data and preference_data that models learn from.
    """
    tokenizer = inputs["tokenizer"]
    encoding = encoding_digest(tokenizer)

    def build(draft: Draft) -> None:
        opened = load(tokenizer.local_directory())
        sort = sorter()
        for name, key, read in parts_of(inputs, opened):
            ways: list[tuple[str, Callable[[], Documents]]] = [("", read)]
            if settings.loose:
                ways.append((LOOSE, partial(loosened, read, opened)))
            for suffix, documents in ways:
                whole_key = {**key, "encoding": encoding, "loose": bool(suffix), "version": VERSION}
                draft.file(f"{name}{suffix}.index", whole_key, partial(write, documents, opened.document_start, sort))
        exact = [entry for name, entry in draft.entries.items() if not name.endswith(f"{LOOSE}.index")]
        draft.counts |= {count: sum(entry["facts"][count] for entry in exact) for count in ("documents", "tokens")}
        size = sum(entry["bytes"] for entry in draft.entries.values())
        draft.facts |= {
            "loose": settings.loose,
            "bytes_per_token": round(size / max(1, draft.counts["tokens"]), 3),
            "parts": {name: entry["facts"] for name, entry in sorted(draft.entries.items())},
        }

    return context.store.make(
        ASSET,
        code_version=VERSION,
        settings={"loose": settings.loose},
        inputs={given.asset: given for given in inputs.values()},
        build=build,
        log=context.log,
    )


def parts_of(inputs: Inputs, tokenizer: Tokenizer) -> list[tuple[str, dict[str, Any], Callable[[], Documents]]]:
    """The parts of the index, in order: name, what each is made of, and what reads its documents."""
    parts: list[tuple[str, dict[str, Any], Callable[[], Documents]]] = []
    if SHARDS in inputs:
        shards = inputs[SHARDS]
        for fragment, groups in groups_by_fragment(shards).items():
            key = {
                "shard": shards.entry(fragment)["sha256"],
                "left_out": [[group.number, list(group.left_out)] for group in groups if group.left_out],
            }
            parts.append((fragment, key, partial(shard_documents, shards, groups)))
    for role, read in ((CONVERSATIONS, conversations), (PREFERENCES, preferences)):
        if role in inputs:
            data = inputs[role]
            tables = [name for name in ("train", RATED_TRAIN) if f"{name}.parquet" in data.manifest["files"]]
            key = {"tables": [data.entry(name)["sha256"] for name in tables]}
            parts.append((role, key, partial(read, data, tokenizer)))
    return parts


def write(read: Callable[[], Documents], end: int, sort: Sorter, path: Path) -> dict[str, Any]:
    """Write a part; returns its counts, which are its facts in the manifest."""
    return write_part(*read(), end, sort, path)


def groups_by_fragment(shards: Artifact) -> dict[str, list[Group]]:
    """The row groups of each fragment that are trained on, in order; fragments without any are left out."""
    found: dict[str, list[Group]] = {}
    for groups in training_groups(shards).values():
        for group in groups:
            found.setdefault(group.fragment, []).append(group)
    return {name: sorted(found[name], key=lambda group: group.number) for name in sorted(found)}


def shard_documents(shards: Artifact, groups: list[Group]) -> Documents:
    """The documents of a fragment that are trained on."""
    tokens, lengths = ShardReader(shards).tokens(groups, np.dtype(shards.facts["dtype"]))
    listed = shards.entry(groups[0].fragment)["facts"]["groups"]
    first = np.cumsum([0, *(group[2] for group in listed)])
    rows = [first[group.number] + np.flatnonzero(kept_rows(group, listed[group.number][2])) for group in groups]
    return tokens, lengths, np.concatenate(rows)


def conversations(data: Artifact, tokenizer: Tokenizer) -> Documents:
    """The conversations to train on, one a document, as fine-tuning renders them."""
    messages = pl.read_parquet(data.table("train"), columns=["messages"])["messages"].to_list()
    return joined([ids for ids, _ in tokenizer.encode_chats(messages)], np.arange(len(messages)))


def preferences(data: Artifact, tokenizer: Tokenizer) -> Documents:
    """Of each pair to train on two documents: the prompt with the better answer, and the worse answer.

    Rows 2n and 2n + 1 are those of pair n. Answers that were rated by themselves follow, each with its prompt.
    """
    table = pl.read_parquet(data.table("train"), columns=["prompt", "chosen", "rejected"])
    whole, alone = [], []
    for prompt, chosen, rejected in table.iter_rows():
        whole.append([*prompt, {"role": "assistant", "content": chosen}])
        alone.append([{"role": "assistant", "content": rejected}])
    pairs = zip(tokenizer.encode_chats(whole), tokenizer.encode_chats(alone), strict=True)
    documents = [ids for pair in pairs for ids, _ in pair]
    if f"{RATED_TRAIN}.parquet" in data.manifest["files"]:
        rated = pl.read_parquet(data.table(RATED_TRAIN), columns=["prompt", "answer"])
        talks = [[*prompt, {"role": "assistant", "content": answer}] for prompt, answer in rated.iter_rows()]
        documents += [ids for ids, _ in tokenizer.encode_chats(talks)]
    return joined(documents, np.arange(len(documents)))


def joined(documents: list[np.ndarray], rows: np.ndarray) -> Documents:
    lengths = np.fromiter(map(len, documents), np.int64, len(documents))
    return np.concatenate([np.zeros(0, np.int64), *documents]), lengths, rows


def loosened(read: Callable[[], Documents], tokenizer: Tokenizer) -> Documents:
    """The same documents in lower case, with one blank for all white space between words."""
    tokens, lengths, rows = read()
    ends = np.cumsum(lengths)
    texts = [tokenizer.decode(tokens[end - length : end]) for end, length in zip(ends.tolist(), lengths.tolist())]
    ids, counts = tokenizer.encode_joined(pl.Series([folded(text) for text in texts], dtype=pl.String))
    return ids, counts, rows


def folded(text: str) -> str:
    """A text as it is compared where case and white space do not matter."""
    return " ".join(text.lower().split())


def parts_in(index: Artifact, asset: str, loose: bool) -> dict[str, Part]:
    """The opened parts of an index that are made of one of its inputs, by name."""
    suffix = f"{LOOSE}.index" if loose else ".index"
    own = {CONVERSATIONS, PREFERENCES}
    found = {}
    for file, counts in index.facts["parts"].items():
        if file.endswith(f"{LOOSE}.index") == loose:
            name = file.removesuffix(suffix)
            if (name if name in own else SHARDS) == asset:
                found[name] = open_part(index.file(file), counts)
    return found


def problem_in(index: Artifact, file: str) -> str:
    """What is wrong with a part of an index, in words; "" if a sample of its suffixes is in order."""
    part = open_part(index.file(file), index.facts["parts"][file])
    count = len(part.suffixes)
    for at in np.unique(np.linspace(0, count - 2, SAMPLED).astype(np.int64)).tolist() if count > 1 else ():
        one, other = (part.tokens(slice(int(place), int(place) + COMPARED)) for place in part.suffixes[at : at + 2])
        if one.tolist() > other.tolist() and part.end not in one:
            return f"{file} is out of order at {at:,}"
    return ""

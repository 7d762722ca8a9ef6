"""`teacher_logits`: what teachers say of each next token of the training text, by fragment of the shards.

    <fragment>.ids.npy      [rows, k] smallest unsigned type: the k likeliest tokens, the likeliest first
    <fragment>.log_p.npy    [rows, k] float16: their log-probabilities in nats

Rows are those of `data/origins.py`. Of several teachers, probabilities are averaged. Documents are read as training
concatenates them, in windows of the context of which a quarter is read again, so that every token but the first ones of
a fragment is predicted from at least a quarter of the context. A fragment is remembered by its bytes and the teachers',
so new text costs its own fragment only.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.files import whole
from pipeline.context import Inputs, RunContext
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.tokens.encoding import smallest_unsigned
from pipeline.training import device_lock
from pipeline.training.data.origins import rows_of
from pipeline.training.data.shard_reader import TRAIN
from pipeline.training.distillation_settings import DistillationSettings
from pipeline.training.stopping import Stopped

if TYPE_CHECKING:
    import torch

    from model.transformer import Transformer

VERSION = "1"
ASSET = "teacher_logits"
AGAIN = 4  # one part in so many of a window was read before and only gives context
WINDOWS = 8  # at once
FILES = ("ids", "log_p")


def make(context: RunContext, inputs: Inputs, settings: Any) -> Artifact:
    """What the teachers say of the training text. inputs: token_shards, and each teacher under the name of its asset.

    settings: (DistillationSettings, whether a token sees only its own document). Raises Stopped if asked to stop; what
    is done by then stays.
    """
    distillation, mask_documents = settings
    shards = inputs["token_shards"]
    teachers = {name: model for name, model in inputs.items() if name != "token_shards"}

    def build(draft: Draft) -> None:
        made = Teachers(context, list(teachers.values()), distillation, mask_documents)
        with device_lock.alone(context, ASSET):
            for number, fragment in enumerate(shards.fragments, 1):
                key = {
                    "shard": shards.entry(fragment)["sha256"], "teachers": [one.digest for one in teachers.values()],
                    **distillation.kept, "mask_documents": mask_documents, "version": VERSION,
                }  # fmt: skip
                made.write(draft, shards, fragment, key)
                context.log(f"{ASSET}: {number} of {len(shards.fragments)} fragments")
        rows = sum(rows_of(shards.entry(fragment)) for fragment in shards.fragments)
        draft.counts = {"rows": rows}
        draft.facts = {"top_k": made.top_k, "teachers": len(teachers), **made.coverage(draft, shards)}

    return context.store.make(
        ASSET,
        code_version=VERSION,
        settings={**distillation.kept, "mask_documents": mask_documents},
        inputs={"token_shards": shards, **teachers},
        build=build,
        log=context.log,
    )


class Teachers:
    """The networks, opened when the first fragment is not remembered."""

    def __init__(
        self, context: RunContext, artifacts: Sequence[Artifact], settings: DistillationSettings, mask_documents: bool
    ) -> None:
        self._context, self._artifacts, self._mask_documents = context, artifacts, mask_documents
        self.top_k = settings.top_k
        self._networks: list[Transformer] = []
        self._latest: tuple[str, np.ndarray, np.ndarray] | None = None

    def write(self, draft: Draft, shards: Artifact, fragment: str, key: dict[str, Any]) -> None:
        """Write both files of a fragment, unless they are remembered under `key`."""
        for at, name in enumerate(FILES):

            def written(path: Path, at: int = at) -> dict[str, Any]:
                arrays = self._of_fragment(shards, fragment)
                with whole(path) as unfinished, open(unfinished, "wb") as file:
                    np.save(file, arrays[at])
                share = float(np.exp(arrays[1].astype(np.float32)).sum(1).mean()) if len(arrays[1]) else 0.0
                return {"kept_probability": round(share, 6)}

            draft.file(f"{fragment}.{name}.npy", key, written)

    def coverage(self, draft: Draft, shards: Artifact) -> dict[str, float]:
        """Mean probability that the kept tokens have together."""
        sizes = {fragment: rows_of(shards.entry(fragment)) for fragment in shards.fragments}
        kept = {
            fragment: draft.entries[f"{fragment}.{FILES[1]}.npy"]["facts"]["kept_probability"] for fragment in sizes
        }
        total = max(1, sum(sizes.values()))
        return {"kept_probability": round(sum(kept[name] * size for name, size in sizes.items()) / total, 6)}

    def _of_fragment(self, shards: Artifact, fragment: str) -> tuple[np.ndarray, np.ndarray]:
        if self._latest is None or self._latest[0] != fragment:
            stretch = stretch_of(shards, fragment)
            self._latest = (fragment, *self._said(stretch))
        return self._latest[1], self._latest[2]

    def _said(self, stretch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest tokens after each token of a stretch but the last, and their log-probabilities [rows, k]."""
        import torch

        networks, device = self._open(), self._device
        config = networks[0].config
        k = min(self.top_k, config.vocab_size)
        rows = len(stretch) - 1
        ids = np.zeros((rows, k), smallest_unsigned(config.vocab_size))
        log_p = np.zeros((rows, k), np.float16)
        step = max(1, config.context - config.context // AGAIN)
        begins = list(range(0, max(1, rows - (config.context - step)), step)) if rows else []
        for first in range(0, len(begins), WINDOWS):
            if self._context.should_stop is not None and self._context.should_stop():
                raise Stopped(f"{ASSET} stopped; what is done is kept, and the same command resumes.")
            some = begins[first : first + WINDOWS]
            tokens = np.zeros((len(some), config.context), np.int64)
            for row, begin in enumerate(some):
                part = stretch[begin : min(begin + config.context, rows)]
                tokens[row, : len(part)] = part
            with torch.inference_mode(), self._autocast():
                top = likeliest(networks, torch.from_numpy(tokens).to(device), k, self._documents(tokens, stretch[0]))
            found = [values.cpu().numpy() for values in top]
            for row, begin in enumerate(some):
                low, high = (begin if not begin else begin + config.context - step), min(begin + config.context, rows)
                ids[low:high] = found[0][row, low - begin : high - begin]
                log_p[low:high] = found[1][row, low - begin : high - begin]
        return ids, log_p

    def _documents(self, tokens: np.ndarray, separator: int) -> torch.Tensor | None:
        import torch

        if not self._mask_documents:
            return None
        return torch.from_numpy(np.cumsum(tokens == separator, axis=1)).to(self._device)

    def _open(self) -> list[Transformer]:
        import torch

        from model import export
        from pipeline.training import machine
        from pipeline.training.measured import Machine

        if not self._networks:
            self._device = machine.choose_device(self._context.device)
            self._networks = [
                export.load(one.local_directory(), torch.float32).to(self._device).eval().requires_grad_(False)
                for one in self._artifacts
            ]
            here = Machine.beside(self._context.store)
            self._precision = machine.choose_precision("auto", self._device, self._networks[0].config, here)
        return self._networks

    def _autocast(self) -> AbstractContextManager[Any]:
        from pipeline.training import machine

        return machine.autocast(self._device, self._precision)


def stretch_of(shards: Artifact, fragment: str) -> np.ndarray:
    """The training documents of a fragment, each after the token that starts a document, and one at the end (int64)."""
    import pyarrow.parquet as pq

    separator = shards.facts["tokenizer"]["document_start"]
    parts = [np.array([separator], np.int64)]
    with pq.ParquetFile(shards.table(fragment)) as file:
        for number, group in enumerate(shards.entry(fragment)["facts"]["groups"]):
            if group[0] != TRAIN:
                continue
            column = file.read_row_group(number, columns=["tokens"]).column(0).combine_chunks()
            length = np.diff(column.offsets.to_numpy()).astype(np.int64)
            ends = np.cumsum(length + 1) - 1
            joined = np.full(int((length + 1).sum()), separator, np.int64)
            joined[np.setdiff1d(np.arange(len(joined)), ends, assume_unique=True)] = column.flatten().to_numpy()
            parts.append(joined)
    return np.concatenate(parts)


def likeliest(
    networks: Sequence[Transformer], tokens: torch.Tensor, k: int, documents: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids [B, T, k] int64, log-probabilities [B, T, k]) of the k tokens that are likeliest by the networks' mean.

    documents [B, T]: a token sees only its own; None: all before it.
    """
    import torch

    from model.operations import rows_at_once

    hidden = [network.hidden(tokens, documents=documents).flatten(0, 1) for network in networks]
    rows = rows_at_once(networks[0].config.vocab_size, tokens.device.type)
    ids, log_p = [], []
    for start in range(0, len(hidden[0]), rows):
        mean = sum(
            torch.softmax(network.logits(own[start : start + rows]).float(), -1)
            for network, own in zip(networks, hidden, strict=True)
        ) / len(networks)
        top = torch.as_tensor(mean).topk(k, -1)
        ids.append(top.indices)
        log_p.append(top.values.log())
    return torch.cat(ids).view(*tokens.shape, k), torch.cat(log_p).view(*tokens.shape, k)


class Said:
    """What teachers said, read by row from the files of an artifact, which stay on disk."""

    def __init__(self, logits: Artifact, shards: Artifact) -> None:
        self.top_k = int(logits.facts["top_k"])
        self._ends = np.cumsum([rows_of(shards.entry(fragment)) for fragment in shards.fragments])
        self._files = [
            tuple(np.load(logits.file(f"{fragment}.{name}.npy"), mmap_mode="r") for name in FILES)
            for fragment in shards.fragments
        ]

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ids int32, log-probabilities float16) [*rows, k] of rows of any shape; ids of -1 where a row is negative."""
        flat = rows.reshape(-1)
        width = self._files[0][0].shape[1]
        ids = np.full((len(flat), width), -1, np.int32)
        log_p = np.zeros((len(flat), width), np.float16)
        fragment = np.searchsorted(self._ends, flat, side="right")
        for number in np.unique(fragment[flat >= 0]).tolist():
            here = np.flatnonzero((fragment == number) & (flat >= 0))
            begin = self._ends[number - 1] if number else 0
            at = flat[here] - begin
            ids[here], log_p[here] = (file[at] for file in self._files[number])
        return ids.reshape(*rows.shape, width), log_p.reshape(*rows.shape, width)

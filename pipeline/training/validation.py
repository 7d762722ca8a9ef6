"""How well a network predicts unseen text: bits per byte, overall and by source.

Bits per byte = nats / ln 2 / bytes of the text (Gao et al. 2020, The Pile, section 3.1). It is per byte, not per token,
so it can be compared across tokenizers; and each token of a document is predicted exactly once, so it is exact.

The documents of a source are concatenated and cut into rows; a token attends only to its own document. A part of the
documents, the same share of every source, comes first: validation during training uses these.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from model.config import IGNORED
from pipeline.store.artifact import Artifact

if TYPE_CHECKING:
    import torch

    from pipeline.training.slots import Slots

    Mask = Callable[[torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]]  # of rows, and the number of the first

AFTER_TRAINING = 1 << 40  # number of the first row of validation: no row of a training has it


@dataclass(frozen=True)
class Rows:
    """One batch of one source: rows of tokens, the next tokens, and the document that each token belongs to."""

    source: str
    tokens: np.ndarray  # int64 [rows, context]
    targets: np.ndarray  # int64 [rows, context], IGNORED where there is nothing to predict
    documents: np.ndarray  # int64 [rows, context]


def documents_of(shards: Artifact, start: int, slots: Slots | None = None) -> pl.DataFrame:
    """The validation documents: doc_id, source, tokens (after `start`, as in training), bytes. slots: those to omit."""
    from pipeline.tokens.shards import validation_documents

    tokens = pl.concat_list(pl.lit(start, dtype=pl.UInt32), pl.col("tokens").cast(pl.List(pl.UInt32)))
    documents = validation_documents(shards).select("doc_id", "source", tokens.alias("tokens"), "bytes")
    omitted = [
        pl.read_parquet(shards.table(table), columns=["doc_id"])["doc_id"].gather(rows)
        for table, rows in (slots.rows.items() if slots else ())
    ]
    if omitted:
        documents = documents.filter(~pl.col("doc_id").is_in(pl.concat(omitted).implode()))
    return documents.collect()


def select(documents: pl.DataFrame, most_tokens: int) -> pl.DataFrame:
    """Adds `early`: the first documents of each source, the same share of each, `most_tokens` in total (0: all)."""
    lengths = documents.select("source", "doc_id", pl.col("tokens").list.len().alias("length"))
    total = max(1, int(lengths["length"].sum()))
    share = min(1.0, most_tokens / total) if most_tokens else 1.0
    ordered = documents.with_columns(length=pl.col("tokens").list.len()).sort("source", "doc_id")
    before = pl.col("length").cum_sum().over("source") - pl.col("length")
    return ordered.with_columns(early=before < share * pl.col("length").sum().over("source"))


def cut(documents: pl.DataFrame, context: int, rows: int) -> list[Rows]:
    """Batches of at most `rows` rows, source by source. `documents` has source and tokens (lists of ids)."""
    batches = []
    for (source,), part in documents.group_by("source", maintain_order=True):
        lengths = part["tokens"].list.len().to_numpy().astype(np.int64)
        stream = part["tokens"].explode(empty_as_null=False).to_numpy().astype(np.int64)
        if not len(stream):
            continue
        document = np.repeat(np.arange(len(lengths)), lengths)
        # Position i predicts i + 1, if that belongs to the same document.
        following = np.append(stream[1:], IGNORED)
        following[np.append(document[1:] != document[:-1], True)] = IGNORED
        height = math.ceil(len(stream) / context)
        room = height * context - len(stream)
        tokens = np.append(stream, np.zeros(room, np.int64)).reshape(height, context)
        targets = np.append(following, np.full(room, IGNORED)).reshape(height, context)
        owners = np.append(document, np.full(room, len(lengths))).reshape(height, context)
        for start in range(0, height, rows):
            end = start + rows
            batches.append(Rows(str(source), tokens[start:end], targets[start:end], owners[start:end]))
    return batches


class Validation:
    """Validation on the validation documents of token shards, for the loop."""

    def __init__(self, documents: pl.DataFrame, context: int, rows: int, most_tokens: int, mask: Mask | None = None):
        """`documents`: doc_id, source, tokens (lists of ids), bytes. `mask` masks the tokens to predict."""
        self._mask = mask
        ordered = select(documents, most_tokens)
        early, late = ordered.filter("early"), ordered.filter(~pl.col("early"))
        first, rest = cut(early, context, rows), cut(late, context, rows)
        self.batches = [*first, *rest]
        heights = (len(batch.tokens) for batch in self.batches)
        self._first_rows = list(accumulate(heights, initial=AFTER_TRAINING))
        self.early_batches, self.total_batches = len(first), len(first) + len(rest)
        self.sources = sorted(ordered["source"].unique().to_list())
        self._bytes = {
            count: dict(part.group_by("source").agg(pl.col("bytes").sum()).iter_rows())
            for count, part in ((self.early_batches, early), (self.total_batches, ordered))
        }

    def measure(self, model: torch.nn.Module, index: int) -> dict[str, torch.Tensor | float]:
        """Nats and targets of one batch under the name of its source; 0 under all others."""
        import torch

        from pipeline.training import transfer

        rows = self.batches[index]
        device = str(next(model.parameters()).device)
        tokens, targets, documents = (torch.from_numpy(a) for a in (rows.tokens, rows.targets, rows.documents))
        if self._mask is not None:
            within = targets != IGNORED
            tokens, targets = self._mask(tokens, self._first_rows[index])
            targets = torch.where(within, targets, IGNORED)
        batch = transfer.send({"tokens": tokens, "targets": targets, "documents": documents}, device)
        nats, count = model(batch["tokens"], batch["targets"], documents=batch["documents"])
        sums = {f"{what}/{source}": 0.0 for what in ("nats", "targets") for source in self.sources} | {"batches": 1.0}
        return {**sums, f"nats/{rows.source}": nats, f"targets/{rows.source}": count}

    def summary(self, sums: dict[str, float]) -> dict[str, float]:
        """Mean loss, perplexity and bits per byte, and bits per byte by source."""
        sizes = self._bytes[int(sums["batches"])]
        nats = {source: sums[f"nats/{source}"] for source in sizes}
        loss = sum(nats.values()) / max(1.0, sum(sums[f"targets/{source}"] for source in sizes))
        figures = {
            "validation_loss": loss,
            "perplexity": math.exp(min(loss, 50.0)),
        }
        if self._mask is not None:  # only some tokens are predicted, from both sides: that is no code length
            return figures
        figures["bits_per_byte"] = bits_per_byte(sum(nats.values()), sum(sizes.values()))
        by_source = {
            f"bits_per_byte/{source}": bits_per_byte(nats[source], size) for source, size in sorted(sizes.items())
        }
        return {**figures, **by_source} if len(by_source) > 1 else figures


def bits_per_byte(nats: float, size: int) -> float:
    """Bits per byte, from the nats summed over the tokens of a text and its size in bytes."""
    return nats / math.log(2) / max(1, size)

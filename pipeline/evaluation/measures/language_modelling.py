"""Bits per byte and perplexity on the validation documents, by source and by language.

Bits per byte can be compared between models with different tokenizers; perplexity is per token, so only between models
with the same tokenizer. Both come from the same sums. Each document is scored by itself, after the token that separates
documents, in pieces of the context's length without overlap. The first token of a piece is predicted from one token
only, so the figures are slightly worse than with a sliding window, equally for all models.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipeline.evaluation.measure import Headline, Measure, Result, Subject
from pipeline.evaluation.measure_settings import MeasureSettings
from pipeline.evaluation.scoring import nll_of_rows
from pipeline.tokens.shards import validation_documents

if TYPE_CHECKING:
    import torch

    from model.transformer import Transformer


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """Scores of the validation documents of the token shards; no figures if there are none."""
    documents = sample_documents(
        validation_documents(subject.inputs["token_shards"]).drop("length").collect(), settings.validation_tokens
    )
    if not documents.height:
        return Result()
    subject.log(f"scoring {documents.height:,} validation documents")
    scored = score_documents(
        subject.network, documents, subject.tokenizer.document_start, settings.batch_tokens, subject.device
    )
    subject.progress(1, 1)
    return Result(
        {
            "all": summarise(scored),
            "by_source": summarise(scored, "source"),
            "by_language": summarise(scored, "lang"),
        }
    )


def sample_documents(documents: pl.DataFrame, most_tokens: int) -> pl.DataFrame:
    """A sample of `documents` (doc_id, source, tokens, ...) of about `most_tokens`, shared evenly between sources.

    The first documents by doc_id, which is a hash: a fixed random sample. The share that a small source leaves is not
    given to others; each source contributes at least one document.
    """
    if not documents.height:
        return documents
    share = most_tokens // documents["source"].n_unique()
    return (
        documents.sort("source", "doc_id")
        .with_columns(before=pl.col("tokens").list.len().cum_sum().over("source") - pl.col("tokens").list.len())
        .filter(pl.col("before") < share)
        .drop("before")
    )


def score_documents(
    model: Transformer, documents: pl.DataFrame, separator: int, batch_tokens: int, device: torch.device
) -> pl.DataFrame:
    """`documents` (source, lang, tokens, bytes) with `nll` (nats) and `scored` (tokens) instead of `tokens`."""
    context = model.config.context
    rows: list[np.ndarray] = []
    owner: list[int] = []
    for i, ids in enumerate(documents["tokens"]):
        tokens = np.concatenate([[separator], ids.to_numpy().astype(np.int64)])
        for start in range(0, len(tokens) - 1, context - 1):
            rows.append(tokens[start : start + context])
            owner.append(i)
    sums = np.zeros(documents.height)
    for i, losses in zip(owner, nll_of_rows(model, rows, [1] * len(rows), batch_tokens, device)):
        sums[i] += losses.sum()
    return documents.select(
        "source", "lang", "bytes", scored=pl.col("tokens").list.len(), nll=pl.Series(sums, dtype=pl.Float64)
    )


def summarise(scored: pl.DataFrame, by: str | None = None) -> dict[str, Any]:
    """Figures of `scored`, overall or by the values of the column `by`.

    The figures: documents, tokens, bytes, bits_per_byte, perplexity, bytes_per_token.
    """
    if by is not None:
        parts = scored.with_columns(pl.col(by).fill_null("?")).partition_by(by, as_dict=True)
        return {str(name): summarise(part) for (name,), part in sorted(parts.items())}
    tokens, size, nll = int(scored["scored"].sum()), int(scored["bytes"].sum()), float(scored["nll"].sum())
    if not tokens or not size:
        return {"documents": scored.height, "tokens": tokens, "bytes": size}
    return {
        "documents": scored.height,
        "tokens": tokens,
        "bytes": size,
        "bits_per_byte": round(nll / math.log(2) / size, 5),
        "perplexity": round(math.exp(min(nll / tokens, 700)), 4),
        "bytes_per_token": round(size / tokens, 4),
    }


MEASURE: Measure[MeasureSettings] = Measure(
    name="language_modelling",
    description="bits per byte and perplexity on validation documents, by source and by language",
    run=run,
    needs=("token_shards",),
    headlines=(
        Headline("all.bits_per_byte", "bits_per_byte", higher_is_better=False),
        Headline("all.perplexity", "perplexity", higher_is_better=False),
        Headline(
            "by_language.*.bits_per_byte",
            "bits_per_byte.*",
            higher_is_better=False,
            words="bits per byte, {key}",
            card_only=True,
        ),
    ),
)

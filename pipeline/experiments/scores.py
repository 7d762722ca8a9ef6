"""`experiment_scores`: what the model of one cell makes of held-back documents that are the same for all cells.

Cells may have other tokenizers, sources or stages, so their own validation documents cannot be compared. The documents
that the experiment's own settings hold back are scored instead, as curation leaves them there, in bits per byte. They
are held back in every cell, since they are chosen by the hash of their text.

    documents.parquet    doc_id, source, lang, bytes, scored (tokens), nll (nats)
    layers.parquet       layer, and what it does on some of them (`layers.py`)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from pipeline.context import Log, RunContext
from pipeline.errors import UserError
from pipeline.evaluation.measures.language_modelling import sample_documents, score_documents, summarise
from pipeline.experiments.layers import by_layer
from pipeline.printing import size
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table
from pipeline.tokens.shards import validation_documents
from pipeline.training import device_lock

if TYPE_CHECKING:
    from pipeline.tokens.tokenizer import Tokenizer

ASSET = "experiment_scores"
VERSION = "2"  # 2: `layers` has `gradient`
TABLE, LAYERS = "documents", "layers"
NOTHING = "No document is held back, so the models cannot be compared: raise `shards.validation`, or add text."
NOT_CAUSAL = "An experiment compares models that predict the next token: leave `model.causal: false` out of it."
# Fewer documents, or less text, than this is a matter of which documents: another choice may turn the order round.
FEWEST_DOCUMENTS, LEAST_BYTES = 20, 20_000
# Facts of a model that the tables of an experiment show, where it has them.
OF_THE_MODEL = ("parameters", "tokens", "steps", "batch_tokens", "learning_rate", "epochs")


def make(
    context: RunContext, model: Artifact, held_back: Artifact, curated: Artifact, most_tokens: int, batch_tokens: int
) -> Artifact:
    """The scores of `model` on about `most_tokens` of documents.

    held_back: token shards whose validation documents are scored; curated: the documents that they are made of.
    batch_tokens: how many are scored at once, which changes nothing but memory. Raises UserError if none is held back,
    or if the model does not predict the next token.
    """

    def build(draft: Draft) -> None:
        with device_lock.alone(context, ASSET):
            score(draft)

    def score(draft: Draft) -> None:
        import torch

        from model.export import load as load_model
        from pipeline.tokens.tokenizer import load as load_tokenizer
        from pipeline.training import machine

        directory = model.local_directory()
        device = torch.device(machine.choose_device(context.device))
        network = load_model(directory, torch.float32).to(device).eval()
        if not network.config.causal:
            raise UserError(NOT_CAUSAL)
        tokenizer = load_tokenizer(directory)
        documents = encoded(texts_held_back(held_back, curated, most_tokens), tokenizer)
        scored = score_documents(network, documents, tokenizer.document_start, batch_tokens, device)
        table = scored.insert_column(0, documents["doc_id"])
        write_table(table, draft.path(f"{TABLE}.parquet"))
        write_table(by_layer(network, documents, tokenizer.document_start, device), draft.path(f"{LAYERS}.parquet"))
        draft.facts = {
            "all": summarise(scored),
            "by_source": summarise(scored, "source"),
            "by_language": summarise(scored, "lang"),
            "model": model.version,
            **{name: model.facts[name] for name in OF_THE_MODEL if name in model.facts},
        }

    return context.store.make(
        ASSET,
        code_version=VERSION,
        settings={"most_tokens": most_tokens},
        inputs={"model": model, "token_shards": held_back, "curated_documents": curated},
        build=build,
        log=context.log,
    )


def check_held_back(shards: Artifact, log: Log) -> None:
    """Say before any training where little text is held back. Raises UserError if none is."""
    documents, text_bytes = validation_documents(shards).select(pl.len(), pl.col("bytes").sum()).collect().row(0)
    if not documents:
        raise UserError(NOTHING)
    if too_little(documents, text_bytes):
        log(scored_on(documents, text_bytes))


def too_little(documents: int, text_bytes: int) -> bool:
    """Whether figures on so much text say little of other text."""
    return documents < FEWEST_DOCUMENTS or text_bytes < LEAST_BYTES


def scored_on(documents: int, text_bytes: int) -> str:
    """On how much text models are scored, and what follows from it where it is little."""
    words = f"scored on {documents:,} held-back document{'s' if documents != 1 else ''}, {size(text_bytes)}"
    if too_little(documents, text_bytes):
        words += ": too little to say more than of these; raise `shards.validation`, to 0.1, say"
    return words


def texts_held_back(shards: Artifact, curated: Artifact, most_tokens: int) -> pl.DataFrame:
    """doc_id, source, lang, text of validation documents, about `most_tokens` of them, shared evenly between sources.

    Raises UserError if there is none.
    """
    chosen = sample_documents(validation_documents(shards).collect(), most_tokens).select("doc_id", "source", "lang")
    if not chosen.height:
        raise UserError(NOTHING)
    parts = []
    for (source,), part in chosen.group_by("source", maintain_order=True):
        fragments = [name for name in curated.fragments if curated.entry(name)["rows"]]
        paths = [curated.table(name) for name in fragments]
        texts = pl.scan_parquet(paths).filter(pl.col("source") == source).select("doc_id", "source", "text")
        found = texts.filter(pl.col("doc_id").is_in(part["doc_id"].to_list())).collect()
        parts.append(part.join(found.unique(["doc_id", "source"], keep="first"), on=["doc_id", "source"], how="inner"))
    return pl.concat(parts).sort("source", "doc_id")


def encoded(documents: pl.DataFrame, tokenizer: Tokenizer) -> pl.DataFrame:
    """Documents (text) with `tokens`, of this tokenizer, and `bytes` instead of the text."""
    return documents.with_columns(
        tokens=tokenizer.encode_column(documents["text"]), bytes=pl.col("text").str.len_bytes()
    ).drop("text")

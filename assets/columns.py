"""What the columns of tables mean, for the page of an asset: those of every table, and the figures of rules."""

import functools

import polars as pl

from pipeline.curation.rules import Rule
from pipeline.curation.stages import STAGES

# Of documents, decisions, tokens and conversations.
DESCRIBED = {
    "doc_id": "hash of the document's text: the same text has the same id everywhere",
    "text": "the document",
    "source": "the source in the recipe",
    "source_id": "the record's id or path at its source",
    "lang": "its language: of raw documents as the source says, of curated ones as it was found",
    "url": "where it is from",
    "license": "its licence",
    "meta": "what else the source says of it, as JSON",
    "keep": "whether the document stays; empty: an earlier stage had removed it",
    "reason": "why it was removed",
    "score": "the figure that decided, or that the stage goes by",
    "edits": "passages that are cut or replaced: start, end, replacement, label",
    "label": "what was found: a language, or a kind",
    "confidence": "how sure the model is of the label (0 to 1)",
    "kept_id": "the document that stays in its place",
    "jaccard": "share of word n-grams that both documents have (0 to 1)",
    "spans": "where something was found",
    "split": "train: learned from; validation: held back and measured on",
    "tokens": "the document as numbers of the vocabulary",
    "turns": "the conversation, turn by turn",
    "prompt": "what was asked",
    "chosen": "the better answer",
    "rejected": "the worse answer",
    "kind": "what kind of text rules take it for",
}


@functools.cache
def of_rules() -> dict[str, str]:
    """Figure -> what the rule says that limits it."""
    found: dict[str, str] = {}
    for stage in STAGES:
        for rule in stage.rules:
            for limit in rule.limits if isinstance(rule, Rule) else ():
                found.setdefault(limit.signal, f"limited by {rule.name} (`{limit.setting}`): {rule.meaning}")
    return found


def described(name: str) -> str | None:
    """What a column means; None for one that nothing is known of."""
    return DESCRIBED.get(name) or of_rules().get(name)


def kind_of(dtype: pl.DataType) -> str:
    """The type of a column in a word or two; what is in a structure is not spelled out."""
    if isinstance(dtype, pl.List):
        return f"list of {kind_of(dtype.inner)}"  # type: ignore[arg-type]
    return "structure" if isinstance(dtype, pl.Struct) else str(dtype)

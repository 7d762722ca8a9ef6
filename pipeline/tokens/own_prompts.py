"""Prompts from a person's own text: beginnings of validation documents, which no training has read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from pipeline.store.artifact import Artifact
from pipeline.tokens.shards import validation_documents

if TYPE_CHECKING:
    from pipeline.tokens.tokenizer import Tokenizer

PROMPTS = 6  # in all
LANGUAGES = 3  # of the most text
READ = 96  # tokens of a document from whose text a prompt is cut
SHORTEST = 12  # characters: a prompt of fewer says too little to continue
LONGEST = {"ko": 24, "code": 80}  # characters; of other languages OTHERS
OTHERS = 48


class OwnPrompt(NamedTuple):
    """The beginning of a document."""

    text: str
    lang: str | None
    source: str


def own_prompts(shards: Artifact, tokenizer: Tokenizer) -> list[OwnPrompt]:
    """At most PROMPTS beginnings, shared evenly between the languages of most validation text; [] if there is none.

    The first documents of each language by id, which is a hash: a random sample, and always the same one.
    """
    documents = validation_documents(shards).select(
        "doc_id", "source", "lang", "length", pl.col("tokens").list.head(READ)
    )
    found = documents.collect()
    if not found.height:
        return []
    by_language = found.group_by("lang").agg(pl.col("length").sum()).sort(["length", "lang"], descending=[True, False])
    languages = by_language["lang"].head(LANGUAGES).to_list()
    each = PROMPTS // len(languages)
    prompts: list[OwnPrompt] = []
    for lang in languages:
        of_language = found.filter(pl.col("lang").eq_missing(lang)).sort("doc_id", "source")
        own: dict[str, OwnPrompt] = {}
        for source, ids in of_language.select("source", "tokens").iter_rows():
            text = beginning(tokenizer.shown(ids), lang)
            if len(text) >= SHORTEST:
                own.setdefault(text, OwnPrompt(text, lang, source))
            if len(own) == each:
                break
        prompts += own.values()
    return prompts


def beginning(text: str, lang: str | None) -> str:
    """The start of a text that a model can continue: whole words up to a length, of code whole lines.

    At least a quarter of what was read is left out, so that the text does not end with the prompt.
    """
    most = min(LONGEST.get(lang or "", OTHERS), 3 * len(text) // 4)
    head = text.lstrip("\n")[:most]
    if lang == "code":
        return head[: head.rfind("\n") + 1] or head
    first = head.split("\n\n")[0]
    return first[: first.rfind(" ")] if " " in first.strip() and len(first) == most else first.rstrip()

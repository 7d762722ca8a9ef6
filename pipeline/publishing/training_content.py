"""The public summary of training content that the EU asks of providers of general-purpose AI models.

In the sections of the template of the European Commission (C(2025) 8311, after Article 53(1)(d) of Regulation (EU)
2024/1689). What manifests do not hold is named as not known: the provider has to fill it in before it is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.publishing.card import cell
from pipeline.publishing.subject import NAMES_OF_LANGUAGES, UNKNOWN, Source, Subject, figure, named

TO_FILL_IN = f"{UNKNOWN}: to be filled in by the provider"
# The template's section for each kind of source of a recipe.
SYNTHETIC, CRAWLED, PUBLIC = ("generated",), ("http", "common_crawl"), ("huggingface", "bundled")
LARGE = 0.03  # of all training tokens: from here on, the template wants a data set named by itself


def training_content(subject: Subject) -> str:
    """The summary, in Markdown."""
    parts = [
        f"# Public summary of training content: {subject.name}",
        "Written from the manifests of the pipeline that made the model. Whatever they do not hold is marked as "
        f"{UNKNOWN}.",
        *general(subject),
        *data_sources(subject),
        *processing(subject),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def general(subject: Subject) -> list[str]:
    told = subject.told
    starts = [source for source in subject.sources if source.role == "base_model"]
    dependency = (
        "; ".join(f"{one.name}, licence {named(one.licences)}" for one in starts) or "none: trained from nothing"
    )
    tokens = subject.tokens
    size = UNKNOWN if tokens is None else "less than 1 billion tokens" if tokens < 10**9 else (
        "1 billion to 10 trillion tokens" if tokens <= 10**13 else "more than 10 trillion tokens"
    )  # fmt: skip
    languages = [NAMES_OF_LANGUAGES.get(language, language) for language in subject.languages]
    return [
        "## 1. General information",
        "### 1.1 Provider identification",
        listed([
            ("Provider name and contact details", told.publisher or TO_FILL_IN),
            ("Authorised representative", TO_FILL_IN),
        ]),
        "### 1.2 Model identification",
        listed([
            ("Versioned model name", f"{subject.name}, version {subject.version}"),
            ("Model dependencies", dependency),
            ("Date of placement of the model on the Union market", told.date or TO_FILL_IN),
        ]),
        "### 1.3 Modalities, overall training data size and other characteristics",
        listed([
            ("Modality", "text; no images, audio or video"),
            ("Training data size", f"{size} ({figure(tokens)} tokens in the training text)"),
            ("Types of content", ", ".join(sorted({source.kind or UNKNOWN for source in subject.sources})) or UNKNOWN),
            ("Latest date of data acquisition", TO_FILL_IN + " (artifacts hold no dates)"),
            ("Linguistic characteristics", named(languages)),
            ("Tokenisation", tokenisation(subject)),
        ]),
    ]  # fmt: skip


def data_sources(subject: Subject) -> list[str]:
    sources = [source for source in subject.sources if source.role != "base_model"]

    def of(kinds: Sequence[str]) -> list[Source]:
        return [source for source in sources if source.kind in kinds]

    others = [source for source in sources if source.kind not in (*SYNTHETIC, *CRAWLED, *PUBLIC)]
    total = max(1, subject.tokens or 1)
    large = [one for one in of(PUBLIC) if one.tokens is not None and one.tokens / total >= LARGE]
    return [
        "## 2. List of data sources",
        "### 2.1 Publicly available datasets",
        f"Of these, with at least {LARGE:.0%} of the training text: {named([one.name for one in large])}."
        if of(PUBLIC) else "None.",
        table(of(PUBLIC)),
        "### 2.2 Private non-publicly available datasets obtained from third parties",
        "#### 2.2.1 Datasets commercially licensed by rightsholders or their representatives",
        f"{TO_FILL_IN}. The pipeline cannot tell a licensed file from another.",
        "#### 2.2.2 Private datasets obtained from other third parties",
        TO_FILL_IN,
        "### 2.3 Data crawled and scraped from online sources",
        "No crawler is part of the pipeline." + (" Pages were read from these addresses:" if of(CRAWLED) else " None."),
        table(of(CRAWLED)),
        "### 2.4 User data",
        "Judgements that people gave on answers, where preference data was made of them: "
        + named([one.name for one in sources if one.kind == "annotated"]) + "."
        if any(one.kind == "annotated" for one in sources) else "None that the pipeline knows of.",
        "### 2.5 Synthetic data",
        "Made by programs, not by other models:" if of(SYNTHETIC) else "None that the pipeline knows of.",
        table(of(SYNTHETIC)),
        teachers(subject),
        "### 2.6 Other sources of data",
        "Files of the provider's own, and sources whose kind the recipe no longer tells:" if others else "None.",
        table(others),
    ]  # fmt: skip


def processing(subject: Subject) -> list[str]:
    stages = [name for name in subject.manifests if name.endswith(("_decisions", "_edits"))]
    counts = [
        f"- `{asset}`: "
        + ", ".join(
            f"{count:,} {subject.reasons.get(asset, {}).get(reason, reason)}"
            for reason, count in sorted(removed.items())
        )
        for asset in stages
        if (removed := subject.manifests[asset].get("counts", {}).get("removed", {}))
    ]
    return [
        "## 3. Data processing aspects",
        "### 3.1 Respect of reservation of rights from the text and data mining exception or limitation",
        f"{TO_FILL_IN}. The pipeline keeps the licence that each source states with every document, and refuses to "
        "publish where one speaks against it; it reads no reservations of rights (such as robots.txt) by itself.",
        "Published although this spoke against it: " + "; ".join(subject.despite) + "." if subject.despite else "",
        "### 3.2 Removal of illegal content",
        "Personal data was searched for and replaced by patterns and checksums, which do not find all of it."
        if "personal_data_edits" in stages else "No search for personal data.",
        f"Other illegal content: {TO_FILL_IN}.",
        "### 3.3 Other information",
        "What was removed before training, and why:" if counts else "Nothing was removed before training.",
        "\n".join(counts),
    ]  # fmt: skip


def teachers(subject: Subject) -> str:
    if "teacher_logits" not in subject.manifests:
        return ""
    return "The model also learned from what teachers say of the training text, which were trained on the same text."


def tokenisation(subject: Subject) -> str:
    facts = subject.manifests.get("tokenizer", {}).get("facts", {})
    return f"a vocabulary of {figure(facts.get('vocab_size'))} tokens" if facts else UNKNOWN


def listed(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in pairs)


def table(sources: Sequence[Source]) -> str:
    if not sources:
        return ""
    rows = [
        f"| {cell(one.name)} | {cell(one.address or UNKNOWN)} | {cell(named(one.licences))} | "
        f"{cell(named(one.languages))} | {figure(one.documents)} | {figure(one.kept)} | {figure(one.tokens)} |"
        for one in sources
    ]
    head = ["| name | where from | licence as stated | languages | read | used | tokens |", "| --- " * 7 + "|"]
    return "\n".join([*head, *rows])

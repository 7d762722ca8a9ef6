"""An artifact in a sentence of about three figures: what somebody wants to know of it before anything else."""

from __future__ import annotations

from typing import Any

from pipeline.inspect.tuning import LANGUAGES
from pipeline.printing import duration
from pipeline.store.artifact import Artifact
from pipeline.training.model_facts import ModelFacts


def in_short(artifact: Artifact) -> str:
    """The sentence; "" for an artifact of which nothing can be said in general."""
    counts, facts, files = artifact.counts, artifact.facts, artifact.manifest["files"]
    if artifact.asset.endswith("_evaluation"):
        return _figures(facts)
    if "model.safetensors" in files and "parameters" in facts:
        return _model(artifact)
    if "planned_training" in artifact.manifest["seconds"] or "batch_tokens" in facts:
        return _plan(artifact)
    if isinstance(facts.get("tokens"), dict):
        return _tokens(facts)
    if "bytes_per_token" in facts:
        return (
            f"{figure(counts['tokens'])} tokens of {counts['documents']:,} documents can be searched,"
            f" {facts['bytes_per_token']:.2f} bytes each"
        )
    if "vocab_size" in facts:
        return _tokenizer(facts)
    if isinstance(counts.get("removed"), dict) and "in" in counts and "kept" in counts:
        return _documents(artifact)
    return ""


def _documents(artifact: Artifact) -> str:
    counts = artifact.counts
    removed, of = counts["in"] - counts["kept"], counts["in"]
    sources = len(counts.get("by_source", {})) or 1
    text = f"{counts['kept']:,} documents of {sources} source{'s' if sources > 1 else ''} stay"
    if removed:
        reason, number = max(counts["removed"].items(), key=lambda pair: (pair[1], pair[0]), default=("", 0))
        most = f", most as {reason} ({number:,})" if reason else ""
        text += f"; {removed:,} of {of:,} ({removed / max(of, 1):.1%}) are removed{most}"
    else:
        text += "; none is removed"
    edits = counts.get("edits") or {}
    return text + (f"; {sum(edits.values()):,} passages are edited" if edits else "")


def _tokens(facts: dict[str, Any]) -> str:
    train, held_back = facts["tokens"].get("train", 0), facts["tokens"].get("validation", 0)
    documents = sum(facts.get("documents", {}).values())
    return f"{figure(train)} tokens to train on, {figure(held_back)} held back, of {documents:,} documents"


def _tokenizer(facts: dict[str, Any]) -> str:
    languages = facts.get("report", {}).get("languages", {})
    by_language = ", ".join(f"{name} {found['bytes_per_token']:.2f}" for name, found in languages.items())
    return f"{facts['vocab_size']:,} tokens" + (f"; bytes per token: {by_language}" if by_language else "")


def _plan(artifact: Artifact) -> str:
    facts, seconds = artifact.facts, artifact.manifest["seconds"].get("planned_training")
    text = f"{figure(facts['parameters'])} parameters, {figure(facts['tokens'])} tokens"
    text += f", {facts['epochs']:.2g} passes over the text" if facts.get("epochs") else ""
    return text + (f", {duration(seconds)} on the machine that planned it" if seconds else "")


def _model(artifact: Artifact) -> str:
    known, facts = ModelFacts.of(artifact), artifact.facts
    text = f"{figure(known.parameters)} parameters, {figure(known.tokens)} tokens learned from"
    measured = facts.get("bits_per_byte")
    return text + (f", {measured:.3f} bits per byte" if isinstance(measured, float) else "")


def _figures(facts: dict[str, Any]) -> str:
    found = [(name, value) for name, value in facts.items() if isinstance(value, int | float)]
    return ", ".join(f"{in_words(name)} {rounded(value):,}" for name, value in found[:3])


def in_words(name: str) -> str:
    """The short name of a figure as words: `village.facts.en` is `village facts (English)`."""
    words, _, last = name.replace("_", " ").rpartition(".")
    language = LANGUAGES.get(last)
    return f"{words.replace('.', ' ')} ({language})" if words and language else name.replace("_", " ").replace(".", " ")


def figure(number: float) -> str:
    """A count as people say it: `3.2 M`, `16,501`."""
    return f"{number / 1e6:,.1f} M" if number >= 1e6 else f"{int(number):,}"


def rounded(value: float) -> float | int:
    """A number to four digits; whole numbers and those of more digits before the point as they are."""
    if isinstance(value, int) or abs(value) >= 10_000:
        return round(value)
    return float(f"{value:.4g}")

"""The data card and the model card, generated from manifests alone.

A card is a view of what the store records (sources, licences, counts by reason, fingerprints), so it states nothing
that was not measured, and is always current. It follows Mitchell et al. 2019 (Model Cards) and Gebru et al. 2021
(Datasheets) as far as a program can; it lists the questions that a program cannot answer.

`manifests` below maps assets to the manifests available; a card omits what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.figures import headline_figures
from pipeline.evaluation.measure import Measure
from pipeline.evaluation.measures import MEASURES
from pipeline.store.made_on import words
from pipeline.trained_models import bases_of

Manifests = Mapping[str, Mapping[str, Any]]

NAMES_STAY = (
    "Names of people are not detected unless `curation.personal_data.person_model` is set; patterns and checksums "
    "find the rest, and not all of it (docs/results/personal-data.md has the measured recall)."
)


def data_card(manifests: Manifests, reasons: Mapping[str, Mapping[str, str]]) -> str:
    """Markdown: where the text comes from, its licences, what was removed or replaced and why, and what remains.

    reasons: asset -> reason -> meaning in plain words.
    """
    raw = manifests.get("raw_documents", {})
    recipe = next((m["recipe"] for m in manifests.values() if "recipe" in m), "?")
    parts = [f"# Data of `{recipe}`", _sources(manifests)]
    removed = _removed(manifests, reasons)
    if removed:
        parts += ["## What was removed, and why", removed]
    replaced = _edits(manifests)
    if replaced:
        parts += ["## What was cut or replaced inside documents", replaced]
    if "personal_data_edits" in manifests:
        parts.append(NAMES_STAY)
    for asset, title in (("instruction_data", "Conversations"), ("preference_data", "Preferences")):
        if asset in manifests:
            parts += [f"## {title}", _conversations(manifests[asset])]
    parts += [
        "## Not known",
        "Whether the licences that the sources declare are correct, who is represented in the text and who is not, and "
        "whether its authors agreed to this use. Nothing in the pipeline can determine this.",
        "## Fingerprints",
        _fingerprints(manifests),
    ]
    if "base_model" in manifests:
        parts[1:1] = _start(manifests["base_model"]["facts"])
    elif not raw:
        parts.insert(1, "The raw documents of this data are not in the store.")
    return "\n\n".join(part for part in parts if part) + "\n"


def model_card(
    asset: str,
    manifests: Manifests,
    report: Mapping[str, Any] | None = None,
    measures: Sequence[Measure[Any]] = MEASURES,
) -> str:
    """Markdown: what the model `asset` is, what it was trained on and how, how it was evaluated, what it is not for.

    report: report.json of its evaluation. measures: the measures whose headlines to show.
    """
    manifest = manifests[asset]
    facts, settings = manifest.get("facts", {}), manifest.get("made_of", {}).get("settings", {})
    parts = [f"# {manifest.get('recipe', '?')}: {asset}"]
    figures = [
        ("parameters", facts.get("parameters")),
        ("tokens trained on", facts.get("tokens")),
        ("steps", facts.get("steps")),
    ]
    figures += [(name.replace("_", " "), facts.get(name)) for name in ("batch_tokens", "learning_rate", "epochs")]
    shape = settings.get("model") or manifests.get("pretrained_model", {}).get("made_of", {}).get("settings", {}).get(
        "model"
    )
    start = manifests.get("base_model", {}).get("facts", {})
    shape = shape or start.get("model")
    if isinstance(shape, Mapping):
        figures += [(name, shape.get(name)) for name in ("layers", "width", "heads", "kv_heads", "context")]
        vocabulary = shape.get("vocab_size") or manifests.get("tokenizer", {}).get("facts", {}).get("vocab_size")
        figures.append(("vocabulary", vocabulary))
    parts.append(_table(("", ""), [(name, _figure(value)) for name, value in figures if value is not None]))
    bases = [name for name in bases_of(asset) if name in manifests]
    if bases:
        parts.append(f"Made from {' and then '.join(f'`{name}`' for name in bases)}.")
    parts += _start(start)
    if not start or "raw_documents" in manifests:
        parts += ["## Trained on", _sources(manifests), "The data card says what was removed and replaced."]
    for data, title in (("instruction_data", "Conversations"), ("preference_data", "Preferences")):
        if start and data in manifests:
            parts += [f"## {title}", _conversations(manifests[data])]
    if report:
        parts += ["## Measured", _measured(report, measures)]
    parts += [
        "## Use",
        "A small model that generates text like the text it was trained on. It states falsehoods fluently, repeats the "
        "biases of its sources, and has had no safety training beyond the preference data. Do not rely on it for "
        "advice.",
        "## Fingerprints",
        _fingerprints(manifests),
        _made_on(manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _made_on(manifest: Mapping[str, Any]) -> str:
    """What the weights were made on, which explains other bytes of the same version."""
    made = manifest.get("made_on")
    if not made:
        return ""
    return f"The weights were made on {words(made)}. On another kind of machine the same version has other bytes."


def _start(facts: Mapping[str, Any]) -> list[str]:
    """Where a model comes from that was not pretrained here, and under which licence. facts: of `base_model`."""
    if not facts:
        return []
    revision = f", commit `{facts['revision']}`" if facts.get("revision") else ""
    return [
        "## Started from",
        f"{facts['origin']}{revision}; licence: {facts['license']}. Its own card and licence are in the model's "
        "folder, in `origin/`; they say what it was trained on and what it may be used for.",
    ]


def _sources(manifests: Manifests) -> str:
    known = manifests.get("raw_documents", {}).get("facts", {}).get("sources", {})
    curated = manifests.get("curated_documents", {}).get("counts", {}).get("by_source", {})
    tokens = manifests.get("token_shards", {}).get("facts", {}).get("tokens_by_source", {})
    rows = []
    for name in sorted(known):
        source = known[name]
        rows.append(
            (
                name,
                _names(source.get("licenses", {})),
                _names(source.get("languages", {})),
                _figure(source.get("documents")),
                _figure(curated.get(name, {}).get("kept")),
                _figure(tokens.get(name)),
            )
        )
    return _table(("source", "licence", "language as declared", "documents", "kept", "tokens"), rows)


def _names(counts: Mapping[str, Any] | Sequence[str]) -> str:
    names = list(counts)
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "") if names else "not stated"


def _removed(manifests: Manifests, reasons: Mapping[str, Mapping[str, str]]) -> str:
    rows = []
    for asset, manifest in manifests.items():
        if asset in ("instruction_data", "preference_data"):
            continue
        removed = manifest.get("counts", {}).get("removed", {})
        for reason, count in sorted(removed.items(), key=lambda pair: (-pair[1], pair[0])):
            # An artifact made by older code may have a reason that no longer exists.
            words = reasons.get(asset, {}).get(reason, "")
            rows.append((asset, f"`{reason}`", words, _figure(count)))
    return _table(("stage", "reason", "in words", "documents"), rows)


def _edits(manifests: Manifests) -> str:
    rows = [
        (asset, f"`{label}`", _figure(count))
        for asset, manifest in manifests.items()
        for label, count in sorted(manifest.get("counts", {}).get("edits", {}).items(), key=lambda p: (-p[1], p[0]))
    ]
    return _table(("stage", "what", "places"), rows)


def _conversations(manifest: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            _names(of.get("licenses", {})),
            _figure(of.get("train")),
            _figure(of.get("held_back")),
            ", ".join(f"{count:,} {reason}" for reason, count in of.get("removed", {}).items()),
        )
        for name, of in manifest.get("facts", {}).get("sources", {}).items()
    ]
    return _table(("set", "licence", "for training", "held back", "not used"), rows)


def _measured(report: Mapping[str, Any], measures: Sequence[Measure[Any]]) -> str:
    headlines = headline_figures(report, measures)
    rows = [(figure.words, f"{figure.value:.{figure.headline.digits}f}") for figure in headlines]
    return _table(("measure", "value"), rows)


def _fingerprints(manifests: Manifests) -> str:
    return _table(("asset", "fingerprint"), [(name, f"`{m.get('fingerprint', '?')}`") for name, m in manifests.items()])


def _figure(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, or "" without rows."""
    if not rows:
        return ""
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

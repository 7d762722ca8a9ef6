"""All documents of a model or a data set that is published, by the names of their files; the same bytes each time."""

from __future__ import annotations

from pipeline import openlineage
from pipeline.inspect import cards
from pipeline.publishing import card
from pipeline.publishing.bill_of_materials import bill_of_materials, time_of
from pipeline.publishing.croissant import croissant
from pipeline.publishing.licences import asks
from pipeline.publishing.subject import Subject, as_json
from pipeline.publishing.training_content import training_content

# What can be published beside models, and what is described of the data behind a model.
DATA = ("curated_documents", "token_shards", "instruction_data", "curated_instructions", "preference_data")
DESCRIBED = ("curated_documents", "instruction_data", "curated_instructions", "preference_data")


def documents(subject: Subject) -> dict[str, bytes]:
    """File name -> content."""
    data = [asset for asset in DESCRIBED if asset in subject.manifests] if subject.is_model else [subject.asset]
    if "curated_instructions" in data:
        data.remove("instruction_data")
    found = {
        "DATA_CARD.md": with_despite(subject, cards.data_card(subject.manifests, subject.reasons)).encode(),
        "LICENCES.md": licences(subject).encode(),
        "bom.spdx3.json": as_json(bill_of_materials(subject, data)),
    }
    for asset in data:
        found[f"croissant-{asset}.json"] = as_json(croissant(subject, asset))
    time, _ = time_of(subject.told.date)
    events = [event for manifest in subject.manifests.values() for event in openlineage.events(manifest, time)]
    found[openlineage.FILE] = openlineage.lines(events).encode()
    if subject.is_model:
        text = cards.model_card(subject.asset, subject.manifests, subject.report)
        head = card.head_of(subject.manifests, subject.told.licence)
        found["MODEL_CARD.md"] = card.readme(with_despite(subject, text), head, subject.licences).encode()
        found["TRAINING_CONTENT.md"] = training_content(subject).encode()
    return dict(sorted(found.items()))


def with_despite(subject: Subject, text: str) -> str:
    """A card that says, under its title, what spoke against publishing it."""
    if not subject.despite:
        return text
    title, _, rest = text.partition("\n")
    reasons = "".join(f"- {reason}\n" for reason in subject.despite)
    return f"{title}\n\n> Published although this spoke against it (`--force`):\n\n{reasons}{rest}"


def licences(subject: Subject) -> str:
    """Every licence, what came under it, and what it asks for."""
    rows = [
        f"| {card.cell(one.source)} | {card.cell(one.licence)} | {card.cell(asks(one.licence))} |"
        for one in subject.licences
    ]
    own = subject.told.licence or "not stated"
    head = [
        f"# Licences of {subject.name}, version {subject.version}",
        f"Its own licence: {own}.",
        "What the sources state; nothing here can tell whether it is right, nor is it advice on the law.",
        "\n".join(["| source | licence as stated | what it asks of you |", "| --- | --- | --- |", *rows]),
    ]
    return with_despite(subject, "\n\n".join(head) + "\n")

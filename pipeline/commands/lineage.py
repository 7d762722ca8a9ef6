"""Lineage: what a model was trained on, and where a document was used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.commands import project, weakest_of
from pipeline.errors import UserError
from pipeline.printing import table


@click.group()
def lineage() -> None:
    """Trace a model to its documents, or a document to the models trained on it."""


@lineage.command("model")
@click.argument("name", default="pretrained_model")
@click.option(
    "--documents", type=click.Path(dir_okay=False), help="Write all documents, with tokens and steps, to this file."
)
def lineage_model(name: str, documents: str | None) -> None:
    """Show what a model was made of: sources, licences, and each artifact down to the raw documents."""
    from pipeline.inspect import lineage as provenance

    store = project().store
    model = provenance.find_model(store, name)
    made_of = provenance.ancestry(store, model)
    click.echo(table(provenance.sources_of(made_of)))
    click.echo()
    click.echo(
        table(
            {
                "asset": asset,
                "version": artifact.version,
                "code": artifact.manifest["made_of"]["code_version"],
                "contents": artifact.digest[:16],
                "fingerprint": artifact.manifest["fingerprint"],
            }
            for asset, artifact in made_of.items()
        )
    )
    if documents:
        count = provenance.write_documents(store, model, Path(documents))
        click.echo(f"\n{count:,} documents written to {documents}")


@lineage.command("document")
@click.argument("doc_id", required=False)
@click.option(
    "--text", type=click.Path(exists=True, dir_okay=False), help="Find the document with the text of this file."
)
@click.option("--grep", "pattern", help="Find documents whose text matches this regular expression.")
@click.option("--meta", help="Find documents whose `meta` matches it, such as those of the village that tell a fact.")
def lineage_document(doc_id: str | None, text: str | None, pattern: str | None, meta: str | None) -> None:
    """Show where a document came from, the decisions about it, and the models trained on it."""
    from pipeline.curation.stages import decision_assets
    from pipeline.inspect import lineage as provenance

    opened = project()
    store, stages = opened.store, decision_assets(opened.recipe.curation)
    for found_id in ids_of(store, doc_id, text, pattern, meta):
        for place in provenance.places(store, found_id):
            record = place.record
            click.secho(f"{found_id}  {record['source']}:{record['source_id']}", bold=True)
            click.echo(f"    licence {record['license'] or 'not stated'}; {record['url'] or 'no URL'}")
            for decision in provenance.decisions_about(store, place, stages):
                click.echo(f"    {_decision_line(decision)}")
        for shards, fragment, split, count in provenance.shards_with(store, found_id):
            click.echo(f"    in {shards.asset}/{shards.version}/{fragment}: {count:,} tokens for {split}")
        for line in provenance.seen_by(store, found_id):
            click.echo(f"    {line}")


def _decision_line(decision: dict[str, Any]) -> str:
    if decision["keep"] is None:
        return f"{decision['stage']}: not examined, removed by an earlier stage"
    score = "" if decision["score"] is None else f" ({decision['score']:.4g})"
    if not decision["keep"]:
        score += weakest_of(decision)
        kept = decision.get("kept_id")
        instead = f" in favour of {kept}, similarity {decision['jaccard']:.3f}" if kept else ""
        return f"{decision['stage']}: removed as {decision['reason']}{score}{instead}"
    edits = decision["edits"] or []
    labels = ", ".join(sorted({edit["label"] for edit in edits}))
    return f"{decision['stage']}: kept{score}" + (f", {len(edits)} edits ({labels})" if edits else "")


def ids_of(store: Any, doc_id: str | None, text: str | None, pattern: str | None, meta: str | None = None) -> list[str]:
    """Ids of the documents given on the command line, in one of four ways; at most 1,000 by a pattern."""
    from pipeline.inspect import lineage as provenance

    if sum(given is not None for given in (doc_id, text, pattern, meta)) != 1:
        raise UserError("Name documents in one way: DOC_ID, --text FILE, --grep PATTERN, or --meta PATTERN.")
    if text is not None:
        import polars as pl

        from pipeline.ingest.fragments import document_ids

        return document_ids(pl.Series([Path(text).read_text(encoding="utf-8")])).to_list()
    if pattern is not None:
        return matching(store, pattern, "text", 1000)
    if meta is not None:
        return matching(store, meta, "meta", 1000)
    assert doc_id is not None
    return [provenance.places(store, doc_id)[0].record["doc_id"]]


def matching(store: Any, pattern: str, column: str, limit: int | None = None) -> list[str]:
    """Ids of the raw documents whose text or `meta` matches; all of them without a limit."""
    from pipeline.inspect import lineage as provenance

    found: list[str] = provenance.grep(store, pattern, limit, column)["doc_id"].unique(maintain_order=True).to_list()
    if not found:
        raise UserError(f"No document matches `{pattern}`: change the pattern.")
    return found


@lineage.command("step")
@click.argument("step", type=int)
@click.option("--model", default="pretrained_model", show_default=True)
def lineage_step(step: int, model: str) -> None:
    """List the documents in the batch of a training step."""
    from pipeline.inspect import lineage as provenance

    store = project().store
    click.echo(table(provenance.documents_of_step(store, provenance.find_model(store, model), step)))


COMMANDS = (lineage,)

"""Lineage: what a model was trained on, where a document was used, and how to remove one."""

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
def lineage_document(doc_id: str | None, text: str | None, pattern: str | None) -> None:
    """Show where a document came from, the decisions about it, and the models trained on it."""
    from pipeline.curation.stages import decision_assets
    from pipeline.inspect import lineage as provenance

    opened = project()
    store, stages = opened.store, decision_assets(opened.recipe.curation)
    for found_id in _ids(store, doc_id, text, pattern):
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


def _ids(store: Any, doc_id: str | None, text: str | None, pattern: str | None) -> list[str]:
    """Ids of the documents given on the command line, in one of three ways."""
    from pipeline.inspect import lineage as provenance

    if sum(given is not None for given in (doc_id, text, pattern)) != 1:
        raise UserError("Name documents in one way: DOC_ID, --text FILE, or --grep PATTERN.")
    if text is not None:
        import polars as pl

        from pipeline.ingest.fragments import document_ids

        return document_ids(pl.Series([Path(text).read_text(encoding="utf-8")])).to_list()
    if pattern is not None:
        matching = provenance.grep(store, pattern)["doc_id"].unique(maintain_order=True).to_list()
        if not matching:
            raise UserError(f"No document matches `{pattern}`: change the pattern.")
        return matching
    assert doc_id is not None
    return [provenance.places(store, doc_id)[0].record["doc_id"]]


@lineage.command("step")
@click.argument("step", type=int)
@click.option("--model", default="pretrained_model", show_default=True)
def lineage_step(step: int, model: str) -> None:
    """List the documents in the batch of a training step."""
    from pipeline.inspect import lineage as provenance

    store = project().store
    click.echo(table(provenance.documents_of_step(store, provenance.find_model(store, model), step)))


@click.command()
@click.argument("doc_ids", nargs=-1)
@click.option("--grep", "pattern", help="Remove documents whose text matches this regular expression.")
@click.option("--reason", required=True, help="Why; stored in the removal list, so do not name people.")
@click.option("--make", "make_again", is_flag=True, help="Also make the affected artifacts again, up to token shards.")
def forget(doc_ids: tuple[str, ...], pattern: str | None, reason: str, make_again: bool) -> None:
    """Remove documents permanently: ingest skips them from now on, and artifacts with them are out of date."""
    from pipeline.ingest import forgetting
    from pipeline.inspect import lineage as provenance
    from pipeline.run import make_with_inputs

    opened = project()
    if not doc_ids and pattern is None:
        raise UserError("Name documents: DOC_ID ..., or --grep PATTERN.")
    ids = [_ids(opened.store, doc_id, None, None)[0] for doc_id in doc_ids]
    ids += _ids(opened.store, None, None, pattern) if pattern is not None else []
    affected = provenance.models_with(opened.store, set(ids))
    new = forgetting.forget(opened.store, ids, reason)
    click.echo(f"{len(new)} documents added to the removal list, {len(set(ids)) - len(new)} were already on it")
    for model, count in affected:
        click.echo(f"{model.asset}/{model.version} learned from {count} of them, until it is trained again")
    if make_again:
        make_with_inputs(opened, "token_shards")
    else:
        click.echo("to update the artifacts: dagster job execute -j tokenize_job (or slm forget --make)")


COMMANDS = (lineage, forget)

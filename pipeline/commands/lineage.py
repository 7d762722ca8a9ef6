"""Lineage: what taught a model, where a document went, and how to take one out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.commands import project
from pipeline.errors import UserError
from pipeline.printing import table


@click.group()
def lineage() -> None:
    """From a model down to its documents, and from a document up to its models."""


@lineage.command("model")
@click.argument("name", default="pretrained_model")
@click.option(
    "--documents", type=click.Path(dir_okay=False), help="Write every document with its tokens and steps here."
)
def lineage_model(name: str, documents: str | None) -> None:
    """What a model was made of: sources and licences, and each artifact down to the raw documents."""
    from pipeline.inspect import lineage as look

    store = project().store
    model = look.find_model(store, name)
    made_of = look.ancestry(store, model)
    click.echo(table(look.sources_of(made_of)))
    click.echo()
    click.echo(
        table(
            {
                "asset": asset,
                "version": found.version,
                "code": found.manifest["made_of"]["code_version"],
                "contents": found.digest[:16],
                "fingerprint": found.manifest["fingerprint"],
            }
            for asset, found in made_of.items()
        )
    )
    if documents:
        count = look.write_documents(store, model, Path(documents))
        click.echo(f"\n{count:,} documents written to {documents}")


@lineage.command("document")
@click.argument("doc_id", required=False)
@click.option("--text", type=click.Path(exists=True, dir_okay=False), help="The document with the text of this file.")
@click.option("--grep", "pattern", help="Documents whose text matches.")
def lineage_document(doc_id: str | None, text: str | None, pattern: str | None) -> None:
    """Where a document came from, what was decided about it, and which models saw it."""
    from pipeline.curation.stages import decision_assets
    from pipeline.inspect import lineage as look

    opened = project()
    store, stages = opened.store, decision_assets(opened.recipe.curation)
    for found in _ids(store, doc_id, text, pattern):
        for place in look.places(store, found):
            record = place.record
            click.secho(f"{found}  {record['source']}:{record['source_id']}", bold=True)
            click.echo(f"    licence {record['license'] or 'not stated'}; {record['url'] or 'no address'}")
            for decision in look.decisions_about(store, place, stages):
                click.echo(f"    {_decided(decision)}")
        for shards, fragment, split, count in look.shards_with(store, found):
            click.echo(f"    in {shards.asset}/{shards.version}/{fragment}: {count:,} tokens for {split}")
        for line in look.seen_by(store, found):
            click.echo(f"    {line}")


def _decided(decision: dict[str, Any]) -> str:
    if decision["keep"] is None:
        return f"{decision['stage']}: not looked at, removed before"
    score = "" if decision["score"] is None else f" ({decision['score']:.4g})"
    if not decision["keep"]:
        kept = decision.get("kept_id")
        instead = f" in favour of {kept}, similarity {decision['jaccard']:.3f}" if kept else ""
        return f"{decision['stage']}: removed as {decision['reason']}{score}{instead}"
    edits = decision["edits"] or []
    labels = ", ".join(sorted({edit["label"] for edit in edits}))
    return f"{decision['stage']}: kept{score}" + (f", {len(edits)} edits ({labels})" if edits else "")


def _ids(store: Any, doc_id: str | None, text: str | None, pattern: str | None) -> list[str]:
    """Ids of the documents that the command line names, in one of three ways."""
    from pipeline.inspect import lineage as look

    if sum(given is not None for given in (doc_id, text, pattern)) != 1:
        raise UserError("Name documents in one way: DOC_ID, --text FILE, or --grep PATTERN.")
    if text is not None:
        import polars as pl

        from pipeline.ingest.fragments import document_ids

        return document_ids(pl.Series([Path(text).read_text(encoding="utf-8")])).to_list()
    if pattern is not None:
        found = look.grep(store, pattern)["doc_id"].unique(maintain_order=True).to_list()
        if not found:
            raise UserError(f"No document matches `{pattern}`.")
        return found
    assert doc_id is not None
    return [look.places(store, doc_id)[0].record["doc_id"]]


@lineage.command("step")
@click.argument("step", type=int)
@click.option("--model", default="pretrained_model", show_default=True)
def lineage_step(step: int, model: str) -> None:
    """The documents in the batch of a training step, worked out again without training."""
    from pipeline.inspect import lineage as look

    store = project().store
    click.echo(table(look.documents_of_step(store, look.find_model(store, model), step)))


@click.command()
@click.argument("doc_ids", nargs=-1)
@click.option("--grep", "pattern", help="Documents whose text matches.")
@click.option("--reason", required=True, help="Why; kept in the list, so name no person.")
@click.option("--make", "again", is_flag=True, help="Make anew what must be, up to the token shards.")
def forget(doc_ids: tuple[str, ...], pattern: str | None, reason: str, again: bool) -> None:
    """Take documents out for good: ingest leaves them out from now on, and what held them is out of date."""
    from pipeline.ingest import forgetting
    from pipeline.inspect import lineage as look
    from pipeline.run import make_with_inputs

    opened = project()
    if not doc_ids and pattern is None:
        raise UserError("Name documents: DOC_ID ..., or --grep PATTERN.")
    ids = [_ids(opened.store, doc_id, None, None)[0] for doc_id in doc_ids]
    ids += _ids(opened.store, None, None, pattern) if pattern is not None else []
    tainted = look.models_with(opened.store, set(ids))
    new = forgetting.forget(opened.store, ids, reason)
    click.echo(f"{len(new)} documents put on the list, {len(set(ids)) - len(new)} were on it")
    for model, count in tainted:
        click.echo(f"{model.asset}/{model.version} learned from {count} of them, until it is trained again")
    if again:
        make_with_inputs(opened, "token_shards")
    else:
        click.echo("make what held them anew: dagster job execute -j tokenize_job (or slm forget --make)")


COMMANDS = (lineage, forget)

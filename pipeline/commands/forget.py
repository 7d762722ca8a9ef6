"""`slm forget`: documents that must not be used any more. It shows what it would remove before it removes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import forget_exact, in_commands, project
from pipeline.commands.lineage import ids_of, matching
from pipeline.errors import UserError
from pipeline.printing import table

if TYPE_CHECKING:
    from pipeline.graph import Project
    from pipeline.store.store import Store

SHOWN = 20  # documents of a preview
WIDTH = 160  # characters of a document in it


@click.command()
@click.argument("doc_ids", nargs=-1)
@click.option("--grep", "pattern", help="Documents whose text matches this regular expression.")
@click.option("--meta", help="Documents whose `meta` matches it, such as those of the village that tell a fact.")
@click.option("--url", help="Documents whose address matches this regular expression.")
@click.option("--source", help="All documents of this source, and their copies in others.")
@click.option(
    "--ids", "ids_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="File of ids, one a line."
)
@click.option("--reason", help="Why; stored in the removal list, so do not name people.")
@click.option(
    "--yes",
    is_flag=True,
    help="Remove what --grep, --meta, --url, --source or --ids found, which is only shown otherwise.",
)
@click.option("--make", "make_again", is_flag=True, help="Also make the affected artifacts again, up to token shards.")
@click.option(
    "--exact",
    is_flag=True,
    help="Leave their places in the trainings empty, so that a model has the bytes of one that never saw them; with"
    " --make, train the models again and write a signed record. DOC_IDS may then be conversations and pairs, too.",
)
@click.option(
    "--twins",
    type=click.Choice(["forget", "restore"]),
    help="With --exact: whether near-duplicates that were removed in favour of a document are forgotten, too, or come"
    " back, for which everything is made again.",
)
@click.option("--record", is_flag=True, help="Write the signed record of what the models in force have forgotten.")
@click.option(
    "--check",
    metavar="RECORD|MODEL",
    help="Train from nothing what was to be forgotten exactly, and compare the bytes.",
)
@click.option("--redo", is_flag=True, help="Have all that is forgotten exactly left out from the first artifact on.")
@click.option("--list", "listed", is_flag=True, help="Show the removal list.")
@click.option("--undo", is_flag=True, help="Take DOC_IDS, or all, off the list again, until the next run obeys it.")
def forget(doc_ids: tuple[str, ...], reason: str | None, yes: bool, **chosen: Any) -> None:
    """Remove documents permanently: ingest skips them from now on, and artifacts with them are out of date."""
    opened = project()
    make_again, exact, twins = (chosen.pop(name) for name in ("make_again", "exact", "twins"))
    actions = {name: chosen.pop(name) for name in ("check", "record", "redo", "listed", "undo")}
    if any(actions.values()):
        act(opened, actions, doc_ids, exact)
        return
    searched = any(value is not None for value in chosen.values())
    if not doc_ids and not searched:
        raise UserError(
            "Name documents: DOC_ID ..., --grep PATTERN, --meta PATTERN, --url PATTERN, --source NAME or --ids FILE."
        )
    ids = forget_exact.named(opened.store, doc_ids, exact) + found_by(opened.store, **chosen)
    if not yes and searched:
        preview(opened.store, list(dict.fromkeys(ids)), chosen["pattern"])
        return
    if not reason:
        raise UserError('Say why, for the removal list: `--reason "withdrawn by its author"`.')
    if exact and not forget_exact.put_on_list(opened, ids, reason, twins):
        exact = False  # twins come back
    if not exact:
        remove(opened, ids, reason, make_again)
    elif make_again:
        forget_exact.make(opened)
    else:
        click.echo("to obey it: `slm make MODEL` or its job, then `slm forget --record`; or `--make` for both")


def act(opened: Project, actions: dict[str, Any], doc_ids: tuple[str, ...], exact: bool) -> None:
    """What is asked for besides removing documents."""
    if actions["check"]:
        forget_exact.check(opened, actions["check"])
    elif actions["record"]:
        forget_exact.write_record(opened)
    elif actions["redo"]:
        forget_exact.redo(opened)
    elif actions["listed"]:
        show_list(opened.store)
    elif exact:
        forget_exact.take_back(opened.store, doc_ids)
    else:
        take_back(opened.store, doc_ids)


def found_by(
    store: Store,
    pattern: str | None,
    meta: str | None,
    url: str | None,
    source: str | None,
    ids_file: Path | None,
) -> list[str]:
    """Ids of the documents that the options name. Raises UserError where one of them names none."""
    from pipeline.inspect import lineage as provenance

    found = matching(store, pattern, "text") if pattern is not None else []
    found += matching(store, meta, "meta") if meta is not None else []
    found += matching(store, url, "url") if url is not None else []
    found += provenance.ids_of_source(store, source) if source is not None else []
    if ids_file is not None:
        try:
            lines = ids_file.read_text(encoding="utf-8").split()
        except UnicodeDecodeError as error:
            raise UserError(f"{ids_file} is not UTF-8 text: {error}.") from error
        missing = provenance.not_there(store, lines)
        if missing or not lines:
            first = f", the first is `{missing[0][:40]}`" if missing else ""
            raise UserError(
                f"{len(missing)} of the {len(lines)} ids in {ids_file} are of no document{first}: correct it."
            )
        found += lines
    return found


def preview(store: Store, ids: list[str], pattern: str | None) -> None:
    """Show the documents that would be removed, each with the passage that matches."""
    from pipeline.inspect import lineage as provenance
    from pipeline.inspect.excerpts import excerpt

    for doc_id in ids[:SHOWN]:
        for place in provenance.places(store, doc_id):
            text = place.record["text"]
            click.secho(f"{doc_id}  {place.record['source']}:{place.record['source_id']}", bold=True)
            pieces = excerpt(text, spans_of(pattern, text), WIDTH)
            shown = "".join(click.style(piece, reverse=True) if marked else piece for piece, marked in pieces)
            click.echo("    " + shown.replace("\n", " "))
    if len(ids) > SHOWN:
        click.echo(f"... and {len(ids) - SHOWN:,} more")
    for model, count in provenance.models_with(store, set(ids)):
        click.echo(f"{model.asset}/{model.version} learned from {count} of them")
    click.echo(f"{len(ids):,} documents would be removed; nothing is removed yet: add --yes to remove them")


def spans_of(pattern: str | None, text: str) -> list[tuple[int, int]]:
    """Where the pattern matches, as far as Python's expressions are those of the search."""
    try:
        return [match.span() for match in re.finditer(pattern, text) if match.end() > match.start()] if pattern else []
    except re.error:
        return []


def remove(opened: Project, ids: list[str], reason: str, make_again: bool) -> None:
    """Put the documents on the list, and say what follows."""
    from pipeline.ingest import forgetting
    from pipeline.inspect import lineage as provenance
    from pipeline.run import make_with_inputs

    affected = provenance.models_with(opened.store, set(ids))
    new = forgetting.forget(opened.store, ids, reason)
    click.echo(f"{len(new)} documents added to the removal list, {len(set(ids)) - len(new)} were already on it")
    for model, count in affected:
        click.echo(f"{model.asset}/{model.version} learned from {count} of them, until it is trained again")
    if make_again:
        make_with_inputs(opened, "token_shards")
    elif new:
        before, option = in_commands()
        click.echo(f"until the next run, `slm {option}forget --undo` takes them off the list again")
        click.echo(
            f"to update the artifacts: {before}dagster job execute -j tokenize_job (or slm {option}forget --make)"
        )


def show_list(store: Store) -> None:
    """The removal list, with whether a run has obeyed each entry."""
    from pipeline.ingest import forgetting

    waiting = {entry["doc_id"] for entry in forgetting.pending(store)}
    click.echo(
        table(
            {**entry, "state": "from the next run on" if entry["doc_id"] in waiting else "in effect"}
            for entry in forgetting.records(store)
        )
    )
    exactly = forgetting.records(store, forgetting.EXACT)
    if exactly:
        click.echo("\nforgotten exactly: their slots are empty in models that are made from now on")
        click.echo(table(exactly))


def take_back(store: Store, doc_ids: tuple[str, ...]) -> None:
    from pipeline.ingest import forgetting

    given = [ids_of(store, doc_id, None, None)[0] for doc_id in doc_ids] or None
    for doc_id in forgetting.undo(store, given):
        click.echo(f"{doc_id} is off the removal list")


COMMANDS = (forget,)

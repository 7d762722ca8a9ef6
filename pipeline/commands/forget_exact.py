"""`slm forget --exact`: what it says and asks. `pipeline/exact_forgetting.py` does the work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands import in_commands
from pipeline.commands.lineage import ids_of
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.graph import Project
    from pipeline.store.store import Store


def named(store: Store, doc_ids: tuple[str, ...], exact: bool) -> list[str]:
    """The ids that the command line names: of documents, and with `exact` of conversations and preference pairs."""
    from pipeline import exact_forgetting

    found = []
    for doc_id in doc_ids:
        others = exact_forgetting.ids_in_data(store, doc_id) if exact else []
        if len(others) > 1:
            raise UserError(f"{doc_id} begins the ids of {len(others)} conversations or pairs: give more of it.")
        found.append(others[0] if others else ids_of(store, doc_id, None, None)[0])
    return found


def put_on_list(opened: Project, ids: list[str], reason: str, twins: str | None) -> bool:
    """Put documents on the list of what is forgotten exactly; False if their twins are to come back instead.

    Raises UserError if there are twins, and neither the options nor a person at the terminal say what becomes of them.
    """
    from pipeline import exact_forgetting
    from pipeline.ingest import forgetting
    from pipeline.inspect import lineage as provenance

    ids = list(dict.fromkeys(ids))
    of_them = exact_forgetting.twins_of(opened.store, ids)
    if of_them and (twins or asked_about(of_them)) == "restore":
        click.echo(
            f"{len(of_them)} near-duplicates come back, which shifts all that is behind them: no training can begin in"
            " the middle, so everything behind the search for duplicates is made again, models from nothing"
        )
        return False
    new = forgetting.forget(opened.store, [*ids, *of_them], reason, forgetting.EXACT)
    among = f", {len(of_them)} near-duplicates of them among these" if of_them else ""
    click.echo(f"{len(new)} added to what is forgotten exactly{among}")
    for model, count in provenance.models_with(opened.store, set(ids)):
        click.echo(f"{model.asset}/{model.version} learned from {count} of them, until it is made again")
    kept = exact_forgetting.kept_in_force(opened)
    if kept:
        click.echo(
            f"in force as they were, although they may have learned from them: {', '.join(kept)} (`slm forget --redo`)"
        )
    click.echo("their text stays in the tables of the store: `slm forget --redo` removes it, too")
    return True


def asked_about(twins: list[str]) -> str:
    """What becomes of near-duplicates, as a person at the terminal says. Raises UserError if there is none."""
    shown = ", ".join(twin[:12] for twin in twins[:3]) + (" ..." if len(twins) > 3 else "")
    if not sys.stdin.isatty():
        raise UserError(
            f"{len(twins)} documents were removed as near-duplicates of these ({shown}): say `--twins forget`, and they"
            " stay away, or `--twins restore`, and they come back into the text."
        )
    click.echo(f"{len(twins)} documents were removed as near-duplicates of these ({shown})")
    answer: str = click.prompt("forget them, too, or restore them?", type=click.Choice(["forget", "restore"]))
    return answer


def make(opened: Project) -> None:
    """Train the models again, and write the record."""
    from pipeline import exact_forgetting

    told(exact_forgetting.make_again(opened))


def write_record(opened: Project) -> None:
    from pipeline import exact_forgetting

    told(exact_forgetting.write_record(opened))


def told(path: Path) -> None:
    from pipeline.forgetting import record as records

    click.echo(f"record: {path}, signed with the key {records.fingerprint(records.read(path))}")


def check(opened: Project, target: str) -> None:
    """Check a record, or a model."""
    from pipeline import exact_forgetting

    path = Path(target)
    if path.is_file():
        for line in exact_forgetting.check_record(opened, path):
            click.echo(line)
    else:
        click.echo(exact_forgetting.check_model(opened, target))


def redo(opened: Project) -> None:
    """Move the documents that are forgotten exactly to the list that ingest obeys."""
    from pipeline.ingest import forgetting
    from pipeline.inspect import lineage as provenance

    entries = forgetting.records(opened.store, forgetting.EXACT)
    elsewhere = set(provenance.not_there(opened.store, [entry["doc_id"] for entry in entries]))
    documents = [entry for entry in entries if entry["doc_id"] not in elsewhere]
    if not documents:
        raise UserError("No document is forgotten exactly, so there is nothing to make again (`slm forget --list`).")
    for reason in dict.fromkeys(entry["reason"] for entry in documents):
        forgetting.forget(opened.store, [entry["doc_id"] for entry in documents if entry["reason"] == reason], reason)
    forgetting.take_off(opened.store, [entry["doc_id"] for entry in documents])
    click.echo(
        f"{len(documents)} documents are left out when the sources are read next: tokenizer, filters, shards and models"
        f" are made again without them (`{in_commands()[0]}dagster job execute -j full_job`)"
    )


def take_back(store: Store, doc_ids: tuple[str, ...]) -> None:
    from pipeline.ingest import forgetting

    there = [entry["doc_id"] for entry in forgetting.records(store, forgetting.EXACT)]
    chosen = [one for begun in doc_ids for one in there if one.startswith(begun)] if doc_ids else None
    taken = forgetting.take_off(store, chosen)
    if not taken:
        raise UserError("Nothing of this is forgotten exactly (`slm forget --list`).")
    click.echo(f"{len(taken)} taken off what is forgotten exactly; the models before are in force after the next run")

"""Documents: look at them, at what was decided about them, and at their tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import project
from pipeline.errors import UserError
from pipeline.printing import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from pipeline.graph import Project
    from pipeline.store.artifact import Artifact


@click.command()
@click.option("--stage", default="curated_documents", show_default=True, help="Whose decisions to look at.")
@click.option("--reason", help="Only documents removed for this reason.")
@click.option("--source", help="Only documents of this source.")
@click.option("--kept", is_flag=True, help="Show what the stage kept, instead of what it removed.")
@click.option("--edited", is_flag=True, help="Show what the stage edits.")
@click.option("--limit", default=10, show_default=True, help="How many documents.")
@click.option("--width", default=300, show_default=True, help="How many characters of each.")
@click.option("--diff", "doc_id", metavar="DOC_ID", help="A removed copy beside the document kept in its place.")
def documents(
    stage: str,
    reason: str | None,
    source: str | None,
    kept: bool,
    edited: bool,
    limit: int,
    width: int,
    doc_id: str | None,
) -> None:
    """Look at documents and at what a stage decided about them."""
    from pipeline.curation.stages import stages_of
    from pipeline.documents import browse

    opened = project()
    stages = {stage.name: stage for stage in stages_of(opened.recipe.curation)}
    if doc_id:
        from pipeline.curation.duplicates.review import diff_of

        click.echo(diff_of(opened["raw_documents"], opened["duplicate_decisions"], doc_id))
        return
    raw = opened["raw_documents"]
    if stage in ("raw_documents", "curated_documents"):
        _show(browse.first_documents(opened[stage], source, limit), width)
        return
    if stage not in stages:
        raise UserError(f"`{stage}` is no stage: use one of {', '.join(stages)}.")
    artifact = opened[stage]
    if edited:
        _show(browse.edited_by(raw, artifact, source, limit), width)
    elif kept:
        _show(browse.kept_by(raw, artifact, source, limit), width)
    else:
        if reason and reason not in artifact.counts["removed"]:
            raise UserError(
                f"`{stage}` removed nothing as `{reason}`; its reasons: {', '.join(artifact.counts['removed'])}."
            )
        _show(browse.removed_by(raw, artifact, reason, source, limit), width, stages[stage].reasons)


def _show(rows: pl.DataFrame, width: int, reasons: Mapping[str, str] | None = None) -> None:
    """Print documents. reasons: what the reasons for which they were removed mean."""
    if not rows.height:
        click.echo("none")
    for row in rows.iter_rows(named=True):
        score = "" if row.get("score") is None else f"{row['score']:.4g}"
        head = f"{row['doc_id']}  {row['source']}:{row['source_id']}  {row.get('reason') or ''}  {score}"
        click.secho(head.rstrip(), bold=True)
        meaning = (reasons or {}).get(row.get("reason") or "")
        if meaning:
            click.echo(f"    removed: {meaning}")
        for edit in row.get("edits") or []:
            around = row["text"][max(0, edit["start"] - 40) : edit["start"]].replace("\n", " ")
            after = row["text"][edit["end"] : edit["end"] + 40].replace("\n", " ")
            click.echo(f"    {edit['label']}: {around}[{edit['replacement']}]{after}")
        click.echo("    " + row["text"][:width].replace("\n", "\n    "))


@click.command()
@click.argument("text")
@click.option("--limit", default=10, show_default=True, help="How many.")
def similar(text: str, limit: int) -> None:
    """List the kept documents nearest to TEXT, which is a file or the text itself."""
    from pipeline.curation.duplicates.similar import nearest

    path = Path(text)
    content = path.read_text(encoding="utf-8", errors="replace") if len(text) < 4096 and path.is_file() else text
    found = nearest(*_for_duplicates(project()), content, limit)
    click.echo(table(found.drop("text", strict=False).to_dicts()))


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def index(file: Path) -> None:
    """Write the kept documents as an index, for `curation.duplicates.indexes` of other recipes. It holds no text."""
    from pipeline.curation.duplicates.similar import write_index

    count = write_index(*_for_duplicates(project()), file)
    click.echo(f"{count:,} documents in {file}")


def _for_duplicates(opened: Project) -> tuple[Artifact, Artifact, Artifact, Any]:
    """What look-ups among duplicates read: raw documents, the stage before, the decisions, the settings."""
    from pipeline.curation.duplicates.near import STAGE

    before = opened.nodes[STAGE.name].inputs["previous"]
    return opened["raw_documents"], opened[before], opened[STAGE.name], opened.recipe.curation.of(STAGE)


@click.command()
@click.argument("text")
@click.option("--document", is_flag=True, help="TEXT is the id of a curated document.")
def tokens(text: str, document: bool) -> None:
    """Print the pieces that the tokenizer cuts TEXT (or a document) into."""
    from pipeline.tokens.tokenizer import load

    opened = project()
    tokenizer = load(opened["tokenizer"].local_directory())
    if document:
        from pipeline.documents import browse

        curated = opened["curated_documents"]
        fragment, row = browse.find(curated, text)[0]
        text = browse.document(curated, fragment, row)["text"]
    (ids,) = tokenizer.encode([text])
    pieces = [tokenizer.decode([token]) for token in ids.tolist()]
    click.echo("|".join(piece.replace("\n", "\\n") for piece in pieces))
    count = len(text.encode())
    click.echo(f"{len(ids):,} tokens, {count:,} bytes, {count / max(len(ids), 1):.2f} bytes a token")


@click.group(invoke_without_command=True)
@click.pass_context
def sources(context: click.Context) -> None:
    """The sources of the recipe: what is there now, and whether it has changed."""
    if context.invoked_subcommand is not None:
        return
    from pipeline.ingest.preview import listing

    opened = project()
    click.echo(
        table(
            {
                "source": seen.source.name,
                "kind": seen.source.kind,
                "lang": seen.source.lang or "",
                "license": seen.source.license or "",
                "documents": seen.documents,
                "state": seen.problem or ("changed or new" if seen.changed else "up to date"),
            }
            for seen in listing(opened.recipe.sources, opened.store, opened.log)
        )
    )


@sources.command("check")
@click.argument("names", nargs=-1)
@click.option("--most", default=1000, show_default=True, help="How many documents of each to read.")
def sources_check(names: tuple[str, ...], most: int) -> None:
    """Read a little of each source (or of NAMES): sizes, languages and sample documents, before anything runs."""
    from pipeline.ingest.preview import check, described

    opened = project()
    unknown = set(names) - {source.name for source in opened.recipe.sources}
    if unknown:
        raise UserError(f"No source of the recipe is called {', '.join(sorted(unknown))}.")
    for source in opened.recipe.sources:
        if not names or source.name in names:
            for line in described(check(source, opened.store, opened.log, most)):
                click.echo(line)


@sources.command("fetch")
@click.option("--force", is_flag=True, help="Fetch anew even what seems to be unchanged.")
def sources_fetch(force: bool) -> None:
    """Read all sources into raw documents, as the job does first."""
    from pipeline.context import RunContext
    from pipeline.ingest import raw_documents

    opened = project()
    context = RunContext(opened.store, opened.log, execution=opened.recipe.execution)
    raw_documents.make(context, {}, opened.recipe.sources, force)


@sources.command("catalogue")
def sources_catalogue() -> None:
    """What `from:` can name."""
    from pipeline.ingest.preview import entries

    click.echo(table({"name": name, "what it is": about, "size": size} for name, about, size in entries()))


@click.command()
def rules() -> None:
    """Print every rule by which a document can be left out, with its limit and its source (docs/guide/rules.md)."""
    from pipeline.inspect.rules_reference import page

    click.echo(page(), nl=False)


COMMANDS = (documents, similar, index, tokens, sources, rules)

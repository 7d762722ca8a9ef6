"""Documents: show them, the decisions about them, their tokens, and the sources they come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import project, weakest_of
from pipeline.errors import UserError
from pipeline.printing import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from pipeline.graph import Project
    from pipeline.store.artifact import Artifact


@click.command()
@click.option("--stage", default="curated_documents", show_default=True, help="The stage whose decisions to show.")
@click.option("--reason", help="Show only documents removed for this reason.")
@click.option("--source", help="Show only documents of this source.")
@click.option("--kept", is_flag=True, help="Show what the stage kept, instead of what it removed.")
@click.option("--edited", is_flag=True, help="Show what the stage edits.")
@click.option("--limit", default=10, show_default=True, help="Number of documents.")
@click.option("--width", default=300, show_default=True, help="Number of characters of each document.")
@click.option("--diff", "doc_id", metavar="DOC_ID", help="Compare a removed copy with the document kept in its place.")
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
    """Show documents and what a stage decided about them, with the figure and the limit that decided."""
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
        if reason or edited:
            asked = "--reason" if reason else "--edited"
            raise UserError(f"`{stage}` decides nothing: `{asked}` needs `--stage` with one of {', '.join(stages)}.")
        _show(browse.first_documents(opened[stage], source, limit), width)
        return
    if stage not in stages:
        raise UserError(f"`{stage}` is not a stage: use one of {', '.join(stages)}.")
    artifact = opened[stage]
    if edited:
        _show(browse.edited_by(raw, artifact, source, limit), width)
    elif kept:
        _show(browse.kept_by(raw, artifact, source, limit), width)
    else:
        if reason and reason not in artifact.counts["removed"]:
            raise UserError(
                f"`{stage}` removed nothing as `{reason}`: use one of {', '.join(artifact.counts['removed'])}."
            )
        from pipeline.inspect.margins import figures_of

        found = browse.removed_by(raw, artifact, reason, source, limit)
        figures = figures_of(stages[stage], opened.recipe.curation.of(stages[stage]), found)
        _show(found, width, stages[stage].reasons, figures)


def _show(
    rows: pl.DataFrame,
    width: int,
    reasons: Mapping[str, str] | None = None,
    figures: Mapping[str, str] | None = None,
) -> None:
    """Print documents. reasons: reason for removal -> meaning; figures: document -> its figure and the limit."""
    if not rows.height:
        click.echo("none")
    for row in rows.iter_rows(named=True):
        score = "" if row.get("score") is None else f"{row['score']:.4g}"
        head = f"{row['doc_id']}  {row['source']}:{row['source_id']}  {row.get('reason') or ''}  {score}"
        click.secho(head.rstrip(), bold=True)
        meaning = (reasons or {}).get(row.get("reason") or "")
        if meaning:
            figure = (figures or {}).get(row["doc_id"])
            click.echo(f"    removed: {meaning}{f': {figure}' if figure else ''}{weakest_of(row)}")
        for edit in row.get("edits") or []:
            before = row["text"][max(0, edit["start"] - 40) : edit["start"]].replace("\n", " ")
            after = row["text"][edit["end"] : edit["end"] + 40].replace("\n", " ")
            click.echo(f"    {edit['label']}: {before}[{edit['replacement']}]{after}")
        click.echo("    " + row["text"][:width].replace("\n", "\n    "))


@click.command()
@click.argument("text")
@click.option("--limit", default=10, show_default=True, help="Number of documents.")
def similar(text: str, limit: int) -> None:
    """List the kept documents most similar to TEXT, which is a file or the text itself."""
    from pipeline.curation.duplicates.similar import nearest
    from pipeline.tokens.encoding import without_surrogates

    path = Path(text)
    content = path.read_text(encoding="utf-8", errors="replace") if len(text) < 4096 and path.is_file() else text
    documents = nearest(*_for_duplicates(project()), without_surrogates(content), limit)
    click.echo(table(documents.drop("text", strict=False).to_dicts()))


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def index(file: Path) -> None:
    """Write an index of the kept documents, without text, for `curation.duplicates.indexes` of other recipes."""
    from pipeline.curation.duplicates.similar import write_index

    count = write_index(*_for_duplicates(project()), file)
    click.echo(f"{count:,} documents in {file}")


def _for_duplicates(opened: Project) -> tuple[Artifact, Artifact, Artifact, Any]:
    """(raw documents, decisions of the previous stage, duplicate decisions, settings) for look-ups of duplicates."""
    from pipeline.curation.duplicates.near import STAGE

    before = opened.nodes[STAGE.name].inputs["previous"]
    return opened["raw_documents"], opened[before], opened[STAGE.name], opened.recipe.curation.of(STAGE)


@click.command()
@click.argument("text")
@click.option("--document", is_flag=True, help="TEXT is the id of a curated document.")
def tokens(text: str, document: bool) -> None:
    """Print the tokens of TEXT (or of a document)."""
    from pipeline.tokens.encoding import without_surrogates
    from pipeline.tokens.tokenizer import load

    opened = project()
    tokenizer = load(opened["tokenizer"].local_directory())
    if document:
        from pipeline.documents import browse

        curated = opened["curated_documents"]
        fragment, row = browse.find(curated, text)[0]
        text = browse.document(curated, fragment, row)["text"]
    text = without_surrogates(text)
    (ids,) = tokenizer.encode([text])
    pieces = [tokenizer.decode([token]) for token in ids.tolist()]
    click.echo("|".join(piece.replace("\n", "\\n") for piece in pieces))
    count = len(text.encode())
    click.echo(f"{len(ids):,} tokens, {count:,} bytes, {count / max(len(ids), 1):.2f} bytes per token")


@click.group(invoke_without_command=True)
@click.pass_context
def sources(context: click.Context) -> None:
    """List the sources of the recipe, and whether they have changed."""
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
@click.option("--most", default=1000, show_default=True, help="Number of documents to read from each source.")
def sources_check(names: tuple[str, ...], most: int) -> None:
    """Preview each source (or NAMES): sizes, languages and sample documents."""
    from pipeline.curation.filters import language
    from pipeline.ingest.preview import check, described

    opened = project()
    unknown = set(names) - {source.name for source in opened.recipe.sources}
    if unknown:
        known = ", ".join(source.name for source in opened.recipe.sources)
        raise UserError(f"The recipe has no source called {', '.join(sorted(unknown))}: use one of {known}.")
    for source in opened.recipe.sources:
        if not names or source.name in names:
            for line in described(check(source, opened.store, opened.log, most, language.labels)):
                click.echo(line)


@sources.command("fetch")
@click.option("--force", is_flag=True, help="Fetch sources again even if they seem unchanged.")
def sources_fetch(force: bool) -> None:
    """Read all sources into raw documents, the first step of every job."""
    from pipeline.context import RunContext
    from pipeline.ingest import raw_documents

    opened = project()
    context = RunContext(opened.store, opened.log, execution=opened.recipe.execution)
    raw_documents.make(context, {}, opened.recipe.sources, force)


@sources.command("catalogue")
def sources_catalogue() -> None:
    """List the data sets that `from:` can name."""
    from pipeline.ingest.preview import entries

    click.echo(table({"name": name, "description": about, "size": size} for name, about, size in entries()))


@click.command()
def rules() -> None:
    """Print every rule that can remove a document, with its limit and its source (docs/guide/rules.md)."""
    from pipeline.inspect.rules_reference import page

    click.echo(page(), nl=False)


COMMANDS = (documents, similar, index, tokens, sources, rules)

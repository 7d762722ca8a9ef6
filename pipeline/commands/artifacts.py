"""Artifacts: make one, explain why it is out of date; the recipe and what it gave."""

from __future__ import annotations

from dataclasses import replace

import click

from pipeline.commands import complete_asset, project


@click.command()
def summary() -> None:
    """Show the results of the recipe: documents, tokens, models, figures, and where to find them."""
    from pipeline.curation.stages import decision_assets
    from pipeline.inspect.summary import summary as text

    opened = project()
    stages = decision_assets(opened.recipe.curation)
    recipe_file = click.get_current_context().find_root().obj
    recipe = opened.recipe
    generated = [source.name for source in recipe.sources if source.kind == "generated"]
    click.echo(text(opened.store, stages, recipe.evaluation.measures(), recipe_file, generated, recipe.sources))


@click.command()
@click.argument("asset", shell_complete=complete_asset)
@click.option("--yes", is_flag=True, help="Start pretraining however long it takes (`execution.max_hours`).")
def make(asset: str, yes: bool) -> None:
    """Make ASSET and everything it needs, without Dagster, skipping what is up to date."""
    from pipeline import quota
    from pipeline.run import make_with_inputs

    opened = project()
    quota.refuse_beyond(opened, [asset])
    if yes:
        anyhow = opened.recipe.execution.model_copy(update={"max_hours": 0.0})
        opened = replace(opened, recipe=opened.recipe.model_copy(update={"execution": anyhow}))
    make_with_inputs(opened, asset)


@click.command()
@click.argument("asset", shell_complete=complete_asset)
def why(asset: str) -> None:
    """Explain, key by key and file by file, why ASSET and each of its inputs is or is not up to date."""
    from pipeline.curation.stages import stages_of
    from pipeline.inspect import changes
    from pipeline.run import why as explained

    opened = project()
    blocks = changes.blocks_of({stage.name: stage.block for stage in stages_of(opened.recipe.curation)})
    sources = {source.name: source for source in opened.recipe.sources}
    for name, status in explained(opened, asset).items():
        state = "up to date" if not status.reasons else "may be out of date" if status.follows else "out of date"
        click.echo(f"{name}: {state}")
        for reason in status.reasons:
            for line in changes.in_words(
                reason, blocks.get(name, ""), lambda source: changes.of_source(sources[source], opened.store)
            ):
                click.echo(f"    {line}")
        for line in status.notes:
            click.echo(f"    {line}")


@click.command()
@click.option("--reference", is_flag=True, help="Print the reference page of all keys instead.")
def recipe(reference: bool) -> None:
    """Print the recipe with all defaults filled in."""
    import yaml

    from pipeline.inspect.reference import reference as page

    if reference:
        click.echo(page(), nl=False)
        return
    content = project().recipe.model_dump(mode="json", by_alias=True)
    click.echo(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), nl=False)


COMMANDS = (summary, make, why, recipe)

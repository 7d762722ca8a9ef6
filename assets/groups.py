"""All artifacts as assets, from the descriptions in the files of their groups."""

from dagster import AssetsDefinition

from assets import curation, evaluation, model, reports, sources, tokens
from assets.asset import AssetDescription, build
from pipeline.graph import RAW, nodes_of
from pipeline.recipe import Recipe


def described(recipe: Recipe) -> dict[str, AssetDescription]:
    """The description of each artifact of the recipe, by its name."""
    groups = (curation, tokens, model, evaluation)
    found = [description for group in groups for description in group.described(recipe)]
    return {description.name: description for description in (*found, reports.DESCRIBED)}


def assets_of(recipe: Recipe) -> list[AssetsDefinition]:
    """The assets of the recipe; raw documents depend on the nodes of their sources."""
    nodes = nodes_of(recipe)
    source_keys = [sources.key_of(source) for source in recipe.sources]
    return [
        build(description, nodes[name], recipe.name, source_keys if name == RAW else (), recipe.execution.device)
        for name, description in described(recipe).items()
        if name in nodes  # a recipe that starts from an imported model needs no text of its own
    ]

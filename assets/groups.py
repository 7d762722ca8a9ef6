"""All artifacts as assets: what each group of them says of its own, put together."""

from dagster import AssetsDefinition

from assets import curation, evaluation, model, sources, tokens
from assets.asset import Described, build
from pipeline.graph import RAW, nodes_of
from pipeline.recipe import Recipe


def described(recipe: Recipe) -> dict[str, Described]:
    """What a person reads about each artifact of the recipe, by its name."""
    return {of.name: of for group in (curation, tokens, model, evaluation) for of in group.described(recipe)}


def assets_of(recipe: Recipe) -> list[AssetsDefinition]:
    """The assets of the recipe; raw documents come after the nodes of their sources."""
    nodes = nodes_of(recipe)
    read = [sources.key_of(source) for source in recipe.sources]
    return [build(of, nodes[name], read if name == RAW else ()) for name, of in described(recipe).items()]

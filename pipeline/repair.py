"""Repairing the store: what is damaged is set aside and made again, together with what may have been made from it.

Three things are set aside. Versions with a file, or a manifest, that is not what was written. Pointers to the version
in force that name none. And versions that were made from a damaged one without a check of the bytes that they read
(`checked` in their manifests is false, or missing, as in those of older versions): whether they are right, nobody can
tell. Versions that did check have read what was written, so they stay.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.graph import Project
from pipeline.inspect import registry
from pipeline.store.artifact import Artifact
from pipeline.store.bytes_check import Damaged
from pipeline.store.reading import CURRENT

Place = tuple[str, str]  # asset, version


def repair(project: Project, make: bool = True) -> Iterator[str]:
    """Repair the recipe's store; yields what was found and done, one sentence each.

    make: make again what was in force.
    """
    store = project.store
    names = store.all_assets()
    before = {asset: in_force(project, asset) for asset in names}
    damaged: dict[Place, list[str]] = {
        (asset, version): sentences for asset in names for version, sentences in store.problems(asset).items()
    }
    suspect = unchecked_users(project, set(damaged))
    now = {asset: None if artifact is None else artifact.version for asset, artifact in before.items()}
    lost = {asset for asset, version in [*damaged, *suspect] if version == CURRENT or now[asset] in (None, version)}
    for asset, version in damaged:
        yield from damaged[asset, version]
        store.set_aside(asset, version)
        yield f"{asset}/{version} is set aside"
    for asset, version in suspect:
        store.set_aside(asset, version, suspect=True)
        yield f"{asset}/{version} was made from a damaged version without a check of its bytes, so it is set aside too"
    if not damaged:
        yield "nothing is damaged"
    if make:
        digests = {asset: None if artifact is None else artifact.digest for asset, artifact in before.items()}
        yield from make_again(project, lost, digests)


def in_force(project: Project, asset: str) -> Artifact | None:
    """The version in force; None if the store cannot say which it is, or it cannot be read."""
    try:
        return project.store.current(asset)
    except Damaged:
        return None


def unchecked_users(project: Project, damaged: set[Place]) -> list[Place]:
    """Versions made from one of `damaged` without a check of the bytes that they read."""
    store = project.store
    assets = {asset for asset, _ in damaged}

    def uses(artifact: Artifact) -> bool:
        # An input that is a mere digest may be of an artifact, such as a sample of which only a part matters.
        return any(
            name in assets if isinstance(given, str) else (given["asset"], given["version"]) in damaged
            for name, given in artifact.manifest["inputs"].items()
        )

    return [
        (asset, artifact.version)
        for asset in store.all_assets()
        for artifact in store.versions(asset)
        if (asset, artifact.version) not in damaged and not artifact.manifest.get("checked") and uses(artifact)
    ]


def make_again(project: Project, lost: set[str], digests: dict[str, str | None]) -> Iterator[str]:
    """Make what was lost, and whatever was made before from something that came out differently.

    digests: of what was in force before, by asset; None if unknown.
    """
    store = project.store
    changed = {asset for asset in lost if asset not in project.nodes}
    for name, node in project.nodes.items():
        parts = {asset for asset in changed if belongs_to(asset, name)}
        if not node.enabled or name not in digests or not (name in lost or parts or changed & {*node.inputs.values()}):
            continue
        made = project.make(name)
        if made.made:
            registry.record(project.recipe, store, made, project.log)
        if made.digest != digests[name]:
            changed.add(name)
        yield f"{name}/{made.version} is {'made again' if made.made else 'in force'}"


def belongs_to(asset: str, node: str) -> bool:
    """Whether an artifact that is no node, such as `tokenizer_sample`, is made on the way to this one."""
    return asset.rpartition("_")[0] == node.removesuffix("_model")

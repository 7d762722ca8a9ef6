"""Digests of the data artifacts of the demonstration as the end-to-end tests make it, up to the token shards.

`python -m tests.end_to_end.demonstration` records them anew, after a change that alters them and raised a VERSION.

They are the same on every machine with the pinned packages. One of the sources is the standard library, whose text
differs from one Python to the next, so there is a record for each.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from pathlib import Path

from pipeline.ingest.bundled import BundledSource

RECORD = Path(__file__).with_name("demonstration_digests.json")
LAST = "token_shards"


def standard_library() -> str:
    """The standard library that is installed here: Python's version, and a digest of its files."""
    source = BundledSource(name="library", kind="bundled", dataset="python-stdlib")
    return f"Python {platform.python_version()}, files {source.observe(Path())['digest'][:12]}"


def digests(data: Path) -> dict[str, dict[str, str]]:
    """Version and digest of every artifact up to the token shards in the store at `data`."""
    from pipeline.graph import nodes_of
    from pipeline.recipe import load
    from pipeline.run import inputs_in_order
    from pipeline.store.store import Store

    store = Store(data, "demo")
    recipe = load(data.parent / "recipes" / "demo.yaml")
    found = {name: store.require(name) for name in inputs_in_order(nodes_of(recipe), LAST)}
    return {name: {"version": artifact.version, "digest": artifact.digest} for name, artifact in found.items()}


def main() -> None:
    from tests.end_to_end.conftest import copied

    known = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    with tempfile.TemporaryDirectory() as place:
        copy = copied(Path(place) / "checkout")
        copy.run("python", "-m", "pipeline.cli", "make", LAST, SLM_TRACKING="off")
        # Records of other Pythons are out of date with this one.
        kept = {standard_library(): digests(copy.folder / "data")}
    dropped = [kind for kind in known if kind not in kept]
    RECORD.write_text(json.dumps(kept, indent=1) + "\n")
    print(f"recorded {RECORD.name}{f'; dropped {dropped}' if dropped else ''}", file=sys.stderr)


if __name__ == "__main__":
    main()

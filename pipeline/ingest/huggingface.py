"""Data sets of the Hugging Face hub: their files, streamed at a fixed commit.

Files are read over the network a block at a time, so a limit of 10,000 documents fetches a few MB of a data set of
many TB. What is read is always one commit, which the manifest names. The token comes from `HF_TOKEN`, the host from
`HF_ENDPOINT`, as everywhere with `huggingface_hub`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from typing import IO, Any, cast

import polars as pl

from pipeline.errors import UserError
from pipeline.ingest.files import WILD
from pipeline.ingest.formats import read_parts
from pipeline.ingest.open_files import Part
from pipeline.ingest.records import Reading, Unreachable
from pipeline.ingest.source import Source
from pipeline.store.artifact import digest

COMMIT = re.compile(r"[0-9a-f]{40}")
# Files are fetched in blocks, some of which are kept: the columns of a Parquet file lie apart and are read in turns.
BLOCK = 4 * 2**20
BLOCKS_KEPT = 16


def observe(source: Source, *_: Any) -> dict[str, Any]:
    """What is there now: a digest of the files' own hashes, and the commit; a full commit needs no network."""
    if source.revision and COMMIT.fullmatch(source.revision):
        return {
            "digest": digest([source.dataset, source.path, source.revision]),
            "revision": source.revision,
            "files": 0,
            "bytes": 0,
        }
    from huggingface_hub import HfApi

    assert source.dataset is not None
    with understandable(source):
        commit = HfApi(endpoint()).dataset_info(source.dataset, revision=source.revision).sha
        assert commit is not None
        files = listed(source, commit)
    return {
        "digest": digest([[file.path, file.lfs.sha256 if file.lfs else file.blob_id] for file in files]),
        "revision": commit,
        "files": len(files),
        "bytes": sum(file.size for file in files),
    }


def read(source: Source, observed: dict[str, Any], reading: Reading) -> Iterator[pl.DataFrame]:
    from huggingface_hub import HfFileSystem

    commit = observed["revision"]
    with understandable(source):
        files = listed(source, commit)
        hub = HfFileSystem(endpoint=endpoint(), skip_instance_cache=True)
        parts = []
        for file in files:
            address = f"datasets/{source.dataset}@{commit}/{file.path}"
            opened = partial(
                hub.open,
                address,
                "rb",
                block_size=BLOCK,
                cache_type="blockcache",
                cache_options={"maxblocks": BLOCKS_KEPT},
            )
            parts.append(Part(file.path, cast(Callable[[], IO[bytes]], opened), file.size))
        reading.log(
            f"reading {source.dataset} at {commit[:12]}: {len(files)} files, {sum(f.size for f in files) / 1e9:,.2f} GB"
        )
        yield from read_parts(parts, source, reading)


def endpoint() -> str | None:
    """The hub's address; asked for at each use, since the library reads it once, when it is imported."""
    return os.environ.get("HF_ENDPOINT") or None


def listed(source: Source, commit: str) -> list[Any]:
    """The data set's files that the source's globs match, in order of name; a UserError where none does."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    assert source.dataset is not None
    found: dict[str, Any] = {}
    for pattern in source.path:
        folder = fixed_folder(pattern)
        tree = HfApi(endpoint()).list_repo_tree(
            source.dataset, folder or None, recursive=True, revision=commit, repo_type="dataset"
        )
        matched = [entry for entry in tree if isinstance(entry, RepoFile) and matches(entry.path, pattern)]
        if not matched:
            raise UserError(
                f"Source `{source.name}`: no file of the data set {source.dataset} matches `{pattern}`: see its files "
                f"at https://huggingface.co/datasets/{source.dataset}/tree/main and mend `path`."
            )
        found |= {entry.path: entry for entry in matched}
    return [found[path] for path in sorted(found)]


def fixed_folder(pattern: str) -> str:
    """The folder above a pattern's first wild card: only what lies there has to be listed."""
    pieces = pattern.split("/")
    wild = next((i for i, piece in enumerate(pieces) if any(mark in piece for mark in WILD)), len(pieces) - 1)
    return "/".join(pieces[:wild])


def matches(path: str, pattern: str) -> bool:
    """Whether a path matches a glob in which `*` stays within a folder and `**` does not."""
    if "**" in pattern:
        return fnmatchcase(path, pattern.replace("**/", "*"))
    pieces, wanted = path.split("/"), pattern.split("/")
    return len(pieces) == len(wanted) and all(fnmatchcase(piece, glob) for piece, glob in zip(pieces, wanted))


@contextmanager
def understandable(source: Source) -> Iterator[None]:
    """What the hub's library raises as one sentence."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = f"Source `{source.name}`: the data set {source.dataset}"
    try:
        yield
    except GatedRepoError as error:
        raise UserError(
            f"{name} asks for agreement to its terms: agree at https://huggingface.co/datasets/{source.dataset} and "
            "set HF_TOKEN to a token of yours."
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{name} is not on the hub, or is private: correct `dataset`, or set HF_TOKEN to a token that may read it."
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(f"{name} has no revision `{source.revision}`: correct `revision`.") from error
    except EntryNotFoundError as error:
        raise UserError(f"{name} has no folder for `{', '.join(source.path)}`: mend `path`.") from error
    except HfHubHTTPError as error:
        raise Unreachable(f"{name} cannot be read now ({error}): run the same command again later.") from error
    except UserError:
        raise
    except Exception as error:
        if is_network(error):
            raise Unreachable(f"{name} cannot be reached ({error}): check the network and HF_ENDPOINT.") from error
        raise


def is_network(error: BaseException) -> bool:
    """Whether an error comes from the connection, whichever HTTP client the hub's library uses."""
    client = type(error).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "requests", "urllib3", "aiohttp")
    return client or isinstance(error, ConnectionError | TimeoutError)

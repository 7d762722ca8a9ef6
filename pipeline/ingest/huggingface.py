"""Data sets of the Hugging Face hub: their files, streamed at a fixed commit.

Files are read over the network a block at a time, so a limit of 10,000 documents fetches a few MB of a data set of
many TB. What is read is always one commit, which the manifest names. The token comes from `HF_TOKEN`, the host from
`HF_ENDPOINT`, as everywhere with `huggingface_hub`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, ClassVar, Literal, cast

from pydantic import Field

from pipeline.errors import UserError
from pipeline.ingest.formats import FilesOfRecords
from pipeline.ingest.globs import WILD
from pipeline.ingest.open_files import Part
from pipeline.ingest.records import Reading, Unreachable
from pipeline.ingest.source_kind import Log, Observed, Place, Texts
from pipeline.store.artifact import digest

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

COMMIT = re.compile(r"[0-9a-f]{40}")
# Files are fetched in blocks, some of which are kept: the columns of a Parquet file lie apart and are read in turns.
BLOCK = 4 * 2**20
BLOCKS_KEPT = 16


# The kind of every block that reads files of the hub.
HuggingFace = Annotated[Literal["huggingface"], Field(description="a data set of the Hugging Face hub")]


class OnTheHub(Place):
    """Files of a data set of the Hugging Face hub."""

    dataset: str = Field(description="owner/name", examples=["roneneldan/TinyStories"])
    path: Texts = Field(
        description="globs within the data set", examples=['"data/train-*.parquet", within the data set']
    )
    revision: str | None = Field(None, description="branch, tag or commit; default main")

    def observe(self, cache: Path, log: Log = print, force: bool = False) -> Observed:
        """What is there now: a digest of the files' own hashes, and the commit; a full commit needs no network."""
        if self.revision and COMMIT.fullmatch(self.revision):
            how = sorted({version for pattern in self.path for version in self.read_as(pattern)})
            return {
                "digest": digest([self.dataset, self.path, self.revision, *how]),
                "revision": self.revision,
                "files": 0,
                "bytes": 0,
            }
        from huggingface_hub import HfApi

        with self.understandable():
            commit = HfApi(endpoint()).dataset_info(self.dataset, revision=self.revision).sha
            assert commit is not None
            files = self.listed(commit)
        return {
            "digest": digest(
                [[file.path, file.lfs.sha256 if file.lfs else file.blob_id, *self.read_as(file.path)] for file in files]
            ),
            "revision": commit,
            "files": len(files),
            "bytes": sum(file.size for file in files),
        }

    @contextmanager
    def opened(self, observed: Observed, reading: Reading) -> Iterator[Iterable[Part]]:
        from huggingface_hub import HfFileSystem

        commit = observed["revision"]
        with self.understandable():
            files = self.listed(commit)
            hub = HfFileSystem(endpoint=endpoint(), skip_instance_cache=True)
            parts = []
            for file in files:
                opened = partial(
                    hub.open,
                    f"datasets/{self.dataset}@{commit}/{file.path}",
                    "rb",
                    block_size=BLOCK,
                    cache_type="blockcache",
                    cache_options={"maxblocks": BLOCKS_KEPT},
                )
                parts.append(Part(file.path, cast(Callable[[], IO[bytes]], opened), file.size))
            size = sum(file.size for file in files) / 1e9
            reading.log(f"reading {self.dataset} at {commit[:12]}: {len(files)} files, {size:,.2f} GB")
            yield parts

    def describe(self) -> str:
        return f"the data set `{self.dataset}` of Hugging Face"

    def listed(self, commit: str) -> list[RepoFile]:
        """The data set's files that the globs match, in order of name; a UserError where one matches none."""
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile

        found: dict[str, RepoFile] = {}
        for pattern in self.path:
            tree = HfApi(endpoint()).list_repo_tree(
                self.dataset, fixed_folder(pattern) or None, recursive=True, revision=commit, repo_type="dataset"
            )
            matched = [entry for entry in tree if isinstance(entry, RepoFile) and matches(entry.path, pattern)]
            if not matched:
                raise UserError(
                    f"{self.heading}: no file of the data set {self.dataset} matches `{pattern}`: see its files "
                    f"at https://huggingface.co/datasets/{self.dataset}/tree/main and fix `path`."
                )
            found |= {entry.path: entry for entry in matched}
        return [found[path] for path in sorted(found)]

    def understandable(self) -> AbstractContextManager[None]:
        """What the hub's library raises as one sentence."""
        return understandable(
            f"{self.heading}: the data set {self.dataset}",
            f"datasets/{self.dataset}",
            correct="correct `dataset`",
            revision=f"no revision `{self.revision}`: correct `revision`",
            entry=f"no folder for `{', '.join(self.path)}`: fix `path`",
        )


class HuggingFaceSource(FilesOfRecords, OnTheHub):
    """Files of a data set of the Hugging Face hub, streamed."""

    icon: ClassVar[str] = "huggingface"

    kind: HuggingFace = "huggingface"


@contextmanager
def understandable(name: str, page: str, *, correct: str, revision: str, entry: str) -> Iterator[None]:
    """What the hub's library raises as one sentence.

    name: how the sentence calls what is read. page: its path on the hub. correct, revision, entry: what a sentence says
    where there is no such repository, revision or file.
    """
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise UserError(
            f"{name} asks for agreement to its terms: agree at https://huggingface.co/{page} and "
            "set HF_TOKEN to a token of yours."
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{name} is not on the hub, or is private: {correct}, or set HF_TOKEN to a token that may read it."
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(f"{name} has {revision}.") from error
    except EntryNotFoundError as error:
        raise UserError(f"{name} has {entry}.") from error
    except HfHubHTTPError as error:
        raise Unreachable(f"{name} cannot be read now ({error}): run the same command again later.") from error
    except UserError:
        raise
    except Exception as error:
        if is_network(error):
            raise Unreachable(f"{name} cannot be reached ({error}): check the network and HF_ENDPOINT.") from error
        raise


def endpoint() -> str | None:
    """The hub's address; asked for at each use, since the library reads it once, when it is imported."""
    return os.environ.get("HF_ENDPOINT") or None


def fixed_folder(pattern: str) -> str:
    """The folder above a pattern's first wild card: only what lies there has to be listed."""
    pieces = pattern.split("/")
    wild = next((i for i, piece in enumerate(pieces) if WILD.search(piece)), len(pieces) - 1)
    return "/".join(pieces[:wild])


def matches(path: str, pattern: str) -> bool:
    """Whether a path matches a glob in which `*` stays within a folder and `**` does not."""
    if "**" in pattern:
        return fnmatchcase(path, pattern.replace("**/", "*"))
    pieces, wanted = path.split("/"), pattern.split("/")
    return len(pieces) == len(wanted) and all(fnmatchcase(piece, glob) for piece, glob in zip(pieces, wanted))


def is_network(error: BaseException) -> bool:
    """Whether an error comes from the connection, whichever HTTP client the hub's library uses."""
    client = type(error).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "requests", "urllib3", "aiohttp")
    return client or isinstance(error, ConnectionError | TimeoutError)

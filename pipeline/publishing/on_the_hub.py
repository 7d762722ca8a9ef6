"""A model's files to and from the Hugging Face hub, by its own library.

What has arrived is not sent or fetched again: files whose hash is there are left out, the bytes of large ones are kept
by the hub although a push broke off before its commit, and a file that was half fetched resumes where it stopped. The
token comes from `HF_TOKEN` (or `hf auth login`), the host from `HF_ENDPOINT`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.base_model.files import is_read
from pipeline.errors import UserError
from pipeline.ingest.huggingface import endpoint, is_network, understandable
from pipeline.ingest.records import Unreachable
from pipeline.publishing.contents import ALSO, Content

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

REFUSED = (401, 403)
AGAIN = "run the same command again; what has arrived is not sent again."


@dataclass(frozen=True)
class Push:
    """What a push will do."""

    name: str  # owner/name
    private: bool
    new: bool  # whether it has to be created
    changed: list[Content]
    same: list[Content]


# -- to the hub --------------------------------------------------------------------------------------------------------


def planned(name: str, contents: Sequence[Content], public: bool) -> Push:
    """What pushing these files would do. Raises UserError where the model is there and as public as was not asked for.

    Looks at the hub, and changes nothing there.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    with sending(name):
        try:
            about = HfApi(endpoint()).model_info(name)
        except RepositoryNotFoundError:
            return Push(name, not public, True, list(contents), [])
        private = bool(about.private)
        if private == public:
            now, wanted = ("private", "without `--public`") if private else ("public", "with `--public`")
            raise UserError(
                f"{name} is {now} on the hub: push {wanted}, or change it on the settings page of the model first."
            )
        there = files_of(name, about.sha)
    same = [one for one in contents if one.name in there and is_same(one, there[one.name])]
    return Push(name, private, False, [one for one in contents if one not in same], same)


def push(plan: Push, message: str) -> str:
    """Send the files in one commit; returns its id. The model is created, private unless the plan says otherwise."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint())
    operations = [
        CommitOperationAdd(one.name, one.source if isinstance(one.source, bytes) else str(one.source))
        for one in plan.changed
    ]
    with sending(plan.name):
        if plan.new:
            api.create_repo(plan.name, private=plan.private, repo_type="model", exist_ok=True)
        return str(api.create_commit(plan.name, operations, commit_message=message).oid)


@contextmanager
def sending(name: str) -> Iterator[None]:
    """What the hub's library raises as one sentence."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code in REFUSED:
            raise UserError(
                f"The hub does not let you write to {name}: set HF_TOKEN to a token that may write to"
                f" {name.partition('/')[0]} (https://huggingface.co/settings/tokens)."
            ) from error
        raise Unreachable(f"{name} was not pushed ({error}): {AGAIN}") from error
    except UserError:
        raise
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"The hub does not take the card of {name} ({reason}): give another `--licence`.") from error
    except Exception as error:
        if is_network(error) or isinstance(error, RuntimeError):  # of an upload that broke off
            raise Unreachable(f"{name} was not pushed ({error}): {AGAIN}") from error
        raise


# -- from the hub ------------------------------------------------------------------------------------------------------


def pull(name: str, revision: str | None, folder: Path, log: Callable[[str], None]) -> str:
    """Fetch what this project reads of a model into a folder, and compare it with the hub's hashes; returns the commit.

    Never fetches pickles, which can run code. Raises UserError where there is no such model or it has no safetensors,
    and Unreachable where the hub cannot be reached.
    """
    from huggingface_hub import HfApi, hf_hub_download

    with receiving(name, revision):
        commit = str(HfApi(endpoint()).model_info(name, revision=revision).sha)
        there = {path: file for path, file in files_of(name, commit).items() if is_fetched(path)}
        if "config.json" not in there or not any(path.endswith(".safetensors") for path in there):
            raise UserError(f"{name} has no config.json with safetensors beside it: it is no model that can be read.")
        for path, file in sorted(there.items()):
            place = Content(path, folder / path)
            if (folder / path).is_file() and is_same(place, file):
                continue
            (folder / path).unlink(missing_ok=True)  # of another commit, or changed; half a file lies elsewhere
            log(f"{path}, {file.size / 1e6:,.1f} MB")
            hf_hub_download(name, path, revision=commit, local_dir=folder, endpoint=endpoint())
            if not is_same(place, file):
                raise UserError(f"{folder / path} is not what {name} holds: delete it and run the same command again.")
    return commit


def is_fetched(path: str) -> bool:
    """Whether a file of a model is fetched: what is read, and what a push of this project adds."""
    return is_read(path) or path in ALSO or (path.startswith("origin/") and is_read(path.removeprefix("origin/")))


def receiving(name: str, revision: str | None) -> AbstractContextManager[None]:
    """What the hub's library raises as one sentence."""
    return understandable(
        f"The model {name}",
        name,
        correct="correct its name",
        revision=f"no revision `{revision}`: correct `--revision`",
        entry="lost a file while it was fetched: run the same command again",
    )


# -- both --------------------------------------------------------------------------------------------------------------


def files_of(name: str, commit: str | None) -> dict[str, RepoFile]:
    """The files of a model on the hub, by name."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    tree = HfApi(endpoint()).list_repo_tree(name, recursive=True, revision=commit, repo_type="model")
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def is_same(content: Content, file: RepoFile) -> bool:
    """Whether a file here has the bytes of one on the hub."""
    return content.size == file.size and content.is_there(file.lfs.sha256 if file.lfs else None, file.blob_id)

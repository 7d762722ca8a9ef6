"""The files of a downloaded model: which ones are read, what identifies them, and how they come here.

Weights are read from safetensors only: pickles can run code, and are never fetched.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pipeline.base_model.base_settings import Base
from pipeline.context import RunContext
from pipeline.errors import UserError
from pipeline.ingest.cache import cache_of, observed_or_remembered
from pipeline.ingest.huggingface import COMMIT, endpoint, understandable
from pipeline.store.artifact import digest, file_digest

TOKENIZERS = ("tokenizer.json", "tokenizer.model")
DOCUMENTS = re.compile(r"README\.md|(LICENSE|LICENCE|NOTICE|USE_POLICY)[\w.-]*", re.IGNORECASE)
READ = re.compile(
    r"config\.json|tokenizer\.json|tokenizer\.model|tokenizer_config\.json|special_tokens_map\.json|chat_template\.jinja"
    r"|model\.safetensors|model\.safetensors\.index\.json|model-\d+-of-\d+\.safetensors"
)
WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors")

Found = dict[str, Any]  # digest; of a model on the hub also its revision, a commit


def is_read(name: str) -> bool:
    """Whether a file at the top of a model's folder is read."""
    return bool(READ.fullmatch(name) or DOCUMENTS.fullmatch(name))


def find(context: RunContext, base: Base) -> Found:
    """What is there now: a digest of the files that are read. A full commit of the hub needs no network.

    Raises UserError where there is no such model, and Unreachable where the hub cannot be reached and was not before.
    """
    if base.path is not None:
        return {"digest": digest(local_digests(base))}
    place = cache_of(context.store) / "base_model"
    asked = {"hub": base.hub, "revision": base.revision}
    return observed_or_remembered(place, base.title, asked, lambda: on_the_hub(base), context.log)


def local_digests(base: Base) -> dict[str, str]:
    """The SHA-256 of each file that is read, by name."""
    folder = Path(str(base.path))
    if not folder.is_dir():
        raise UserError(f"{base.title} is not a folder: give the folder that holds the model's config.json.")
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and is_read(path.name))
    check_complete(base, names, [path.name for path in folder.iterdir()])
    return {name: file_digest(folder / name) for name in names}


def on_the_hub(base: Base) -> Found:
    """The commit and a digest of the files' own hashes."""
    if base.revision and COMMIT.fullmatch(base.revision):
        return {"digest": digest([base.hub, base.revision]), "revision": base.revision}
    from huggingface_hub import HfApi

    with explained(base):
        commit = HfApi(endpoint()).model_info(str(base.hub), revision=base.revision).sha
    assert commit is not None
    there = hashes(base, commit)
    read = {name: value for name, value in there.items() if is_read(name)}
    check_complete(base, list(read), list(there))
    return {"digest": digest(read), "revision": commit}


def hashes(base: Base, commit: str) -> dict[str, str]:
    """The hash of each file of a model on the hub, by name, in order; as the hub states it."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    with explained(base):
        tree = HfApi(endpoint()).list_repo_tree(str(base.hub), revision=commit, repo_type="model")
        files = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
    return {name: of.lfs.sha256 if of.lfs else of.blob_id for name, of in sorted(files.items())}


def explained(base: Base) -> AbstractContextManager[None]:
    """What the hub's library raises as one sentence."""
    return understandable(
        base.title,
        str(base.hub),
        correct="correct `base.hub`",
        revision=f"no revision `{base.revision}`: correct `base.revision`",
        entry="lost a file while it was read: run the same command again",
    )


def fetch(context: RunContext, base: Base, found: Found) -> Path:
    """A folder that holds the files: the one that the recipe names, or the download, which is resumed if it was cut."""
    if base.path is not None:
        return Path(base.path)
    from huggingface_hub import hf_hub_download

    commit = found["revision"]
    folder = cache_of(context.store) / f"base_model-{str(base.hub).replace('/', '--')}-{commit[:12]}"
    there = hashes(base, commit)
    names = [name for name in there if is_read(name)]
    check_complete(base, names, list(there))
    for name in names:
        context.log(f"{base.title} at {commit[:12]}: fetching {name}")
        with explained(base):
            hf_hub_download(str(base.hub), name, revision=commit, local_dir=folder, endpoint=endpoint())
    return folder


def check_complete(base: Base, names: list[str], there: list[str]) -> None:
    """Raises UserError that names what a model's folder lacks. names: the files that are read; there: all files."""
    if "config.json" not in names:
        raise UserError(f"{base.title} has no config.json: it is no model in Hugging Face's layout.")
    if not any(WEIGHTS.fullmatch(name) for name in names):
        pickled = any(name.endswith((".bin", ".pt", ".pth")) for name in there)
        why = "its weights are pickled, which can run code, and are not read" if pickled else "it has no weights"
        raise UserError(f"{base.title}: {why}; give one with model.safetensors, or convert it with `save_pretrained`.")
    if not any(name in names for name in TOKENIZERS):
        raise UserError(
            f"{base.title} has neither {' nor '.join(TOKENIZERS)}: save its tokenizer with transformers'"
            " `AutoTokenizer.from_pretrained(...).save_pretrained(...)` into the same folder."
        )

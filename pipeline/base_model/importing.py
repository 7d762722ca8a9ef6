"""`base_model`: a downloaded model, checked and put in this project's form, in the place of a pretrained model.

The network's weights stay as they are, in their number format. Its tokenizer stays, too, with its own ids and special
tokens; only the two markers of a conversation are added where they are missing, and a row of the embedding for each.
The model's README and licence stay beside it (`origin/`), also in the models that are made from it.

    model.safetensors, config.json     the network
    tokenizer.json, ...                its tokenizer, and what this project needs to know about it
    origin/README.md, origin/LICENSE   as they came
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from model import conversation
from pipeline.base_model import files
from pipeline.base_model.base_settings import Base
from pipeline.context import Inputs, RunContext
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact, file_digest
from pipeline.store.draft import Draft
from pipeline.store.tables import write_whole
from pipeline.tokens import existing
from pipeline.tokens.hugging_face import puts_space_before
from pipeline.tokens.token_settings import TokenizerSettings
from pipeline.tokens.tokenizer import ABOUT, HUGGING_FACE, SENTENCEPIECE
from pipeline.tokens.training import CONFIG
from pipeline.training.model_artifact import special_ids
from pipeline.training.model_facts import ROW_TOKENS, ModelFacts

if TYPE_CHECKING:
    from model.transformer import Transformer

VERSION = "2"  # 2: tokenizer_config.json says whether a space is put before a text
ASSET = "base_model"
ORIGIN = "origin"  # folder of the files that came with the model
# Many models are made for tens of thousands of tokens, which few conversations have and few devices hold in training.
LONGEST_ROW = 2_048
# Names of special tokens by their role, as transformers writes them.
ROLES = {"<bos>": "bos_token", "<eos>": "eos_token", "<pad>": "pad_token", "<unk>": "unk_token"}


def make(context: RunContext, inputs: Inputs, settings: Base) -> Artifact:
    """The model that the recipe starts from. inputs: none.

    Raises UserError, with a sentence, for files that are missing or damaged, for an architecture that the network does
    not have, and for a tokenizer that cannot be used; Unreachable if the hub is needed and cannot be reached.
    """
    found = files.find(context, settings)
    return context.store.make(
        ASSET,
        code_version=VERSION,
        settings={"hub": settings.hub, "license": settings.license},
        inputs={"files": found["digest"]},
        build=lambda draft: build(context, draft, settings, found),
        log=context.log,
    )


def build(context: RunContext, draft: Draft, base: Base, found: files.Found) -> None:
    """Write the artifact's files and its facts."""
    from model import export

    folder = files.fetch(context, base, found)
    network = load_network(base, folder)
    about = write_tokenizer(draft, base, folder, network.config.vocab_size)
    network_size = network.config.vocab_size
    network = export.with_vocabulary(network, max(network_size, about["vocab_size"]))
    export.save(network, draft.directory, special_ids(draft.path(ABOUT), "<eos>"))
    read = sorted(path.name for path in folder.iterdir() if path.is_file() and files.is_read(path.name))
    for name in read:
        if files.DOCUMENTS.fullmatch(name):
            write_whole(draft.path(f"{ORIGIN}/{name}"), (folder / name).read_bytes())
    added = network.config.vocab_size - network_size
    license = base.license or stated_license(folder)
    facts = ModelFacts(
        parameters=network.parameters_count(),
        steps=0,
        tokens=0,
        batch_tokens=0,
        learning_rate=0.0,
        epochs=0.0,
        details={
            "origin": f"{base.hub} of the Hugging Face hub" if base.hub else "a folder of this machine",
            "revision": found.get("revision"),
            "license": license or "not stated",
            "layout": export.layout(network.config),
            "model": network.config.model_dump(mode="json"),
            "added_tokens": added,
            ROW_TOKENS: min(network.config.context, LONGEST_ROW),
            "origin_files": {name: file_digest(folder / name) for name in read},
            # Additions (LoRA) to a network that is as it came can be loaded onto it by its name.
            "hub_name": base.hub if not added else None,
        },
    )
    draft.facts.update(facts.for_manifest())
    context.log(
        f"{base.title}: {facts.parameters / 1e6:,.1f} M parameters, {network.config.vocab_size:,} tokens, licence"
        f" {license or 'not stated: set `base.license` to what its page says'}"
        + (f"; {added} rows added to its embedding, for the markers of a conversation" if added else "")
    )


def load_network(base: Base, folder: Path) -> Transformer:
    """The network. Raises UserError for one that cannot be loaded."""
    from model import export

    try:
        network = export.load(folder)
    except KeyError as error:
        raise UserError(f"{base.title}: its config.json has no {error}: download the model again.") from error
    except ValueError as error:
        raise UserError(f"{base.title} cannot be used: {' '.join(str(error).split())}") from error
    return network


# -- the tokenizer -----------------------------------------------------------------------------------------------------


def write_tokenizer(draft: Draft, base: Base, folder: Path, network_size: int) -> dict[str, Any]:
    """Write the tokenizer's files; returns the content of ABOUT.

    network_size: rows of the network's embedding, which may be more than the tokenizer has tokens.
    """
    config = json_of(folder / "tokenizer_config.json")
    path = next(folder / name for name in (HUGGING_FACE, SENTENCEPIECE) if (folder / name).exists())
    names = special_names(base, folder, path, config)
    try:
        written, about = existing.files_of(TokenizerSettings(kind="existing", path=str(path), vocab_size=0), names)
    except UserError as error:
        raise UserError(f"{base.title}: {str(error).replace('`tokenizer.path`: ', '')}") from error
    largest = max(about["special_tokens"].values())
    if about["vocab_size"] > network_size + len((conversation.START, conversation.END)):
        raise UserError(
            f"{base.title}: its tokenizer has {about['vocab_size']:,} tokens and its network {network_size:,}: they do"
            " not belong together; give the folder of one model."
        )
    about |= {"vocab_size": max(network_size, largest + 1, about["vocab_size"]), "document_start": "<bos>"}
    for name, content in written.items():
        write_whole(draft.path(name), content)
    write_whole(draft.path(ABOUT), json.dumps(about, ensure_ascii=False, indent=1, sort_keys=True) + "\n")
    space_before = puts_space_before(json.loads(draft.path(HUGGING_FACE).read_text(encoding="utf-8")))
    write_whole(draft.path(CONFIG), tokenizer_config(names, config, space_before))
    return about


def special_names(base: Base, folder: Path, path: Path, config: dict[str, Any]) -> dict[str, str]:
    """What the tokenizer calls our special tokens.

    The end of a document is the model's own `eos_token`, unless that is the end of a chat turn. `<bos>` starts a
    document: the model's `bos_token` if its tokenizer puts it before a text, else the end of the document before.
    """
    given = {**json_of(folder / "special_tokens_map.json"), **config}
    own = {ours: content_of(given.get(theirs)) for ours, theirs in ROLES.items()}
    vocabulary = vocabulary_of(base, path)
    ids = json_of(folder / "config.json")
    for ours, key in (("<bos>", "bos_token_id"), ("<eos>", "eos_token_id")):
        number = ids.get(key)
        number = number[0] if isinstance(number, list) and number else number
        own[ours] = own[ours] or next((name for name, i in vocabulary.items() if i == number), None)
    if own["<eos>"] in (None, conversation.END):
        known = (name for name in existing.OTHER_NAMES["<eos>"] if name in vocabulary)
        own["<eos>"] = next(known, own["<eos>"])
    end = own["<eos>"]
    if end is None or end not in vocabulary:
        raise UserError(
            f"{base.title}: its tokenizer names no token that ends a text: set `eos_token` in tokenizer_config.json."
        )
    first = own["<bos>"] if own["<bos>"] in vocabulary and starts_texts(path, own["<bos>"], config) else end
    return {"<eos>": end, "<bos>": str(first)} | {
        name: str(own[name]) if own[name] in vocabulary else end for name in ("<pad>", "<unk>")
    }


def vocabulary_of(base: Base, path: Path) -> dict[str, int]:
    """Every token of the tokenizer with its id. Raises UserError for a file that cannot be read."""
    unreadable = f"{base.title}: its {path.name} cannot be read"
    if path.name == HUGGING_FACE:
        from tokenizers import Tokenizer

        try:
            return dict(Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True))
        except Exception as error:  # the library raises nothing more specific
            raise UserError(f"{unreadable} ({error}): download the model again.") from error
    from sentencepiece import SentencePieceProcessor

    try:
        model = SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise UserError(f"{unreadable} as a SentencePiece model: download the model again.") from error
    return {model.id_to_piece(i): i for i in range(model.vocab_size())}


def starts_texts(path: Path, bos: str | None, config: dict[str, Any]) -> bool:
    """Whether the tokenizer puts `bos` before every text."""
    if bos is None:
        return False
    if "add_bos_token" in config:
        return bool(config["add_bos_token"])
    if path.name != HUGGING_FACE:
        return True  # as Llama's SentencePiece tokenizer does
    from tokenizers import Tokenizer

    return bos in Tokenizer.from_file(str(path)).encode("a").tokens[:1]


def content_of(token: Any) -> str | None:
    """A special token as text; transformers writes it as text or as a mapping."""
    return token.get("content") if isinstance(token, dict) else token


def tokenizer_config(names: dict[str, str], config: dict[str, Any], space_before: bool) -> str:
    """`tokenizer_config.json` with the model's own special tokens, and the form of a conversation that is trained here.

    The chat template that came with the model is not kept: the models made here are taught ChatML.
    """
    own = {theirs: names[ours] for ours, theirs in ROLES.items()}
    content = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": bool(config.get("clean_up_tokenization_spaces", False)),
        "add_prefix_space": space_before,
        **own,
        "additional_special_tokens": [conversation.START, conversation.END],
        "chat_template": conversation.TEMPLATE,
    }
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


# -- what came with it -------------------------------------------------------------------------------------------------


def stated_license(folder: Path) -> str | None:
    """The licence in the head of README.md, as the hub reads it (`license`; `license_name` where it is `other`)."""
    path = folder / "README.md"
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    if not text.startswith("---"):
        return None
    try:
        head = yaml.safe_load(text.split("---", 2)[1])
    except yaml.YAMLError:
        return None
    if not isinstance(head, dict) or not head.get("license"):
        return None
    license = head["license"]
    if license == "other":
        license = head.get("license_name", license)
    return ", ".join(map(str, license)) if isinstance(license, list) else str(license)


def json_of(path: Path) -> dict[str, Any]:
    """The content of a JSON file; empty if there is none or it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}

"""The asset `tokenizer`: trained on a sample of the curated documents, or read from a file.

The artifact holds the native model, the same tokenizer in Hugging Face's format with a chat template, and a report.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.context import Inputs, RunContext
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact, digest, file_digest
from pipeline.store.draft import Draft
from pipeline.store.store import differences
from pipeline.store.tables import write_whole
from pipeline.tokens import byte_pair, existing, hugging_face, report, sampling, sentencepiece_model
from pipeline.tokens.byte_pair import BytePairEngine
from pipeline.tokens.sampling import Sample
from pipeline.tokens.sentencepiece_model import SentencePieceEngine
from pipeline.tokens.token_settings import TokenizerSettings
from pipeline.tokens.tokenizer import ABOUT, HUGGING_FACE, SENTENCEPIECE, TIKTOKEN, load

ASSET = "tokenizer"
VERSION = "4"  # 4: tokenizer_config.json says whether a space is put before a text
REPORT, PICTURE, CONFIG = "report.json", "vocabulary.png", "tokenizer_config.json"


def make(context: RunContext, inputs: Inputs, settings: TokenizerSettings) -> Artifact:
    """The tokenizer of the recipe. inputs: curated_documents.

    A frozen tokenizer stays the same once it was made. Any other stays up to date while no document of its sample
    changes: it is made from `tokenizer_sample` alone.
    """
    curated = inputs["curated_documents"]
    outside: dict[str, Artifact | str] = {"file": _digest_of(settings)} if settings.kind == "existing" else {}
    # Neither the path of the file nor `frozen` changes what is made.
    identity = settings.model_dump(mode="json", exclude={"frozen", "path"})
    current = context.store.current(ASSET)
    if settings.frozen and current is not None:
        return _kept(context, current, {**outside, "curated_documents": curated.digest}, identity)
    sampled = sampling.make(context, curated, settings)
    return context.store.make(
        ASSET,
        code_version=VERSION,
        settings=identity,
        inputs={sampling.ASSET: sampled.identity, **outside},
        build=lambda draft: _build(draft, sampled, settings, identity),
        log=context.log,
    )


def _kept(
    context: RunContext, current: Artifact, given: dict[str, Artifact | str], identity: dict[str, Any]
) -> Artifact:
    """The tokenizer in force; logs what has changed since. given: the inputs that it would be made from now."""
    store = context.store
    sample = store.current(sampling.ASSET)
    recorded = dict(current.manifest["made_of"])
    recorded["inputs"] = {name: given for name, given in recorded["inputs"].items() if name != sampling.ASSET}
    if sample is not None:  # the curated documents that it was made from
        recorded["inputs"] |= sample.manifest["made_of"]["inputs"]
    changed = differences(recorded, {**recorded, "code_version": VERSION, "settings": identity, "inputs": given})
    if store.explanations is not None:
        store.explanations[ASSET] = []
    if changed:
        context.log(f"{ASSET}: kept ({current.version}), since `tokenizer.frozen` is true, though {'; '.join(changed)}")
    else:
        context.log(f"{ASSET}: up to date ({current.version}), and frozen")
    return current


def _digest_of(settings: TokenizerSettings) -> str:
    path = existing.file_of(settings)
    try:
        return file_digest(path)
    except OSError as error:
        raise UserError(f"`tokenizer.path`: {path} cannot be read: {error.strerror}.") from error


def _build(draft: Draft, sampled: Sample, settings: TokenizerSettings, identity: dict[str, Any]) -> None:
    if settings.kind == "existing":
        files, about = existing.files_of(settings)
        for name, content in files.items():
            write_whole(draft.path(name), content)
    else:
        about = train(draft, sampled, settings, identity)
    write_whole(draft.path(ABOUT), json.dumps(about, ensure_ascii=False, indent=1, sort_keys=True) + "\n")
    write_whole(draft.path(CONFIG), _config(draft, about["special_tokens"]))
    tokenizer = load(draft.path(ABOUT).parent)
    documents = sampled.report_documents()
    measured = report.measure(tokenizer, documents, sampled.held_back, draft.path(HUGGING_FACE).read_text())
    write_whole(draft.path(REPORT), json.dumps(measured, ensure_ascii=False, indent=1) + "\n")
    write_whole(draft.path(PICTURE), report.plot(tokenizer, documents))
    draft.facts |= {"vocab_size": about["vocab_size"], "report": measured}


def _config(draft: Draft, specials: dict[str, int]) -> str:
    written = json.loads(draft.path(HUGGING_FACE).read_text(encoding="utf-8"))
    return hugging_face.tokenizer_config(specials, hugging_face.puts_space_before(written))


def train(draft: Draft, sampled: Sample, settings: TokenizerSettings, identity: dict[str, Any]) -> dict[str, Any]:
    """Write the files of a tokenizer trained on the sample; returns the content of ABOUT.

    The files are remembered by the training documents: if only documents of the report change, nothing is trained.
    """
    documents = sampled.trained_on()
    draft.facts["sample"] = sample_facts(documents)
    specials = {name: i for i, name in enumerate(settings.special_tokens)}
    sentencepiece = settings.kind == "sentencepiece"
    pattern = None if sentencepiece else byte_pair.pattern_of(settings)

    @cache
    def trained() -> tuple[SentencePieceEngine | BytePairEngine, bytes]:
        texts = sampled.texts()
        if settings.normalisation == "nfc":
            texts = map(_composed, texts)
        if pattern is None:
            model = sentencepiece_model.train(texts, settings)
            return SentencePieceEngine(model, lossless=True), model
        tokens = byte_pair.train(texts, settings)
        engine = BytePairEngine({token: len(specials) + i for i, token in enumerate(tokens)}, specials, pattern)
        return engine, byte_pair.to_tiktoken(tokens, first_id=len(specials))

    def write_model(path: Path) -> dict[str, Any]:
        write_whole(path, trained()[1])
        return {}

    def write_hugging_face(path: Path) -> dict[str, Any]:
        write_whole(path, hugging_face.tokenizer_json(trained()[0], specials, settings.normalisation))
        return {}

    key = {"version": VERSION, "settings": identity, "sample": sampled.artifact.only(sampling.TRAINED_ON).digest}
    draft.file(SENTENCEPIECE if sentencepiece else TIKTOKEN, key, write_model)
    draft.file(HUGGING_FACE, key, write_hugging_face)
    native = (
        {"native": "sentencepiece", "lossless": True, "algorithm": settings.algorithm}
        if sentencepiece
        else {"native": "tiktoken", "pattern": pattern}
    )
    return {
        "kind": settings.kind,
        "normalisation": settings.normalisation,
        "vocab_size": settings.vocab_size,
        "special_tokens": specials,
        **native,
    }


def sample_facts(documents: pl.DataFrame) -> dict[str, Any]:
    """The training text: bytes in total, and documents and bytes by source and language, copies included."""
    bytes_of_copies = pl.col("bytes") * pl.col("copies")
    groups = documents.group_by("source", "lang").agg(pl.len().alias("documents"), bytes_of_copies.sum().alias("bytes"))
    return {"bytes": int(groups["bytes"].sum()), "groups": groups.sort("source", "lang").to_dicts()}


def _composed(text: str) -> str:
    import unicodedata

    return unicodedata.normalize("NFC", text)


def encoding_digest(tokenizer: Artifact) -> str:
    """Digest of what token ids depend on: the native model and its description, not the report."""
    files = tokenizer.manifest["files"]
    native = json.loads(tokenizer.file(ABOUT).read_text())["native"]
    model = {"sentencepiece": SENTENCEPIECE, "tiktoken": TIKTOKEN, "hugging_face": HUGGING_FACE}[native]
    return digest({name: files[name]["sha256"] for name in (ABOUT, model)})


def copy_files(tokenizer: Artifact, directory: Path) -> None:
    """Copy the files needed to encode text and to chat to a model's directory."""
    for name in (ABOUT, CONFIG, HUGGING_FACE, SENTENCEPIECE, TIKTOKEN):
        if name in tokenizer.manifest["files"]:
            write_whole(directory / name, tokenizer.file(name).read_bytes())

"""Small artifacts to train on: a tokenizer of bytes, conversations, pairs, a network."""

from __future__ import annotations

import json

import polars as pl
import pytest
import torch

from model import export
from model.config import ModelConfig
from model.transformer import Transformer
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.store.tables import write_table
from pipeline.tokens.byte_pair import PATTERN, to_tiktoken
from pipeline.tokens.token_settings import SPECIALS
from tests.making import context

SHAPE = ModelConfig(layers=2, width=32, heads=4, kv_heads=2, context=64)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("SLM_TRACKING", "off")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store", "test")


def put(store: Store, asset: str, build) -> Artifact:
    return store.make(asset, code_version="1", settings={}, inputs={}, build=build, log=lambda line: None)


@pytest.fixture
def tokenizer(store) -> Artifact:
    """One token a byte, after the special ones."""

    def build(draft: Draft) -> None:
        tokens = [bytes([value]) for value in range(256)]
        about = {
            "kind": "bpe", "native": "tiktoken", "normalisation": "none", "vocab_size": len(SPECIALS) + 256,
            "special_tokens": {name: i for i, name in enumerate(SPECIALS)}, "pattern": PATTERN.replace("DIGITS", "3"),
        }  # fmt: skip
        draft.path("tokenizer.tiktoken").write_bytes(to_tiktoken(tokens, first_id=len(SPECIALS)))
        draft.path("tokenizer_about.json").write_text(json.dumps(about))

    return put(store, "tokenizer", build)


@pytest.fixture
def base(store, tokenizer) -> Artifact:
    """An untrained network with its tokenizer, as pretraining leaves it."""

    def build(draft: Draft) -> None:
        torch.manual_seed(0)
        export.save(Transformer(SHAPE.model_copy(update={"vocab_size": 262})), draft.directory)
        for name in tokenizer.manifest["files"]:
            draft.path(name).write_bytes(tokenizer.file(name).read_bytes())

    return put(store, "pretrained_model", build)


WORDS = ("the cat sat on a mat", "a dog ran to the sea", "고양이가 잠을 잔다", "def f(x): return x + 1")


@pytest.fixture
def shards(store, tokenizer) -> Artifact:
    """Token shards of short made texts in two sources, a tenth of them for validation."""
    import xxhash

    from pipeline.tokens import shards as token_shards
    from pipeline.tokens.token_settings import ShardSettings

    def build(draft: Draft) -> None:
        for source, first in (("tales", 0), ("code", 2)):
            texts = [
                f"{n}. " + ". ".join(WORDS[first + (n + i * i) % 2] + f" {n * i}" for i in range(8)) for n in range(60)
            ]
            frame = pl.DataFrame(
                {"text": texts, "source": source, "source_id": [str(n) for n in range(60)], "lang": "en"}
            )
            ids = [xxhash.xxh3_128_hexdigest(text.encode()) for text in texts]
            frame = frame.with_columns(doc_id=pl.Series(ids)).sort("doc_id")
            draft.table(f"{source}-0", {"made": 1}, lambda frame=frame: frame)

    curated = put(store, "curated_documents", build)
    inputs = {"curated_documents": curated, "tokenizer": tokenizer}
    return token_shards.make(context(store), inputs, ShardSettings(validation=0.1))


def conversation(number: int) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": f"say {number % 7}"},
        {"role": "assistant", "content": "yes " * (1 + number % 3)},
    ]


@pytest.fixture
def instructions(store) -> Artifact:
    def build(draft: Draft) -> None:
        for split, numbers in (("train", range(40)), ("held_back", range(40, 48))):
            rows = [{"id": str(n), "messages": conversation(n), "source": "made"} for n in numbers]
            write_table(pl.DataFrame(rows), draft.path(f"{split}.parquet"))

    return put(store, "instruction_data", build)


@pytest.fixture
def preferences(store) -> Artifact:
    def build(draft: Draft) -> None:
        for split, numbers in (("train", range(24)), ("held_back", range(24, 32))):
            rows = [
                {
                    "id": str(n), "prompt": conversation(n)[:1], "source": "made",
                    "chosen": "good", "rejected": "good" if n == 3 else "bad",
                }
                for n in numbers
            ]  # fmt: skip
            write_table(pl.DataFrame(rows), draft.path(f"{split}.parquet"))

    return put(store, "preference_data", build)

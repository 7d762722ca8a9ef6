"""A tiny network with fixed random weights, a tokenizer that makes a token of each byte, and a store with a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from model import export
from model.conversation import encode_conversations
from pipeline.evaluation import report
from pipeline.evaluation.evaluation_settings import EvaluationSettings
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from pipeline.store.tables import write_table
from pipeline.tokens import shards as token_shards
from pipeline.tokens import training as tokenizer_asset
from pipeline.tokens.token_settings import ShardSettings, TokenizerSettings
from pipeline.tokens.tokenizer import load
from pipeline.training.model_facts import ModelFacts
from tests.making import context

SPECIALS = {"<pad>": 0, "<unk>": 1, "<bos>": 2, "<eos>": 3, "<|im_start|>": 4, "<|im_end|>": 5}


class Bytes:
    """The Tokenizer's interface: id = byte + 6."""

    ids = SPECIALS
    vocab_size = 262
    document_start = 3

    def encode(self, texts):
        return [np.frombuffer(text.encode(), np.uint8).astype(np.int64) + 6 for text in texts]

    def decode(self, ids):
        return bytes(i - 6 for i in map(int, ids) if i >= 6).decode(errors="replace")

    def shown(self, ids):
        return bytes(i - 6 for i in map(int, ids) if i >= 6).decode(errors="ignore")

    def encode_chat(self, messages, answer_next=False):
        return self.encode_chats([messages], answer_next)[0]

    def encode_chats(self, conversations, answer_next=False):
        return encode_conversations(conversations, self.encode, self.ids, answer_next)


@pytest.fixture(scope="session")
def tokenizer():
    return Bytes()


@pytest.fixture(scope="session")
def network():
    return new_network()


@pytest.fixture(scope="session")
def make_network():
    return new_network


def new_network(context: int = 64, seed: int = 0):
    import torch

    from model.config import ModelConfig
    from model.transformer import Transformer

    torch.manual_seed(seed)
    config = ModelConfig(layers=2, width=32, heads=2, kv_heads=1, context=context, vocab_size=262)
    return Transformer(config).eval()


# -- a store -----------------------------------------------------------------------------------------------------------

SENTENCES = ("the quick brown fox jumps over a lazy dog", "빠른 갈색 여우가 게으른 개를 뛰어넘는다", "다시 또")
WORDS = " ".join(SENTENCES).split(" ")
SETTINGS = EvaluationSettings(
    validation_tokens=1_000, answers=4, answer_tokens=6, preferences=4, prompts=("the", "빠른")
)


def silent(message: str) -> None:
    pass


@dataclass(frozen=True)
class Made:
    """A store with shards, conversations, preferences and two models, as small as they can be."""

    store: Store
    inputs: dict[str, Artifact]
    second_model: Artifact
    settings: EvaluationSettings = SETTINGS

    def report(self, asset, *roles, settings=SETTINGS, store=None, log=silent, progress=None, **given) -> Artifact:
        """The report on the first model, made of the text, of `roles`, and of the inputs in `given`."""
        chosen = {role: self.inputs[role] for role in ("model", "token_shards", *roles)} | given
        return report.make(context(store or self.store, log=log, progress=progress), chosen, settings, asset=asset)


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch):
    monkeypatch.setenv("SLM_TRACKING", "off")


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("data"), "test")
    documents = pl.DataFrame(
        {
            "doc_id": [f"{i * 2654435761 % 2**32:08x}" * 4 for i in range(60)],
            "text": [" ".join(WORDS[(i * j) % len(WORDS)] for j in range(1, 40)) for i in range(60)],
            "source": ["s"] * 60,
            "source_id": [str(i) for i in range(60)],
            "lang": ["ko" if i % 2 else "en" for i in range(60)],
        }
    )

    def artifact(asset, build):
        return store.make(asset, code_version="1", settings={}, inputs={}, build=build, log=silent)

    def curate(draft):
        write_table(documents, draft.path("s-0.parquet"))
        draft.record("s-0", {}, rows=60, facts={"source": "s"})

    inputs = {"curated_documents": artifact("curated_documents", curate)}
    tokenizer = tokenizer_asset.make(context(store), inputs, TokenizerSettings(kind="bpe", vocab_size=300))
    shards = token_shards.make(context(store), inputs | {"tokenizer": tokenizer}, ShardSettings(validation=0.3))
    ask = [{"role": "user", "content": "the quick?"}]
    reply = {"role": "assistant", "content": "brown fox"}
    rows = [
        {"id": f"{i:032x}", "messages": [*ask, reply], "source": "s", "lang": "en" if i % 2 else "ko"} for i in range(6)
    ]
    pairs = [
        {"id": f"{i:032x}", "prompt": ask, "chosen": "fox", "rejected": "dog", "source": "s", "lang": "en"}
        for i in range(3)
    ]
    instructions = artifact("instruction_data", lambda d: write_table(pl.DataFrame(rows), d.path("held_back.parquet")))
    preferences = artifact("preference_data", lambda d: write_table(pl.DataFrame(pairs), d.path("held_back.parquet")))
    vocabulary = load(tokenizer.directory).vocab_size

    def model(seed):
        def build(draft):
            import torch

            from model.config import ModelConfig
            from model.transformer import Transformer

            torch.manual_seed(seed)
            network = Transformer(
                ModelConfig(layers=1, width=32, heads=2, kv_heads=1, context=64, vocab_size=vocabulary)
            )
            export.save(network, draft.directory)
            for name in tokenizer.manifest["files"]:
                if not name.endswith(".parquet"):
                    draft.path(name).write_bytes(tokenizer.file(name).read_bytes())
            facts = ModelFacts(
                parameters=1, steps=10, tokens=1000, batch_tokens=100, learning_rate=0.1, epochs=5,
                details={"tokens_of_a_pass": 200},
            )  # fmt: skip
            draft.facts = facts.for_manifest()

        return store.make(f"model_{seed}", code_version="1", settings={}, inputs={}, build=build, log=silent)

    parts = {
        "model": model(1), "token_shards": shards, "instruction_data": instructions, "preference_data": preferences,
        "curated_documents": inputs["curated_documents"],
    }  # fmt: skip
    return Made(store, parts, model(2))

"""One form of prompt: all that puts a conversation to a model makes the same ids of it, those of training.

Each is run, and what reaches the network is compared: rows of fine-tuning, pairs of preference tuning, the
prompts of samples, of the measures of evaluation, of the terminal and of the server, and Hugging Face's template.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest
import torch

from model import export
from model.batch import Batch
from model.config import ModelConfig
from model.serve import server
from model.serve import text as serving
from model.serve.chat import chat
from model.transformer import Transformer
from pipeline.evaluation.measures import answers, preferences
from pipeline.store.store import Store
from pipeline.store.tables import write_table
from pipeline.tokens import training as tokenizer_asset
from pipeline.training.data.pairs import encode_pairs
from pipeline.training.objectives import fine_tuning, tuning
from pipeline.training.training_settings import SftSettings

SYSTEM, QUESTION, ANSWER, WORSE = "짧게 답한다.", "# 하나\n더하기 def f(x)?", "  # 네, 둘\n", "아니요"
TALK = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": QUESTION},
    {"role": "assistant", "content": ANSWER},
]


@dataclass
class TinyModel:
    directory: Any  # of a model
    tokenizer: Any
    network: Transformer
    prompt: list[int]  # of TALK, up to the assistant's turn
    whole: list[int]  # up to the end of the answer


@pytest.fixture(scope="module")
def tiny(kind, artifacts, tokenizers, tmp_path_factory) -> TinyModel:
    directory = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    tokenizer = tokenizers[kind]
    network = Transformer(ModelConfig(layers=1, width=16, heads=2, context=128, vocab_size=tokenizer.vocab_size))
    export.save(network, directory)
    tokenizer_asset.copy_files(artifacts[kind], directory)
    whole, learned = tokenizer.encode_chat(TALK)
    end = int(learned.nonzero()[0][-1]) + 1
    prompt = tokenizer.encode_chat(TALK[:-1], answer_next=True)[0]
    assert whole[0] == tokenizer.ids["<|im_start|>"] and whole[: len(prompt)].tolist() == prompt.tolist()
    return TinyModel(directory, tokenizer, network, prompt.tolist(), whole[:end].tolist())


@pytest.fixture
def prompts(monkeypatch) -> list[list[int]]:
    """What reaches generation, from wherever it is called."""
    import model.generate

    seen: list[list[int]] = []
    generate = model.generate.generate

    def listening(network, tokens, max_new=128, *given, **named):
        seen.append(list(tokens))
        return generate(network, tokens, 2, *given, **named)

    monkeypatch.setattr(model.generate, "generate", listening)
    monkeypatch.setattr(serving, "generate", listening)
    add = Batch.add
    monkeypatch.setattr(Batch, "add", lambda self, tokens, texts: seen.append(list(tokens)) or add(self, tokens, texts))
    return seen


def test_fine_tuning_starts_a_row_with_the_conversation_alone(tiny, tmp_path):
    def build(draft):
        write_table(pl.DataFrame({"messages": [TALK]}), draft.path("train.parquet"))

    store = Store(tmp_path, "test")
    given = store.make("instruction_data", code_version="1", settings={}, inputs={}, build=build, log=lambda line: None)
    packed = fine_tuning.packed_conversations(given, "train", tiny.tokenizer, 128)
    inside = packed.documents[0] == 0
    assert packed.tokens[0][inside].tolist() == tiny.whole, "then a line break, which is only predicted"
    learned = packed.targets[0] != -100
    assert packed.targets[0][learned].tolist() == tiny.whole[len(tiny.prompt) :]
    assert int(learned.nonzero()[0][0]) == len(tiny.prompt) - 1


def test_preference_tuning(tiny):
    rows = pl.DataFrame([{"prompt": TALK[:-1], "chosen": ANSWER, "rejected": WORSE}])
    (pair,) = encode_pairs(rows, tiny.tokenizer, 128).pairs
    assert pair.chosen.tolist() == tiny.whole and pair.start == len(tiny.prompt)
    assert pair.rejected[: pair.start].tolist() == tiny.prompt


def test_the_samples_of_training(tiny, prompts):
    tuning.answer_sampler(tiny.tokenizer, SftSettings(sample_prompts=(QUESTION,)))(tiny.network)
    assert prompts == [tiny.tokenizer.encode_chat(TALK[1:2], answer_next=True)[0].tolist()]


def test_the_answers_of_an_evaluation(tiny, prompts):
    questions = pl.DataFrame([{"messages": TALK, "source": "s", "lang": "ko"}])
    answers.answer(tiny.network, tiny.tokenizer, questions, 2, lambda done: None)
    assert prompts == [tiny.prompt]


def test_the_preferences_of_an_evaluation(tiny, monkeypatch):
    seen: dict[str, Any] = {}

    def listening(model, rows, first, *given):
        seen.update(rows=[row.tolist() for row in rows], first=first)
        return scored(model, rows, first, *given)

    scored = preferences.nll_of_rows
    monkeypatch.setattr(preferences, "nll_of_rows", listening)
    pairs = pl.DataFrame([{"prompt": TALK[:-1], "chosen": ANSWER, "rejected": WORSE}])
    preferences.preference_accuracy(tiny.network, tiny.tokenizer, pairs, 512, torch.device("cpu"))
    assert seen["rows"][0] == tiny.whole and seen["first"] == [len(tiny.prompt)] * 2


def test_the_terminal(tiny, prompts):
    lines = iter([QUESTION, "/exit"])
    options = serving.ReplyOptions()
    chat(tiny.directory, options, system=SYSTEM, read=lambda _: next(lines), out=io.StringIO())
    assert prompts == [tiny.prompt]


def test_the_server(tiny, prompts):
    from fastapi.testclient import TestClient

    client = TestClient(server.application({"tiny": serving.open_directory(tiny.directory)}))
    reply = client.post("/v1/chat/completions", json={"messages": TALK[:-1]})
    assert reply.status_code == 200 and reply.json()["usage"]["prompt_tokens"] == len(tiny.prompt)
    assert prompts == [tiny.prompt]


def test_the_template_as_transformers_renders_it(tiny):
    transformers = pytest.importorskip("transformers")
    peer = transformers.AutoTokenizer.from_pretrained(tiny.directory)
    prompt = peer.apply_chat_template(TALK[:-1], add_generation_prompt=True, return_dict=False)
    assert prompt == tiny.prompt
    whole = peer.apply_chat_template(TALK, return_dict=True, return_assistant_tokens_mask=True)
    assert whole["input_ids"][: len(tiny.whole)] == tiny.whole
    marked = [i for i, of_assistant in enumerate(whole["assistant_masks"]) if of_assistant]
    assert marked == list(range(len(tiny.prompt), len(tiny.whole)))

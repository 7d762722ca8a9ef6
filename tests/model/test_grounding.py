"""Answers from documents: passages in the prompt, sources and citations in the response, or nothing at all."""

from __future__ import annotations

import pytest
import torch
from fastapi.testclient import TestClient

from model.config import IGNORED, ModelConfig
from model.serve import grounding, server
from model.serve.grounding import NOT_THERE, Found, Passage, citations, grounded, language_of, sentences, with_passages
from model.serve.text import TextModel
from model.transformer import Transformer
from tests.model.test_serve import events, tokenizer_json

CHAT = "/v1/chat/completions"
TEXT = "The market is on Mondays. Boram sells apples there."
QUESTION = "When is the market?"
ANSWER = "The market is on Mondays."
PASSAGES = (
    Passage("a1", "notes", "market.txt", None, 100, 100 + len(TEXT), TEXT, 3.5),
    Passage("b2", "notes", "harbour.txt", "https://example.org/h", 0, 26, "The harbour is to the north", 1.25),
)


@pytest.fixture(scope="module")
def taught() -> TextModel:
    """A model that has learned to answer QUESTION with the passages before it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = Transformer(ModelConfig(layers=1, width=32, heads=2, kv_heads=2, context=512, vocab_size=270))
    model = TextModel(network, tokenizer_json("byte fallback"))
    asked = with_passages([{"role": "user", "content": QUESTION}], [passage.text for passage in PASSAGES])
    prompt, said = model.chat_ids(asked), [*model.encode(ANSWER), model.special["<|im_end|>"]]
    row = torch.tensor([[*prompt, *said]])
    targets = torch.tensor([[IGNORED] * (len(prompt) - 1) + said])
    optimiser = torch.optim.AdamW(network.parameters(), 1e-2)
    for _ in range(40):
        total, count = network.loss(row[:, :-1], targets)
        (total / count).backward()
        optimiser.step()
        optimiser.zero_grad()
    return model


def look(question: str, most: int) -> Found:
    known = "market" in question
    return Found(PASSAGES[:most] if known else PASSAGES[1:2], 0.9 if known else 0.2, 0.5)


@pytest.fixture
def client(taught) -> TestClient:
    return TestClient(server.application({"tiny": taught}, look=look), raise_server_exceptions=False)


def ask(question: str = QUESTION, **more):
    return {
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": 60,
        "rag": True,
        **more,
    }


def test_an_answer_comes_with_its_sources_and_what_each_sentence_is_taken_from(client):
    body = client.post(CHAT, json=ask()).json()
    (choice,) = body["choices"]
    assert choice["message"]["content"] == ANSWER and body["certainty"] == 0.9
    assert [source["name"] for source in body["sources"]] == ["market.txt", "harbour.txt"]
    assert body["sources"][0] == {
        "number": 1, "document": "a1", "source": "notes", "name": "market.txt", "url": None, "start": 100,
        "end": 100 + len(TEXT), "text": TEXT, "score": 3.5,
    }  # fmt: skip
    (cited,) = choice["citations"]
    assert cited == {
        "start": 0, "end": len(ANSWER), "source": 1, "document": "a1", "document_start": 100,
        "document_end": 100 + len(ANSWER), "share": 1.0,
    }  # fmt: skip


def test_a_stream_begins_with_the_sources_and_ends_with_the_citations(client):
    whole = client.post(CHAT, json=ask()).json()
    parts = events(client.post(CHAT, json=ask(stream=True)))
    assert parts[0]["sources"] == whole["sources"] and all("sources" not in part for part in parts[1:])
    assert "".join(part["choices"][0]["delta"].get("content", "") for part in parts) == ANSWER
    assert parts[-1]["choices"][0]["citations"] == whole["choices"][0]["citations"]
    assert all("citations" not in part["choices"][0] for part in parts[:-1])


@pytest.mark.parametrize(("question", "language"), [("Who painted it?", "en"), ("누가 그렸나요?", "ko")])
def test_what_the_documents_do_not_hold_is_said_and_not_made_up(client, question, language):
    for stream in (False, True):
        response = client.post(CHAT, json=ask(question, n=2, stream=stream))
        if stream:
            parts = events(response)
            said = [part["choices"][0]["delta"].get("content", "") for part in parts]
            assert [text for text in said if text] == [NOT_THERE[language]] * 2
            assert parts[0]["sources"] == [] and parts[0]["certainty"] == 0.2
        else:
            body = response.json()
            assert [one["message"]["content"] for one in body["choices"]] == [NOT_THERE[language]] * 2
            assert body["sources"] == [] and body["usage"]["completion_tokens"] == 0
    answered = client.post(CHAT, json=ask(question, rag={"threshold": 0.1, "passages": 1})).json()
    assert len(answered["sources"]) == 1, "the request's own threshold"


def test_without_rag_nothing_changes_and_without_documents_it_is_refused(client, taught):
    assert "sources" not in client.post(CHAT, json=ask(rag=False)).json()
    bare = TestClient(server.application({"tiny": taught}), raise_server_exceptions=False)
    for rag in (True, {"passages": 2}):
        response = bare.post(CHAT, json=ask(rag=rag))
        assert response.status_code == 400 and "--ground" in response.json()["error"]["message"]
    assert bare.get("/page/about").json()["documents"] is False
    assert client.get("/page/about").json()["documents"] is True


@pytest.mark.parametrize("rag", [{"passages": 0}, {"passages": 21}, {"threshold": 2}, {"best": 3}, "yes please"])
def test_a_wrong_wish_is_refused(client, rag):
    assert client.post(CHAT, json=ask(rag=rag)).status_code == 400
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi"}]
    assert client.post(CHAT, json=ask(messages=turns)).status_code == 400


def test_as_many_passages_are_given_as_fit(taught):
    many = Found(tuple(Passage(str(i), "s", "n", None, 0, 100, "word " * 20, 1.0) for i in range(9)), 1.0, 0.5)
    given, grounds = grounded(taught, [{"role": "user", "content": QUESTION}], many, None, False)
    assert 1 <= len(grounds.passages) < 9 and len(taught.chat_ids(given)) <= 512 * 3 // 4
    assert given[0]["content"].count("word") == 20 * len(grounds.passages)
    long = Found((Passage("a", "s", "n", None, 7, 4007, "word " * 800, 1.0),), 1.0, 0.5)
    _, grounds = grounded(taught, [{"role": "user", "content": QUESTION}], long, None, False)
    (cut,) = grounds.passages
    assert cut.end - cut.start == len(cut.text) < 4000 and cut.start == 7
    history = [{"role": role, "content": "x" * 100} for _ in range(3) for role in ("user", "assistant")]
    turns = [{"role": "system", "content": "Be brief."}, *history, {"role": "user", "content": QUESTION}]
    with pytest.raises(ValueError, match="no room"):
        grounded(taught, turns, long, None, False)
    given, _ = grounded(taught, turns, long, None, True)
    assert [turn["role"] for turn in given] == ["system", "user"] and given[0]["content"].startswith("Be brief.\n")


def test_a_sentence_that_is_in_no_passage_is_not_cited():
    answer = "Boram sells apples there! Nobody else was ever seen. Yes."
    (cited,) = citations(answer, PASSAGES)
    assert answer[cited["start"] : cited["end"]] == "Boram sells apples there!"
    assert TEXT[cited["document_start"] - 100 : cited["document_end"] - 100] == "Boram sells apples there."
    assert citations(answer, ()) == [] and citations("", PASSAGES) == []


def test_sentences_of_both_languages():
    text = "값은 3.14다. 그래? “좋다.”  Yes… no\nlast"
    assert [text[start:end] for start, end in sentences(text)] == [
        "값은 3.14다.",
        "그래?",
        "“좋다.”",
        "Yes…",
        "no",
        "last",
    ]
    assert [language_of(text) for text in ("누가 JSON을 읽나요?", "Who?", "12?")] == ["ko", "en", "en"]
    assert grounding.INSTRUCTION.keys() == NOT_THERE.keys()

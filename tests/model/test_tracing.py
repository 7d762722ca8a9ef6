"""The server says what an answer has in common with what the model was trained on, where it was given what knows."""

from __future__ import annotations

import json

import pytest
from fastapi.testclient import TestClient

from model.serve import server
from model.serve.keys import Keys, digest_of
from tests.model.test_serve import ANSWER, ask, directory, text_model  # noqa: F401  fixtures


def told(text: str, least: int, documents: int) -> dict:
    """What a tracer might find: as many documents as were asked for."""
    passages = [{"start": 0, "end": len(text), "text": text, "documents": [{}] * documents}]
    return {"text": text, "least": least, "share": 1.0, "passages": passages, "nowhere": []}


@pytest.fixture
def client(text_model):  # noqa: F811
    application = server.application({"tiny": text_model, "other": text_model}, traces={"tiny": told})
    return TestClient(application, raise_server_exceptions=False)


def test_a_text_is_traced(client):
    response = client.post("/v1/trace", json={"model": "tiny", "text": "가나다", "least": 4, "documents": 2})
    assert response.json() == told("가나다", 4, 2)
    assert client.post("/v1/trace", json={"text": "가나다"}).json() == told("가나다", 6, 3), "the first model"


def test_an_answer_is_traced_where_that_is_asked_for(client):
    body = client.post("/v1/chat/completions", json=ask(trace=True)).json()
    assert body["choices"][0]["message"]["content"] == ANSWER
    assert body["choices"][0]["trace"] == told(ANSWER, 6, 3)
    assert "trace" not in client.post("/v1/chat/completions", json=ask()).json()["choices"][0]
    asked = {"prompt": "가나", "max_tokens": 3, "temperature": 0, "n": 2, "trace": True}
    for choice in client.post("/v1/completions", json=asked).json()["choices"]:
        assert choice["text"] and choice["trace"]["text"] == choice["text"]


def test_a_streamed_answer_is_traced_after_its_end(client):
    response = client.post(
        "/v1/chat/completions", json=ask(trace=True, stream=True, stream_options={"include_usage": True})
    )
    events = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    choices = [json.loads(event)["choices"] for event in events[:-1]]
    assert choices[-1] == [], "the counts come last"
    assert choices[-3][0]["finish_reason"] == "stop" and choices[-2][0]["trace"] == told(ANSWER, 6, 3)
    assert choices[-2][0]["delta"] == {}


def test_a_model_that_cannot_be_traced_says_so_before_it_answers(client):
    for path, body in (
        ("/v1/trace", {"model": "other", "text": "가"}),
        ("/v1/chat/completions", ask(model="other", trace=True)),
        ("/v1/chat/completions", ask(model="other", trace=True, stream=True)),
    ):
        response = client.post(path, json=body)
        assert response.status_code == 400 and "`slm make trace_index`" in response.json()["error"]["message"]


def test_the_page_learns_which_answers_can_be_traced(client):
    assert [one["traced"] for one in client.get("/page/about").json()["models"]] == [True, False]


@pytest.mark.parametrize(
    "wrong",
    [{}, {"text": "가", "least": 0}, {"text": "가", "documents": 99}, {"text": "가", "x": 1}, {"text": "가" * 20_001}],
)
def test_what_cannot_be_meant_is_refused(client, wrong):
    assert client.post("/v1/trace", json=wrong).status_code == 400


def test_passages_of_the_training_text_need_the_key(text_model):  # noqa: F811
    keys = Keys({"ana": digest_of("k" * 20)})
    application = server.application({"tiny": text_model}, keys=keys, traces={"tiny": told})
    client = TestClient(application, raise_server_exceptions=False)
    assert client.post("/v1/trace", json={"text": "가"}).status_code == 401
    given = {"Authorization": f"Bearer {'k' * 20}"}
    assert client.post("/v1/trace", json={"text": "가"}, headers=given).json() == told("가", 6, 3)

"""What OpenAI's API has beyond one answer: many at once, several choices, log probabilities, JSON, vectors, figures."""

from __future__ import annotations

import base64
import json
import struct
import threading

import jsonschema
import pytest
import torch
from fastapi.testclient import TestClient

from model.batch import Batch
from model.serve import server
from model.serve.limits import Limits, Turns
from tests.model.serving import served
from tests.model.test_serve import ANSWER, ask, directory, events, text_model  # noqa: F401  fixtures

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
WILD = {"temperature": 2.0, "top_p": 1, "max_tokens": 100}


@pytest.fixture
def client(text_model) -> TestClient:  # noqa: F811
    return TestClient(server.application({"tiny": text_model}), raise_server_exceptions=False)


def test_requests_share_the_steps_and_get_what_each_gets_alone(text_model, monkeypatch):  # noqa: F811
    asked = [{"prompt": f"가나{number}", **WILD, "max_tokens": 20 + number, "seed": number} for number in range(10)]
    client = TestClient(server.application({"tiny": text_model}), raise_server_exceptions=False)
    alone = [client.post(COMPLETION, json=one).json()["choices"] for one in asked]
    rows: list[int] = []
    advance, ready = Batch.advance, threading.Event()

    def counted(self):
        ready.wait(10)
        rows.append(len(self.rows))
        advance(self)

    monkeypatch.setattr(Batch, "advance", counted)
    found: dict[int, object] = {}
    with client:

        def post(number):
            found[number] = client.post(COMPLETION, json=asked[number]).json()["choices"]

        threads = [threading.Thread(target=post, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        ready.set()
        for thread in threads:
            thread.join(60)
    assert [found[number] for number in range(10)] == alone
    assert max(rows) > 5, "they were in one batch"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (COMPLETION, {"prompt": "가\ud83d", "stop": ["\ud83d"]}),
        (CHAT, {"messages": [{"role": "user", "content": "\ude00"}]}),
        ("/v1/embeddings", {"input": ["가\ud83d"]}),
    ],
)
def test_half_a_surrogate_pair_is_read_as_a_sign_that_is_unknown(client, path, body):
    response = client.post(path, content=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    assert response.status_code == 200, response.text


def test_what_is_no_json_is_refused_as_everything_else_is(client):
    def refused(content: bytes) -> str:
        response = client.post(COMPLETION, content=content, headers={"Content-Type": "application/json"})
        assert response.status_code == 400
        return response.json()["error"]["message"]

    assert refused(b'{"prompt": "a"') == "the body is no JSON at character 14: Expecting ',' delimiter."
    assert "parsing the body" in refused(b'{"prompt": "\xff"}')
    assert client.get(COMPLETION).json()["error"]["message"] == "Method Not Allowed"


def test_several_choices_have_seeds_of_their_own(client):
    for path, wish in ((CHAT, ask(**WILD)), (COMPLETION, {"prompt": "가", **WILD})):
        body = client.post(path, json={**wish, "n": 3, "seed": 5}).json()
        assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
        texts = [choice.get("text") or choice["message"]["content"] for choice in body["choices"]]
        assert len(set(texts)) == 3
        second = client.post(path, json={**wish, "seed": 6}).json()["choices"][0]
        assert (second.get("text") or second["message"]["content"]) == texts[1]
    parts = events(client.post(CHAT, json={**ask(**WILD), "n": 2, "seed": 5, "stream": True}))
    said = {0: "", 1: ""}
    for part in parts:
        said[part["choices"][0]["index"]] += part["choices"][0]["delta"].get("content", "")
    body = client.post(CHAT, json={**ask(**WILD), "n": 2, "seed": 5}).json()
    assert list(said.values()) == [choice["message"]["content"] for choice in body["choices"]]
    assert [part["choices"][0]["finish_reason"] for part in parts].count(None) == len(parts) - 2


def test_several_prompts_and_ids_instead_of_text(client, text_model):  # noqa: F811
    ids = [text_model.document_ids(text) for text in ("가나다", "가나")]
    bodies = [
        client.post(COMPLETION, json={"prompt": prompt, "temperature": 0, "max_tokens": 9}).json()
        for prompt in (["가나다", "가나"], ids, "가나다", ids[1])
    ]
    texts = [[choice["text"] for choice in body["choices"]] for body in bodies]
    assert texts[0] == texts[1] == [texts[2][0], texts[3][0]] and texts[2] == ["라마바"]
    assert bodies[0]["usage"]["prompt_tokens"] == sum(map(len, ids))


def test_log_probabilities_in_both_forms(client, text_model):  # noqa: F811
    body = client.post(CHAT, json=ask(logprobs=True, top_logprobs=2)).json()
    entries = body["choices"][0]["logprobs"]["content"]
    assert b"".join(bytes(entry["bytes"]) for entry in entries).decode() == ANSWER
    prompt = text_model.chat_ids([{"role": "user", "content": "안녕"}])
    tokens = text_model.encode(ANSWER)
    with torch.no_grad():
        expected = text_model.network(torch.tensor([[*prompt, *tokens]])).log_softmax(-1)[0, len(prompt) - 1 : -1]
    for entry, token, row in zip(entries, tokens, expected, strict=True):
        assert entry["logprob"] == pytest.approx(float(row[token]), abs=1e-3)
        assert entry["top_logprobs"][0]["logprob"] == pytest.approx(float(row.max()), abs=1e-3)
        assert len(entry["top_logprobs"]) == 2
    parts = events(client.post(CHAT, json=ask(logprobs=True, stream=True)))
    streamed = [
        e for part in parts if part["choices"][0]["logprobs"] for e in part["choices"][0]["logprobs"]["content"]
    ]
    assert [entry["logprob"] for entry in streamed] == [entry["logprob"] for entry in entries]
    body = client.post(COMPLETION, json={"prompt": "가나다", "temperature": 0, "max_tokens": 3, "logprobs": 1}).json()
    found = body["choices"][0]["logprobs"]
    assert len(found["tokens"]) == len(found["token_logprobs"]) == len(found["top_logprobs"]) == 3
    assert found["text_offset"] == [0, 1, 2] and all(value <= 0 for value in found["token_logprobs"])
    for number, top in ((0, 0), (False, None)):
        body = client.post(COMPLETION, json={"prompt": "가", "max_tokens": 1, "logprobs": number}).json()
        found = body["choices"][0]["logprobs"]
        assert (found if found is None else len(found["top_logprobs"][0])) == top
    assert client.post(CHAT, json=ask(logprobs=False)).json()["choices"][0]["logprobs"] is None


def test_answers_keep_to_a_schema(client):
    pytest.importorskip("llguidance", reason="the extra `serve` is not installed")
    wish = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}
    for seed in range(4):
        body = client.post(CHAT, json=ask(**WILD, seed=seed, response_format=wish)).json()
        assert body["choices"][0]["finish_reason"] == "stop"
        jsonschema.validate(json.loads(body["choices"][0]["message"]["content"]), SCHEMA)
    found = {
        client.post(COMPLETION, json={"prompt": "x", **WILD, "seed": s, "response_format": wish}).text for s in (1, 2)
    }
    assert len(found) == 2, "what the schema leaves open is sampled"
    ended = 0
    for seed in range(6):
        body = client.post(CHAT, json=ask(**WILD, seed=seed, response_format={"type": "json_object"})).json()
        text = body["choices"][0]["message"]["content"]
        assert text.startswith("{")
        if body["choices"][0]["finish_reason"] == "stop":
            ended += 1
            assert isinstance(json.loads(text), dict)
    assert ended, "some come to an end"
    assert client.post(CHAT, json=ask(response_format={"type": "text"})).json()["choices"][0]["message"]["content"] == (
        ANSWER
    )
    refused = client.post(
        CHAT, json=ask(response_format={"type": "json_schema", "json_schema": {"schema": {"type": "nonsense"}}})
    )
    assert refused.status_code == 400 and "is not supported" in refused.json()["error"]["message"]


def test_without_the_library_a_format_is_refused_with_the_remedy(client, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "llguidance", None)
    refused = client.post(CHAT, json=ask(response_format={"type": "json_object"}))
    assert refused.status_code == 400 and "pip install -e '.[serve]'" in refused.json()["error"]["message"]


def test_vectors_are_means_of_the_last_hidden_states(client, text_model):  # noqa: F811
    body = client.post("/v1/embeddings", json={"input": ["안녕", "가나다"]}).json()
    vectors = [row["embedding"] for row in body["data"]]
    ids = text_model.encode("안녕")
    with torch.no_grad():
        hidden = text_model.network.hidden(torch.tensor([[*text_model.before_document, *ids]]))
    expected = hidden[0, len(text_model.before_document) :].mean(0)
    assert vectors[0] == pytest.approx((expected / expected.norm()).tolist(), abs=1e-5)
    assert sum(value * value for value in vectors[1]) == pytest.approx(1)
    assert body["usage"]["prompt_tokens"] == len(ids) + len(text_model.encode("가나다"))
    packed = client.post("/v1/embeddings", json={"input": ids, "encoding_format": "base64"}).json()["data"][0]
    numbers = struct.unpack(f"<{len(vectors[0])}f", base64.b64decode(packed["embedding"]))
    assert list(numbers) == pytest.approx(vectors[0], abs=1e-6)


def test_the_figures_count_requests_and_tokens_and_hold_no_content(client):
    pytest.importorskip("prometheus_client", reason="the extra `serve` is not installed")
    client.post(CHAT, json=ask(messages=[{"role": "user", "content": "secret"}], max_tokens=3))
    client.post("/secret", json={})
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert 'slm_requests_total{method="POST",path="/v1/chat/completions",status="200"} 1.0' in response.text
    assert 'slm_requests_total{method="POST",path="other",status="404"} 1.0' in response.text
    assert "slm_answer_tokens_total 3.0" in response.text and "slm_texts_running 0.0" in response.text
    assert "process_resident_memory_bytes" in response.text and "secret" not in response.text


def test_without_the_library_there_are_no_figures_and_a_remedy(text_model, monkeypatch):  # noqa: F811
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    client = TestClient(server.application({"tiny": text_model}), raise_server_exceptions=False)
    refused = client.get("/metrics")
    assert refused.status_code == 404 and "pip install -e '.[serve]'" in refused.json()["error"]["message"]


def test_the_description_of_the_api_names_every_path_and_how_refusals_look(client):
    described = client.get("/openapi.json").json()
    assert {CHAT, COMPLETION, "/v1/embeddings", "/v1/models", "/health", "/metrics"} <= set(described["paths"])
    responses = described["paths"][CHAT]["post"]["responses"]
    assert {"200", "400", "401", "429", "503"} <= set(responses) and "422" not in responses
    assert "response_format" in described["components"]["schemas"]["ChatRequest"]["properties"]
    assert client.get("/v1/models/tiny").json()["id"] == "tiny" and client.get("/v1/models/x").status_code == 404


def test_the_official_client(text_model):  # noqa: F811
    openai = pytest.importorskip("openai", reason="the official client is not installed")
    with served(text_model, Turns(Limits())) as port:
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
        turns = [{"role": "user", "content": "안녕"}]
        assert [one.id for one in client.models.list()] == ["tiny"] and client.models.retrieve("tiny").id == "tiny"
        whole = client.chat.completions.create(model="tiny", messages=turns, temperature=0, logprobs=True, n=2)
        assert [choice.message.content for choice in whole.choices] == [ANSWER] * 2
        assert whole.choices[0].logprobs.content[0].logprob <= 0 and whole.usage.total_tokens > 0
        stream = client.chat.completions.create(
            model="tiny", messages=turns, temperature=0, stream=True, stream_options={"include_usage": True}
        )
        parts = list(stream)
        assert "".join(p.choices[0].delta.content or "" for p in parts if p.choices) == ANSWER
        assert parts[-1].usage.completion_tokens == len(text_model.encode(ANSWER))
        text = client.completions.create(model="tiny", prompt=["가나다"] * 2, temperature=0, logprobs=0)
        assert [choice.text for choice in text.choices] == ["라마바사"] * 2 and text.choices[0].logprobs.tokens
        vectors = client.embeddings.create(model="tiny", input=["안녕", "가나다"])
        assert len(vectors.data[0].embedding) == 48
        with pytest.raises(openai.BadRequestError, match="unknown field `best_of`"):
            client.completions.create(model="tiny", prompt="x", best_of=2)
        client.close()

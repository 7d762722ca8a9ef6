"""What the server does for the page on which one talks to a model: its files, models side by side, judgements."""

from __future__ import annotations

import json
import re

import pytest
from fastapi.testclient import TestClient

from model.serve import server, web
from model.serve.judgements import Judgements
from model.serve.keys import Keys, digest_of
from pipeline.conversations.shapes import preference
from tests.model.test_serve import ANSWER, ask, directory, text_model  # noqa: F401  fixtures

THUMB = {"kind": "thumb", "id": "a-1", "model": "tiny", "messages": [{"role": "user", "content": "안녕"}]}
PAIR = {**THUMB, "kind": "pair", "id": "b-1", "against": "other", "chosen": "좋아요", "rejected": "몰라"}


@pytest.fixture
def client(text_model, tmp_path):  # noqa: F811
    application = server.application(
        {"tiny": text_model, "other": text_model}, judgements=Judgements(tmp_path / "said")
    )
    return TestClient(application, raise_server_exceptions=False)


def rows(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def test_the_page_has_all_that_it_names_and_nothing_from_elsewhere(client):
    for path, (name, kind) in web.FILES.items():
        response = client.get(path)
        assert response.status_code == 200 and response.headers["content-type"] == kind, name
        assert "default-src 'self'" in response.headers["content-security-policy"]
        named = re.findall(r"""(?:src|href|from)\s*=?\s*"(/page/[^"]+|\./[^"]+)""", response.text)
        assert all(one.replace("./", "/page/") in web.FILES for one in named), named
        addresses = set(re.findall(r"https?://[^\"]*", response.text)) - {"http://www.w3.org/2000/svg"}  # a name space
        assert not addresses, f"{name} names another host"
    assert len(re.findall(r"/page/", client.get("/").text)) == 2
    assert client.get("/page/../server.py").status_code == 404 and client.get("/page/page.html").status_code == 404


def test_every_word_of_the_page_is_there_in_both_languages():
    words = (web.FOLDER / "words.js").read_text(encoding="utf-8")
    english, korean = (
        set(re.findall(r"(\w+): \"", part))
        for part in (words.split("ko: {")[0], words.split("ko: {")[1].split("};")[0])
    )
    assert english == korean and len(english) > 40
    script = (web.FOLDER / "page.js").read_text(encoding="utf-8")
    html = (web.FOLDER / "page.html").read_text(encoding="utf-8")
    used = set(re.findall(r'say\("(\w+)"', script)) | set(re.findall(r'data-(?:say|tip|label)="(\w+)"', html))
    assert used <= english, used - english


def test_a_request_names_one_of_several_models(client):
    assert [one["id"] for one in client.get("/v1/models").json()["data"]] == ["tiny", "other"]
    assert client.post("/v1/chat/completions", json=ask()).json()["model"] == "tiny"
    assert client.post("/v1/chat/completions", json=ask(model="other")).json()["model"] == "other"
    response = client.post("/v1/chat/completions", json=ask(model="third"))
    assert response.status_code == 404 and "one of tiny, other" in response.json()["error"]["message"]


def test_the_page_learns_what_the_models_can(client, directory):  # noqa: F811
    from model.serve.text import open_directory

    about = client.get("/page/about").json()
    assert about["judgements"] and about["models"][0] | {"parameters": 0} == {
        "id": "tiny", "chats": True, "answers": True, "context": 128, "parameters": 0, "traced": False,
    }  # fmt: skip
    assert about["models"][0]["parameters"] > 10_000
    assert not open_directory(directory, answers=False).answers


def test_the_oldest_turns_are_left_out_only_where_that_is_asked_for(client):
    turns = [{"role": role, "content": "안녕"} for _ in range(12) for role in ("user", "assistant")]
    messages = [*turns, {"role": "user", "content": "안녕"}]
    assert client.post("/v1/chat/completions", json=ask(messages=messages)).status_code == 400
    body = client.post("/v1/chat/completions", json=ask(messages=messages, leave_out_oldest=True)).json()
    assert body["usage"]["prompt_tokens"] <= 128 * 3 // 4
    alone = client.post("/v1/chat/completions", json=ask(leave_out_oldest=True)).json()
    assert alone["choices"][0]["message"]["content"] == ANSWER


def test_judgements_become_preference_data_and_can_be_taken_back(client, tmp_path):
    def judge(**said):
        return client.post("/page/judgements", json=said).status_code

    assert judge(**THUMB, answer="몰라", good=False) == judge(**PAIR) == 200
    assert judge(**THUMB | {"id": "a-2"}, answer="그래", good=True) == 200
    thumbs, pairs = tmp_path / "said" / "thumbs.jsonl", tmp_path / "said" / "pairs.jsonl"
    assert [(row["completion"][0]["content"], row["label"]) for row in rows(thumbs)] == [
        ("몰라", False),
        ("그래", True),
    ]
    (pair,) = rows(pairs)
    assert preference(pair) == ([{"role": "user", "content": "안녕"}], "좋아요", "몰라")
    assert judge(**THUMB, answer="몰라", good=True) == 200, "one may change one's mind"
    assert [row["label"] for row in rows(thumbs)] == [True, True]
    assert judge(**THUMB, answer="몰라", good=None) == 200
    assert [row["id"] for row in rows(thumbs)] == ["a-2"]
    assert not list((tmp_path / "said").glob("*.new"))


def test_what_an_answer_holds_does_not_end_the_judging(client, tmp_path):
    for number, answer in enumerate(("one\u2028two\x85three", "그래")):
        said = THUMB | {"id": f"a-{number}", "answer": answer, "good": True}
        assert client.post("/page/judgements", json=said).status_code == 200, answer
    kept = (tmp_path / "said" / "thumbs.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    answers = [json.loads(row)["completion"][0]["content"] for row in kept]
    assert answers == ["one\u2028two\x85three", "그래"]


@pytest.mark.parametrize(
    ("said", "headers", "status"),
    [
        ({**THUMB, "answer": "", "good": True}, {}, 400),
        ({**THUMB, "answer": "x", "good": True, "id": "../x"}, {}, 400),
        ({**THUMB, "answer": "x", "good": True, "more": 1}, {}, 400),
        ({**PAIR, "kind": "verdict"}, {}, 400),
        (PAIR, {"Origin": "http://elsewhere.example"}, 403),
        (PAIR, {"Origin": "http://testserver"}, 200),
    ],
)
def test_judgements_from_elsewhere_or_in_another_form_are_refused(client, tmp_path, said, headers, status):
    response = client.post("/page/judgements", json=said, headers=headers)
    assert response.status_code == status, response.text
    assert (tmp_path / "said").exists() == (status == 200)


def test_the_page_is_public_but_what_it_says_needs_the_key(text_model):  # noqa: F811
    keys = Keys({"ana": digest_of("k" * 20)})
    client = TestClient(server.application({"tiny": text_model}, keys=keys), raise_server_exceptions=False)
    assert client.get("/").status_code == 200 and client.get("/page/page.js").status_code == 200
    assert client.get("/page/about").status_code == 401
    assert client.post("/page/judgements", json=PAIR).status_code == 401
    response = client.post("/page/judgements", json=PAIR, headers={"Authorization": f"Bearer {'k' * 20}"})
    assert response.status_code == 404 and "--judgements" in response.json()["error"]["message"]

"""Open questions: two models' answers on one page, and a judge at an address, asked in both orders."""

from __future__ import annotations

import gzip
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.evaluation.open_questions import judge, page
from pipeline.evaluation.open_questions.asking import Answered, OpenQuestion, read_questions

ROWS = [
    {"question_id": 81, "category": "writing", "turns": ["the quick?", "다시 또?"]},
    {"question_id": 82, "category": "math", "turns": ["a lazy dog </script><b>&"]},
]


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "question.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS))
    return path


def answered(name: str, **answers: list[str]) -> Answered:
    turns = tuple(f"turn {i}" for i in range(len(next(iter(answers.values())))))
    return Answered(OpenQuestion(name, "c", turns), dict(answers))


def test_questions_are_read_as_published(questions, tmp_path):
    found = read_questions(questions)
    assert [one.id for one in found] == ["81", "82"] and found[0].turns == ("the quick?", "다시 또?")
    packed = tmp_path / "question.jsonl.gz"
    packed.write_bytes(gzip.compress(questions.read_bytes()))
    assert read_questions(packed, limit=1) == found[:1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "has no questions"),
        ('{"turns": []}\n', "line 1: a question is an object"),
        ('{"prompt": "a"}\nnot json\n', "line 2: a question is an object"),
        ('{"id": 1, "prompt": "a"}\n{"id": 1, "prompt": "b"}\n', "two questions of the same"),
    ],
)
def test_a_file_that_does_not_fit_is_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "q.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=sentence):
        read_questions(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_questions(tmp_path / "missing.jsonl")


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_page_holds_every_answer_as_data_and_nothing_of_it_as_markup():
    evil = "</script><script>alert(1)</script><!--\u2028"
    html = page.page([answered("1", a=["one", evil], b=["two", "three"]), answered("2", a=[""], b=["x"])])
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    rows = json.loads(data)
    assert html.count("<script") == 2 and "alert(1)" in data and "<" not in data
    assert sorted(rows[0]["answers"]) == sorted([["one", evil], ["two", "three"]])
    assert rows[0]["answers"][rows[0]["models"].index("a")] == ["one", evil]
    assert "innerHTML" not in html and "default-src 'none'" in html


def test_the_side_of_a_model_changes_from_question_to_question_and_not_from_run_to_run():
    orders = [answered(str(i), a=["x"], b=["y"]).order for i in range(40)]
    assert 10 < sum(order == ["a", "b"] for order in orders) < 30
    assert orders == [answered(str(i), b=["y"], a=["x"]).order for i in range(40)]


# -- the judge ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def server():
    """A judge on loopback: it says what `server.says(prompt)` says, and keeps what it was sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            httpd.seen.append((self.path, dict(self.headers), body))
            status, content = httpd.says(body["messages"][0]["content"])
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"http://127.0.0.1:{httpd.server_port}/elsewhere")
            self.end_headers()
            self.wfile.write(content if isinstance(content, bytes) else json.dumps(content).encode())

        do_GET = do_POST

        def log_message(self, *given):
            pass

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    httpd.seen = []
    httpd.address = f"http://127.0.0.1:{httpd.server_port}/v1"
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()


def saying(words: str):
    return 200, {"choices": [{"message": {"content": words}}]}


def test_an_answer_is_better_only_if_both_orders_say_so(server):
    def says(prompt):
        first, second = re.findall(r"<[AB]>\n(\w+)\n", prompt)
        if "good" in (first, second):
            return saying(f"Because [[B]] is not. [[{'A' if first == 'good' else 'B'}]]")
        return saying("[[A]]")  # what stands first

    server.says = says
    texts = (("good", "bad"), ("same", "alike"), ("x", "good"))
    asked = [answered(str(number), a=[one], b=[other]) for number, (one, other) in enumerate(texts)]
    rows = judge.judge_all(judge.Judge(server.address, "m", "secret"), asked)
    assert [(row["better"], row["agreed"]) for row in rows] == [("a", True), ("", False), ("b", True)]
    place, headers, body = server.seen[0]
    assert place == "/v1/chat/completions" and headers["Authorization"] == "Bearer secret" and body["model"] == "m"
    assert len(server.seen) == 6 and all("turn 0" in body["messages"][0]["content"] for _, _, body in server.seen)
    found = judge.figures(rows, ("a", "b"), seed=1)
    assert found["wins"] == {"a": 1, "b": 1} and found["ties"] == 1 and found["score"]["value"] == 0.5
    assert "undecided" in judge.in_words(found, ("a", "b"))
    pairs = judge.pairs(rows, asked)
    assert [pair["model"] for pair in pairs] == ["a", "b"] and pairs[0]["chosen"][0]["content"] == "good"
    assert pairs[0]["prompt"] == [{"role": "user", "content": "turn 0"}] and pairs[0]["against"] == "b"


def test_a_judge_that_names_no_verdict_decides_nothing(server):
    server.says = lambda prompt: saying("Both are fine.")
    rows = judge.judge_all(judge.Judge(server.address, "m"), [answered("1", a=["x"], b=["y"])])
    assert rows[0]["better"] == "" and not rows[0]["agreed"]
    assert "Authorization" not in server.seen[0][1]


def test_winning_often_enough_is_decided():
    rows = [{"better": "a", "agreed": True}] * 30 + [{"better": "b", "agreed": True}] * 5
    found = judge.figures(rows, ("a", "b"), seed=1)
    assert found["decided"] and judge.in_words(found, ("a", "b")).endswith("a is better. Both orders agree on 100%.")


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        ((401, b"no"), "refused the request with status 401"),
        ((200, b"<html>"), "does not answer as OpenAI's API does"),
        ((200, {"error": "x"}), "does not answer as OpenAI's API does"),
        ((500, b"no"), "status 500"),
        ((302, b""), "status 302"),
    ],
)
def test_a_judge_that_fails_is_one_sentence_and_the_key_stays(server, reply, sentence):
    server.says = lambda prompt: reply
    with pytest.raises(UserError, match=sentence) as caught:
        judge.Judge(server.address, "m", "secret").ask("x")
    assert "secret" not in str(caught.value)
    assert all(place == "/v1/chat/completions" for place, _, _ in server.seen), "the key went along a redirection"


def test_an_address_without_a_server_or_of_another_kind_is_one_sentence():
    with pytest.raises(UserError, match="cannot be reached"):
        judge.Judge("http://127.0.0.1:9/v1", "m").ask("x")
    with pytest.raises(UserError, match="does not begin with http"):
        judge.Judge("file:///etc", "m").ask("x")


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_writes_the_page_and_what_the_judge_said(made, questions, server, tmp_path):
    server.says = lambda prompt: saying("[[TIE]]")
    first, second = made.inputs["model"].directory, made.second_model.directory
    words = ["open-questions", str(first), str(second), "--questions", str(questions), "--max-tokens", "6"]
    out = tmp_path / "out"
    found = CliRunner().invoke(
        main, [*words, "--out", str(out), "--judge", server.address, "--judge-model", "m"], catch_exceptions=False
    )
    assert found.exit_code == 0, found.output
    rows = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["81", "82"]
    assert all(len(texts) == len(row["turns"]) for row in rows for texts in row["answers"].values())
    assert rows[0]["answers"].keys() == {str(first), str(second)}
    assert (out / "page.html").read_text().startswith("<!doctype html>")
    assert json.loads((out / "judged.json").read_text())["ties"] == 2 and "undecided" in found.output
    assert (out / "pairs.jsonl").read_text() == ""


@pytest.mark.parametrize(
    ("more", "sentence"),
    [(["--judge", "http://x/v1"], "give both `--judge` and `--judge-model`"), (["--same"], "A model is named twice")],
)
def test_a_mistake_of_the_command_is_one_sentence(made, questions, tmp_path, more, sentence):
    first = str(made.inputs["model"].directory)
    second = first if more == ["--same"] else str(made.second_model.directory)
    words = ["open-questions", first, second, "--questions", str(questions), "--out", str(tmp_path / "out")]
    found = CliRunner().invoke(main, [*words, *(more if more != ["--same"] else [])])
    assert found.exit_code == 1 and sentence in found.output and "Traceback" not in found.output

"""The server on a real socket: clients that leave, dawdle, send halves or come too often, and a server that stops."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from model import export
from model.batch import Batch
from model.config import ModelConfig
from model.serve.keys import Keys, read_keys
from model.serve.limits import Limits, Turns
from model.serve.text import Spelling, TextModel, open_directory
from model.transformer import Transformer
from tests.model.serving import answer, closed, head, sent, served, until
from tests.model.test_serve import tokenizer_json

ROOT = Path(__file__).resolve().parents[2]
PATH = "/v1/chat/completions"
KEY, OTHER = "k" * 20, "o" * 20


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    """A model that has learned nothing, so that its answers do not end."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model")
    export.save(Transformer(ModelConfig(layers=1, width=16, heads=2, context=2048, vocab_size=270)), path)
    (path / "tokenizer.json").write_text(tokenizer_json("byte fallback"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def text_model(directory) -> TextModel:
    found = open_directory(directory)
    found.stop_ids = frozenset()
    return found


class Pace:
    """How fast tokens come, and how many there were."""

    seconds = 0.01
    tokens = 0


@pytest.fixture
def pace(monkeypatch) -> Pace:
    found, advance = Pace(), Batch.advance

    def slowly(self):
        time.sleep(found.seconds)
        found.tokens += len(self.rows)
        advance(self)

    monkeypatch.setattr(Batch, "advance", slowly)
    return found


@pytest.fixture
def log(caplog) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "slm.serve")
    return caplog


def ask(**changes) -> dict:
    return {"messages": [{"role": "user", "content": "안녕"}], "temperature": 0, "max_tokens": 1500, **changes}


def health(port: int) -> tuple[int, dict]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as link:
        link.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, _, body = answer(link)
    return status, json.loads(body)


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "as a whole"])
def test_a_client_that_leaves_ends_its_answer_within_a_second(text_model, pace, log, stream):
    turns = Turns(Limits())
    with served(text_model, turns) as port:
        with sent(port, ask(stream=stream)):
            until(lambda: pace.tokens > 5)
        assert until(lambda: not turns.places) < 1
        at_the_end = pace.tokens
        time.sleep(0.1)
        assert pace.tokens == at_the_end < 1000
        pace.seconds = 0
        with sent(port, ask(max_tokens=3)) as link:
            assert answer(link)[0] == 200
    assert [" 499 " in line or "finish=left" in line for line in log.messages] == [True, False]


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "as a whole"])
def test_a_client_that_leaves_while_it_waits_frees_its_place_and_nothing_is_generated(text_model, pace, stream):
    turns = Turns(Limits(together=1, places=2))
    with served(text_model, turns) as port:
        with sent(port, ask()):
            until(lambda: pace.tokens > 2)
            with sent(port, ask(stream=stream)):
                until(lambda: len(turns.places) == 2)
                with sent(port, ask()) as third:
                    status, headers, body = answer(third)
                    assert (status, "2 requests are already waiting" in body) == (429, True)
                    assert 1 <= int(headers["retry-after"]) <= 60
            assert until(lambda: len(turns.places) == 1) < 1
            before = turns.places[0]
        until(lambda: not turns.places)
        assert before.since and pace.tokens < 1400


def test_a_long_prompt_is_left_too(text_model, monkeypatch):
    """Between parts of a prompt, whose passes take longest."""
    passes = []
    hidden = Transformer.hidden

    def slow(self, tokens, *given, **named):
        passes.append(tokens.shape[1])
        time.sleep(0.2)
        return hidden(self, tokens, *given, **named)

    monkeypatch.setattr(Transformer, "hidden", slow)
    turns = Turns(Limits())
    with served(text_model, turns) as port:
        with sent(port, {"prompt": "x" * 2000}, path="/v1/completions"):
            until(lambda: passes)
        assert until(lambda: not turns.places) < 1
    assert len(passes) < 6 and max(passes) == 256


def test_a_slow_reader_holds_up_nobody_and_is_cut_off(text_model, monkeypatch):
    long = ["가" * 20_000]  # 400 of them are 24 MB, more than sockets hold
    monkeypatch.setattr(Spelling, "take", lambda self, token: long[0])
    turns = Turns(Limits(reading=1.0))
    with served(text_model, turns) as port:
        link = socket.socket()
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.settimeout(20)
        link.connect(("127.0.0.1", port))
        data = json.dumps(ask(stream=True, max_tokens=400)).encode()
        link.sendall(head(PATH, len(data)) + data)
        assert link.recv(10)
        assert until(lambda: not turns.places) < 5, "its answer is complete, whether it is read or not"
        long[:] = ["kurz"]
        with sent(port, ask(max_tokens=3)) as other:
            assert "kurzkurzkurz" in answer(other)[2]
        time.sleep(1.5)
        received = 0
        with pytest.raises(ConnectionResetError):
            while more := link.recv(1 << 20):
                received += len(more)
            raise ConnectionResetError  # closed is as good as reset
        assert received < 20_000_000
        link.close()


def test_halves_of_requests_are_given_up(text_model):
    turns = Turns(Limits(headers=0.5, body=0.7))
    with served(text_model, turns) as port:
        started = time.monotonic()
        links = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(4)]
        nothing, headers, body, gone = links
        headers.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: loc")
        body.sendall(head(PATH, 1000) + b'{"messages": [')
        gone.sendall(head(PATH, 1000) + b'{"messages": [')
        gone.close()
        assert closed(nothing) and closed(headers)
        assert 0.3 < time.monotonic() - started < 3
        status, _, text = answer(body)
        assert status == 408 and "not complete within 0.7 seconds" in text and closed(body)
        with sent(port, ask(max_tokens=2)) as link:  # a connection that is used again
            assert answer(link)[0] == 200
            link.sendall(b"POST /v1/chat/compl")
            assert closed(link)
        assert not turns.places
        for link in links:
            link.close()


def test_a_byte_now_and_then_does_not_keep_a_connection(text_model):
    with served(text_model, Turns(Limits(headers=0.6, body=0.6))) as port:
        for opening in (b"GET /health HTTP/1.1\r\nX: ", head(PATH, 10_000), head(PATH, 10_000, "X-Request-Id: a")):
            link = socket.create_connection(("127.0.0.1", port), timeout=5)
            link.sendall(opening)
            started = time.monotonic()
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                while time.monotonic() - started < 5:
                    link.sendall(b"x")
                    time.sleep(0.05)
            assert time.monotonic() - started < 3
            link.close()


def test_a_refused_body_is_read_no_longer_than_others(text_model):
    keys = Keys(read_keys(None, {"SLM_API_KEY": KEY}).digests)
    with served(text_model, Turns(Limits(body=0.6)), keys) as port:
        link = socket.create_connection(("127.0.0.1", port), timeout=5)
        link.sendall(head(PATH, 900_000))
        assert answer(link)[0] == 401
        started = time.monotonic()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while time.monotonic() - started < 5:
                link.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() - started < 3
        link.close()


def test_stages_that_take_too_long_say_so(text_model, pace):
    turns = Turns(Limits(together=1, waiting=0.4, answer=1.0))
    with served(text_model, turns) as port:
        with sent(port, ask()) as first, sent(port, ask(stream=True)) as second:
            status, headers, body = answer(second)
            assert (status, "no turn within 0.4 seconds" in body) == (503, True) and int(headers["retry-after"]) >= 1
            status, _, body = answer(first)
            assert (status, "not complete within 1 seconds" in body) == (504, True)
        with sent(port, ask(stream=True)) as third:
            status, _, body = answer(third)
            assert '"finish_reason": "' not in body
            assert status == 200 and "not complete within 1 seconds" in body and body.count('"content"') > 10


def test_keys_are_needed_and_limits_are_by_key(text_model, pace, log, tmp_path):
    (tmp_path / "keys").write_text(f"# of the team\n\nana {KEY}\nbob {OTHER}\n")
    turns = Turns(Limits(places=4, places_by_key=1, requests_by_minute=3))
    with served(text_model, turns, read_keys(tmp_path / "keys", {})) as port:
        for given in ((), (f"Authorization: Bearer {KEY}x",), (f"Authorization: Basic {KEY}",), ("Authorization: é",)):
            with sent(port, ask(), *given) as link:
                status, headers, body = answer(link)
                assert status == 401 and headers["www-authenticate"] == "Bearer" and "Bearer KEY" in body
        assert health(port)[0] == 200
        ana, bob = f"Authorization: Bearer {KEY}", f"Authorization: Bearer {OTHER}"
        with sent(port, ask(), ana):
            until(lambda: pace.tokens > 2)
            with sent(port, ask(), ana) as link:
                assert (answer(link)[0], len(turns.places)) == (429, 1)
            pace.seconds = 0.001
            with sent(port, ask(max_tokens=2), bob) as link:
                assert answer(link)[0] == 200
        until(lambda: not turns.places)
        with sent(port, ask(max_tokens=2), ana) as link:
            assert answer(link)[0] == 200
        with sent(port, ask(max_tokens=2), ana) as link:
            status, headers, body = answer(link)
            assert status == 429 and "more than 3 requests within a minute" in body
            assert 50 <= int(headers["retry-after"]) <= 60
    written = "\n".join(log.messages)
    assert "key=ana" in written and "key=bob" in written and KEY not in written and OTHER not in written


def test_requests_have_ids_and_the_log_has_no_content(text_model, log, monkeypatch):
    secret = "내비밀번호secret"
    with served(text_model, Turns(Limits())) as port:
        messages = [{"role": "user", "content": secret}]
        with sent(port, ask(messages=messages, max_tokens=4), "X-Request-Id: mine-1") as link:
            status, headers, _ = answer(link)
            assert (status, headers["x-request-id"]) == (200, "mine-1")
        with sent(port, ask(max_tokens=2), "X-Request-Id: two words\tand a tab") as link:
            made = answer(link)[1]["x-request-id"]
            assert len(made) == 32 and made != "mine-1"
        for path, body in ((f"/{secret.encode().hex()}secret?secret=1", {}), (PATH, {"secret": secret})):
            with sent(port, body, path=path) as link:
                assert answer(link)[1]["x-request-id"]

        with socket.create_connection(("127.0.0.1", port), timeout=20) as link:
            link.sendall(b"SECRETsecret /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer(link)[0] == 405

        def broken(*_):
            raise RuntimeError(secret)

        monkeypatch.setattr(TextModel, "chat_ids", broken)
        with sent(port, ask(messages=messages), "X-Request-Id: mine-2") as link:
            status, headers, body = answer(link)
            assert (status, "request mine-2 failed" in body, secret in body) == (500, True, False)
        monkeypatch.undo()
        for what in (Batch, "advance"), (Spelling, "take"), (Batch, "add"):
            monkeypatch.setattr(*what, broken)
            with sent(port, ask(messages=messages, stream=True)) as link:
                assert answer(link)[0] == 500
            monkeypatch.undo()
        with sent(port, ask(messages=messages, max_tokens=2)) as link:
            assert answer(link)[0] == 200, "the next one is answered"
    assert "mine-1 key=- POST /v1/chat/completions 200 " in log.text and "tokens=4 finish=length" in log.text
    assert "mine-2 RuntimeError in broken" in log.text and " POST other 404 " in log.text
    assert "secret" not in log.text and " other /health 405 " in log.text


def test_the_keys_file_says_what_is_wrong_and_never_shows_a_key(tmp_path):
    file = tmp_path / "keys"
    for content, message in (
        ("", "there is no API key in"),
        ("short\n", "line 1 of .* fewer than 16 characters"),
        (f"a b {KEY}\n", "line 1 of .* 3 words"),
        (f"a {KEY}\na {OTHER}\n", "line 2 of .* occurs twice"),
        (f"a {'é' * 20}\n", "not only ASCII"),
    ):
        file.write_text(content)
        with pytest.raises(ValueError, match=message) as caught:
            read_keys(file, {})
        assert KEY not in str(caught.value) and OTHER not in str(caught.value)
    with pytest.raises(ValueError, match="not a key") as caught:
        read_keys(KEY, {})
    assert KEY not in str(caught.value)
    assert read_keys(None, {}).name_of(None) == "-"
    keys = read_keys(None, {"SLM_API_KEY": KEY})
    for given, name in ((f"Bearer {KEY}", "1"), (f"bearer {KEY}", "1"), (f"Bearer {OTHER}", None), (None, None)):
        assert keys.name_of(given) == name
    with pytest.raises(ValueError, match="SLM_API_KEY"):
        read_keys(None, {"SLM_API_KEY": "short"})


def test_every_key_is_compared_in_constant_time(monkeypatch):
    import hmac

    compared = []
    same = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(len(a)) or same(a, b))
    keys = Keys(read_keys(None, {"SLM_API_KEY": KEY}).digests | {"b": b"x" * 32})
    assert keys.name_of(f"Bearer {KEY}") == "1" and keys.name_of("Bearer nothing") is None
    assert compared == [32] * 4


# -- a server that stops -----------------------------------------------------------------------------------------------


@pytest.fixture
def process(directory):
    """`slm serve` as a process of its own, slowed down; (the process, its port)."""
    program = (
        "import sys, time\n"
        "from model.batch import Batch\n"
        "advance = Batch.advance\n"
        "def slowly(self):\n"
        "    time.sleep(0.02)\n"
        "    advance(self)\n"
        "Batch.advance = slowly\n"
        "from pipeline.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", program, "serve", str(directory), "--port", "0", "--together", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SLM_API_KEY": KEY, "SLM_DATA": str(directory)}
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )
    try:
        line = running.stdout.readline()
        assert ": talk on http://127.0.0.1:" in line, running.stderr.read() if running.poll() else line
        assert running.stdout.readline().startswith("try it") and "curl http://127.0.0.1:" in running.stdout.readline()
        yield running, int(line.strip().rpartition(":")[2].removesuffix("/v1"))
    finally:
        if running.poll() is None:
            running.kill()
        running.communicate()


def test_sigterm_lets_the_answer_finish_and_refuses_others(process):
    running, port = process
    key = f"Authorization: Bearer {KEY}"
    with sent(port, ask(stream=True, max_tokens=100), key) as link, sent(port, ask(), key) as waiting:
        assert link.recv(1, socket.MSG_PEEK)
        running.send_signal(signal.SIGTERM)
        status, headers, body = answer(waiting)
        assert (status, "stopping" in body) == (503, True) and int(headers["retry-after"]) >= 1
        with sent(port, ask(), key) as late:
            assert answer(late)[0] == 503
        status, about = health(port)
        assert (status, about["status"]) == (503, "stopping")
        status, _, body = answer(link)
        assert status == 200 and body.count('"content"') > 50 and "data: [DONE]" in body
        assert '"finish_reason": "length"' in body
    assert running.wait(25) == 0
    errors = running.stderr.read()
    assert "Traceback" not in errors and errors.count(" 503 ") >= 2 and KEY not in errors


def test_ctrl_c_stops_it_too(process):
    running, port = process
    assert health(port)[0] == 200
    running.send_signal(signal.SIGINT)
    assert running.wait(25) == 0
    assert "Traceback" not in running.stderr.read()


def test_answers_that_take_too_long_to_finish_are_broken_off(text_model, pace):
    turns = Turns(Limits(stopping=0.5))
    taken = []
    pace.seconds = 0.05
    with served(text_model, turns) as port:
        link = sent(port, ask(stream=True))
        until(lambda: pace.tokens > 2)
        reader = threading.Thread(target=lambda: taken.append(answer(link)))
        reader.start()
        started = time.monotonic()
    assert time.monotonic() - started < 8
    reader.join(10)
    link.close()
    assert "[DONE]" not in taken[0][2]
    assert not turns.places and pace.tokens < 400


def test_an_address_that_is_taken_and_wrong_options_are_one_sentence(directory, tmp_path):
    from click.testing import CliRunner

    from pipeline.cli import main

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        run = CliRunner().invoke(main, ["serve", str(directory), "--port", port])
    assert run.exit_code == 1 and f"port {port}, cannot be served" in run.output and "Traceback" not in run.output
    run = CliRunner().invoke(main, ["serve", str(directory), "--api-key", KEY])
    assert run.exit_code == 1 and "not a key" in run.output and KEY not in run.output
    for command in ("serve", "chat"):
        run = CliRunner().invoke(main, [command, str(tmp_path)])
        assert run.exit_code == 1 and "is not the folder of a model" in run.output
    for wrong in ("--queue 0", "--together 0", "--wait 0", "--answer -1", "--requests-by-minute -1"):
        assert CliRunner().invoke(main, ["serve", str(directory), *wrong.split()]).exit_code == 2
    with pytest.raises(ValueError, match="`places` of the server must be at least 1"):
        Limits(places=0)

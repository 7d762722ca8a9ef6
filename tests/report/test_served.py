"""`make ui` serves the reports: a list of recipes, and the page of each."""

import threading
import urllib.error
import urllib.request
from http.server import ThreadingHTTPServer

import fsspec
import pytest

from assets import report_server
from pipeline.report import report
from pipeline.store.remote import recipes_in


def test_the_page_of_each_recipe_is_served_and_nothing_else(project):
    content = project.make(report.ASSET).file(report.FILE).read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), report_server.Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with urllib.request.urlopen(f"{site}/", timeout=30) as answer:
            assert b'<a href="/tiny">tiny</a>' in answer.read()
        with urllib.request.urlopen(f"{site}/tiny#removed", timeout=30) as answer:
            assert answer.read() == content and answer.headers["Content-Type"] == "text/html; charset=utf-8"
        for path in ("/other", "/..%2F..%2Fetc", "/tiny/report"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{site}{path}", timeout=30)
            assert refused.value.code == 404
    finally:
        server.shutdown()
        server.server_close()


def test_before_there_is_a_report_the_list_says_what_makes_one(tmp_path, monkeypatch):
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "empty"))
    page = report_server.page_of("/") or b""
    assert b"every job makes one" in page and b'href="http://127.0.0.1:8000"' in page, "and where one talks to a model"
    monkeypatch.setenv(report_server.CHAT_ADDRESS, "http://chat.example:80")
    assert b'href="http://chat.example:80"' in (report_server.page_of("/") or b"")


def test_recipes_are_named_wherever_the_store_is(tmp_path):
    for name in ("b", "a", ".machine"):
        (tmp_path / name).mkdir()
    (tmp_path / "note.txt").write_text("no recipe")
    assert recipes_in(tmp_path) == ["a", "b"] and recipes_in(tmp_path / "nothing") == []
    memory = fsspec.filesystem("memory")
    memory.pipe("/recipes-of-a-test/demo/raw_documents/current", b"x")
    try:
        assert recipes_in("memory://recipes-of-a-test") == ["demo"]
        assert recipes_in("memory://no-such-store") == []
    finally:
        memory.rm("/recipes-of-a-test", recursive=True)

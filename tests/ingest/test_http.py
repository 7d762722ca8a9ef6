"""Downloads from a real server on loopback that breaks connections, lies about lengths and serves wrong contents."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import urllib.error
from collections import Counter
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.errors import UserError
from pipeline.ingest import addresses, http
from pipeline.ingest.records import Unreachable
from pipeline.ingest.source import Source, parse_source

CONTENT = b"".join(b'{"text": "document %06d"}\n' % i for i in range(20_000))
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `content` at every address; the first part of the path says how badly."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag = CONTENT, '"v1"'
        self.requests: Counter[str] = Counter()
        self.asked: list[str | None] = []  # the ranges
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        if self.path.startswith("/no-head"):
            return self.refuse(405)
        self.do_GET(body=False)

    def refuse(self, code: int, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self, body: bool = True) -> None:
        server, how = self.server, self.path.split("/")[1]
        with server.lock:
            server.requests[f"{'GET' if body else 'HEAD'} {how}"] += 1
            count = server.requests[f"GET {how}"]
        self.answer(how, count, body)

    def answer(self, how: str, count: int, body: bool) -> None:
        server, content = self.server, self.server.content
        asked = self.headers.get("Range")
        if body:
            server.asked.append(asked)
        if how == "missing":
            return self.refuse(404)
        if how == "private":
            return self.refuse(403)
        if how == "busy" and body and count <= 2:
            return self.refuse(503, Retry_After="0")
        if how == "down":
            return self.refuse(500)
        if how == "slow":
            # Counted before a byte is sent: afterwards the client may be done and ask again before this thread goes on.
            with server.lock:
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            time.sleep(0.2)
            with server.lock:
                server.at_once -= 1
        start = 0
        same = how == "careless" or self.headers.get("If-Range", server.etag) == server.etag
        if asked and how != "no-ranges" and same:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            if start >= len(content):
                return self.refuse(416)
        if how == "shifted" and start:
            start += 7  # not what was asked for
        data = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if how not in ("no-etag",):
            self.send_header("ETag", server.etag)
        length = len(data)
        if how == "too-much":
            length += 1000
        if how == "too-little":
            length -= 1000
        if how != "no-length":
            self.send_header("Content-Length", str(length))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if not body:
            return
        if how in ("cuts", "cuts-changes", "careless", "no-ranges", "shifted", "no-etag") and count <= 3:
            data = data[: len(data) // 2]
            self.close_connection = True
            if how in ("cuts-changes", "careless") and count == 1:
                server.content, server.etag = CONTENT.replace(b"document", b"DOCUMENT"), '"v2"'
        if how == "too-much":
            self.close_connection = True
        if how == "corrupt" and count == 1:
            data = b"X" + data[1:]
        if how == "always-corrupt":
            data = b"X" + data[1:]
        for start in range(0, len(data) if how == "trickles" else 0, 100):
            try:
                self.wfile.write(data[start : start + 100])
            except OSError:
                return
            time.sleep(0.01)
        if how != "trickles":
            self.wfile.write(data[:length])


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setattr(http, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(http, "TIMEOUT", 5.0)
    running = Server()
    thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def source(*urls: str, **more: object) -> Source:
    return parse_source({"name": "s", "kind": "http", "url": list(urls), **more})


def test_a_file_is_fetched_once_and_read(server, read, store) -> None:
    given = source(server.url("good/a.jsonl"))
    found, _ = read(given)
    assert found.height == 20_000 and found["text"][5] == "document 000005"
    assert found["id"][0] == "a.jsonl#1" and found["url"][0] == server.url("good/a.jsonl")
    read(given)
    assert server.requests["GET good"] == 1


@pytest.mark.parametrize("how", ["cuts", "no-ranges", "no-etag", "busy", "no-length", "shifted"])
def test_bad_servers_are_outlasted(server, tmp_path, how) -> None:
    path = http.fetch(server.url(f"{how}/a.jsonl"), tmp_path, None)
    assert path.read_bytes() == CONTENT
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.jsonl", "download.json"]


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path) -> None:
    http.fetch(server.url("cuts/a.jsonl"), tmp_path, None)
    half, n = len(CONTENT) // 2, len(CONTENT)
    assert server.asked[:3] == [None, f"bytes={half}-", f"bytes={half + (n - half) // 2}-"]


def test_a_download_is_gone_on_with_by_the_next_run(server, tmp_path) -> None:
    url = server.url("cuts/a.jsonl")
    part = http.place(url, tmp_path).with_name("part")
    part.parent.mkdir(parents=True)
    assert not http.one_connection(url, part, 0, lambda count: None)[0]  # and here the process dies
    assert part.stat().st_size == len(CONTENT) // 2
    assert http.fetch(url, tmp_path, SHA256).read_bytes() == CONTENT
    assert server.asked[1] == f"bytes={len(CONTENT) // 2}-"


@pytest.mark.parametrize("how", ["cuts-changes", "careless"])  # the latter sends the rest of the new one all the same
def test_a_file_that_changes_between_two_connections_is_not_put_together(server, tmp_path, how) -> None:
    path = http.fetch(server.url(f"{how}/a.jsonl"), tmp_path, None)
    assert path.read_bytes() == CONTENT.replace(b"document", b"DOCUMENT")


def test_a_server_that_announces_more_than_it_has(server, tmp_path) -> None:
    with pytest.raises(Unreachable, match=r"cannot be fetched .*run the same command again"):
        http.fetch(server.url("too-much/a.jsonl"), tmp_path, None)
    assert not http.place(server.url("too-much/a.jsonl"), tmp_path).exists()


def test_a_server_that_announces_less_is_found_out_by_the_checksum(server, tmp_path) -> None:
    with pytest.raises(UserError, match="has the SHA-256"):
        http.fetch(server.url("too-little/a.jsonl"), tmp_path, SHA256)


def test_wrong_contents_are_fetched_again_and_then_refused(server, tmp_path, read) -> None:
    assert http.fetch(server.url("corrupt/a.jsonl"), tmp_path, SHA256).read_bytes() == CONTENT
    given = source(server.url("always-corrupt/a.jsonl"), sha256={"a.jsonl": SHA256})
    with pytest.raises(UserError, match=rf"has the SHA-256 [0-9a-f]{{64}}, not {SHA256}: correct `sha256`"):
        read(given)
    assert server.requests["GET always-corrupt"] == 2


@pytest.mark.parametrize(
    ("how", "said"),
    [("missing", r"is not there \(HTTP 404\): correct the address"), ("private", r"HTTP 403.*`kind: files`"),
     ("down", r"HTTP Error 500.*run the same command again")],
)  # fmt: skip
def test_refusals_are_one_sentence(server, read, how, said) -> None:
    with pytest.raises(UserError, match=said):
        read(source(server.url(f"{how}/a.jsonl")))


def test_nobody_answers(read, server) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(Unreachable, match="check the address and the network"):
        read(source(server.url("a.jsonl")))


def test_only_http_addresses(read) -> None:
    with pytest.raises(UserError, match="no http"):
        read(source("file:///etc/passwd"))


def test_numbered_addresses_are_several_files_fetched_at_once(server, read) -> None:
    found, _ = read(source(server.url("slow/a-{0..7}.jsonl"), limit=160_000))
    assert found.height == 160_000 and found["id"].n_unique() == 160_000
    assert 2 <= server.most_at_once <= http.AT_ONCE


def test_numbered_addresses() -> None:
    assert addresses.spelled_out("x-{08..10}-of-{1..2}.gz") == [
        "x-08-of-1.gz", "x-08-of-2.gz", "x-09-of-1.gz", "x-09-of-2.gz", "x-10-of-1.gz", "x-10-of-2.gz",
    ]  # fmt: skip
    assert addresses.spelled_out("plain") == ["plain"]


@pytest.mark.parametrize("how", ["good", "no-head"])
def test_a_change_is_seen_without_reading_and_fetched(server, make, how) -> None:
    given = source(server.url(f"{how}/a.jsonl"))
    first = make(given)
    fetched = server.requests[f"GET {how}"]
    assert make(given).version == first.version
    assert server.requests[f"GET {how}"] == (fetched if how == "good" else fetched + 1)  # a byte, to ask
    server.content, server.etag = CONTENT[: len(CONTENT) // 2], '"v2"'
    second = make(given)
    assert second.version != first.version and second.counts["kept"] == 10_000


def test_force_fetches_anew_what_the_server_says_is_unchanged(server, make) -> None:
    given = source(server.url("good/a.jsonl"))
    first = make(given)
    assert make(given, force=True).version == first.version  # fetched again, and the same
    assert server.requests["GET good"] == 2
    server.content = CONTENT.replace(b"document", b"DOCUMENT")  # of the same length, under the same ETag
    assert make(given).version == first.version
    second = make(given, force=True)
    assert second.version != first.version
    assert make(given).version == second.version  # and it stays so


def test_without_a_network_what_was_made_is_still_there(server, make) -> None:
    given = source(server.url("good/a.jsonl"))
    first = make(given)
    server.shutdown()
    server.server_close()
    assert make(given).version == first.version
    other = source(server.url("good/b.jsonl"))
    with pytest.raises(Unreachable):
        make(other)


def test_two_at_once_fetch_a_file_once(server, tmp_path) -> None:
    """As a job and a check of the same source do: the second waits, and finds what the first has fetched."""
    url = server.url("slow/a.jsonl")
    threads = [threading.Thread(target=http.fetch_all, args=([url], {}, tmp_path, lambda line: None)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert http.place(url, tmp_path).read_bytes() == CONTENT and server.requests["GET slow"] == 1


def test_downloads_that_nobody_needs_are_pruned(server, tmp_path) -> None:
    """Named by the recipe: kept. Not named and used lately: kept. Not named and long unused: gone, finished or not."""
    named, lately, old, broken = (server.url(f"plain/{name}.jsonl") for name in ("named", "lately", "old", "broken"))
    http.fetch_all([named, lately, old, broken], {}, tmp_path)
    http.place(broken, tmp_path).rename(http.place(broken, tmp_path).with_name("part"))
    http.place(broken, tmp_path).with_name(http.RECORD).unlink()
    long_ago = time.time() - 40 * 24 * 3600
    for url in (named, lately, old, broken):
        for file in http.place(url, tmp_path).parent.iterdir():
            os.utime(file, (long_ago, long_ago))
    http.fetch_all([lately], {}, tmp_path)  # it is there: not fetched, but used
    freed = dict(http.prune(tmp_path, [named], unused_days=30))
    assert set(freed) == {old, "?"} and freed[old] >= len(CONTENT) and freed["?"] == len(CONTENT)
    assert [bool(http.note(url, tmp_path)) for url in (named, lately, old)] == [True, True, False]
    asked = sum(server.requests.values())
    http.fetch_all([old], {}, tmp_path)
    assert sum(server.requests.values()) > asked and http.note(old, tmp_path)


def test_downloads_of_tuning_data_and_evaluation_sets_count_as_named(server, store) -> None:
    from pipeline.ingest import raw_documents
    from pipeline.ingest.cache import cache_of
    from pipeline.recipe import parse

    recipe = parse(
        f"""
name: mine
sources: [{{name: a, kind: http, url: "{server.url("plain/source.jsonl")}"}}]
curation: {{contamination: {{sets: [{{name: a, kind: http, url: "{server.url("plain/set.jsonl")}"}}]}}}}
instructions: {{sources: [{{name: a, kind: http, url: "{server.url("plain/sft.jsonl")}"}}]}}
preferences: {{sources: [{{name: a, kind: http, url: "{server.url("plain/pairs.jsonl")}"}}]}}
"""
    )
    urls = [server.url(f"plain/{name}.jsonl") for name in ("source", "set", "sft", "pairs", "other")]
    http.fetch_all(urls, {}, cache_of(store), lambda line: None)
    freed = raw_documents.prune_downloads(store, recipe.origins(), unused_days=-1)
    assert [url for url, _ in freed] == urls[4:]


# -- addresses, checksums and servers that nobody thought of -----------------------------------------------------------


@pytest.mark.parametrize("said", ["²", "-5", "1e9", "nan", "", "Wed, 21 Oct 2015 07:28:00 GMT", "9" * 5000, "１"])
def test_any_retry_after_is_waited_for_or_passed_over(monkeypatch, said) -> None:
    waited: list[float] = []
    monkeypatch.setattr(http.time, "sleep", waited.append)
    headers = Message()
    headers["Retry-After"] = said
    http.wait_or_give_up("http://a/", urllib.error.HTTPError("http://a/", 503, "busy", headers, None), 0)
    assert len(waited) == 1 and 0 < waited[0] <= http.LONGEST_WAIT


@pytest.mark.parametrize("length", ["²", "-1", "many", "9" * 5000, ""])
def test_any_length_is_understood_or_passed_over(length) -> None:
    headers = Message()
    headers["Content-Length"] = length
    headers["Content-Range"] = f"bytes 0-0/{length}"
    assert http.Remote.of(headers).length is None


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("http://한국.kr/자료/글.txt", "http://xn--3e0b707e.kr/%EC%9E%90%EB%A3%8C/%EA%B8%80.txt"),
        ("http://a.kr/글 하나.txt?키=값&n=1", "http://a.kr/%EA%B8%80%20%ED%95%98%EB%82%98.txt?%ED%82%A4=%EA%B0%92&n=1"),
        ("http://a.kr/%EA%B8%80.txt#part", "http://a.kr/%EA%B8%80.txt"),
        ("https://user:pass@[::1]:8080/a+b,c;d=e", "https://user:pass@[::1]:8080/a+b,c;d=e"),
        ("http://A.example/x-{1}.txt", "http://a.example/x-%7B1%7D.txt"),
    ],
)
def test_addresses_are_sent_as_dns_and_http_have_them(given, sent) -> None:
    assert addresses.wire_address(given) == sent


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://", "names no host"), ("http:///a", "names no host"), ("http://[::1", "host or port"),
        ("http://a:port/x", "host or port"), ("http://a:99999/x", "host or port"), ("http://a b/x", "holds a blank"),
        ("http://" + "가" * 70 + ".kr/x", "no name of a host"), ("http://가..kr/x", "no name of a host"),
        ("http://a/{9..1}.txt", "write the lower number first"), ("http://a/{1..99999999}", "are the most"),
        ("http://a/{1.." + "9" * 5000 + "}", "of at most 15 digits"), ("http://a/{0..999}/{0..999}", "are the most"),
        ("ftp://a/b", r"no http\(s\) address"), ("a/b", r"no http\(s\) address"),
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_meant_is_refused_before_anything_is_fetched(url, said, tmp_path) -> None:
    with pytest.raises(UserError, match=f"Source `s`: .*{said}"):
        source(url).observe(tmp_path)


def test_files_with_korean_names_are_fetched_by_a_korean_path(server, read) -> None:
    found, _ = read(source(server.url("good/자료 하나.jsonl")))
    assert found.height == 20_000 and found["id"][0] == "자료 하나.jsonl#1"
    assert read(source(server.url("good/" + "긴" * 120 + ".jsonl")))[0].height == 20_000


def test_a_checksum_of_no_file_or_of_another_form_is_refused(server, tmp_path) -> None:
    url = server.url("good/part-1.jsonl")
    with pytest.raises(UserError, match=r"`sha256` names `part-2.jsonl`, .*: perhaps `part-1.jsonl` is meant"):
        source(url, sha256={"part-2.jsonl": SHA256}).observe(tmp_path)
    with pytest.raises(UserError, match="is no SHA-256, which has 64 hex digits"):
        source(url, sha256={"part-1.jsonl": SHA256[:-1]}).observe(tmp_path)
    assert server.requests.total() == 0


def test_a_server_that_trickles_is_given_up_and_the_rate_is_a_setting(server, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(http, "WINDOW", 0.2)
    url = server.url("trickles/a.jsonl")
    with pytest.raises(Unreachable, match="bytes a second, less than the `min_rate` of 100,000"):
        http.fetch_all([url], {}, tmp_path, min_rate=100_000)
    assert server.requests["GET trickles"] == http.ATTEMPTS
    server.content = CONTENT[:2000]
    assert http.fetch_all([url], {}, tmp_path / "any", min_rate=0)[0].read_bytes() == CONTENT[:2000]


def test_the_least_rate_is_no_part_of_what_a_source_is() -> None:
    one, other = source("http://a/b"), source("http://a/b", min_rate=5)
    assert one.identity("o") == other.identity("o") and one.as_recorded() == other.as_recorded()

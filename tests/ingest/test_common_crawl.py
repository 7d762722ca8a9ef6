"""Web archives: pages extracted, text as it is, and a crawl laid out as Common Crawl lays it out on its server."""

from __future__ import annotations

import functools
import gzip
import io
import os
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from pipeline.documents.execution import ExecutionSettings, run_all
from pipeline.errors import UserError
from pipeline.ingest import extraction
from pipeline.ingest.extraction import main_texts
from pipeline.ingest.source import Source, parse_source

# warcio's writer leaves its temporary files to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed file <tempfile:ResourceWarning")

ARTICLE = "".join(
    f"<p>문단 {i}: 이 문서의 본문은 여러 문장으로 되어 있고, 충분히 길어서 본문으로 뽑힌다.</p>" for i in range(8)
)
OLD_PAGE = f'<html><head><meta charset="euc-kr"></head><body><article>{ARTICLE}</article></body></html>'
PAGE = f"<html><head><title>t</title></head><body><nav>메뉴 홈</nav><article>{ARTICLE}</article></body></html>"


def wet() -> bytes:
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=True)
    for i, (text, languages) in enumerate(
        [("한국어 문서", "kor"), ("English text", "eng,kor"), ("누구 말인지 모름", None)]
    ):
        headers = {"WARC-Identified-Content-Language": languages} if languages else {}
        writer.write_record(
            writer.create_warc_record(
                f"http://a.kr/{i}", "conversion", payload=io.BytesIO(text.encode()), warc_headers_dict=headers,
                warc_content_type="text/plain",
            )
        )  # fmt: skip
    return out.getvalue()


def warc() -> bytes:
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=True)
    pages = [
        ("http://a.kr/good", "200 OK", "text/html; charset=utf-8", PAGE.encode()),
        ("http://a.kr/old", "200 OK", "text/html; charset=euc-kr", OLD_PAGE.encode("euc-kr")),
        ("http://a.kr/gone", "404 Not Found", "text/html", PAGE.encode()),
        ("http://a.kr/pic", "200 OK", "image/png", b"\x89PNG"),
        ("http://a.kr/none", "200 OK", "text/html", b"<html><body></body></html>"),
        ("http://a.kr/plain", "200 OK", "text/plain", b"plain text as it is"),
    ]  # fmt: skip
    for address, status, kind, body in pages:
        headers = StatusAndHeaders(status, [("Content-Type", kind)], protocol="HTTP/1.1")
        writer.write_record(
            writer.create_warc_record(address, "response", payload=io.BytesIO(body), http_headers=headers)
        )
        writer.write_record(
            writer.create_warc_record(address, "request", payload=io.BytesIO(b"GET / HTTP/1.1\r\n\r\n"))
        )
    return out.getvalue()


def local(path: Path, **more: object) -> Source:
    return parse_source({"name": "s", "kind": "files", "path": str(path), **more})


def test_wet_is_taken_as_it_is(tmp_path, read) -> None:
    (tmp_path / "a.warc.wet.gz").write_bytes(wet())
    found, _ = read(local(tmp_path / "*"))
    assert found.select("text", "lang", "url").rows() == [
        ("한국어 문서", "ko", "http://a.kr/0"),
        ("English text", "en", "http://a.kr/1"),
        ("누구 말인지 모름", None, "http://a.kr/2"),
    ]
    assert found["id"].n_unique() == 3 and found["id"].str.len_chars().min() == 36
    assert '"date"' in found["meta"][0]


def test_a_source_of_one_language_leaves_the_others_out(tmp_path, read) -> None:
    (tmp_path / "a.wet.gz").write_bytes(wet())
    found, tally = read(local(tmp_path / "*", lang="ko"))
    assert found["text"].to_list() == ["한국어 문서", "누구 말인지 모름"] and found["lang"].to_list() == ["ko", "ko"]
    assert tally.skipped == {"other_language": 1}


def test_pages_give_their_main_text_in_whatever_encoding(tmp_path, read) -> None:
    (tmp_path / "a.warc.gz").write_bytes(warc())
    found, tally = read(local(tmp_path / "*"))
    assert [url.rsplit("/")[-1] for url in found["url"]] == ["good", "old", "plain"]
    assert found["text"][0] == found["text"][1] and "문단 3: 이 문서의" in found["text"][0]
    assert "메뉴" not in found["text"][0]
    assert tally.skipped == {"no_text": 1}


def test_a_damaged_archive_is_named(tmp_path, read) -> None:
    (tmp_path / "a.warc").write_bytes(b"no archive at all\r\n\r\n")
    with pytest.raises(UserError, match=r"a\.warc is no web archive"):
        read(local(tmp_path / "a.warc"))
    (tmp_path / "b.warc.gz").write_bytes(warc()[:-30])
    with pytest.raises(UserError, match=r"b\.warc\.gz is damaged or cut off"):
        read(local(tmp_path / "b.warc.gz"))


@pytest.fixture
def host(tmp_path) -> Iterator[str]:
    """A crawl as it lies on data.commoncrawl.org, served on loopback."""
    root = tmp_path / "host"
    crawl = root / "crawl-data" / "CC-MAIN-2025-05"
    for kind, content in {"wet": wet(), "warc": warc()}.items():
        names = [f"crawl-data/CC-MAIN-2025-05/segments/1/{kind}/CC-MAIN-{i:05d}.warc.{kind}.gz" for i in range(3)]
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        (crawl / f"{kind}.paths.gz").write_bytes(gzip.compress("\n".join(names).encode() + b"\n"))
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(root))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def crawl(host: str, **more: object) -> Source:
    return parse_source({"name": "s", "kind": "common_crawl", "crawl": "CC-MAIN-2025-05", "url": host, **more})


def test_a_crawl_is_read_by_the_numbers_of_its_files(host, read, make) -> None:
    assert read(crawl(host))[0].height == 3
    assert (
        read(crawl(host, segments=[2, 0], lang="en"))[0]["text"].to_list() == ["English text", "누구 말인지 모름"] * 2
    )
    assert read(crawl(host, content="warc"))[0].height == 3
    assert read(crawl(host, segments=[0, 1, 2], limit=4))[0].height == 4
    with pytest.raises(UserError, match="has 3 wet files, so `segments` goes from 0 to 2 and not to 7"):
        read(crawl(host, segments=[7]))
    with pytest.raises(UserError, match="is not there"):
        read(crawl(host).model_copy(update={"crawl": "CC-MAIN-1999-01"}))
    artifact = make(crawl(host, lang="ko"))
    assert artifact.counts["removed"] == {"other_language": 1}


def test_real_pages(read) -> None:
    folder = Path(os.environ.get("SLM_SHARED_DATA", "../shared/data"))
    sample = folder / "quality" / "sample-0000.warc.gz"
    if not sample.exists():
        pytest.skip("the shared data is not there; the same is tested on records made here")
    found, _ = read(local(sample))
    assert found.height >= 15 and found["text"].str.len_chars().median() > 300
    assert found["url"].str.starts_with("https://").all()
    assert not found["text"].str.contains("<div|</p>").any()


def test_pages_are_extracted_the_same_in_processes() -> None:
    pages = [PAGE.replace("문단", f"문단 {i}") for i in range(80)] + ["<html></html>", PAGE.encode()]
    here = main_texts(pages, ExecutionSettings(executor="in_process"))
    assert len(here) == 82 and here[80] is None and here[5] is not None and "문단 5 3:" in here[5]
    apart = list(run_all(extraction._main_texts, [(pages[:41],), (pages[41:],)], ExecutionSettings(workers=2), 1 << 40))
    assert [text for _, texts in sorted(apart) for text in texts] == here

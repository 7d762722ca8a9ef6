"""Serves the reports of all recipes: `/` names them, `/RECIPE` is one, `/STORE/RECIPE` where stores have names.

Started by `make ui`.
"""

import argparse
import html
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit

from pipeline import locations, places
from pipeline.report import report
from pipeline.store.remote import open_store, recipes_in
from pipeline.store.store import Store

PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>Reports</title><style>body{{font:17px/1.6 system-ui,sans-serif;max-width:40em;"
    "margin:3em auto;padding:0 1em}}</style><h1>Reports</h1>{}</html>"
)
CHAT_ADDRESS, CHAT_DEFAULT = "SLM_CHAT_UI", "http://127.0.0.1:8000"  # where `slm serve` has its page


def names() -> dict[str, Store]:
    """The recipes that have a report, by what stands in the address: the store of each."""
    stores = {f"{name}/": of.data for name, of in locations.known().items()} or {"": places.data()}
    opened = {before + name: open_store(data, name) for before, data in stores.items() for name in recipes_in(data)}
    return {name: store for name, store in opened.items() if store.current(report.ASSET)}


def page_of(path: str) -> bytes | None:
    """What is served at a path; None if there is nothing."""
    asked, known = unquote(urlsplit(path).path).strip("/"), names()
    if asked in known:
        return known[asked].require(report.ASSET).file(report.FILE).read_bytes()
    if asked:
        return None
    links = "".join(f'<li><a href="/{quote(name)}">{html.escape(name)}</a></li>' for name in known)
    content = f"<ul>{links}</ul>" if known else "<p>No recipe has a report yet: every job makes one at its end.</p>"
    chat = html.escape(os.environ.get(CHAT_ADDRESS) or CHAT_DEFAULT)
    talk = f'<p>To talk to a model, run <code>slm serve</code>: <a href="{chat}">{chat}</a></p>'
    return PAGE.format(content + talk).encode()


class Handler(BaseHTTPRequestHandler):
    """Answers GET."""

    def do_GET(self) -> None:
        content = page_of(self.path)
        body = content or PAGE.format("<p>There is no report of this name yet.</p>").encode()
        self.send_response(200 if content else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal is for what matters."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m assets.report_server", description="The reports in the browser")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3001)
    options = parser.parse_args(arguments)
    ThreadingHTTPServer((options.host, options.port), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())

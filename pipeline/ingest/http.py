"""Files at HTTP addresses: fetched into a cache, resumed where a connection broke, checked, then read as files.

Nothing that a server says is trusted further than it can be checked: a file is complete when as many bytes came as
were announced, a checksum in the recipe overrides everything else, and a partial file is only resumed while the server
gives it the same ETag.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipeline.errors import UserError
from pipeline.ingest.addresses import checked_addresses, last_part, wire_address
from pipeline.ingest.cache import alone
from pipeline.ingest.files import file_hash
from pipeline.ingest.formats import FilesOfRecords
from pipeline.ingest.open_files import Part
from pipeline.ingest.records import Reading, Unreachable
from pipeline.ingest.source_kind import LONGEST_NAME, Log, Observed, Place, Texts
from pipeline.store.artifact import digest, file_digest
from pipeline.store.tables import put_in_place, write_whole

AT_ONCE = 4
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 6  # in a row that bring nothing new
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
BLOCK = 1 << 18
RECORD = "download.json"  # beside a finished download: what the server said of it
DIGITS = re.compile(r"[0-9]{1,18}")  # `str.isdigit` is also true of `²`
SLOWEST = 1000  # bytes a second, over `WINDOW`: less is no download that ends, but a server that holds a connection
WINDOW = 60.0  # seconds
TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
HEADERS = {"User-Agent": "slm/0.1 (training data)", "Accept-Encoding": "identity"}
BROKEN = (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


@dataclass(frozen=True)
class Remote:
    """What a server says of a file; together it tells whether the file is another one now."""

    etag: str | None
    modified: str | None
    length: int | None

    @staticmethod
    def of(headers: Any) -> Remote:
        length = headers.get("Content-Length")
        total = re.fullmatch(r"bytes [0-9]+-[0-9]+/([0-9]{1,18})", headers.get("Content-Range") or "")
        known = int(total[1]) if total else int(length) if DIGITS.fullmatch(length or "") else None
        return Remote(headers.get("ETag"), headers.get("Last-Modified"), known)


# The kind of every block that reads files at addresses.
Http = Annotated[Literal["http"], Field(description="files at HTTP addresses")]


class OverHttp(Place):
    """Files at HTTP addresses."""

    url: Texts = Field(description="addresses; `{00..07}` stands for each number")
    sha256: dict[str, str] = Field(default_factory=dict, description="checksums, by the last part of the address")
    min_rate: int = Field(
        SLOWEST, ge=0, le=10**9, description="bytes a second, over a minute, below which a connection counts as broken "
        "and is opened anew, a few times; 0: any rate will do as long as a byte comes every 30 seconds"
    )  # fmt: skip

    def observe(self, cache: Path, log: Log = print, force: bool = False) -> Observed:
        """What is there now, by ETag, date and length, or by the recipe's checksum. `force`: fetch all files anew."""
        urls = self.addresses()
        if force:
            fetch_all(urls, self.sha256, cache, log, force=True, min_rate=self.min_rate)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            remotes = list(pool.map(lambda url: None if last_part(url) in self.sha256 else ask(url), urls))
        states = [
            self.sha256[last_part(url)]
            if remote is None
            else [remote.etag, remote.modified, remote.length, salt(url, cache)]
            for url, remote in zip(urls, remotes)
        ]
        sizes = [remote.length or 0 for remote in remotes if remote is not None]
        return {
            "digest": digest(
                [[last_part(url), state, *self.read_as(last_part(url))] for url, state in zip(urls, states)]
            ),
            "files": len(urls),
            "bytes": sum(sizes),
        }

    @contextmanager
    def opened(self, observed: Observed, reading: Reading) -> Iterator[Iterable[Part]]:
        urls = self.addresses()
        for url in urls:
            refresh(url, reading.cache, self.sha256.get(last_part(url)))
        paths = fetch_all(urls, self.sha256, reading.cache, reading.log, min_rate=self.min_rate)
        yield (Part.of_file(path, last_part(url), url) for url, path in zip(urls, paths))

    def describe(self) -> str:
        return ", ".join(self.url)

    def downloads(self, cache: Path) -> list[str]:
        return self.addresses()

    def addresses(self) -> list[str]:
        """All addresses, `{00..07}` written out; a UserError for one that cannot be meant, a checksum of none."""
        return checked_addresses(self.heading, self.url, self.sha256)


class HttpSource(FilesOfRecords, OverHttp):
    """Files at HTTP addresses, fetched once."""

    icon: ClassVar[str] = "http"

    kind: Http = "http"


# -- the cache ---------------------------------------------------------------------------------------------------------


def place(url: str, cache: Path) -> Path:
    """Where the file of an address lies in the cache."""
    name = re.sub(r"[^\w.-]", "_", last_part(url))[-128:]
    while len(name.encode()) > LONGEST_NAME:  # a Korean letter takes three bytes
        name = name[1:]
    return cache / "downloads" / digest(url)[:16] / name


def note(url: str, cache: Path) -> dict[str, Any]:
    """What is recorded of a finished download; {} where there is none."""
    path = place(url, cache)
    try:
        return json.loads(path.with_name(RECORD).read_text()) if path.exists() else {}
    except (FileNotFoundError, ValueError):
        return {}


def salt(url: str, cache: Path) -> str | None:
    """Hash of contents that once changed while everything that the server says stayed the same."""
    return note(url, cache).get("salt")


def refresh(url: str, cache: Path, sha256: str | None) -> None:
    """Drop a download that is not what lies at the address now."""
    known = note(url, cache)
    if known and sha256 is None:
        try:
            remote = ask(url)
        except Unreachable:
            return  # what was fetched is all that there is
        if [remote.etag, remote.modified, remote.length] != known["remote"]:
            place(url, cache).unlink()


def fetch_all(
    urls: Sequence[str],
    sha256: dict[str, str],
    cache: Path,
    log: Log = print,
    force: bool = False,
    min_rate: int = SLOWEST,
) -> list[Path]:
    """Fetch several files at once, those that are not in the cache yet (or all: `force`); returns where they lie."""
    from tqdm import tqdm

    missing = [url for url in urls if force or not note(url, cache)]
    if missing:
        log(f"fetching {len(missing)} of {len(urls)} files from {urllib.parse.urlsplit(urls[0]).netloc}")
    with (
        tqdm(unit="B", unit_scale=True, desc="download", leave=False, disable=None if missing else True) as bar,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        futures = [
            pool.submit(fetch, url, cache, sha256.get(last_part(url)), bar.update, force, min_rate) for url in missing
        ]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for url in urls:
        os.utime(place(url, cache).with_name(RECORD))  # when it was last used: what `prune` goes by
    return [place(url, cache) for url in urls]


def prune(cache: Path, named: Collection[str], unused_days: float, dry: bool = False) -> list[tuple[str, int]]:
    """Delete downloads, finished or not, of addresses that are not `named` and that nobody used for so many days.

    The cache is shared by all recipes of a store, so what this one does not name may be used by another. Returns
    (address, bytes freed) of each; "?" for a download that was never finished. dry: delete nothing.
    """
    kept = {place(url, cache).parent.name for url in named}
    since = time.time() - unused_days * 24 * 3600
    freed = []
    for folder in sorted(path for path in (cache / "downloads").glob("*") if path.is_dir()):
        with alone(folder):
            files = list(folder.iterdir())
            used = max((file.stat().st_mtime for file in files), default=0.0)
            if folder.name in kept or used > since:
                continue
            record = folder / RECORD
            url = json.loads(record.read_text())["url"] if record.exists() else "?"
            size = sum(file.stat().st_size for file in files)
            freed.append((url, size))
            if not dry:
                record.unlink(missing_ok=True)  # first: what has none counts as not fetched
                shutil.rmtree(folder)
    return freed


# -- one file ----------------------------------------------------------------------------------------------------------


def ask(url: str) -> Remote:
    """What the server says of the file, without fetching it."""
    for attempt in range(ATTEMPTS):
        try:
            for method, range_header in (("HEAD", {}), ("GET", {"Range": "bytes=0-0"})):
                request = urllib.request.Request(wire_address(url), headers={**HEADERS, **range_header}, method=method)
                try:
                    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                        return Remote.of(response.headers)
                except urllib.error.HTTPError as error:
                    if method == "HEAD" and error.code in (403, 405, 501):  # some servers only know GET
                        error.close()
                        continue
                    raise
        except BROKEN as error:
            wait_or_give_up(url, error, attempt)
    raise Unreachable(f"{url} does not answer: check the address and the network, then run the same command again.")


def fetch(
    url: str,
    cache: Path,
    sha256: str | None,
    progress: Callable[[int], Any] = lambda count: None,
    force: bool = True,
    min_rate: int = SLOWEST,
) -> Path:
    """Fetch one file into the cache, from where an earlier attempt came to; returns its place there.

    Raises Unreachable where the server does not answer or never sends what it announces, UserError for a wrong
    checksum or an address that the server refuses.
    """
    target = place(url, cache)
    with alone(target.parent):
        if force or not note(url, cache):  # else another process has fetched it meanwhile
            target.parent.mkdir(parents=True, exist_ok=True)
            fetch_alone(url, cache, target, sha256, partial(download, progress=progress, min_rate=min_rate))
    return target


def fetch_alone(url: str, cache: Path, target: Path, sha256: str | None, load: Callable[[str, Path], Remote]) -> None:
    """Download with `load`, check, put in place, record; the record is last, so what has none counts as not fetched."""
    part = target.with_name("part")
    before = note(url, cache)
    remote = load(url, part)
    if sha256 is not None and (found := file_digest(part)) != sha256.lower():
        part.unlink()  # it may have been put together from two versions of the file: once more from the start
        remote = load(url, part)
        if (found := file_digest(part)) != sha256.lower():
            part.unlink()
            raise UserError(
                f"{url} has the SHA-256 {found}, not {sha256}: correct `sha256` if the file was meant to change, "
                "else do not use it."
            )
    content = file_hash(part)
    said = [remote.etag, remote.modified, remote.length]
    changed_unsaid = bool(before) and before["remote"] == said and before["content"] != content
    record = {"url": url, "remote": said, "content": content, "salt": content if changed_unsaid else before.get("salt")}
    put_in_place(part, target)
    write_whole(target.with_name(RECORD), json.dumps(record))
    part.with_name("part.json").unlink(missing_ok=True)


def download(url: str, part: Path, progress: Callable[[int], Any], min_rate: int = SLOWEST) -> Remote:
    """Bytes to `part` until all are there that the server announced, resuming after every break."""
    fruitless, farthest = 0, 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        try:
            finished, remote = one_connection(url, part, have, progress, min_rate)
            if finished:
                return remote
            problem: Exception = EOFError(
                f"the connection ended after {part.stat().st_size:,} of {remote.length:,} bytes"
            )
        except BROKEN as error:
            problem = error
        size = part.stat().st_size if part.exists() else 0
        if isinstance(problem, TooSlow):  # it brings something each time, and would be tried for ever
            farthest = max(farthest, size)
        # Farther than ever: else a server that announces too much would be asked again for ever.
        fruitless = 0 if size > farthest else fruitless + 1
        farthest = max(farthest, size)
        wait_or_give_up(url, problem, max(fruitless - 1, 0))


def one_connection(
    url: str, part: Path, have: int, progress: Callable[[int], Any], min_rate: int = SLOWEST
) -> tuple[bool, Remote]:
    """Append what one connection brings; (whether the file is whole, what the server says of it)."""
    about = part.with_name("part.json")
    headers = dict(HEADERS)
    etag = None
    if have:
        with suppress(FileNotFoundError, ValueError):
            etag = json.loads(about.read_text()).get("etag")
        if etag and not etag.startswith("W/"):
            headers |= {"Range": f"bytes={have}-", "If-Range": etag}
    try:
        response: HTTPResponse = urllib.request.urlopen(
            urllib.request.Request(wire_address(url), headers=headers), timeout=TIMEOUT
        )
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing after what is here: the announced length was wrong, or the file is another
            part.unlink(missing_ok=True)
        raise
    with response:
        remote = Remote.of(response.headers)
        start = re.match(rf"bytes {have}-", response.headers.get("Content-Range") or "")
        append = have > 0 and response.status == 206 and start is not None and remote.etag == etag
        if response.status == 206 and not append:
            part.unlink(missing_ok=True)
            raise HTTPException("the server sent another part of the file than the one asked for")
        write_whole(about, json.dumps({"etag": remote.etag}))
        size = have if append else 0
        with open(part, "ab" if append else "wb") as file:
            for block in blocks_of(response, min_rate):
                file.write(block)
                size += len(block)
                progress(len(block))
    return remote.length is None or size == remote.length, remote


class TooSlow(ConnectionError):
    """A connection that brings too little."""


def blocks_of(response: HTTPResponse, min_rate: int) -> Iterator[bytes]:
    """What a connection brings, as it comes. Raises TooSlow where it was less than `min_rate` over a window."""
    since, came = time.monotonic(), 0
    while True:
        try:
            block = response.read1(BLOCK)
        except OSError as error:  # also those without a class of their own, such as a network that is gone
            raise error if isinstance(error, BROKEN) else ConnectionError(*error.args) from None
        if not block:
            return
        yield block
        came += len(block)
        passed = time.monotonic() - since
        if passed >= WINDOW:
            if came < min_rate * passed:
                raise TooSlow(f"{came / passed:,.0f} bytes a second, less than the `min_rate` of {min_rate:,}")
            since, came = time.monotonic(), 0


def wait_or_give_up(url: str, error: Exception, attempt: int) -> None:
    """Wait, longer each time; a UserError where waiting cannot help, Unreachable after ATTEMPTS."""
    code = error.code if isinstance(error, urllib.error.HTTPError) else None
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it holds the connection
    if code in (401, 403):
        raise UserError(
            f"{url} may not be fetched by everyone (HTTP {code}): fetch it yourself, then use `kind: files`."
        ) from error
    if code == 416:
        pass
    elif code is not None and code not in TEMPORARY:
        raise UserError(f"{url} is not there (HTTP {code}): correct the address in the recipe.") from error
    if attempt + 1 >= ATTEMPTS:
        raise Unreachable(
            f"{url} cannot be fetched ({str(error) or type(error).__name__}): check the address and the network, then "
            "run the same command again; it resumes where it stopped."
        ) from error
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * random.uniform(0.75, 1.25)
    said = error.headers.get("Retry-After", "") if isinstance(error, urllib.error.HTTPError) else ""
    time.sleep(min(LONGEST_WAIT, float(said)) if DIGITS.fullmatch(said) else wait)

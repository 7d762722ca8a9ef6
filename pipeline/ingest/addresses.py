"""Addresses of files: as a recipe writes them, as they are sent, and what is wrong with them."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import product

from pipeline.errors import UserError

RANGE = re.compile(r"\{([0-9]+)\.\.([0-9]+)\}")
MOST_ADDRESSES = 100_000  # a crawl of Common Crawl has 90,000 files


def checked_addresses(heading: str, patterns: Sequence[str], sha256: Mapping[str, str]) -> list[str]:
    """All addresses of some patterns. UserError for one that cannot be meant, and for a checksum that belongs to none.

    heading: how sentences refer to what names the addresses. sha256: checksums by the last part of an address.
    """
    for pattern in patterns:
        if (problem := wrong_range(pattern)) is not None:
            raise UserError(f"{heading}: `{pattern}` {problem}")
    urls = [url for pattern in patterns for url in spelled_out(pattern)]
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise UserError(f"{heading}: `{url}` is no http(s) address: use `kind: files` for local files.")
        try:
            wire_address(url)
        except ValueError as error:
            raise UserError(f"{heading}: `{url}` is no address ({error}): correct `url`.") from None
    parts = {last_part(url) for url in urls}
    for name, checksum in sha256.items():
        if name not in parts:
            near = get_close_matches(name, parts, n=1)
            hint = f"perhaps `{near[0]}` is meant" if near else f"they end with {', '.join(sorted(parts)[:5])}"
            raise UserError(f"{heading}: `sha256` names `{name}`, and no address of `url` ends with that: {hint}.")
        if not re.fullmatch(r"[0-9a-fA-F]{64}", checksum):
            raise UserError(f"{heading}: `sha256` of `{name}` is no SHA-256, which has 64 hex digits: fix it.")
    return urls


def wrong_range(pattern: str) -> str | None:
    """How the sentence about an address ends whose `{00..07}` cannot be meant."""
    count = 1
    for first, last in RANGE.findall(pattern):
        if len(first + last) > 30 or int(first) > int(last):
            return f"counts from {first[:30]} to {last[:30]}: write the lower number first, of at most 15 digits."
        count *= int(last) - int(first) + 1
    return f"stands for {count:,} addresses: {MOST_ADDRESSES:,} are the most." if count > MOST_ADDRESSES else None


def wire_address(url: str) -> str:
    """The address as it is sent: the host in the form of DNS (IDNA), the path and query in ASCII (RFC 3986, 3987).

    ValueError, in words, where it is no address.
    """
    try:
        pieces = urllib.parse.urlsplit(url)
        port = pieces.port
    except ValueError:
        raise ValueError("its host or port cannot be right") from None
    host = pieces.hostname or ""
    if not host:
        raise ValueError("it names no host")
    if re.search(r"[\x00-\x20\x7f]", pieces.netloc):
        raise ValueError("its host holds a blank")
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            raise ValueError("its host is no name of a host") from None
    if ":" in host:
        host = f"[{host}]"
    user = pieces.netloc.rpartition("@")[0]
    netloc = (
        (f"{urllib.parse.quote(user, safe=':%')}@" if user else "") + host + (f":{port}" if port is not None else "")
    )
    path = urllib.parse.quote(pieces.path, safe="/%:@!$&'()*+,;=~-._")
    query = urllib.parse.quote(pieces.query, safe="/?%:@!$&'()*+,;=~-._[]|")
    return urllib.parse.urlunsplit((pieces.scheme, netloc, path, query, ""))


def spelled_out(pattern: str) -> list[str]:
    """`a-{08..10}` as a-08, a-09, a-10."""
    pieces = RANGE.split(pattern)
    ranges = [
        [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
        for first, last in zip(pieces[1::3], pieces[2::3])
    ]
    fixed = pieces[::3]
    return ["".join([fixed[0], *(n + text for n, text in zip(numbers, fixed[1:]))]) for numbers in product(*ranges)]


def last_part(url: str) -> str:
    path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
    return path.rstrip("/").rpartition("/")[2] or urllib.parse.urlsplit(url).netloc

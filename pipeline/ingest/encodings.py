"""Recognising Korean text that is not UTF-8: CP949 (with EUC-KR, which it contains) and UTF-16 without a mark.

Text of another encoding than the recipe names turns into garbage without an error where its bytes happen to be legal.
So the start of a file decides, and only where it is beyond doubt; all else is left to the errors that name a remedy.
"""

from __future__ import annotations

import codecs
import re

LEAST = 16  # Hangul syllables that are evidence
SHARE = 0.9  # of plausible characters
KOREAN_BYTES = {"cp949", "euc_kr", "johab"}
_HANGUL = re.compile("[가-힣]")
# The 2,350 syllables of EUC-KR: Korean consists of these, while Japanese read as CP949 gives others.
_USUAL = re.compile(rb"[\xb0-\xc8][\xa1-\xfe]")
# What CP949 may hold beside Hangul, and what other encodings turn into when they are read as CP949.
_OTHER_WIDE = re.compile("[\u1100-\u11ff\u3040-\u318f\u3400-\u9fff\uf900-\ufaff\u0400-\u04ff\u2500-\u257f]")
_PLAUSIBLE = re.compile("[\t\n\r\x20-\x7e가-힣\u3000-\u303f\uff00-\uffef\u2010-\u2027\u00a0-\u00ff\u3131-\u318e\ufeff]")


def encoding_of(start: bytes, named: str) -> str:
    """The encoding of a file by its first bytes, where these settle it; else the `named` one.

    A file that is named CP949 and is UTF-8 throughout is UTF-8: Korean in CP949 is never legal UTF-8 for long.
    """
    if named in KOREAN_BYTES:
        text = _decoded(start, "utf-8")
        if text is not None and len(_HANGUL.findall(text)) >= LEAST:
            return "utf-8"
        return "cp949"  # which holds all of EUC-KR, and the syllables that Windows added
    if named != "utf-8" or (b"\0" not in start and _decoded(start, "utf-8") is not None):
        return named
    if b"\0" in start:
        return next((wide for wide in ("utf-16-le", "utf-16-be") if _plausible(_decoded(start, wide))), named)
    text = _decoded(start, "cp949")
    if text is not None:
        usual = len(_USUAL.findall(start))
        if usual >= LEAST and usual >= SHARE * (len(_HANGUL.findall(text)) + len(_OTHER_WIDE.findall(text))):
            return "cp949"
    return named


def _plausible(text: str | None) -> bool:
    """Whether a text is one that somebody wrote, in Korean or in ASCII."""
    if text is None or len(text) < LEAST:
        return False
    return len(_PLAUSIBLE.findall(text)) >= SHARE * len(text)


def _decoded(start: bytes, encoding: str) -> str | None:
    """The text of the bytes, of which the last character may be cut off; None if they are not of the encoding."""
    try:
        return codecs.getincrementaldecoder(encoding)("strict").decode(start)
    except UnicodeDecodeError:
        return None

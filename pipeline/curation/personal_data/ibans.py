"""International bank account numbers in capitals or small letters, in one piece or in groups.

Presidio's recogniser reads capitals only, and takes a word of four letters behind a number for a group of it.
"""

from __future__ import annotations

import re

from presidio_analyzer import EntityRecognizer, RecognizerResult

# Country -> length of its numbers. Source: SWIFT, IBAN Registry, release 99.
LENGTHS: dict[str, int] = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD FK", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM TL SO",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE",
        31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d\d(?=[ -]?[A-Za-z0-9]{4})")
REST = re.compile(r"[A-Za-z0-9]|[ -](?=[A-Za-z0-9])")


class Ibans(EntityRecognizer):
    """Finds IBAN_CODE by the country's length and the check of ISO 13616, which one number in 97 passes by chance."""

    def __init__(self, language: str) -> None:
        super().__init__(supported_entities=["IBAN_CODE"], supported_language=language, name="Ibans")

    def load(self) -> None:
        pass

    def analyze(self, text, entities, nlp_artifacts=None):  # type: ignore[no-untyped-def]
        ends = [(match.start(), end_of(text, match.start())) for match in START.finditer(text)]
        return [RecognizerResult("IBAN_CODE", start, end, 1.0) for start, end in ends if end is not None]


def end_of(text: str, start: int) -> int | None:
    """Where the number that starts at `start` ends; None if it is none."""
    wanted = LENGTHS.get(text[start : start + 2].upper())
    if wanted is None:
        return None
    value, place = "", start
    while len(value) < wanted and (match := REST.match(text, place)):
        value += match.group().strip(" -")
        place = match.end()
    one_case = value.isupper() or value.islower() or value[:2].isupper()
    if len(value) < wanted or not one_case or re.match(r"[A-Za-z0-9]", text[place : place + 1]):
        return None
    remainder = int("".join(str(int(letter, 36)) for letter in value[4:] + value[:4])) % 97
    return place if remainder == 1 else None

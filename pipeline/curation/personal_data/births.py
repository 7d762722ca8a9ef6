"""Dates of birth: a date in any usual written form, and words beside it that call it one.

Words make the difference: a park may have opened on `1986.08.28`, but `1986.08.28 출생` is personal data. A word
counts before the date, in the same sentence, or behind it (`1990.01.01생`, `…에 태어났다`, `… is her date of birth`),
unless what lies between says that the date belongs to something else (a party, a certificate). A date that could be
another number (`900101`, `90.01.01`) needs such a word directly beside it.
"""

from __future__ import annotations

import re

from presidio_analyzer import EntityRecognizer, RecognizerResult

MONTHS = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?"
)
YEAR, SHORT = r"(?:19|20)\d\d", r"\d\d"
DAY, NTH = r"(?:3[01]|[12]\d|0?[1-9])", r"(?:st|nd|rd|th)?"
MONTH = r"(?:1[0-2]|0?[1-9])"
NOT_BEFORE, NOT_BEHIND = r"(?<![\w.\-/])", r"(?![A-Za-z\d]|[\-/.]\d)"

# Forms that are dates and nothing else.
CERTAIN = re.compile(
    rf"(?<!\d)(?:{YEAR}|{SHORT})\s?년\s?{MONTH}\s?월\s?{DAY}\s?일"
    rf"|{NOT_BEFORE}{YEAR}\s?(?P<a>[./-])\s?{MONTH}\s?(?P=a)\s?{DAY}{NOT_BEHIND}"
    rf"|{NOT_BEFORE}\d{{1,2}}(?P<b>[./-])\d{{1,2}}(?P=b){YEAR}{NOT_BEHIND}"
    rf"|{NOT_BEFORE}(?:{MONTHS})\.?\s{{0,2}}{DAY}{NTH},?\s{{0,2}}{YEAR}{NOT_BEHIND}"
    rf"|{NOT_BEFORE}{DAY}{NTH}[ -](?:of )?(?:{MONTHS})\.?,?[ -]{YEAR}{NOT_BEHIND}",
    re.IGNORECASE,
)
# Forms that other numbers have as well.
UNCERTAIN = re.compile(
    rf"{NOT_BEFORE}(?:{YEAR}|{SHORT})(?:1[0-2]|0[1-9])(?:3[01]|[12]\d|0[1-9]){NOT_BEHIND}"
    rf"|{NOT_BEFORE}{SHORT}(?P<c>[./-])\s?{MONTH}(?P=c)\s?{DAY}{NOT_BEHIND}"
    rf"|{NOT_BEFORE}\d{{1,2}}(?P<d>[./-])\d{{1,2}}(?P=d){SHORT}{NOT_BEHIND}"
    rf"|{NOT_BEFORE}{DAY}{NTH}[ -](?:{MONTHS})\.?,?[ -]{SHORT}{NOT_BEHIND}",
    re.IGNORECASE,
)
LATIN = (
    r"(?<![A-Za-z-])(?:(?:date|day)[ _-]of[ _-]birth|birth[ _-]?(?:date|day)|birth(?=\s?[:=])|born"
    r"|d\.?o\.?b(?![A-Za-z]))"
)
WORD_BEFORE = re.compile(rf"{LATIN}|(?<![\w.])b\.|생년월일|출생|생일|태어난\s?날", re.IGNORECASE)
# What a date behind a word of birth, or before one, may belong to instead.
OF_OTHER_THINGS = re.compile(
    r"신고|발급|등록|기념|파티|행사|선물|축하|잔치|증명|예정|통계|issue|regist|publish|releas|certificate|party|celebrat"
    r"|annivers|present\b|gift|died|death|사망|별세|타계",
    re.IGNORECASE,
)
BETWEEN, BESIDE = 60, 16  # characters between a word and a date: any form, and the uncertain ones
ENDINGS = r"(?:이(?:다|며|고|라|었|에|야|니|지|면)|인|입니|으로|까지|의|은(?!행)|들)"
AT_ONCE = re.compile(rf"\.?\s?[(,]?\s?(?:생(?:{ENDINGS}|(?![가-힣]))|생년월일|출생(?!\s?신고))")
BEHIND = re.compile(
    rf"(?:\.(?=[가-힣]))?(?P<between>[^\d\n.!?;]{{0,30}}?)(?:출생|태어[나난났]|{LATIN}(?!\s(?:part|cake|gift|celeb|present)))",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"[!?]\s|(?<![A-Za-z]\.[A-Za-z])(?<!\b[A-Za-z])\.\s(?=\S)|\n\s*\n")
SCORE = 0.5


class BirthDates(EntityRecognizer):
    """Finds DATE_OF_BIRTH; it weighs words itself, on both sides of a date, so it has no context words."""

    def __init__(self, language: str) -> None:
        super().__init__(supported_entities=["DATE_OF_BIRTH"], supported_language=language, name="BirthDates")

    def load(self) -> None:
        pass

    def analyze(self, text, entities, nlp_artifacts=None):  # type: ignore[no-untyped-def]
        found = [
            (match.start(), match.end(), certain)
            for pattern, certain in ((CERTAIN, True), (UNCERTAIN, False))
            for match in pattern.finditer(text)
        ]
        return [
            RecognizerResult("DATE_OF_BIRTH", start, end, SCORE)
            for start, end, certain in found
            if said_before(text[:start], certain) or said_behind(text[end:], certain)
        ]


def said_before(text: str, certain: bool) -> bool:
    """Whether the end of `text` calls what follows a date of birth."""
    near = text[-BETWEEN - 16 :]
    words = list(WORD_BEFORE.finditer(near))
    if not words:
        return False
    between = near[words[-1].end() :]
    if len(between) > (BETWEEN if certain else BESIDE) or re.search(r"\d", between):
        return False
    return not SENTENCE_END.search(between.lstrip(".")) and not OF_OTHER_THINGS.search(between)


def said_behind(text: str, certain: bool) -> bool:
    """Whether the beginning of `text` calls what stands before it a date of birth."""
    if AT_ONCE.match(text):
        return True
    match = BEHIND.match(text)
    if match is None or OF_OTHER_THINGS.search(text[: match.end() + 10]):
        return False
    return certain or len(match["between"]) <= BESIDE // 2

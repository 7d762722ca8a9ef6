"""Made sentences with personal data in many phrasings, in two halves that share no phrasing, and sentences without any.

    python -m benchmarks.personal_phrasings [--half tuned|unseen] [--misses]

Recognisers were tuned on the misses of the half `tuned` only; recall on `unseen` is what a reader may expect of values
in phrasings that nobody has looked at. Values are random; nothing comes from a person. Networks, domains and numbers
are those that their authorities reserve for examples, wherever there are such.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from benchmarks.phrasings import NEGATIVES, PHRASINGS
from pipeline.curation.personal_data import personal_data as stage

Make = Callable[[random.Random], str]
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


class Planted(NamedTuple):
    """A sentence with one value of a kind; `label` is what the stage should call it."""

    kind: str
    label: str
    text: str
    start: int
    end: int


def digits(draw: random.Random, count: int) -> str:
    return "".join(draw.choice("0123456789") for _ in range(count))


def resident(draw: random.Random, sexes: str = "1234") -> tuple[str, str]:
    """Two halves of a Korean registration number; every other one with the check digit of before October 2020."""
    first = f"{draw.randint(40, 99)}{draw.randint(1, 12):02d}{draw.randint(1, 28):02d}"
    second = draw.choice(sexes) + f"{draw.randint(0, 95):02d}" + digits(draw, 3)
    total = sum(int(digit) * weight for digit, weight in zip(first + second, [2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]))
    check = (11 - total % 11) % 10
    return first, second + str(check if draw.random() < 0.5 else (check + draw.randint(1, 9)) % 10)


def business(draw: random.Random) -> str:
    nine = str(draw.randint(101, 999)) + digits(draw, 6)
    total = sum(int(d) * w for d, w in zip(nine, [1, 3, 7, 1, 3, 7, 1, 3, 5])) + int(nine[8]) * 5 // 10
    return f"{nine[:3]}-{nine[3:5]}-{nine[5:]}{(10 - total % 10) % 10}"


def card(draw: random.Random) -> str:
    body = draw.choice(["4888", "5388", "4999", "2720"]) + digits(draw, 11)
    doubled = [int(d) * (2 - i % 2) for i, d in enumerate(body)]
    number = body + str(-sum(d - 9 if d > 9 else d for d in doubled) % 10)
    return draw.choice(["-", " ", ""]).join(number[i : i + 4] for i in range(0, 16, 4))


def iban(draw: random.Random) -> str:
    country, body = draw.choice([("DE", 18), ("ES", 20), ("FR", 23), ("AT", 16), ("NL", 0)])
    account = digits(draw, body) if body else "ABNA" + digits(draw, 10)
    value = "".join(str(int(c, 36)) for c in account + country + "00")
    text = f"{country}{98 - int(value) % 97:02d}{account}"
    text = " ".join(text[i : i + 4] for i in range(0, len(text), 4)) if draw.random() < 0.5 else text
    return text.lower() if draw.random() < 0.5 else text


def address_of_network(draw: random.Random) -> str:
    if draw.random() < 0.2:
        return "2001:db8:" + ":".join(f"{draw.randint(1, 65535):x}" for _ in range(6))
    return draw.choice(["203.0.113.", "198.51.100.", "192.0.2.", "81.2.69."]) + str(draw.randint(1, 254))


def birth(draw: random.Random, form: str) -> str:
    year, month, day = draw.randint(1941, 2009), draw.randint(1, 12), draw.randint(1, 28)
    name = MONTHS[month - 1]
    short = f"{year % 100:02d}"
    forms = {
        "ko": [
            f"{year}.{month:02d}.{day:02d}", f"{year}. {month}. {day}.", f"{year}년 {month}월 {day}일",
            f"{year}-{month:02d}-{day:02d}", f"{year}/{month:02d}/{day:02d}", f"{year}{month:02d}{day:02d}",
            f"{short}{month:02d}{day:02d}", f"{short}.{month:02d}.{day:02d}", f"{short}년 {month}월 {day}일",
            f"{year}년{month}월{day}일", f"{year}.{month}.{day}",
        ],
        "en": [
            f"{name} {day}, {year}", f"{day} {name} {year}", f"{name[:3]} {day}, {year}", f"{day} {name[:3]} {year}",
            f"{month:02d}/{day:02d}/{year}", f"{year}-{month:02d}-{day:02d}", f"{day:02d}.{month:02d}.{year}",
            f"{name} {day}{'th' if 3 < day < 21 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}, {year}",
            f"{day}-{name[:3]}-{year}", f"the {day}th of {name} {year}" if 3 < day < 21 else f"{day} {name}, {year}",
        ],
    }  # fmt: skip
    return draw.choice(forms[form])


def one_of(*forms: Make) -> Make:
    return lambda draw: draw.choice(forms)(draw)


CITIES = ("서울특별시 종로구", "부산광역시 해운대구", "경기도 성남시 분당구", "강원특별자치도 춘천시", "대구 수성구")
ROADS = ("세종대로", "중앙로", "해운대로", "판교역로", "달구벌대로", "한라대학로")
FIRST = ("harriet", "dmitri", "mei", "priya", "carlos", "minsu", "jiwoo", "hana")

# Kind -> (label of the stage, the maker of a value).
VALUES: dict[str, tuple[str, Make]] = {
    "resident number": ("KR_RRN", lambda d: d.choice(["-", "-", " - ", " ", ""]).join(resident(d))),
    "foreigner's number": ("KR_FRN", lambda d: d.choice(["-", "-", " ", ""]).join(resident(d, "5678"))),
    "business number": ("KR_BRN", business),
    "passport": ("KR_PASSPORT", one_of(
        lambda d: "M" + digits(d, 8), lambda d: d.choice("MS") + digits(d, 3) + d.choice("ABCD") + digits(d, 4))),
    "driver's licence": (
        "KR_DRIVER_LICENSE", lambda d: f"{d.randint(11, 26)}-{d.randint(80, 99)}-{digits(d, 6)}-{digits(d, 2)}"),
    "mobile": ("PHONE_NUMBER", lambda d: d.choice(["-", ".", " ", ""]).join(
        ["010", str(d.randint(2, 9)) + digits(d, 3), digits(d, 4)])),
    "landline": ("PHONE_NUMBER", lambda d: d.choice(["{}-{}-{}", "{}) {}-{}", "{}.{}.{}", "{} {} {}"]).format(
        d.choice(["02", "031", "051", "064"]), str(d.randint(2, 9)) + digits(d, 2), digits(d, 4))),
    "bank account": ("KR_BANK_ACCOUNT", lambda d: d.choice([
        f"110-{digits(d, 3)}-{digits(d, 6)}", f"{d.randint(1, 9)}{digits(d, 5)}-{digits(d, 2)}-{digits(d, 6)}",
        f"3333-{digits(d, 2)}-{digits(d, 7)}", f"1002-{digits(d, 3)}-{digits(d, 6)}"])),
    "Korean address": ("KR_ADDRESS", lambda d: f"{d.choice(CITIES)} {d.choice(ROADS)} {d.randint(1, 400)}" + d.choice(
        ["", f", {d.randint(101, 120)}동 {d.randint(1, 25)}0{d.randint(1, 4)}호"])),
    "e-mail": ("EMAIL_ADDRESS", lambda d: f"{d.choice(FIRST)}{d.choice(['.', '_', ''])}{d.choice(FIRST)}{digits(d, 2)}"
               + d.choice(["@example.com", "@mail.example.net", "@example.co.kr", "+news@example.org"])),
    "card": ("CREDIT_CARD", card),
    "IP address": ("IP_ADDRESS", address_of_network),
    "IBAN": ("IBAN_CODE", iban),
    "US social security": ("US_SSN", lambda d: f"{d.randint(101, 665)}-{d.randint(10, 99)}-{d.randint(1000, 9999)}"),
    "US phone": ("PHONE_NUMBER", lambda d: d.choice([
        f"(212) 555-01{digits(d, 2)}", f"415-555-01{digits(d, 2)}", f"+1 303 555 01{digits(d, 2)}",
        f"646.555.01{digits(d, 2)}", f"312 555 01{digits(d, 2)}"])),
    "birth, Korean": ("DATE_OF_BIRTH", lambda d: birth(d, "ko")),
    "birth, English": ("DATE_OF_BIRTH", lambda d: birth(d, "en")),
}  # fmt: skip


def planted(half: str, each: int = 25, seed: int = 20) -> list[Planted]:
    """`each` sentences of every phrasing of a half (`tuned` or `unseen`), each with one value."""
    draw = random.Random(f"{seed} {half}")
    made = []
    for kind, (label, make) in VALUES.items():
        for phrasing in PHRASINGS[kind][half]:
            before, after = phrasing.split("{}")
            for _ in range(each):
                value = make(draw)
                made.append(Planted(kind, label, before + value + after, len(before), len(before) + len(value)))
    return made


def found_in(texts: list[str]) -> list[list[tuple[int, int, str]]]:
    """What the stage replaces in each text at its defaults: start, end, label."""
    settings = stage.Settings()
    decisions = stage.decide(stage.signals(pl.DataFrame({"text": texts}), settings, {}), settings)
    return [
        [(edit["start"], edit["end"], edit["label"]) for edit in edits or []] for edits in decisions["edits"].to_list()
    ]


def measured(rows: list[Planted]) -> tuple[dict[str, tuple[int, int, int]], list[Planted]]:
    """By kind: values, values found whole under their label, results that lie on no value; and the values not found."""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in VALUES}
    missed = []
    for row, spans in zip(rows, found_in([row.text for row in rows]), strict=True):
        # "1986. 8. 28." is found without its last stop, "the 5th of May" without its article.
        value = row.text[row.start : row.end].rstrip(".")
        start = row.start + 4 * value.startswith("the ")
        hit = any(a <= start and b >= row.start + len(value) and label == row.label for a, b, label in spans)
        wrong = sum(not (a < row.end and b > row.start and label == row.label) for a, b, label in spans)
        counts[row.kind].update(values=1, found=hit, wrong=wrong)
        if not hit:
            missed.append(row)
    return {kind: (count["values"], count["found"], count["wrong"]) for kind, count in counts.items()}, missed


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=["tuned", "unseen"], default="unseen")
    parser.add_argument("--misses", action="store_true", help="show a value that was not found for each phrasing")
    return parser


def main() -> None:
    given = arguments().parse_args()
    by_kind, missed = measured(planted(given.half))
    print("| kind | phrasings | values | recall | wrong results |\n|---|---|---|---|---|")
    for kind, (values, found, wrong) in by_kind.items():
        print(f"| {kind} | {len(PHRASINGS[kind][given.half])} | {values} | {found / values:.3f} | {wrong} |")
    replaced = [text for text, spans in zip(NEGATIVES, found_in(NEGATIVES), strict=True) if spans]
    print(f"\nOf {len(NEGATIVES)} sentences without personal data, {len(replaced)} were changed.")
    if given.misses:
        print(*replaced, sep="\n")
        for kind in VALUES:
            for row in [row for row in missed if row.kind == kind][:12]:
                print(f"{kind}: {row.text}")


if __name__ == "__main__":
    main()

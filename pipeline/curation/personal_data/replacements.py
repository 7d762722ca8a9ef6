"""Replacements for personal data: a placeholder with the label, or a surrogate of the same form that is nobody's.

Surrogates come from ranges that their authorities never assign, and are drawn by a hash of the whole text and the
number of the value in it. So a value has the same surrogate throughout a text and another one in other texts, and it
can neither be computed from its surrogate nor be confirmed by a guess.
"""

from __future__ import annotations

from typing import Any

import polars as pl


def placeholder(template: str) -> pl.Expr:
    """`template` with the label of the span filled in."""
    before, _, after = template.partition("{label}")
    return pl.concat_str(pl.lit(before), pl.col("label"), pl.lit(after))


def surrogate(draw: pl.Expr) -> pl.Expr:
    """A made-up value for the span's `label`, chosen by the integer column `draw`."""

    def digits(count: int, skip: int = 0) -> pl.Expr:
        return (draw // 10**skip % 10**count).cast(pl.String).str.zfill(count)

    def part(low: int, size: int, skip: int = 0) -> pl.Expr:
        return (draw // 10**skip % size + low).cast(pl.String)

    made = {
        # RFC 2606: a reserved domain.
        "EMAIL_ADDRESS": pl.concat_str(pl.lit("user"), digits(4), pl.lit("@example.org")),
        # 010-0000 to 010-1999 are not assigned to mobile phones.
        "PHONE_NUMBER": pl.concat_str(pl.lit("010-0"), digits(3), pl.lit("-"), digits(4, 3)),
        # RFC 5737, TEST-NET-3.
        "IP_ADDRESS": pl.concat_str(pl.lit("203.0.113."), part(1, 254)),
        # Prefix 0 belongs to no issuer.
        "CREDIT_CARD": pl.concat_str(pl.lit("0000-"), digits(4), pl.lit("-"), digits(4, 4), pl.lit("-"), digits(4, 8)),
        # Bank code 00000000 is not assigned.
        "IBAN_CODE": pl.concat_str(pl.lit("DE0000000000"), digits(10)),
        # Area 000 was never assigned.
        "US_SSN": pl.concat_str(pl.lit("000-"), part(10, 90), pl.lit("-"), digits(4, 2)),
        "US_ITIN": pl.concat_str(pl.lit("000-"), part(70, 18), pl.lit("-"), digits(4, 2)),
        # The thirteenth month.
        "KR_RRN": pl.concat_str(part(50, 50), pl.lit("13"), part(10, 19, 2), pl.lit("-1"), digits(6, 4)),
        "KR_FRN": pl.concat_str(part(50, 50), pl.lit("13"), part(10, 19, 2), pl.lit("-5"), digits(6, 4)),
        # Tax offices are numbered from 101.
        "KR_BRN": pl.concat_str(pl.lit("000-"), digits(2), pl.lit("-"), digits(5, 2)),
        "KR_PASSPORT": pl.concat_str(pl.lit("M000"), digits(5)),
        # Regions are numbered from 11.
        "KR_DRIVER_LICENSE": pl.concat_str(pl.lit("00-00-"), digits(6), pl.lit("-"), digits(2, 6)),
        "KR_BANK_ACCOUNT": pl.concat_str(pl.lit("000-"), digits(3), pl.lit("-"), digits(6, 3)),
        "KR_ADDRESS": pl.concat_str(pl.lit("가상시 보기로 "), part(1, 400)),
        "DATE_OF_BIRTH": pl.concat_str(part(1940, 60), pl.lit("-"), part(1, 9, 3).str.zfill(2), pl.lit("-01")),
    }  # fmt: skip
    chosen: Any = pl.when(pl.lit(False)).then(pl.lit(""))
    for label, value in made.items():
        chosen = chosen.when(pl.col("label") == label).then(value)
    return chosen.otherwise(placeholder("<{label}>"))

"""Counts by the class of characters agree with the patterns that they stand for."""

import random

import polars as pl

from pipeline.text.classes import count_pieces, pieces_of

MIXED = "가나 ab1٣½, .\n\t\x00\x1f\x1c\x85\xa0\u2028\u3000\u0301é㐀ª😀𠀀\U0010ffff_-"
PATTERNS = {
    "pieces": r"\S+",
    "words": r"[^\s\p{L}\p{N}]*[\p{L}\p{N}]\S*",
    "with_letter": r"[^\s\p{L}]*\p{L}\S*",
    "runs": r"[\p{L}\p{N}]+",
}


def texts() -> pl.Series:
    draw = random.Random(9)
    drawn = ["".join(draw.choices(MIXED, k=draw.randrange(30))) for _ in range(4000)]
    return pl.Series(["", *drawn, "", "a", " ", "end"])


def test_counts_are_those_of_the_patterns():
    for column in (texts(), pl.Series(["", ""]), pl.Series([" ", "\n"]), pl.Series([], dtype=pl.String)):
        found = count_pieces(column)
        assert pieces_of(column)[1].equals(found)
        for name, pattern in PATTERNS.items():
            assert found[name].to_list() == column.str.count_matches(pattern).to_list(), name


def test_pieces_are_those_between_white_space():
    column = texts()
    found, _ = pieces_of(column)
    pieces = [(row, piece) for row, text in enumerate(column.str.extract_all(r"\S+")) for piece in text]
    assert found.text_index.tolist() == [row for row, _ in pieces]
    assert found.characters.tolist() == [len(piece) for _, piece in pieces]
    known: dict[int, str] = {}
    assert all(known.setdefault(int(key), piece) == piece for key, (_, piece) in zip(found.hashes, pieces, strict=True))
    assert len(known) == len({piece for _, piece in pieces})

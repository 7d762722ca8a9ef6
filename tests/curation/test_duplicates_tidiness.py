"""Of near-copies the cleaner one stays: less markup, fewer repeated lines, then the longer."""

import numpy as np
import polars as pl
import pytest

from pipeline.curation.duplicates.tidiness import EDGE, FREQUENT, join, ranks, tidiness_of
from pipeline.text.words import blocks, words_of
from tests.curation.test_duplicates import decide, doc, passage

HEADER = "Home | News | About us | Contact\nYou are here: Home > Articles\n\n"
FOOTER = "\n\nAll rights reserved. Terms of use | Privacy policy\nPowered by a content management system"
LINES = "\n".join(" ".join(passage(30, seed)) for seed in range(100, 108))  # eight lines of thirty words


def figures(*texts: str):
    parts = [
        tidiness_of(data, offsets, words_of(data, offsets)) for *_, data, offsets in blocks(pl.Series(list(texts)))
    ]
    return join(parts)


def framed(number: int) -> list[dict]:
    """Documents of a site that puts the same header and footer on each page."""
    return [doc(HEADER + " ".join(passage(120, 500 + n)) + FOOTER, name=f"page {n}") for n in range(number)]


@pytest.mark.parametrize(
    "dirty",
    [
        HEADER + LINES + FOOTER,
        "<div><p>" + LINES.replace("\n", "\n</p><p>\n") + "</p></div>",
        "the menu of the site again\n" * 4 + LINES,
    ],
    ids=["header and footer", "markup", "repeated line"],
)
def test_the_cleaner_copy_stays_although_it_is_shorter(tmp_path, dirty):
    rows = [doc(LINES, name="clean"), doc(dirty, name="dirty"), *framed(FREQUENT + 1)]
    _, _, table = decide(tmp_path, rows, threshold=0.6)
    assert table["clean"]["keep"] and not table["dirty"]["keep"]
    assert table["dirty"]["reason"] == "near_duplicate" and table["dirty"]["kept_id"] == table["clean"]["doc_id"]


def test_of_copies_that_look_alike_the_longer_stays(tmp_path):
    rows = [doc(LINES, name="longer"), doc(LINES[:-40], name="shorter"), *framed(FREQUENT + 1)]
    _, _, table = decide(tmp_path, rows)
    assert table["longer"]["keep"] and not table["shorter"]["keep"]


def test_a_header_of_few_documents_is_their_own(tmp_path):
    rows = [doc(LINES, name="plain"), doc(HEADER + LINES + FOOTER, name="framed"), *framed(FREQUENT - 1)]
    _, _, table = decide(tmp_path, rows, threshold=0.6)
    assert table["framed"]["keep"] and not table["plain"]["keep"]


def test_what_is_counted_of_a_document():
    found = figures(
        "<p>one two</p> 1 < 2 <!-- x --> <3\n</p>\n\n<p>one two</p> 1 < 2 <!-- x --> <3\n}\n}\n", "a\nb", ""
    )
    assert found.tags.tolist() == [5, 0, 0]
    assert found.repeated.tolist() == [9, 0, 0]  # the third line, of nine words; a brace is too short to count
    assert [int((row > 0).sum()) for row in found.edges] == [5, 2, 0]
    assert found.edges[0, 0] == found.edges[0, 2] and found.edges[1, 0] != found.edges[1, 1]
    many = figures("\n".join(f"line {n} of them" for n in range(20)))
    ends = figures("\n".join(f"line {n} of them" for n in [0, 1, 2, 3, 16, 17, 18, 19]))
    assert many.edges.tolist() == ends.edges.tolist() and many.edges.shape == (1, 2 * EDGE)


def test_ranks_follow_the_definition():
    texts = ["word " * 64, "<b> " + "word " * 63, "<b> " * 9 + "word " * 55, "same line here\n" * 8 + "word " * 40]
    found = figures(*texts)
    rank = ranks(found, np.array([64, 64, 64, 64]), np.zeros(0, np.uint32))
    assert rank.tolist() == [0, 2 << 8, 4 << 8, 16 * 21 // 64]  # log2(1 + 1) = 1, log2(1 + 9) = 3.3


def test_figures_do_not_depend_on_the_documents_beside():
    texts = [LINES, HEADER + LINES, "", "\n\n", "x", "<p>" + LINES]
    together = figures(*texts)
    for place, text in enumerate(texts):
        for column, alone in zip(together, figures(text), strict=True):
            assert np.array_equal(column[place], alone[0])

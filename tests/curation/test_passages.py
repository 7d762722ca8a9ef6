"""What many documents share and keep: headings, lines of a page's code, lines of a wrapped paragraph."""

import numpy as np
import polars as pl
import pytest

from pipeline.curation.duplicates import repetition
from pipeline.curation.duplicates.passages import belongs
from pipeline.curation.duplicates.sentences import sentences_of
from pipeline.store.store import Store
from tests.curation.test_repetition import FOOTER, KOREAN, cuts, decide, filler, pieces
from tests.curation.written_documents import raw_documents
from tests.making import after, context

PARAGRAPH = "The harbour was quiet in the early morning, and the boats came back with the tide as they do every day."
HEADINGS = [
    "## Getting Started With The Project",
    "Backwards Compatibility Of This\n===============================",
    "Backwards Compatibility Of This\n-------------------------------",
    "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\nHow To Teach This To New Readers Here\n~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~",
    "<h2>Getting Started With The Project</h2>",
    "== Getting Started With The Project ==",
    "= Getting Started With The Project =",
    "**Getting Started With The Project**",
    "2.1. Getting Started With The Project",
    "Chapter 2 Getting Started With It All",
    "제3장 프로젝트를 처음으로 시작하는 사람들에게",
    "Getting Started With The Project",
    "프로젝트를 처음으로 시작하는 사람들을 위한 안내",
]
CODE_BLOCKS = [
    ".. code-block:: python\n\n    import package_of_everyone.analyzer as analyzer\n    run_it_all(analyzer, engine)",
    "As follows::\n\n    import package_of_everyone.analyzer as analyzer\n    run_it_all(analyzer, engine)",
    "Some text.\n\n    import package_of_everyone.analyzer as analyzer\n    run_it_all(analyzer, engine)",
    "<pre><code>\nimport package_of_everyone.analyzer as analyzer\nrun_it_all(analyzer, engine)\n</code></pre>",
    "----\nimport package_of_everyone.analyzer as analyzer\nrun_it_all(analyzer, engine)\n----",
    "~~~\nimport package_of_everyone.analyzer as analyzer\nrun_it_all(analyzer, engine)\n~~~",
    ">>> import package_of_everyone.analyzer as analyzer\n>>> run_it_all(analyzer, engine)",
    "$ pip install package-of-everyone analyzer-of-all",
]


@pytest.mark.parametrize("heading", HEADINGS)
def test_headings_stay_and_the_boilerplate_below_them_goes(tmp_path, heading):
    texts = [f"{filler(n)}\n\n{heading}\n\n{filler(n + 100)} {filler(n + 200)}\n\n{FOOTER}\n" for n in range(12)]
    _, table = decide(tmp_path, texts, lang="en")
    assert {tuple(cut.strip() for cut in cuts(row)) for row in table.values()} == {(FOOTER,)}


@pytest.mark.parametrize("block", CODE_BLOCKS)
def test_lines_of_code_stay_in_the_blocks_of_any_markup(tmp_path, block):
    texts = [f"{filler(n)}\n\n{block}\n\n{filler(n + 100)}\n\n{FOOTER}\n" for n in range(12)]
    _, table = decide(tmp_path, texts, lang="en")
    assert {tuple(cut.strip() for cut in cuts(row)) for row in table.values()} == {(FOOTER,)}


def test_scripts_of_a_page_are_no_examples():
    page = "<html><script>\nwindow.dataLayer = window.dataLayer || [];\n</script>\n<p>Text.</p>\n"
    start = page.index("window")
    end = page.index("</script>")
    assert not belongs(page, start, end, marked=True)
    assert belongs(page.replace("script", "pre"), start - 3, end - 3, marked=False)


def test_boilerplate_that_stands_alone_is_no_heading():
    for line in (FOOTER, KOREAN, "Copyright 2024 by the people of the project", "Home | News | About us | Contact us"):
        text = f"{filler(1)}\n\n{line}\n\n{filler(2)} {filler(3)}\n"
        start = text.index(line)
        assert not belongs(text, start, start + len(line))


WRAPPED = """\
The file is periodically generated from the content of the folder
beside it, so all of the corrections have to be made in the folder.
Nothing here is ever read again by anyone who works on the project,
which is why a line of it says nothing.
"""


def test_lines_that_were_only_wrapped_are_one_sentence():
    assert pieces(WRAPPED) == [
        "The file is periodically generated from the content of the folder\n"
        "beside it, so all of the corrections have to be made in the folder.",
        "Nothing here is ever read again by anyone who works on the project,\nwhich is why a line of it says nothing.",
    ]
    for kept in (
        "- The file is periodically generated from the content of the folder\n- and another one comes from elsewhere",
        "# The file is periodically generated from the content of the folder\nand this is what is said about it",
        "The file is periodically generated from the content of the folder\n\nand this is another paragraph of it",
        "A line that somebody ended early\nbefore another line that is a great deal longer than that one was",
        "x = first_value_of_all_values + second_value_of_all_values + third(\nfourth_value_of_all_values)",
        "a " * 100 + "\n" + "b " * 100,
    ):
        assert len(pieces(kept)) == 2, kept


def test_a_line_of_a_wrapped_paragraph_is_not_cut_although_many_documents_hold_it(tmp_path):
    line = "a good many of the people who came here by the road"
    texts = [
        f"In the summer of the year {1800 + n} there were\n{line}\nand who had seen {n * 7} ships." for n in range(12)
    ]
    _, table = decide(tmp_path, texts)
    assert not any(row["edits"] for row in table.values())
    _, table = decide(tmp_path, [f"{filler(n)}\n\n{WRAPPED}" for n in range(12)], name="whole")
    assert {tuple(cuts(row)) for row in table.values()} == {tuple(pieces_with_ends(WRAPPED))}


def pieces_with_ends(text: str) -> list[str]:
    return [piece + "\n" for piece in pieces(text)]


def test_boilerplate_that_was_put_between_wrapped_lines_is_found_if_others_have_it_on_its_own(tmp_path):
    lines = WRAPPED.split("\n")
    texts = [f"{filler(n)}\n\n{FOOTER}\n" for n in range(12)]
    texts += ["\n".join([f"Number {n} here.", lines[0] + " as it is", FOOTER, *lines[1:]]) for n in range(3)]
    _, table = decide(tmp_path, texts)
    assert all((FOOTER + "\n") in cuts(row) for row in table.values())
    inside = "\n".join(["Number one here.", lines[0] + " as it is", FOOTER, *lines[1:]])
    found = sentences_of(pl.Series([inside]), np.array([False]), spare_lines=True)
    spare = found.where(found.spare)
    assert [inside[a:b] for a, b in zip(spare.start, spare.end, strict=True)] == [FOOTER]
    assert FOOTER not in pieces(inside)


@pytest.mark.parametrize(
    ("documents", "most"), [(1, 10), (10_000, 10), (40_000, 20), (10**6, 100), (10**8, 1000), (10_199, 10)]
)
def test_more_documents_may_share_a_sentence_where_there_are_more(documents, most):
    assert repetition.most_documents(repetition.Settings(), documents) == most
    assert repetition.most_documents(repetition.Settings(max_documents=3), documents) == 3


def test_the_number_in_force_is_recorded(tmp_path):
    store = Store(tmp_path, "r")
    raw = raw_documents(store, [{"text": filler(n)} for n in range(3)], 1)
    made = repetition.make(context(store), after(raw), repetition.Settings())
    assert made.facts["max_documents"] == 10

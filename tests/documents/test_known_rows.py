"""What was found in documents is used again wherever they stand, and the tables are those of a run from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.curation import contamination
from pipeline.curation.duplicates import repetition
from pipeline.curation.evaluation_items import Item
from pipeline.curation.filters import language
from pipeline.documents.changes import places
from pipeline.documents.document import holders
from pipeline.documents.known_rows import Remembered, Rows
from pipeline.documents.view import Documents
from pipeline.store.artifact import MANIFEST, Artifact
from pipeline.store.store import Store
from tests.curation.written_documents import raw_documents
from tests.making import after, context

BOILERPLATE = "All pages of this site may be copied for private use by its members."
QUESTION = "A farmer has seventeen sheep and all but nine of them run away; how many sheep does the farmer have left?"
WRAPPED = "The council met in the old hall on the first day of the month and\n" + BOILERPLATE + "\nThen it went home."


def rows(first: int, end: int) -> list[dict[str, Any]]:
    """Documents of which some hold boilerplate, some a question of an evaluation set, and some are of code."""
    found = []
    for number in range(first, end):
        text = f"This is the story number {number} of a long series.\nIt has {number} parts that nobody else tells.\n"
        text += BOILERPLATE if number % 2 else WRAPPED
        text += f"\nIn it we read: {QUESTION}" if number % 3 == 0 else ""
        found.append(
            {"text": text, "lang": "en"} if number % 7 else {"text": f"x = {number}\n# {BOILERPLATE}\n", "lang": "code"}
        )
    return found


def repeated(store: Store, raw: Artifact) -> Artifact:
    found = language.STAGE.make(context(store), after(raw), language.Settings(allow=[]))
    given = after(raw, found, languages=found)
    return repetition.make(context(store), given, repetition.Settings(max_documents=3, min_words_left=0))


def contaminated(store: Store, raw: Artifact) -> Artifact:
    return contamination.make(context(store), after(raw), contamination.Settings(sets=[], held_back=False))


@pytest.mark.parametrize("parts", [4, 8, 16], ids=["as it was cut", "cut in two", "cut in four"])
@pytest.mark.parametrize("stage", ["repeated sentences", "contamination"])
def test_only_new_documents_are_searched_and_the_bytes_are_those_of_a_run_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, parts: int
) -> None:
    searched: list[int] = []
    if stage == "contamination":
        monkeypatch.setattr(contamination, "all_items", lambda *_: [Item("t", "q", [QUESTION])])
        make, module, name = contaminated, contamination, "find"
    else:
        make, module, name = repeated, repetition, "sentences_of"
    search = getattr(module, name)
    monkeypatch.setattr(
        module, name, lambda texts, *given, **more: searched.append(len(texts)) or search(texts, *given, **more)
    )
    old, new = rows(0, 60), rows(60, 66)
    copied = [{**old[3], "source_id": "again"}, {**old[4], "text": old[4]["text"].replace("\n", "\n\n")}]
    store = Store(tmp_path / "store", "r")
    make(store, raw_documents(store, old[:-2], 4))
    searched.clear()
    made = make(store, raw_documents(store, [*new, *old[2:], *copied], parts))  # two are gone, two more are new
    assert sum(searched) == 6 + 2 + 1  # the exact copy is known, the one with other white space is not
    fresh = Store(tmp_path / "fresh", "r")
    searched.clear()
    full = make(fresh, raw_documents(fresh, [*new, *old[2:], *copied], parts))
    assert sum(searched) == 66
    assert made.digest == full.digest
    side = [table for path in full.place(".").glob("*/*.parquet") for table in [pl.read_parquet(path)]]
    assert sum(table.height for table in side) >= 20


def test_a_fragment_that_was_cut_by_fewer_bits_holds_its_rows() -> None:
    assert holders("a-01-0110") == ["a-01-0110", "a-01-011", "a-01-01", "a-01-0", "a-01-all"]
    assert holders("a-0") == ["a-0", "a-all"] and holders("a-all") == ["a-all"]


def test_what_an_earlier_version_was_made_of_stays_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, old = Store(tmp_path, "r"), rows(0, 20)
    first = raw_documents(store, old, 2)
    repeated(store, first)
    second = raw_documents(store, [*rows(20, 30), *old], 2)
    searched, freed = list[int](), list[Any]()
    search = repetition.sentences_of

    def sentences_of(texts: pl.Series, *given: Any, **more: Any) -> Any:
        searched.append(len(texts))
        freed.extend(store.prune("raw_documents", 0, log=lambda line: None))
        return search(texts, *given, **more)

    monkeypatch.setattr(repetition, "sentences_of", sentences_of)
    repeated(store, second)
    assert sum(searched) == 10 and len(searched) == 2 and not freed
    assert [version for version, _ in store.prune("raw_documents", 0)] == [first.version], "when it is finished"


def test_an_earlier_version_is_not_used_if_the_manifest_of_its_documents_is_damaged(tmp_path: Path) -> None:
    store, old = Store(tmp_path, "r"), rows(0, 20)
    first = raw_documents(store, old)
    repeated(store, first)
    second = raw_documents(store, [*rows(20, 25), *old])
    (first.directory / MANIFEST).write_text("{")
    made = repeated(store, second)
    fresh = Store(tmp_path / "fresh", "r")
    assert made.digest == repeated(fresh, raw_documents(fresh, [*rows(20, 25), *old])).digest


def test_a_row_is_known_if_its_text_is_as_it_was() -> None:
    before = pl.DataFrame({"doc_id": ["a", "b", "c", "c", "d"], "text": ["1", "2", "3", " 3", "4"]})
    now = pl.DataFrame({"doc_id": ["c", "a", "e", "c", "b", "a"], "text": [" 3", "1", "1", "3\n", "2", "1"]})
    assert places(now, before).to_list() == [3, 0, None, None, 1, 0]
    assert places(now.head(0), before).to_list() == [] and places(now, before.head(0)).null_count() == 6


def test_a_row_whose_language_is_declared_otherwise_is_not_known(tmp_path: Path) -> None:
    store, old = Store(tmp_path, "r"), rows(0, 8)
    before = raw_documents(store, old)
    now = raw_documents(
        store, [{**row, "lang": "ko" if number == 3 else row["lang"]} for number, row in enumerate(old)]
    )
    remembered = Remembered(tmp_path / "table.parquet", Documents(before).only("s-all"))
    pl.DataFrame({"keep": [True] * 8}).write_parquet(remembered.table)
    found = Rows(Documents(now), "s-all", remembered, ("doc_id", "text", "lang"))
    earlier = found.earlier()
    assert earlier is not None
    new = earlier["keep"].is_null()
    assert found.frame(new)["lang"].to_list() == ["ko"]
    assert found.frame(new)["text"].to_list() == [old[3]["text"]]  # read from the fragment: it is no new text

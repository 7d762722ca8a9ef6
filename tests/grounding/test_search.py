"""The index: BM25 by its formula, vectors, both; made by fragment, and again only where something changed."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from pipeline.errors import UserError
from pipeline.grounding import index, search
from pipeline.grounding.embedding import Embedder, embedder_of, mean_of_words
from pipeline.grounding.terms import terms_of_text
from pipeline.ingest import raw_documents
from pipeline.ingest.files import FileSource
from pipeline.store.artifact import file_digest
from pipeline.store.store import Store
from tests.making import context
from tests.model.test_serve import directory  # noqa: F401  a fixture

TEXTS = {
    "harbour": "The harbour lies open to the north. The boats are drawn up on the sand.",
    "map": "A good map says what it leaves out. This one says nothing.",
    "배": "배는 아침에 떠난다. 저녁에는 돌아오지 않는다.",
    "강": "봄마다 강이 들판을 조금씩 가져간다.",
}


def documents(texts: dict[str, str]) -> pl.DataFrame:
    rows = [{"doc_id": name, "text": text, "source": "s", "source_id": name, "url": None, "lang": None}
            for name, text in texts.items()]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"url": pl.String, "lang": pl.String})


def by_letters(texts) -> np.ndarray:
    """Vectors that are easy to predict: how often each letter is in a text."""
    return np.array([[text.lower().count(letter) for letter in "abcdefghij배강"] for text in texts], np.float32)


LETTERS = Embedder("letters", by_letters)


def names(found: list[search.Hit], of: search.Index) -> list[str]:
    return [of.passage(hit).document for hit in found]


def test_bm25_is_what_its_formula_says():
    table = index.indexed(documents(TEXTS))
    held = search.Index(table)
    question = "boats in the harbour"
    lengths = [sum(counts) for counts in table["counts"].to_list()]
    expected = []
    for terms, counts, length in zip(table["terms"].to_list(), table["counts"].to_list(), lengths):
        score = 0.0
        for term in terms_of_text(question).tolist():
            if term in terms:
                having = sum(term in other for other in table["terms"].to_list())
                idf = math.log(1 + (len(table) - having + 0.5) / (having + 0.5))
                tf = counts[terms.index(term)]
                relative = 1 - 0.75 + 0.75 * length / (sum(lengths) / len(lengths))
                score += idf * tf * 2.2 / (tf + 1.2 * relative)
        expected.append(score)
    found = held.search(question)
    assert names(found, held)[0] == "harbour"
    for hit in found:
        assert hit.score == pytest.approx(expected[hit.chunk], rel=1e-5)
    assert len(found) == sum(score > 0 for score in expected)


def test_a_question_in_korean_finds_its_passage_and_how_much_of_it_is_there():
    held = search.Index(index.indexed(documents(TEXTS)))
    found = held.found("배가 언제 아침에 떠나나요?", 2)
    assert found.passages[0].document == "배" and 0.1 < found.certainty < 1
    passage = found.passages[0]
    assert TEXTS["배"][passage.start : passage.end] == passage.text
    assert held.found("boats harbour sand", 2).certainty == 1.0
    assert held.found("quantum chromodynamics", 2).passages == ()
    assert held.found("boats quantum chromodynamics", 2).certainty < 0.5 > held.found("", 2).certainty


def test_vectors_find_what_has_no_word_in_common_and_both_join_the_ranks():
    table = index.indexed(documents(TEXTS))
    held = search.Index(table, by_letters(table["text"]), LETTERS)
    question = table["text"][1].replace(" ", "x")  # the letters of one text, and none of its words
    assert held.search(question, by="words") == []
    assert names(held.search(question, 1, by="vectors"), held) == ["map"]
    assert names(held.search(question, 1), held) == ["map"]
    first, second = [(4, 9.0), (2, 8.0)], [(2, 0.9), (7, 0.8)]
    assert search.joined([first, second], 2) == [(2, 1 / 62 + 1 / 61), (4, 1 / 61)]
    with pytest.raises(ValueError, match="--vectors"):
        search.Index(table).search("map", by="vectors")


def test_of_equal_scores_the_first_ones_are_taken():
    scores = np.array([1, 3, 1, 0, 3, 1], np.float32)
    assert search.best(scores, 3) == [(1, 3.0), (4, 3.0), (0, 1.0)]
    assert [number for number, _ in search.best(scores, 9)] == [1, 4, 0, 2, 5]


@pytest.fixture
def made(tmp_path):
    """Makes the index of the texts in a folder; returns the artifact."""
    folder = tmp_path / "texts"
    folder.mkdir()
    store = Store(tmp_path / "data", "notes")
    sources = [FileSource(name="notes", path=[str(folder / "*.txt")], license="own")]

    def make(embedder=None):
        raw = raw_documents.make(context(store), {}, sources)
        return index.make(context(store), raw, embedder)

    for number in range(60):
        (folder / f"{number}.txt").write_text(f"Sentence number {number} is about boat {number * 7}. It ends here.")
    return make


def test_new_documents_cost_the_chunks_of_their_fragments_and_vectors_of_their_own(made, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.ingest.fragments.FRAGMENT_BYTES", 600)
    first = made(LETTERS)
    assert len(first.fragments) > 4
    assert made(LETTERS).version == first.version
    (tmp_path / "texts" / "new.txt").write_text("A passage that was not there.")
    calls = []
    counting = Embedder("letters", lambda texts: calls.append(len(texts)) or by_letters(texts))
    second = made(counting)
    before = {name: first.entry(name)["sha256"] for name in first.fragments}
    changed = [name for name in second.fragments if second.entry(name)["sha256"] != before.get(name)]
    assert len(changed) == 1 and second.manifest["fragments"]["computed"] == 2, "a table of chunks and one of vectors"
    assert calls == [1], "the one new passage"
    anew = Store(tmp_path / "other", "notes")
    sources = [FileSource(name="notes", path=[str(tmp_path / "texts" / "*.txt")], license="own")]
    alone = index.make(context(anew), raw_documents.make(context(anew), {}, sources), LETTERS)
    files = sorted(second.manifest["files"])
    assert [file_digest(second.file(name)) for name in files] == [file_digest(alone.file(name)) for name in files]


def test_where_fragments_are_cut_anew_only_new_passages_get_vectors(made, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.ingest.fragments.FRAGMENT_BYTES", 600)
    first = made(LETTERS)
    for number in range(60, 200):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"Passage number {number} was not there.")
    calls = []
    second = made(Embedder("letters", lambda texts: calls.append(len(texts)) or by_letters(texts)))
    assert len(second.fragments) == 2 * len(first.fragments) and sum(calls) == 140


def test_an_index_is_opened_with_the_vectors_that_it_was_made_with(made):
    held = search.opened(made(LETTERS), LETTERS)
    assert held.vectors is not None and held.search("boat 49", 1)[0].chunk >= 0
    assert search.opened(made(LETTERS)).vectors is None
    with pytest.raises(UserError, match="--vectors"):
        search.opened(made(), LETTERS)


def test_pooled_states_are_those_of_each_text_alone(directory):  # noqa: F811
    from model.serve.text import open_directory

    embedder = embedder_of(directory)
    texts = ["안녕", "가나다라마바사", "안녕", "", "가" * 500]
    found = embedder.embed(texts)
    model = open_directory(directory)
    for text, vector in zip(texts[:3], found):
        alone = np.array(model.embedding(text))
        assert np.allclose(vector / np.linalg.norm(vector), alone, atol=1e-5)
    assert not found[3].any() and found[4].any(), "nothing to say of an empty text; a long one counts as far as it fits"


def test_the_mean_of_words_and_what_is_no_model(tmp_path):
    table = {"boat": [1.0, 0.0], "sand": [0.0, 1.0]}
    found = mean_of_words(lambda words: np.array([table[word] for word in words], np.float32), ["Boat boat sand", ""])
    assert np.allclose(found, [[2 / 3, 1 / 3], [0, 0]])
    with pytest.raises(UserError, match="neither"):
        embedder_of(tmp_path)

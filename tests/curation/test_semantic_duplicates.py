"""Twins that say the same in other words: found by vectors of a file, marked or removed, each with its twin named."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from pipeline.curation.duplicates import near, review, semantic, vectors
from pipeline.curation.duplicates.duplicate_settings import Semantic
from pipeline.errors import UserError
from pipeline.store.store import Store
from tests.curation.written_documents import raw_documents
from tests.making import after, context

# Each line: words that mean the same, in two languages.
MEANINGS = tuple(
    """
    house 집; large big 큰; dog hound 개; river stream 강; red crimson 빨간; walked went 갔다; old ancient 오래된
    ; man 남자; bought purchased 샀다; car automobile 자동차; city town 도시; near by 근처; cold chilly 추운
    ; night evening 밤; ate consumed 먹었다; bread loaf 빵; quick fast 빠른; boat ship 배; field meadow 들판
    ; sang 노래했다
    """.split(";")  # noqa: SIM905
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of model2vec's layout in which words of one meaning have nearly the same vector."""
    place = tmp_path_factory.mktemp("vectors")
    draw = np.random.default_rng(3)
    words, rows = {"[UNK]": 0}, [np.zeros(32)]
    for meaning in MEANINGS:
        center = draw.standard_normal(32)
        for word in meaning.split():
            words[word] = len(rows)
            rows.append(center + 0.1 * draw.standard_normal(32))
    save_file({"embeddings": np.array(rows, np.float32)}, place / "model.safetensors")
    tokenizer = Tokenizer(models.WordLevel(words, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(place / "tokenizer.json"))
    return place


def sentence(seed: int, which: int) -> str:
    """Twelve words; equal seeds mean the same, and `which` chooses among words of one meaning."""
    draw = np.random.default_rng(seed)
    chosen = draw.permutation(len(MEANINGS))[:12]
    return " ".join(MEANINGS[number].split()[min(which, len(MEANINGS[number].split()) - 1)] for number in chosen)


ROWS = [
    *({"text": sentence(seed, 0), "source": "s", "source_id": f"first {seed}"} for seed in range(30)),
    {"text": sentence(4, 1) + " house", "source": "t", "source_id": "other words"},
    {"text": sentence(7, 9), "source": "t", "source_id": "translated"},
    {"text": "big dog", "source": "t", "source_id": "short"},
]


def decided(tmp_path, folder, **semantic_settings):
    store = Store(tmp_path / "store", "r")
    raw = raw_documents(store, ROWS, 2)
    settings = near.Settings(semantic=Semantic(vectors=str(folder), threshold=0.9, **semantic_settings))
    made = near.make(context(store, sources=("s", "t")), after(raw), settings)
    assert review.verify_removals(raw, None, made, settings) == []
    tables = [
        pl.concat(
            [pl.read_parquet(raw.table(name)), pl.read_parquet(made.table(name)).drop("doc_id")], how="horizontal"
        )
        for name in raw.fragments
    ]
    return pl.concat(tables), made


def test_paraphrases_and_translations_are_marked_with_their_twin_and_stay(tmp_path, folder):
    frame, made = decided(tmp_path, folder)
    assert made.counts["removed"] == {} or not any(made.counts["removed"].values())
    ids = dict(frame.select("doc_id", "source_id").iter_rows())
    marked = frame.drop_nulls("twin_id")
    twins = {
        name: (ids[twin], value) for name, twin, value in marked["source_id", "twin_id", "twin_similarity"].iter_rows()
    }
    assert {name: twin for name, (twin, _) in twins.items()} == {"other words": "first 4", "translated": "first 7"}
    assert all(0.9 <= value <= 1 for _, value in twins.values())


def test_removed_by_choice_with_the_reason_and_the_similarity(tmp_path, folder):
    frame, _ = decided(tmp_path, folder, action="remove")
    ids = dict(frame.select("doc_id", "source_id").iter_rows())
    gone = frame.filter(pl.col("keep") == False)  # noqa: E712
    assert set(gone["source_id"]) == {"other words", "translated"} and set(gone["reason"]) == {"semantic_duplicate"}
    assert [ids[kept] for kept in gone.sort("source_id")["kept_id"]] == ["first 4", "first 7"]
    assert gone["score"].to_list() == gone["twin_similarity"].to_list() and gone["jaccard"].null_count() == 2


def test_without_the_key_nothing_about_the_stage_is_different(tmp_path, folder):
    store = Store(tmp_path / "store", "r")
    raw = raw_documents(store, ROWS, 2)
    made = near.make(context(store, sources=("s", "t")), after(raw), near.Settings())
    assert "semantic" not in json.dumps(made.manifest["made_of"]["settings"])
    assert "twin_id" not in pl.read_parquet_schema(made.table(made.fragments[0]))


def test_the_content_of_a_file_of_vectors_counts_and_not_its_path(tmp_path, folder):
    settings = Semantic(vectors=str(folder))
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        (copy / name).write_bytes((folder / name).read_bytes())
    assert semantic.identity(settings) == semantic.identity(Semantic(vectors=str(copy)))
    save_file({"embeddings": np.ones((3, 4), np.float32)}, copy / "model.safetensors")
    assert semantic.identity(settings) != semantic.identity(Semantic(vectors=str(copy)))


@pytest.mark.parametrize("name", ["missing", "missing.bin"])
def test_a_file_of_vectors_that_is_none_is_named(tmp_path, name):
    with pytest.raises(UserError, match="neither a fastText model"):
        semantic.identity(Semantic(vectors=str(tmp_path / name)))


def test_the_index_finds_nearly_all_pairs_at_the_threshold():
    draw = np.random.default_rng(0)
    one = vectors.of_length_one(draw.standard_normal((2000, 50)).astype(np.float32))
    side = draw.standard_normal((2000, 50)).astype(np.float32)
    side = vectors.of_length_one(side - (side * one).sum(1, keepdims=True) * one)
    angle = np.arccos(0.9)
    other = (np.cos(angle) * one + np.sin(angle) * side).astype(np.float32)
    together = np.zeros(2000, bool)
    for values in semantic.bands(np.concatenate([one, other]), 0.9):
        together |= values[:2000] == values[2000:]
    assert together.mean() >= 0.97


@pytest.mark.parametrize("documents", [2, 1000, 10**6, 10**9])
def test_the_index_stays_within_its_bounds(documents):
    bits, tables = semantic.shape_of_index(documents, 0.85)
    assert 4 <= bits <= 20 and 1 <= tables <= semantic.MOST_TABLES


def test_a_twin_stays_where_a_copy_that_went_for_it_is_too_far_from_its_own_twin():
    table = vectors.of_length_one(np.array([[1, 0], [0.95, 0.3], [0.6, 0.8]], np.float32))
    before = np.array([-1, -1, 1])  # the third was removed for the second
    twins = semantic.Twins(np.array([-1, 0, -1]), np.array([np.nan, 0.95, np.nan]))
    assert semantic.settled(twins, table, 0.9, before).tolist() == []
    assert semantic.settled(twins, table, 0.5, before).tolist() == [1]


def test_vectors_can_be_learned_from_the_texts(tmp_path):
    draw = np.random.default_rng(0)
    texts = [sentence(int(seed), int(which)) for seed, which in draw.integers(0, 3, (3000, 2))]
    parts = [(np.arange(len(texts)), vectors.word_counts(pl.Series(texts)))]
    table = vectors.vectors_of(parts, len(texts), vectors.learned(texts, tmp_path))
    assert table.shape == (3000, 100) and np.allclose(np.linalg.norm(table, axis=1), 1, atol=1e-3)
    again = vectors.vectors_of(parts, len(texts), vectors.learned(texts, tmp_path))
    assert np.array_equal(table, again)


def test_too_little_text_to_learn_from_is_said(tmp_path):
    with pytest.raises(UserError, match="too little text"):
        vectors.learned(["one two"], tmp_path)


def test_what_all_texts_have_in_common_makes_no_twins():
    """Texts of one source share a frame; without it, texts of other content are far apart and a text stays a text."""
    draw = np.random.default_rng(2)
    frame = 4 * draw.standard_normal(50)
    own = draw.standard_normal((400, 50))
    given = vectors.of_length_one(
        np.vstack([own + frame, own[:40] + 0.1 * draw.standard_normal((40, 50)) + frame]).astype(np.float32)
    )
    given[7] = 0
    left = vectors.of_length_one(vectors._without_common(given))
    before, after = (np.abs(table[:39] @ table[50:90].T).mean() for table in (given, left))
    assert before > 0.8 and after < 0.2
    assert (semantic.cosines(left, np.arange(8, 40), np.arange(408, 440)) > 0.9).all()
    assert not left[7].any()

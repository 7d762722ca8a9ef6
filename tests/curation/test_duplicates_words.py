"""Words and shingles computed from bytes equal those of Python's strings."""

import unicodedata

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.curation.duplicates.similarity import ShingleSets, jaccard_of_texts, shingle_sets
from pipeline.text import words as w

# Letters, white space of every kind, marks that combine, jamo that join, emoji.
ALPHABET = (
    "ab Z.é\u0301e\u0308\u1100\u1161\u11a8각가\u3042\u3099"
    "か\u3000\u00a0\u0085\u2028\u2003\t\n\r\x1c\x1f\x01😀\u200b한글 \u212b\u0344"
)
TEXTS = st.lists(st.text(alphabet=ALPHABET, max_size=30) | st.text(max_size=20), max_size=12)


def words_by_hand(text: str) -> list[str]:
    return unicodedata.normalize("NFC", text).split()


def all_words(texts: list[str], block_bytes: int) -> list[list[bytes]]:
    found = []
    for _, _, data, offsets in w.blocks(pl.Series(texts, dtype=pl.String), block_bytes):
        data, offsets = w.compose(data, offsets)
        words = w.words_of(data, offsets)
        spans = [data[start:end].tobytes() for start, end in zip(words.starts, words.ends, strict=True)]
        bounds = np.concatenate([[0], np.cumsum(words.counts)])
        found += [spans[bounds[i] : bounds[i + 1]] for i in range(len(words.counts))]
    return found


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.sampled_from([1, 7, 64, 1 << 18]))
@example(["한글", "\u1112\u1161\u11ab글", " ", "", "a"], 1)
@example(["a", "b", "\u0301", "c"], 1 << 18)
def test_words_are_those_of_split_after_nfc(texts, block_bytes):
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    expected = [[word.encode() for word in words_by_hand(text)] for text in texts]
    assert all_words(texts, block_bytes) == expected


def test_every_character_that_split_takes_for_white_space_separates():
    spaces = [chr(code) for code in range(0x110000) if chr(code).isspace()]
    texts = [f"one{space}two" for space in spaces]
    assert [len(words) for words in all_words(texts, 1 << 18)] == [2] * len(spaces)


def test_every_character_that_nfc_changes_is_noticed():
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    changing = [text for text in characters if not unicodedata.is_normalized("NFC", text)]
    assert len(changing) > 1000
    # And those that join what stands before them, each after what it joins.
    pairs = [
        decomposed for decomposed in (unicodedata.normalize("NFD", character) for character in characters)
        if len(decomposed) == 2 and unicodedata.normalize("NFC", decomposed) != decomposed
    ]  # fmt: skip
    assert len(pairs) > 900
    for text, words in zip(changing + pairs, all_words(changing + pairs, 1 << 10), strict=True):
        assert b" ".join(words).decode() == " ".join(words_by_hand(text)), ascii(text)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", "dd", "한"]), max_size=14), max_size=8), st.integers(1, 7))
def test_shingles_are_equal_where_their_words_are(documents, n):
    texts = [" ".join(words) for words in documents]
    seen: dict[int, tuple] = {}
    for _, _, data, offsets in w.blocks(pl.Series(texts, dtype=pl.String), 40):
        shingles = w.shingles_of(w.words_of(data, offsets), n)
        for number in range(len(offsets) - 1):
            words = tuple(data[offsets[number] : offsets[number + 1]].tobytes().decode().split())
            runs = [words[place : place + n] for place in range(len(words) - n + 1)] or ([words] if words else [])
            hashes = shingles.hashes[shingles.offsets[number] : shingles.offsets[number + 1]].tolist()
            assert len(hashes) == len(runs)
            for value, run in zip(hashes, runs, strict=True):
                assert seen.setdefault(value, run) == run  # equal hashes: equal words
    assert len(set(seen.values())) == len(seen)  # equal words: equal hashes


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_words_are_hashed_in_nfc_and_found_where_they_are(texts):
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    composed = [unicodedata.normalize("NFC", text) for text in texts]
    one, other = (
        [w.words_of(data, offsets) for _, _, data, offsets in w.blocks(pl.Series(some, dtype=pl.String))]
        for some in (texts, composed)
    )
    for mine, theirs, (_, _, data, _) in zip(one, other, w.blocks(pl.Series(texts, dtype=pl.String)), strict=True):
        if all(len(text.split()) == len(nfc.split()) for text, nfc in zip(texts, composed, strict=True)):
            assert mine.hashes.tolist() == theirs.hashes.tolist()
        assert [data[a:b].tobytes().decode() for a, b in zip(mine.starts, mine.ends, strict=True)] == [
            word for text in texts for word in text.split()
        ]


def test_hashes_do_not_depend_on_what_stands_around():
    texts = [f"{'x ' * number}the same five words here {'y' * number}" for number in range(200)]
    (alone,) = [set(shingle_sets(pl.Series(["the same five words here"]), 5)[0].tolist())]
    hashes, sizes = shingle_sets(pl.Series(texts), 5)
    ends = np.cumsum(sizes)
    for number in range(200):
        assert alone < set(hashes[ends[number] - sizes[number] : ends[number]].tolist()) or number == 0


def jaccard_by_hand(one: str, other: str, n: int) -> float:
    def shingles(text):
        words = words_by_hand(text)
        return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)} or ({tuple(words)} if words else set())

    a, b = shingles(one), shingles(other)
    return len(a & b) / max(1, len(a | b))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=40), st.lists(st.sampled_from(["a", "b", "c"]), max_size=40))
def test_jaccard_is_exact(one, other):
    for n in (1, 2, 5):
        assert jaccard_of_texts(" ".join(one), " ".join(other), n) == jaccard_by_hand(" ".join(one), " ".join(other), n)


def test_many_pairs_at_once_are_the_same_as_one_at_a_time(monkeypatch):
    draw = np.random.default_rng(3)
    texts = [" ".join(draw.choice(list("abcd"), size).tolist()) for size in draw.integers(0, 60, 50)]
    hashes, sizes = shingle_sets(pl.Series(texts), 3)
    left, right = draw.integers(0, 50, 300), draw.integers(0, 50, 300)

    def sets() -> ShingleSets:
        parts = np.split(hashes, np.cumsum(sizes)[:-1])
        return ShingleSets(50, lambda asked: ((np.array([i]), parts[d], sizes[[d]]) for i, d in enumerate(asked)))

    whole = sets().jaccard(left, right)
    monkeypatch.setattr("pipeline.curation.duplicates.similarity.ELEMENTS_AT_ONCE", 7)
    monkeypatch.setattr("pipeline.curation.duplicates.similarity.IN_MEMORY_BYTES", 64)  # sets lie in a file
    assert np.array_equal(sets().jaccard(left, right), whole)
    assert whole.tolist() == [jaccard_by_hand(texts[a], texts[b], 3) for a, b in zip(left, right, strict=True)]


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("<p class='x'>Hello, World!</p>", "hello world"),
        ("a < b and c > d", "a b and c d"),
        ("<!-- note -->한국어, '문장'.", "한국어 문장"),
    ],
)
def test_what_a_comparison_ignores_is_removed(text, normalised):
    assert " ".join(w.normalise_for_comparison(pl.Series([text]), True, True, True)[0].split()) == normalised

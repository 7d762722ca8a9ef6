"""Signatures equal those of datasketch."""

import numpy as np
import polars as pl
import pytest
from datasketch import MinHash

from pipeline.curation.duplicates import signatures as s
from pipeline.text.words import blocks, shingles_of, words_of

TEXTS = [
    "", "one", "one two three four", "one two three four five", " ".join(map(str, range(300))),
    "가 나 다 라 마 바 사 " * 9, "the quick brown fox jumps over the lazy dog " * 3, "\n\n", "x" * 5000,
]  # fmt: skip


def low_halves(text: str, n: int) -> list[int]:
    """The input of MinHash: the low 32 bits of each shingle's hash."""
    hashes = [shingles_of(words_of(data, offsets), n).hashes for _, _, data, offsets in blocks(pl.Series([text]))]
    return (np.concatenate(hashes) & np.uint64(0xFFFFFFFF)).tolist()


@pytest.mark.parametrize("count", [112, 128, 7])
def test_permutations_are_those_of_datasketch(count):
    theirs = MinHash(num_perm=count, seed=s.SEED, scheme=s.SCHEME).permutations
    assert np.array_equal(np.stack(s.permutations(count)), theirs)


@pytest.mark.parametrize(("n", "count"), [(5, 112), (1, 32), (3, 128)])
def test_signatures_are_those_of_datasketch(n, count):
    made, words = s.signatures_of(pl.Series(TEXTS), n, count)
    for text, signature, number in zip(TEXTS, made, words, strict=True):
        theirs = MinHash(num_perm=count, seed=s.SEED, scheme=s.SCHEME, hashfunc=int)
        theirs.update_batch(low_halves(text, n))
        assert signature.dtype == theirs.hashvalues.dtype == np.uint32
        assert np.array_equal(signature, theirs.hashvalues)
        assert number == len(text.split())


def test_a_signature_does_not_depend_on_the_other_documents():
    together, _ = s.signatures_of(pl.Series(TEXTS), 5, 112)
    for place, text in enumerate(TEXTS):
        assert np.array_equal(s.signatures_of(pl.Series([text]), 5, 112)[0][0], together[place])


def test_agreement_of_signatures_estimates_the_similarity():
    one, other = " ".join(map(str, range(1000))), " ".join(map(str, range(100, 1100)))
    made, _ = s.signatures_of(pl.Series([one, other]), 1, 1024)
    assert abs((made[0] == made[1]).mean() - 900 / 1100) < 0.05


def test_bands_keep_the_recall_that_is_asked_for_with_as_many_rows_as_can_be():
    assert s.bands_for(0.8, 112, 0.98) == (18, 6)
    for threshold in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
        bands, rows = s.bands_for(threshold, 112, 0.98)
        assert s.candidate_probability(threshold, bands, rows) >= 0.98
        assert s.candidate_probability(threshold, 112 // (rows + 1), rows + 1) < 0.98


def test_documents_are_candidates_if_and_only_if_a_band_is_the_same():
    draw = np.random.default_rng(5)
    signatures = draw.integers(0, 3, (200, 12)).astype(np.uint32)
    values = s.band_hashes(signatures, 4, 3)
    for band in range(4):
        rows = signatures[:, 3 * band : 3 * band + 3]
        same = (rows[:, None] == rows[None]).all(axis=2)
        assert np.array_equal(values[band][:, None] == values[band][None], same)
    # The same rows in another band are no sign of anything.
    assert not set(values[0].tolist()) & set(values[1].tolist())

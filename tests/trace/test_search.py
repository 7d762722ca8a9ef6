"""Passages and their counts are those of a search through everything; suffixes are in the one right order."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.trace import suffixes
from pipeline.trace.part import open_part, write_part
from pipeline.trace.search import spans

END = 3


def in_order(tokens: np.ndarray) -> list[int]:
    return sorted(range(len(tokens)), key=lambda at: tokens[at:].tolist())


TEXTS = {
    "no token": [],
    "one token": [7],
    "all the same": [5] * 200,
    "one period": [5, 6, 7] * 60,
    "few tokens": np.random.default_rng(0).integers(0, 3, 500).tolist(),
    "many tokens": np.random.default_rng(1).integers(0, 2**16, 500).tolist(),
    "ids of more than 16 bits": np.random.default_rng(2).integers(0, 2**20, 500).tolist(),
    "a long text twice": np.tile(np.random.default_rng(3).integers(0, 900, 700), 2).tolist(),
}


@pytest.mark.parametrize("name", TEXTS)
def test_suffixes_are_in_order(name):
    dtype = np.uint32 if max(TEXTS[name], default=0) >= 2**16 else np.uint16
    tokens = np.array(TEXTS[name], dtype)
    assert suffixes.sorted_by_doubling(tokens).tolist() == in_order(tokens)
    assert suffixes.sorted_by_doubling(tokens).dtype == np.uint32


@pytest.mark.parametrize("name", TEXTS)
def test_the_library_gives_the_same_bytes(name):
    pytest.importorskip("pydivsufsort", reason="needs the extra `trace`")
    dtype = np.uint32 if max(TEXTS[name], default=0) >= 2**16 else np.uint16
    tokens = np.array(TEXTS[name], dtype)
    assert suffixes.sorter() is not suffixes.sorted_by_doubling
    assert suffixes.sorter()(tokens).tobytes() == suffixes.sorted_by_doubling(tokens).tobytes()


def part_of(documents, path):
    lengths = np.array([len(document) for document in documents], dtype=np.int64)
    tokens = np.array([token for document in documents for token in document], dtype=np.int64)
    counts = write_part(tokens, lengths, 10 + np.arange(len(documents)), END, suffixes.sorted_by_doubling, path)
    return open_part(path, counts)


def brute(documents, query, least):
    """The same by comparing everything with everything."""

    def count(passage):
        return sum(
            list(document[at : at + len(passage)]) == passage
            for document in documents
            for at in range(len(document) - len(passage) + 1)
        )

    lengths = []
    for start in range(len(query)):
        length = 0
        while start + length < len(query) and count(query[start : start + length + 1]):
            length += 1
        lengths.append(length)
    return [
        (start, start + length, count(query[start : start + length]))
        for start, length in enumerate(lengths)
        if length >= max(1, least) and (not start or start + length > start - 1 + lengths[start - 1])
    ]


def cases():
    rng = np.random.default_rng(5)
    for number in range(60):
        size = int(rng.choice([1, 2, 3, 8, 70_000]))
        documents = [rng.integers(4, 4 + size, int(rng.integers(0, 25))).tolist() for _ in range(number % 6)]
        documents += documents[:1] * (number % 3)  # the same again
        pieces = [document[1:18] for document in documents[:3]] + [rng.integers(4, 4 + size, 4).tolist(), [END]]
        yield documents, [token for piece in pieces for token in piece], 1 + number % 3
    yield [[5] * 40, [5] * 7], [5] * 60, 1
    yield [[5, 6] * 20, [6] * 3], [6, 5] * 15, 2
    yield [[7], [], [8]], [7, 8], 1  # a passage does not go from one document to the next
    yield [[7, 8]], [], 1
    yield [], [7, 8], 1


@pytest.mark.parametrize("parts", [1, 3])
def test_passages_and_counts_are_those_of_a_search_through_everything(tmp_path, parts):
    found = 0
    for number, (documents, query, least) in enumerate(cases()):
        opened = [part_of(documents[at::parts], tmp_path / f"{number}-{at}.index") for at in range(parts)]
        told = spans(opened, np.array(query, np.int64), least)
        expected = brute(documents, query, least)
        assert [(span.start, span.end, span.count) for span in told] == expected, (documents, query)
        found += len(told)
        for span in told:
            for at, first_place, behind in span.found:
                part = opened[at]
                for place in part.suffixes[first_place:behind].tolist():
                    document = int(part.documents_at(np.array([place]))[0])
                    first = place - int(part.starts[document])
                    own = documents[at::parts][document]
                    assert own[first : first + span.end - span.start] == query[span.start : span.end]
                    assert part.rows[document] == 10 + document
    assert found > 150


def test_a_part_takes_six_bytes_a_token_and_seven_where_ids_are_large(tmp_path):
    rng = np.random.default_rng(0)
    for size, expected in ((60_000, 6), (100_000, 7)):
        documents = [rng.integers(4, size, 1000).tolist() for _ in range(20)]
        documents[0][0] = size - 1
        part_of(documents, tmp_path / "one.index")
        assert expected <= (tmp_path / "one.index").stat().st_size / 20_000 < expected + 0.05


def test_an_id_that_the_index_cannot_hold_is_refused(tmp_path):
    with pytest.raises(UserError, match="token id 16,777,216 is too large"):
        part_of([[2**24]], tmp_path / "one.index")

"""Passages in characters of the text, in whatever form its first word was learned."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.tokens.tokenizer import Tokenizer
from pipeline.trace.index import folded
from pipeline.trace.part import open_part, write_part
from pipeline.trace.passages import differing, folded_places, passages, readable, uncovered
from pipeline.trace.suffixes import sorted_by_doubling


class Words:
    """Splits before each blank, and takes words of Korean apart into bytes: `drops_first_space` as SentencePiece."""

    def __init__(self):
        self.known: list[bytes] = [bytes([byte]) for byte in range(256)]
        self.vocab_size = 4000

    def encode(self, texts):
        ids, lengths = [], []
        for text in texts.to_list():
            own = []
            for word in text.replace("\n", "\x00\n\x00").replace(" ", "\x00 ").split("\x00"):
                pieces = [word.encode()] if word.isascii() else [bytes([byte]) for byte in word.encode()]
                for piece in filter(None, pieces):
                    if piece not in self.known:
                        self.known.append(piece)
                    own.append(self.known.index(piece))
            ids += own
            lengths.append(len(own))
        return np.array(ids, np.uint32), np.array(lengths, np.int64)

    def token_bytes(self):
        return self.known + [b""] * (self.vocab_size - len(self.known))


class Live(Tokenizer):
    """Knows the words that were split since it was made, too."""

    def token_bytes(self):
        return self.engine.token_bytes()

    def decode_bytes(self, ids):
        return b"".join(self.engine.token_bytes()[int(i)] for i in ids)


@pytest.fixture
def tokenizer():
    about = {"vocab_size": 4000, "special_tokens": {"<eos>": 3999}, "normalisation": "nfc"}
    return Live(Words(), about)


def index_of(tokenizer, texts, tmp_path):
    documents = tokenizer.encode(texts)
    lengths = np.array([len(ids) for ids in documents], np.int64)
    path, rows = tmp_path / "one.index", np.arange(len(texts))
    counts = write_part(np.concatenate(documents), lengths, rows, 3999, sorted_by_doubling, path)
    return [open_part(path, counts)]


def found(tokenizer, texts, text, tmp_path, least=2):
    parts = index_of(tokenizer, texts, tmp_path)
    text = readable(tokenizer, text)
    return [(text[one.start : one.end], one.span.count) for one in passages(parts, tokenizer, text, least)]


def test_the_longest_passages_are_told_in_the_characters_of_the_text(tokenizer, tmp_path):
    texts = ["All the boats lie in the harbour", "Then she read the letter in the harbour"]
    text = "Now the boats lie in the harbour and she read a book"
    assert found(tokenizer, texts, text, tmp_path) == [(" the boats lie in the harbour", 1), (" she read", 1)]
    assert found(tokenizer, texts, "in the harbour", tmp_path) == [("in the harbour", 2)]


def test_a_beginning_is_found_whatever_stood_before_it(tokenizer, tmp_path):
    for text in ("boats lie there", "a boats lie there", "a\nboats lie there"):
        assert found(tokenizer, [text], "boats lie there", tmp_path, 3)[0] == ("boats lie there", 1), text


def test_a_part_of_a_syllable_does_not_count(tokenizer, tmp_path):
    # 가 and 각 begin with the same two bytes.
    assert found(tokenizer, ["나는 가게"], "나는 각자", tmp_path, 2) == [("나는 ", 1)]


def test_the_beginning_that_two_forms_differ_in():
    assert differing(np.array([1, 2, 3]), np.array([9, 8, 2, 3])) == 2
    assert differing(np.array([2, 3]), np.array([2, 3])) == 0
    assert differing(np.array([2, 3]), np.array([1, 2, 3])) == 1
    assert differing(np.array([4]), np.array([5])) == 1


def test_what_no_passage_covers_is_told_without_white_space_and_signs():
    text = "one two, three. Four"
    assert [text[a:b] for a, b in uncovered(text, [(4, 7), (9, 14)])] == ["one", ". Four"]
    assert uncovered(text, [(0, len(text))]) == []
    assert uncovered("one!", [(0, 3)]) == []


@pytest.mark.parametrize("text", ["A  Bc\n d", "  Der  GROSSE İstanbul\t", "", "한국어  ΣΑΣ"])
def test_a_folded_text_knows_the_place_of_each_of_its_characters(text):
    told, at = folded_places(text)
    assert told == folded(text) and len(at) == len(told)
    assert at == sorted(at)
    for letter, place in zip(told, at):
        assert letter.isspace() == text[place].isspace()

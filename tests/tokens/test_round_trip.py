"""Every text decodes exactly, with the same ids by column, from the native library and from Hugging Face's file."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.tokens.tokenizer import HUGGING_FACE, load

ODD = [
    "",
    " ",
    "  two  spaces  ",
    "\x00 NUL \x00\x00",
    "\r\n\r\n\tCRLF\r\n  tab\t\t",
    "각 " + unicodedata.normalize("NFD", "한글 각") + " ᄒ ㅋㅋㅋ ㅏㅏ",  # syllables, NFD, jamo, compatibility jamo
    "e\u0301 \u0301 \u200d\u200c\ufeff \u202e",
    "😀👩‍👩‍👧‍👦🏳️‍🌈 🇰🇷",
    "\u2581 a\u2581b \u2581\u2581",  # what SentencePiece writes for a space
    "<bos><eos> <|im_start|>assistant <pad> <unk> <|reserved_0|> <0x41>",
    "\u0080\u07ff\u0800\uffff\U00010000\U0010ffff",
    "١٢٣ ½ ² 1234567890 3.14",
    "def f(x):\n\treturn {'a': x[0:1]}\n\n\n        # " + "=" * 200,
    "한국어와English가섞인문장Python은2023년",
    "a" * 5000,
]


@pytest.fixture(scope="module")
def peer(artifacts, kind):
    """`tokenizer.json`, read by Hugging Face's library, told to leave special tokens alone."""
    import tokenizers

    found = tokenizers.Tokenizer.from_file(str(artifacts[kind].file(HUGGING_FACE)))
    found.encode_special_tokens = True
    return found


def check(tokenizer, native, peer, texts: list[str]) -> None:
    ids = tokenizer.encode(texts)
    for text, own, asked, other in zip(texts, ids, native.encode(texts), peer.encode_batch(texts), strict=True):
        assert tokenizer.decode(own) == text
        # Of equally good unigram paths, rounding takes one where sums are long: natively over the whole text.
        assert np.array_equal(own, asked) or tokenizer.about.get("algorithm") == "unigram"
        assert own.tolist() == other.ids
        assert peer.decode(other.ids, skip_special_tokens=False) == text
        assert not np.isin(own, list(tokenizer.ids.values())).any()


@pytest.fixture(scope="module")
def trio(artifacts, tokenizers, kind, peer):
    return tokenizers[kind], load(artifacts[kind].directory, cache=False), peer


def test_odd_texts_come_back(trio):
    check(*trio, ODD)


def test_documents_come_back(trio, texts):
    check(*trio, [text for found in texts.values() for text in found])


def test_ten_thousand_made_strings_come_back(trio):
    alphabet = st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(" \n\t▁가나다힣ㄱᄀabcXYZ019_.,()\u200d\u0301\u2028"),
    )

    @settings(max_examples=500, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.text(alphabet, max_size=40), min_size=20, max_size=20))
    def run(strings):
        check(*trio, strings)

    run()


def test_lone_surrogates_become_the_replacement_character(trio):
    tokenizer = trio[0]
    (ids,) = tokenizer.encode(["a\ud800b\udc00 \ud83d\ude00"])
    assert tokenizer.decode(ids) == "a\ufffdb\ufffd 😀"


def test_a_column_has_the_smallest_type(trio, texts):
    tokenizer = trio[0]
    column = tokenizer.encode_column(pl.Series("t", [*texts["ko"][:3], None, ""]))
    assert column.dtype == pl.List(pl.UInt16)
    assert column.list.len().to_list()[3:] == [0, 0]
    assert tokenizer.decode(column[0].to_numpy()) == texts["ko"][0]


def test_pieces_show_parts_of_characters(trio):
    tokenizer = trio[0]
    (ids,) = tokenizer.encode(["힣\U0010ffff"])
    pieces = tokenizer.token_strings(ids)
    assert any(piece.startswith("<0x") for piece in pieces)
    assert tokenizer.token_strings([tokenizer.ids["<eos>"]]) == ["<eos>"]
    assert tokenizer.decode([*ids, tokenizer.ids["<eos>"]]) == "힣\U0010ffff"
    assert tokenizer.decode([tokenizer.ids["<eos>"]], specials=True) == "<eos>"


SHARED = Path(os.environ.get("SLM_SHARED_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "text").is_dir(), reason="the development data is not beside the project")
def test_every_development_document_comes_back(trio):
    frame = pl.concat([pl.read_parquet(path, columns=["text"]) for path in sorted((SHARED / "text").glob("*.parquet"))])
    tokenizer, _, peer = trio
    ids, lengths = tokenizer.encode_joined(frame["text"])
    parts = np.split(ids, np.cumsum(lengths)[:-1])
    wrong = [
        i for i, (part, text) in enumerate(zip(parts, frame["text"], strict=True)) if tokenizer.decode(part) != text
    ]
    assert wrong == []
    some = slice(None, None, 20)  # Hugging Face's library takes half a minute for all; the benchmark does them all
    others = peer.encode_batch(frame["text"][some].to_list())
    assert all(part.tolist() == other.ids for part, other in zip(parts[some], others, strict=True))

"""Token shards: every document once, remembered by fragment, stable splits, near-copies of validation left out."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from pipeline.documents.execution import ExecutionSettings
from pipeline.errors import UserError
from pipeline.store.store import Store
from pipeline.tokens import near_validation, shards, training
from pipeline.tokens.own_prompts import SHORTEST, beginning, own_prompts
from pipeline.tokens.token_settings import ShardSettings, TokenizerSettings
from pipeline.tokens.tokenizer import load
from tests.making import context
from tests.tokens.conftest import code, curate, documents, english, korean

HERE = ExecutionSettings(executor="in_process")
SETTINGS = ShardSettings(validation=0.1, row_group_tokens=2048)


def make(store, curated, tokenizer, settings=SETTINGS):
    return shards.make(context(store), {"curated_documents": curated, "tokenizer": tokenizer}, settings)


@pytest.fixture(scope="module")
def sharded(made, artifacts):
    store, curated = made
    return make(store, curated, artifacts["sentencepiece"])


def read(artifact) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(artifact.table(fragment)) for fragment in artifact.fragments])


def test_every_document_is_there_once_and_comes_back(sharded, tokenizers, texts):
    frame = read(sharded)
    original = documents(texts)
    assert sorted(frame["doc_id"]) == sorted(original["doc_id"])
    text = dict(zip(original["doc_id"], original["text"], strict=True))
    tokenizer = tokenizers["sentencepiece"]
    assert all(tokenizer.decode(tokens) == text[doc] for doc, tokens in frame["doc_id", "tokens"].iter_rows())
    assert frame.schema["tokens"] == pl.List(pl.UInt16) and sharded.facts["dtype"] == "uint16"
    assert (frame["length"] == frame["tokens"].list.len()).all()
    assert frame["bytes"].to_list() == [len(text[doc].encode()) for doc in frame["doc_id"]]


def test_the_manifest_counts(sharded):
    frame = read(sharded)
    sums = frame.group_by("source", "split").agg(pl.col("length").sum())
    for source, split, tokens in sums.iter_rows():
        gone = sharded.facts["near_validation"]["tokens"] if split == "train" else 0
        assert 0 <= tokens - sharded.facts["by_source"][source][split] <= gone
    assert sum(sharded.facts["tokens"].values()) + sharded.facts["near_validation"]["tokens"] == frame["length"].sum()
    assert sharded.facts["bytes"] == frame["bytes"].sum()
    assert sharded.counts["in"] == frame.height


def test_a_row_group_holds_one_split_and_language(sharded):
    for fragment in sharded.fragments:
        file = pq.ParquetFile(sharded.table(fragment))
        listed = sharded.entry(fragment)["facts"]["groups"]
        assert file.num_row_groups == len(listed)
        for number, (split, lang, rows, tokens, size) in enumerate(listed):
            part = pl.DataFrame(file.read_row_group(number))
            assert part.select("split", "lang").unique().rows() == [(split, lang)]
            assert (part.height, part["length"].sum(), part["bytes"].sum()) == (rows, tokens, size)
            assert tokens - int(part["length"][0]) <= SETTINGS.row_group_tokens + int(part["length"][-1])
    assert any(len(sharded.entry(fragment)["facts"]["groups"]) > 3 for fragment in sharded.fragments)


def test_the_split_is_by_document_and_stays(sharded, made, artifacts, tmp_path):
    frame = read(sharded)
    share = (frame["split"] == "validation").mean()
    assert 0.04 < share < 0.2
    store = Store(tmp_path, "made")
    fewer = curate(store, {"ko": korean()[::2], "en": english()})
    again = read(make(store, fewer, artifacts["sentencepiece"]))
    before = dict(zip(frame["doc_id"], frame["split"], strict=True))
    assert all(before[doc] == split for doc, split in again.select("doc_id", "split").iter_rows())


def test_only_changed_fragments_are_encoded_again(tmp_path, artifacts):
    store = Store(tmp_path, "made")
    texts = {"ko": korean(), "code": code()}
    first = make(store, curate(store, texts), artifacts["sentencepiece"])
    assert first.manifest["fragments"] == {"computed": 4, "reused": 0}
    changed = {**texts, "ko": [*korean(), "한국어 문서가 하나 늘었다."]}
    second = make(store, curate(store, changed), artifacts["sentencepiece"])
    assert second.manifest["fragments"] == {"computed": 1, "reused": 3}
    assert read(second).height == read(first).height + 1
    # A tokenizer that was made again with another report, and the same model, changes nothing.
    curated = curate(store, texts)
    settings = TokenizerSettings(kind="bpe", vocab_size=600)
    other = training.make(context(store), {"curated_documents": curated}, settings)
    third = make(store, curate(store, changed), other)
    assert third.manifest["fragments"]["computed"] == 4


def test_the_same_bytes_again(sharded, made, artifacts, tmp_path):
    again = make(Store(tmp_path, "made"), made[1], artifacts["sentencepiece"])
    assert again.digest == sharded.digest


@pytest.fixture(scope="module")
def with_twins(tmp_path_factory, artifacts):
    """Each English document and a copy with one or two changed words."""
    store = Store(tmp_path_factory.mktemp("twins"), "made")
    originals = [" ".join(english()[i : i + 3]) for i in range(0, 60, 3)]
    twins = [text.replace("See also", "Look at", 1) + " End." for text in originals]
    curated = curate(store, {"en": originals + twins, "code": code()})
    return make(store, curated, artifacts["sentencepiece"], ShardSettings(validation=0.3))


def similar(one: np.ndarray, other: np.ndarray) -> float:
    runs = [{tuple(ids[i : i + 8]) for i in range(max(1, len(ids) - 7))} for ids in (one.tolist(), other.tolist())]
    return len(runs[0] & runs[1]) / len(runs[0] | runs[1])


def test_no_twin_of_a_validation_document_is_trained_on(with_twins):
    artifact = with_twins
    left_out = pl.read_parquet(artifact.file(near_validation.TABLE))
    frame = read(artifact)
    ids = dict(zip(frame["doc_id"], frame["tokens"], strict=True))
    validation = frame.filter(pl.col("split") == "validation")["doc_id"].to_list()
    trained = set(frame.filter(pl.col("split") == "train")["doc_id"]) - set(left_out["doc_id"])
    # What was left out is similar indeed, by an independent count, and nothing that is similar was kept.
    assert left_out.height >= 3
    for doc, twin, jaccard in left_out.select("doc_id", "validation_id", "jaccard").iter_rows():
        assert similar(ids[doc].to_numpy(), ids[twin].to_numpy()) == pytest.approx(jaccard) and jaccard >= 0.7
    kept = [(a, b) for a in validation for b in trained if similar(ids[a].to_numpy(), ids[b].to_numpy()) >= 0.7]
    assert kept == []
    assert artifact.counts["removed"] == {"near_validation": left_out.height}
    rows = [
        pl.read_parquet(artifact.table(name))["doc_id"][row] for name, row in left_out["fragment", "row"].iter_rows()
    ]
    assert rows == left_out["doc_id"].to_list()


def test_sketches_are_samples_of_ngrams():
    rng = np.random.default_rng(0)
    lengths = np.array([3, 8, 0, 2000, 5000])
    tokens = rng.integers(0, 500, lengths.sum()).astype(np.uint16)
    values, rows = near_validation.ngram_hashes(tokens, lengths)
    assert np.bincount(rows).tolist() == [1, 1, 1, 1993, 4993]
    alone, _ = near_validation.ngram_hashes(tokens[11:2011], np.array([2000]))
    assert alone.tolist() == values[rows == 3].tolist()
    sketches = near_validation.sketches(tokens, lengths)
    assert sketches.list.len().to_list()[:3] == [1, 1, 1]
    assert 15 < sketches.list.len()[3] < 60 and 50 < sketches.list.len()[4] < 120
    assert set(sketches[4]) <= set(values[rows == 4].tolist())
    assert near_validation.jaccard(tokens[11:2011], tokens[11:2011]) == 1


def test_everything_in_validation_is_an_error(tmp_path, artifacts):
    store = Store(tmp_path, "made")
    curated = curate(store, {"en": ["only one document"]})
    with pytest.raises(UserError, match="no document to train on"):
        make(store, curated, artifacts["sentencepiece"], ShardSettings(validation=0.9999))


def test_validation_documents(sharded):
    frame = shards.validation_documents(sharded).collect()
    assert frame.columns == ["doc_id", "source", "lang", "tokens", "length", "bytes"]
    assert frame.height == sharded.facts["documents"]["validation"] > 0


def test_workers_give_the_same_bytes(sharded, made, artifacts, tmp_path, monkeypatch):
    from pipeline.documents import execution

    monkeypatch.setattr(execution, "WORTH_A_PROCESS_BYTES", 0)
    processes = ExecutionSettings(executor="processes", workers=2)
    inputs = {"curated_documents": made[1], "tokenizer": artifacts["sentencepiece"]}
    again = shards.make(context(Store(tmp_path, "made"), execution=processes), inputs, SETTINGS)
    assert again.digest == sharded.digest
    assert load(artifacts["sentencepiece"].directory).vocab_size == again.facts["tokenizer"]["vocab_size"]


def test_prompts_are_beginnings_of_validation_documents_in_each_language(sharded, tokenizers, texts):
    prompts = own_prompts(sharded, tokenizers["sentencepiece"])
    known = shards.validation_documents(sharded).collect()
    assert {prompt.lang for prompt in prompts} == set(known["lang"]) and len(prompts) == 6
    text = dict(zip(documents(texts)["doc_id"], documents(texts)["text"], strict=True))
    held_back = [text[doc].lstrip("\n") for doc in known["doc_id"]]
    for prompt in prompts:
        begun = [whole for whole in held_back if whole.startswith(prompt.text)]
        assert begun and SHORTEST <= len(prompt.text) < len(begun[0]), prompt
    assert own_prompts(sharded, tokenizers["sentencepiece"]) == prompts


@pytest.mark.parametrize(
    ("text", "lang", "prompt"),
    [
        ("The harbour lies open to the north, and when the wind turns the boats wait.", "en",
         "The harbour lies open to the north, and when"),
        ("바다는 북쪽으로 열려 있고 바람이 돌면 배들은 모래 위에서 기다린다.", "ko",
         "바다는 북쪽으로 열려 있고 바람이 돌면"),
        ("def total(values):\n    result = 0\n    return sum(values) + result\n", "code",
         "def total(values):\n    result = 0\n"),
    ],
)  # fmt: skip
def test_a_prompt_ends_between_words_and_code_between_lines(text, lang, prompt):
    assert beginning(text, lang) == prompt


def test_half_a_syllable_is_not_shown(tokenizers):
    tokenizer = tokenizers["bpe"]
    spelt = [tokenizer.token_bytes().index(bytes([byte])) for byte in "밤".encode()]
    assert tokenizer.shown(spelt) == "밤" and tokenizer.shown(spelt[:2]) == ""
    assert "\ufffd" in tokenizer.decode(spelt[:2])

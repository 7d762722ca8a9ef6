"""Raw documents: the same bytes whatever the order, the memory or the history, and no more work than changed."""

from __future__ import annotations

import json
import random
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from pipeline.context import RunContext
from pipeline.documents.document import DOCUMENT_SCHEMA
from pipeline.errors import UserError
from pipeline.ingest import forgetting, fragments, raw_documents
from pipeline.ingest.fragments import Sorter, document_ids, fragment_bits, fragment_name, frame_digest
from pipeline.ingest.records import Unreachable
from pipeline.ingest.source import Source, parse_source
from pipeline.store.store import Store


def silent(message: str) -> None:
    pass


def documents(artifact) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(artifact.table(name)) for name in artifact.fragments])


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def rows(count: int, seed: int = 0, words: int = 40) -> list[dict[str, str]]:
    """Documents of random Korean and English words, the same for a seed."""
    chance = random.Random(seed)
    vocabulary = ["문서", "언어", "모델", "a", "the", "data", "학습", "text", "small", "가나다"]
    return [
        {"id": f"{seed}-{i}", "text": " ".join(chance.choices(vocabulary, k=words)) + f" {seed} {i}"}
        for i in range(count)
    ]


def source(path: Path, name: str = "s", **more: object) -> Source:
    return parse_source({"name": name, "kind": "files", "path": str(path), **more})


# -- what a document is ------------------------------------------------------------------------------------------------


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=20))
def test_normalised_text_is_nfc_with_white_space_folded(texts: list[str]) -> None:
    import re

    # White space as Unicode has it, of which Python's `\s` counts four control characters too many.
    white = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
    expected = [re.sub(white, " ", unicodedata.normalize("NFC", text)).strip(" ") for text in texts]
    assert document_ids(pl.Series(texts)).to_list() == [xxhash.xxh3_128_hexdigest(text.encode()) for text in expected]


def test_characters_taken_for_composed_are_composed() -> None:
    """What is not matched by MAYBE_NOT_COMPOSED may not change, alone or after another such character."""
    every = pl.Series([chr(i) for i in range(0x11_0000) if not 0xD800 <= i < 0xE000])
    sure = every.filter(~every.str.contains(fragments.MAYBE_NOT_COMPOSED))
    assert len(sure) > 40_000
    assert all(unicodedata.is_normalized("NFC", char) for char in sure)
    # U+1161.. and combining marks join what stands before them; none is among the sure ones.
    assert not any(unicodedata.combining(char) or 0x1100 <= ord(char) <= 0x11FF for char in sure)


def test_a_document_is_known_by_its_normalised_text() -> None:
    same = ["한글  문서\n", unicodedata.normalize("NFD", "한글 문서"), " 한글 문서", "한글\u3000문서"]
    ids = document_ids(pl.Series([*same, "한글 문서."]))
    assert ids[:4].n_unique() == 1 and ids[4] != ids[0]
    assert ids[0] == xxhash.xxh3_128_hexdigest("한글 문서".encode())


def test_columns_and_order(tmp_path, make) -> None:
    write(tmp_path / "a.jsonl", [*rows(50), rows(50)[3] | {"id": "a copy"}])
    artifact = make(source(tmp_path / "a.jsonl", lang="ko", license="own"))
    found = documents(artifact)
    assert dict(found.schema) == DOCUMENT_SCHEMA
    assert found.equals(found.sort("doc_id", "source_id"))
    assert found.height == 51 and found["doc_id"].n_unique() == 50  # copies stay; the stage for them names the one kept
    assert set(found["source"]) == {"s"} and set(found["lang"]) == {"ko"} and set(found["license"]) == {"own"}
    assert artifact.counts["in"] == artifact.counts["kept"] == 51
    assert artifact.facts["sources"]["s"]["licenses"] == {"own": 51}
    assert artifact.facts["sources"]["s"]["bytes"] == found["text"].str.len_bytes().sum()


# -- fragments ---------------------------------------------------------------------------------------------------------


def test_the_number_of_fragments_follows_the_size_alone() -> None:
    size = fragments.FRAGMENT_BYTES
    assert [fragment_bits(n) for n in (0, 1, size, size + 1, 2 * size, 2 * size + 1, 1000 * size)] == [
        0,
        0,
        0,
        1,
        1,
        2,
        10,
    ]
    assert fragment_name("s", 5, 4) == "s-0101" and fragment_name("s", 0, 0) == "s-all"


@pytest.fixture
def small_fragments(monkeypatch) -> None:
    monkeypatch.setattr(fragments, "FRAGMENT_BYTES", 20_000)


def test_fragments_hold_what_their_name_says(tmp_path, make, small_fragments) -> None:
    write(tmp_path / "a.jsonl", rows(2000))
    artifact = make(source(tmp_path / "a.jsonl"))
    assert len(artifact.fragments) == 32
    for name in artifact.fragments:
        found = pl.read_parquet(artifact.table(name))
        first = found["doc_id"].str.slice(0, 2).str.to_integer(base=16)
        assert {f"s-{number >> 3:05b}" for number in first} == {name}
        assert found.equals(found.sort("doc_id", "source_id"))
        assert 5_000 < found["text"].str.len_bytes().sum() < 20_000
    assert documents(artifact).height == 2000


@pytest.mark.parametrize("memory", [5_000, 60_000, 10**9])
@pytest.mark.parametrize("bits", [0, 3, 8, 11])
def test_memory_and_order_change_nothing(tmp_path, memory, bits) -> None:
    made = pl.DataFrame({"text": [row["text"] for row in rows(600)], "id": [str(i) for i in range(600)]})
    made = made.with_columns(pl.lit(None, pl.String).alias(name) for name in ("lang", "license", "url", "meta"))
    expected = list(sorter_of(tmp_path / "x", 10**9, [made]).fragments(bits))
    order = np.random.default_rng(0).permutation(600)
    shuffled = made[order]
    found = list(sorter_of(tmp_path / "y", memory, [shuffled[i : i + 70] for i in range(0, 600, 70)]).fragments(bits))
    assert [prefix for prefix, _ in found] == [prefix for prefix, _ in expected]
    assert all(a.equals(b) for (_, a), (_, b) in zip(found, expected))
    assert sum(frame.height for _, frame in found) == 600
    assert not (tmp_path / "y").exists()


def test_copies_of_a_text_are_in_order_of_their_ids(tmp_path) -> None:
    ids = [f"{i:03d}" for i in np.random.default_rng(1).permutation(200)]
    made = pl.DataFrame({"text": [f"text {int(i) % 3}" for i in ids], "id": ids})
    made = made.with_columns(pl.lit(None, pl.String).alias(name) for name in ("lang", "license", "url", "meta"))
    for memory in (1_000, 10**9):
        found = pl.concat([frame for _, frame in sorter_of(tmp_path / "x", memory, [made]).fragments(0)])
        assert found.select("doc_id", "source_id").equals(
            found.select("doc_id", "source_id").sort("doc_id", "source_id")
        )


def test_no_more_than_the_memory_is_sorted_at_once(tmp_path, monkeypatch) -> None:
    made = pl.DataFrame({"text": [row["text"] for row in rows(1500)], "id": [str(i) for i in range(1500)]})
    made = made.with_columns(pl.lit(None, pl.String).alias(name) for name in ("lang", "license", "url", "meta"))
    monkeypatch.setattr(fragments, "BUCKET_BITS", 2)
    at_once: list[int] = []
    cut = fragments.sliced
    monkeypatch.setattr(
        fragments,
        "sliced",
        lambda held, bits: at_once.append(sum(f["text"].str.len_bytes().sum() for f in held)) or cut(held, bits),
    )
    sorter = sorter_of(tmp_path / "x", 40_000, [made[i : i + 50] for i in range(0, 1500, 50)])
    assert sum(frame.height for _, frame in sorter.fragments(6)) == 1500
    assert sorter.text_bytes > 300_000 and max(at_once) <= 40_000


def sorter_of(folder: Path, memory: int, frames: list[pl.DataFrame]) -> Sorter:
    sorter = Sorter(folder, memory)
    for frame in frames:
        sorter.add(fragments.documents_of(frame, "s"))
    return sorter


def test_a_digest_of_a_frame_is_of_its_values_alone() -> None:
    one = pl.DataFrame({"a": ["x", None, "", "한글"], "b": ["1", "2", "3", "a text that is longer than a short one"]})
    parts = pl.concat([one.head(1), one.slice(1, 2), one.tail(1)], rechunk=False)
    longer = pl.concat([one.head(2), one]).tail(4)
    assert frame_digest(parts) == frame_digest(longer) == frame_digest(one)
    assert frame_digest(pl.DataFrame(one.to_arrow())) == frame_digest(one)
    others = [
        one.with_columns(pl.col("a").fill_null("")), one.reverse(), one.rename({"a": "b", "b": "a"}).select("a", "b"),
        one.head(3), one.with_columns(b=pl.col("b").str.replace("1", "4")),
    ]  # fmt: skip
    assert len({frame_digest(frame) for frame in [one, *others]}) == 6


# -- only what changed -------------------------------------------------------------------------------------------------


def test_one_changed_document_writes_one_or_two_fragments(tmp_path, make, store, small_fragments) -> None:
    write(tmp_path / "a.jsonl", rows(2000))
    given_source = source(tmp_path / "a.jsonl")
    make(given_source)
    changed = rows(2000)
    changed[700]["text"] += " changed"
    write(tmp_path / "a.jsonl", changed)
    second = make(given_source)
    assert second.manifest["fragments"]["computed"] in (1, 2) and second.manifest["fragments"]["reused"] >= 30
    fresh = raw_documents.make(RunContext(Store(tmp_path / "fresh", "test"), silent), {}, [given_source])
    assert fresh.manifest["files"] == second.manifest["files"] and fresh.digest == second.digest


def test_other_sources_are_not_read_again(tmp_path, make, monkeypatch) -> None:
    write(tmp_path / "a.jsonl", rows(20, 1))
    write(tmp_path / "b.jsonl", rows(20, 2))
    a, b = source(tmp_path / "a.jsonl", "a"), source(tmp_path / "b.jsonl", "b")
    first = make(a, b)
    read: list[str] = []
    ingest = raw_documents.ingest
    monkeypatch.setattr(raw_documents, "ingest", lambda s, *rest: read.append(s.name) or ingest(s, *rest))
    write(tmp_path / "b.jsonl", rows(21, 2))
    second = make(a, b)
    assert read == ["b"] and second.counts["kept"] == 41
    assert second.entry("a-all") == first.entry("a-all")
    assert second.facts["sources"]["a"] == first.facts["sources"]["a"]
    c = source(tmp_path / "a.jsonl", "c")
    assert make(a, b, c).counts["kept"] == 61 and read == ["b", "c"]
    assert make(b).counts["kept"] == 21 and read == ["b", "c"]  # a source taken out leaves no fragment behind
    assert make(b).fragments == ["b-all"]


def test_weight_and_place_change_nothing_and_a_limit_does(tmp_path, make) -> None:
    write(tmp_path / "a" / "a.jsonl", rows(20))
    first = make(source(tmp_path / "a" / "*"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert make(source(tmp_path / "b" / "*", weight=5)).version == first.version
    assert make(source(tmp_path / "b" / "*", limit=5)).counts["kept"] == 5


def test_a_limit_takes_the_first_documents(tmp_path, make) -> None:
    write(tmp_path / "a.jsonl", [{"text": " ", "id": "empty"}, *rows(20)])
    found = documents(make(source(tmp_path / "a.jsonl", limit=3)))
    assert sorted(found["source_id"]) == ["0-0", "0-1", "0-2"]


def test_a_limit_goes_on_over_files_and_frames(tmp_path, make) -> None:
    for i in range(3):
        write(tmp_path / f"{i}.jsonl", rows(20, i))
    found = documents(make(source(tmp_path / "*.jsonl", limit=25)))
    assert found.height == 25 and found["source_id"].str.starts_with("1-").sum() == 5


@pytest.mark.parametrize("end", [KeyboardInterrupt, Unreachable])
def test_after_a_kill_or_where_another_cannot_be_reached_a_finished_source_is_not_read_again(
    tmp_path, make, monkeypatch, end
) -> None:
    write(tmp_path / "a.jsonl", rows(50, 1))
    write(tmp_path / "b.jsonl", rows(50, 2))
    a, b = source(tmp_path / "a.jsonl", "a"), source(tmp_path / "b.jsonl", "b")
    ingest, read = raw_documents.ingest, []

    def dies_at_b(s: Source, *rest: object) -> dict:
        read.append(s.name)
        if s.name == "b" and read.count("b") == 1:
            raise end("b does not answer")
        return ingest(s, *rest)

    monkeypatch.setattr(raw_documents, "ingest", dies_at_b)
    with pytest.raises(end):
        make(a, b)
    made = make(a, b)
    assert read == ["a", "b", "b"]
    fresh = raw_documents.make(RunContext(Store(tmp_path / "fresh", "test"), silent), {}, [a, b])
    assert fresh.digest == made.digest and fresh.facts == made.facts and fresh.counts == made.counts
    assert not [
        path for path in made.directory.rglob("*") if path.name.startswith(".") or path.suffix in (".tmp", ".arrow")
    ]


def test_two_stores_two_orders_the_same_bytes(tmp_path, small_fragments) -> None:
    write(tmp_path / "a.jsonl", rows(500, 1))
    write(tmp_path / "b.jsonl", rows(500, 2))
    a, b = source(tmp_path / "a.jsonl", "a"), source(tmp_path / "b.jsonl", "b")
    one = raw_documents.make(RunContext(Store(tmp_path / "one", "test"), silent), {}, [a, b])
    other = raw_documents.make(RunContext(Store(tmp_path / "other", "test"), silent), {}, [b, a])
    assert one.version == other.version and one.manifest["files"] == other.manifest["files"]
    assert one.facts == other.facts and str(tmp_path) not in json.dumps(one.manifest)


# -- documents to be forgotten -----------------------------------------------------------------------------------------


def test_a_forgotten_document_is_gone_and_comes_back_when_it_is_not(tmp_path, make, small_fragments) -> None:
    write(tmp_path / "a.jsonl", rows(1000))
    given_source = source(tmp_path / "a.jsonl")
    first = make(given_source)
    gone = frozenset(documents(first)["doc_id"].sample(2, seed=1))
    second = make(given_source, forgotten=gone)
    assert not set(documents(second)["doc_id"]) & gone and documents(second).height == 998
    assert second.counts["removed"] == {"forgotten": 2} and second.counts["in"] == 1000
    assert second.manifest["fragments"]["computed"] <= 2 and second.fragments == first.fragments
    elsewhere = Store(tmp_path / "fresh", "test")
    forgetting.forget(elsewhere, sorted(gone), "asked for")
    fresh = raw_documents.make(RunContext(elsewhere, silent), {}, [given_source])
    assert fresh.manifest["files"] == second.manifest["files"] and fresh.facts == second.facts
    third = make(given_source, forgotten=gone | {documents(second)["doc_id"][0]})
    assert documents(third).height == 997 and third.counts["removed"] == {"forgotten": 3}
    assert make(given_source).digest == first.digest
    make(given_source, forgotten=gone)
    again = make(given_source, forgotten=frozenset(sorted(gone)[:1]))  # one of them may be used again
    assert documents(again).height == 999 and set(documents(again)["doc_id"]) & gone == {max(gone)}


def test_an_unknown_id_on_the_list_does_no_harm(tmp_path, make) -> None:
    write(tmp_path / "a.jsonl", rows(10))
    assert make(source(tmp_path / "a.jsonl"), forgotten=frozenset(["0" * 32])).counts["kept"] == 10


# -- what cannot be made -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["", "\n\n", '{"text": ""}\n{"text": null}\n{"text": " \\n "}\n'])
def test_a_source_without_text_is_an_error_that_names_it(tmp_path, make, store, content) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(UserError, match=r"Source `s` gives no document \(.*\): fix its `path`, `columns` or `format`"):
        make(source(tmp_path / "a.jsonl"))
    assert store.current("raw_documents") is None
    assert not list(store.root.glob("test/raw_documents/*/*.parquet"))


def test_empty_documents_are_counted(tmp_path, make) -> None:
    write(tmp_path / "a.jsonl", [{"text": "\u3000\n", "id": "1"}, *rows(3)])
    artifact = make(source(tmp_path / "a.jsonl"))
    assert artifact.counts["removed"] == {"empty": 1} and artifact.counts["in"] == 4
    assert artifact.counts["by_source"]["s"]["kept"] == 3

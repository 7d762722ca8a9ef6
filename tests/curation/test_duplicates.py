"""`duplicate_decisions`: what is removed, for which document, and that order, fragments and history change no byte."""

import random
import unicodedata

import numpy as np
import polars as pl
import pytest

from pipeline.curation.duplicates import corpus, near, review, signature_tables, similar
from pipeline.curation.duplicates import selection as choice
from pipeline.curation.duplicates.signatures import signatures_of
from pipeline.documents.execution import ExecutionSettings
from pipeline.errors import UserError
from pipeline.store.artifact import RUN_SPECIFIC, file_digest
from pipeline.store.store import Store
from tests.curation.written_documents import identity, outcome, raw_documents
from tests.making import after, context

DRAW = random.Random(4)
VOCABULARY = [f"word{number}" for number in range(4000)]


def passage(words: int, seed: int) -> list[str]:
    return random.Random(seed).choices(VOCABULARY, k=words)


def changed(words: list[str], number: int, seed: int) -> list[str]:
    """The passage with `number` consecutive words in the middle replaced, which changes number + 4 shingles."""
    middle = len(words) // 2
    return words[:middle] + passage(number, seed) + words[middle + number :]


def jaccard(one: str, other: str, n: int = 5) -> float:
    a, b = ({tuple(t.split()[i : i + n]) for i in range(len(t.split()) - n + 1)} for t in (one, other))
    return len(a & b) / len(a | b)


def decide(tmp_path, rows, parts=1, name="store", sources=(), **settings):
    store = Store(tmp_path / name, "r")
    raw = raw_documents(store, rows, parts)
    made = near.make(context(store, sources=tuple(sources)), after(raw), near.Settings(**settings))
    problems = review.verify_removals(raw, None, made, near.Settings(**settings))
    assert problems == []
    return raw, made, outcome(raw, made)


def doc(words, source="s", name=None):
    row = {"text": words if isinstance(words, str) else " ".join(words), "source": source}
    return row | ({"source_id": name} if name else {})


BASE = passage(200, 1)


def test_exact_copies_go_whatever_their_white_space_and_composition(tmp_path):
    text = "각 나라의 말은 다르다 그리고 그 나라의 글도 다르다"
    decomposed = unicodedata.normalize("NFD", text)
    rows = [
        doc(text, name="a"),
        doc(text.replace(" ", "\n\n "), name="b"),
        doc(decomposed, name="c"),
        doc("다른 글", name="d"),
    ]
    _, made, table = decide(tmp_path, rows)
    assert [table[name]["keep"] for name in "abcd"] == [True, False, False, True]
    assert table["b"]["reason"] == "exact_duplicate" and table["b"]["kept_id"] == identity(text)
    assert made.counts["removed"] == {"exact_duplicate": 2}
    assert set(made.counts["removed"]) <= set(near.REASONS)


def test_a_near_copy_goes_for_the_longer_one_and_says_how_similar_it_is(tmp_path):
    rows = [doc(BASE[:-3], name="shorter"), doc(BASE, name="longer"), doc(passage(200, 2), name="other")]
    _, made, table = decide(tmp_path, rows)
    assert table["longer"]["keep"] and table["other"]["keep"]
    gone = table["shorter"]
    assert (gone["keep"], gone["reason"], gone["kept_id"]) == (False, "near_duplicate", identity(rows[1]["text"]))
    assert gone["jaccard"] == gone["score"] == jaccard(rows[0]["text"], rows[1]["text"]) == 193 / 196
    assert gone["kept_source"] == "s" and made.facts["similar"] == 1


def test_just_below_the_threshold_both_stay(tmp_path):
    one, other = BASE, changed(BASE, 10, 9)  # 14 of 196 shingles differ on either side: 182 / 210
    similarity = jaccard(" ".join(one), " ".join(other))
    rows = [doc(one, name="a"), doc(other, name="b")]
    at, _ = (decide(tmp_path, rows, name=f"s{t}", threshold=t)[1:] for t in (similarity, similarity + 1e-9))
    assert at[0].counts["removed"] == {"near_duplicate": 1}
    assert decide(tmp_path, rows, name="above", threshold=similarity + 1e-9)[1].counts["removed"] == {}


def test_the_first_source_of_the_recipe_wins_even_with_the_shorter_text(tmp_path):
    rows = [doc(BASE, "long", "a"), doc(BASE[:-4], "short", "b"), doc(BASE, "short", "c")]
    for order, kept in ((["long", "short"], "a"), (["short", "long"], "c")):
        _, _, table = decide(tmp_path, rows, name=order[0], sources=order)
        assert [name for name in "abc" if table[name]["keep"]] == [kept]


def test_what_is_like_a_removed_document_alone_stays(tmp_path):
    second = changed(BASE, 18, 5)  # like the first
    third = second[:30] + passage(18, 6) + second[48:]  # like the second, less so like the first
    first, second, third = (" ".join(words) for words in (BASE + passage(1, 7), second, third))
    assert jaccard(first, second) >= 0.77 and jaccard(second, third) >= 0.77 and jaccard(first, third) < 0.7
    _, _, table = decide(
        tmp_path, [doc(first, name="a"), doc(second + " z", "t", "b"), doc(third, "u", "c")],
        sources=["s", "t", "u"], threshold=0.75, recall=0.999,
    )  # fmt: skip
    assert [table[name]["keep"] for name in "abc"] == [True, False, True]


def test_a_copy_of_what_goes_as_near_duplicate_goes_for_the_same_document(tmp_path):
    near_copy = BASE[:-3]
    rows = [doc(BASE, name="a"), doc(near_copy, "t", "b"), doc(near_copy, "u", "c"), doc(near_copy, "t", "d")]
    _, _, table = decide(tmp_path, rows, sources=["s", "t", "u"])
    for name in "bcd":
        assert (table[name]["reason"], table[name]["kept_id"]) == ("near_duplicate", identity(rows[0]["text"]))


def test_against_takes_from_others_and_never_the_other_way(tmp_path):
    rows = [doc(BASE, "new", "longer"), doc(BASE[:-4], "held", "a"), doc(passage(90, 3), "new", "own"),
            doc(passage(90, 3), "new", "own again"), doc(passage(90, 3)[:-1], "newer", "copy")]  # fmt: skip
    _, _, table = decide(tmp_path, rows, against=("held",), sources=["new", "newer", "held"])
    assert table["a"]["keep"] and not table["longer"]["keep"]
    assert sum(table[name]["keep"] for name in ("own", "own again", "copy")) == 1
    _, _, table = decide(
        tmp_path, rows, name="across", against=("held",), within=False, sources=["new", "newer", "held"]
    )
    assert [name for name, row in table.items() if not row["keep"]] == ["longer"]


def test_against_a_source_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="`helt`, which has no documents: use held"):
        decide(tmp_path, [doc(BASE, "held")], against=("helt",))


def test_what_lies_in_a_longer_document_goes_only_if_asked(tmp_path):
    whole = passage(600, 11)
    rows = [
        doc(whole, name="book"),
        doc(whole[100:180], name="excerpt"),
        doc(whole[100:150] + passage(50, 12), name="half"),
        doc(passage(80, 13), name="other"),
    ]
    assert decide(tmp_path, rows)[1].counts["removed"] == {}
    _, _, table = decide(tmp_path, rows, name="on", containment=0.9)
    assert [name for name, row in table.items() if not row["keep"]] == ["excerpt"]
    gone = table["excerpt"]
    assert (gone["reason"], gone["kept_id"], gone["score"]) == ("contained", identity(rows[0]["text"]), 1.0)


def test_a_document_that_others_went_for_lies_in_a_longer_one_only_with_them(tmp_path):
    whole, part = passage(600, 11), None
    part = whole[100:200]
    foreign = part[:50] + passage(3, 14) + part[53:]  # like the excerpt, but not in the book to 95 %
    rows = [doc(whole, name="book"), doc([*part, "x"], name="excerpt"), doc(foreign, name="changed")]
    for containment, kept in ((0.95, ["book", "excerpt"]), (0.85, ["book"])):
        _, _, table = decide(tmp_path, rows, name=str(containment), containment=containment, threshold=0.8)
        assert sorted(name for name, row in table.items() if row["keep"]) == kept


def test_texts_without_words_and_of_few_words(tmp_path):
    rows = [doc("one two", name="a"), doc("one two", name="b"), doc("one three", name="c"), doc("\u200b", name="d"),
            doc("one two three four", name="e")]  # fmt: skip
    _, _, table = decide(tmp_path, rows)
    assert [name for name, row in table.items() if not row["keep"]] == ["b"]


def corpus_of(number: int, seed: int = 0) -> list[dict]:
    """Documents of some sources with copies, near copies and chains of near copies."""
    draw = random.Random(seed)
    rows = []
    for base in range(number):
        words = passage(draw.randint(3, 250), 1000 * seed + base)
        rows.append(doc(words, draw.choice("ab"), f"{base}"))
        for copy in range(draw.choice([0, 0, 0, 1, 4])):
            words = changed(words, draw.randint(0, 12), draw.randint(0, 10**6))
            rows.append(doc(words, draw.choice("abc"), f"{base}-{copy}"))
    return rows


def contents(made) -> dict[str, str]:
    return {name: file_digest(made.file(name)) for name in made.manifest["files"]}


def what_was_made(made) -> dict:
    return {name: value for name, value in made.manifest.items() if name not in RUN_SPECIFIC}


def test_order_of_input_and_of_workers_change_nothing(tmp_path, monkeypatch):
    rows = corpus_of(120)
    _, first, _ = decide(tmp_path, rows, 2)
    shuffled = rows.copy()
    random.Random(1).shuffle(shuffled)
    _, second, _ = decide(tmp_path, shuffled, 2, name="shuffled")
    assert what_was_made(first) == what_was_made(second)
    monkeypatch.setattr("pipeline.documents.execution.WORTH_A_PROCESS_BYTES", 0)
    store = Store(tmp_path / "workers", "r")
    two = ExecutionSettings(executor="processes", workers=2)
    third = near.make(context(store, execution=two), after(raw_documents(store, rows, 2)), near.Settings())
    assert what_was_made(third) == what_was_made(first)


def test_fragments_change_no_decision(tmp_path):
    rows = corpus_of(120)
    tables = [decide(tmp_path, rows, parts, name=str(parts))[2] for parts in (1, 3, 8)]
    columns = ("keep", "reason", "score", "kept_id", "kept_source")
    told = [{name: [row[column] for column in columns] for name, row in table.items()} for table in tables]
    assert told[0] == told[1] == told[2]
    assert any(row["reason"] == "near_duplicate" for row in tables[0].values())


@pytest.mark.parametrize("containment", [None, 0.8])
def test_what_was_remembered_changes_no_byte(tmp_path, containment, monkeypatch):
    rows, settings = corpus_of(150), {"containment": containment}
    _, full, _ = decide(tmp_path, rows, 4, name="full", **settings)
    # By way of other versions of the corpus: without some documents, and with others that are gone again.
    decide(tmp_path, rows[: len(rows) // 2], 4, name="steps", **settings)
    decide(tmp_path, [*rows[20:], *corpus_of(30, seed=8)], 4, name="steps", **settings)
    read = []
    monkeypatch.setattr(
        signature_tables, "signatures_of", lambda texts, *more: read.append(len(texts)) or signatures_of(texts, *more)
    )
    _, last, _ = decide(tmp_path, rows, 4, name="steps", **settings)
    assert contents(last) == contents(full) and what_was_made(last) == what_was_made(full)
    known = {row["text"] for row in rows[20:]}
    assert sum(read) == sum(row["text"] not in known for row in rows[:20])  # what is new, and nothing else


def corrected(rows: list[dict]) -> list[dict]:
    """Every ninth document with a changed word, under its own name."""
    return [row | {"text": row["text"] + " corrected"} if place % 9 == 0 else row for place, row in enumerate(rows)]


def in_lines(rows: list[dict]) -> list[dict]:
    """Every third document with other white space: the same id, another look."""
    return [row | {"text": row["text"].replace(" ", "\n")} if place % 3 == 0 else row for place, row in enumerate(rows)]


STEPS = {
    "other lines": (in_lines, ("a", "b", "c")),
    "added": (lambda rows: rows[:-20], ("a", "b", "c")),
    "removed": (lambda rows: [*rows, *corpus_of(40, seed=8), *rows[:20]], ("a", "b", "c")),
    "changed": (corrected, ("a", "b", "c")),
    "a new source after the others": (lambda rows: [row for row in rows if row["source"] != "c"], ("a", "b", "c")),
    "a new source before the others": (lambda rows: [row for row in rows if row["source"] != "c"], ("c", "a", "b")),
    "a source that is gone": (
        lambda rows: [*rows, *(row | {"source": "d"} for row in rows[::7])],
        ("d", "a", "b", "c"),
    ),
    "one added to each fragment": (lambda rows: rows[::2] + rows[1::4], ("a", "b", "c")),
}


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("step", STEPS)
def test_after_a_change_the_bytes_are_those_of_a_run_from_nothing(tmp_path, step, kept, monkeypatch):
    rows, settings = corpus_of(60, seed=3), {"threshold": 0.7, "keep_shingles": kept}
    before, sources = STEPS[step]
    _, full, _ = decide(tmp_path, rows, 4, name="full", sources=sources, **settings)
    decide(tmp_path, before(rows), 4, name="steps", sources=sources, **settings)
    if kept:  # old documents are compared without their text
        monkeypatch.setattr(corpus.Corpus, "texts", lambda *_: pytest.fail("text was read again"))
    _, last, _ = decide(tmp_path, rows, 4, name="steps", sources=sources, **settings)
    assert contents(last) == contents(full) and what_was_made(last) == what_was_made(full)
    assert bool([name for name in contents(full) if name.endswith(".shingles")]) == kept


def test_fragments_without_a_change_are_not_written_again(tmp_path):
    rows = corpus_of(60, seed=5)
    old = [row for row in rows if row["source"] != "c"]
    decide(tmp_path, old, 2, sources=("a", "b", "c"))
    _, made, _ = decide(tmp_path, rows, 2, sources=("a", "b", "c"))
    # New and written: signatures and decisions of the two fragments of `c`, and the pairs.
    assert made.manifest["fragments"] == {"computed": 5, "reused": 8}


def test_kept_shingles_change_no_decision(tmp_path):
    rows, tables = corpus_of(120, seed=6), []
    for kept in (True, False):
        _, made, _ = decide(tmp_path, rows, 2, name=str(kept), keep_shingles=kept)
        tables.append({name: digest for name, digest in contents(made).items() if "signatures" not in name})
    assert tables[0] == tables[1]


def test_a_band_value_that_comes_once_is_in_no_bucket():
    draw = np.random.default_rng(1)
    values = draw.integers(0, 2**63, 5000, dtype=np.uint64)
    values[4000:] = values[draw.integers(0, 4000, 1000)]
    of_all = {int(v) for v, n in zip(*np.unique(values, return_counts=True), strict=True) if n > 1}
    members = choice.buckets([values])
    assert {int(values[member & np.uint64(0xFFFFFFFF)]) for member in members} == of_all
    assert len(members) == sum(int(value) in of_all for value in values)
    # Documents that take no part are in none, and nor is what shared a bucket with them alone.
    numbers = np.where(np.arange(5000) < 4000, np.arange(5000), -1)
    assert not len(choice.buckets([values], numbers))


def test_another_threshold_reads_no_text_for_signatures(tmp_path, monkeypatch):
    rows = corpus_of(60)
    decide(tmp_path, rows, 2, threshold=0.8)
    monkeypatch.setattr(signature_tables, "signatures_of", lambda *_: pytest.fail("signatures were made again"))
    _, made, _ = decide(tmp_path, rows, 2, threshold=0.6)
    _, fresh, _ = (monkeypatch.undo(), decide(tmp_path, rows, 2, name="fresh", threshold=0.6))[1]
    assert contents(made) == contents(fresh)


def test_an_index_of_another_corpus_removes_what_it_holds(tmp_path):
    held = [doc(BASE, name="h"), doc(BASE, name="h2"), doc(passage(80, 21), name="h3")]
    raw, made, _ = decide(tmp_path, held, name="held")
    path = tmp_path / "held.index.parquet"
    assert similar.write_index(raw, None, made, near.Settings(), path) == 2
    rows = [doc([*BASE, "more"], name="near"), doc(BASE, name="exact"), doc(passage(100, 22), name="new")]
    raw, made, table = decide(tmp_path, rows, indexes=(str(path),))
    assert {name: row["reason"] for name, row in table.items()} == {
        "near": "near_duplicate", "exact": "exact_duplicate", "new": None
    }  # fmt: skip
    assert table["near"]["kept_source"] == "held.index" and table["near"]["kept_id"] == identity(held[0]["text"])
    assert made.facts["foreign"] == 2 and made.facts["documents"] == 3
    with pytest.raises(UserError, match="made with `shingle: 5` and this recipe has `shingle: 3`"):
        decide(tmp_path, rows, name="other", indexes=(str(path),), shingle=3)
    with pytest.raises(UserError, match="there is no file"):
        decide(tmp_path, rows, name="other", indexes=("nowhere",))


def test_similar_lists_the_nearest_kept_documents(tmp_path):
    rows = corpus_of(80)
    raw, made, table = decide(tmp_path, rows, 3)
    kept = next(row for row in table.values() if row["keep"] and len(row["text"].split()) > 100)
    query = kept["text"] + " and a few words more"
    found = similar.nearest(raw, None, made, near.Settings(), query, number=3)
    assert found["doc_id"][0] == kept["doc_id"] and found["jaccard"][0] == jaccard(query, kept["text"])
    assert not set(found["doc_id"]) & {
        row["doc_id"] for row in table.values() if not row["keep"] and row["jaccard"] != 1
    }
    assert similar.nearest(raw, None, made, near.Settings(), "nothing of the kind is there at all").height == 0
    with pytest.raises(UserError, match="holds no word"):
        similar.nearest(raw, None, made, near.Settings(), " \n")


def test_review_shows_clusters_similarities_and_the_threshold(tmp_path):
    rows = [doc(BASE, name="a"), *(doc(changed(BASE, number, number), name=f"b{number}") for number in range(1, 26, 2))]
    raw, made, table = decide(tmp_path, rows, recall=0.9999)
    gone = [row for row in table.values() if not row["keep"]]
    top = review.clusters(made)
    assert top["removed"].sum() == len(gone) and top["removed"][0] == top["removed"].max()
    sizes = review.cluster_sizes(made)
    assert ((sizes["documents"] - 1) * sizes["clusters"]).sum() == len(gone)
    assert review.similarities(made)["pairs"].sum() == made.facts["compared"]
    below, above = review.nearest_to_threshold(made, 1)
    assert below["jaccard"][0] < 0.8 <= above["jaccard"][0]
    text = review.side_by_side(raw, above["left"][0], above["right"][0])
    assert "[-" in text and "{+" in text
    shown = review.diff_of(raw, made, gone[0]["doc_id"])
    assert shown.startswith(
        f"near_duplicate of {gone[0]['kept_id']} (s), {gone[0]['score']:.4f}\n--- kept\n+++ removed"
    )
    with pytest.raises(UserError, match="was not removed as a duplicate"):
        review.diff_of(raw, made, identity(rows[0]["text"]) if table["a"]["keep"] else top["kept_id"][0])


def test_the_check_notices_what_is_unjust(tmp_path, monkeypatch):
    monkeypatch.setenv("SLM_CHECK", "off")  # else the changed table is refused before anything looks at its rows
    rows = corpus_of(60)
    raw, made, table = decide(tmp_path, rows, 1)
    fragment = next(name for name in made.fragments if made.entry(name)["facts"]["removed"].get("near_duplicate"))
    path, kept = made.table(fragment), next(row for row in table.values() if row["keep"])
    decisions = pl.read_parquet(path)
    first = (decisions["reason"] == "near_duplicate").arg_true()[0]
    here = pl.int_range(pl.len()) == first

    def problems(**columns) -> str:
        path.unlink()
        decisions.with_columns(
            pl.when(here).then(pl.lit(value)).otherwise(pl.col(name)).alias(name) for name, value in columns.items()
        ).write_parquet(path)
        return "\n".join(review.verify_removals(raw, None, made, near.Settings()))

    assert problems() == ""
    assert "is not kept" in problems(kept_id=decisions["doc_id"][int(first)])
    assert "at 0.9990; it is" in problems(score=0.999).replace(", and", ";")
    assert "was removed for" in problems(kept_id=kept["doc_id"], kept_source=kept["source"])
    assert "neither source nor index" in problems(kept_source="elsewhere")


def test_switched_off_it_keeps_everything_and_reads_no_text(tmp_path, monkeypatch):
    monkeypatch.setattr(signature_tables, "signatures_of", lambda *_: pytest.fail("text was read"))
    _, made, table = decide(tmp_path, [doc(BASE), doc(BASE)], enabled=False)
    assert all(row["keep"] for row in table.values()) and made.counts["removed"] == {}
    assert not [name for name in made.manifest["files"] if "/" in name]


def test_paths_of_indexes_start_at_the_recipe(tmp_path):
    chosen = near.Settings.model_validate({"indexes": ["old/x.parquet"]}, context={"base": tmp_path})
    assert chosen.indexes == (str(tmp_path / "old" / "x.parquet"),)
    assert near.Settings(indexes=("x",)).indexes == ("x",)


def test_only_documents_that_earlier_stages_left_take_part(tmp_path):
    from pipeline.curation.filters import language

    korean = " ".join(f"한국어로 쓴 글의 낱말 {number}번은" for number in range(40))
    english = " ".join(f"This is plain English prose, sentence number {number} of it." for number in range(40))
    rows = [
        doc(korean, name="k"),
        doc(korean + " 끝", name="k2"),
        doc(english, name="e"),
        doc(english + " Yes.", name="e2"),
    ]
    store = Store(tmp_path / "store", "r")
    raw = raw_documents(store, rows, 1)
    before = language.STAGE.make(context(store), after(raw), language.Settings(allow=("en",)))
    made = near.make(context(store), after(raw, before), near.Settings())
    assert {name: row["keep"] for name, row in outcome(raw, made).items()} == {
        "k": None,
        "k2": None,
        "e": False,
        "e2": True,
    }
    assert review.verify_removals(raw, before, made, near.Settings()) == []
    found = similar.nearest(raw, before, made, near.Settings(), english)
    assert found["source_id"].to_list() == ["e2"]

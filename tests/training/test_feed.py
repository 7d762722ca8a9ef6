"""The feed: nothing lost, nothing twice, the same on any number of ranks, and the documents behind each step."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from model.config import IGNORED
from pipeline.errors import UserError
from pipeline.store.store import Store
from pipeline.store.tables import write_table
from pipeline.tokens import near_validation
from pipeline.tokens.encoding import list_series
from pipeline.tokens.shards import row_groups, write_shard
from pipeline.training.data.feed import Feed, FeedSettings
from pipeline.training.data.mixture import Mixture, shuffled
from pipeline.training.data.stream import best_fit, dealt

EOS, PAD = 3, 0
PACKINGS = [{"packing": "cut"}, {"packing": "best_fit"}]


def shards_of(root, documents: dict[str, list[tuple[str, int]]], left_out: dict[str, list[int]] | None = None, seed=0):
    """Shards of made documents: fragment -> (language, length); each document's tokens are unlike any other's."""
    rng = np.random.default_rng(seed)
    left_out = left_out or {}

    def build(draft):
        number = 0
        gone = []
        for fragment, given in sorted(documents.items()):
            lengths = np.array([length for _, length in given])
            frame = pl.DataFrame(
                {
                    "doc_id": [f"{number + i:032x}" for i in range(len(given))],
                    "source": fragment.rpartition("-")[0],
                    "lang": [lang for lang, _ in given],
                    "split": ["validation" if i % 10 == 9 else "train" for i in range(len(given))],
                    "tokens": list_series(
                        "tokens", rng.integers(10, 60_000, lengths.sum()), lengths, np.dtype(np.uint16)
                    ),
                    "length": pl.Series(lengths, dtype=pl.UInt32),
                    "bytes": pl.Series(lengths * 4, dtype=pl.UInt32),
                }
            ).sort("split", "lang", maintain_order=True)
            number += len(given)
            groups = list(row_groups(frame, 500))
            write_shard(frame, groups, draft.path(f"{fragment}.parquet"))
            parts = [frame[start:end] for start, end in groups]
            listed = [[p["split"][0], p["lang"][0], p.height, int(p["length"].sum()), 0] for p in parts]
            facts = {"source": fragment.rpartition("-")[0], "groups": listed}
            draft.record(fragment, {"n": number}, rows=frame.height, facts=facts)
            for row in left_out.get(fragment, []):
                gone.append(
                    (frame["doc_id"][row], fragment, row, frame["lang"][row], int(frame["length"][row]), "", 1.0)
                )
        write_table(pl.DataFrame(gone, schema=near_validation.SCHEMA, orient="row"), draft.path(near_validation.TABLE))
        draft.facts |= {"dtype": "uint16", "tokenizer": {"document_start": EOS, "pad": PAD}}

    return Store(root, "made").make("token_shards", code_version="1", settings={}, inputs={}, build=build, log=str)


LEFT_OUT = {"a-0": [0, 7], "b-0": [3]}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    rng = np.random.default_rng(1)
    lengths = lambda n, most: rng.integers(1, most, n).tolist()  # noqa: E731
    documents = {
        "a-0": [("ko", n) for n in lengths(60, 90)] + [("en", n) for n in lengths(20, 40)],
        "a-8": [("ko", n) for n in lengths(70, 90)],
        "b-0": [("en", n) for n in [*lengths(30, 60), 700, 3, 0]],
    }
    return shards_of(tmp_path_factory.mktemp("feed"), documents, LEFT_OUT)


@pytest.fixture(scope="module")
def training(shards) -> dict[str, np.ndarray]:
    """Token ids of every document that may be trained on, straight from the tables."""
    found = {}
    for fragment in shards.fragments:
        frame = pl.read_parquet(shards.table(fragment)).with_row_index()
        frame = frame.filter((pl.col("split") == "train") & ~pl.col("index").is_in(LEFT_OUT.get(fragment, [])))
        found |= {doc: np.array(tokens) for doc, tokens in frame.select("doc_id", "tokens").iter_rows()}
    return found


def one_pass(feed: Feed) -> int:
    """Micro-batches of one sequence in the smallest number of whole passes over everything."""
    return sum(stream.pass_units for stream in feed._streams)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("masked", [True, False])
def test_ranks_accumulation_and_resume_change_nothing(shards, packing, masked):
    settings = FeedSettings(**packing, mask_documents=masked, source_weights={"b": 3})
    alone = Feed(shards, settings, 7, 32, batch=8)
    eight = [Feed(shards, settings, 7, 32, batch=1, rank=rank, world=8) for rank in range(8)]
    halves = [Feed(shards, settings, 7, 32, batch=2, rank=rank, world=2, accumulation=2) for rank in range(2)]
    fields = ("tokens", "targets") + (("documents", "positions") if masked else ())
    for step in (0, 1, 5, 300, 2):  # in no order: nothing depends on what was asked before
        for field in fields:
            whole = getattr(alone.batch(step), field)
            assert whole.dtype == np.int64 and whole.shape == (8, 32)
            apart = [getattr(feed.batch(step), field) for feed in eight]
            assert np.array_equal(whole, np.concatenate(apart))
            micro = [getattr(feed.batch(2 * step + m), field) for m in range(2) for feed in halves]
            assert np.array_equal(whole, np.concatenate(micro))
    assert not np.array_equal(alone.batch(0).tokens, Feed(shards, settings, 8, 32, batch=8).batch(0).tokens)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_pass_gives_every_token_once(shards, training, packing):
    """One component at a time, so that a pass begins and ends at a known sequence."""
    for source, lang in (("a", "ko"), ("a", "en"), ("b", "en")):
        others = {"a": 0.0, "b": 0.0, source: 1.0}
        languages = {"ko": 0.0, "en": 0.0, lang: 1.0}
        settings = FeedSettings(**packing, source_weights=others, language_weights=languages)
        feed = Feed(shards, settings, 3, 32, batch=1)
        stream = feed._streams[feed.components.index((source, lang))]
        first, sequences = (0, stream.pass_units) if packing["packing"] == "best_fit" else (0, stream.pass_units // 32)
        if packing["packing"] == "cut":
            sequences = stream.pass_units * 1  # 32 passes end where a sequence ends
        batches = [feed.batch(first + i) for i in range(sequences)]
        tokens = np.concatenate([b.tokens.ravel() for b in batches])
        targets = np.concatenate([b.targets.ravel() for b in batches])
        passes = 32 if packing["packing"] == "cut" else 1
        mine = [ids for doc, ids in training.items() if _component(shards, doc) == (source, lang)]
        wanted = Counter(np.concatenate(mine).tolist())
        wanted[EOS] += len(mine)
        used = targets != IGNORED
        assert Counter(tokens[used].tolist()) == {token: passes * n for token, n in wanted.items()}
        # Every token is predicted once as well, and a document's last token is followed by an `<eos>`.
        assert Counter(targets[used].tolist()) == {token: passes * n for token, n in wanted.items()}
        assert (tokens[~used] == PAD).all() and (packing["packing"] == "best_fit" or used.all())


def _component(shards, doc: str) -> tuple[str, str]:
    for fragment in shards.fragments:
        frame = pl.read_parquet(shards.table(fragment), columns=["doc_id", "source", "lang"])
        row = frame.filter(pl.col("doc_id") == doc)
        if row.height:
            return row["source"][0], row["lang"][0]
    raise KeyError(doc)


@pytest.mark.parametrize("packing", PACKINGS)
def test_what_follows_a_token_is_its_target(shards, training, packing):
    follows = {}
    for ids in training.values():
        for token, following in zip([EOS, *ids.tolist()], [*ids.tolist(), EOS], strict=True):
            follows.setdefault(token, set()).add(following)
    feed = Feed(shards, FeedSettings(**packing, mask_documents=True), 5, 48, batch=16)
    for number in range(20):
        batch = feed.batch(number)
        for token, target in zip(batch.tokens.ravel().tolist(), batch.targets.ravel().tolist(), strict=True):
            assert target == IGNORED or target in follows[token]


@pytest.mark.parametrize("packing", PACKINGS)
def test_documents_and_positions(shards, training, packing):
    """Within a numbered document stand consecutive tokens of one document, positions counted from its beginning."""
    starts = {ids[0]: ids for ids in training.values() if len(ids)}
    feed = Feed(shards, FeedSettings(**packing, mask_documents=True), 5, 64, batch=16)
    seen = 0
    for number in range(10):
        batch = feed.batch(number)
        for tokens, documents, positions in zip(batch.tokens, batch.documents, batch.positions, strict=True):
            assert documents[0] == 0 and set(np.diff(documents)) <= {0, 1}
            for document in range(int(documents[-1]) + 1):
                here = tokens[documents == document]
                assert positions[documents == document].tolist() == list(range(len(here)))
                assert not (here[1:] == EOS).any()
                if here[0] == EOS and len(here) > 1:
                    assert here[1:].tolist() == starts[here[1]][: len(here) - 1].tolist()
                    seen += 1
    assert seen > 200


@pytest.mark.parametrize("packing", PACKINGS)
def test_the_documents_of_a_step(shards, training, packing):
    owner = {}
    for doc, ids in training.items():
        for token in ids.tolist():
            owner.setdefault(token, set()).add(doc)
    feed = Feed(shards, FeedSettings(**packing), 9, 32, batch=4, accumulation=2)
    seen: set[str] = set()
    for step in range(60):
        named = feed.documents(step)
        assert named == sorted(set(named)) and set(named) <= training.keys()
        tokens = np.concatenate([feed.batch(2 * step + micro).tokens.ravel() for micro in range(2)])
        sure = [owner[token] for token in tokens.tolist() if len(owner.get(token, ())) == 1]
        assert {next(iter(docs)) for docs in sure} <= set(named)
        # A document without a token of its own (an `<eos>` alone) may be named beyond those.
        assert len(set(named) - {next(iter(docs)) for docs in sure}) <= 8
        seen |= set(named)
        before = pl.concat([pl.DataFrame(schema={"doc_id": pl.String}), *[
            frame.select("doc_id") for frame in feed.documents_before(step + 1)]])  # fmt: skip
        assert set(before["doc_id"]) == seen
    other_ranks = Feed(shards, FeedSettings(**packing), 9, 32, batch=1, rank=1, world=8)
    assert other_ranks.documents(11) == feed.documents(11)


def test_passes_are_counted_by_source(shards):
    feed = Feed(shards, FeedSettings(source_weights={"a": 1, "b": 4}), 1, 32, batch=64)
    passes = feed.passes(50)
    assert passes["b"] == pytest.approx(4 * passes["a"], rel=0.02)
    frames = pl.concat(list(feed.documents_before(50)))
    for source in ("a", "b"):
        counts = frames.filter(pl.col("source") == source)["passes"]
        assert abs(counts.mean() - passes[source]) <= 1
        assert counts.max() >= passes[source] > counts.min() - 1
    drawn = {"a": 0, "b": 0}
    for (source, _), count in zip(feed.components, feed._mixture.count(50 * 64), strict=True):
        drawn[source] += int(count)
    assert sum(drawn.values()) == 50 * 64


def test_a_curriculum_changes_the_weights_at_its_steps(shards):
    phases = [{"step": 4, "source_weights": {"a": 0}}, {"step": 8, "source_weights": {"b": 0}}]
    feed = Feed(shards, FeedSettings(curriculum=phases), 1, 32, batch=16)
    of = {doc: _component(shards, doc)[0] for step in range(12) for doc in feed.documents(step)}
    sources = [{of[doc] for doc in feed.documents(step)} for step in range(12)]
    assert set.union(*sources[:4]) == {"a", "b"}
    assert all(found == {"b"} for found in sources[4:8]) and all(found == {"a"} for found in sources[8:])
    plain = Feed(shards, FeedSettings(), 1, 32, batch=16)
    assert np.array_equal(plain.batch(3).tokens, feed.batch(3).tokens)


def test_mixture_counts_are_what_is_taken():
    shares = [np.array([0.7, 0.2999, 0.0001, 0.0]), np.array([0.0, 1.0, 2.0, 1.0])]
    mixture = Mixture([(0, shares[0]), (5000, shares[1]), (7500, shares[0])], seed=3)
    taken, numbers = mixture.take(0, 9000)
    for end in (0, 1, 1023, 1024, 1025, 4999, 5000, 5001, 9000):
        assert np.bincount(taken[:end], minlength=4).tolist() == mixture.count(end).tolist()
    # At the end of a period the shares are kept to the sequence: rounded down, the rest to the largest.
    assert mixture.count(4096).tolist() == [4096 - 1228, 1228, 0, 0]
    assert (mixture.count(5000 + 2048) - mixture.count(5000)).tolist() == [0, 512, 1024, 512]
    for component in range(4):
        assert numbers[taken == component].tolist() == list(range(int((taken == component).sum())))
    part, part_numbers = mixture.take(4990, 20)
    assert part.tolist() == taken[4990:5010].tolist() and part_numbers.tolist() == numbers[4990:5010].tolist()
    # Rare components come as often as they should in the long run, though less than once a period.
    assert mixture.count(5000)[2] in (0, 1) and Mixture([(0, shares[0])], 3).count(1_024_000)[2] == 102


def split_mix(state: int) -> int:
    """SplitMix64's output function (Steele et al. 2014), written out: past runs are explained with these numbers."""
    state %= 2**64
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    return state ^ (state >> 31)


def test_an_order_is_a_permutation_and_stays_what_it_is():
    assert sorted(shuffled(1000, 5).tolist()) == list(range(1000))
    assert shuffled(50, 12345).tolist() == sorted(range(50), key=lambda i: split_mix(12345 + i * 0x9E3779B97F4A7C15))
    assert shuffled(1000, 5).tolist() != shuffled(1000, 6).tolist()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100, 1000, 4096])
def test_neighbours_are_dealt_out_far_apart(count):
    order = dealt(count, key=5)
    assert sorted(order.tolist()) == list(range(count))
    place = np.argsort(order)
    if count >= 100:
        assert np.abs(np.diff(place)).min() >= count / 6, "a piece of a document and the next one"
        few = range(1, 5 if count >= 1000 else 2)
        assert min(int(np.abs(place[k:] - place[:-k]).min()) for k in few) >= count / 25, "and those near it"
        hand = order[: math.isqrt(count)]
        assert np.diff(np.sort(hand)).min() >= math.isqrt(count), "a batch lies in a hand or two"
        assert order.tolist() != dealt(count, key=6).tolist()


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_batch_is_not_made_of_neighbours(tmp_path, packing):
    """One long document fills many sequences; they are spread over the whole pass, and anew in each pass."""
    made = shards_of(tmp_path, {"a-0": [("en", 32 * 40)] * 20})
    feed = Feed(made, FeedSettings(**packing), 3, 32, batch=8)
    documents = {n: feed.documents(n) for n in range(60)}
    assert min(len(found) for found in documents.values()) >= 5, "of eight sequences in 18 documents"
    orders = []
    for number in range(2):
        steps = range(number * 92, number * 92 + 60)
        orders.append([feed.batch(step).tokens[:, 5].tolist() for step in steps])
    assert orders[0] != orders[1]
    first = feed.documents(0)[0]
    gaps = np.diff([n for n, found in documents.items() if first in found])
    assert gaps.max() <= 10, "its sequences come back all the time"


def test_rows_of_short_documents_are_spread_over_the_run(tmp_path):
    """Best fit lays out rows of one long document first, and those of many short ones last."""
    lengths = [31] * 500 + [7] * 300  # rows of 32: one document with its `<eos>`, or four
    settings = FeedSettings(packing="best_fit", mask_documents=True, window_tokens=2**15)
    shards = shards_of(tmp_path, {f"a-{n}": [("en", length) for length in lengths] for n in range(3)})
    feed = Feed(shards, settings, 3, 32, batch=23)
    several = np.concatenate([(feed.batch(step).documents > 0).any(axis=1) for step in range(75)])
    shares = [part.mean() for part in np.array_split(several, 15)]
    assert 0.1 < several.mean() < 0.16 and max(shares) < 0.3 and min(shares) > 0.02


@pytest.mark.parametrize("most", [20, 64, 200, 1000])
def test_best_fit_keeps_documents_whole_and_loses_nothing(most):
    rng = np.random.default_rng(most)
    lengths = rng.integers(1, most, 3000)
    start = np.concatenate(([0], np.cumsum(lengths)))
    place, cut = best_fit(start, 64)
    assert place.shape == (-(-int(start[-1]) // 64), 64)
    assert sorted(place[place >= 0].tolist()) == list(range(int(start[-1])))
    row = np.empty(start[-1], dtype=np.int64)
    row[place[place >= 0]] = np.nonzero(place >= 0)[0]
    rows_of = [len(set(row[a:b].tolist())) for a, b in pairwise(start.tolist())]
    split = [n for n, length in zip(rows_of, lengths.tolist(), strict=True) if length <= 64 and n > 1]
    assert cut <= 0.01 * start[-1] and bool(split) <= bool(cut)


def test_padding_and_cuts_are_reported(shards):
    feed = Feed(shards, FeedSettings(packing="best_fit"), 1, 64, batch=1)
    sequences = one_pass(feed)
    shares = feed.packing_shares()
    used = sum(group.size for stream in feed._streams for window in stream.windows for group in window)
    assert shares["padding"] == pytest.approx(1 - used / (sequences * 64)) and 0 <= shares["cut"] < 0.2
    assert Feed(shards, FeedSettings(), 1, 64, batch=1).packing_shares() == {"padding": 0.0}


def test_small_windows_and_a_small_cache_change_nothing_but_the_order(shards, training, monkeypatch):
    from pipeline.training.data import feed as module

    whole = Feed(shards, FeedSettings(window_tokens=600), 2, 32, batch=8)
    wanted = [whole.batch(n).tokens for n in range(40)]
    assert max(len(stream.windows) for stream in whole._streams) > 3
    small = Feed(shards, FeedSettings(window_tokens=600), 2, 32, batch=8)
    small._cache = module.WindowCache(1, 100)
    assert all(np.array_equal(small.batch(n).tokens, tokens) for n, tokens in enumerate(wanted))
    assert len(small._cache._windows) == 1


def test_two_threads_may_ask_at_once(shards):
    from concurrent.futures import ThreadPoolExecutor

    feed = Feed(shards, FeedSettings(), 2, 32, batch=8)
    wanted = [Feed(shards, FeedSettings(), 2, 32, batch=8).batch(n).tokens for n in range(30)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: feed.batch(n).tokens, range(30)))
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_what_cannot_be_fed(shards, tmp_path):
    with pytest.raises(UserError, match="`wiki`, which has no training text: use one of a, b"):
        Feed(shards, FeedSettings(source_weights={"wiki": 1}), 1, 32, 1)
    with pytest.raises(UserError, match="From step 3 on, all weights"):
        Feed(shards, FeedSettings(curriculum=[{"step": 3, "language_weights": {"ko": 0, "en": 0}}]), 1, 32, 1)
    with pytest.raises(UserError, match="no training text"):
        Feed(shards_of(tmp_path, {}), FeedSettings(), 1, 32, 1)
    for wrong in ({"curriculum": [{"step": 5}, {"step": 2}]}, {"source_weights": {"a": -1}}):
        with pytest.raises(ValidationError):
            FeedSettings(**wrong)


def test_shards_in_an_object_storage_are_read_by_ranges(shards, monkeypatch):
    """Nothing but the row groups that are asked for is fetched, and the batches are the same."""
    import fsspec

    from pipeline.store.remote import RemoteArtifact

    remote = fsspec.filesystem("memory")
    remote.rm("/bucket", recursive=True) if remote.exists("/bucket") else None
    for fragment in shards.fragments:
        remote.pipe_file(f"/bucket/{fragment}.parquet", shards.table(fragment).read_bytes())
    elsewhere = RemoteArtifact(
        shards.asset, shards.version, shards.directory / "not-here", shards.manifest, address="memory://bucket"
    )
    monkeypatch.setattr(RemoteArtifact, "file", lambda self, name: shards.file(name))  # the small list of rows left out
    near = Feed(shards, FeedSettings(), 1, 32, batch=8)
    far = Feed(elsewhere, FeedSettings(), 1, 32, batch=8)
    for number in range(5):
        assert np.array_equal(near.batch(number).tokens, far.batch(number).tokens)
    assert not (shards.directory / "not-here").exists()

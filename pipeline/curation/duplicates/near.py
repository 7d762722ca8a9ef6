"""`duplicate_decisions`: exact, near and contained duplicates over all fragments, each removal with its reason.

What is computed from text is remembered by fragment (a signature for each document), global steps work on small
columns, and every decision is verified exactly. In order:

1. signatures   each fragment's documents -> MinHash signatures, in a side table `signatures/<fragment>.parquet`;
                a document that an earlier version holds is not signed again
2. clusters     documents whose signatures share a band, or that have the same doc_id, found in partitions of hashes
                (clusters.py); all others stay and are not looked at again
3. precedence   these in one order: the recipe's order of sources, the cleaner first (tidiness.py), longer first
                (words), then doc_id
4. exact        of documents with the same doc_id the first is kept
5. verification exact Jaccard similarity of candidates, as the greedy selection needs it (selection.py); compared pairs
                are remembered in `pairs/compared.parquet`
6. decisions    one table per fragment

The result does not depend on the order of inputs, fragments or workers, nor on what was remembered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.context import Inputs, RunContext
from pipeline.curation.duplicates import containment, index, selection, semantic
from pipeline.curation.duplicates.corpus import Corpus, documents_with_equal_ids, load_corpus
from pipeline.curation.duplicates.duplicate_settings import Semantic, Settings
from pipeline.curation.duplicates.pairs import KnownSimilarities, write_pairs
from pipeline.curation.duplicates.similarity import ShingleSets
from pipeline.curation.rules import Limit, Rule
from pipeline.documents.reasons import meanings_of
from pipeline.documents.stage import (
    CorpusStage,
    decision_facts,
    decision_table,
    refuse_to_remove_all,
    scatter,
    stage_inputs,
    total_counts,
)
from pipeline.documents.view import Documents
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft

VERSION = "4"  # of near-copies, the cleaner one stays
ASSET = "duplicate_decisions"
RULES = (
    Rule("exact_duplicate", "a kept document has the same words (only white space or Unicode composition differs)"),
    Rule(
        "near_duplicate",
        "shares at least `threshold` of all word n-grams with a kept document (Jaccard)",
        "Lee et al. 2022, section 4.2: 0.8",
        limits=(Limit("jaccard", ">=", "threshold"),),
    ),
    Rule(
        "contained",
        "a longer kept document contains at least `containment` of its word n-grams",
        "Broder 1997: containment",
        limits=(
            Limit("containment", ">=", "containment", figure=pl.when(pl.col("reason") == "contained").then("score")),
        ),
        switches=("containment",),
    ),
    Rule(
        "semantic_duplicate",
        "says the same as a kept document in other words, as far as the mean of its words' vectors tells; only with "
        "`action: remove`",
        "Arora et al. 2017: mean vectors; the threshold: docs/results/deduplication.md",
        limits=(
            Limit(
                "similarity",
                ">=",
                "semantic.threshold",
                figure=pl.when(pl.col("reason") == "semantic_duplicate").then("score"),
            ),
        ),
        switches=("semantic",),
    ),
)
REASONS = meanings_of(RULES)
KEPT, EXACT, NEAR, CONTAINED, SEMANTIC = range(5)
NAMES = [None, *REASONS]  # by the numbers above
# For each document: the one that it is removed for or -1, the number of the reason, and the score.
Decided = tuple[np.ndarray, np.ndarray, np.ndarray]


def make(context: RunContext, inputs: Inputs, settings: Settings) -> Artifact:
    """Decide which documents are duplicates. inputs: raw_documents, previous.

    Of duplicates, the document of the source that the recipe names first is kept.
    """
    documents, named = stage_inputs(inputs)
    order = source_order(documents, context.sources, settings.against)
    named.update({f"index {number}": index.digest_of(path) for number, path in enumerate(settings.indexes)})

    def build(draft: Draft) -> None:
        if settings.enabled:
            decide(draft, context, documents, settings, order)
        else:
            keep_all(draft, documents)
        draft.counts = total_counts(draft.entries)
        refuse_to_remove_all(ASSET, draft.counts)

    # The result depends on the contents of indexes, not on their paths.
    dumped = settings.model_dump(mode="json", exclude={"indexes": True, "semantic": {"vectors"}})
    if settings.semantic is None:
        del dumped["semantic"]  # a key that is off changes no fingerprint
    named.update(semantic.identity(settings.semantic))
    identity = {**dumped, "source_order": order}
    return context.store.make(
        ASSET, code_version=VERSION, settings=identity, inputs=named, build=build, log=context.log
    )


def source_order(documents: Documents, sources: Sequence[str], against: Sequence[str]) -> list[str]:
    """The sources that have documents, in order of precedence."""
    present = sorted({documents.source(fragment) for fragment in documents.fragments})
    for name in against:
        if name not in present:
            raise UserError(
                f"`curation.duplicates.against` names the source `{name}`, which has no documents: "
                f"use {', '.join(present)}."
            )
    known = [name for name in sources if name in present]
    rest = [name for name in present if name not in known]
    return [*against, *(name for name in [*known, *rest] if name not in against)]


def decide(draft: Draft, context: RunContext, documents: Documents, settings: Settings, order: list[str]) -> None:
    """Run all steps and write the tables to the draft."""
    corpus = load_corpus(draft, context, documents, settings, order)
    may_remove = corpus.may_remove(settings)
    keeper = _exact_duplicates(corpus, may_remove)
    reason = np.where(keeper >= 0, EXACT, KEPT)
    score = np.where(keeper >= 0, 1.0, np.nan)
    # Numbers of the documents still kept; below, they are identified by their position in this list.
    left = np.flatnonzero(keeper < 0)

    places = np.full(len(corpus), -1, np.int32)  # position in `left`, of each known position
    places[corpus.order[left]] = np.arange(len(left))
    members = corpus.clusters.members(corpus.positions, places)
    del places
    sets = ShingleSets(len(left), lambda places: corpus.shingles(left[places], settings), draft.directory)
    remembered = KnownSimilarities(draft, settings)

    def similarity(one: np.ndarray, other: np.ndarray, open_one: np.ndarray, open_other: np.ndarray) -> np.ndarray:
        values = remembered.look_up(corpus.pair_ids(left[one], left[other]))
        missing = np.isnan(values)
        if missing.any():
            # Read ahead what later rounds will need: pairs with a document that is in no remembered pair, and pairs of
            # candidates of such a document, since it may replace the document that they were removed for.
            fresh, asked = np.zeros(len(left), bool), np.unique(np.concatenate([open_one, open_other]))
            fresh[asked] = ~remembered.contains(corpus.low[left[asked]])
            near_fresh = fresh.copy()
            near_fresh[open_one[fresh[open_other]]] = near_fresh[open_other[fresh[open_one]]] = True
            ahead = fresh[open_one] | fresh[open_other] | (near_fresh[open_one] & near_fresh[open_other])
            sets.load(np.concatenate([one[missing], other[missing], open_one[ahead], open_other[ahead]]))
            values[missing] = sets.jaccard(one[missing], other[missing])
        return values

    chosen = selection.choose(
        members, len(left), similarity, settings.threshold, may_remove[left], ~corpus.foreign[left]
    )
    gone = np.flatnonzero(chosen.keeper >= 0)
    keeper[left[gone]], reason[left[gone]] = left[chosen.keeper[gone]], NEAR
    score[left[gone]] = chosen.similarity[gone]
    # An exact copy of a removed document has the same words, so it is removed for the same document.
    copies = np.flatnonzero(reason == EXACT)
    copies = copies[keeper[keeper[copies]] >= 0]
    reason[copies], score[copies], keeper[copies] = NEAR, score[keeper[copies]], keeper[keeper[copies]]
    write_pairs(draft, settings, corpus, left[chosen.left], left[chosen.right], chosen.compared)
    if settings.containment is not None:
        _remove_contained(corpus, settings, draft.directory, may_remove, keeper, reason, score)
    twins = None
    if settings.semantic is not None:
        twins = _find_twins(corpus, settings.semantic, draft.directory, may_remove, (keeper, reason, score))
    bands, rows = settings.banding()
    draft.facts = {
        "bands": bands, "rows": rows, "documents": sum(corpus.heights.values()),
        "foreign": corpus.foreign_total, "candidates": len(np.unique(members & np.uint64(0xFFFFFFFF))),
        "compared": len(chosen.left), "similar": int((chosen.compared >= settings.threshold).sum()),
    }  # fmt: skip
    for fragment, known, numbers in corpus.by_fragment():
        decided = (np.full(corpus.heights[fragment], -1, np.int64), np.full(corpus.heights[fragment], KEPT),
                   np.full(corpus.heights[fragment], np.nan))  # fmt: skip
        for column, values in zip(decided, (keeper, reason, score), strict=True):
            column[known] = values[numbers]
        # Where twins are looked for, all documents are known.
        of_fragment = None if twins is None else semantic.Twins(twins.keeper[numbers], twins.similarity[numbers])
        _write(draft, documents, fragment, corpus, decided, of_fragment)


def _exact_duplicates(corpus: Corpus, may_remove: np.ndarray) -> np.ndarray:
    """For each document, the first one with the same doc_id, if that is another one and may cause its removal; else
    -1."""
    keeper = np.full(len(corpus), -1, np.int64)
    alike = documents_with_equal_ids(corpus.high, corpus.low)
    if alike.size:
        high, low = corpus.high[alike], corpus.low[alike]
        fresh = np.concatenate([[True], (high[1:] != high[:-1]) | (low[1:] != low[:-1])])
        first = alike[fresh][np.cumsum(fresh) - 1]
        copy = (first != alike) & may_remove[first] & ~corpus.foreign[alike]
        keeper[alike[copy]] = first[copy]
    return keeper


def _remove_contained(
    corpus: Corpus, settings: Settings, directory: Path, may_remove: np.ndarray,
    keeper: np.ndarray, reason: np.ndarray, score: np.ndarray,
) -> None:  # fmt: skip
    """Mark, in place, the documents contained in a longer kept document.

    A document that others were removed for is removed only if the same longer document contains them too.
    """
    left = np.flatnonzero(keeper < 0)
    found = containment.contained(corpus, settings, left, may_remove, directory)
    place = np.full(len(corpus), -1, np.int64)
    place[found.document] = np.arange(len(found.document))
    followers = np.flatnonzero((keeper >= 0) & (place[np.maximum(keeper, 0)] >= 0))
    via = place[keeper[followers]]
    share = containment.shares(corpus, settings, found.holder[via], followers, directory)
    fits = np.ones(len(found.document), bool)
    fits[via[share < (settings.containment or 1.0)]] = False
    keeper[found.document[fits]] = found.holder[fits]
    score[found.document[fits]] = found.share[fits]
    reason[found.document[fits]] = CONTAINED
    moved = fits[via]
    keeper[followers[moved]] = found.holder[via[moved]]
    score[followers[moved]] = share[moved]
    reason[followers[moved]] = CONTAINED


def _find_twins(
    corpus: Corpus, settings: Semantic, directory: Path, may_remove: np.ndarray, decided: Decided
) -> semantic.Twins:
    """The twins of the documents that are still kept; with `action: remove`, mark them in place as removed."""
    keeper, reason, score = decided
    twins, table = semantic.twins(corpus, settings, np.flatnonzero(keeper < 0), may_remove, directory)
    if settings.action == "remove":
        gone = semantic.settled(twins, table, settings.threshold, keeper)
        going = np.zeros(len(keeper), bool)
        going[gone] = True
        followers = np.flatnonzero(keeper >= 0)
        followers = followers[going[keeper[followers]]]
        holders = twins.keeper[keeper[followers]]
        score[followers] = semantic.cosines(table, holders, followers)
        keeper[followers], reason[followers] = holders, SEMANTIC
        keeper[gone], reason[gone], score[gone] = twins.keeper[gone], SEMANTIC, twins.similarity[gone]
    return twins


def _write(
    draft: Draft, documents: Documents, fragment: str, corpus: Corpus, decided: Decided, twins: semantic.Twins | None
) -> None:
    """Write the decisions of one fragment; all arrays have one value per kept row of the fragment."""
    keeper, reason, score = decided
    removed = np.flatnonzero(keeper >= 0)
    for_them = keeper[removed]

    def compute() -> pl.DataFrame:
        ids, names = corpus.ids(for_them), corpus.source_names(corpus.source[for_them])
        frame = documents.read(fragment, ["doc_id"])
        kept = frame["kept"]
        place = np.full(len(keeper), len(removed))  # the position after the removed documents, which is null
        place[removed] = np.arange(len(removed))
        chosen = {
            "keep": keeper < 0,
            "reason": pl.Series(NAMES, dtype=pl.String).gather(reason),
            "score": pl.Series(score, nan_to_null=True),
        }
        signals = {
            "kept_id": pl.concat([ids, pl.Series([None], dtype=pl.String)]).gather(place),
            "kept_source": pl.concat([names, pl.Series([None], dtype=pl.String)]).gather(place),
            "jaccard": pl.Series(np.where(reason >= CONTAINED, np.nan, score), nan_to_null=True),
            **({} if twins is None else _twin_columns(corpus, twins)),
        }
        return decision_table(frame["doc_id"], kept, pl.DataFrame(chosen), scatter(pl.DataFrame(signals), kept))

    sources, which = np.unique(corpus.source[for_them], return_inverse=True)
    outcome = hashlib.sha256("\n".join(corpus.source_names(sources)).encode())
    of_twins = () if twins is None else (corpus.high[twins.keeper], twins.keeper, twins.similarity)
    for column in (removed, corpus.high[for_them], corpus.low[for_them], which, reason, score, *of_twins):
        outcome.update(np.ascontiguousarray(column).tobytes())
    key = {**documents.key(fragment), "version": VERSION, "enabled": True, "outcome": outcome.hexdigest()}
    draft.table(fragment, key, compute, facts=partial(decision_facts, source=documents.source(fragment)))


def _twin_columns(corpus: Corpus, twins: semantic.Twins) -> dict[str, pl.Series]:
    """The id of each document's twin, and their similarity; null where there is none."""
    has = twins.keeper >= 0
    ids = corpus.ids(np.maximum(twins.keeper, 0))
    return {
        "twin_id": pl.select(pl.when(pl.Series(has)).then(ids)).to_series(),
        "twin_similarity": pl.Series(twins.similarity, nan_to_null=True),
    }


def keep_all(draft: Draft, documents: Documents) -> None:
    """The decisions of a stage that is switched off."""
    for fragment in documents.fragments:
        source = documents.source(fragment)

        def compute(fragment: str = fragment) -> pl.DataFrame:
            frame = documents.read(fragment, ["doc_id"])
            return decision_table(frame["doc_id"], frame["kept"])

        key = {**documents.key(fragment), "version": VERSION, "enabled": False}
        draft.table(fragment, key, compute, facts=partial(decision_facts, source=source))


STAGE = CorpusStage(
    name=ASSET,
    block="duplicates",
    description=(
        "Exact and near duplicates. MinHash finds candidates, and each is compared exactly: a document is removed only "
        "if its similarity to a kept document reaches the threshold. The decision names that document."
    ),
    kinds=("python", "numpy", "parquet"),
    settings=Settings,
    version=VERSION,
    rules=RULES,
    run=make,
)

"""`duplicate_decisions`: exact, near and contained duplicates over all fragments, each removal with its reason.

The one idea: what is read from text is remembered by fragment (a signature for each document), what is global works on
small columns, and what decides is exact. In order:

1. signatures   each fragment's documents -> MinHash signatures, in a side table `signatures/<fragment>.parquet`;
                a document whose signature an earlier version holds is not read again
2. precedence   all documents in one order: the recipe's order of sources, longer first (words), then doc_id
3. exact        of equal doc_id the first stays
4. candidates   documents that share a band of their signatures
5. verification exact Jaccard similarity of candidates, as the greedy choice asks for it (selection.py); pairs that an
                earlier version compared are remembered too, in `pairs/compared.parquet`
6. decisions    one table a fragment

Nothing depends on the order of input, of fragments or of workers, nor on what was remembered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.context import Inputs, RunContext
from pipeline.curation.duplicates import containment, index, selection
from pipeline.curation.duplicates.corpus import Corpus, documents_with_equal_ids, load_corpus
from pipeline.curation.duplicates.duplicate_settings import Settings
from pipeline.curation.duplicates.pairs import KnownSimilarities, write_pairs
from pipeline.curation.duplicates.similarity import ShingleSets
from pipeline.curation.rules import Limit, Rule
from pipeline.documents.execution import ExecutionSettings
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

VERSION = "3"
ASSET = "duplicate_decisions"
RULES = (
    Rule("exact_duplicate", "a document that stays has the same words (only white space or composition differs)"),
    Rule(
        "near_duplicate",
        "a document that stays shares at least `threshold` of all word n-grams of either (Jaccard)",
        "Lee et al. 2022, section 4.2: 0.8",
        limits=(Limit("jaccard", ">=", "threshold"),),
    ),
    Rule(
        "contained",
        "a longer document that stays holds at least `containment` of its word n-grams",
        "Broder 1997: containment",
        limits=(
            Limit("containment", ">=", "containment", figure=pl.when(pl.col("reason") == "contained").then("score")),
        ),
        switches=("containment",),
    ),
)
REASONS = meanings_of(RULES)
KEPT, EXACT, NEAR, CONTAINED = range(4)
NAMES = [None, *REASONS]  # by the numbers above


def make(context: RunContext, inputs: Inputs, settings: Settings) -> Artifact:
    """Decide which documents are duplicates. inputs: raw_documents, previous.

    Of copies, the one of the source that the recipe names first stays.
    """
    documents, named = stage_inputs(inputs)
    order = source_order(documents, context.sources, settings.against)
    named.update({f"index {number}": index.digest_of(path) for number, path in enumerate(settings.indexes)})

    def build(draft: Draft) -> None:
        if settings.enabled:
            decide(draft, documents, settings, context.execution, order)
        else:
            keep_all(draft, documents)
        draft.counts = total_counts(draft.entries)
        refuse_to_remove_all(ASSET, draft.counts)

    # The paths of indexes are not of the result; what lies in them is.
    identity = {**settings.model_dump(mode="json", exclude={"indexes"}), "source_order": order}
    return context.store.make(
        ASSET, code_version=VERSION, settings=identity, inputs=named, build=build, log=context.log
    )


def source_order(documents: Documents, sources: Sequence[str], against: Sequence[str]) -> list[str]:
    """The sources that have documents, in the order of precedence."""
    present = sorted({documents.source(fragment) for fragment in documents.fragments})
    for name in against:
        if name not in present:
            raise UserError(
                f"`curation.duplicates.against` names the source `{name}`, which has no documents: "
                f"known are {', '.join(present)}."
            )
    known = [name for name in sources if name in present]
    rest = [name for name in present if name not in known]
    return [*against, *(name for name in [*known, *rest] if name not in against)]


def decide(
    draft: Draft, documents: Documents, settings: Settings, execution: ExecutionSettings, order: list[str]
) -> None:
    """All steps, into the draft."""
    corpus = load_corpus(draft, documents, settings, execution, order)
    leads = corpus.leads(settings)
    keeper = _exact(corpus, leads)
    reason = np.where(keeper >= 0, EXACT, KEPT)
    score = np.where(keeper >= 0, 1.0, np.nan)
    left = np.flatnonzero(keeper < 0)  # numbers of what is left; compared under their place in this list

    places = np.full(len(corpus), -1, np.int64)  # in `left`, of each position
    places[corpus.order[left]] = np.arange(len(left))
    members = selection.buckets(corpus.bands, places)
    sets = ShingleSets(len(left), lambda places: corpus.shingles(left[places], settings), draft.directory)
    remembered = KnownSimilarities(draft, settings)

    def similarity(one: np.ndarray, other: np.ndarray, open_one: np.ndarray, open_other: np.ndarray) -> np.ndarray:
        values = remembered.look_up(corpus.pair_ids(left[one], left[other]))
        missing = np.isnan(values)
        if missing.any():
            # Read at once what later rounds will ask for: pairs with a document that no remembered pair holds, and
            # pairs of documents that are both candidates of such a one, which may take the place of what they went for.
            fresh, asked = np.zeros(len(left), bool), np.unique(np.concatenate([open_one, open_other]))
            fresh[asked] = ~remembered.met(corpus.low[left[asked]])
            near_fresh = fresh.copy()
            near_fresh[open_one[fresh[open_other]]] = near_fresh[open_other[fresh[open_one]]] = True
            ahead = fresh[open_one] | fresh[open_other] | (near_fresh[open_one] & near_fresh[open_other])
            sets.need(np.concatenate([one[missing], other[missing], open_one[ahead], open_other[ahead]]))
            values[missing] = sets.jaccard(one[missing], other[missing])
        return values

    chosen = selection.choose(members, len(left), similarity, settings.threshold, leads[left], ~corpus.foreign[left])
    gone = np.flatnonzero(chosen.keeper >= 0)
    keeper[left[gone]], reason[left[gone]] = left[chosen.keeper[gone]], NEAR
    score[left[gone]] = chosen.similarity[gone]
    # A copy of what has now gone has the same words, so it goes for the same document.
    copies = np.flatnonzero(reason == EXACT)
    copies = copies[keeper[keeper[copies]] >= 0]
    reason[copies], score[copies], keeper[copies] = NEAR, score[keeper[copies]], keeper[keeper[copies]]
    write_pairs(draft, settings, corpus, left[chosen.left], left[chosen.right], chosen.compared)
    if settings.containment is not None:
        _remove_contained(corpus, settings, draft.directory, leads, keeper, reason, score)
    draft.facts = {
        "bands": len(corpus.bands), "rows": settings.banding()[1], "documents": int((~corpus.foreign).sum()),
        "foreign": int(corpus.foreign.sum()), "candidates": len(np.unique(members & np.uint64(0xFFFFFFFF))),
        "compared": len(chosen.left), "similar": int((chosen.compared >= settings.threshold).sum()),
    }  # fmt: skip
    for fragment, numbers in zip(documents.fragments, corpus.by_fragment(), strict=True):
        _write(draft, documents, fragment, corpus, keeper[numbers], reason[numbers], score[numbers])


def _exact(corpus: Corpus, leads: np.ndarray) -> np.ndarray:
    """For each document the first one of the same doc_id, if it is another and may have it removed; else -1."""
    keeper = np.full(len(corpus), -1, np.int64)
    alike = documents_with_equal_ids(corpus.high, corpus.low)
    if alike.size:
        high, low = corpus.high[alike], corpus.low[alike]
        fresh = np.concatenate([[True], (high[1:] != high[:-1]) | (low[1:] != low[:-1])])
        first = alike[fresh][np.cumsum(fresh) - 1]
        copy = (first != alike) & leads[first] & ~corpus.foreign[alike]
        keeper[alike[copy]] = first[copy]
    return keeper


def _remove_contained(
    corpus: Corpus, settings: Settings, directory: Path, leads: np.ndarray,
    keeper: np.ndarray, reason: np.ndarray, score: np.ndarray,
) -> None:  # fmt: skip
    """Mark, in place, what lies in a longer document that is kept.

    A document that others were removed for may go only if they lie in the same longer document too.
    """
    left = np.flatnonzero(keeper < 0)
    found = containment.contained(corpus, settings, left, leads, directory)
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


def _write(
    draft: Draft, documents: Documents, fragment: str, corpus: Corpus,
    keeper: np.ndarray, reason: np.ndarray, score: np.ndarray,
) -> None:  # fmt: skip
    """Write the decisions of one fragment. keeper, reason, score: one a row of it that is left."""
    removed = np.flatnonzero(keeper >= 0)
    for_them = keeper[removed]

    def compute() -> pl.DataFrame:
        ids, names = corpus.ids(for_them), corpus.source_names(corpus.source[for_them])
        frame = documents.read(fragment, ["doc_id"])
        kept = frame["kept"]
        place = np.full(len(keeper), len(removed))  # what lies behind the removed ones is null
        place[removed] = np.arange(len(removed))
        chosen = {
            "keep": keeper < 0,
            "reason": pl.Series(NAMES, dtype=pl.String).gather(reason),
            "score": pl.Series(score, nan_to_null=True),
        }
        signals = {
            "kept_id": pl.concat([ids, pl.Series([None], dtype=pl.String)]).gather(place),
            "kept_source": pl.concat([names, pl.Series([None], dtype=pl.String)]).gather(place),
            "jaccard": pl.Series(np.where(reason == CONTAINED, np.nan, score), nan_to_null=True),
        }
        return decision_table(frame["doc_id"], kept, pl.DataFrame(chosen), scatter(pl.DataFrame(signals), kept))

    sources, which = np.unique(corpus.source[for_them], return_inverse=True)
    told = hashlib.sha256("\n".join(corpus.source_names(sources)).encode())
    for column in (removed, corpus.high[for_them], corpus.low[for_them], which, reason, score):
        told.update(np.ascontiguousarray(column).tobytes())
    key = {**documents.key(fragment), "version": VERSION, "enabled": True, "outcome": told.hexdigest()}
    draft.table(fragment, key, compute, facts=partial(decision_facts, source=documents.source(fragment)))


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
        "Exact and near duplicates. MinHash finds candidates, and each is then compared exactly: a document goes "
        "only if it is at least as similar as the threshold to one that stays, which is named beside it."
    ),
    kinds=("python", "numpy", "parquet"),
    settings=Settings,
    version=VERSION,
    rules=RULES,
    run=make,
)

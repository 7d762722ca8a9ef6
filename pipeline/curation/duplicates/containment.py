"""Documents that lie in a longer one: an excerpt, a chapter beside its book, a quotation with nothing of its own.

Banding cannot find them, since their Jaccard similarity to the longer document is as small as they are. The one idea:
if document A lies in B, then so do the few shingles of A with the least hashes. Each document is looked for by these
PROBES shingles, in one more pass over the text; what shares one is verified exactly.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.curation.duplicates.similarity import ShingleSets

if TYPE_CHECKING:
    from pipeline.curation.duplicates.corpus import Corpus
    from pipeline.curation.duplicates.duplicate_settings import Settings

# A document that lies in another to 90 % misses all of 4 probes with a probability of 0.0001.
PROBES = 4
# A shingle that more documents hold than this is boilerplate, and no sign of containment.
COMMON = 256


class Contained(NamedTuple):
    document: np.ndarray  # int64, numbers
    holder: np.ndarray
    share: np.ndarray  # float64, part of the document's shingles that lie in the holder


def contained(corpus: Corpus, settings: Settings, left: np.ndarray, leads: np.ndarray, directory: Path) -> Contained:
    """Which of the documents `left` (numbers, in the order of precedence) lie in a longer one of them.

    The longest holder that reaches `settings.containment` is chosen, and a holder is never removed itself: documents
    are decided from the longest to the shortest.
    """
    sets = ShingleSets(len(left), lambda places: corpus.shingles(left[places], settings), directory)
    parts = _by_fragment(corpus, left)
    probes, owners = _probes(sets, parts)
    candidate, holder = _holders(sets, probes, owners, parts)
    larger = sets.sizes[holder] > sets.sizes[candidate]
    allowed = larger & leads[left[holder]] & ~corpus.foreign[left[candidate]]
    candidate, holder = candidate[allowed], holder[allowed]
    share = sets.containment(holder, candidate)
    enough = share >= (settings.containment or 1.0)
    candidate, holder, share = candidate[enough], holder[enough], share[enough]
    order = np.lexsort((holder, -sets.sizes[holder], candidate, -sets.sizes[candidate]))
    gone: dict[int, int] = {}
    for place in order.tolist():
        if int(candidate[place]) not in gone and int(holder[place]) not in gone:
            gone[int(candidate[place])] = place
    chosen = np.array(sorted(gone.values()), dtype=np.int64)
    return Contained(left[candidate[chosen]], left[holder[chosen]], share[chosen])


def shares(
    corpus: Corpus, settings: Settings, holders: np.ndarray, documents: np.ndarray, directory: Path
) -> np.ndarray:
    """The part of each document's shingles that lie in the holder at the same place."""
    numbers, places = np.unique(np.concatenate([holders, documents]), return_inverse=True)
    sets = ShingleSets(len(numbers), lambda wanted: corpus.shingles(numbers[wanted], settings), directory)
    return sets.containment(places[: len(holders)], places[len(holders) :])


def _by_fragment(corpus: Corpus, left: np.ndarray) -> list[np.ndarray]:
    """Places in `left`, a fragment's together, so that each text is read once."""
    order = np.lexsort((corpus.row[left], corpus.origin[left]))
    return np.split(order, np.flatnonzero(np.diff(corpus.origin[left[order]])) + 1)


def _probes(sets: ShingleSets, parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(hashes, places): the least shingles of each document, sorted by hash."""
    hashes, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for places in parts:
        sets.need(places)
        for rank in range(PROBES):  # sets are sorted
            there = places[sets.sizes[places] > rank]
            hashes.append(sets.elements(sets.starts[there] + rank))
            owners.append(there)
    joined, owner = np.concatenate(hashes), np.concatenate(owners)
    order = np.lexsort((owner, joined))
    return joined[order], owner[order]


def _holders(
    sets: ShingleSets, probes: np.ndarray, owners: np.ndarray, parts: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (document, another that holds one of its probes), each once."""
    nothing = np.zeros(0, np.int64)
    if not len(probes):
        return nothing, nothing
    known, starts, numbers = np.unique(probes, return_index=True, return_counts=True)
    found_probe, found_holder = [nothing], [nothing]
    for places in parts:
        sizes = sets.sizes[places]
        ends = np.cumsum(sizes)
        elements = sets.elements(np.arange(ends[-1]) + np.repeat(sets.starts[places] - (ends - sizes), sizes))
        probe = np.minimum(np.searchsorted(known, elements), len(known) - 1)
        hit = known[probe] == elements
        found_probe.append(probe[hit])
        found_holder.append(np.repeat(places, sizes)[hit])
    probe, holder = np.concatenate(found_probe), np.concatenate(found_holder)
    rare = np.bincount(probe, minlength=len(known))[probe] <= COMMON
    probe, holder = probe[rare], holder[rare]
    many = numbers[probe]
    within = np.arange(int(many.sum())) - np.repeat(np.cumsum(many) - many, many)
    document = owners[np.repeat(starts[probe], many) + within]
    holder = np.repeat(holder, many)
    pairs = np.unique(np.stack([document, holder], axis=1)[document != holder], axis=0)
    return pairs[:, 0], pairs[:, 1]

"""Documents contained in a longer one: an excerpt, a chapter of a book, a mere quotation.

Banding cannot find them, since their Jaccard similarity to the longer document is as small as they are. But if document
A is contained in B, then so are the shingles of A with the smallest hashes. Each document is searched for by PROBES
such shingles, in one more pass over the text, and documents that share one are compared exactly.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.curation.duplicates.similarity import ShingleSets

if TYPE_CHECKING:
    from pipeline.curation.duplicates.corpus import Corpus
    from pipeline.curation.duplicates.duplicate_settings import Settings

# A document of which 90 % is contained in another misses all 4 probes with a probability of 0.0001.
PROBES = 4
# A shingle in more documents than this is boilerplate and no sign of containment.
COMMON = 256


class Contained(NamedTuple):
    document: np.ndarray  # int64, numbers
    holder: np.ndarray
    share: np.ndarray  # float64, share of the document's shingles that the holder contains


def contained(
    corpus: Corpus, settings: Settings, left: np.ndarray, may_remove: np.ndarray, directory: Path
) -> Contained:
    """Which of the documents `left` (numbers, in order of precedence) are contained in a longer one of them.

    Each gets the longest holder that reaches `settings.containment`. A holder is never removed itself: documents are
    decided from the longest to the shortest.
    """
    sets = ShingleSets(len(left), lambda places: corpus.shingles(left[places], settings), directory)
    parts = _places_by_fragment(corpus, left)
    probes, owners = _probes(sets, parts)
    candidate, holder = _holders(sets, probes, owners, parts)
    larger = sets.sizes[holder] > sets.sizes[candidate]
    allowed = larger & may_remove[left[holder]] & ~corpus.foreign[left[candidate]]
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
    """The share of each document's shingles that its holder contains, pair by pair."""
    numbers, places = np.unique(np.concatenate([holders, documents]), return_inverse=True)
    sets = ShingleSets(len(numbers), lambda requested: corpus.shingles(numbers[requested], settings), directory)
    return sets.containment(places[: len(holders)], places[len(holders) :])


def _places_by_fragment(corpus: Corpus, left: np.ndarray) -> list[np.ndarray]:
    """Positions in `left`, grouped by fragment, so that each text is read once."""
    order = np.lexsort((corpus.row[left], corpus.origin[left]))
    return np.split(order, np.flatnonzero(np.diff(corpus.origin[left[order]])) + 1)


def _probes(sets: ShingleSets, parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(hashes, positions): the shingles of each document with the smallest hashes, sorted by hash."""
    hashes, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for places in parts:
        sets.load(places)
        for rank in range(PROBES):  # sets are sorted
            large_enough = places[sets.sizes[places] > rank]
            hashes.append(sets.elements(sets.starts[large_enough] + rank))
            owners.append(large_enough)
    joined, owner = np.concatenate(hashes), np.concatenate(owners)
    order = np.lexsort((owner, joined))
    return joined[order], owner[order]


def _holders(
    sets: ShingleSets, probes: np.ndarray, owners: np.ndarray, parts: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (document, another document that contains one of its probes), each once."""
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

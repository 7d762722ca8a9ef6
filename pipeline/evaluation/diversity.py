"""How varied generated text is: n-grams that are not repeated, over all texts and within each.

A word is what ROUGE's words are here (`text_overlap.py`): a run of Latin letters and digits, or one syllable of Hangul,
a kana or a Han character, so that Korean is counted like other languages.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.evaluation.text_overlap import Words

REPEATED = 4  # words of the runs that count as repetition


def n_grams(text: str, n: int) -> list[tuple[str, ...]]:
    """All runs of n words of a text."""
    words = Words().tokenize(text)
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def distinct(texts: Sequence[str], n: int) -> float:
    """distinct-n (Li et al. 2016, arXiv 1510.03055): different n-grams over all n-grams of all texts; 0 without any.

    It falls as texts grow longer: compare figures of equally many texts of a length.
    """
    every = [gram for text in texts for gram in n_grams(text, n)]
    return round(len(set(every)) / len(every), 4) if every else 0.0


def repetition(texts: Sequence[str], n: int = REPEATED) -> float:
    """Mean share of n-grams that repeat an earlier one of the same text (seq-rep-n, Welleck et al. 2020)."""
    shares = [1 - len(set(grams)) / len(grams) for text in texts if (grams := n_grams(text, n))]
    return round(sum(shares) / len(shares), 4) if shares else 0.0


def figures(texts: Sequence[str]) -> dict[str, float]:
    """distinct-1 and -2 over all texts, and repetition within them (0-1)."""
    return {"distinct_1": distinct(texts, 1), "distinct_2": distinct(texts, 2), "repetition": repetition(texts)}

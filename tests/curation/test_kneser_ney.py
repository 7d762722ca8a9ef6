"""Kneser-Ney: equals the formulas written out, sums to one, and always gives the same bytes."""

import math
import random
from collections import Counter, defaultdict
from pathlib import Path

import polars as pl
import pytest

from pipeline.curation.filters import kneser_ney

DRAW = random.Random(3)
VOCABULARY = [
    "the", "dog", "cat", "bird", "fish", "sees", "likes", "fears", "follows", "bones", "milk", "seeds", "worms", "to",
    "of", "a", "in", "and", "red", "old",
]  # fmt: skip
VOCABULARY += [f"w{i}" for i in range(180)]


def sentences(count: int) -> list[str]:
    """Words distributed as in real text (Zipf's law), some of them in set phrases."""
    weights = [1 / (rank + 1) for rank in range(len(VOCABULARY))]
    phrases = ["the dog sees the cat", "the bird likes the seeds", "a rare word stands", "in the old red"]
    said = []
    for _ in range(count):
        words = DRAW.choices(VOCABULARY, weights, k=DRAW.randint(3, 9))
        said.append(" ".join([*words, DRAW.choice(phrases)] if DRAW.random() < 0.3 else words))
    return said


TEXTS = sentences(400)


def load(path: Path):
    kenlm = pytest.importorskip("kenlm")
    settings = kenlm.Config()
    settings.show_progress = False
    return kenlm, kenlm.Model(str(path), settings)


def trained(tmp_path: Path, order: int = 3, prune: int = 0, texts: list[str] = TEXTS):
    counts = kneser_ney.train(pl.Series(texts), order, tmp_path / "m.arpa", prune)
    return counts, *load(tmp_path / "m.arpa")


def plain_model(texts: list[str], order: int):
    """p(word | context), from the formulas: modified Kneser-Ney, interpolated down to the uniform distribution."""
    padded = [["<s>", *text.split(), "</s>"] for text in texts]
    raw = [Counter(tuple(s[i : i + n]) for s in padded for i in range(len(s) - n + 1)) for n in range(1, order + 1)]
    adjusted = []
    for n in range(1, order + 1):
        if n == order:
            adjusted.append(dict(raw[n - 1]))
            continue
        before = Counter(gram[1:] for gram in raw[n])
        adjusted.append({g: (raw[n - 1][g] if g[0] == "<s>" else before[g]) for g in raw[n - 1]})
    del adjusted[0][("<s>",)]
    discounts = []
    for counts in adjusted:
        n = Counter(counts.values())
        y = n[1] / (n[1] + 2 * n[2])
        off = [0, 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        assert all(0 < off[i] <= i for i in (1, 2, 3)), "too small a text for the estimate: the test would test nothing"
        discounts.append(off)
    words = {gram[0] for gram in adjusted[0]} | {"<unk>"}
    followers = [defaultdict(list) for _ in range(order)]
    for n, counts in enumerate(adjusted):
        for gram, count in counts.items():
            followers[n][gram[:-1]].append(count)

    def probability(word: str, context: tuple[str, ...]) -> float:
        n = len(context)
        lower = probability(word, context[1:]) if n else 1 / len(words)
        counts = followers[n].get(context)
        if not counts:
            return lower
        total, off = sum(counts), discounts[n]
        own = adjusted[n].get((*context, word), 0)
        left = sum(off[min(count, 3)] for count in counts) / total
        return max(own - off[min(own, 3)], 0) / total + left * lower

    return probability, sorted(words)


def after(kenlm, model, context: str):
    """The model's state after the words of `context`."""
    state = kenlm.State()
    words = context.split()
    if words and words[0] == "<s>":
        model.BeginSentenceWrite(state)
        words = words[1:]
    else:
        model.NullContextWrite(state)
    for word in words:
        longer = kenlm.State()
        model.BaseScore(state, word, longer)
        state = longer
    return state


@pytest.mark.parametrize(
    "context", ["", "<s>", "the", "<s> the", "the dog", "dog sees", "bird unseen", "rare word", "w9 w170"]
)
def test_probabilities_are_those_of_the_formulas(tmp_path, context):
    _, kenlm, model = trained(tmp_path)
    probability, words = plain_model(TEXTS, 3)
    state, longer = after(kenlm, model, context), kenlm.State()
    known = tuple(word if word in words or word == "<s>" else "<unk>" for word in context.split())
    for word in words:
        spoken = "never-said" if word == "<unk>" else word
        assert 10 ** model.BaseScore(state, spoken, longer) == pytest.approx(probability(word, known), rel=1e-4), word


@pytest.mark.parametrize(("order", "prune"), [(2, 0), (3, 0), (3, 1), (5, 0), (5, 1), (5, 2)])
def test_probabilities_sum_to_one(tmp_path, order, prune):
    _, kenlm, model = trained(tmp_path, order, prune)
    _, words = plain_model(TEXTS, 2)
    longer = kenlm.State()
    for context in ("", "<s>", "the dog", "the cat sees the", "a rare word stands", "never-said"):
        state = after(kenlm, model, context)
        total = sum(10 ** model.BaseScore(state, "zzz" if word == "<unk>" else word, longer) for word in words)
        assert total == pytest.approx(1, abs=1e-4), context


def test_counts_and_pruning(tmp_path):
    everything, *_ = trained(tmp_path)
    for n, size in everything.items():
        assert size == len(
            {
                tuple(s[i : i + int(n)])
                for s in (["<s>", *t.split(), "</s>"] for t in TEXTS)
                for i in range(len(s) - int(n) + 1)
            }
        ) + (n == "1")
    pruned, *_ = trained(tmp_path, prune=1)
    assert pruned["2"] == everything["2"] and pruned["3"] < everything["3"]


def test_it_prefers_what_it_has_learned(tmp_path):
    _, _, model = trained(tmp_path)
    assert model.perplexity("the bird likes the seeds") < model.perplexity("seeds the likes bird the") / 3


def test_the_same_text_gives_the_same_bytes(tmp_path):
    first = kneser_ney.train(pl.Series(TEXTS), 4, tmp_path / "a.arpa")
    assert first == kneser_ney.train(pl.Series(TEXTS), 4, tmp_path / "b.arpa")
    assert (tmp_path / "a.arpa").read_bytes() == (tmp_path / "b.arpa").read_bytes()


def test_odd_texts(tmp_path):
    with pytest.raises(ValueError, match="no text"):
        kneser_ney.train(pl.Series(["", "  "]), 3, tmp_path / "m.arpa")
    _, _, model = trained(tmp_path, 3, 1, ["one"])
    assert math.isfinite(model.score("one")) and math.isfinite(model.score("other"))
    odd = ["a <s> b </s> c <unk> \t d", None, "a  b", "a \x00 b\x00c \x1e d\x0b\x85e\u2028f"]
    _, _, model = trained(tmp_path, 3, 0, odd)
    assert math.isfinite(model.score("a b c"))

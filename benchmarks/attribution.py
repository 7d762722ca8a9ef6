"""Whether gradients tell which training texts a model's loss on another text comes from: tried against retraining.

    python -m benchmarks.attribution [--seeds 6] [--speeches 50] [--pieces 2] [--passes 6]
        [--kinds halves speeches pieces] [--folder DIR]

US State of the Union addresses. Of each of 50 speeches a network of 65,000 parameters learns two pieces of 48 tokens,
and the piece after them is held back as a query. The truth is made by training: 50 networks without a random half of
the speeches each (as Park et al. 2023 do), 50 without one speech each, and 50 without one piece each. With a seed, all
of them start from the same weights and see the same pieces in the same steps; what is left out leaves its place empty.
The effect of what is left out on a query is how much the query's loss rises without it, as a mean over the seeds.

A method is worth the rank correlation (Spearman) of its scores, summed over what is left out, with that effect: over
the 50 trainings, as a mean over the queries. The interval of 95 % is a bootstrap of queries and trainings together.
No method can be right beyond the truth's own noise: its reliability is the rank correlation of the effects in two
halves of the seeds, carried to all seeds by Spearman and Brown's formula, and the highest correlation to be had is
about its root.

Methods by gradients, each of one network (that of a seed; "by all": their scores as a mean over the seeds):

    dot                  the dot product of the gradients at the end of the training
    TracIn               its sum over three checkpoints, weighted by their learning rate (Pruthi et al. 2020)
    unit                 gradients divided by the root of the optimiser's second moments, of length 1 (TrackStar
                         without its Hessian; Chang et al. 2024, arXiv 2410.17413), at the end
    unit, checkpoints    its sum over the checkpoints
    unit, projected      that in 4,096 dimensions (every weight added to one of them, with a random sign)
    kernel               unit's gradients before their length is made 1, whitened by the training gradients' own
                         covariance (Park et al. 2023), summed over the checkpoints

"Mean of all queries" gives every query the same scores, and so shows how much needs no look at the query. By text
alone: BM25, and the cosine of the counts of runs of five characters. DIR keeps what each seed gave, so that a run can
be stopped and more seeds added.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from model.config import ModelConfig
from model.transformer import Transformer
from pipeline.ingest.bundled import speeches

Figures = NDArray[np.float64]

VOCABULARY, LENGTH = 384, 48
SHAPE = ModelConfig(
    layers=2, width=48, heads=2, context=LENGTH, vocab_size=VOCABULARY, ffn=96, tie_embeddings=True, qk_norm=True
)
BATCH, RATE, BETAS, EPSILON = 10, 6e-3, (0.9, 0.95), 1e-8
CHECKPOINTS = (1 / 3, 2 / 3, 1.0)
DIMENSIONS = 4096
SKIPPED = 8  # pieces at the beginning of a speech, which greet
RESAMPLED = 200
METHODS = ("dot", "TracIn", "unit", "unit, checkpoints", "unit, projected", "kernel")
KINDS = ("halves", "speeches", "pieces")


@dataclass(frozen=True)
class Texts:
    """The pieces to learn, those of one speech together, and one query of each speech."""

    pieces: Tensor  # [speeches * pieces, LENGTH + 1] token ids
    queries: Tensor  # [speeches, LENGTH + 1]
    words: dict[str, list[str]]  # their text
    of_speech: int  # pieces of one speech


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6, help="an even number")
    parser.add_argument("--speeches", type=int, default=50)
    parser.add_argument("--pieces", type=int, default=2, help="of each speech, of 48 tokens")
    parser.add_argument("--passes", type=int, default=6, help="over the pieces")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="what trainings do without")
    parser.add_argument("--folder", type=Path, help="where what each seed gave is kept")
    return parser


def made_texts(number: int, of_speech: int) -> Texts:
    """Speeches at equal distances from 1790 on, of each the pieces after the first SKIPPED."""
    every = sorted(speeches(), key=lambda row: str(row["meta"]))
    chosen = [str(every[place]["text"]) for place in np.linspace(0, len(every) - 1, number).astype(int)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(chosen, trainer)
    size = LENGTH + 1
    pieces, queries = [], []
    for text in chosen:
        ids = tokenizer.encode(text).ids
        first = [ids[start : start + size] for start in range(SKIPPED * size, (SKIPPED + of_speech + 1) * size, size)]
        pieces += first[:-1]
        queries.append(first[-1])
    words = {"pieces": tokenizer.decode_batch(pieces), "queries": tokenizer.decode_batch(queries)}
    return Texts(torch.tensor(pieces), torch.tensor(queries), words, of_speech)


def losses(network: Transformer, rows: Tensor) -> Tensor:
    """The mean loss of a token in each row, in nats: [rows]."""
    return -network(rows[:, :-1], rows[:, 1:], by_token=True).mean(1)


@dataclass(frozen=True)
class Checkpoint:
    """Weights in training, the mean of the squared gradients of each, and the learning rate there."""

    weights: dict[str, Tensor]
    squares: Tensor
    rate: float


def trained(texts: Texts, passes: int, seed: int, without: Iterable[int] = ()) -> tuple[Transformer, list[Checkpoint]]:
    """A network trained on all pieces but those that are left out, and its checkpoints where nothing is left out.

    A step divides by its number of pieces, the left out ones among them, so that the weight of the others is the same.
    """
    torch.manual_seed(seed)
    network = Transformer(SHAPE)
    draw = torch.Generator().manual_seed(seed)
    total = len(texts.pieces)
    order = torch.cat([torch.randperm(total, generator=draw) for _ in range(passes)])
    included = torch.ones(total, dtype=torch.bool)
    included[list(without)] = False
    steps = order.split(BATCH)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=RATE, betas=BETAS, eps=EPSILON, weight_decay=0.01, foreach=True
    )
    kept, at = [], {round(share * len(steps)) for share in CHECKPOINTS}
    for number, rows in enumerate(steps, start=1):
        rate = RATE * min(1.0, number / (0.1 * len(steps)), (len(steps) - number + 1) / (0.5 * len(steps)))
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad(set_to_none=False)
        if included[rows].any():
            (losses(network, texts.pieces[rows[included[rows]]]).sum() / len(rows)).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if included.all() and number in at:
            squares = torch.cat([optimiser.state[p]["exp_avg_sq"].flatten() for p in network.parameters()])
            weights = {name: value.clone() for name, value in network.state_dict().items()}
            kept.append(Checkpoint(weights, squares / (1 - BETAS[1] ** number), rate))
    return network, kept


def gradients(network: Transformer, rows: Tensor) -> Tensor:
    """The gradient of each row's loss by all weights: [rows, weights]."""
    found = []
    for row in rows:
        each = torch.autograd.grad(losses(network, row[None]).sum(), list(network.parameters()))
        found.append(torch.cat([one.flatten() for one in each]))
    return torch.stack(found)


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def projected(rows: Tensor) -> Tensor:
    """Each weight added to one of DIMENSIONS with a random sign: dot products stay the same in the mean."""
    draw = torch.Generator().manual_seed(0)
    places = torch.randint(DIMENSIONS, (rows.shape[1],), generator=draw)
    signs = 2.0 * torch.randint(2, (rows.shape[1],), generator=draw) - 1
    return torch.zeros(len(rows), DIMENSIONS).index_add_(1, places, rows * signs)


def whitened(queries: Tensor, pieces: Tensor) -> Tensor:
    """queries (G'G + l I)^-1 pieces' with G the pieces' gradients, by the matrix of their dot products.

    l is a tenth of the mean squared length of a gradient. By the identity G (G'G + l I)^-1 = (G G' + l I)^-1 G.
    """
    products = pieces @ pieces.T
    small = 0.1 * products.diagonal().mean()
    return torch.linalg.solve(products + small * torch.eye(len(products)), pieces @ queries.T).T


def by_gradients(texts: Texts, network: Transformer, checkpoints: list[Checkpoint]) -> dict[str, Figures]:
    """The score of every piece for every query, by method: [queries, pieces]."""
    summed: dict[str, Tensor] = {}
    last: dict[str, Tensor] = {}
    for one in checkpoints:
        network.load_state_dict(one.weights)
        pieces, queries = gradients(network, texts.pieces), gradients(network, texts.queries)
        scale = 1 / (one.squares.sqrt() + EPSILON**0.5)
        scaled = (queries * scale, pieces * scale)
        last = {"dot": queries @ pieces.T, "unit": unit(scaled[0]) @ unit(scaled[1]).T}
        here = {
            "TracIn": one.rate * last["dot"],
            "unit, checkpoints": last["unit"],
            "unit, projected": unit(projected(scaled[0])) @ unit(projected(scaled[1])).T,
            "kernel": whitened(*scaled),
        }
        for name, scores in here.items():
            summed[name] = summed.get(name, torch.zeros(())) + scores
    return {name: scores.double().numpy() for name, scores in {**last, **summed}.items()}


def bm25(queries: list[str], texts: list[str]) -> Figures:
    """Robertson & Zaragoza 2009 with k1 = 1.2, b = 0.75, words in lower case: [queries, texts]."""
    counts = [Counter(text.lower().split()) for text in texts]
    mean = sum(sum(one.values()) for one in counts) / len(counts)
    holding = Counter(word for one in counts for word in one)

    def score(words: list[str], held: Counter[str]) -> float:
        length = 1.2 * (0.25 + 0.75 * sum(held.values()) / mean)
        return sum(
            np.log1p((len(counts) - holding[word] + 0.5) / (holding[word] + 0.5))
            * held[word] * 2.2 / (held[word] + length)
            for word in words if word in held
        )  # fmt: skip

    return np.array([[score(query.lower().split(), held) for held in counts] for query in queries])


def cosine(queries: list[str], texts: list[str]) -> Figures:
    """Of the counts of runs of five characters: [queries, texts]."""
    counts = [Counter(text[at : at + 5] for at in range(len(text) - 4)) for text in queries + texts]
    place = {run: number for number, run in enumerate(sorted(set().union(*counts)))}
    table = np.zeros((len(counts), len(place)))
    for row, one in zip(table, counts, strict=True):
        row[[place[run] for run in one]] = list(one.values())
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    product: Figures = table[: len(queries)] @ table[len(queries) :].T
    return product


def query_losses(network: Transformer, texts: Texts) -> Figures:
    with torch.inference_mode():
        found: Figures = losses(network, texts.queries).double().numpy()
    return found


def scores_of(texts: Texts, passes: int, seed: int) -> dict[str, Figures]:
    """The queries' losses before and after the training on everything, and the scores by gradients."""
    network, checkpoints = trained(texts, passes, seed)
    before, after = query_losses(Transformer(SHAPE), texts), query_losses(network, texts)
    return {"before": before, "after": after, **by_gradients(texts, network, checkpoints)}


def left_out(kind: str, texts: Texts) -> list[list[int]]:
    """The pieces that each training of a kind does without."""
    of_speech = torch.arange(len(texts.pieces)).view(-1, texts.of_speech)
    if kind == "halves":
        draw = np.random.default_rng(0)
        halves = [draw.permutation(len(of_speech))[: len(of_speech) // 2] for _ in of_speech]
        return [of_speech[half].flatten().tolist() for half in halves]
    return of_speech.tolist() if kind == "speeches" else of_speech[:, :1].tolist()


def effects_of(texts: Texts, passes: int, seed: int, kind: str, whole: Figures) -> dict[str, Figures]:
    """How much each query's loss rises above `whole` in each training of a kind: [queries, trainings]."""
    found = [query_losses(trained(texts, passes, seed, rows)[0], texts) - whole for rows in left_out(kind, texts)]
    return {"effect": np.stack(found, 1)}


def remembered(path: Path, make: Callable[[], dict[str, Figures]]) -> dict[str, Figures]:
    """What `make` gives, from the file where it is there."""
    if not path.exists():
        started = time.process_time()
        found = make()
        with path.with_suffix(".part").open("wb") as file:
            np.savez(file, **found)  # type: ignore[arg-type]
        path.with_suffix(".part").rename(path)
        print(f"{path.stem}: {time.process_time() - started:.0f} CPU-s", flush=True)
    with np.load(path) as kept:
        return dict(kept)


def correlations(first: Figures, second: Figures) -> Figures:
    """Spearman's of each pair of rows: [rows]."""
    ranks = [stats.rankdata(one, axis=1) for one in (first, second)]
    a, b = (one - one.mean(1, keepdims=True) for one in ranks)
    product: Figures = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1) + 1e-12)
    return product


def interval(effect: Figures, scores: Figures, against: Figures) -> list[float]:
    """The mean correlation of `scores` with `effect`, 95 % of it, and 95 % of what it has more than `against`."""
    draw = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLED):
        rows, columns = (draw.integers(size, size=size) for size in effect.shape)
        chosen = [table[np.ix_(rows, columns)] for table in (effect, scores, against)]
        one = correlations(chosen[0], chosen[1]).mean()
        found.append((one, one - correlations(chosen[0], chosen[2]).mean()))
    bounds = np.quantile(found, (0.025, 0.975), axis=0)
    return [float(correlations(effect, scores).mean()), *bounds[:, 0], *bounds[:, 1]]


def reliability(effects: Figures) -> tuple[float, float]:
    """Of effects [seeds, queries, speeches]: the correlation of two halves of the seeds, and that of all seeds.

    The mean over ten ways to halve them; the second by Spearman and Brown's formula, 2 r / (1 + r).
    """
    draw = np.random.default_rng(0)
    halves = []
    for _ in range(10):
        seeds = draw.permutation(len(effects))
        first, second = seeds[: len(seeds) // 2], seeds[len(seeds) // 2 :]
        halves.append(correlations(effects[first].mean(0), effects[second].mean(0)).mean())
    half = float(np.mean(halves))
    return half, 2 * half / (1 + half)


def report(texts: Texts, kind: str, effects: Figures, by_seed: list[dict[str, Figures]]) -> None:
    """The table of the methods for one of KINDS; effects [seeds, queries, trainings]."""
    written = (texts.words["queries"], texts.words["pieces"])
    scores = {name: np.stack([one[name] for one in by_seed]) for name in METHODS}
    average = scores["unit, checkpoints"].mean(1, keepdims=True)
    scores["unit, checkpoints, mean of all queries"] = np.broadcast_to(average, scores["unit, checkpoints"].shape)
    scores |= {"BM25": bm25(*written)[None], "runs of five characters": cosine(*written)[None]}
    sets = left_out(kind, texts)
    effect = effects.mean(0)
    half, whole = reliability(effects)
    print(
        f"\n{kind}, {len(effects)} seeds: effect {effect.mean():.4f} nats a token, spread {effect.std():.4f}"
        + (f", on the query of the same speech {effect.diagonal().mean():.4f}" if kind != "halves" else "")
        + f"; reliability {half:.2f} of half the seeds, {whole:.2f} of all, so at most {max(whole, 0) ** 0.5:.2f}\n\n"
        "| | of one network | by all | 95 % | more than BM25, 95 % |\n| --- | ---: | ---: | ---: | ---: |"
    )
    of_sets = {
        name: np.stack([given[:, :, rows].sum(2) for rows in sets], 2)  # [seeds, queries, trainings]
        for name, given in scores.items()
    }
    for name, given in of_sets.items():
        single = np.mean([correlations(effect, one).mean() for one in given])
        mean, low, high, less, more = interval(effect, given.mean(0), of_sets["BM25"][0])
        print(
            f"| {name} | {single:.2f} | {mean:.2f} | {low:.2f} to {high:.2f} | {less:+.2f} to {more:+.2f} |", flush=True
        )


def main() -> None:
    options = arguments().parse_args()
    torch.set_num_threads(1)
    texts = made_texts(options.speeches, options.pieces)
    passes, seeds = options.passes, range(options.seeds)
    with tempfile.TemporaryDirectory() as place:
        folder = options.folder or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{options.speeches}-{options.pieces}-{passes}"
        scores = [
            remembered(folder / f"{stem}-scores-{seed}.npz", partial(scores_of, texts, passes, seed)) for seed in seeds
        ]
        before, after = (np.mean([one[name] for one in scores]) for name in ("before", "after"))
        weights = sum(one.numel() for one in Transformer(SHAPE).parameters())
        tokens = len(texts.pieces) * LENGTH
        print(f"{weights:,} parameters, {tokens:,} tokens; loss of the queries {before:.2f} -> {after:.2f}", flush=True)
        for kind in options.kinds:
            makers = {s: partial(effects_of, texts, passes, s, kind, scores[s]["after"]) for s in seeds}
            found = [remembered(folder / f"{stem}-{kind}-{seed}.npz", make) for seed, make in makers.items()]
            report(texts, kind, np.stack([one["effect"] for one in found]), scores)


if __name__ == "__main__":
    main()

"""Laws of scaling, fitted to the cells of an experiment: bits per byte over a network's size and its tokens.

    Hoffmann et al. 2022, section 3.3:   L(N, D) = E + A / N^alpha + B / D^beta
    Kaplan et al. 2020, equation 1.5:    L(N, D) = ((Nc / N)^(aN / aD) + Dc / D)^aD

N is a sixth of the FLOPs that a token takes, forward and backward, so that 6 N D is exactly what a training costs, also
where embeddings and attention are a large part of it. Both are fitted as Hoffmann et al. did: the Huber loss of the
difference of logarithms, from a grid of starts, the best one taken. Intervals are those of a bootstrap over cells.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.experiments.experiment_settings import asset_of
from pipeline.store.reading import Reader

DELTA = 1e-3  # of the Huber loss, as in Hoffmann et al. 2022
DRAWS = 200
MOST_STARTS = 8  # those that are nearest before the fit
FEWEST_SIZES, FEWEST_LENGTHS = 3, 3
FAR = 3.0  # how many times larger than all others a size has to be that is predicted instead of fitted
EXPERIMENT = "scaling"  # whose fit the plan uses

# (parameters, N, D) -> log of bits per byte [cells], and its derivatives by the parameters [cells, parameters]
Law = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def hoffmann(at: np.ndarray, size: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """at: log E, log A, log B, alpha, beta."""
    e, a, b, alpha, beta = at
    parts = np.stack([np.full_like(size, e), a - alpha * np.log(size), b - beta * np.log(tokens)])
    whole = np.logaddexp.reduce(parts, axis=0)
    share = np.exp(parts - whole)
    slopes = [share[0], share[1], share[2], -share[1] * np.log(size), -share[2] * np.log(tokens)]
    return whole, np.stack(slopes, axis=1)


def kaplan(at: np.ndarray, size: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """at: log Nc, log Dc, aN, aD."""
    n, d, of_size, of_tokens = at
    beyond = n - np.log(size)
    parts = np.stack([of_size / of_tokens * beyond, d - np.log(tokens)])
    whole = np.logaddexp.reduce(parts, axis=0)
    share = np.exp(parts - whole)
    slopes = [share[0] * of_size, share[1] * of_tokens, share[0] * beyond, whole - share[0] * parts[0]]
    return of_tokens * whole, np.stack(slopes, axis=1)


LAWS: Mapping[str, tuple[Law, tuple[str, ...], tuple[tuple[float, ...], ...], tuple[float, ...]]] = {
    # name -> the law, names of its parameters, starts of each, and the least value of each
    "hoffmann": (
        hoffmann,
        ("log_e", "log_a", "log_b", "alpha", "beta"),
        ((-1.0, 0.0), (0.0, 3.0, 6.0), (0.0, 3.0, 6.0), (0.2, 0.5), (0.2, 0.5)),
        (-10.0, -20.0, -20.0, 0.01, 0.01),
    ),
    "kaplan": (
        kaplan,
        ("log_nc", "log_dc", "alpha_n", "alpha_d"),
        ((5.0, 15.0, 25.0), (5.0, 15.0, 25.0), (0.1, 0.3), (0.1, 0.3)),
        (-50.0, -50.0, 0.01, 0.01),
    ),
}


def points(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """[cells, 3]: N, D and bits per byte, of rows of `cells.parquet`."""
    return np.array([[row["flops"] / (6 * row["tokens"]), row["tokens"], row["bits_per_byte"]] for row in rows])


def fit(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Both laws, their intervals, and how well they predict the largest size if it lies far from all others.

    Returns {"too_few": sentence} where there are fewer than three sizes or three numbers of tokens.
    """
    data = points(rows)
    largest = data[:, 0].max()
    others = data[data[:, 0] < largest * 0.99]
    far = len(others) > 0 and largest >= FAR * others[:, 0].max()
    used = others if far else data
    sizes, lengths = (len({f"{value:.2g}" for value in used[:, column]}) for column in (0, 1))
    if sizes < FEWEST_SIZES or lengths < FEWEST_LENGTHS:
        return {
            "too_few": f"a law needs {FEWEST_SIZES} sizes and {FEWEST_LENGTHS} numbers of tokens, and these cells have"
            f" {sizes} and {lengths}"
        }
    found: dict[str, Any] = {"points": len(used), "largest_flops": float((6 * used[:, 0] * used[:, 1]).max())}
    for name, (law, names, starts, least) in LAWS.items():
        best = fitted(law, used, np.array(list(itertools.product(*starts))), np.array(least))
        random = np.random.default_rng(0)
        drawn = [
            fitted(law, used[random.integers(len(used), size=len(used))], best[None], np.array(least))
            for _ in range(DRAWS)
        ]
        low, high = np.quantile(np.stack(drawn), (0.025, 0.975), axis=0)
        residual = np.exp(law(best, used[:, 0], used[:, 1])[0]) / used[:, 2] - 1
        found[name] = {
            "at": {key: round(float(value), 5) for key, value in zip(names, best, strict=True)},
            "low": {key: round(float(value), 5) for key, value in zip(names, low, strict=True)},
            "high": {key: round(float(value), 5) for key, value in zip(names, high, strict=True)},
            "error": round(float(np.abs(residual).mean()), 5),  # mean, as a share
        }
        if far:
            held = data[data[:, 0] >= largest * 0.99]
            predicted = np.exp(law(best, held[:, 0], held[:, 1])[0])
            found[name]["far_error"] = round(float((predicted / held[:, 2] - 1).mean()), 5)
    if far:
        found["far"] = round(float(largest / others[:, 0].max()), 2)
    return found


def fitted(law: Law, data: np.ndarray, starts: np.ndarray, least: np.ndarray) -> np.ndarray:
    """The parameters of a law with the smallest loss, over starts [number, parameters]; data as `points` gives them."""
    from scipy.optimize import least_squares

    size, tokens, measured = data.T
    logs = np.log(measured)
    nearest = sorted(starts, key=lambda start: float(np.abs(law(start, size, tokens)[0] - logs).sum()))[:MOST_STARTS]
    found = [
        least_squares(
            lambda at: law(at, size, tokens)[0] - logs, start, lambda at: law(at, size, tokens)[1],
            bounds=(least, np.inf), loss="huber", f_scale=DELTA, x_scale="jac", max_nfev=200,
        )
        for start in nearest
    ]  # fmt: skip
    best: np.ndarray = min(found, key=lambda one: float(one.cost)).x
    return best


def best_size(at: Mapping[str, float], flops: float) -> tuple[float, float]:
    """(N, D) with the fewest bits per byte of all with 6 N D = `flops` (Hoffmann et al. 2022, equation 4)."""
    alpha, beta = at["alpha"], at["beta"]
    scale = (alpha / beta * math.exp(at["log_a"] - at["log_b"])) ** (1 / (alpha + beta))
    size = scale * (flops / 6) ** (beta / (alpha + beta))
    return size, flops / 6 / size


def predicted(at: Mapping[str, float], size: float, tokens: float) -> float:
    """Bits per byte by Hoffmann's law."""
    values = np.array([at[name] for name in LAWS["hoffmann"][1]])
    return float(np.exp(hoffmann(values, np.array([size]), np.array([tokens]))[0][0]))


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A fit in words."""
    if "too_few" in found:
        yield found["too_few"]
        return
    for name in LAWS:
        values = ", ".join(
            f"{key} {value:.3g} ({found[name]['low'][key]:.3g} to {found[name]['high'][key]:.3g})"
            for key, value in found[name]["at"].items()
        )
        far = found[name].get("far_error")
        beyond = "" if far is None else f"; {far:+.1%} off at a size {found['far']:.1f} times larger than any fitted"
        yield f"{name}: {values}; {found[name]['error']:.1%} off on average{beyond}"
    size, tokens = best_size(found["hoffmann"]["at"], found["largest_flops"])
    yield (
        f"best for {found['largest_flops']:.2g} FLOPs: {size / 1e6:.3g} M parameters that each token is multiplied by,"
        f" {tokens / 1e6:.3g} M tokens"
    )


def for_plan(store: Reader, flops: float, tokens: int) -> Iterator[str]:
    """What the fit of the experiment `scaling` says of a planned training, if the store has one."""
    made = store.current(asset_of(EXPERIMENT))
    found = made.facts.get("fit") if made is not None else None
    if not found or "too_few" in found:
        return
    at = found["hoffmann"]["at"]
    size, length = best_size(at, flops)
    times = flops / found["largest_flops"]
    further = f", {times:.0f} times beyond what was fitted" if times > 2 else ""
    off = found["hoffmann"].get("far_error")
    tried = "" if off is None else f"; it was {off:+.1%} off at a size {found['far']:.1f} times larger than any fitted"
    yield (
        f"by the experiment `{EXPERIMENT}` on this text{further}: {predicted(at, flops / 6 / tokens, tokens):.3f} bits"
        f" per byte; the best size for these FLOPs has {size / 1e6:.3g} M parameters that each token is multiplied by"
        f" and {length / 1e6:.3g} M tokens: {predicted(at, size, length):.3f}{tried}"
    )

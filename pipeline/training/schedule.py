"""The learning-rate schedule (warm-up, then decay) and the averages of weights.

Pure functions of the step, so a resumed run restores no state for them.
"""

from __future__ import annotations

import math

from pipeline.training.training_settings import LoopSettings


def factor(step: int, steps: int, settings: LoopSettings) -> float:
    """Learning rate of `step` (0 .. steps-1) as a share of the highest rate.

    It is above 0 in every step: warm-up starts at 1/n, not 0/n, and 0 as the final rate would be reached one step after
    the last.
    """
    warmup = round(steps * settings.warmup)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    end = settings.final_learning_rate
    if settings.schedule == "wsd":
        decay = max(1, round(steps * settings.decay))
        start = max(warmup, steps - decay)
    else:
        start = warmup
    if step < start:
        return 1.0
    share = (step - start) / max(1, steps - start)  # 0 .. just under 1
    if settings.schedule == "cosine":
        return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * share))
    return end + (1 - end) * (1 - share)


def scaling_law(flops: float) -> tuple[float, float]:
    """(learning rate, batch size in tokens) for a compute budget of `flops`.

    DeepSeek LLM (Bi et al. 2024, arXiv:2401.02954, section 3.1, equation 1), fitted from 1e17 to 2e19 FLOPs and also
    used below that range. The rate is capped at 1e-2, above which even models of a few million parameters do not learn
    faster.
    """
    learning_rate = 0.3118 * flops**-0.1250
    batch_tokens = 0.2920 * flops**0.3271
    return min(learning_rate, 1e-2), batch_tokens


def average_decay(updates: int, limit: float) -> float:
    """The decay of the running average of the weights at the `updates`-th update, from 1: it rises to `limit`.

    min(limit, (1 + n) / (10 + n)) after n updates, as in TensorFlow's ExponentialMovingAverage with `num_updates`. The
    average then covers about the last tenth of the updates, until `limit` covers fewer, and forgets the random start. A
    bias correction (Kingma & Ba 2015, section 7.2) would weigh all updates alike in a run shorter than 1 / (1 - limit).
    """
    return min(limit, updates / (9 + updates))


def average_share(done: int, updates: int, steps: int, settings: LoopSettings) -> float:
    """How far the running average of the weights moves to those after `done` of `steps` steps; 0: not at all.

    updates: of the weights so far, which skipped steps are not. With `average_last`, the average is that of the weights
    at `averaged_steps`, all alike, and follows the weights until the first of these.
    """
    if settings.ema:
        return 1 - average_decay(updates, settings.ema)
    taken = averaged_steps(steps, settings.average_last, settings.average_over)
    if done < taken[0]:
        return 1.0
    return 1 / (taken.index(done) + 1) if done in taken else 0.0


def averaged_steps(steps: int, number: int, share: float) -> list[int]:
    """After which of `steps` steps weights are averaged: `number`, evenly over the last `share`, to the last one."""
    first = steps - max(1, round(share * steps))
    return sorted({first + math.ceil((steps - first) * place / number) for place in range(1, number + 1)})

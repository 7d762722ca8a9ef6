"""A plan in words: this machine first, then how often the training goes over the text, then what to know before it.

A plan says too much at once for somebody who starts a first training. What decides whether it is worth starting stands
in the first lines: how long it takes here, how many passes it makes over the text, and a warning where either is more
than anybody wants without knowing it.
"""

from __future__ import annotations

from typing import Any

from pipeline.errors import UserError
from pipeline.printing import binary_size, duration
from pipeline.training import measured
from pipeline.training.planning import budget as budgets
from pipeline.training.planning.step_time import QUIET

PASSES = 4  # up to so many teach almost as much as new text (Muennighoff et al. 2023, section 5)
LONG = 24.0  # hours from which a plan warns; also the default of `execution.max_hours`


def lines(found: dict[str, Any], estimated: bool = False) -> list[str]:
    """The plan (figures of `plan.plan`) in words; the time on this machine or on the chosen card comes first.

    estimated: the number of tokens of text is a guess from the size of the files.
    """
    parts = found["memory_mib"]
    named = ", ".join(f"{name} {parts[name]:,}" for name in parts if name != "total" and parts[name])
    text = [
        *lines_of_machine(found),
        line_of_text(found, estimated),
        *warnings(found),
        (
            f"{found['parameters'] / 1e6:.1f} M parameters ({found['parameters_of_embeddings'] / 1e6:.1f} M in"
            f" embeddings), {found['tokens'] / 1e6:,.1f} M tokens, {found['flops']:.3g} FLOPs"
        ),
        (
            f"{found['steps']:,} steps of {found['batch_tokens']:,} tokens ({found['sequences']} sequences x"
            f" {found['accumulation']} micro-batches x {found['devices']} device(s)), learning rate up to"
            f" {found['learning_rate']:.2g}, {found['precision']}"
        ),
        f"memory {parts['total']:,} MiB: {named}",
        *lines_of_ladder(found),
        (
            f"{found['tokens_a_parameter']:.1f} tokens per parameter (compute-optimal: {budgets.TOKENS_A_PARAMETER},"
            f" {found['compute_optimal_tokens'] / 1e6:,.0f} M tokens)"
        ),
    ]
    if found["expected_loss"] is not None:
        text.append(f"expected loss about {found['expected_loss']:.2f} nats per token (web text, Hoffmann et al. 2022)")
    times = {name: in_words(hours) for name, hours in found["hours"].items()}
    by_card = ", ".join(f"{name} {time}" for name, time in times.items())
    text.append(
        "for comparison, expected on one card:"
        f" {by_card if len(set(times.values())) > 1 else next(iter(times.values())) + ' on any of those known'}"
    )
    return text


def lines_of_machine(found: dict[str, Any]) -> list[str]:
    """What the plan says of this machine, or of the chosen card."""
    text = []
    if "unknown_card" in found:
        text.append(
            f"{found['unknown_card']} is not in the table of cards: give --tflops (its peak in bf16, dense) and"
            " --memory (GB) for its hours"
        )
    elif "hours_here" in found:
        seconds = found.get("seconds_a_step")
        how = f", measured at {f'{seconds:.2g} s' if seconds < 60 else duration(seconds)} a step" if seconds else ""
        if found.get("free", 1.0) < QUIET:
            how += f" while other programs took {1 - found['free']:.0%} of the processors: plan again when it is idle"
        text.append(f"{found['machine']}: {in_words(found['hours_here'])}{how}")
    if "bf16_gain" in found:
        text.append(measured.sentence(found["bf16_gain"]))
    return text


def lines_of_ladder(found: dict[str, Any]) -> list[str]:
    """What stays on the disk so that forgetting exactly is cheap; nothing without `pretraining.ladder`."""
    kept = found.get("ladder")
    if not kept:
        return []
    size = binary_size(kept["mib"] * 2**20)
    return [f"{kept['checkpoints']} checkpoints stay for forgetting exactly (`pretraining.ladder`): at most {size}"]


def line_of_text(found: dict[str, Any], estimated: bool = False) -> str:
    """How often the training goes over the text."""
    if found["epochs"] is None:
        return "passes over the text: not known before its tokens are counted (`dagster job execute -j tokenize_job`)"
    passes, tokens = found["epochs"], found["tokens_available"] / 1e6
    about, how = ("about ", ", estimated from the size of the files") if estimated else ("", "")
    return (
        f"passes over the text: {about}{passes:,.0f}" if passes >= 10 else f"passes over the text: {about}{passes:.2g}"
    ) + f" ({about}{tokens:,.3g} M tokens of text{how})"


def warnings(found: dict[str, Any]) -> list[str]:
    """What a person should know before this training starts; none if nothing is unusual."""
    text = []
    passes, available = found["epochs"], found["tokens_available"]
    if passes is not None and round(passes) > PASSES:  # whole steps may make it a little more than asked for
        text.append(
            f"WARNING: {passes:,.0f} passes over the text; after {PASSES}, repeated text teaches little: add text, or "
            f"set `pretraining.tokens` to {rounded(PASSES * available):,}"
        )
    hours = found.get("hours_here", 0.0)
    if hours > LONG:
        text.append(f"WARNING: that is longer than a day: {shorter(found, LONG)}")
    return text


def refuse_too_long(found: dict[str, Any], most: float) -> None:
    """Raises UserError for a plan of more than `most` hours here (0: any number)."""
    hours = found.get("hours_here", 0.0)
    if most and hours > most:
        raise UserError(
            f"Pretraining would take {in_words(hours)} on this machine, and `execution.max_hours` allows"
            f" {in_words(most)}: {shorter(found, most)}, or raise `execution.max_hours` (0: any), or start it with"
            " `slm make --yes pretrained_model`."
        )


def shorter(found: dict[str, Any], hours: float) -> str:
    """How to make the training fit into so many hours."""
    tokens = rounded(found["tokens"] * hours / found["hours_here"])
    return f"`pretraining.tokens: {tokens:_}` would take {in_words(hours)}, a smaller `model` less"


def rounded(number: float) -> int:
    """The number to two digits, rounded down."""
    digits = max(0, len(str(int(number))) - 2)
    return int(number) // 10**digits * 10**digits


def in_words(hours: float) -> str:
    """Hours as a person says them, such as `2 h 5 min`."""
    return duration(3600 * hours) if hours >= 1 / 60 else "under a minute"

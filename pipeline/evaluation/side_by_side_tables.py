"""Models side by side, as tables of text: for the terminal, for Markdown, and as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.evaluation.noise import OF_QUESTIONS, SCALES
from pipeline.store.tables import write_table, write_whole


def rows(results: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row for each model, task and number of examples, as text."""
    shown = []
    for model, tasks in results["models"].items():
        for task, by_shots in tasks.items():
            for shots, found in by_shots.items():
                compared = results["differences"].get(model, {}).get(task, {}).get(shots)
                bits = found["bits_per_byte"]
                shown.append(
                    {
                        "task": task, "examples": shots.removesuffix("_shot"), "model": model,
                        "questions": f"{found['items']:,}",
                        "right": share_in_words(found), "bits per byte": interval(bits, 3),
                        "not in the training text": clean_in_words(found),
                        "against the first": verdict(compared) if compared else "",
                    }
                )  # fmt: skip
    order = {task: place for place, task in enumerate(dict.fromkeys(row["task"] for row in shown))}
    return sorted(shown, key=lambda row: (order[row["task"]], int(row["examples"])))


def share_in_words(found: Mapping[str, Any]) -> str:
    """The share of right answers with its interval; at chance it says so instead of a figure."""
    if found["at_chance"]:
        return f"at chance ({found['chance']:.0%})"
    return interval(found["plain"], 3)


def interval(figure: Mapping[str, float], digits: int) -> str:
    return f"{figure['value']:.{digits}f} ({figure['low']:.{digits}f} to {figure['high']:.{digits}f})"


def clean_in_words(found: Mapping[str, Any]) -> str:
    """The share of right answers among the questions that no training text holds, with their number."""
    clean = found.get("without_covered")
    if clean is None:
        return "not known"
    return f"{clean['plain']['value']:.3f} of {clean['items']:,}" if clean["items"] else "none of them"


def verdict(compared: Mapping[str, Mapping[str, Any]]) -> str:
    """`better`, `worse` or `undecided` and what that rests on, by right answers and by bits per byte."""
    right, bits = compared["right"], compared["bits_per_byte"]
    by_share = one_verdict(right, right["value"] > 0)
    by_bits = one_verdict(bits, bits["value"] < 0)
    return by_share if by_share == by_bits else f"{by_share}; by bits per byte {by_bits}"


def one_verdict(compared: Mapping[str, Any], better: bool) -> str:
    """`undecided` names the noise that the difference is within, but for that of the questions alone."""
    if compared["decided"]:
        return "better" if better else "worse"
    within = compared["within"]
    return "undecided" if within == [OF_QUESTIONS] else f"undecided ({', '.join(within)})"


def noise_rows(results: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row for each task and number of examples of which anything is known of its noise, as text."""
    shown = []
    for task, by_shots in results["noise"].items():
        for shots, by_scale in by_shots.items():
            for scale, found in by_scale.items():
                if "noise" in found:
                    shown.append(
                        {
                            "task": task, "examples": shots.removesuffix("_shot"), "figure": SCALES[scale],
                            **{
                                name: f"{found[name]:.4f}" if name in found else ""
                                for name in ("signal", "checkpoints", "seeds")
                            },
                            "signal / noise": f"{found['ratio']:.1f}" if "ratio" in found else "",
                        }
                    )  # fmt: skip
    return shown


def markdown(results: Mapping[str, Any]) -> str:
    """The content of results.md."""
    lines = [
        "# Models side by side", "",
        "Shares of right answers and bits per byte of the right answer, with 95 % intervals. `undecided`: the interval"
        " of the difference, question by question, contains 0, or the difference lies within the noise that is named.",
        "", *markdown_table(rows(results)),
    ]  # fmt: skip
    noise = noise_rows(results)
    if noise:
        lines += [
            "", "## Signal and noise", "",
            "Signal: the largest difference between two models over their mean. Noise: standard deviations from"
            " checkpoint to checkpoint and from seed to seed, in the figure's unit. A figure whose signal is not a"
            " multiple of its noise does not tell these models apart.", "", *markdown_table(noise),
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def markdown_table(shown: Sequence[Mapping[str, str]]) -> list[str]:
    """The lines of a table; the keys are its head."""
    head = list(shown[0])
    return [
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *(f"| {' | '.join(row.values())} |" for row in shown),
    ]


def write(results: Mapping[str, Any], items: pl.DataFrame, directory: Path) -> None:
    """Write the three files."""
    directory.mkdir(parents=True, exist_ok=True)
    write_table(items, directory / "items.parquet")
    write_whole(directory / "results.md", markdown(results))
    content = json.dumps(results, indent=1, ensure_ascii=False, sort_keys=True)
    write_whole(directory / "results.json", content + "\n")

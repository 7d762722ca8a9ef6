"""Texts of a model without a conversation: for one prompt or a file of them, and how fast they come."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.models import _directory, _opened, backend_option, sampling_options, weights_option
from pipeline.commands.outputs import FILE
from pipeline.errors import UserError

if TYPE_CHECKING:
    from model.serve.text import TextModel
    from model.texts import Made, Prompt


@click.command()
@click.argument("prompts", nargs=-1)
@click.option("--model", help="An asset, a version or a folder.  [default: the newest model]")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="File of prompts: one a line, or JSON lines (.jsonl) with `prompt`, a text, or `messages`, a conversation.",
)
@click.option("--out", type=FILE, metavar="FILE", help="File of JSON lines.  [default: to the terminal]")
@click.option("--text", is_flag=True, help="Continue prompts as text, also with a model that was taught to answer.")
@click.option("--max-tokens", type=click.IntRange(1), default=256, show_default=True, help="Most tokens of a text.")
@click.option("--together", type=click.IntRange(1), default=16, show_default=True, help="Texts in the making at once.")
@click.option("--beams", type=click.IntRange(1), help="Search for the likeliest text, following so many at once.")
@backend_option
@weights_option
@sampling_options
def generate(prompts: tuple[str, ...], model: str | None, file: Path | None, out: Path | None, **given: Any) -> None:
    """Write what a model says to PROMPTS, or to those of a file.

    A prompt is answered by a model that was taught to answer, and continued by others. JSON lines have `prompt` or
    `messages`, `text`, `finish` (stop, or length where --max-tokens cut it off), `prompt_tokens` and `tokens`.
    """
    from pipeline.tokens.encoding import without_surrogates

    asked: list[dict[str, Any]] = [{"prompt": prompt} for prompt in prompts] + (_read(file) if file else [])
    if not asked:
        raise UserError("There is no prompt: give one, such as `slm generate 'Once upon a time'`, or a --file of them.")
    try:
        opened = _opened(_directory(model), given["weights"], given["backend"], given["together"])
        answers = opened.answers and not given["text"]
        made = _made(opened, [_as_prompt(one, answers) for one in asked], given)
    except ValueError as error:
        raise UserError(str(error)) from error
    rows = [
        one | {"text": text.text, "finish": text.finish, "prompt_tokens": text.prompt_tokens, "tokens": text.tokens}
        for one, text in zip(asked, made, strict=True)
    ]
    lines = [without_surrogates(json.dumps(row, ensure_ascii=False)) for row in rows]
    if out is not None:
        try:
            out.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        except OSError as error:
            raise UserError(f"{out} cannot be written: {error.strerror or error}.") from error
        click.echo(f"{out}: {len(lines)} texts, {sum(text.tokens for text in made):,} tokens.")
    elif file is None and len(lines) == 1:
        click.echo(made[0].text)
    else:
        for line in lines:
            click.echo(line)


def _made(model: TextModel, prompts: Sequence[Prompt], given: Mapping[str, Any]) -> list[Made]:
    from model.sampling import Sampling
    from model.serve.text import ReplyOptions
    from model.texts import best_text, make_texts

    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    seed = secrets.randbits(31) if given["seed"] is None else given["seed"]
    if given["beams"]:
        return [best_text(model, prompt, given["max_tokens"], given["beams"]) for prompt in prompts]
    options = ReplyOptions(Sampling(**{name: given[name] for name in names}, seed=seed), given["max_tokens"])
    return make_texts(model, prompts, options, given["together"])


def _as_prompt(asked: Mapping[str, Any], answers: bool) -> Prompt:
    if "messages" in asked:
        return list(asked["messages"])
    return [{"role": "user", "content": asked["prompt"]}] if answers else str(asked["prompt"])


def _read(file: Path) -> list[dict[str, Any]]:
    """The prompts of a file. Raises UserError, with the line, for one that is none."""
    try:
        # Not `splitlines`: U+2028 and its like may stand inside a JSON string, and are no end of a line of it.
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as UTF-8 text: {error}.") from error
    if file.suffix != ".jsonl":
        return [{"prompt": line} for line in lines if line.strip()]
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not (isinstance(row.get("prompt"), str) or _turns(row.get("messages"))):
            raise UserError(
                f'Line {number} of {file} is no prompt: write {{"prompt": "…"}} or'
                ' {"messages": [{"role": "user", "content": "…"}]} in each.'
            )
        found.append({name: row[name] for name in ("prompt", "messages") if name in row})
    return found


def _turns(found: object) -> bool:
    return isinstance(found, list) and all(
        isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)
        for turn in found
    )


@click.command()
@click.argument("model", required=False)
@click.option("--prompt", type=click.IntRange(1), default=128, show_default=True, help="Tokens of the prompt.")
@click.option("--tokens", type=click.IntRange(2), default=64, show_default=True, help="Tokens of the answer.")
@click.option("--together", type=click.IntRange(1), default=16, show_default=True, help="Texts at once.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Of torch.  [default: one for each core]")
@backend_option
@weights_option
def benchmark(model: str | None, threads: int | None, weights: str, backend: str, **given: int) -> None:
    """Measure how fast MODEL (an asset, a version or a folder; default: the newest) generates on this machine.

    A step of one text reads every weight once, so the memory's bandwidth, measured in the same rounds, is the limit.
    """
    import psutil
    import torch

    from model.llama import attached
    from model.speed import measure

    if threads:
        torch.set_num_threads(threads)
    try:
        opened = _opened(_directory(model), weights, backend, given["together"])
        speed = measure(opened.network, **given)
    except ValueError as error:
        raise UserError(str(error)) from error
    network = opened.network
    dtype = "int8" if weights == "int8" else str(network.output_weight.dtype).removeprefix("torch.")
    by = "llama.cpp" if attached(network) else "torch"
    used = psutil.Process().memory_info().rss / 1e6
    click.echo(
        f"{network.parameters_count() / 1e6:.1f} M parameters in {dtype} by {by}, {torch.get_num_threads()} threads,"
        f" medians of {given['rounds']} rounds\n"
        f"prompt of {given['prompt']} tokens   {speed.prompt:>10,.0f} tokens/s\n"
        f"answer of {given['tokens']} tokens   {speed.answer:>10,.1f} tokens/s\n"
        f"{given['together']} answers at once   {speed.together:>10,.1f} tokens/s\n"
        f"memory is read at   {speed.bandwidth / 1e9:>10,.1f} GB/s, a step reads {speed.weights / 1e6:,.0f} MB\n"
        f"share of that limit {speed.share:>10.0%}\n"
        f"memory in use       {used:>10,.0f} MB"
    )


COMMANDS = (generate, benchmark)

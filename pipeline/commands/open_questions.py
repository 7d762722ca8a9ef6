"""`slm open-questions`: two models' answers to open questions, for a person or a judge to compare."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pipeline.commands.outputs import FOLDER
from pipeline.errors import UserError

KEY = "SLM_JUDGE_KEY"


@click.command("open-questions")
@click.argument("first")
@click.argument("second")
@click.option(
    "--questions", required=True, type=click.Path(dir_okay=False), help="JSONL, as MT-Bench and KoMT-Bench have it."
)
@click.option("--out", required=True, type=FOLDER, metavar="DIR", help="Folder of page.html and answers.jsonl.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many questions.")
@click.option("--max-tokens", type=click.IntRange(1), default=256, show_default=True, help="Most tokens of an answer.")
@click.option(
    "--judge", metavar="URL", help="Ask a judge there, such as https://host/v1; its key is in $SLM_JUDGE_KEY."
)
@click.option("--judge-model", help="The judge's name at that address.")
def open_questions(first: str, second: str, questions: str, out: Path, **given: str | int | None) -> None:
    """Answer open questions by two models, FIRST and SECOND, and lay the answers side by side on a page."""
    from model.serve.text import open_directory
    from pipeline.commands.models import _directory
    from pipeline.evaluation.open_questions import asking, judge, page

    if first == second:
        raise UserError("A model is named twice: name two.")
    if bool(given["judge"]) != bool(given["judge_model"]):
        raise UserError("A judge has an address and a name: give both `--judge` and `--judge-model`, or neither.")
    limit, most = given["limit"], given["max_tokens"]
    asked = asking.read_questions(Path(questions), int(limit) if limit else None)
    try:
        models = {name: open_directory(_directory(name)) for name in (first, second)}
    except ValueError as error:
        raise UserError(str(error)) from error
    answered = asking.answer_all(models, asked, int(most or 1))
    page.write(answered, out)
    click.echo(f"{out}: page.html, answers.jsonl")
    if given["judge"]:
        at = judge.Judge(str(given["judge"]), str(given["judge_model"]), os.environ.get(KEY, ""))
        rows = judge.judge_all(at, answered)
        found = judge.figures(rows, (first, second), seed=0)
        judge.write(rows, found, answered, out)
        click.echo(judge.in_words(found, (first, second)))


COMMANDS = (open_questions,)

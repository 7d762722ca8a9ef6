"""`slm annotate`: let people judge answers and documents, in Label Studio, in doccano or on a page of one's own."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import outputs, project
from pipeline.errors import UserError
from pipeline.printing import table

if TYPE_CHECKING:
    from model.serve.text import TextModel
    from pipeline.annotation.answering import Asked
    from pipeline.annotation.tasks import Task

FOLDER = click.Path(file_okay=False, path_type=Path)
DONE = "Judge with `slm annotate serve {0}`, or import what is in {0} into Label Studio or doccano."


@click.group()
def annotate() -> None:
    """Let people judge answers and documents; what they say of answers is preference data."""


@annotate.group("export")
def export_group() -> None:
    """Write what is to be judged: for the page, for Label Studio and for doccano."""


def _asking(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--max-tokens", type=click.IntRange(1), default=256, show_default=True, help="Most of an answer."),
        click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Most prompts."),
        click.option(
            "--questions",
            type=click.Path(dir_okay=False, path_type=Path),
            help="JSONL of questions, as MT-Bench has them; default: the held-back conversations of the recipe.",
        ),
        click.option("--out", required=True, type=outputs.FOLDER, metavar="DIR", help="Folder of the tasks."),
    ):
        command = option(command)
    return command


@export_group.command("pairs")
@click.argument("first")
@click.argument("second", required=False)
@_asking
def pairs_command(
    first: str, second: str | None, out: Path, questions: Path | None, limit: int, max_tokens: int
) -> None:
    """Two answers to each prompt: of the models FIRST and SECOND, or two that FIRST gives by chance."""
    from pipeline.annotation import answering

    if first == second:
        raise UserError("A model is named twice: name two, or one alone for two answers of it.")
    asked = _asked(questions, limit)
    by_model = []
    for number, name in enumerate((first, second or first)):
        seed = None if second else number
        by_model.append(_answered(name, asked, max_tokens, seed))
    tasks, same = answering.pairs(asked, by_model)
    _written(out, tasks, f"{same} prompts left out: both answers are the same, or one is empty" if same else "")


@export_group.command("answers")
@click.argument("model")
@_asking
def answers_command(model: str, out: Path, questions: Path | None, limit: int, max_tokens: int) -> None:
    """One answer of MODEL to each prompt, to be called good or bad."""
    from pipeline.annotation import answering

    asked = _asked(questions, limit)
    tasks, empty = answering.singles(asked, *_answered(model, asked, max_tokens, None))
    _written(out, tasks, f"{empty} prompts left out: there is no answer to them" if empty else "")


@export_group.command("documents")
@click.option("--out", required=True, type=outputs.FOLDER, metavar="DIR", help="Folder of the tasks.")
@click.option("--near", default=10, show_default=True, help="Documents of each reason on each side of its limit.")
@click.option("--reason", help="Only this reason, or this label of an edit.")
@click.option("--stage", help="Only this stage (its asset, such as heuristic_decisions).")
@click.option("--seed", default=1, show_default=True, help="Another seed draws another sample.")
@click.option("--sample", type=click.IntRange(min=1), help="Documents to look at, as in `slm curate preview`.")
def documents_command(
    out: Path, near: int, reason: str | None, stage: str | None, seed: int, sample: int | None
) -> None:
    """Documents at the limits of the filters, to be kept or dropped; `slm curate verdicts` says what follows."""
    from pipeline.annotation import tasks
    from pipeline.commands.curate import cases_to_judge
    from pipeline.preview import document_of, look

    with look(project(quiet=True), sample, seed, stage) as looked:
        found = []
        for case in cases_to_judge(looked, reason, near):
            row = document_of(looked, case)
            about = {name: case[name] for name in tasks.CASE}
            found.append(tasks.document(row["text"], row["lang"], about))
    _written(out, found, "")


@annotate.command("import")
@click.argument("folder", type=FOLDER)
@click.argument("exported", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
def import_command(folder: Path, exported: tuple[Path, ...]) -> None:
    """Take in what people said: EXPORTED files of Label Studio (JSON, JSON-MIN) or doccano (JSONL, zip)."""
    from pipeline.annotation import exchange

    counts, left_out = exchange.take_in(folder, exported)
    told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "none"
    click.echo(f"judgements: {told}")
    for reason, count in sorted(left_out.items()):
        click.echo(f"left out: {count} of which each {exchange.LEFT_OUT[reason]}")
    _tell(folder)


@annotate.command("serve")
@click.argument("folder", type=FOLDER)
@click.option("--judge", help="Who judges; kept as a hash.  [default: your name on this machine]")
@click.option("--port", default=8010, show_default=True)
def serve_command(folder: Path, judge: str | None, port: int) -> None:
    """A page on which one person judges the tasks of FOLDER by keys; it resumes where that person stopped."""
    from pipeline.annotation import page
    from pipeline.annotation.tasks import judge_id

    who = judge or getpass.getuser()
    desk = page.Desk(folder, judge_id(folder, f"{page.NAME}:{who}"))
    try:
        page.serve(desk, port, [f"{len(desk.said())} of {len(desk.tasks)} tasks are judged by {who}"])
    except ValueError as error:
        raise UserError(str(error)) from error
    _tell(folder)


@annotate.command("agreement")
@click.argument("folder", type=FOLDER)
def agreement_command(folder: Path) -> None:
    """How far people agree: Krippendorff's alpha of all, Cohen's kappa of every two."""
    from pipeline.annotation.tasks import read_judgements

    if not read_judgements(folder):
        raise UserError(f"Nobody has judged anything in {folder} yet: `slm annotate serve {folder}`.")
    _tell(folder)


def _asked(questions: Path | None, limit: int) -> list[Asked]:
    from pipeline.annotation import answering

    if questions is not None:
        from pipeline.evaluation.open_questions.asking import read_questions

        return [
            answering.Asked([{"role": "user", "content": one.turns[0]}]) for one in read_questions(questions, limit)
        ]
    return answering.held_back(project().store.require("instruction_data"), limit)


def _answered(name: str, asked: Sequence[Asked], most: int, seed: int | None) -> tuple[str, list[str]]:
    """(what the model is called, its answers). Raises UserError for a model that cannot chat."""
    from pipeline.annotation import answering

    called, model = _opened(name)
    if not model.chats:
        raise UserError(f"{name} has no marks of conversations: name a model that was fine-tuned to answer.")
    return called, answering.answers(model, asked, most, seed)


def _opened(name: str) -> tuple[str, TextModel]:
    """(asset/version of a model, or the name of its folder; the model)."""
    import json

    from model.export import load
    from model.serve.text import TextModel
    from pipeline.commands.models import _directory
    from pipeline.store.artifact import MANIFEST

    folder = _directory(name)
    try:
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model = TextModel(load(folder), (folder / "tokenizer.json").read_text(encoding="utf-8"), about)
    except (ValueError, OSError) as error:
        raise UserError(f"{name} cannot be opened: {error}.") from error
    manifest = folder / MANIFEST
    if not manifest.exists():
        return folder.resolve().name, model
    made = json.loads(manifest.read_text(encoding="utf-8"))
    return f"{made['asset']}/{made['version']}", model


def _written(folder: Path, found: list[Task], left_out: str) -> None:
    from pipeline.annotation import exchange, tasks

    kept = tasks.write_tasks(folder, found)
    exchange.write_for_tools(folder, kept)
    click.echo(f"{folder}: {len(kept)} tasks; {', '.join(exchange.FILES)}")
    if left_out:
        click.echo(left_out)
    click.echo(DONE.format(folder))


def _tell(folder: Path) -> None:
    """What was said so far, how far people agree, and what to do with it."""
    from pipeline.annotation import agreement, tasks

    posed, said = tasks.read_tasks(folder), tasks.read_judgements(folder)
    found = tasks.together(posed, said)
    judges = len({one.judge for one in said})
    click.echo(f"{len(found)} of {len(posed)} tasks are judged, by {judges} people; {len(said)} judgements")
    if not said:
        return
    rows = agreement.kappas(said)
    if rows:
        click.echo(agreement.in_words(agreement.alpha(said)))
        click.echo(table(rows))
    if posed[0].kind == "document":
        saved = _save_verdicts(found)
        click.echo(f"{saved} verdicts saved; `slm curate verdicts` says what they mean")
    else:
        undecided = sum(one.verdict is None for one in found)
        click.echo(f"{len(found) - undecided} decided, {undecided} undecided; in the recipe:")
        click.echo(f"preferences:\n  sources:\n    - {{name: people, kind: annotated, path: {folder}}}")


def _save_verdicts(found: Sequence[Any]) -> int:
    """Put what people said of documents among the verdicts of the recipe."""
    from pipeline.inspect.verdicts import Verdict, save

    store = project().store
    decided = [one for one in found if one.verdict is not None]
    for one in decided:
        save(store, Verdict(verdict=one.verdict, **one.task.about))
    return len(decided)


COMMANDS = (annotate,)

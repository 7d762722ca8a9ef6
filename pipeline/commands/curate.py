"""`slm curate`: look at what the rules remove and nearly remove, judge it, and see what the verdicts say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import project
from pipeline.commands.keys import key
from pipeline.errors import UserError
from pipeline.printing import table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from pipeline.preview import Looked

SHOWN, WHOLE = 280, 1500  # characters of a document: in a list, and where it is judged
# The keys of a verdict; also what they type on a Korean keyboard that is in Hangul mode.
KEYS = {"k": "keep", "ㅏ": "keep", "d": "drop", "ㅇ": "drop", "s": "skip", "ㄴ": "skip", "q": "quit", "ㅂ": "quit"}
ASKED = "[k]eep it, [d]rop it, [s]kip, [q]uit? "


@click.group()
def curate() -> None:
    """Look at what curation removes, judge it, and see what your verdicts say of each rule."""


def _choosing(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--near", default=3, show_default=True, help="Documents of each reason on each side of its limit."
        ),
        click.option("--reason", help="Only this reason, or this label of an edit."),
        click.option("--stage", help="Only this stage (its asset, such as heuristic_decisions)."),
        click.option("--seed", default=1, show_default=True, help="Another seed draws another sample."),
        click.option(
            "--sample",
            type=click.IntRange(min=1),
            help="Documents to look at; default: all, if the decisions are up to date with the recipe, else 500.",
        ),
    ):
        command = option(command)
    return command


@curate.command()
@_choosing
@click.option("--json", "as_json", is_flag=True, help="Records without text, with the marked places.")
def preview(sample: int | None, seed: int, stage: str | None, reason: str | None, near: int, as_json: bool) -> None:
    """Show, for each reason, the documents nearest to the limit on both sides, with the figure and the passage.

    Nothing is made: where the decisions are not up to date with the recipe, a sample runs through the stages aside.
    """
    from pipeline.inspect import margins
    from pipeline.preview import look

    opened = project(quiet=True)
    with look(opened, sample, seed, stage) as looked:
        found = margins.nearest(_of_reason(looked, reason), near)
        if as_json:
            click.echo(json.dumps([_record(looked, case) for case in found.to_dicts()], ensure_ascii=False, indent=1))
            return
        counts = {(row["stage"], row["reason"]): row["removed"] for row in margins.counted(looked.cases).to_dicts()}
        where = "by the decisions in force" if looked.from_tables else "run aside, nothing of it is kept"
        click.echo(f"{looked.documents:,} documents, {where}")
        for (name, why), part in found.group_by("stage", "reason", maintain_order=True):
            _show_reason(looked, str(name), str(why), counts.get((name, why), 0), part)


@curate.command()
@_choosing
def judge(sample: int | None, seed: int, stage: str | None, reason: str | None, near: int) -> None:
    """Say of documents, one by one, whether you would keep or drop them; your verdicts are saved as you go.

    Of each reason, some of what it removes are drawn at random (they give its precision), then the nearest to its limit
    on both sides. What you have judged is not asked again, so you can stop and go on at any time.
    """
    from pipeline.inspect import verdicts
    from pipeline.preview import look

    opened = project(quiet=True)
    with look(opened, sample, seed, stage) as looked:
        known = verdicts.verdicts_of(opened.store)
        cases = [
            case
            for case in cases_to_judge(looked, reason, near)
            if (case["doc_id"], case["stage"], case["reason"]) not in known
        ]
        said = 0
        for number, case in enumerate(cases, 1):
            _show_to_judge(looked, case, f"{number} of {len(cases)}")
            answer = _answer()
            if answer == "quit":
                break
            if answer != "skip":
                verdicts.save(opened.store, _verdict(case, answer))
                said += 1
        again = f"{len(known) + said} in all; `slm curate verdicts` says what they mean"
        click.echo(f"{said} verdicts saved, {again}" if cases else f"nothing is left to judge: {again}")


@curate.command("verdicts")
@click.option("--json", "as_json", is_flag=True, help="As records.")
def say(as_json: bool) -> None:
    """What your verdicts say: precision by reason with its interval, and limits that would agree better."""
    from pipeline.curation.stages import stages_of
    from pipeline.inspect import verdicts

    opened = project()
    curation = opened.recipe.curation
    settings = {stage.name: curation.of(stage) for stage in stages_of(curation)}
    known = list(verdicts.verdicts_of(opened.store).values())
    shares, better = verdicts.precision(known, settings), verdicts.better_limits(known, settings)
    if as_json:
        click.echo(json.dumps({"precision": shares, "better_limits": better}, ensure_ascii=False, indent=1))
        return
    if not known:
        raise UserError("There are no verdicts yet: `slm curate judge` asks for them.")
    click.echo(table(shares))
    click.echo("\nprecision: of removals drawn at random, the share that you would drop too")
    blocks = {stage.name: stage.block for stage in stages_of(curation)}
    for one in better:
        click.echo(
            f"{one['reason']}: `curation.{blocks[one['stage']]}.{one['setting']}: {one['value']:g}` instead of "
            f"{one['limit']:g} would agree with {one['agree_then']} instead of {one['agree_now']} of "
            f"{one['verdicts']} verdicts"
        )
    if not better:
        click.echo(
            f"No other limit is proposed: that takes {verdicts.FEWEST} verdicts on one limit, at least "
            f"{verdicts.FEWEST_OF_EACH} of each kind, and a limit that agrees with {verdicts.FEWEST_GAINED} more."
        )


# -- what is shown -----------------------------------------------------------------------------------------------------


def _of_reason(looked: Looked, reason: str | None) -> pl.DataFrame:
    import polars as pl

    if reason is None:
        return looked.cases
    known = looked.cases["reason"].unique(maintain_order=True).to_list()
    if reason not in known:
        raise UserError(f"No document was removed, or nearly removed, as `{reason}`: use one of {', '.join(known)}.")
    return looked.cases.filter(pl.col("reason") == reason)


def cases_to_judge(looked: Looked, reason: str | None, near: int) -> list[dict[str, Any]]:
    """The cases to be judged, by reason: at random first, then the nearest."""
    from pipeline.inspect import margins, verdicts

    found = _of_reason(looked, reason)
    cases = [{**case, "drawn": verdicts.RANDOM} for case in margins.drawn(found, near).to_dicts()]
    cases += [{**case, "drawn": verdicts.NEAR} for case in margins.nearest(found, near).to_dicts()]
    once: dict[tuple[str, str, str], dict[str, Any]] = {}
    for case in cases:
        once.setdefault((case["stage"], case["reason"], case["doc_id"]), case)
    order = {pair: place for place, pair in enumerate(dict.fromkeys((case["stage"], case["reason"]) for case in cases))}
    return sorted(once.values(), key=lambda case: order[case["stage"], case["reason"]])


def _verdict(case: dict[str, Any], answer: str) -> Any:
    from pipeline.inspect.verdicts import Verdict

    names = ("doc_id", "stage", "reason", "drawn", "state", "setting", "removes", "figure", "alone")
    return Verdict(verdict=answer, **{name: case[name] for name in names})


def _answer() -> str:
    """A verdict, `skip` or `quit`; the end of the input is `quit`."""
    while True:
        typed = key(ASKED)
        answer = "quit" if typed == "" else KEYS.get(typed, "")
        click.echo(answer)
        if answer:
            return answer


def _show_reason(looked: Looked, stage: str, reason: str, count: int, part: pl.DataFrame) -> None:
    click.secho(f"\n{stage}: {reason}, {count:,} documents", bold=True)
    meaning = _meaning(looked, stage, reason)
    if meaning:
        click.echo(f"  {meaning}")
    for case in part.to_dicts():
        document, marks = _document(looked, case)
        click.echo(f"  {_head(case, document)}")
        click.echo("    " + _excerpt(document["text"], marks, SHOWN, " "))


def _show_to_judge(looked: Looked, case: dict[str, Any], place: str) -> None:
    document, marks = _document(looked, case)
    click.secho(f"\n{'-' * 72}\n{place}  {case['stage']}: {case['reason']}", bold=True)
    click.echo(f"{_meaning(looked, case['stage'], case['reason'])}\n{_head(case, document)}\n")
    click.echo(_excerpt(document["text"], marks, WHOLE, "\n") + "\n")


def _meaning(looked: Looked, stage: str, reason: str) -> str:
    return next((one.reasons.get(reason, "") for one in looked.stages if one.name == stage), "")


def _head(case: dict[str, Any], document: dict[str, Any]) -> str:
    """One line: the state, the document, the figure and its limit."""
    figure = ""
    if case["figure"] is not None:
        figure = f"  {case['signal']} {case['figure']:.4g}, {case['setting']} {case['limit']:.4g}"
    side = {"removed": "removed, just outside", "kept": "kept, just inside", "cut": "a passage is cut"}[case["state"]]
    if case["figure"] is None and case["state"] == "removed":
        side = "removed"
    source = f"{document['source']}:{document['source_id']}"
    return f"{side}  {case['doc_id'][:12]}  {source}  {document['lang'] or ''}{figure}".rstrip()


def _document(looked: Looked, case: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """The document of a case and the passages to mark in it."""
    from pipeline.inspect.marks import passages
    from pipeline.preview import document_of, passages_cut

    document = document_of(looked, case)
    if case["state"] == "cut":
        return document, passages_cut(looked, case)
    stage = next(one for one in looked.stages if one.name == case["stage"])
    settings = looked.project.recipe.curation.of(stage)
    return document, passages(case["signal"], document["text"], document["lang"], settings)


def _excerpt(text: str, marks: Sequence[tuple[int, int]], width: int, line_break: str) -> str:
    from pipeline.inspect.excerpts import excerpt

    shown = ""
    for piece, marked in excerpt(text, marks, width):
        piece = piece if line_break == "\n" else " ".join(piece.split(" ")).replace("\n", " ⏎ ")
        shown += click.style(f"⟦{piece}⟧", fg="yellow", bold=True) if marked else piece
    return shown


def _record(looked: Looked, case: dict[str, Any]) -> dict[str, Any]:
    document, marks = _document(looked, case)
    names = ("stage", "reason", "state", "doc_id", "signal", "removes", "setting", "figure", "limit", "distance")
    about = {"source": document["source"], "source_id": document["source_id"], "lang": document["lang"]}
    return {name: case[name] for name in names} | about | {"marks": [list(mark) for mark in marks]}


COMMANDS = (curate,)

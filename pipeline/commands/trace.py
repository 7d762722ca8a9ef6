"""`slm trace`: which passages of a text, or of what a model says, stand in what the model was trained on."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import project
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.trace.tracer import Tracer

SHOWN_STEPS = 6  # of a document; then how many there are


@click.command()
@click.argument("model")
@click.option("--text", help="The text to trace.")
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="File of the text to trace.")
@click.option("--chat", "talk", is_flag=True, help="Chat with MODEL, and trace each of its answers.")
@click.option("--least", type=click.IntRange(1), default=6, show_default=True, help="Tokens of the shortest passage.")
@click.option("--documents", type=click.IntRange(0), default=3, show_default=True, help="Documents shown of a passage.")
@click.option("--loose", is_flag=True, help="Case and white space do not matter (needs `trace.loose` in the recipe).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def trace(
    model: str,
    text: str | None,
    file: Path | None,
    talk: bool,
    least: int,
    documents: int,
    loose: bool,
    as_json: bool,
) -> None:
    """Find the passages of a text that stand word for word in what MODEL was trained on.

    MODEL is an asset or a version. Each passage comes with documents that hold it, how often it stands there, and the
    steps of training at which it was learned; what stands nowhere is said, too.
    """
    if sum((text is not None, file is not None, talk)) != 1:
        raise UserError("Say what to trace in one way: --text TEXT, --file FILE, or --chat.")
    from pipeline.inspect.lineage import find_model
    from pipeline.trace.tracer import Tracer

    store = project().store
    found = find_model(store, model)
    tracer = Tracer.open(store, found, loose)

    def show(said: str) -> None:
        told = tracer(said, least, documents)
        click.echo(json.dumps(told, ensure_ascii=False, indent=1) if as_json else "\n".join(lines(told)))

    if talk:
        chat_with(tracer, show)
        return
    try:
        show(text if text is not None else file.read_text(encoding="utf-8") if file else "")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text: {error}.") from error


def chat_with(tracer: Tracer, show: Any) -> None:
    """Chat with the model of a tracer; each of its answers is shown with what it has in common with its training."""
    from model.sampling import Sampling
    from model.serve.chat import chat
    from model.serve.text import DEFAULT, ReplyOptions
    from pipeline.commands.models import _opened

    try:
        opened = _opened(tracer.model.local_directory())
    except ValueError as error:
        raise UserError(str(error)) from error
    sampling = Sampling(temperature=DEFAULT.temperature, top_p=DEFAULT.top_p, seed=secrets.randbits(31))
    chat(opened, ReplyOptions(sampling), after=show)


def lines(told: dict[str, Any]) -> Iterator[str]:
    """What a tracer found, for a terminal."""
    from pipeline.inspect.excerpts import CONTROL

    def plain(text: str) -> str:
        return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text).replace("\n", " ")

    passages, text = told["passages"], told["text"]
    shown, at = "", 0
    for number, one in enumerate(passages, 1):
        shown += plain(text[at : max(at, one["start"])])
        shown += f"[{number}]" + click.style(plain(text[max(at, one["start"]) : one["end"]]), reverse=True)
        at = one["end"]
    yield shown + plain(text[at:])
    for number, one in enumerate(passages, 1):
        times = "once" if one["count"] == 1 else f"{one['count']:,} times"
        yield ""
        yield click.style(f"[{number}] {one['tokens']} tokens, {times}: ", bold=True) + plain(one["text"])
        for document in one["documents"]:
            yield f"    {about(document)}"
            around = [plain(document[name]) for name in ("before", "passage", "after")]
            yield f"        … {around[0]}{click.style(around[1], reverse=True)}{around[2]} …"
            yield f"        {learned(document['steps'])}"
    yield ""
    for one in told["nowhere"]:
        yield f"nowhere: {plain(one['text'])}"
    yield (
        f"{told['share']:.0%} of its letters stand in passages of at least {told['least']} tokens"
        f" in what {told['model']} was trained on"
    )


def about(document: dict[str, Any]) -> str:
    """Where a document comes from, in a line."""
    kind = document["kind"] + (f" ({document['answer']} answer)" if document.get("answer") else "")
    parts = [f"{kind}  {document['source']}:{document['id']}"]
    parts += [document["doc_id"]] if document["doc_id"] else []
    parts.append(f"licence {document['licence'] or 'not stated'}")
    parts += [document["url"]] if document["url"] else []
    return "  ".join(parts)


def learned(steps: dict[str, Any] | None) -> str:
    """When a model learned a passage, in words."""
    if steps is None:
        return "at which steps it was learned is not known"
    if not steps["steps"]:
        return f"learned in none of the {steps['last']:,} steps of {steps['of']}"
    known = steps["steps"]
    first = ", ".join(f"{step:,}" for step in known[:SHOWN_STEPS])
    more = f" and {len(known) - SHOWN_STEPS:,} more" if len(known) > SHOWN_STEPS else ""
    return f"learned in step{'s' if len(known) > 1 else ''} {first}{more} of {steps['last']:,} of {steps['of']}"


COMMANDS = (trace,)

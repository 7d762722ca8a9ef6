"""Vectors of words: made from a model of sentences, for twins in other words; learned from the text, to look at."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import click

from pipeline.commands import project
from pipeline.commands.outputs import FOLDER, PICTURE, save
from pipeline.errors import UserError


@click.group()
def vectors() -> None:
    """Vectors of words: from a model of sentences, or learned from the recipe's text."""


@vectors.command("distil")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=FOLDER)
@click.option("--dimensions", type=click.IntRange(min=2), default=256, show_default=True, help="Length of a vector.")
def vectors_distil(model: Path, out: Path, dimensions: int) -> None:
    """Write to the folder OUT what the model of sentences in the folder MODEL says of each token alone."""
    from pipeline.curation.duplicates.distilling import distil

    count, size = distil(model, out, dimensions)
    click.echo(f"{out}: {count:,} tokens, {size} dimensions. Name it in `curation.duplicates.semantic.vectors`.")


@vectors.command("learn")
@click.option("--dimensions", type=click.IntRange(2, 1000), default=100, show_default=True, help="Length of a vector.")
@click.option("--passes", type=click.IntRange(1, 1000), default=10, show_default=True, help="Passes over the text.")
@click.option("--fewest", type=click.IntRange(1), default=5, show_default=True, help="Times that a word has to occur.")
@click.option(
    "--analogies",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Files in word2vec's form, instead of the built-in questions.",
)
@click.option("--near", multiple=True, metavar="WORD", help="Show the nearest words of WORD.")
@click.option("--picture", type=PICTURE, metavar="FILE", help="Draw gender and royalty here (PNG, SVG or PDF).")
def vectors_learn(
    dimensions: int, passes: int, fewest: int, analogies: tuple[Path, ...], near: tuple[str, ...], picture: Path | None
) -> None:
    """Learn the words of the curated text by word2vec and fastText, and compare them with the model's own table."""
    from pipeline.printing import table
    from pipeline.word_vectors import analogies as asked
    from pipeline.word_vectors import drawing, learning

    opened = project()
    questions = [question for path in analogies for question in asked.read(path)] or asked.built_in()
    how = learning.Learning(dimensions, passes, fewest)
    made = learning.make(
        opened.store,
        opened["curated_documents"],
        opened.store.current("pretrained_model"),
        opened["tokenizer"],
        how,
        opened.log,
    )
    words, ways = learning.read(made)
    rows: dict[str, dict[str, str]] = {}
    for way, vectors in ways.items():
        for row in asked.scored(words, vectors, questions):
            known = f"{row['asked']} of {row['of']}"
            shown = "-" if row["share"] is None else f"{row['share']:.0%}"
            rows.setdefault(row["section"], {"analogies": row["section"], "known": known})[way] = shown
    click.echo(table(rows.values()))
    missing = []
    for word in (unicodedata.normalize("NFC", word).lower() for word in near):  # as the words of the text are
        if word not in words:
            missing.append(word)
            continue
        click.echo(f"\nnear `{word}`:")
        near_rows = [{"way": way, "words": ", ".join(asked.neighbours(words, ways[way], word))} for way in ways]
        click.echo(table(near_rows))
    problems = []
    if missing:
        named = ", ".join(f"`{word}`" for word in missing)
        problems.append(f"{named}: fewer than {fewest} times in the text, or not at all; lower `--fewest`.")
    if picture is not None:
        try:
            save(drawing.drawn(words, ways), picture, dpi=140)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError(" ".join(problems))


COMMANDS = (vectors,)

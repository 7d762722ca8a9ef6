"""The scorer of pages: teach one from labels."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.outputs import FILE
from pipeline.printing import table


@click.group()
def quality() -> None:
    """The scorer of English pages (`curation.quality`)."""


@quality.command("teach")
@click.option("--labels", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Pages with `text` and `label` (1 good, 0 poor): JSON lines, CSV or Parquet.")  # fmt: skip
@click.option("--out", type=FILE, metavar="FILE", help="Where to write the scorer.")
@click.option(
    "--good-removed",
    default=None,
    type=click.FloatRange(0, 1),
    help="Share of the good pages that may go; default: 0.012.",
)
@click.option("--on", "about", default="", help="What the labels are, for the file.")
@click.option("--licence", default="", help="Their licence, for the file.")
def teach(labels: Path, out: Path | None, good_removed: float | None, about: str, licence: str) -> None:
    """Teach a scorer of English pages from labels, and say how well it does on pages that it has not seen."""
    from pipeline.curation.filters import page_scorer, teaching

    told = {"on": about or labels.name, **({"licence": licence} if licence else {})}
    limit = teaching.GOOD_REMOVED if good_removed is None else good_removed
    scorer = teaching.teach(teaching.read_labels(labels), told, limit)
    click.echo(table([{"figure": name, **weight.model_dump()} for name, weight in scorer.figures.items()]))
    found = scorer.taught["cross_validated"]
    click.echo(f"\n{scorer.taught['good']} good and {scorer.taught['poor']} poor pages.")
    click.echo(
        f"On unseen ones ({found['rounds']} rounds "
        f"of {found['folds']} folds): area under the curve {found['auc']}, {found['poor_removed']:.1%} of the poor and "
        f"{found['good_removed']:.1%} of the good ones removed."
    )
    if out is None:
        click.echo("Nothing is written; `--out FILE` writes the scorer.")
        return
    out.write_text(page_scorer.as_file(scorer), encoding="utf-8")
    click.echo(
        f"In the recipe, without `reference`:\ncuration:\n  quality: {{scorer: {out}, min_score: {scorer.min_score}}}"
    )


COMMANDS = (quality,)

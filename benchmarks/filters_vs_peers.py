"""Filters against datatrove: documents per CPU second, and where the decisions differ, on the same texts in one run.

    python -m benchmarks.filters_vs_peers --texts 'DIR/*.parquet' --peer PEER_VENV/bin/python [--limit 1500]

PEER_VENV is an environment with `datatrove`, `spacy`, `nltk` and `polars`; never install datatrove into the project's
own. Both sides read the same English texts. Ours use datatrove's default settings, on the text as it is, so that only
the way of counting differs. Figures are CPU seconds with one thread, because the machine may be shared.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import ModuleType

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import polars as pl

from benchmarks.documents import megabytes
from benchmarks.measuring import cpu_of, output_of
from pipeline.curation.filters import heuristic_rules, heuristics, keywords, language
from pipeline.curation.filters.gopher_quality import quality_columns
from pipeline.curation.filters.gopher_repetition import repetition_columns
from pipeline.curation.filters.web_rules import web_columns
from pipeline.curation.rules import decided_by
from pipeline.text.characters import SCRIPTS, count_kinds
from pipeline.text.classes import pieces_of
from pipeline.text.segments import lines, paragraphs

PEER = """
import json, sys, time
import polars as pl
from datatrove.data import Document
from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
texts = pl.read_parquet(sys.argv[1])["text"].to_list()
out = {}
for name, make in (("gopher quality", GopherQualityFilter), ("gopher repetition", GopherRepetitionFilter),
                   ("fineweb", lambda: FineWebQualityFilter(char_duplicates_ratio=0.1))):
    judge = make()
    judge.filter(Document(text=texts[0], id="0"))
    started, reasons = time.process_time(), []
    for number, text in enumerate(texts):
        found = judge.filter(Document(text=text, id=str(number)))
        reasons.append(None if found is True else found[1])
    out[name] = {"seconds": time.process_time() - started, "reasons": reasons}
json.dump(out, open(sys.argv[2], "w"))
"""


def timed(work: Callable[[], pl.DataFrame]) -> tuple[pl.DataFrame, float]:
    """The second result of `work`, and its CPU seconds: the first one also pays for what is made once."""
    work()
    return cpu_of(work)


def ours(texts: pl.Series) -> dict[str, tuple[list[str | None], float]]:
    """Reasons and CPU seconds of each group of rules on its own, and of whole stages."""
    spaced = pl.lit("spaced").alias("kind")

    def quality() -> pl.DataFrame:
        counts = count_kinds(texts)
        characters = counts.select(pl.sum_horizontal("digits", *SCRIPTS)).to_series()
        columns = quality_columns(texts, lines(texts), pieces_of(texts)[1], characters)
        columns = columns.with_columns(spaced, lines=lines(texts).total())
        return decided_by(columns, heuristic_rules.GOPHER_QUALITY_RULES, heuristics.Settings())

    def repetition() -> pl.DataFrame:
        columns = repetition_columns(lines(texts), paragraphs(texts), pieces_of(texts)[0])
        return decided_by(columns, heuristic_rules.GOPHER_REPETITION_RULES, heuristics.Settings())

    def fineweb() -> pl.DataFrame:
        in_lines = lines(texts)
        pieces, counts = pieces_of(texts)
        columns = web_columns(texts, in_lines, counts["pieces"]).with_columns(spaced, lines=in_lines.total())
        columns = columns.hstack(repetition_columns(in_lines, in_lines, pieces).select("dup_line_chars"))
        return decided_by(columns, heuristic_rules.FINEWEB_RULES, heuristics.Settings())

    found = {}
    for name, work in (("gopher quality", quality), ("gopher repetition", repetition), ("fineweb", fineweb)):
        decided, seconds = timed(work)
        found[name] = (decided["reason"].to_list(), seconds)
    documents = pl.DataFrame({"doc_id": [f"{i:032x}" for i in range(len(texts))], "text": texts})
    documents = documents.with_columns(source=pl.lit("s"), lang=pl.lit(None, pl.String))
    for module in (language, keywords, heuristics):
        decided, seconds = timed(partial(run_stage, module, documents))
        found[f"stage `{module.__name__.rpartition('.')[2]}`, whole"] = (decided["reason"].to_list(), seconds)
    return found


def run_stage(module: ModuleType, documents: pl.DataFrame) -> pl.DataFrame:
    """The decisions of a stage with its default settings."""
    settings = module.Settings()
    return module.decide(module.signals(documents, settings, {}), settings)


def theirs(texts: pl.Series, python: str) -> dict[str, tuple[list[str | None], float]]:
    """Reasons and CPU seconds of datatrove's filters."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "texts.parquet", Path(folder) / "peer.json"
        texts.alias("text").to_frame().write_parquet(source)
        output_of([python, "-c", PEER, str(source), str(target)])
        found = json.loads(target.read_text())
    return {name: (of["reasons"], of["seconds"]) for name, of in found.items()}


def row(name: str, mine: tuple[list[str | None], float], other: tuple[list[str | None], float] | None) -> str:
    """A row of the table; the right of it stays empty where there is nothing to compare with."""
    reasons, seconds = mine
    cells = [name, f"{len(reasons) / seconds:,.0f}", "", "", "", "", ""]
    if other is not None:
        pairs = list(zip(reasons, other[0], strict=True))
        same = sum((a is None) == (b is None) for a, b in pairs) / len(pairs)
        only_mine = most_frequent(a for a, b in pairs if a and not b)
        only_other = most_frequent(b for a, b in pairs if b and not a)
        cells[2:] = [
            f"{len(reasons) / other[1]:,.0f}",
            f"{other[1] / seconds:.0f}",
            f"{same:.1%}",
            only_mine,
            only_other,
        ]
    return "| " + " | ".join(cells) + " |"


def most_frequent(reasons: Iterable[str]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in Counter(reasons).most_common(4)) or "-"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", required=True, help="glob of Parquet files with a column `text` (and `lang`)")
    parser.add_argument("--peer", help="Python of an environment with datatrove; without it only ours is measured")
    parser.add_argument("--limit", type=int, default=1500)
    parser.add_argument("--lang", default="en", help="only documents that declare this language")
    return parser


def main() -> None:
    given = arguments().parse_args()
    table = pl.read_parquet(given.texts)
    if "lang" in table.columns and given.lang:
        table = table.filter(pl.col("lang") == given.lang)
    texts = table["text"].drop_nulls().head(given.limit)
    print(f"{len(texts):,} documents, {megabytes(texts):.1f} MB")
    mine = ours(texts)
    others = theirs(texts, given.peer) if given.peer else {}
    print("| | ours, docs/cpu-s | datatrove | ratio | same decision | only ours removes | only datatrove |")
    print("|---|---|---|---|---|---|---|")
    for name, measured in mine.items():
        print(row(name, measured, others.get(name)))


if __name__ == "__main__":
    main()

"""What the rules of thumb remove of somebody's own notes, judged as crawled pages and as notes.

python -m benchmarks.own_notes                    # the study notes of the tests
python -m benchmarks.own_notes --together 4       # four of them in a file, as in a notebook of a week
python -m benchmarks.own_notes --folder docs      # Markdown and text files of a folder
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import polars as pl

from pipeline.curation.filters import heuristics, language
from pipeline.printing import table
from tests.curation.study_notes import ENGLISH, KOREAN

SOURCE = "notes"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="default: the study notes of the tests")
    parser.add_argument("--together", type=int, default=1, help="notes of one language in a file; every choice of them")
    return parser


def notes(folder: Path | None, together: int) -> pl.DataFrame:
    """text, lang, source: of the tests, or the Markdown and text files of a folder."""
    texts = [*joined(KOREAN.values(), together), *joined(ENGLISH.values(), together)]
    if folder is not None:
        paths = sorted(path for path in folder.rglob("*") if path.suffix in (".md", ".txt"))
        texts = [path.read_text(encoding="utf-8") for path in paths]
    frame = pl.DataFrame({"text": texts, "source": [SOURCE] * len(texts)})
    frame = frame.with_columns(lang=pl.lit(None, pl.String))
    return frame.with_columns(lang=language.signals(frame, language.Settings(), {})["label"])


def joined(texts: Iterable[str], together: int) -> list[str]:
    return ["\n\n".join(chosen) for chosen in combinations(texts, together)]


def removed(documents: pl.DataFrame, settings: heuristics.Settings) -> Counter[str]:
    """Reason -> documents removed for it."""
    chosen = heuristics.decide(heuristics.signals(documents, settings, {}), settings)
    return Counter(chosen["reason"].drop_nulls().to_list())


def main() -> None:
    options = arguments().parse_args()
    documents = notes(options.folder, options.together)
    rows = []
    for lang in ("ko", "en"):
        part = documents.filter(lang=lang)
        for kind, settings in (("web", heuristics.Settings()), (SOURCE, heuristics.Settings(notes=[SOURCE]))):
            found = removed(part, settings)
            reasons = ", ".join(f"{reason} {count}" for reason, count in found.most_common())
            rows.append(
                {"language": lang, "content": kind, "notes": part.height, "removed": found.total(), "as": reasons}
            )
    print(table(rows))


if __name__ == "__main__":
    main()

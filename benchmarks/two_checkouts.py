"""CPU seconds of what curation computes from text, in two checkouts of this project, by turns in one process.

    git worktree add ../before COMMIT
    python -m benchmarks.two_checkouts ../before . --documents 5000 --rounds 3

Both see the same documents (`write_corpus` in benchmarks/documents.py) in turn, one function after the other, so that
other load on the machine falls on both. The perplexity model is learned from these documents by the first checkout. It
is checked that both give the same.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl

from benchmarks.documents import write_corpus
from benchmarks.measuring import cpu_of

FILTERS = "pipeline.curation.filters"
FRAGMENT_STAGES = ("language", "keywords", "heuristics", "perplexity", "quality")
OF_MODELS = ("model_text", "kneser_ney", "model_words", "page_scorer")
MODULES = {
    **{name: f"{FILTERS}.{name}" for name in (*FRAGMENT_STAGES, *OF_MODELS)},
    "personal_data": "pipeline.curation.personal_data.personal_data",
    "sentences": "pipeline.curation.duplicates.sentences",
    "signatures": "pipeline.curation.duplicates.signatures",
}  # fmt: skip


def load(root: Path) -> dict[str, ModuleType]:
    """The modules of the checkout at `root`, beside those of another one."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("pipeline", "model")]:
        del sys.modules[name]
    sys.path.insert(0, str(root.resolve()))
    found = {name: importlib.import_module(path) for name, path in MODULES.items()}
    sys.path.pop(0)
    return found


def models(of: dict[str, ModuleType], documents: pl.DataFrame, folder: Path) -> dict[str, Path]:
    """Models for the stages that need one: n-grams of these documents, and the scorer that is shipped."""
    (folder / "quality").mkdir()
    (folder / "quality" / "scorer.json").write_bytes(of["page_scorer"].SHIPPED.read_bytes())
    (folder / "perplexity").mkdir()
    kinds, _ = of["model_text"].kinds_and_prose(documents)
    bounds = '"perplexity": ' + str([2 + place / 100 for place in range(101)]) + ', "order": 0.2'
    learned = []
    for kind in of["model_text"].KINDS:
        words = of["model_words"].as_words(of["model_text"].prose_to_model(documents["text"].filter(kinds == kind)))
        for fold in range(of["model_text"].FOLDS):
            of["kneser_ney"].train(words, 4, folder / "perplexity" / f"{kind}-{fold}.arpa")
        learned.append(f'"{kind}": {{{bounds}}}')
    (folder / "perplexity" / "bounds.json").write_text("{" + ", ".join(learned) + "}")
    return {"perplexity_model": folder / "perplexity", "quality_model": folder / "quality"}


def work(of: dict[str, ModuleType], documents: pl.DataFrame, given: dict[str, Path]) -> dict[str, Callable[[], Any]]:
    """What is measured, by name."""
    texts, code = documents["text"], (documents["lang"] == "code").to_numpy()
    calls: dict[str, Callable[[], Any]] = {
        name: (lambda name=name: of[name].signals(documents, of[name].Settings(), given))  # type: ignore[misc]
        for name in (*FRAGMENT_STAGES, "personal_data")
    }
    calls["sentences"] = lambda: of["sentences"].sentences_of(texts, code, True)
    calls["signatures"] = lambda: of["signatures"].signatures_of(texts, 5, 112)
    return calls


def same(one: Any, other: Any) -> bool:
    if isinstance(one, pl.DataFrame):
        return one.equals(other, null_equal=True)
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder) / "corpus", given.documents)
        ids = pl.int_range(pl.len()).cast(pl.String).str.zfill(32)
        found_before = {"source": pl.lit("mixed"), "lang_found": pl.lit(True)}
        documents = pl.read_parquet(Path(folder) / "corpus" / "*.parquet").with_columns(doc_id=ids, **found_before)
        checkouts = [load(root) for root in (given.before, given.after)]
        known = models(checkouts[0], documents, Path(folder))
        calls = [work(of, documents, known) for of in checkouts]
        for turn in range(-1, given.rounds):  # the first one loads what is loaded once
            for name in calls[0]:
                found = [cpu_of(call[name]) for call in calls]
                if not same(found[0][0], found[1][0]):
                    raise SystemExit(f"{name}: the two checkouts differ")
                for place, (_, seconds) in enumerate(found):
                    spent[name][place] += seconds if turn >= 0 else 0.0
    total = [sum(values[place] for values in spent.values()) for place in range(2)]
    number = given.documents * given.rounds
    for name, (before, after) in [*spent.items(), ("all", (total[0], total[1]))]:
        print(f"{name:14s} {1000 * before / number:7.3f} -> {1000 * after / number:7.3f} CPU-ms a document, "
              f"{before / after:4.2f} times as fast")  # fmt: skip


if __name__ == "__main__":
    main()

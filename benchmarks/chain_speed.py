"""Documents of 2 KB a CPU-second through the filters, stage by stage and as a chain, and through personal data.

    python -m benchmarks.chain_speed DATA [--rounds 5] [--lang en] [--out FRAMES]    # DATA/text: development text

Every document of the development text of at least 1,500 bytes gives up to three pieces of 2,000 bytes, cut at ends of
lines. Half of them (by hash) teach the models, the other half is judged: each stage reads what the stages before it
left, with the language that the first one found, as in a run. Best of the rounds, one thread. `--out` writes the
decisions of every stage, so that two versions can be compared: run each with the same DATA and compare the files.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from types import ModuleType

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import polars as pl

from benchmarks.making import context, raw_documents
from benchmarks.measuring import cpu_of
from benchmarks.quality_of_filters import documents, found_languages, kept_part
from pipeline.curation.filters import heuristics, keywords, language, perplexity, quality
from pipeline.curation.personal_data import personal_data
from pipeline.ingest.records import plain_lines
from pipeline.store.store import Store

BYTES, LEAST, PIECES = 2_000, 1_500, 3
STAGES: dict[str, ModuleType] = {
    "language": language, "keywords": keywords, "heuristics": heuristics, "perplexity": perplexity, "quality": quality,
    "personal data": personal_data,
}  # fmt: skip
CHAIN = ("language", "keywords", "heuristics", "perplexity", "quality")


def short_documents(data: Path) -> pl.DataFrame:
    """Pieces of about 2,000 bytes of every document that has as much, cut at the end of a line where there is one."""
    text = pl.concat(pl.read_parquet(path) for path in sorted((data / "text").glob("*.parquet")))
    rows: list[tuple[str, str | None]] = []
    for whole, lang in zip(plain_lines(text["text"]), text["lang"], strict=True):
        rest = str(whole).encode()
        for _ in range(PIECES):
            if len(rest) < LEAST:
                break
            piece = rest[:BYTES]
            end = piece.rfind(b"\n") + 1 if len(rest) > BYTES else len(piece)
            piece = piece[: end if end >= LEAST else BYTES]
            rows.append((piece.decode("utf-8", "ignore"), lang))
            rest = rest[len(piece) :]
    return documents(rows).unique("doc_id", maintain_order=True)


def models(folder: Path, taught: pl.DataFrame) -> dict[str, Path]:
    """The trained filters, made of documents whose language was found."""
    ctx = context(Store(folder, "x"))
    raw = raw_documents(ctx.store, taught.select(id="doc_id", text="text", lang="lang", source="source"))
    found = language.STAGE.make(ctx, {"raw_documents": raw}, language.Settings(allow=[]))
    given = {"raw_documents": raw, "languages": found}
    made = {
        module.STAGE.filters[0].name: module.make_model(ctx, given, module.Settings())
        for module in (perplexity, quality)
    }
    return {name: artifact.local_directory() for name, artifact in made.items()}


def one_round(asked: pl.DataFrame, made: dict[str, Path]) -> tuple[dict[str, float], dict[str, pl.DataFrame]]:
    """CPU seconds of each stage, and its decisions beside the ids of the documents that it read."""
    seconds: dict[str, float] = {}
    decisions: dict[str, pl.DataFrame] = {}
    left = asked.drop("lang_found", strict=False)
    for name, module in STAGES.items():
        settings = module.Settings()

        def work(module: ModuleType = module, settings: object = settings) -> tuple[pl.DataFrame, pl.DataFrame]:
            signals = module.signals(left, settings, made)  # noqa: B023 (called at once)
            decide = getattr(module, "decide", module.STAGE.decide)
            return signals, decide(signals, settings)

        (signals, decided), seconds[name] = cpu_of(work)
        decisions[name] = left.select("doc_id").hstack(decided.select("keep", *(["reason"] * ("reason" in decided))))
        if name == "language":
            left = left.with_columns(lang=signals["label"], lang_found=pl.lit(True))
        left = left.filter(decided["keep"])
    return seconds, decisions


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of development data")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lang", help="only documents that are declared to be in this language (ko, en, code)")
    parser.add_argument("--out", type=Path, help="a folder for the decisions of every stage")
    return parser


def main() -> None:
    given = arguments().parse_args()
    everything = short_documents(given.data)
    asked = kept_part(everything)
    if given.lang:
        asked = asked.filter(pl.col("lang") == given.lang)
    taught = found_languages(everything.join(kept_part(everything), on="doc_id", how="anti"))
    with tempfile.TemporaryDirectory() as folder:
        made = models(Path(folder), taught)
        rounds = [one_round(asked, made) for _ in range(given.rounds + 1)][1:]  # the first one loads the models
    best = {name: min(seconds[name] for seconds, _ in rounds) for name in STAGES}
    read = {name: frame.height for name, frame in rounds[0][1].items()}
    size = int(asked["text"].str.len_bytes().sum()) / asked.height
    print(f"{asked.height} documents of {size:.0f} bytes on average")
    print("| " + " | ".join(["", *STAGES, "whole chain"]) + " |")
    print("|---" * (len(STAGES) + 2) + "|")
    chain = asked.height / sum(best[name] for name in CHAIN)
    print("| " + " | ".join(["", *(f"{read[name] / best[name]:,.0f}" for name in STAGES), f"{chain:,.0f}"]) + " |")
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        for name, frame in rounds[0][1].items():
            frame.write_parquet(given.out / f"{name.replace(' ', '_')}.parquet")


if __name__ == "__main__":
    main()

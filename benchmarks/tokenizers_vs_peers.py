"""Tokenizers: compression and speed, against the native libraries and Hugging Face's.

    nice python -m benchmarks.tokenizers_vs_peers FOLDER [--unigram]    # Parquet files with `id`, `text`, `lang`

Trains on nine tenths of the documents (by hash of the id) and measures on the rest; three such splits, because one
holds few documents. Rates are per second of CPU time over all threads, the best of the interleaved rounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import xxhash

from benchmarks.documents import megabytes
from benchmarks.measuring import cpu_of
from pipeline.tokens import byte_pair, sentencepiece_model
from pipeline.tokens.byte_pair import BytePairEngine
from pipeline.tokens.hugging_face import tokenizer_json
from pipeline.tokens.sentencepiece_model import SentencePieceEngine
from pipeline.tokens.token_settings import TokenizerSettings

SPLITS = 3
ROUNDS = 3
LANGUAGES = ("ko", "code", "en")
SETTINGS = {
    "sentencepiece": TokenizerSettings(),
    "unigram": TokenizerSettings(algorithm="unigram"),
    "bpe": TokenizerSettings(kind="bpe"),
}


Engine = BytePairEngine | SentencePieceEngine


def trained(settings: TokenizerSettings, texts: list[str]) -> Callable[[bool], Engine]:
    """A function that gives the trained engine, with or without memory of pieces."""
    if settings.kind == "bpe":
        tokens = byte_pair.train(iter(texts), settings)
        specials = {name: i for i, name in enumerate(settings.special_tokens)}
        ranks = {token: len(specials) + i for i, token in enumerate(tokens)}
        return lambda cache: BytePairEngine(ranks, specials, byte_pair.pattern_of(settings))
    model = sentencepiece_model.train(iter(texts), settings)
    return lambda cache: SentencePieceEngine(model, lossless=True, cache=cache)


def compression(frame: pl.DataFrame) -> None:
    """Print the bytes a token of each language that the tokenizer was not trained on, once for each split."""
    print("\n| trained on | Korean text counts | split | ko | code | en | train CPU-s |\n|---|---|---|---|---|---|---|")
    for name in ("sentencepiece", "bpe"):
        for weight in (1, 2):
            for split in range(SPLITS):
                held = frame.filter(pl.col("part") == split)
                rest = frame.filter(pl.col("part") != split)
                again = rest.filter(pl.col("lang") == "ko") if weight == 2 else rest.clear()
                texts = pl.concat([rest, again])["text"].to_list()
                make, seconds = cpu_of(partial(trained, SETTINGS[name], texts))
                engine = make(True)
                sizes = []
                for lang in LANGUAGES:
                    column = held.filter(pl.col("lang") == lang)["text"]
                    _, lengths = engine.encode(column)
                    sizes.append(f"{column.str.len_bytes().sum() / lengths.sum():.3f}")
                print(f"| {name} | {weight} x | {split} | {' | '.join(sizes)} | {seconds:.1f} |", flush=True)


def speed(frame: pl.DataFrame, kinds: list[str]) -> None:
    """Print M tokens a CPU second of each kind, beside its native library and Hugging Face's `encode_batch`."""
    import tokenizers

    print("\n| kind | here, first time | here, pieces known | native | encode_batch | same ids | ratio |")
    print("|---|---|---|---|---|---|---|")
    column = frame["text"]
    texts = column.to_list()
    for name in kinds:
        make = trained(SETTINGS[name], texts)
        specials = {special: i for i, special in enumerate(SETTINGS[name].special_tokens)}
        peer = tokenizers.Tokenizer.from_str(tokenizer_json(make(True), specials, "none"))
        peer.encode_special_tokens = True
        best = dict.fromkeys(("first", "known", "native", "peer"), 0.0)
        for _ in range(ROUNDS):
            engine, native = make(True), make(False)
            (ids, lengths), first = cpu_of(partial(engine.encode, column))
            _, known = cpu_of(partial(engine.encode, column))
            _, alone = cpu_of(partial(native.encode, column))
            theirs, other = cpu_of(partial(peer.encode_batch, texts))
            for what, seconds in (("first", first), ("known", known), ("native", alone), ("peer", other)):
                best[what] = max(best[what], len(ids) / seconds / 1e6)
        parts = np.split(ids, np.cumsum(lengths)[:-1])
        same = sum(part.tolist() == e.ids for part, e in zip(parts, theirs, strict=True))
        print(
            f"| {name} | {best['first']:.2f} | {best['known']:.2f} | {best['native']:.2f} | {best['peer']:.2f} | "
            f"{same} of {len(texts)} | {best['first'] / best['peer']:.1f} |",
            flush=True,
        )


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="folder of Parquet files with the columns id, text, lang")
    parser.add_argument("--unigram", action="store_true", help="measure the speed of this algorithm too")
    parser.add_argument("--limit", type=int, help="only so many documents of each file")
    return parser


def main() -> None:
    given = arguments().parse_args()
    files = [pl.read_parquet(path, columns=["id", "text", "lang"]) for path in sorted(given.text.glob("*.parquet"))]
    frame = pl.concat([file.head(given.limit or file.height) for file in files])
    parts = [xxhash.xxh3_64_intdigest(name.encode()) % 10 for name in frame["id"]]
    frame = frame.with_columns(pl.Series("part", parts))
    print(f"{frame.height} documents, {megabytes(frame['text']):.1f} MB; vocabulary 32,000")
    compression(frame)
    print("\nM tokens for a second of CPU time:")
    speed(frame, ["sentencepiece", "bpe", *(["unigram"] if given.unigram else [])])


if __name__ == "__main__":
    main()

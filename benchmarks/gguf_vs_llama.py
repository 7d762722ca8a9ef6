"""GGUF against llama.cpp: are tokens and greedy texts ours, and how many bits per byte does a format cost?

    python -m benchmarks.gguf_vs_llama MODEL DOCUMENTS [--texts 60]      # needs llama-cpp-python

MODEL is a model's folder, DOCUMENTS a folder of Parquet files with a column `text` (such as an artifact of curated
documents), of which some texts are drawn. llama.cpp keeps keys and values in F32 here, as this project does; by default
they are in F16.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from model import gguf_file
from model.generate import generate
from model.serve.text import TextModel, open_directory

PROMPT, NEW = 12, 128  # tokens that begin a greedy text, and that follow
GREEDY_TEXTS = 12


def some_texts(folder: Path, count: int) -> list[str]:
    files = sorted(folder.rglob("*.parquet"))
    texts = [text for file in files if "text" in pl.read_parquet_schema(file) for text in pl.read_parquet(file)["text"]]
    return random.Random(0).sample(texts, min(count, len(texts)))


def bits_per_byte(theirs: Any, ours: TextModel, texts: list[str]) -> float:
    """Of the beginnings of the texts, as far as the context reaches."""
    bits = size = 0.0
    for text in texts:
        ids = [*ours.before_document, *ours.encode(text)][: ours.network.config.context - 1]
        theirs.reset()
        theirs.eval(ids)
        logits = np.array(theirs.scores[: len(ids) - 1], dtype=np.float64)
        logits -= logits.max(1, keepdims=True)
        chosen = logits[np.arange(len(ids) - 1), ids[1:]] - np.log(np.exp(logits).sum(1))
        bits -= chosen.sum() / math.log(2)
        size += sum(len(ours.bytes_of[i]) for i in ids[1:])
    return bits / size


def greedy(theirs: Any, ids: list[int]) -> list[int]:
    theirs.reset()
    found: list[int] = []
    for token in theirs.generate(ids, temp=0.0, repeat_penalty=1.0):
        found.append(token)
        if len(found) == NEW:
            break
    return found


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("documents", type=Path)
    parser.add_argument("--texts", type=int, default=60)
    return parser


def main() -> None:
    import llama_cpp

    options = arguments().parse_args()
    torch.set_num_threads(1)
    ours, texts = open_directory(options.model), some_texts(options.documents, options.texts)
    room = ours.network.config.context
    prompts = [[*ours.before_document, *ours.encode(text)[:PROMPT]] for text in texts[:GREEDY_TEXTS]]
    expected = [list(generate(ours.network, ids, NEW)) for ids in prompts]
    print("| format | MB | texts with our tokens | greedy texts as ours | bits per byte |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for form in gguf_file.FORMATS:
            file = gguf_file.write(options.model, Path(folder) / f"{form}.gguf", form)
            exact = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}
            theirs = llama_cpp.Llama(str(file), n_ctx=room, n_threads=1, verbose=False, logits_all=True, **exact)
            tokens = sum(theirs.tokenize(t.encode(), add_bos=False, special=False) == ours.encode(t) for t in texts)
            same = sum(greedy(theirs, ids)[: len(own)] == own for ids, own in zip(prompts, expected))
            cost, size = bits_per_byte(theirs, ours, texts), file.stat().st_size / 1e6
            print(
                f"| {form} | {size:.1f} | {tokens} of {len(texts)} | {same} of {len(prompts)} | {cost:.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

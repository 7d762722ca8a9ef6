"""How much of an ensemble's gain one student of the same size keeps, on the same tokens.

    python -m benchmarks.distilling [--teachers 4] [--kilobytes 400] [--passes 8] [--variants NAME...]

US State of the Union addresses, of which few kilobytes are read many times: the case in which an ensemble gains most.
Teachers and students have the same shape and read the same number of tokens. The gain of the ensemble is how many bits
per byte its mean probability needs less on held-back speeches than a single teacher does on average; what a student
keeps is the share of that. One line for each variant of the loss.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from benchmarks.making import as_documents, context, quiet
from model import export
from model.config import IGNORED, ModelConfig
from model.transformer import Transformer
from pipeline.ingest.bundled import speeches
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.tokens import shards as token_shards
from pipeline.tokens import training as tokenizers
from pipeline.tokens.token_settings import ShardSettings, TokenizerSettings
from pipeline.training import teacher_logits
from pipeline.training.distillation_settings import DistillationSettings
from pipeline.training.objectives import distillation
from pipeline.training.planning.plan import Pretraining
from pipeline.training.pretraining_settings import PretrainingSettings
from pipeline.training.validation import Validation, documents_of

VOCABULARY = 512
SHAPE = ModelConfig(layers=3, width=96, heads=3, context=64)
VARIANTS: dict[str, dict[str, Any]] = {
    "bucket, weight 1": {"weight": 1.0},
    "bucket, weight 0.9": {},
    "bucket, weight 0.5": {"weight": 0.5},
    "renormalised, weight 0.9": {"rest": "renormalise"},
    "renormalised, weight 0.9, T 2": {"rest": "renormalise", "temperature": 2.0},
    "bucket, weight 0.9, k 8": {"top_k": 8},
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teachers", type=int, default=4)
    parser.add_argument("--kilobytes", type=int, default=400, help="of text")
    parser.add_argument("--passes", type=float, default=8.0, help="over the text")
    parser.add_argument("--rate", type=float, default=1e-2, help="learning rate")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS)[:2])
    return parser


class Ensemble(torch.nn.Module):
    """The mean probability of networks, called as one network is for its loss."""

    def __init__(self, networks: list[Transformer]) -> None:
        super().__init__()
        self.networks = torch.nn.ModuleList(networks)

    def forward(self, tokens: Tensor, targets: Tensor, documents: Tensor | None = None) -> tuple[Tensor, Tensor]:
        each = torch.stack([network(tokens, targets, documents=documents, by_token=True) for network in self.networks])
        included = targets != IGNORED
        mean = each.logsumexp(0) - math.log(len(self.networks))
        return -(mean * included).sum(), included.sum()


def bits_per_byte(networks: list[Transformer], shards: Artifact) -> float:
    """Of the networks' mean probability, on the held-back text."""
    held = Validation(documents_of(shards, shards.facts["tokenizer"]["document_start"]), SHAPE.context, 32, 0)
    model = Ensemble(networks).eval()
    sums: dict[str, float] = {}
    with torch.inference_mode():
        for index in range(held.total_batches):
            for name, value in held.measure(model, index).items():
                sums[name] = sums.get(name, 0.0) + float(value)
    return held.summary(sums)["bits_per_byte"]


def made_shards(store: Store, kilobytes: int) -> dict[str, Artifact]:
    """A tokenizer and token shards of paragraphs of speeches, a tenth of them held back."""
    texts, size = [], 0
    for speech in speeches():
        for part in str(speech["text"]).split("\n\n"):
            if size < 1000 * kilobytes and len(part) > 200:
                texts.append(part)
                size += len(part)
    frame = pl.DataFrame({"id": [str(number) for number in range(len(texts))], "text": texts})
    documents = as_documents(frame.with_columns(source=pl.lit("speeches"), lang=pl.lit("en"))).unique("doc_id")

    def build(draft: Draft) -> None:
        draft.table("speeches-00", {"rows": documents.height}, lambda: documents.sort("doc_id"))

    curated = store.make("curated_documents", code_version="1", settings={}, inputs={}, build=build, log=quiet)
    inputs = {"curated_documents": curated}
    inputs["tokenizer"] = tokenizers.make(context(store), inputs, TokenizerSettings(vocab_size=VOCABULARY))
    shards = token_shards.make(context(store), inputs, ShardSettings(validation=0.1))
    return {"tokenizer": inputs["tokenizer"], "token_shards": shards}


def network_of(artifact: Artifact) -> Transformer:
    return export.load(artifact.local_directory(), torch.float32).eval()


def main() -> None:
    options = arguments().parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        store = Store(Path(place), "distilling")
        inputs = made_shards(store, options.kilobytes)
        shards = inputs["token_shards"]
        text = sum(group[3] for f in shards.fragments for group in shards.entry(f)["facts"]["groups"][:1])
        run = PretrainingSettings(
            tokens=int(options.passes * text), batch_tokens=1024, learning_rate=options.rate, precision="fp32",
            compile="off", sample_tokens=1, evaluate_every=100_000, validation_tokens=2048,
        )  # fmt: skip
        base = Pretraining(SHAPE, run)
        block = DistillationSettings(teachers=options.teachers)
        started = time.process_time()
        teachers = {
            one.asset: distillation.make_teacher(context(store), inputs, one)
            for one in distillation.teachers_of(block, base)
        }
        spent = (time.process_time() - started) / len(teachers)
        networks = [network_of(one) for one in teachers.values()]
        single = [bits_per_byte([one], shards) for one in networks]
        together = bits_per_byte(networks, shards)
        gain = statistics.fmean(single) - together
        print(
            f"{networks[0].parameters_count() / 1e6:.2f} M parameters, {text:,} tokens of text, {run.tokens:,} tokens a"
            f" training\n\n| | bits per byte | of the gain | CPU-s |\n| --- | --- | --- | --- |\n"
            f"| one teacher ({min(single):.4f} - {max(single):.4f}) | {statistics.fmean(single):.4f} | 0 |"
            f" {spent:.0f} |\n| {len(networks)} together | {together:.4f} | 1 | {len(networks) * spent:.0f} |",
            flush=True,
        )
        for name in options.variants:
            chosen = DistillationSettings.model_validate({"teachers": options.teachers, **VARIANTS[name]})
            started = time.process_time()
            logits = teacher_logits.make(context(store), {"token_shards": shards, **teachers}, (chosen, False))
            said = time.process_time() - started
            settings = distillation.Distillation(chosen, base)
            student = distillation.make(context(store), {**inputs, "teacher_logits": logits}, settings)
            learned = time.process_time() - started - said
            found = bits_per_byte([network_of(student)], shards)
            kept = (statistics.fmean(single) - found) / gain
            print(f"| {name} | {found:.4f} | {kept:.2f} | {said:.0f} + {learned:.0f} |", flush=True)


if __name__ == "__main__":
    main()

"""TRL's own trainers beside this project's loop: the same weights, pairs and steps; loss by step and tokens per second.

    PYTHONPATH=FOLDER_OF_TRL python -m benchmarks.beside_trl [--steps 20] [--rounds 3] [--methods kto orpo]

Both train all weights of a small network in fp32 on one thread, with AdamW (the same betas, no decay), clipping and
learning rates, and the same pairs in the same order; the reference log-probabilities are computed within the run by
both where a method has them. They run in turns; tokens count both answers of a pair, each with its prompt, without
padding. Time is that of the process on the CPU, from the first step to the last, the fastest of the rounds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import uuid
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from benchmarks.making import quiet
from model import export
from model.config import ModelConfig
from model.transformer import Transformer
from pipeline.training import schedule
from pipeline.training.data.pairs import Pair, Pairs, batch_of
from pipeline.training.data.ratings import Ratings, batch_of_ratings
from pipeline.training.loop import train
from pipeline.training.objectives import kto
from pipeline.training.objectives.dpo import log_probabilities
from pipeline.training.objectives.objective import Objective
from pipeline.training.objectives.preference_losses import REFERENCE_FREE, loss_of
from pipeline.training.reporting import RunOptions
from pipeline.training.training_settings import PreferenceSettings

SHAPE = ModelConfig(layers=4, width=128, heads=4, context=256, vocab_size=512, tie_embeddings=False)
PAIRS, RATE = 8, 3e-4
SETTINGS = {
    "dpo": {"method": "dpo", "beta": 0.1},
    "ipo": {"method": "ipo", "beta": 0.1, "length_normalised": True},  # as TRL has it
    "kto": {"method": "kto", "beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.5},
    "simpo": {"method": "simpo", "beta": 2.0, "gamma": 1.0},
    "orpo": {"method": "orpo", "beta": 0.1},
}
BOUND = 1e-4


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    return parser


def triples(count: int, method: str) -> list[tuple[list[int], list[int], list[int]]]:
    """(prompt, chosen, rejected) in token ids from 1 on; the rejected answer has other tokens than the chosen one.

    ORPO's have prompts without a token to predict and chosen answers of one length: TRL also counts the tokens of the
    prompt in its first term, and averages over those of all pairs. KTO's second answer is that of the row before.
    """
    draw = np.random.default_rng(0)
    found: list[tuple[list[int], list[int], list[int]]] = []
    for _ in range(count):
        lengths = [1, 40, int(draw.integers(20, 60))] if method == "orpo" else draw.integers(20, 60, 3).tolist()
        prompt, chosen, rejected = (np.asarray(draw.integers(1, SHAPE.vocab_size, length)) for length in lengths)
        if method == "kto" and found:
            rejected = np.array(found[-1][1])
        found.append((prompt.tolist(), np.sort(chosen).tolist(), rejected.tolist()))
    return found


def ratings(count: int) -> list[bool]:
    """Which of the answers are good, for KTO: two of three."""
    return [number % 3 != 0 for number in range(count)]


def ours(start: Path, rows: list[Any], settings: PreferenceSettings, steps: int) -> tuple[list[float], float]:
    """(the loss of each step, CPU seconds) of this project's loop."""
    pairs = [Pair(np.array([*p, *c]), np.array([*p, *r]), len(p)) for p, c, r in rows]
    held = Pairs(pairs, {}, 0, np.full((len(pairs), 2), np.nan, np.float32))
    network = export.load(start, torch.float32)
    started = time.process_time()
    for first in range(0, 0 if settings.method in REFERENCE_FREE else len(pairs), PAIRS):
        numbers = np.arange(first, first + PAIRS)
        with torch.no_grad():
            scores = log_probabilities(network, batch_of(held, numbers), settings)
        held.reference[numbers] = scores.view(2, -1).T.numpy()
    rated = Ratings(pairs, {}, 0, held.reference, np.array(ratings(len(pairs))))
    by_numbers = partial(batch_of_ratings, rated) if settings.method == "kto" else partial(batch_of, held)
    one = SimpleNamespace(device="cpu", ranks=SimpleNamespace(total=lambda *own: own))
    objective = Objective(
        name="beside TRL",
        steps=steps,
        accumulation=1,
        step_tokens=held.tokens(np.arange(len(pairs))) // steps,
        batch=lambda step, micro: by_numbers(np.arange(step * PAIRS, (step + 1) * PAIRS)),
        units=lambda batch: len(batch["reference"]),
        loss=loss_of(settings),
        **({"enrich": kto.estimated(one, settings)} if settings.method == "kto" else {}),  # type: ignore[arg-type]
    )
    with tempfile.TemporaryDirectory() as place:
        result = train(objective, network, settings, RATE, 1, RunOptions(Path(place), log=quiet))
    return [row["loss"] for row in result.log], time.process_time() - started


def theirs(start: Path, rows: list[Any], settings: PreferenceSettings, steps: int) -> tuple[list[float], float]:
    """The same of TRL's trainer."""
    import datasets.fingerprint
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from transformers import AutoModelForCausalLM, PrinterCallback

    # The names of cache files, of which none is kept: to pickle tables for them fails with some versions of pyarrow.
    datasets.fingerprint.Hasher.hash = classmethod(lambda cls, value: uuid.uuid4().hex)
    kind, config, own, text = of_trl(settings)
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = [AutoModelForCausalLM.from_pretrained(start) for _ in range(2)]
        given = config(
            output_dir=place, report_to=[], use_cpu=True, bf16=False, max_length=None, gradient_checkpointing=False,
            disable_dropout=True, per_device_train_batch_size=PAIRS, max_steps=steps, logging_steps=1,
            save_strategy="no", disable_tqdm=True, learning_rate=RATE, adam_beta1=settings.betas[0],
            adam_beta2=settings.betas[1], weight_decay=0.0, max_grad_norm=settings.clip, beta=settings.beta,
            dataloader_num_workers=0, logging_nan_inf_filter=False, remove_unused_columns=False, **own,
        )  # fmt: skip
        optimiser = torch.optim.AdamW(models[0].parameters(), RATE, settings.betas, weight_decay=0.0)
        rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: schedule.factor(step, steps, settings))
        other = {} if settings.method in REFERENCE_FREE else {"ref_model": models[1]}
        trainer = kind(
            models[0], args=given, train_dataset=Dataset.from_list(text), processing_class=words(),
            optimizers=(optimiser, rates), **other,
        )  # fmt: skip
        trainer.train_dataset = Dataset.from_list(rows_of_trl(rows, settings.method))
        trainer._get_train_sampler = lambda *given: SequentialSampler(trainer.train_dataset)
        if settings.method in REFERENCE_FREE:
            trainer.data_collator = in_columns
        trainer.remove_callback(PrinterCallback)
        started = time.process_time()
        trainer.train()
        spent = time.process_time() - started
    return [row["loss"] for row in trainer.state.log_history if "loss" in row], spent


def of_trl(settings: PreferenceSettings) -> tuple[Any, Any, dict[str, Any], list[dict[str, Any]]]:
    """(trainer, its settings' class, settings of the method, text that it is built with)."""
    pairs = [{"prompt": "1 2", "chosen": "3", "rejected": "4"}]
    if settings.method == "kto":
        from trl import KTOConfig, KTOTrainer

        rated = [{"prompt": "1 2", "completion": f"{3 + good}", "label": bool(good)} for good in (1, 0)]
        weights = {name: getattr(settings, name) for name in ("desirable_weight", "undesirable_weight")}
        return KTOTrainer, KTOConfig, weights, rated
    if settings.method == "simpo":
        from trl.experimental.cpo import CPOConfig, CPOTrainer

        own = {"loss_type": "simpo", "simpo_gamma": settings.gamma, "cpo_alpha": 0.0}
        return CPOTrainer, CPOConfig, own, pairs
    if settings.method == "orpo":
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer

        return ORPOTrainer, ORPOConfig, {}, pairs
    from trl import DPOConfig, DPOTrainer

    return DPOTrainer, DPOConfig, {"loss_type": {"dpo": "sigmoid", "ipo": "ipo"}[settings.method]}, pairs


def rows_of_trl(rows: list[Any], method: str) -> list[dict[str, Any]]:
    """The rows as each trainer takes tokens."""
    if method == "kto":
        return [
            {"prompt_ids": p, "completion_ids": c, "KL_completion_ids": r, "label": good}
            for (p, c, r), good in zip(rows, ratings(len(rows)), strict=True)
        ]
    return [{"prompt_ids": p, "chosen_ids": c, "rejected_ids": r} for p, c, r in rows]


def in_columns(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """A batch as TRL's older trainers take it: each answer behind its prompt, padded with 0."""
    found: dict[str, torch.Tensor] = {}
    for side in ("chosen", "rejected"):
        pairs = [(row["prompt_ids"], row[f"{side}_ids"]) for row in rows]
        tokens = torch.zeros(len(rows), max(len(p) + len(a) for p, a in pairs), dtype=torch.int64)
        labels = torch.full_like(tokens, -100)
        for number, (prompt, answer) in enumerate(pairs):
            end = len(prompt) + len(answer)
            tokens[number, :end] = torch.tensor([*prompt, *answer])
            labels[number, len(prompt) : end] = torch.tensor(answer)
        found |= {f"{side}_input_ids": tokens, f"{side}_labels": labels, f"{side}_attention_mask": (tokens > 0).long()}
    return found


def words() -> Any:
    """A tokenizer that TRL asks for, although the pairs are tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({str(token): token for token in range(SHAPE.vocab_size)}, unk_token="0"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    last = str(SHAPE.vocab_size - 1)
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="0", eos_token=last, unk_token="0")


def main() -> None:
    options = arguments().parse_args()
    torch.set_num_threads(1)
    print("| method | largest difference of the loss in a step | loss, first -> last | ours, tokens/cpu-s | TRL |"
          " ours / TRL |\n| --- | --- | --- | --- | --- | --- |")  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        torch.manual_seed(0)
        export.save(Transformer(SHAPE), Path(place))
        for method in options.methods:
            rows = triples(PAIRS * options.steps, method)
            tokens = sum(2 * len(p) + len(c) + len(r) for p, c, r in rows)
            settings = PreferenceSettings.model_validate({**SETTINGS[method], "precision": "fp32", "compile": "off"})
            runs = [
                (ours(Path(place), rows, settings, options.steps), theirs(Path(place), rows, settings, options.steps))
                for _ in range(options.rounds)
            ]
            (mine, _), (other, _) = runs[0]
            apart = max(abs(a - b) for a, b in zip(mine, other, strict=True))
            fast, slow = (min(run[side][1] for run in runs) for side in (0, 1))
            print(
                f"| {method} | {apart:.1e} | {mine[0]:.4f} -> {mine[-1]:.4f} | {tokens / fast:,.0f} |"
                f" {tokens / slow:,.0f} | {slow / fast:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

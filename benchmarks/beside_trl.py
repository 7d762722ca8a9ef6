"""TRL's own trainers beside this project's loop: the same weights, pairs and steps; loss by step and tokens per second.

    PYTHONPATH=FOLDER_OF_TRL python -m benchmarks.beside_trl [--steps 20] [--rounds 3] [--methods dpo ipo]

Both train all weights of a small network in fp32 on one thread, with AdamW (the same betas, no decay), clipping
and learning rates, and the same pairs in the same order; the reference log-probabilities are computed
within the run by both. They run in turns; tokens count both answers of a pair, each with its prompt, without padding.
Time is that of the process on the CPU, from the first step to the last, the fastest of the rounds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import uuid
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.making import quiet
from model import export
from model.config import ModelConfig
from model.transformer import Transformer
from pipeline.training import schedule
from pipeline.training.data.pairs import Pair, Pairs, batch_of
from pipeline.training.loop import train
from pipeline.training.objectives.dpo import dpo, log_probabilities
from pipeline.training.objectives.objective import Objective
from pipeline.training.objectives.preference_losses import loss_of
from pipeline.training.reporting import RunOptions
from pipeline.training.training_settings import PreferenceSettings

SHAPE = ModelConfig(layers=4, width=128, heads=4, context=256, vocab_size=512, tie_embeddings=False)
PAIRS, RATE = 8, 3e-4
SETTINGS = {
    "dpo": {"method": "dpo", "beta": 0.1},
    "ipo": {"method": "ipo", "beta": 0.1, "length_normalised": True},  # as TRL has it
}
BOUND = 1e-4


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    return parser


def triples(count: int) -> list[tuple[list[int], list[int], list[int]]]:
    """(prompt, chosen, rejected) in token ids from 1 on; the rejected answer has other tokens than the chosen one."""
    draw = np.random.default_rng(0)
    found = []
    for _ in range(count):
        prompt, chosen, rejected = (draw.integers(1, SHAPE.vocab_size, draw.integers(20, 60)) for _ in range(3))
        found.append((prompt.tolist(), np.sort(chosen).tolist(), rejected.tolist()))
    return found


def ours(start: Path, rows: list[Any], settings: PreferenceSettings, steps: int) -> tuple[list[float], float]:
    """(the loss of each step, CPU seconds) of this project's loop."""
    pairs = [Pair(np.array([*p, *c]), np.array([*p, *r]), len(p)) for p, c, r in rows]
    held = Pairs(pairs, {}, 0, np.full((len(pairs), 2), np.nan, np.float32))
    network = export.load(start, torch.float32)
    started = time.process_time()
    for first in range(0, len(pairs), PAIRS):
        numbers = np.arange(first, first + PAIRS)
        with torch.no_grad():
            scores = log_probabilities(network, batch_of(held, numbers), settings)
        held.reference[numbers] = scores.view(2, -1).T.numpy()
    loss = dpo if settings.method == "dpo" else loss_of(settings)
    objective = Objective(
        name="beside TRL",
        steps=steps,
        accumulation=1,
        step_tokens=held.tokens(np.arange(len(pairs))) // steps,
        batch=lambda step, micro: batch_of(held, np.arange(step * PAIRS, (step + 1) * PAIRS)),
        units=lambda batch: len(batch["tokens"]) / 2,
        loss=lambda model, batch: loss(model, batch, settings) if loss is dpo else loss(model, batch),  # type: ignore[call-arg]
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
    from trl import DPOConfig, DPOTrainer

    # The names of cache files, of which none is kept: to pickle tables for them fails with some versions of pyarrow.
    datasets.fingerprint.Hasher.hash = classmethod(lambda cls, value: uuid.uuid4().hex)
    kind = {"dpo": "sigmoid", "ipo": "ipo"}[settings.method]
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = [AutoModelForCausalLM.from_pretrained(start) for _ in range(2)]
        config = DPOConfig(
            output_dir=place, report_to=[], use_cpu=True, bf16=False, max_length=None, gradient_checkpointing=False,
            disable_dropout=True, per_device_train_batch_size=PAIRS, max_steps=steps, logging_steps=1,
            save_strategy="no", disable_tqdm=True, learning_rate=RATE, adam_beta1=settings.betas[0],
            adam_beta2=settings.betas[1], weight_decay=0.0, max_grad_norm=settings.clip, loss_type=kind,
            beta=settings.beta, dataloader_num_workers=0, logging_nan_inf_filter=False,
        )  # fmt: skip
        optimiser = torch.optim.AdamW(models[0].parameters(), RATE, settings.betas, weight_decay=0.0)
        rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: schedule.factor(step, steps, settings))
        text = [{"prompt": "1 2", "chosen": "3", "rejected": "4"}]
        trainer = DPOTrainer(
            models[0], ref_model=models[1], args=config, train_dataset=Dataset.from_list(text),
            processing_class=words(), optimizers=(optimiser, rates),
        )  # fmt: skip
        trainer.train_dataset = Dataset.from_list(
            [{"prompt_ids": p, "chosen_ids": c, "rejected_ids": r} for p, c, r in rows]
        )
        trainer._get_train_sampler = lambda *given: SequentialSampler(trainer.train_dataset)
        trainer.remove_callback(PrinterCallback)
        started = time.process_time()
        trainer.train()
        spent = time.process_time() - started
    return [row["loss"] for row in trainer.state.log_history if "loss" in row], spent


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
    rows = triples(PAIRS * options.steps)
    tokens = sum(2 * len(p) + len(c) + len(r) for p, c, r in rows)
    print("| method | largest difference of the loss in a step | loss, first -> last | ours, tokens/cpu-s | TRL |"
          " ours / TRL |\n| --- | --- | --- | --- | --- | --- |")  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        torch.manual_seed(0)
        export.save(Transformer(SHAPE), Path(place))
        for method in options.methods:
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

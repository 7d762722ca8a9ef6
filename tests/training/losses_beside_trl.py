"""Small batches, networks whose weights are a formula, and what TRL gives on them: loss and gradients of each method.

`PYTHONPATH=. python -m tests.training.losses_beside_trl` writes the figures (losses_of_trl.json) where `trl` is
installed. Gradients are recorded by two numbers for each matrix: their length, and their product with a fixed vector of
length 1.
"""

from __future__ import annotations

import json
import tempfile
import uuid
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model import export
from model.config import ModelConfig
from model.transformer import Transformer
from pipeline.training.data.pairs import Pair, Pairs, batch_of
from pipeline.training.data.ratings import Ratings, batch_of_ratings
from pipeline.training.objectives import kto
from pipeline.training.objectives.dpo import log_probabilities
from pipeline.training.objectives.preference_losses import loss_of
from pipeline.training.training_settings import PreferenceSettings

RECORD = Path(__file__).with_name("losses_of_trl.json")
SHAPE = ModelConfig(layers=2, width=32, heads=4, kv_heads=2, context=64, vocab_size=50, tie_embeddings=False)
SETTINGS = {
    "dpo": {"method": "dpo", "beta": 0.3},
    "ipo": {"method": "ipo", "beta": 0.2, "length_normalised": True},  # as TRL has it
    "kto": {"method": "kto", "beta": 0.2, "desirable_weight": 1.5, "undesirable_weight": 0.7},
    "simpo": {"method": "simpo", "beta": 2.0, "gamma": 1.2},
    "orpo": {"method": "orpo", "beta": 0.25},
}
# Tokens of (prompt, chosen, rejected). TRL's ORPO also counts the tokens of the prompt in its first term, and averages
# over those of all pairs, so its pairs have prompts without a token to predict and chosen answers of one length.
GENERAL = ((3, 5, 2), (9, 4, 7), (6, 1, 8))
OF_ORPO = ((1, 6, 3), (1, 6, 9), (1, 6, 2))
# What TRL's trainers are built with; the batches that are compared are tokens.
TEXT = [{"prompt": "1 2", "chosen": "3", "rejected": "4"}]
RATED = [{"prompt": "1 2", "completion": "3", "label": True}, {"prompt": "2 1", "completion": "4", "label": False}]
DESIRABLE = (True, False, True)  # of the chosen answers, which KTO takes alone


def network(phase: float) -> Transformer:
    """A network whose weights are sines of their place: the same everywhere, without a generator."""
    made = Transformer(SHAPE)
    with torch.no_grad():
        for number, parameter in enumerate(made.parameters()):
            places = torch.arange(parameter.numel(), dtype=torch.float64)
            wave = torch.sin(places * (0.7 + 0.13 * number) + phase).float().view_as(parameter)
            parameter.copy_(wave * 0.3 if parameter.dim() > 1 else 1 + wave * 0.1)
    return made


def phases(method: str) -> tuple[float, float]:
    """Of the network and of the reference model; for KTO such that the estimate of the KL is positive."""
    return (0.4, 0.0) if method == "kto" else (0.0, 0.4)


def ids(length: int, start: int) -> np.ndarray:
    """Token ids from 1 on, so that none is the padding."""
    return 1 + (start + np.arange(length, dtype=np.int64) ** 2 * 7) % 49


def triples(method: str) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(prompt, chosen, rejected) in token ids."""
    lengths = OF_ORPO if method == "orpo" else GENERAL
    return [tuple(ids(size, 5 * row + 11 * part) for part, size in enumerate(of)) for row, of in enumerate(lengths)]


def settings_of(method: str) -> PreferenceSettings:
    return PreferenceSettings.model_validate(SETTINGS[method])


def ours(method: str) -> dict[str, Any]:
    """The loss of a batch and its gradients, by this project's functions: averaged over the pairs."""
    settings, policy, reference = settings_of(method), *(network(phase) for phase in phases(method))
    found = triples(method)
    pairs = [Pair(np.concatenate([p, c]), np.concatenate([p, r]), len(p)) for p, c, r in found]
    if method == "kto":  # each prompt also with the answer of the one before, as TRL does
        others = [found[number - 1][1] for number in range(len(found))]
        pairs = [Pair(np.concatenate([p, c]), np.concatenate([p, o]), len(p)) for (p, c, _), o in zip(found, others)]
    everything = np.arange(len(pairs))
    held = Pairs(pairs, {}, 0, np.zeros((len(pairs), 2), np.float32))
    with torch.no_grad():
        held.reference = log_probabilities(reference, batch_of(held, everything), settings).view(2, -1).T.numpy()
    batch = batch_of(held, everything)
    if method == "kto":
        ratings = Ratings(held.pairs, {}, 0, held.reference, np.array(DESIRABLE))
        rated = batch_of_ratings(ratings, everything)
        with torch.no_grad():
            estimate = max(0.0, float(kto.gain_of_others(policy, rated, settings)) / len(pairs))
        assert estimate > 0
        batch = kto.with_estimate(rated, estimate, (2 / 3, 1 / 3))
    loss, _ = loss_of(settings)(policy, batch)
    (loss / len(pairs)).backward()
    return figures(loss / len(pairs), policy)


def figures(loss: torch.Tensor, model: torch.nn.Module) -> dict[str, Any]:
    gradients = {}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        flat = parameter.grad.double().flatten()
        fixed = torch.sin(torch.arange(flat.numel(), dtype=torch.float64))
        gradients[name] = [float(flat.norm()), float(flat @ fixed / fixed.norm())]
    return {"loss": float(loss.detach()), "gradients": gradients}


# -- TRL ---------------------------------------------------------------------------------------------------------------


def theirs(method: str) -> dict[str, Any]:
    """The same by TRL's trainers, from the same weights on the same tokens. Needs `trl` and `datasets`."""
    import datasets.fingerprint
    from transformers import AutoModelForCausalLM

    # The names of cache files, of which none is kept: to pickle tables for them fails with some versions of pyarrow.
    datasets.fingerprint.Hasher.hash = classmethod(lambda cls, value: uuid.uuid4().hex)
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = []
        for number, phase in enumerate(phases(method)):
            export.save(network(phase), Path(place) / str(number))
            models.append(AutoModelForCausalLM.from_pretrained(Path(place) / str(number)))
        trainer, batch = TRAINERS[method](settings_of(method), models, place)
        loss = trainer(models[0], batch)
        loss.backward()
        return figures(loss, models[0])


def common(place: str) -> dict[str, Any]:
    return {
        "output_dir": place, "report_to": [], "use_cpu": True, "bf16": False, "max_length": None,
        "per_device_train_batch_size": 3, "gradient_checkpointing": False, "disable_dropout": True,
    }  # fmt: skip


def words() -> Any:
    """A tokenizer that TRL asks for, although the batches are tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({str(token): token for token in range(50)}, unk_token="0"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="0", eos_token="49", unk_token="0")


def rows_of(method: str) -> list[dict[str, Any]]:
    return [
        {"prompt_ids": p.tolist(), "chosen_ids": c.tolist(), "rejected_ids": r.tolist()} for p, c, r in triples(method)
    ]


def of_dpo(settings: PreferenceSettings, models: list[Any], place: str) -> tuple[Any, Any]:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    rows, kind = rows_of("dpo"), {"dpo": "sigmoid", "ipo": "ipo"}[settings.method]
    config = DPOConfig(loss_type=kind, beta=settings.beta, **common(place))
    trainer = DPOTrainer(
        models[0], ref_model=models[1], args=config, train_dataset=Dataset.from_list(TEXT), processing_class=words()
    )
    return lambda model, batch: trainer._compute_loss(model, batch, False), trainer.data_collator(rows)


def of_kto(settings: PreferenceSettings, models: list[Any], place: str) -> tuple[Any, Any]:
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    rows = [
        {"prompt_ids": row["prompt_ids"], "completion_ids": row["chosen_ids"], "label": label}
        for row, label in zip(rows_of("kto"), DESIRABLE, strict=True)
    ]
    for number, row in enumerate(rows):
        row["KL_completion_ids"] = rows[number - 1]["completion_ids"]
    config = KTOConfig(
        beta=settings.beta, desirable_weight=settings.desirable_weight,
        undesirable_weight=settings.undesirable_weight, **common(place),
    )  # fmt: skip
    trainer = KTOTrainer(
        models[0], ref_model=models[1], args=config, train_dataset=Dataset.from_list(RATED), processing_class=words()
    )
    return lambda model, batch: trainer._compute_loss(model, batch, False), trainer.data_collator(rows)


def in_columns(method: str) -> dict[str, Any]:
    """A batch as TRL's older trainers take it: each answer behind its prompt, padded with 0."""
    found: dict[str, Any] = {}
    for side, at in (("chosen", 1), ("rejected", 2)):
        rows = [(row[0], row[at]) for row in triples(method)]
        longest = max(len(p) + len(a) for p, a in rows)
        tokens = torch.zeros(len(rows), longest, dtype=torch.int64)
        labels = torch.full_like(tokens, -100)
        for number, (prompt, answer) in enumerate(rows):
            end = len(prompt) + len(answer)
            tokens[number, :end] = torch.from_numpy(np.concatenate([prompt, answer]))
            labels[number, len(prompt) : end] = torch.from_numpy(answer)
        found |= {f"{side}_input_ids": tokens, f"{side}_labels": labels, f"{side}_attention_mask": (tokens > 0).long()}
    return found


def of_simpo(settings: PreferenceSettings, models: list[Any], place: str) -> tuple[Any, Any]:
    from datasets import Dataset
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    config = CPOConfig(
        loss_type="simpo", beta=settings.beta, simpo_gamma=settings.gamma, cpo_alpha=0.0,
        remove_unused_columns=False, **common(place),
    )  # fmt: skip
    trainer = CPOTrainer(models[0], args=config, train_dataset=Dataset.from_list(TEXT), processing_class=words())
    return lambda model, batch: trainer.get_batch_loss_metrics(model, batch)[0], in_columns("simpo")


def of_orpo(settings: PreferenceSettings, models: list[Any], place: str) -> tuple[Any, Any]:
    from datasets import Dataset
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    config = ORPOConfig(beta=settings.beta, remove_unused_columns=False, **common(place))
    trainer = ORPOTrainer(models[0], args=config, train_dataset=Dataset.from_list(TEXT), processing_class=words())
    return lambda model, batch: trainer.get_batch_loss_metrics(model, batch)[0], in_columns("orpo")


TRAINERS = {"dpo": of_dpo, "ipo": of_dpo, "kto": of_kto, "simpo": of_simpo, "orpo": of_orpo}


if __name__ == "__main__":
    import trl

    found = {"trl": trl.__version__, **{method: theirs(method) for method in SETTINGS}}
    RECORD.write_text(json.dumps(found, indent=1) + "\n")
    print(f"recorded {RECORD.name} from TRL {trl.__version__}")

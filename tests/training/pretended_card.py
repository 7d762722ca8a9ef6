"""A card that is not there, and what a program asks it to hand over.

`register` adds a device of torch's own kind for further back ends, under the name `card`. On tensors without
contents (FakeTensorMode) everything runs on it as on a GPU, except that no value can be had: `Waits` notes each place
at which a GPU would be waited for, and goes on.

What is registered stays for the life of the process, so tests run this module as a program (`python -m
tests.training.pretended_card`): it prints, for each case, what was waited for and how many copies of figures were
fetched.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from model import attention, generate, lora
from model.config import IGNORED, ModelConfig
from model.transformer import Transformer
from pipeline.evaluation import scoring
from pipeline.training import transfer
from pipeline.training.data.packing import Packed
from pipeline.training.data.pairs import Pair, Pairs, batch_of
from pipeline.training.loop import Loop
from pipeline.training.objectives import fine_tuning, preference, pretraining
from pipeline.training.objectives.objective import Objective
from pipeline.training.objectives.preference_losses import loss_of
from pipeline.training.pretraining_settings import PretrainingSettings
from pipeline.training.reporting import RunOptions
from pipeline.training.training_settings import LoopSettings, PreferenceSettings
from pipeline.training.validation import Rows, Validation

NAME = "card"
SHAPE = ModelConfig(layers=2, width=32, heads=4, kv_heads=2, context=32, vocab_size=64, dropout=0.1)
ROWS, MICRO = 4, 3  # sequences of a micro-batch, micro-batches of a step
aten = torch.ops.aten
# What makes the size or the course of a computation depend on contents.
CONTENTS = {aten.nonzero, aten.masked_select, aten._unique2, aten.unique_consecutive, aten.equal, aten.is_nonzero}


class Backend(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


def register() -> torch.library.Library:
    """Make the card known to torch. What is returned has to be kept."""
    _setup_privateuseone_for_python_backend(NAME, Backend())
    autocast = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")  # it is on, and passes every operation on
    autocast.fallback(torch.library.fallthrough_kernel)
    return autocast


class Unknown(Exception):
    """What follows depends on contents, so it cannot be run here."""


class Waits(TorchDispatchMode):
    """Notes in `found` the operations that make the host wait for the card."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if operation.namespace == "aten" and torch.is_inference_mode_enabled():
            with self:  # in this mode, operations come here that are made of others
                result = operation.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        packet = operation.overloadpacket
        on_card = [value for value in flat(args) if value.device.type == NAME]
        if packet is aten._local_scalar_dense:
            self.found += ["item"] * len(on_card)
            return 1.0 if args[0].is_floating_point() else 1
        if (packet in CONTENTS and on_card) or chosen_by_mask(packet, args):
            self.found.append(str(packet))
            raise Unknown(str(packet))
        result = operation(*args, **kwargs)
        if packet in (aten._to_copy, aten.copy_) and waits_for_copy(packet, args, kwargs, result):
            self.found.append("copy")
        return result


def flat(args: Sequence[Any]) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(args) if isinstance(leaf, Tensor)]


def chosen_by_mask(packet: Any, args: tuple[Any, ...]) -> bool:
    """Whether elements are chosen by truth values, whose number is not known."""
    if packet not in (aten.index, aten.index_put, aten.index_put_):
        return False
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])


def waits_for_copy(packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> bool:
    """Whether a copy goes between the host and the card, and the host waits for it."""
    source, target = (args[0], result) if packet is aten._to_copy else (args[1], args[0])
    if {source.device.type, target.device.type} != {"cpu", NAME}:
        return False
    return not (kwargs.get("non_blocking") or (packet is aten.copy_ and len(args) > 2 and args[2]))


def attend(q: Tensor, k: Tensor, v: Tensor, **given: Any) -> Tensor:
    """Attention in the type that a GPU's autocast would give it."""
    low = attention.computed_in(q)
    return torch.nn.functional.scaled_dot_product_attention(q.to(low), k.to(low), v.to(low), **given)


# -- what is run -------------------------------------------------------------------------------------------------------


def network() -> Transformer:
    with torch.device(NAME):
        made = Transformer(SHAPE)
    made.to = lambda device: made  # type: ignore[method-assign]  # parameters without contents cannot be moved
    return made


def row(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, SHAPE.vocab_size, shape)


def tokens_and_documents(step: int, micro: int) -> dict[str, Any]:
    rng = np.random.default_rng([step, micro])
    arrays = {"tokens": row(rng, ROWS, 32), "targets": row(rng, ROWS, 32), "documents": np.sort(row(rng, ROWS, 32))}
    return {**{name: torch.from_numpy(array) for name, array in arrays.items()}, "positions": None}


def packed() -> Packed:
    rng = np.random.default_rng(0)
    targets = row(rng, 8, 32)
    targets[:, :20] = IGNORED
    return Packed(row(rng, 8, 32), targets, np.sort(row(rng, 8, 32)), {"conversations": 8})


def pairs() -> Pairs:
    rng = np.random.default_rng(0)
    both = [Pair(row(rng, 10 + n), row(rng, 20 - n), 5) for n in range(8)]
    return Pairs(both, {}, 0, rng.normal(size=(8, 2)).astype(np.float32))


def pretraining_of(settings: Any) -> Objective:
    rows = [Rows("made", *(row(np.random.default_rng(n), ROWS, 32) for _ in range(3))) for n in range(3)]
    validation = Validation.__new__(Validation)
    validation.batches, validation.sources, validation._mask = rows, ["made"], None
    return objective(
        tokens_and_documents, pretraining.target_count, pretraining.loss_of(settings), validation.measure, "nats/made"
    )


def fine_tuning_of(settings: Any) -> Objective:
    data = packed()
    held_back = fine_tuning.HeldBackLoss(data, ROWS)
    return objective(
        lambda step, micro: fine_tuning.rows_of(data, np.arange(ROWS)),
        pretraining.target_count, pretraining.loss_of(settings), held_back.measure, "nats",
    )  # fmt: skip


def preference_of(settings: Any) -> Objective:
    data = pairs()
    loss = loss_of(PreferenceSettings(beta=0.2))
    return objective(
        lambda step, micro: batch_of(data, np.arange(ROWS)),
        lambda batch: float(len(batch["reference"])),
        loss,
        lambda model, index: preference.measure(model, data, np.arange(ROWS), NAME, loss),
        "loss",
    )


def objective(batch: Any, units: Any, loss: Any, measure: Any, shown: str) -> Objective:
    return Objective(
        name="pretended", steps=4, accumulation=MICRO, step_tokens=MICRO * ROWS * 32, batch=batch, units=units,
        loss=loss, validation_batches=2, measure=measure, summary=lambda sums: {"validation_loss": sums[shown]},
        flops_per_token=1e5,
    )  # fmt: skip


KINDS: dict[str, Callable[[Any], Objective]] = {
    "pretraining": pretraining_of,
    "fine-tuning": fine_tuning_of,
    "preferences": preference_of,
}
CASES: dict[str, dict[str, Any]] = {
    "pretraining": {},
    "pretraining, adamw, no clip": {"optimiser": "adamw", "clip": 0.0},
    "pretraining, bf16, z-loss, average": {"z_loss": 1e-4, "ema": 0.99, "precision": "bf16"},
    "pretraining, loss not chunked, recomputed": {"loss_chunk": 0, "activation_checkpointing": True, "z_loss": 1e-4},
    "pretraining, fp16": {"precision": "fp16"},
    "fine-tuning": {"optimiser": "adamw"},
    "fine-tuning, muon, bf16": {"precision": "bf16"},
    "fine-tuning, lora": {"optimiser": "adamw", "lora": True},
    "preferences": {"optimiser": "adamw"},
    "preferences, muon, bf16": {"precision": "bf16"},
    "preferences, lora": {"optimiser": "adamw", "lora": True},
}


@contextmanager
def counted() -> Iterator[dict[str, Any]]:
    """Yields what will hold the waits of the block and how many times figures were fetched.

    Batches lose their contents where they would be put into page-locked memory, so none can come past it.
    """
    result: dict[str, Any] = {"fetches": 0}
    mode = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)
    kept = transfer.start_copy, transfer.pinned, torch.tensor
    waits = Waits()

    def start_copy(values: Tensor) -> Callable[[], list[float]]:
        assert values.device.type == NAME
        result["fetches"] += 1
        return lambda: [1.0] * values.numel()

    def pinned(batch: Any, device: str) -> Any:
        return {name: mode.from_tensor(value) if isinstance(value, Tensor) else value for name, value in batch.items()}

    def tensor(data: Any, **given: Any) -> Tensor:
        if torch.device(given.get("device") or "cpu").type != NAME:
            return mode.from_tensor(kept[2](data, **given))
        waits.found.append("copy")
        return torch.empty(np.shape(data), **given)

    transfer.start_copy, transfer.pinned, torch.tensor = start_copy, pinned, tensor
    try:
        with waits:
            yield result
    except Unknown:
        pass
    finally:
        transfer.start_copy, transfer.pinned, torch.tensor = kept
        result["waits"] = waits.found


def done(kind: str, given: dict[str, Any], work: Callable[[Loop], Any]) -> dict[str, Any]:
    """What `work` of a loop waits for, after a step."""
    given = dict(given)
    precision, with_lora = given.pop("precision", "fp32"), given.pop("lora", False)
    settings = PretrainingSettings(**given)
    model = network()
    if with_lora:
        with torch.device(NAME):
            lora.add(model, 4, 8.0)
    with tempfile.TemporaryDirectory() as place:
        options = RunOptions(Path(place), NAME, precision, "bf16", log=lambda line: None)
        loop = Loop(KINDS[kind](settings), model, LoopSettings(**loop_part(settings)), 1e-3, 0, options)
        try:
            with counted():
                loop._advance()  # creates the optimiser's state
            with counted() as result:
                work(loop)
        finally:
            loop.close()
    return result


def loop_part(settings: PretrainingSettings) -> dict[str, Any]:
    return {name: value for name, value in settings.model_dump().items() if name in LoopSettings.model_fields}


def finite() -> dict[str, Any]:
    """Whether all weights are, which is asked before a checkpoint."""
    return done("pretraining", {}, lambda loop: loop._finite())


def scored() -> dict[str, Any]:
    """Four rows in two batches."""
    rows = [row(np.random.default_rng(n), 20) for n in range(4)]
    FakeTensor.numpy = lambda tensor: np.zeros(tuple(tensor.shape))  # type: ignore[method-assign]
    with counted() as result:
        scoring.nll_of_rows(network(), rows, [1] * 4, 40, torch.device(NAME))
    return result


def reference() -> dict[str, Any]:
    score = preference.scorer(network(), "fp32", NAME, PreferenceSettings())
    with counted() as result, torch.no_grad():
        score(transfer.to_device(batch_of(pairs(), np.arange(ROWS)), NAME))
    return result


def generated() -> dict[str, Any]:
    generate.sample_token = lambda logits, sampling, generator: 1  # type: ignore[assignment]
    with counted() as result:
        assert len(list(generate.generate(network(), [1, 2, 3], max_new=5))) == 5
    return result


def main() -> None:
    registered = register()
    results: dict[str, Any] = {}
    with FakeTensorMode(allow_non_fake_inputs=True), attention.pretending((8, 0), attend):
        for name, given in CASES.items():
            results[name] = done(name.split(",")[0], given, lambda loop: loop._advance())
        for kind in KINDS:
            results[f"validation of {kind}"] = done(kind, {}, lambda loop: loop._validation_figures(2))
        for work in (finite, scored, reference, generated):
            results[work.__name__] = work()
        probe = torch.zeros(3, device=NAME)
        for name, wrong in MISTAKES.items():
            with counted() as results[f"mistake: {name}"]:
                wrong(probe)
    print(json.dumps(results))
    del registered


# Each of these would wait for a GPU, so `Waits` has to see it.
MISTAKES: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda x: x[0].item(),
    "float": lambda x: float(x.sum()),
    "bool": lambda x: bool((x > 0).all()),
    "tolist": lambda x: x.tolist(),
    "mask": lambda x: x[x > 0],
    "mask assigned": lambda x: x.__setitem__(x > 0, 1.0),
    "nonzero": lambda x: x.nonzero(),
    "to the host": lambda x: x.cpu(),
    "to the card": lambda x: torch.zeros(3).to(NAME),
    "made from a number": lambda x: torch.tensor([1.0], device=NAME),
    "copied into": lambda x: x.copy_(torch.zeros(3)),
}


if __name__ == "__main__":
    main()

"""A training step, run on tensors that have a shape but no contents, to see how much memory it takes.

The step is the real one: the same network, loss, optimiser and order of calls, under torch's `FakeTensorMode` and its
memory tracker. So there is no formula to keep consistent with the network. For a card, attention gets the form that it
needs there (`model/attention.py`) and runs the kernel that torch would take: a plan needs no card.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, get_args

from model.config import ModelConfig
from pipeline.training.loop_settings import OptimiserName
from pipeline.training.pretraining_settings import PretrainingSettings
from pipeline.training.reinforcement_settings import ReinforcementSettings, RewardModelSettings
from pipeline.training.training_settings import LoopSettings, Matrix, PreferenceSettings, SftSettings, TunedSettings

if TYPE_CHECKING:
    import torch

    from model.transformer import Transformer
    from pipeline.training.optimiser import Optimiser

OF_ADDITIONS = ("lora_rank", "lora_targets", "lora_dora")  # settings that the memory of additions depends on
Capability = tuple[int, int]  # of a card, as (major, minor)


@dataclass(frozen=True)
class Step:
    """The settings that a step's memory depends on."""

    sequences: int  # of `context` tokens; in preference tuning, two for each pair
    precision: str = "fp32"
    activation_checkpointing: bool = False
    chunk: int | None = None  # as in `linear_cross_entropy`: None is the device's default, 0 disables chunking
    optimiser: OptimiserName = "adamw"
    average: bool = False
    accumulates: bool = True  # gradients of earlier micro-batches are in memory
    shards: int = 1  # devices that weights, gradients and optimiser are split over
    gpu: Capability | None = None  # the card that the step runs on; None: a CPU
    masked: bool = False  # tokens attend to their own document only
    preference: bool = False  # the loss is that of chosen and rejected answers
    tokenwise: bool = False  # the loss reads the log-probability of each token
    reference: bool = False  # the network at the start is in memory, too
    lora_rank: int = 0  # 0: all weights are trained
    lora_targets: tuple[str, ...] = get_args(Matrix)
    lora_dora: bool = False
    quantised: bool = False  # the matrices with an addition are in four bits
    ahead: int = 0  # blocks that predict tokens further ahead

    @staticmethod
    def of(
        settings: LoopSettings, sequences: int, precision: str, shards: int = 1, gpu: Capability | None = None
    ) -> Step:
        """The step that a training with these settings makes."""
        low_rank = isinstance(settings, TunedSettings) and settings.low_rank
        return Step(
            sequences, precision, settings.activation_checkpointing, settings.chunk, settings.optimiser,
            settings.averages,
            shards=shards,
            gpu=gpu,
            masked=isinstance(settings, SftSettings)
            or (isinstance(settings, PretrainingSettings) and settings.feed.mask_documents)
            or getattr(settings, "masked_share", 0) > 0,
            preference=isinstance(settings, PreferenceSettings | RewardModelSettings),
            tokenwise=isinstance(settings, ReinforcementSettings),
            reference=isinstance(settings, ReinforcementSettings) and settings.beta > 0,
            ahead=getattr(settings, "predict_ahead", 0),
            quantised=low_rank and getattr(settings, "weights", "") == "qlora",
            **({name: getattr(settings, name) for name in OF_ADDITIONS} if low_rank else {}),
        )  # fmt: skip

    @property
    def device(self) -> str:
        return "cpu" if self.gpu is None else "cuda"

    @property
    def least(self) -> int:
        """The fewest sequences that a micro-batch can have."""
        return 2 if self.preference else 1

    def with_sequences(self, sequences: int) -> Step:
        """The same with about so many sequences: whole pairs, and one of them at least."""
        return replace(self, sequences=max(1, sequences // self.least) * self.least)


@lru_cache(maxsize=256)
def traced(config: ModelConfig, step: Step) -> Mapping[str, float]:
    """Peak memory in bytes, by part. The optimiser step is not traced: it needs no more than the backward pass."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker

    from model.transformer import Transformer

    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(step.precision)
    with FakeTensorMode(), without_contents(step.gpu):
        network, optimiser = _prepared(config, step)
        tokens = torch.zeros(step.sequences, config.context, dtype=torch.int64)
        tracker = MemTracker()
        tracker.track_external(network, *optimiser.parts, tokens)
        with tracker:
            with torch.autocast("cpu", dtype=kind, enabled=kind is not None):
                loss = _loss(network, tokens, step)
            loss.backward()
        (peak,) = [parts for where, parts in tracker.get_tracker_snapshot("peak").items() if where.type == "cpu"]
        vocabulary = network.config.vocab_size
        full = 4.0 * Transformer(config).parameters_count() if step.reference else 0.0  # in fp32
    size = {str(getattr(part, "value", part)): float(value) for part, value in peak.items()}
    weights = size["Parameter"] + size["Buffer"]
    passing = size["Activation"] + size["Temp"] + size["Other"]
    # Logits in fp32: those of all tokens with their gradient, or those of one chunk, which its gradient overwrites.
    rows_held = min(tokens.numel(), step.chunk) if step.chunk else 2 * tokens.numel()
    logits = min(4.0 * rows_held * vocabulary, passing)
    activations = min(size["Activation"], passing - logits)
    average = weights if step.average else 0.0
    share = 1 / step.shards
    return {
        "weights": weights * share + (weights if step.reference and step.quantised else full),
        "gradients": size["Gradient"] * share,
        "optimiser": (size["Optstate"] + average) * share,
        "activations": activations,
        "logits": logits,
        "other": passing - logits - activations,
    }


def _prepared(config: ModelConfig, step: Step) -> tuple[Transformer, Optimiser]:
    """The network and its optimiser as they are before a backward pass: with gradients, and with its state."""
    import torch

    from model import lora, predict_ahead
    from pipeline.training.optimiser import Optimiser

    if step.preference or step.tokenwise:  # as in `preference.without_dropout`
        config = config.model_copy(update={"dropout": 0.0})
    network = predict_ahead.network(config, step.ahead)
    network.gradient_checkpointing = step.activation_checkpointing
    if step.lora_rank:
        lora.add(network, step.lora_rank, 1.0, step.lora_targets, dora=step.lora_dora, quantised=step.quantised)
        _as_buffers(network)
    optimiser = Optimiser(network, LoopSettings.model_validate({"optimiser": step.optimiser}), 1e-3)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    optimiser.step(1.0)  # creates the optimiser's state
    if not step.accumulates:
        optimiser.zero_grad()
    return network, optimiser


def _as_buffers(network: Transformer) -> None:
    """Turn frozen parameters into buffers: the tracker wants to hear of the gradient of every parameter."""
    for module in list(network.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            if not parameter.requires_grad:
                delattr(module, name)
                module.register_buffer(name, parameter.detach())


def _loss(network: Transformer, tokens: torch.Tensor, step: Step) -> torch.Tensor:
    """The loss of a batch whose every token counts, which is the most that a batch can hold."""
    import torch

    from pipeline.training.objectives.dpo import dpo

    if step.preference:
        settings = PreferenceSettings(loss_chunk="auto" if step.chunk is None else step.chunk)
        batch = {"tokens": tokens, "targets": tokens, "reference": torch.zeros(len(tokens) // 2, 2)}
        return dpo(network, batch, settings)[0]
    if step.tokenwise:
        return -network(tokens, tokens, by_token=True, chunk=step.chunk).sum()
    documents = torch.zeros_like(tokens) if step.masked else None
    if step.ahead:
        return sum(network(tokens, tokens, further=True, documents=documents, chunk=step.chunk))
    return network.loss(tokens, tokens, documents=documents, chunk=step.chunk)[0]


# -- what a card would run ---------------------------------------------------------------------------------------------


@contextmanager
def without_contents(card: Capability | None) -> Iterator[None]:
    """Within it, calls whose outcome depends on a card or on contents get the one that a plan needs.

    Attention takes the form and runs the kernel of the card (None: those of a CPU), and all targets count.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    from model import attention

    class AllCount(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.nonzero:
                return torch.arange(args[0].numel())[:, None]
            return func(*args, **(kwargs or {}))

    with attention.pretending(card, partial(attention_on, card)) if card else nullcontext(), AllCount():
        yield


def attention_on(
    card: Capability,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """`scaled_dot_product_attention` with the kernel that a card takes for these tensors, for shapes only."""
    import torch
    import torch.nn.functional as F

    from model import attention

    ops = torch.ops.aten
    taken = attention.kernel(attention.request_of(card, q, k, attn_mask))
    low = attention.computed_in(q)
    q, k, v = (x.to(low) for x in (q, k, v))
    with torch.autocast("cpu", enabled=False):  # as within torch's own function
        if taken == "flash":
            width = q.shape[-1]
            q, k, v = (F.pad(x, (0, -width % 8)) if width % 8 else x for x in (q, k, v))
            return ops._scaled_dot_product_flash_attention(q, k, v, 0.0, is_causal)[0][..., :width]
        if taken == "efficient":
            bias = None if attn_mask is None else attn_mask.expand(*q.shape[:3], k.shape[2])
            return ops._scaled_dot_product_efficient_attention(q, k, v, bias, q.requires_grad, 0.0, is_causal)[0]
        found = ops._scaled_dot_product_attention_math(
            q, k, v, attn_mask, 0.0, is_causal, None, scale=scale, enable_gqa=enable_gqa
        )
        return found[0]

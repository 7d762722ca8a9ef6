"""A model's size for a text and a machine: what somebody's first recipe asks for.

The largest shape of a short list that gets enough text, and that this machine trains within the time given. How fast
that is, is measured with the plan's own step.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.config import ModelConfig
from pipeline.errors import UserError
from pipeline.training.measured import Machine
from pipeline.training.planning import budget as budgets
from pipeline.training.planning.plan import plan
from pipeline.training.planning.plan_words import PASSES, rounded
from pipeline.training.pretraining_settings import PretrainingSettings

# The largest first; the vocabulary grows with the text that each is for. Korean needs 2,048 at least: it writes with
# more than a thousand syllables, and each has a token. Very little text has fewer, and does not yield so many tokens.
# Small ones have QK-norm, with which they learn more in few steps (docs/results/experiments.md): Qwen3's layout, which
# other tools read as they read Llama's. Larger ones were not compared.
SHAPES = (
    ModelConfig(layers=12, width=768, heads=12, kv_heads=4, context=1024, vocab_size=24_000),
    ModelConfig(layers=8, width=512, heads=8, kv_heads=4, context=1024, vocab_size=16_000),
    ModelConfig(layers=6, width=384, heads=6, kv_heads=3, context=512, vocab_size=8_000),
    ModelConfig(layers=6, width=256, heads=4, kv_heads=2, context=512, vocab_size=4_096, qk_norm=True),
    ModelConfig(layers=4, width=192, heads=3, kv_heads=3, context=256, vocab_size=2_048, qk_norm=True),
    ModelConfig(layers=4, width=128, heads=2, kv_heads=2, context=256, vocab_size=2_048, qk_norm=True),
)
VERY_LITTLE, ITS_VOCABULARY = 100_000, 1_024  # bytes of text, tokens
FEWEST = 8  # tokens a parameter, under which a smaller model learns more from the same text
FEW_TOKENS = 10_000_000  # in training, up to which a run has so few steps that a shorter momentum learns more
UNKNOWN_CARD = 2e13  # FLOPs a second of a GPU that is not in the table: of a small one


@dataclass(frozen=True)
class Size:
    """A shape and how long to train it."""

    shape: ModelConfig
    parameters: int
    tokens: int
    passes: float  # over the text
    hours: float


def fitting(text_bytes: int, hours: float, device: str, here: Machine) -> Size:
    """The size for so many bytes of text, to be trained in so many hours on this machine's device."""
    smallest = SHAPES[-1]
    if text_bytes < VERY_LITTLE:
        smallest = smallest.model_copy(update={"vocab_size": ITS_VOCABULARY})
    shapes = (*SHAPES[:-1], smallest)
    a_flop = hours_a_token(smallest, device, here) / budgets.size(smallest).flops_per_token
    found = None
    for shape in shapes:
        sized = budgets.size(shape)
        text_tokens = budgets.tokens_of(text_bytes)
        wanted = min(budgets.TOKENS_A_PARAMETER * sized.parameters, PASSES * text_tokens)
        last = shape is smallest
        fewest = FEWEST * sized.parameters
        # A larger network is seldom slower for each operation than the smallest, so what is far too slow is not timed.
        if not last and (wanted < fewest or fewest * sized.flops_per_token * a_flop > hours):
            continue
        try:
            each = hours_a_token(shape, device, here)
        except UserError:  # it does not fit into the memory
            continue
        tokens = min(wanted, int(hours / each))
        if last or tokens >= fewest:
            tokens = max(rounded(tokens), shape.context * 8)
            shape = with_own_output(shape, tokens / text_tokens)
            parameters = budgets.size(shape).parameters
            found = Size(shape, parameters, tokens, tokens / text_tokens, tokens * each)
            break
    if found is None:
        raise UserError("Not even the smallest model fits into the memory of this machine: free some memory.")
    return found


def with_own_output(shape: ModelConfig, passes: float) -> ModelConfig:
    """The shape with an output matrix of its own, which costs no time, if it is small and reads its text only once.

    Read several times, little text is learned by heart with it (docs/results/experiments.md).
    """
    return shape.model_copy(update={"tie_embeddings": False}) if shape.qk_norm and passes <= 1 else shape


def hours_a_token(shape: ModelConfig, device: str, here: Machine) -> float:
    """Hours that a token of training takes, on a CPU measured. Raises UserError if the shape does not fit."""
    tokens = budgets.TOKENS_A_PARAMETER * budgets.size(shape).parameters
    figures = plan(shape, PretrainingSettings(tokens=tokens), None, device=device, here=here)
    if "hours_here" in figures:
        return float(figures["hours_here"]) / float(figures["tokens"])
    return float(figures["flops_per_token"]) / UNKNOWN_CARD / 3600

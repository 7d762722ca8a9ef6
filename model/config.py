"""The shape of a network: a frozen record, validated when it is created.

The defaults are the Llama architecture, and each field changes one aspect of it. So a recipe sets only what differs,
and a config completely determines what `model.transformer.Transformer` builds.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Sizes of which a model could hardly be trained; the fields name the largest that was published.
MAX_WIDTH = 2**16
MAX_CONTEXT = 2**20
MAX_VOCABULARY = 2**20

IGNORED = -100  # as a target: not part of the loss; torch's default `ignore_index`
GATED = ("swiglu", "geglu", "reglu")

Activation = Literal["swiglu", "geglu", "reglu", "gelu", "gelu_tanh", "relu", "silu", "relu2"]


class ModelConfig(BaseModel):
    """Shape of a decoder. Sizes of 0 are derived from the others; `resolved()` fills them in."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    layers: int = Field(
        12,
        ge=1,
        le=1000,
        description="number of blocks of attention and feed-forward network (GPT-2 small: 12; DeepNet, Wang et al. "
        "2022: 1,000)",
    )
    width: int = Field(
        768,
        ge=8,
        le=MAX_WIDTH,
        description="size of the hidden vector of each token (GPT-2 small: 768; Llama 3 405B: 16,384)",
    )
    heads: int = Field(12, ge=1, le=1024, description="attention heads (GPT-2 small: 12 of 64; Llama 3 405B: 128)")
    kv_heads: int = Field(
        0,
        ge=0,
        le=1024,
        description="heads of keys and values: 0 = as many as `heads` (multi-head), 1 = multi-query (Shazeer 2019), "
        "in between = each shared by a group of heads (grouped-query, Ainslie et al. 2023)",
    )
    head_width: int = Field(
        0, ge=0, le=4096, description="width of one head; 0 = width / heads (Vaswani et al. 2017; Gemma: 256)"
    )
    context: int = Field(
        2048,
        ge=1,
        le=MAX_CONTEXT,
        description="longest sequence in tokens (GPT-3 and the first Llama: 2,048; Qwen2.5-1M: a million)",
    )
    vocab_size: int = Field(
        0,
        ge=0,
        le=MAX_VOCABULARY,
        description="number of token ids; 0 = taken from the tokenizer (XLM-V, Liang et al. 2023: a million)",
    )
    ffn: int = Field(
        0,
        ge=0,
        le=16 * MAX_WIDTH,
        description="inner width of the feed-forward network; 0 = 4 x width (Vaswani et al. 2017) or, if it is gated, "
        "8/3 x width rounded up to a multiple of 64, which costs the same (Touvron et al. 2023, section 2.2)",
    )
    activation: Activation = Field(
        "swiglu",
        description="swiglu, geglu, reglu: gated by SiLU, GELU, ReLU (Shazeer 2020); gelu (Hendrycks & Gimpel 2016); "
        "gelu_tanh: GPT-2's approximation of gelu; relu (Nair & Hinton 2010); silu (Elfwing et al. 2017); relu2: ReLU "
        "squared (So et al. 2021)",
    )
    norm: Literal["rms", "layer"] = Field(
        "rms", description="rms (Zhang & Sennrich 2019) or layer (Ba et al. 2016), always pre-norm"
    )
    norm_eps: float = Field(1e-5, gt=0, le=0.1, description="added to the variance in each norm (Llama 2, GPT-2: 1e-5)")
    positions: Literal["rotary", "sinusoidal", "learned"] = Field(
        "rotary", description="rotary (Su et al. 2021), sinusoidal (Vaswani et al. 2017, 3.5) or learned (GPT-2)"
    )
    rope_base: float = Field(
        10_000.0,
        ge=1,
        le=1e12,
        description="slowest rotary wavelength / 2 pi (Su et al. 2021: 10,000; Qwen2.5-1M: 10 million)",
    )
    bias: bool = Field(False, description="biases in linear layers and layer norms (PaLM and Llama: none)")
    tie_embeddings: bool = Field(
        True, description="one matrix for input and output (Press & Wolf 2017), which is a large part of a small model"
    )
    qk_norm: bool = Field(False, description="RMSNorm on each head's queries and keys (Henry et al. 2020; as in Qwen3)")
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="dropout on the embeddings and the output of each layer; not inside attention, where it would rule "
        "out the fused kernel. 0: one pass over the data does not overfit",
    )
    causal: bool = Field(
        True,
        description="true: a token attends to earlier tokens only; false: to all, for masked-token training (Devlin et "
        "al. 2019)",
    )
    init_std: float = Field(0.02, gt=0, le=1, description="standard deviation of the initial weights (GPT-2: 0.02)")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        if not self.head_width and self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads}), or set head_width")
        head_width = self.head_width or self.width // self.heads
        if self.positions == "rotary" and head_width % 2:
            raise ValueError(f"rotary positions need an even head width, not {head_width}")
        if self.positions == "sinusoidal" and self.width % 2:
            raise ValueError(f"sinusoidal positions need an even width, not {self.width}")
        return self

    @property
    def gated(self) -> bool:
        """Whether the feed-forward network has a gate (three matrices instead of two)."""
        return self.activation in GATED

    def resolved(self) -> ModelConfig:
        """The same shape with all derived sizes filled in. Raises ValueError if vocab_size is 0."""
        if not self.vocab_size:
            raise ValueError("vocab_size is 0, which means 'from the tokenizer': set it before the network is built.")
        gated_ffn = -(-8 * self.width // (3 * 64)) * 64
        return self.model_copy(
            update={
                "kv_heads": self.kv_heads or self.heads,
                "head_width": self.head_width or self.width // self.heads,
                "ffn": self.ffn or (gated_ffn if self.gated else 4 * self.width),
            }
        )

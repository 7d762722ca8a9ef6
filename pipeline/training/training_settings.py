"""The recipe's settings of tunings: one block each for fine-tuning and preference tuning.

The blocks share the settings of the loop (`loop_settings.py`); each adds its own settings and has its own defaults. A
default of 0 or `auto` is derived from the model and the data by the rule in its description.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from model.config import MAX_CONTEXT
from pipeline.settings import MAX_BATCH_TOKENS, say_once
from pipeline.training.loop_settings import LADDER, MAX_DECAY, LoopSettings

MAX_RANK = 65_536  # of LoRA's additions: more than the widest matrix has
Matrix = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class TunedSettings(LoopSettings):
    """A training that starts from a trained network: of all its weights, or of low-rank additions to them."""

    recorded_as: ClassVar[str] = "weights"  # what manifests call `weights`

    weights: Literal["full", "lora", "qlora"] = Field(
        "full",
        description=(
            "train all weights, or low-rank additions that are merged at the end (LoRA, Hu et al. 2021); with qlora,"
            " the frozen matrices are in four bits meanwhile (Dettmers et al. 2023)"
        ),
    )
    embeddings: Literal["all", "markers"] = Field(
        "all",
        description=(
            "train the embeddings of all tokens, or of the markers of a conversation only, so that words that do not"
            " occur in the data keep what they mean; with `weights: full`"
        ),
    )
    context: int = Field(
        0,
        ge=0,
        le=MAX_CONTEXT,
        description=(
            "longest prompt and answer together, in tokens; 0: the model's context, of a downloaded model at most 2,048"
        ),
    )
    lora_rank: int = Field(
        16,
        ge=1,
        le=MAX_RANK,
        description="rank of the additions (Hu et al. 2021, section 7.2: 8 suffices; 16 leaves room)",
    )
    lora_alpha: float = Field(
        32.0, gt=0, le=1e6, description="scale of the additions over their rank (twice the rank is common)"
    )
    lora_targets: tuple[Matrix, ...] = Field(
        get_args(Matrix),
        min_length=1,
        description=(
            "the matrices that get an addition (Dettmers et al. 2023, section 4: all of them, to match full tuning)"
        ),
    )
    lora_rslora: bool = Field(
        False,
        description=(
            "scale by alpha over the square root of the rank, so that a high rank does not learn more slowly (rsLoRA,"
            " Kalajdzievski 2023)"
        ),
    )
    lora_dora: bool = Field(
        False,
        description=(
            "also train the length of each row of a matrix by itself (DoRA, Liu et al. 2024): closer to training all"
            " weights, for more time a step"
        ),
    )

    qlora_kernel: Literal["torch", "bitsandbytes"] = Field(
        "torch",
        description=(
            "what multiplies by matrices in four bits: plain torch, on any device, or the package bitsandbytes (the"
            " extra `bitsandbytes`), whose kernels for GPUs do not write the matrix out"
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _old_form(cls, data: Any) -> Any:
        """`method: full | lora`, as `weights` was called before."""
        if not isinstance(data, dict) or data.get("method") not in ("full", "lora"):
            return data
        if "weights" in data:
            raise ValueError(f"`method: {data['method']}` is the old form of `weights`: leave it out")
        say_once(
            f"`{cls.block}.method: {data['method']}` is the old form of `{cls.block}.weights: {data['method']}`, and is"
            " understood until the next version: write the new one."
        )
        return {**{name: value for name, value in data.items() if name != "method"}, "weights": data["method"]}

    @model_validator(mode="after")
    def _markers_of_all_weights(self) -> TunedSettings:
        if self.embeddings == "markers" and self.weights != "full":
            raise ValueError(
                "`embeddings: markers` needs `weights: full`: low-rank additions leave all embeddings as they are"
            )
        return self

    @model_validator(mode="after")
    def _no_lengths_in_four_bits(self) -> TunedSettings:
        if self.weights == "qlora" and self.lora_dora:
            raise ValueError("`lora_dora` does not go with `weights: qlora`: leave it out, or use `weights: lora`")
        return self

    @property
    def low_rank(self) -> bool:
        """Whether only low-rank additions are trained."""
        return self.weights != "full"

    @property
    def recorded(self) -> dict[str, Any]:
        """All settings as a manifest records them, where `weights` has the name that it has always had."""
        found = super().recorded
        return {**{name: value for name, value in found.items() if name != "weights"}, self.recorded_as: self.weights}


class SftSettings(TunedSettings):
    """Fine-tuning on conversations."""

    block: ClassVar[str] = "sft"
    recorded_as: ClassVar[str] = "method"

    enabled: bool = Field(True, description="false: no fine-tuned model is made")
    ladder: float = LADDER
    epochs: float = Field(3.0, gt=0, le=10_000, description="passes over the conversations (Alpaca, Tülu 3: 2-3)")
    batch_tokens: int = Field(
        8192,
        ge=1,
        le=MAX_BATCH_TOKENS,
        description="tokens per step; some tens of conversations, as is usual (Tülu 3: 128 conversations)",
    )
    context: int = Field(
        0,
        ge=0,
        le=MAX_CONTEXT,
        description="length of a packed sequence; 0: the model's context, of a downloaded model at most 2,048",
    )
    lora_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the inputs that an addition does not see in training (Dettmers et al. 2023: 0.05-0.1)",
    )
    select: Literal["last", "best"] = Field(
        "best",
        description=(
            "which weights become the model: the last ones, or those with the lowest loss on held-back conversations"
            " (small data sets are soon overfitted)"
        ),
    )
    learning_rate: float = Field(
        0.0,
        ge=0,
        le=1,
        description=(
            "highest learning rate; 0: a tenth of what pretraining would use at this size; ten times that with LoRA (Hu"
            " et al. 2021, appendix D)"
        ),
    )
    weight_decay: float = Field(0.0, ge=0, le=MAX_DECAY, description="applied to matrices (Tülu 3: 0)")
    sample_prompts: tuple[str, ...] = Field(
        ("Hello!", "안녕하세요", "Write a function that adds two numbers."),
        description="questions that the samples answer",
    )


# What `beta` is if the recipe does not say: the value of the paper, or of its authors' code.
BETAS = {"dpo": 0.1, "ipo": 0.1, "kto": 0.1, "simpo": 2.0, "orpo": 0.1}
# Keys that some methods alone read, and those methods.
READ_BY = {
    "label_smoothing": ("dpo",),
    "length_normalised": ("dpo", "ipo"),
    "gamma": ("simpo",),
    "desirable_weight": ("kto",),
    "undesirable_weight": ("kto",),
}


class PreferenceSettings(TunedSettings):
    """Preference tuning on pairs of answers, or on single answers that were rated."""

    block: ClassVar[str] = "preference"
    recorded_as: ClassVar[str] = "method"

    enabled: bool = Field(True, description="false: no preference-tuned model is made")
    method: Literal["dpo", "ipo", "kto", "simpo", "orpo"] = Field(
        "dpo",
        description=(
            "the loss: dpo (Rafailov et al. 2023), ipo (Azar et al. 2023, equation 17), kto (Ethayarajh et al. 2024,"
            " equation 8; also learns from single answers with a thumb up or down), or without a reference model:"
            " simpo (Meng et al. 2024, equation 6), orpo (Hong et al. 2024, equations 6 and 7)"
        ),
    )
    ladder: float = LADDER
    epochs: float = Field(1.0, gt=0, le=10_000, description="passes over the pairs (Rafailov et al. 2023; Tülu 3: 1)")
    batch_pairs: int = Field(
        16,
        ge=1,
        le=10**6,
        description="pairs per step (Rafailov et al. 2023, appendix B: 64; fewer for small data sets)",
    )
    beta: float = Field(
        0.1,
        gt=0,
        le=100,
        description=(
            "how strongly the model is held to the reference model (Rafailov et al. 2023: 0.1); ipo: its tau; simpo:"
            " the scale of its reward; orpo: its lambda. Left out: 0.1, and 2.0 with simpo (Meng et al. 2024)"
        ),
    )
    gamma: float = Field(
        1.0,
        ge=0,
        le=100,
        description=(
            "simpo only: the margin by which the better answer's reward should lead (Meng et al. 2024, section 2.3:"
            " half of beta)"
        ),
    )
    desirable_weight: float = Field(
        1.0,
        ge=0,
        le=1000,
        description=(
            "kto only: weight of the loss on good answers. Where there are more answers of one kind, Ethayarajh et al."
            " 2024 (section 4.2) want the weighted numbers of good to bad answers between 1 and 4/3"
        ),
    )
    undesirable_weight: float = Field(1.0, ge=0, le=1000, description="kto only: weight of the loss on bad answers")
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="assumed share of pairs with the wrong preference (conservative DPO, Mitchell 2023)",
    )
    length_normalised: bool = Field(
        False,
        description=(
            "use log-probabilities per token instead of per answer, against a bias towards long answers (Tülu 3,"
            " section 5.1.2)"
        ),
    )
    context: int = Field(
        0,
        ge=0,
        le=MAX_CONTEXT,
        description=(
            "longest prompt and answer together, in tokens; 0: the model's context, of a downloaded model at most"
            " 2,048. Longer prompts lose their start, longer answers their end"
        ),
    )
    learning_rate: float = Field(
        0.0,
        ge=0,
        le=1,
        description=(
            "highest learning rate; 0: a hundredth of what pretraining would use at this size; ten times that with LoRA"
        ),
    )
    weight_decay: float = Field(0.0, ge=0, le=MAX_DECAY, description="applied to matrices (Rafailov et al. 2023: 0)")
    warmup: float = Field(0.1, ge=0, le=1, description="share of the steps over which the rate rises (Tülu 3: 0.1)")
    spike_sigmas: float = Field(
        0.0, ge=0, le=1000, description="off by default, since the loss naturally varies widely between pairs"
    )
    sample_prompts: tuple[str, ...] = Field(
        ("Hello!", "안녕하세요", "Write a function that adds two numbers."),
        description="questions that the samples answer",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_the_method(cls, data: Any) -> Any:
        """`beta` by the method where the recipe does not say it."""
        if not isinstance(data, dict) or "beta" in data or data.get("method") not in BETAS:
            return data
        return {**data, "beta": BETAS[data["method"]]}

    @model_validator(mode="after")
    def _read_by_the_method(self) -> PreferenceSettings:
        for name, methods in READ_BY.items():
            if self.method not in methods and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"`{name}` says nothing with `method: {self.method}`, but with {' and '.join(methods)}: leave it"
                    " out"
                )
        return self

    @property
    def recorded(self) -> dict[str, Any]:
        """All settings as a manifest records them: the loss, which came later, if it is another than dpo."""
        return {**super().recorded, **({"loss": self.method} if self.method != "dpo" else {})}

    @model_validator(mode="after")
    def _no_z_loss(self) -> PreferenceSettings:
        if self.z_loss:
            raise ValueError("z_loss has no meaning in preference tuning: leave it at 0")
        return self

"""The recipe's blocks of reinforcement learning: the reward model, and the training that follows rewards.

A recipe has the models if it has the blocks.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from model.config import MAX_CONTEXT
from pipeline.settings import MAX_STEPS
from pipeline.training.loop_settings import MAX_DECAY
from pipeline.training.rewards import MODEL, Reward
from pipeline.training.training_settings import TunedSettings

QUESTIONS = ("Hello!", "안녕하세요", "Write a function that adds two numbers.")


class RewardModelSettings(TunedSettings):
    """A model that gives answers a score, trained on preferences (Bradley & Terry 1952; Ouyang et al. 2022)."""

    block: ClassVar[str] = "reward_model"

    epochs: float = Field(1.0, gt=0, le=10_000, description="passes over the pairs (Ouyang et al. 2022: 1)")
    batch_pairs: int = Field(16, ge=1, le=10**6, description="pairs per step (Ouyang et al. 2022: 64)")
    learning_rate: float = Field(
        0.0, ge=0, le=1, description="highest learning rate; 0: a tenth of what pretraining would use at this size"
    )
    select: Literal["last", "best"] = Field(
        "best", description="which weights become the model: the last ones, or those with the lowest held-back loss"
    )
    weight_decay: float = Field(0.0, ge=0, le=MAX_DECAY, description="applied to matrices")
    spike_sigmas: float = Field(0.0, ge=0, le=1000, description="off by default, as in `preference`")

    @model_validator(mode="after")
    def _no_z_loss(self) -> RewardModelSettings:
        if self.z_loss:
            raise ValueError("z_loss has no meaning where no token is predicted: leave it at 0")
        return self


class ReinforcementSettings(TunedSettings):
    """Learning from rewards of the model's own answers."""

    block: ClassVar[str] = "reinforcement"

    method: Literal["grpo"] = Field(
        "grpo",
        description=(
            "group relative policy optimisation (Shao et al. 2024, section 4.1), with one update for each step's"
            " answers, so that nothing has to be clipped"
        ),
    )
    rewards: tuple[Reward, ...] = Field(min_length=1, description="what answers are worth: the weighted sum of these")
    prompts: tuple[str, ...] = Field(
        (), description="names of the sets of `instructions` whose conversations are asked; left out, all of them"
    )
    steps: int = Field(200, ge=1, le=MAX_STEPS, description="updates of the weights")
    batch_prompts: int = Field(8, ge=1, le=10**5, description="prompts per step, over all devices")
    answers: int = Field(
        8, ge=2, le=4096, description="answers to each prompt, which are compared with one another (Shao et al.: 64)"
    )
    max_new: int = Field(
        0,
        ge=0,
        le=MAX_CONTEXT,
        description=(
            "most tokens of an answer; 0: twice the longest answer of the conversations that are asked, as far as the"
            " context goes"
        ),
    )
    truncated: Literal["leave_out", "worthless"] = Field(
        "leave_out",
        description=(
            "what becomes of an answer that does not end within `max_new`: nothing is learned from it (Yu et al. 2025,"
            " section 3.4), or it counts as one without any reward. Either way it is counted"
        ),
    )
    beta: float = Field(
        0.04, ge=0, le=100, description="weight of the KL from the model at the start (Shao et al. 2024: 0.04)"
    )
    learning_rate: float = Field(
        0.0,
        ge=0,
        le=1,
        description=(
            "highest learning rate; 0: a hundredth of what pretraining would use at this size; ten times that with LoRA"
        ),
    )
    weight_decay: float = Field(0.0, ge=0, le=MAX_DECAY, description="applied to matrices")
    warmup: float = Field(0.1, ge=0, le=1, description="share of the steps over which the rate rises")
    spike_sigmas: float = Field(
        0.0, ge=0, le=1000, description="off by default, since the loss is no measure of progress"
    )
    sample_prompts: tuple[str, ...] = Field(QUESTIONS, description="questions that the samples answer")

    @model_validator(mode="after")
    def _consistent(self) -> ReinforcementSettings:
        names = [reward.label for reward in self.rewards]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"two rewards are called `{twice}`: give each a `name` of its own")
        if self.sharding == "on":
            raise ValueError("sharding: on does not go with answers that are written in training: leave it out")
        if self.z_loss:
            raise ValueError("z_loss has no meaning here: leave it at 0")
        return self

    @property
    def judged(self) -> bool:
        """Whether a reward model judges answers."""
        return any(reward.kind == MODEL for reward in self.rewards)

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


OF_PPO = ("passes", "minibatches", "clip_range", "value_clip", "value_weight", "gae_lambda", "discount")


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

    method: Literal["grpo", "ppo"] = Field(
        "grpo",
        description=(
            "group relative policy optimisation (Shao et al. 2024, section 4.1), with one update for each step's"
            " answers, so that nothing has to be clipped; or proximal policy optimisation (Schulman et al. 2017), with"
            " a value for each token"
        ),
    )
    rewards: tuple[Reward, ...] = Field(min_length=1, description="what answers are worth: the weighted sum of these")
    prompts: tuple[str, ...] = Field(
        (), description="names of the sets of `instructions` whose conversations are asked; left out, all of them"
    )
    steps: int = Field(200, ge=1, le=MAX_STEPS, description="updates of the weights")
    batch_prompts: int = Field(8, ge=1, le=10**5, description="prompts per step, over all devices")
    answers: int = Field(
        8,
        ge=1,
        le=4096,
        description="answers to each prompt; grpo compares them with one another, so at least 2 (Shao et al.: 64)",
    )
    passes: int = Field(
        4, ge=1, le=1000, description="ppo only: passes over the answers of one writing (Ouyang et al. 2022: 4)"
    )
    minibatches: int = Field(
        1, ge=1, le=10**5, description="ppo only: steps that a pass takes; a part of the answers each"
    )
    clip_range: float = Field(
        0.2, gt=0, lt=1, description="ppo only: how far a probability's ratio pays (Schulman et al. 2017, table 3: 0.2)"
    )
    value_clip: float = Field(
        0.2, gt=0, le=1e6, description="ppo only: the same for the value (Ouyang et al. 2022: 0.2)"
    )
    value_weight: float = Field(0.1, ge=0, le=1000, description="ppo only: weight of the value's loss (Ouyang: 0.1)")
    gae_lambda: float = Field(
        0.95, ge=0, le=1, description="ppo only: decay in the estimate of advantages (Schulman et al. 2016: 0.95-0.98)"
    )
    discount: float = Field(1.0, gt=0, le=1, description="ppo only: what a reward one token later is worth (Ouyang: 1)")
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
        set_ = [name for name in OF_PPO if getattr(self, name) != type(self).model_fields[name].default]
        if self.method != "ppo" and set_:
            raise ValueError(f"`{set_[0]}` says nothing with `method: {self.method}`, but with ppo: leave it out")
        if self.method == "grpo" and self.answers < 2:
            raise ValueError("`answers: 1` gives grpo nothing to compare: ask for at least 2, or use `method: ppo`")
        together = self.passes * self.minibatches
        if self.method == "ppo" and self.steps % together:
            raise ValueError(
                f"{together} steps (`passes` x `minibatches`) learn from the same answers: make `steps` a multiple,"
                f" such as {-(-self.steps // together) * together}"
            )
        if self.method == "ppo" and self.batch_prompts * self.answers < self.minibatches:
            raise ValueError("there are more `minibatches` than answers: ask for fewer")
        if self.sharding == "on":
            raise ValueError("sharding: on does not go with answers that are written in training: leave it out")
        if self.z_loss:
            raise ValueError("z_loss has no meaning here: leave it at 0")
        return self

    @property
    def judged(self) -> bool:
        """Whether a reward model judges answers."""
        return any(reward.kind == MODEL for reward in self.rewards)

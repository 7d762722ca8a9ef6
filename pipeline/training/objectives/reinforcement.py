"""`reinforcement_model`: a fine-tuned model, trained on what its own answers are worth (GRPO or PPO).

Rewards are computed from the text of an answer (`rewards.py`) or are a reward model's scores. `rollouts.py` has the
network write answers; `grpo.py` and `ppo.py` have the losses, `grpo_run.py` and `ppo_training.py` what happens in a
step, and `grpo_training.py` puts them on the loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.context import Inputs, RunContext
from pipeline.store.artifact import Artifact
from pipeline.training import slots
from pipeline.training.reinforcement_settings import ReinforcementSettings

if TYPE_CHECKING:
    from pipeline.training.model_artifact import Training, TrainingProcess

VERSION = "2"  # 2: short rows in bf16 on a CPU attend by the plain formula
ASSET = "reinforcement_model"


def make(context: RunContext, inputs: Inputs, settings: ReinforcementSettings) -> Artifact:
    """Train a model on rewards of its answers to conversations (train.parquet, held_back.parquet with `messages`).

    inputs: base, instruction_data, and reward_model if a reward is of the kind `model`. Raises UserError if there is
    nothing to ask, `Stopped` if a stop was requested.
    """
    from pipeline.training.model_artifact import make_on_all_ranks

    slots.refuse(context, inputs["instruction_data"], ASSET)

    def prepare(process: TrainingProcess) -> Training:
        from pipeline.training.objectives import grpo_training

        return grpo_training.prepare(process, inputs, settings)

    return make_on_all_ranks(
        context,
        ASSET,
        prepare,
        code_version=VERSION,
        settings={"reinforcement": settings.identity, "seed": context.seed},
        inputs={artifact.asset: artifact for artifact in inputs.values()},
    )

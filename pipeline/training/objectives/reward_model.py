"""`reward_model`: a fine-tuned network that gives an answer a score, trained on which of two answers is better.

Bradley & Terry 1952 on pairs of answers, as Ouyang et al. 2022 (equation 1) train it. Only differences of scores mean
something. How often the better answer of a held-back pair has the higher score, with a 95 % interval, is in its facts.
It generates nothing, so it has no evaluation of its own; `reinforcement` uses it to judge answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.context import Inputs, RunContext
from pipeline.store.artifact import Artifact
from pipeline.training import slots
from pipeline.training.reinforcement_settings import RewardModelSettings

if TYPE_CHECKING:
    from pipeline.training.model_artifact import Training, TrainingProcess

VERSION = "2"  # 2: short rows in bf16 on a CPU attend by the plain formula
ASSET = "reward_model"


def make(context: RunContext, inputs: Inputs, settings: RewardModelSettings) -> Artifact:
    """Train a reward model on pairs (train.parquet, held_back.parquet with prompt, chosen, rejected).

    inputs: base, preference_data. The artifact is a model's folder with `reward_head.safetensors` (reward [width]).
    Raises UserError if no pair is usable, `Stopped` if a stop was requested.
    """
    from pipeline.training.model_artifact import make_on_all_ranks

    base, preferences = inputs["base"], inputs["preference_data"]
    slots.refuse(context, preferences, ASSET)

    def prepare(process: TrainingProcess) -> Training:
        from pipeline.training.objectives import reward

        return reward.prepare(process, base, preferences, settings)

    return make_on_all_ranks(
        context,
        ASSET,
        prepare,
        code_version=VERSION,
        settings={"reward_model": settings.identity, "seed": context.seed},
        inputs={base.asset: base, preferences.asset: preferences},
    )

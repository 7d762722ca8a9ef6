"""`task_scores`: how well a model of an experiment knows the answers of the recipe's tasks, in bits per byte of them.

Small models choose answers by chance long after the right answers have become likelier (Gu et al. 2024, OLMES;
Heineman et al. 2025), so likelihood is compared, not the share of right choices. Prompts have no examples.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.context import RunContext
from pipeline.evaluation.choice_scoring import encode_items, score_choices
from pipeline.evaluation.tasks import shots, task_items
from pipeline.evaluation.tasks.scored import scored
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.training import device_lock

ASSET = "task_scores"
VERSION = "1"


def make(context: RunContext, model: Artifact, items: Artifact, tasks: Sequence[str], batch_tokens: int) -> Artifact:
    """The scores of `model` on these tasks: the fact `bits_per_byte`, of the right answers, by task.

    batch_tokens: how many are scored at once, which changes nothing but memory.
    """

    def build(draft: Draft) -> None:
        with device_lock.alone(context, ASSET):
            score(draft)

    def score(draft: Draft) -> None:
        import torch

        from model.export import load as load_model
        from pipeline.tokens.tokenizer import load as load_tokenizer
        from pipeline.training import machine

        directory = model.local_directory()
        device = torch.device(machine.choose_device(context.device))
        network, tokenizer = load_model(directory, torch.float32).to(device).eval(), load_tokenizer(directory)
        found = {}
        for task in tasks:
            questions = task_items.read(items, task)
            choices = [[shots.BEFORE_ANSWER + choice for choice in question.choices] for question in questions]
            prompts = [question.prompt for question in questions]
            encoded, _ = encode_items(prompts, choices, tokenizer, network.config.context)
            table = scored(questions, score_choices(network, encoded, batch_tokens, device))
            found[task] = float(table["bits_per_byte"].to_numpy().mean())
        draft.facts = {"bits_per_byte": found}

    return context.store.make(
        ASSET,
        code_version=VERSION,
        settings={"tasks": list(tasks)},
        inputs={"model": model, "evaluation_tasks": items},
        build=build,
        log=context.log,
    )

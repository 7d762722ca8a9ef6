"""The settings of the built-in measures: how much data each of them uses."""

from __future__ import annotations

from pydantic import Field, model_validator

from model.config import MAX_CONTEXT
from pipeline.evaluation.bias.bias_sets import BiasSet
from pipeline.evaluation.code.program_sets import ProgramSet
from pipeline.evaluation.free.answer_sets import AnswerSet
from pipeline.evaluation.tasks.task_items import Task
from pipeline.evaluation.toxicity.classifier import ToxicitySettings
from pipeline.settings import MAX_BATCH_TOKENS, MAX_DOCUMENTS, MAX_TOKENS, Settings

# For a model without text of its own, such as one that was downloaded.
PROMPTS = (
    "Fellow citizens of the Senate and House of Representatives:",
    "The people of this country",
    "파일을",
    "안녕하세요.",
    "def read(self, size=-1):\n",
)


class VillageSettings(Settings):
    """What to ask about the made-up village; its documents are a source of `kind: generated`."""

    seed: int = Field(0, ge=0, lt=2**63, description="which village: the seed of the source of its documents")
    stories: int = Field(100, ge=1, le=MAX_DOCUMENTS, description="stories to sample, in each language")
    temperature: float = Field(
        0.3, ge=0, le=10, description="temperature of the stories; lower ones are more often right and less varied"
    )


class MeasureSettings(Settings):
    """The part of the recipe's block `evaluation` that the built-in measures use."""

    validation_tokens: int = Field(
        200_000,
        ge=1_000,
        le=MAX_TOKENS,
        description="approximate number of validation tokens to score, shared evenly between sources",
    )
    answers: int = Field(
        64,
        ge=0,
        le=MAX_DOCUMENTS,
        description="number of held-back questions to answer, shared evenly between sources; 0: none",
    )
    answer_tokens: int = Field(64, ge=1, le=MAX_CONTEXT, description="longest answer or continuation, in tokens")
    preferences: int = Field(
        200, ge=0, le=MAX_DOCUMENTS, description="number of held-back preference pairs to score; 0: none"
    )
    prompts: tuple[str, ...] = Field(
        (),
        description="prompts, continued once greedily and once by random sampling; empty: beginnings of validation "
        "documents in the languages of the text",
    )
    temperature: float = Field(
        0.8, gt=0, le=10, description="temperature of the sampled continuations; answers are greedy"
    )
    tasks: tuple[Task, ...] = Field(
        (), description="questions with choices, answered by likelihood (docs/guide/evaluation.md)"
    )
    programs: tuple[ProgramSet, ...] = Field(
        (), description="programming problems, whose answers run in a sandbox (docs/guide/evaluation.md)"
    )
    free_answers: tuple[AnswerSet, ...] = Field(
        (),
        description="questions answered in free text: exact numbers, checkable instructions (docs/guide/evaluation.md)",
    )
    bias: tuple[BiasSet, ...] = Field(
        (), description="sets about stereotypes, measured by likelihood (docs/guide/evaluation.md)"
    )
    toxicity: ToxicitySettings | None = Field(
        None, description="judge continuations by toxicity; empty: do not (docs/guide/evaluation.md)"
    )
    batch_tokens: int = Field(
        4_096, ge=256, le=MAX_BATCH_TOKENS, description="tokens to score at once; lower it if memory is short"
    )
    village: VillageSettings | None = Field(
        None,
        description="ask the models about the made-up village: facts, stories and, after fine-tuning, questions; "
        "empty: do not",
    )

    @model_validator(mode="after")
    def _task_names_differ(self) -> MeasureSettings:
        names = [chosen.name for chosen in (*self.tasks, *self.programs, *self.free_answers, *self.bias)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two tasks are called `{twice}`: rename one")
        return self

"""Programs that a model writes, run in a sandbox: the share of problems of which one of k programs passes its tests.

With one program a problem it is the likeliest (greedy); with more they are drawn, and pass@k is the unbiased estimate
(`code/pass_at_k.py`). A machine that cannot contain a program runs none, and the report says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipeline.evaluation.code.pass_at_k import pass_at_k
from pipeline.evaluation.code.problems import Problem
from pipeline.evaluation.code.program_sets import ProgramSet
from pipeline.evaluation.code.sandbox import Limits, run_all, why_not
from pipeline.evaluation.measure import Headline, Measure, Result, Subject
from pipeline.evaluation.measure_settings import MeasureSettings
from pipeline.evaluation.tasks import task_items
from pipeline.evaluation.tasks.covered_questions import figures_without
from pipeline.evaluation.tasks.scored import with_interval

if TYPE_CHECKING:
    from model.sampling import Sampling

TABLE = "programs"
PROGRAM: dict[str, Any] = {
    "set": pl.String, "problem": pl.Int64, "sample": pl.Int64, "continuation": pl.String, "ending": pl.String,
    "error": pl.String,
}  # fmt: skip


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """pass@k of each set with its interval, how the programs ended, and the programs as a table."""
    reason = why_not()
    if reason is not None:
        subject.log(f"programs are not measured, since they are not run here: {reason}")
        return Result({"not_run": reason})
    groups: dict[str, Any] = {}
    tables: list[pl.DataFrame] = []
    for number, chosen in enumerate(settings.programs):
        problems = task_items.read_problems(subject.inputs["evaluation_tasks"], chosen.name)
        subject.log(f"writing {len(problems) * chosen.samples:,} programs for {chosen.name}")
        table = written_and_run(subject, chosen, problems)
        covered = subject.coverage.of_items(chosen.name) if subject.coverage else None
        groups[chosen.name] = figures(table, chosen, subject.seed, covered)
        tables.append(table)
        subject.progress(number + 1, len(settings.programs))
    return Result(groups, tables={TABLE: pl.concat(tables)})


def written_and_run(subject: Subject, chosen: ProgramSet, problems: Sequence[Problem]) -> pl.DataFrame:
    """A row for every program, in the columns of PROGRAM."""
    asked = [(number, sample) for number in range(len(problems)) for sample in range(chosen.samples)]
    texts = continuations(subject, chosen, [problems[number].prompt for number, _ in asked])
    programs = [problems[number].program(text) for (number, _), text in zip(asked, texts, strict=True)]
    outcomes = run_all(programs, Limits(seconds=chosen.seconds))
    rows = [
        (chosen.name, number, sample, text, outcome.ending, outcome.error)
        for (number, sample), text, outcome in zip(asked, texts, outcomes, strict=True)
    ]
    return pl.DataFrame(rows, schema=PROGRAM, orient="row")


def continuations(subject: Subject, chosen: ProgramSet, prompts: list[str]) -> list[str]:
    """What the model writes after each prompt; of one that is too long for the context, the end counts."""
    from model.generate_together import generate_together

    room = subject.network.config.context - 1
    ids = [encoded[-max(room - chosen.tokens, 1) :].tolist() for encoded in subject.tokenizer.encode(prompts)]
    stop = {subject.tokenizer.ids["<eos>"]}
    found = generate_together(subject.generating, ids, chosen.tokens, sampling(chosen, subject.seed), stop)
    return [subject.tokenizer.decode(one) for one in found]


def sampling(chosen: ProgramSet, seed: int) -> Sampling:
    from model.sampling import GREEDY, Sampling

    return GREEDY if chosen.samples == 1 else Sampling(temperature=chosen.temperature, top_p=0.95, seed=seed)


def figures(
    table: pl.DataFrame, chosen: ProgramSet, seed: int, covered: Mapping[int, bool | None] | None = None
) -> dict[str, Any]:
    """Problems, pass@k with its interval over the problems, and the number of programs by how they ended."""
    by_problem = table.group_by("problem").agg(passed=(pl.col("ending") == "passed").sum()).sort("problem")
    estimates = np.array([pass_at_k(chosen.samples, passed, chosen.k) for passed in by_problem["passed"]])
    endings = Counter(table["ending"])
    without = {}
    if covered:
        known = pl.Series([covered.get(number) for number in by_problem["problem"]], dtype=pl.Boolean)
        rows = pl.DataFrame({"pass": estimates, "covered": known})
        without = {"without_covered": figures_without(rows, {"pass": "pass"}, seed)}
    return {
        "problems": by_problem.height,
        "samples": chosen.samples,
        "k": chosen.k,
        "pass": with_interval(estimates, seed),
        "endings": dict(sorted(endings.items())),
        **without,
    }


MEASURE: Measure[MeasureSettings] = Measure(
    name="programs",
    description="programs that pass their tests",
    run=run,
    needs=("evaluation_tasks",),
    enabled=lambda settings: bool(settings.programs),
    headlines=(Headline("*.pass.value", "pass.*", higher_is_better=True, words="{key}, problems solved"),),
)

"""What was planned for the GPU of this machine, and what happens on it, for every recipe.

    python scripts/gpu_check.py [--recipes recipes/demo.yaml ...] [--steps 5] [--json gpu_check.json]

Run it once on a new kind of card: some minutes for each recipe. For pretraining, fine-tuning and preference tuning it
plans the micro-batch as a training does, then trains that shape on made tokens, through the real loop and twice from
the same start. It needs no data.
It prints a table and writes the same as JSON. It ends with 1 if a training takes more memory than was planned, waits
for the GPU more than once a step, or gives other weights the second time.

`--device cpu --tiny` tries the program itself, on small networks, where there is no GPU.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the code beside this file, whatever else is installed

if TYPE_CHECKING:
    import torch

    from model.config import ModelConfig
    from pipeline.recipe import Recipe
    from pipeline.training.loop import Loop
    from pipeline.training.objectives.objective import Batch, Objective
    from pipeline.training.planning.tracing import Step

FIRST = 2  # steps that are not timed: they compile, choose kernels and make the optimiser's state
MICRO_BATCHES = 4  # at most so many in a step; the others are alike
ROWS = 100_000  # of data that is not there: enough that its number decides nothing
NO_CARD = (
    "torch finds no GPU here: run this on a machine that has one, with a CUDA build of torch, or try the program itself"
    " with --device cpu --tiny."
)
WAIT = "called a synchronizing CUDA operation"
TINY = {
    "layers": 2,
    "width": 64,
    "heads": 4,
    "kv_heads": 2,
    "head_width": 0,
    "ffn": 0,
    "context": 64,
    "vocab_size": 256,
}
COLUMNS = {
    "recipe": "recipe", "training": "training", "precision": "format", "kernel": "attention", "rows": "micro-batch",
    "planned_mib": "planned MiB", "measured_mib": "measured MiB", "planned_tokens_per_second": "planned tokens/s",
    "measured_tokens_per_second": "measured tokens/s", "share_of_peak": "of peak", "planned_hours": "planned hours",
    "measured_hours": "measured hours", "waits": "waits a step", "repeatable": "same bits twice", "wrong": "wrong",
}  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One training of a recipe, as it is planned for this machine."""

    name: str  # the recipe's block
    config: ModelConfig  # with the length of a row as its context
    settings: Any  # of the recipe's block
    precision: str
    rows: int  # in a micro-batch; in preference tuning, two for each pair
    accumulation: int
    steps: int  # of the whole training
    step_tokens: int

    @property
    def tokens(self) -> int:
        """Of the whole training; 0 where that depends on the data."""
        return self.steps * self.step_tokens if self.name == "pretraining" else 0


# -- what is planned ---------------------------------------------------------------------------------------------------


def cases(recipe: Recipe, device: str, tiny: bool) -> Iterator[Callable[[], Case]]:
    """Plans the trainings of a recipe, one at a time: each may be refused for want of memory."""
    shape = recipe.model
    if not shape.vocab_size:
        shape = shape.model_copy(update={"vocab_size": recipe.tokenizer.vocab_size})
    changes: dict[str, Any] = {"checkpoint_minutes": 10_000.0}
    if tiny:
        shape = shape.model_copy(update=TINY)
        changes |= {"batch_tokens": 512, "batch_pairs": 4, "tokens": 100_000, "sequences": 4, "compile": "off"}

    def settings_of(block: Any) -> Any:
        known = {name: value for name, value in changes.items() if name in type(block).model_fields}
        return block.model_copy(update=known)

    if recipe.base is None:
        yield lambda: pretraining(shape, settings_of(recipe.pretraining), device)
    if recipe.sft.enabled:
        yield lambda: tuning(shape, settings_of(recipe.sft), device)
    if recipe.preference.enabled:
        yield lambda: tuning(shape, settings_of(recipe.preference), device)


def pretraining(config: ModelConfig, settings: Any, device: str) -> Case:
    from pipeline.training import machine
    from pipeline.training.measured import Machine
    from pipeline.training.planning import budget, plan

    precision = machine.choose_precision(settings.precision, device, config, Machine())
    fitted = plan.fit(config, settings, precision, device, 1)
    sized = budget.size(config)
    available = max(budget.TOKENS_A_PARAMETER * sized.parameters, settings.tokens)
    run = budget.budget(settings, sized, config.context, available, fitted.sequences)
    return Case("pretraining", config, settings, precision, run.sequences, run.accumulation, run.steps, run.step_tokens)


def tuning(config: ModelConfig, settings: Any, device: str) -> Case:
    """Fine-tuning or preference tuning; its rows are as long as they may be, which takes the most memory."""
    from pipeline.training import machine
    from pipeline.training.measured import Machine
    from pipeline.training.objectives.tuning import batching
    from pipeline.training.planning import plan

    config = config.model_copy(update={"context": min(settings.context or config.context, config.context)})
    precision = machine.choose_precision(settings.precision, device, config, Machine())
    fitted = plan.fit(config, settings, precision, device, 1)
    in_a_row = 2 if settings.block == "preference" else 1  # a pair takes two rows
    step_rows = settings.batch_pairs if in_a_row == 2 else settings.batch_tokens // config.context
    found = batching(ROWS, settings.epochs, step_rows, max(1, fitted.sequences // in_a_row), 0, 1)
    rows, step_tokens = in_a_row * found.micro_rows, in_a_row * found.step_rows * config.context
    return Case(settings.block, config, settings, precision, rows, found.accumulation, found.steps, step_tokens)


def planned_step(case: Case, device: str) -> Step:
    from pipeline.training import machine
    from pipeline.training.planning.tracing import Step

    card = machine.capability(device)
    return replace(Step.of(case.settings, case.rows, case.precision, gpu=card), accumulates=case.accumulation > 1)


def kernel_of(case: Case, step: Step) -> str:
    """The attention kernel that the network is written for on this card."""
    import torch

    from model.attention import Request, form, kernel

    if step.gpu is None:
        return "cpu"
    full = case.config.resolved()
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(case.precision, torch.float32)
    grouped = full.kv_heads != full.heads
    return kernel(form(Request(step.gpu, dtype, full.head_width, step.masked, grouped, True)))


def plan_of(case: Case, device: str) -> Row:
    """Memory of tensors with the plan's margin (`planned_mib`), and on a known card tokens per second and hours."""
    import torch

    from pipeline.training import cards
    from pipeline.training.planning import budget, memory, plan

    step = planned_step(case, device)
    needed = memory.of_step(case.config, step)
    found: Row = {
        "training": case.name, "precision": case.precision, "kernel": kernel_of(case, step), "rows": case.rows,
        "accumulation": case.accumulation, "context": case.config.context,
        "planned_mib": round((needed.total - needed.process) / 2**20), "planned_total_mib": needed.parts()["total"],
    }  # fmt: skip
    card = cards.match(torch.cuda.get_device_name(device)) if step.gpu else None
    if card:
        flops = budget.size(case.config).flops_per_token
        found["planned_tokens_per_second"] = round(1 / (3600 * plan.hours(flops, card, case.precision)))
        if case.tokens:
            found["planned_hours"] = round(plan.hours(flops * case.tokens, card, case.precision), 2)
    return found


# -- what happens ------------------------------------------------------------------------------------------------------


def objective_of(case: Case) -> Objective:
    """Made tokens in the shape of the training, with its loss."""
    from pipeline.training.objectives import dpo, pretraining
    from pipeline.training.objectives.objective import Objective
    from pipeline.training.planning import budget

    settings, preference = case.settings, case.name == "preference"
    return Objective(
        name=case.name,
        steps=case.steps + FIRST + 100,  # more than are run
        accumulation=min(case.accumulation, MICRO_BATCHES),
        step_tokens=case.step_tokens,
        batch=lambda step, micro: batch(case, step, micro),
        units=(lambda made: float(len(made["reference"]))) if preference else pretraining.target_count,
        loss=(lambda model, made: dpo.dpo(model, made, settings)) if preference else pretraining.loss_of(settings),
        flops_per_token=budget.size(case.config).flops_per_token,
    )


def batch(case: Case, step: int, micro: int) -> Batch:
    """Tokens drawn at random; where documents are masked, four to a row."""
    import numpy as np
    import torch

    from pipeline.training.data.pairs import Pair, Pairs, batch_of

    rng, length = np.random.default_rng([step, micro]), case.config.context
    drawn = rng.integers(0, case.config.vocab_size, (2, case.rows, length))
    if case.name == "preference":
        both = [Pair(good, bad, length // 2) for good, bad in zip(drawn[0, ::2], drawn[0, 1::2], strict=True)]
        return batch_of(Pairs(both, {}, 0, np.zeros((len(both), 2), np.float32)), np.arange(len(both)))
    documents = np.sort(rng.integers(0, 4, (case.rows, length))) if planned_step(case, "cpu").masked else None
    arrays = {"tokens": drawn[0], "targets": drawn[1], "documents": documents, "positions": None}
    return {name: None if array is None else torch.from_numpy(array) for name, array in arrays.items()}


@contextmanager
def loop_of(case: Case, device: str) -> Iterator[Loop]:
    """The loop of a training from its start."""
    import torch

    from model import lora
    from model.transformer import Transformer
    from pipeline.training import machine
    from pipeline.training.loop import Loop
    from pipeline.training.measured import Machine
    from pipeline.training.reporting import RunOptions

    torch.manual_seed(0)
    settings, network = case.settings, Transformer(case.config)
    if getattr(settings, "weights", "full") == "lora":
        lora.add(network, settings.lora_rank, settings.lora_alpha)
    muon = machine.muon_precision(device, case.config, Machine()) if settings.orthogonalises else "fp32"
    with machine.deterministic(device), tempfile.TemporaryDirectory() as place:
        options = RunOptions(Path(place), device, case.precision, muon, log=lambda line: None)
        loop = Loop(objective_of(case), network, settings, settings.learning_rate or 1e-4, 0, options)
        try:
            yield loop
        finally:
            loop.close()


def measure(case: Case, device: str, steps: int) -> Row:
    """Peak memory, speed and waits of some steps, and whether a second start gives the same weights."""
    import torch

    from pipeline.training import machine

    gpu = device.startswith("cuda")
    if gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    with loop_of(case, device) as loop:
        advance(loop, FIRST, device)
        first = weights(loop)
        seconds = advance(loop, steps, device)
        waits = waits_of(loop) if gpu else None
        peak = torch.cuda.max_memory_allocated(device) if gpu else None
        tokens = loop.objective.accumulation * case.rows * case.config.context
        flops = loop.objective.flops_per_token
    with loop_of(case, device) as loop:
        advance(loop, FIRST, device)
        again = weights(loop)
    speed, best = steps * tokens / seconds, machine.peak_flops(device, case.precision)
    return {
        "measured_mib": round(peak / 2**20) if peak else None, "measured_tokens_per_second": round(speed),
        "share_of_peak": round(speed * flops / best, 3) if best else None,
        "measured_hours": round(case.tokens / speed / 3600, 2) if case.tokens else None,
        "waits": waits, "repeatable": all(map(torch.equal, first, again)),
    }  # fmt: skip


def weights(loop: Loop) -> list[torch.Tensor]:
    """A copy of the weights as they are now."""
    return [weight.detach().to("cpu", copy=True) for weight in loop.model.parameters()]


def advance(loop: Loop, steps: int, device: str) -> float:
    """Seconds of so many steps, until the device has finished them."""
    import torch

    started = time.perf_counter()
    for _ in range(steps):
        loop._advance()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def waits_of(loop: Loop) -> int:
    """How often the program waits for the GPU in one step, as torch tells it."""
    import torch

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            loop._advance()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum(WAIT in str(warning.message) for warning in found)


# -- the report --------------------------------------------------------------------------------------------------------


def check(recipe_file: Path, device: str, tiny: bool, steps: int) -> Iterator[Row]:
    """A row for each training of a recipe."""
    from pipeline import recipe
    from pipeline.errors import UserError
    from pipeline.training import machine

    for plan in cases(recipe.load(recipe_file), device, tiny):
        row: Row = {"recipe": recipe_file.stem}
        try:
            case = plan()
            row |= plan_of(case, device)
            row |= measure(case, device, steps)
            row["wrong"] = wrong(row, device)
        except UserError as error:
            row["wrong"] = str(error)
        except (RuntimeError, MemoryError) as error:
            if not machine.is_out_of_memory(error):
                raise
            row["wrong"] = "out of memory"
        gc.collect()
        yield row


def wrong(row: Row, device: str) -> str:
    """What of a row does not keep to the plan or to what the documentation says; empty if all does."""
    found = []
    if device.startswith("cuda") and row["measured_mib"] > row["planned_mib"]:
        found.append("more memory than planned")
    if (row["waits"] or 0) > 1:
        found.append("waits within a step")
    if not row["repeatable"]:
        found.append("other weights the second time")
    return ", ".join(found)


def shown(row: Row) -> str:
    """A line of the table."""
    values = (row.get(name) for name in COLUMNS)
    cells = ("-" if value is None else f"{value:,}" if type(value) in (int, float) else str(value) for value in values)
    return f"| {' | '.join(cells)} |"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", type=Path, help="recipe files (default: all in recipes/)")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu")
    parser.add_argument("--tiny", action="store_true", help="small networks in place of the recipes' own")
    parser.add_argument("--steps", type=int, default=5, help="steps that are timed")
    parser.add_argument("--json", type=Path, default=Path("gpu_check.json"), help="where the figures are written")
    return parser


def main(given: list[str] | None = None) -> int:
    options = arguments().parse_args(given)
    import torch

    from pipeline.errors import UserError
    from pipeline.store import made_on

    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print(NO_CARD, file=sys.stderr)
        return 1
    files = options.recipes or sorted(path for path in (ROOT / "recipes").glob("*.yaml") if path.stem != "catalog")
    name = torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else "CPU"
    rows: list[Row] = []
    print(f"{name}\n\n| {' | '.join(COLUMNS.values())} |\n{'| --- ' * len(COLUMNS)}|", flush=True)
    try:
        for file in files:
            for row in check(file, options.device, options.tiny, options.steps):
                rows.append(row)
                print(shown(row), flush=True)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    figures = {"device": name, "cuda": torch.version.cuda, "made_on": made_on.made_on(), "trainings": rows}
    options.json.write_text(json.dumps(figures, indent=1, default=str) + "\n")
    return int(any(row["wrong"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())

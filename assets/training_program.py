"""The child process of a training or evaluation: makes one artifact and reports to the asset that started it.

It is in assets/ so that pipeline/ does not depend on Dagster: the training only receives a function to report its
progress to, and one that tells it to stop.
"""

import os
import signal
import sys
import time
from dataclasses import replace
from typing import Any

from dagster_pipes import PipesContext, open_dagster_pipes

from assets.overrides import overridden
from assets.training_process import STOPPED, WRONG_INPUT
from pipeline import experiment, worth
from pipeline.errors import UserError
from pipeline.graph import Project
from pipeline.inspect import registry
from pipeline.printing import duration
from pipeline.training.stopping import Stopped

SECONDS_BETWEEN_REPORTS = 10.0
MOST_REPORTS = 300  # approximate limit per run: after every hundred reports, the interval doubles


class Progress:
    """Forwards progress reports, limiting their number so that the event log stays small in long runs."""

    def __init__(self, pipes: PipesContext):
        self._pipes = pipes
        self._pause = SECONDS_BETWEEN_REPORTS
        self._last = 0.0
        self._reports = 0

    def __call__(self, figures: dict[str, Any]) -> None:
        now = time.monotonic()
        if now - self._last < self._pause:
            return
        self._last = now
        self._reports += 1
        if self._reports % (MOST_REPORTS // 3) == 0:
            self._pause *= 2
        plain = {name: value for name, value in figures.items() if isinstance(value, bool | int | float | str)}
        self._pipes.report_custom_message({"progress": plain})
        if line := progress_line(plain):
            self._pipes.log.info(line)


def progress_line(figures: dict[str, Any]) -> str:
    """One line of progress for the log; "" for reports that the training logs itself."""
    if "part" in figures:
        done, of = figures["done"], figures["of"]
        return f"{bar(done / max(of, 1))}  {figures['part']}: {done:,} of {of:,}"
    if "seconds_left" not in figures:
        return ""
    step, steps = figures["step"], figures["steps"]
    peak = f", {figures['mfu']:.0%} of peak" if "mfu" in figures else ""
    return (
        f"{bar(step / steps)}  step {step:,} of {steps:,}, loss {figures['loss']:.3f},"
        f" {figures['tokens_per_second']:,.0f} tokens/s{peak}, {figures['memory_bytes'] / 1e9:.1f} GB,"
        f" {duration(figures['seconds_left'])} left"
    )


def bar(share: float, width: int = 20) -> str:
    filled = round(share * width)
    return "█" * filled + "░" * (width - filled) + f" {share:4.0%}"


def main() -> int:
    stop = False

    def request_stop(number: int, frame: Any) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGINT, request_stop)
    signal.signal(signal.SIGTERM, request_stop)
    with open_dagster_pipes() as pipes:
        parent = int(pipes.get_extra("parent"))
        name, block, overrides = pipes.get_extra("asset"), pipes.get_extra("block"), pipes.get_extra("overrides")
        os.environ["SLM_DAGSTER_RUN"] = pipes.run_id  # for the tags of the MLflow run

        def should_stop() -> bool:
            return stop or not is_alive(parent)

        try:
            project = Project.open(log=pipes.log.info)
            if overrides:
                project = replace(project, recipe=overridden(project.recipe, block, overrides))
            project = replace(project, progress=Progress(pipes), should_stop=should_stop)
            if name in project.nodes:
                artifact = project.make(name)
                if os.environ.get("RANK", "0") == "0":
                    registry.record(project.recipe, project.store, artifact, project.log)
            elif name == worth.ASSET:
                worth.run(project)
            else:
                experiment.run_asset(project, name)
        except UserError as error:
            pipes.report_custom_message({"user_error": str(error)})
            return WRONG_INPUT
        except Stopped as stopped:
            pipes.log.info(str(stopped))
            return STOPPED
        except KeyboardInterrupt:
            return STOPPED
        except Exception:
            if should_stop():
                return STOPPED
            raise
    return 0


def is_alive(pid: int) -> bool:
    """Whether a process is running. The child of a run that was killed notices with this that it has to stop."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    sys.exit(main())

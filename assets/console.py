"""What a run prints: one short line for what matters, instead of every event of the engine.

The idea: the event log keeps everything for the UI; a person at a terminal wants to see which asset is at work, what
it says, and, where it fails, the one sentence that says why.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from dagster import AssetExecutionContext, DagsterRunStatus, InitLoggerContext, logger
from dagster._core.errors import DagsterExecutionInterruptedError

# A run in the process of the command itself: no daemon looks after it, and Ctrl-C is how it is stopped.
AT_A_TERMINAL = sys.argv[1:3] in (["job", "execute"], ["asset", "materialize"])

# Events that a person wants to see beside what assets say themselves.
SHOWN = {
    "PIPELINE_FAILURE": "the run failed",
    "PIPELINE_CANCELED": "the run was stopped",
    "PIPELINE_SUCCESS": "the run is done",
}

OF_THE_ENGINE = ("Dependencies for step", "[pipes] external process successfully opened")


class Line(logging.Formatter):
    """`12:34:56  asset  message`."""

    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", None) or {}
        event = meta.get("dagster_event")
        step = (meta.get("step_key") or "").ljust(24)
        if event is None:
            text = (meta.get("orig_message") or record.getMessage()).removeprefix(f"{step.strip()}: ")
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            check = event.event_specific_data
            text = f"CHECK FAILED: {check.check_name}: {check.description}"
        elif event.event_type_value in SHOWN:
            text = f"{SHOWN[event.event_type_value]} ({(meta.get('run_id') or '')[:8]})"
        else:
            text = failure(event)
        beginning = f"{self.formatTime(record, '%H:%M:%S')}  {step}  "
        return beginning + text.replace("\n", "\n" + " " * len(beginning))


class Worthwhile(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        event = (getattr(record, "dagster_meta", None) or {}).get("dagster_event")
        if event is None:  # said by an asset; or by the engine, of each step that comes after one that failed
            said = record.getMessage().rpartition(" - ")[2]
            return record.levelno >= logging.INFO and not said.startswith(OF_THE_ENGINE)
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            return not event.event_specific_data.passed
        return event.event_type_value in SHOWN or event.event_type_value == "STEP_FAILURE"


def failure(event: Any) -> str:
    """Why a step failed: the sentence of a Failure, else the whole error."""
    data = event.event_specific_data
    told = getattr(data, "user_failure_data", None)
    if told is not None and told.description:
        return f"FAILED: {told.description}"
    error = getattr(data, "error_display_string", None)
    if error and "DagsterExecutionInterruptedError" in error:
        return "STOPPED: the same command goes on from here"
    return f"FAILED: {error or event.message}"


@logger(None, description="One short line for what matters; the event log keeps the rest")
def console(context: InitLoggerContext) -> logging.Logger:
    made = logging.Logger("slm", level=logging.DEBUG)
    handler = logging.StreamHandler(terminal() if AT_A_TERMINAL else sys.stderr)
    handler.setFormatter(Line())
    handler.addFilter(Worthwhile())
    made.addHandler(handler)
    return made


def terminal() -> TextIO:
    """The terminal itself, to be asked for before a step begins.

    While a step runs, Dagster writes what comes on stderr to a file and lets `tail` repeat it at the terminal; it ends
    `tail` with the step, and the last lines, which say why the step failed, are lost where `tail` was late.
    """
    return os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")


@contextmanager
def stopped_by_hand(context: AssetExecutionContext) -> Iterator[None]:
    """Ctrl-C at a terminal ends the run as CANCELED, as Terminate in the UI does.

    Dagster takes an interruption for a failure unless the run was asked to stop before; so that is noted first. A run
    that the daemon started is left alone: a signal that nobody asked for there (a machine that goes down) is a failure.
    """
    try:
        yield
    except (DagsterExecutionInterruptedError, KeyboardInterrupt):
        run = context.instance.get_run_by_id(context.run_id)
        if AT_A_TERMINAL and run is not None and run.status == DagsterRunStatus.STARTED:
            context.instance.report_run_canceling(run, "Stopped at the terminal")
        raise

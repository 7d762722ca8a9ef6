"""The console output of a run: short lines for what matters, instead of every event of Dagster's engine.

The event log has everything for the UI. At a terminal, a user wants to see which asset is running, its log lines and,
if it fails, one sentence with the reason.
"""

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from dagster import (
    AssetCheckSeverity,
    AssetExecutionContext,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    InitLoggerContext,
    logger,
)
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.execution.plan import active

from assets.keys import OWNER_TAG, RECIPE_TAG, STORE_TAG

# The run is in the process of the command itself: no daemon monitors it, and Ctrl-C stops it.
AT_TERMINAL = sys.argv[1:3] in (["job", "execute"], ["asset", "materialize"])

# Events to show besides the assets' own log lines.
SHOWN = {
    "PIPELINE_FAILURE": "the run failed",
    "PIPELINE_CANCELED": "the run was stopped",
    "PIPELINE_SUCCESS": "the run is done",
}

# Of a step that waits for a slot of the device, which another run holds; Dagster says so every five minutes.
BLOCKED = re.compile(r"Step (?:still )?blocked by limit for pool (\w+)")
SECONDS_BETWEEN_LINES = 10
ENGINE_MESSAGES = ("Dependencies for step", "[pipes] external process successfully opened")


class LineFormatter(logging.Formatter):
    """`12:34:56  asset  message`."""

    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", None) or {}
        event = meta.get("dagster_event")
        step = (meta.get("step_key") or "").ljust(24)
        if event is None:
            text = (meta.get("orig_message") or record.getMessage()).removeprefix(f"{step.strip()}: ")
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            check = event.event_specific_data
            failed = "CHECK FAILED" if check.severity == AssetCheckSeverity.ERROR else "warning"
            text = f"{failed}: {check.check_name}: {check.description}"
        elif waits_for(event):
            text = waiting(waits_for(event))
        elif event.event_type_value in SHOWN:
            text = f"{SHOWN[event.event_type_value]} ({(meta.get('run_id') or '')[:8]})"
        else:
            text = failure(event)
        beginning = f"{self.formatTime(record, '%H:%M:%S')}  {step}  "
        return beginning + text.replace("\n", "\n" + " " * len(beginning))


class RelevantEvents(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        event = (getattr(record, "dagster_meta", None) or {}).get("dagster_event")
        if event is None:  # logged by an asset, or by the engine for each step after a failed one
            message = record.getMessage().rpartition(" - ")[2]
            return record.levelno >= logging.INFO and not message.startswith(ENGINE_MESSAGES)
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            return not event.event_specific_data.passed
        return bool(waits_for(event)) or event.event_type_value in SHOWN or event.event_type_value == "STEP_FAILURE"


def waits_for(event: Any) -> str:
    """The pool whose slots an event waits for; "" if it says something else."""
    found = BLOCKED.match(event.message or "") if event.event_type_value == "ENGINE_EVENT" else None
    return found[1] if found else ""


def waiting(pool: str) -> str:
    """What a step waits for: the runs that hold the slots of the pool."""
    try:
        with DagsterInstance.get() as instance:
            slots = instance.event_log_storage.get_concurrency_info(pool).claimed_slots
            runs = [run for slot in slots if (run := instance.get_run_by_id(slot.run_id)) is not None]
    except Exception:  # the line is worth less than the run
        runs = []
    holding = ", ".join(described(run) for run in runs) or "another run"
    return f"waiting for the device (pool {pool}), which {holding} uses; Ctrl-C stops waiting"


def described(run: DagsterRun) -> str:
    """A run in a few words: its job, the recipe with its store, its id and whose it is, as far as its tags say."""
    of = "/".join(run.tags[tag] for tag in (STORE_TAG, RECIPE_TAG) if run.tags.get(tag))
    whose = f", {run.tags[OWNER_TAG]}" if run.tags.get(OWNER_TAG) else ""
    return f"{run.job_name}{f' of {of}' if of else ''} ({run.run_id[:8]}{whose})"


def failure(event: Any) -> str:
    """Why a step failed: the description of a Failure, or else the full error."""
    data = event.event_specific_data
    user_failure = getattr(data, "user_failure_data", None)
    if user_failure is not None and user_failure.description:
        return f"FAILED: {user_failure.description}"
    error = getattr(data, "error_display_string", None)
    if error and "DagsterExecutionInterruptedError" in error:
        return "STOPPED: the same command resumes from here"
    return f"FAILED: {error or event.message}"


@logger(None, description="Short lines for what matters; the event log has the rest")
def console(context: InitLoggerContext) -> logging.Logger:
    if AT_TERMINAL:
        active.CONCURRENCY_CLAIM_MESSAGE_INTERVAL = SECONDS_BETWEEN_LINES
    console_logger = logging.Logger("slm", level=logging.DEBUG)
    handler = logging.StreamHandler(terminal() if AT_TERMINAL else sys.stderr)
    handler.setFormatter(LineFormatter())
    handler.addFilter(RelevantEvents())
    console_logger.addHandler(handler)
    return console_logger


def terminal() -> TextIO:
    """The terminal itself; call this before a step starts.

    While a step runs, Dagster redirects stderr to a file and has `tail` copy it to the terminal. It kills `tail` when
    the step ends, so the last lines, which give the reason for a failure, may be lost.
    """
    return os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")


@contextmanager
def cancelled_at_terminal(context: AssetExecutionContext) -> Iterator[None]:
    """Makes Ctrl-C at a terminal end the run as CANCELED, like Terminate in the UI.

    Dagster treats an interruption as a failure unless the run is already CANCELING, so that state is reported first.
    Runs started by the daemon are left alone: an unexpected signal there (such as a shutdown) is a failure.
    """
    try:
        yield
    except (DagsterExecutionInterruptedError, KeyboardInterrupt):
        run = context.instance.get_run_by_id(context.run_id)
        if AT_TERMINAL and run is not None and run.status == DagsterRunStatus.STARTED:
            context.instance.report_run_canceling(run, "Stopped at the terminal")
        raise

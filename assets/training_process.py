"""Runs training and evaluation in a separate process, monitored through Dagster Pipes.

Its memory is released when it ends, `torchrun` can start it on several devices, and terminating the run sends it
SIGINT, on which the training writes a checkpoint. While it runs, it reports log lines, and now and then an observation
of the asset with the loss (at most a few hundred, since the event log keeps each of them).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetObservation,
    Failure,
    PipesTempFileContextInjector,
    PipesTempFileMessageReader,
    open_pipes_session,
)
from dagster._core.errors import DagsterExecutionInterruptedError

from assets import progress
from assets.keys import key
from model import allocator
from pipeline.errors import UserError

PROGRAM = "assets.training_program"
SECONDS_TO_STOP = 120.0  # after SIGINT: enough to write the checkpoint of a large model
POLL_SECONDS = 0.2
# Exit codes of the program, besides 0.
WRONG_INPUT, STOPPED = 3, 4


def run_in_own_process(context: AssetExecutionContext, asset: str, block: str, overrides: Mapping[str, Any]) -> None:
    """Make one artifact in a child process. Raises UserError with the child's message, Failure if it crashed."""
    extras = {"asset": asset, "block": block, "overrides": dict(overrides), "parent": os.getpid()}
    with open_pipes_session(
        context=context,
        extras=extras,
        context_injector=PipesTempFileContextInjector(),
        message_reader=PipesTempFileMessageReader(),
    ) as session:
        process = subprocess.Popen(command(), env={**environment(), **session.get_bootstrap_env_vars()})
        try:
            _watch(context, session, process, asset)
        except (DagsterExecutionInterruptedError, KeyboardInterrupt):
            context.log.info(f"{asset}: asked to stop; waiting for the checkpoint")
            _stop(process)
            raise
        except BaseException:
            _stop(process)
            raise
    messages = session.get_custom_messages()
    sentence = next((message["user_error"] for message in reversed(messages) if "user_error" in message), "")
    if process.returncode == WRONG_INPUT:
        raise UserError(sentence)
    if process.returncode == STOPPED:
        raise Failure(
            description=f"{asset} was stopped; the same command resumes from its checkpoint.", allow_retries=False
        )
    if process.returncode != 0:
        raise Failure(
            description=f"The process that makes `{asset}` ended with {_exit_status(process.returncode)}; see above."
        )


def processes() -> int:
    """How many processes train together."""
    return int(os.environ.get("SLM_PROCESSES") or 1)


def environment() -> dict[str, str]:
    """The child's environment. With several processes each has one thread by default, as `torchrun` would warn."""
    threads = {"OMP_NUM_THREADS": "1"} if processes() > 1 else {}
    return {**threads, **os.environ, **allocator.environment()}


def command() -> list[str]:
    """The child's command: one process, or `torchrun` if SLM_PROCESSES is more than one."""
    if processes() > 1:
        return [
            sys.executable,
            "-m",
            "pipeline.training.torchrun",
            "--standalone",
            f"--nproc-per-node={processes()}",
            "-m",
            PROGRAM,
        ]
    return [sys.executable, "-m", PROGRAM]


def _watch(context: AssetExecutionContext, session: Any, process: subprocess.Popen[bytes], asset: str) -> None:
    """Wait for the child, and log its progress reports as observations of the asset."""
    seen, live = 0, progress.Live()
    running = True
    while running:
        running = process.poll() is None
        messages = session.get_custom_messages()
        for message in messages[seen:]:
            if "progress" in message:
                context.log_event(AssetObservation(asset_key=key(asset), metadata=live.metadata(message["progress"])))
        seen = len(messages)
        if running:
            time.sleep(POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _exit_status(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"

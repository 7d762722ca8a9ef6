"""Training and evaluation in a process of their own, watched through Dagster Pipes.

Why a process: torch's memory goes with it, `torchrun` can take its place on several devices, and a run that is
terminated ends it by SIGINT, on which the training writes a checkpoint. What it reports comes back while it runs: log
lines, and an observation of the asset with the loss now and then (the event log keeps each, so at most a few hundred).
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
    AssetKey,
    AssetObservation,
    Failure,
    PipesTempFileContextInjector,
    PipesTempFileMessageReader,
    open_pipes_session,
)
from dagster._core.errors import DagsterExecutionInterruptedError

from model import allocator
from pipeline.errors import UserError

PROGRAM = "assets.training_program"
SECONDS_TO_STOP = 120.0  # for the checkpoint of a large model, after SIGINT
POLL_SECONDS = 0.2
# Exit codes of the program, beside 0.
WRONG_INPUT, STOPPED = 3, 4


def run_in_process_of_its_own(context: AssetExecutionContext, asset: str, block: str, given: Mapping[str, Any]) -> None:
    """Makes one artifact in a child process. Raises UserError with the child's sentence, Failure if it broke down."""
    extras = {"asset": asset, "block": block, "overrides": dict(given), "parent": os.getpid()}
    with open_pipes_session(
        context=context,
        extras=extras,
        context_injector=PipesTempFileContextInjector(),
        message_reader=PipesTempFileMessageReader(),
    ) as session:
        environment = {**os.environ, **allocator.environment(), **session.get_bootstrap_env_vars()}
        process = subprocess.Popen(command(), env=environment)
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
            description=f"{asset} was stopped; the same command goes on from its checkpoint.", allow_retries=False
        )
    if process.returncode != 0:
        raise Failure(
            description=f"The process that makes `{asset}` ended with {_ending(process.returncode)}; see above."
        )


def command() -> list[str]:
    """The child's command: one process on one device, `torchrun` where SLM_PROCESSES asks for several."""
    processes = int(os.environ.get("SLM_PROCESSES") or 1)
    if processes > 1:
        return [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
            "-m",
            PROGRAM,
        ]
    return [sys.executable, "-m", PROGRAM]


def _watch(context: AssetExecutionContext, session: Any, process: subprocess.Popen[bytes], asset: str) -> None:
    """Waits for the child, and notes what it reports as observations of the asset."""
    seen = 0
    running = True
    while running:
        running = process.poll() is None
        messages = session.get_custom_messages()
        for message in messages[seen:]:
            if "progress" in message:
                context.log_event(AssetObservation(asset_key=AssetKey(asset), metadata=message["progress"]))
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


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"

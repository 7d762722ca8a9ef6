"""What a run prints at a terminal."""

import sys
from pathlib import Path

import pytest
from dagster import build_init_logger_context
from dagster._core.execution import compute_logs

from assets.console import console


def test_a_line_reaches_the_terminal_while_a_step_is_captured(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = console.logger_fn(build_init_logger_context())
    captured = tmp_path / "step.err"

    with compute_logs.redirect_to_file(sys.stderr, str(captured)):
        print("by a library", file=sys.stderr)
        logger.info("가나다: what matters")
    assert "가나다: what matters" in capfd.readouterr().err
    assert captured.read_text() == "by a library\n"

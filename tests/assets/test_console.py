"""What a run prints at a terminal."""

import sys
from pathlib import Path

import pytest
from dagster import build_init_logger_context
from dagster._core.execution import compute_logs

from assets.console import console
from assets.training_program import in_words


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


def test_progress_of_a_training_is_a_line_for_a_person() -> None:
    figures = {
        "step": 60, "steps": 240, "tokens": 245760, "loss": 5.0719, "tokens_per_second": 10540.3, "mfu": 0.5276,
        "memory_bytes": 1.172e9, "seconds_left": 90.2,
    }  # fmt: skip
    line = in_words(figures)
    assert line == (
        "█████░░░░░░░░░░░░░░░  25%  step 60 of 240, loss 5.072, 10,540 tokens/s, 53% of peak, 1.2 GB, 1 min 30 s left"
    )
    assert "peak" not in in_words({name: value for name, value in figures.items() if name != "mfu"})
    assert in_words({"part": "answers", "done": 3, "of": 12}) == "█████░░░░░░░░░░░░░░░  25%  answers: 3 of 12"
    assert in_words({"part": "answers", "done": 0, "of": 0}).startswith("░")
    assert not in_words({"step": 25, "steps": 240, "validation_loss": 5.1}), "told by the training itself"

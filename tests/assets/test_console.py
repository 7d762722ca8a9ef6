"""What a run prints at a terminal."""

import sys
import threading
from pathlib import Path

import pytest
from dagster import DagsterInstance, build_init_logger_context, in_process_executor, job, op
from dagster._core.execution import compute_logs

from assets import console
from assets.training_program import progress_line

CONSOLE = {"loggers": {"console": {}}}  # as in assets/jobs.py


@pytest.mark.parametrize("at_a_terminal", [True, False])
def test_lines_go_to_the_terminal_itself_or_into_the_file_of_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], at_a_terminal: bool
) -> None:
    monkeypatch.setattr(console, "AT_TERMINAL", at_a_terminal)
    logger = console.console.logger_fn(build_init_logger_context())
    of_the_step = tmp_path / "step.err"
    with compute_logs.redirect_to_file(sys.stderr, str(of_the_step)):
        print("by a library", file=sys.stderr)
        logger.info("가나다: what matters")
    assert ("가나다: what matters" in capfd.readouterr().err) == at_a_terminal
    assert ("가나다: what matters" in of_the_step.read_text()) == (not at_a_terminal)
    assert "by a library" in of_the_step.read_text()


def test_a_step_that_waits_for_the_device_says_which_run_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two runs want the one slot: the second says every second (here) which run it waits for, until it is free."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("concurrency: {pools: {default_limit: 1}}\ntelemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setattr(console, "AT_TERMINAL", True)
    monkeypatch.setattr(console, "SECONDS_BETWEEN_LINES", 1)
    monkeypatch.setattr(console.active, "CONCURRENCY_CLAIM_MESSAGE_INTERVAL", 300)

    @op(pool="gpu")
    def trains() -> None: ...

    @job(logger_defs={"console": console.console}, executor_def=in_process_executor, config=CONSOLE)
    def second_job() -> None:
        trains()

    @job
    def first_job() -> None: ...

    with DagsterInstance.get() as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("gpu", 1)
        tags = {"slm/store": "ara", "slm/recipe": "notes", "slm/owner": "ara"}
        first = instance.create_run_for_job(first_job, tags=tags)
        storage.claim_concurrency_slot("gpu", first.run_id, "trains")
        threading.Timer(4.0, lambda: storage.free_concurrency_slots_for_run(first.run_id)).start()
        done = second_job.execute_in_process(instance=instance)
    assert done.success
    lines = [line for line in capfd.readouterr().err.splitlines() if "waiting for the device" in line]
    assert len(lines) >= 2 and f"(pool gpu), which first_job of ara/notes ({first.run_id[:8]}, ara) uses" in lines[0]


def test_progress_of_a_training_is_a_line_for_a_person() -> None:
    figures = {
        "step": 60, "steps": 240, "tokens": 245760, "loss": 5.0719, "tokens_per_second": 10540.3, "mfu": 0.5276,
        "memory_bytes": 1.172e9, "seconds_left": 90.2,
    }  # fmt: skip
    line = progress_line(figures)
    assert line == (
        "█████░░░░░░░░░░░░░░░  25%  step 60 of 240, loss 5.072, 10,540 tokens/s, 53% of peak, 1.2 GB, 1 min 30 s left"
    )
    assert "peak" not in progress_line({name: value for name, value in figures.items() if name != "mfu"})
    assert progress_line({"part": "answers", "done": 3, "of": 12}) == "█████░░░░░░░░░░░░░░░  25%  answers: 3 of 12"
    assert progress_line({"part": "answers", "done": 0, "of": 0}).startswith("░")
    assert not progress_line({"step": 25, "steps": 240, "validation_loss": 5.1}), "logged by the training itself"

"""What Dagster costs while a model trains: the run's process, which waits, polls, and notes what the training reports.

    python -m benchmarks.watching --reports 215 --seconds 60

A training of an hour reports about 215 times (every ten seconds, less often after a hundred reports). Here, a child
process sends that many reports at once and then waits. The CPU seconds of the run's process are divided into the cost
of a report and of a second of waiting.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import cpu_of

CHILD = """
import sys, time
from dagster_pipes import open_dagster_pipes
from assets import training_program
training_program.SECONDS_BETWEEN_REPORTS = 0.0
with open_dagster_pipes() as pipes:
    progress = training_program.Progress(pipes)
    for step in range({reports}):
        progress._pause = 0.0
        progress({{"step": step, "steps": 3600, "tokens": step * 4096, "loss": 5.0, "grad_norm": 1.0,
                  "learning_rate": 0.001, "tokens_per_second": 4000.0, "mfu": 0.2}})
    time.sleep({seconds})
"""


def watched(reports: int, seconds: float) -> float:
    """CPU-seconds of this process for a step that watches a child with so many reports, which lasts so long."""
    # Here, so that the command line does not wait for Dagster.
    from dagster import AssetExecutionContext, DagsterInstance, MaterializeResult, asset, materialize

    from assets import training_process

    training_process.command = lambda: [sys.executable, "-c", CHILD.format(reports=reports, seconds=seconds)]

    @asset
    def model(context: AssetExecutionContext) -> MaterializeResult:
        training_process.run_in_own_process(context, "model", "", {})
        return MaterializeResult()

    with tempfile.TemporaryDirectory() as home:
        Path(home, "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        with DagsterInstance.from_config(home) as instance:
            materialize([model], instance=instance)  # once for what is loaded and made the first time
            result, seconds = cpu_of(lambda: materialize([model], instance=instance))
    assert result.success
    return seconds


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=215)
    parser.add_argument("--seconds", type=float, default=60)
    return parser


def main() -> None:
    given = arguments().parse_args()
    os.environ["SLM_TRACKING"] = "off"
    started = time.monotonic()
    none, waited, reported = watched(0, 0), watched(0, given.seconds), watched(given.reports, 0)
    report, second = (reported - none) / given.reports, (waited - none) / given.seconds
    print(f"a run {none:.2f} CPU-s, and a report {1000 * report:.1f} ms, a waiting second {1000 * second:.2f} ms")
    hour = none + given.reports * report + 3600 * second
    print(f"an hour with {given.reports} reports: {hour:.1f} CPU-s, {hour / 36:.2f} % of one core")
    print(f"measured in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

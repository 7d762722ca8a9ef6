"""For all tests."""

import os
from pathlib import Path

import pytest

import pipeline  # noqa: F401  (before any test loads torch: it sets how torch's threads wait)

# Tests run beside one another and beside whatever else trains on this machine (tests/training/test_device_lock.py has
# devices of its own).
os.environ["SLM_DEVICE_SLOTS"] = "0"

TESTS = Path(__file__).parent
# What starts processes, trains for a while or plans large networks: `make test-fast` leaves it out.
SLOW = (
    "annotation/test_annotate_commands.py",
    "annotation/test_judging_page.py",
    "assets/test_experiments.py",
    "end_to_end",
    "operations",
    "curation/test_names.py",
    "documents/test_execution.py",
    "experiments/test_experiment.py",
    "experiments/test_worth.py",
    "faults",
    "evaluation/test_own_measure.py",
    "faults/test_nothing_is_quoted.py",
    "faults/test_readers_under_random_damage.py",
    "model/test_allocator.py",
    "report/test_in_a_browser.py",
    "model/test_graph_files.py",
    "model/test_serving_under_attack.py",
    "model/test_threads.py",
    "test_curate.py",
    "test_doubling.py",
    "test_forget_exactly.py",
    "test_gpu_check.py",
    "test_incremental.py",
    "test_lineage.py",
    "test_remote.py",
    "tokens/test_round_trip.py",
    "tokens/test_training.py",
    "training/test_checkpoint_parts.py",
    "training/test_distillation.py",
    "training/test_distributed.py",
    "training/test_fine_tuning.py",
    "training/test_forgetting_conversations.py",
    "training/test_forgetting_exactly.py",
    "training/test_grpo.py",
    "training/test_loop.py",
    "training/test_plan.py",
    "training/test_plan_paths.py",
    "training/test_ppo.py",
    "training/test_preference_losses.py",
    "training/test_reinforcement_on_ranks.py",
    "training/test_pretraining.py",
    "training/test_synchronisations.py",
    "training/test_torchrun.py",
    "training/test_two_nodes.py",
    "village/test_asking.py",
    "word_vectors",
    "village/test_found.py",
)


# Folders whose tests share what takes long to make: one process runs them. Of all others, one process runs a file.
TOGETHER = ("end_to_end",)


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("PYTEST_XDIST_WORKER"):  # the processes share the cores
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        name = item.path.relative_to(TESTS).as_posix()
        if name.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
        if os.environ.get("PYTEST_XDIST_WORKER"):
            folder = name.partition("/")[0]
            item.add_marker(pytest.mark.xdist_group(folder if folder in TOGETHER else name))

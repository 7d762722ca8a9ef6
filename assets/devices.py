"""The pools of Dagster in which trainings and evaluations wait for a device.

A pool has one slot (`default_limit` in dagster.yaml), unless `dagster instance concurrency set POOL SLOTS` says
otherwise. Pools are of one instance; what waits for the device itself, in Dagster or not, is
pipeline/training/device_lock.py.
"""

import os

from pipeline.locations import VISIBLE

GPU, CPU = "gpu", "cpu"


def pool_of(device: str) -> str:
    """The pool of a recipe's trainings. device: as the recipe sets it; definitions do not ask torch what there is.

    `cpu` where the recipe says so; else `gpu`, or `gpu_0`, `gpu_0_1` for the GPUs that this process sees.
    """
    if device == CPU:
        return CPU
    seen = os.environ.get(VISIBLE, "")
    return "_".join([GPU, *seen.split(",")]) if seen.replace(",", "").isdecimal() else GPU

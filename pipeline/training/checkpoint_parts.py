"""The tensors of a checkpoint in parts: each process writes those of its shard, and none gathers the others.

    checkpoints/step-00000120/shard-00001-model-00001-of-00002.safetensors     what process 0 held, in two files
    checkpoints/step-00000120/shard-00001-model-00002-of-00002.safetensors
    checkpoints/step-00000120/shard-00002-model-00001-of-00002.safetensors     what process 1 held
    checkpoints/step-00000120/shard-00002-model-00002-of-00002.safetensors

They are written and read by torch's distributed checkpoint (DCP), which gives any number of processes what each of them
holds, out of whatever parts there are. It describes parts in a pickle, or, in its safetensors form, in their headers:
this is the second, so that nothing is unpickled. A tensor that is not sharded is in one of the parts.

This module imports torch at the top; import it only to train.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from pipeline.store import bytes_check
from pipeline.store.bytes_check import HASH
from pipeline.store.disk import DiskTrouble
from pipeline.training.distributed import Ranks, own_part

PROBE = ".seen"
FILE_BYTES = 64 * 2**20  # of a part, about: DCP holds all of a file in memory while it writes it
Groups = Mapping[str, Mapping[str, torch.Tensor]]  # tensors by group (model, optimiser, average) and name


def seen_by_all(ranks: Ranks, directory: Path) -> bool:
    """Whether all processes see the folder that rank 0 names, so that each can write its part there."""
    token = os.urandom(8).hex()

    def ask() -> tuple[Path, str]:
        if ranks.first:
            (directory / PROBE).write_text(token)
        return directory / PROBE, token

    probe, asked = ranks.agreed(ask)
    seen = ranks.every(lambda: probe.is_file() and probe.read_text() == asked)
    if ranks.first:
        probe.unlink(missing_ok=True)
    return all(seen)


def write(tensors: Groups, place: Path, rank: int) -> dict[str, dict[str, int | str]]:
    """Write this process's part into a folder that is there; returns size and fast hash of its files, by name.

    All ranks call it together, with the same names. Raises DiskTrouble on all of them if one could not write.
    """
    state = _flat(tensors)
    writer = dcp.HuggingFaceStorageWriter(str(place), fqn_to_index_mapping=_in_files(state), save_distributed=True)
    planner = DefaultSavePlanner(dedup_save_to_lowest_rank=True)  # what all hold is in the first part
    try:
        dcp.save(state, storage_writer=writer, planner=planner)
    except CheckpointException as error:
        failed, (why, _) = min(error.failures.items())
        raise DiskTrouble(
            f"Process {failed} could not write its part of the checkpoint {place.stem} ({why}): see that there is room "
            f"in {place.parent} and that all processes may write there, then run the same command again."
        ) from error
    files = sorted(place.glob(f"shard-{rank + 1:05d}-*"))
    return {path.name: {"bytes": path.stat().st_size, HASH: bytes_check.fast_hash(path)} for path in files}


def read_into(targets: Groups, place: Path) -> None:
    """Fill tensors, sharded in any way, from a checkpoint in parts. All ranks call it together, with the same names."""
    dcp.load(_flat(targets), storage_reader=dcp.HuggingFaceStorageReader(str(place)))


def read_whole(place: Path, group: str) -> dict[str, torch.Tensor]:
    """The tensors of one group, whole, on the CPU, in this process alone; empty if there is no such group."""
    tensors = {
        name: torch.empty(about.size, dtype=about.properties.dtype) for name, about in _described(place, group).items()
    }
    with _alone():
        dcp.load(_flat({group: tensors}), storage_reader=dcp.HuggingFaceStorageReader(str(place)), no_dist=True)
    return tensors


def room_for(place: Path, group: str, patterns: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors to read a group into: sharded like the pattern of their parameter, where they have its shape.

    patterns: the parameters by name. The tensors of the group are named `<parameter>/<key>`.
    """
    room = {}
    for name, about in _described(place, group).items():
        pattern = patterns[name.rpartition("/")[0]].detach()
        if about.size == pattern.shape:
            room[name] = torch.zeros_like(pattern, dtype=about.properties.dtype)
        else:  # such as a count of steps
            room[name] = torch.zeros(about.size, dtype=about.properties.dtype)
    return room


def _flat(groups: Groups) -> dict[str, torch.Tensor]:
    return {f"{group}/{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}


def _in_files(state: dict[str, torch.Tensor]) -> dict[str, int]:
    """The file of its part in which a tensor is, from 1. Rank 0 decides it for all."""
    size, files = 0, {}
    for name, tensor in state.items():
        files[name] = 1 + size // FILE_BYTES
        size += own_part(tensor).nbytes
    return files


def _described(place: Path, group: str) -> dict[str, TensorStorageMetadata]:
    """Shape and number format of the tensors of a group, by name, in the order of names."""
    known = dcp.HuggingFaceStorageReader(str(place)).read_metadata().state_dict_metadata
    found = {key.partition("/")[2]: about for key, about in known.items() if key.partition("/")[0] == group}
    return {name: about for name, about in sorted(found.items()) if isinstance(about, TensorStorageMetadata)}


@contextmanager
def _alone() -> Iterator[None]:
    """DCP warns whoever reads in one process that there is one process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield

"""Training in several processes: ranks, collective operations, sharded weights.

Under `torchrun` each process has a rank. All compute the same step on different sequences and average their gradients;
only rank 0 logs, tracks and writes. If a model does not fit on one device, its weights, gradients and optimiser state
are sharded (FSDP2), and each process writes its part of a checkpoint (`checkpoint_parts.py`). A run can be resumed with
another number of processes.

Small values (is a stop requested? how many targets are in this step?) are exchanged as CPU tensors through gloo, so
that no GPU has to wait.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.errors import UserError
from pipeline.training.stopping import Stopped

if TYPE_CHECKING:
    import numpy as np
    import torch

Tensors = dict[str, "torch.Tensor"]
T = TypeVar("T")


class RefusedByAll(UserError):
    """A mistake that one rank found and all have heard of, so that all end with its sentence."""

    def __init__(self, sentence: str, draft_stays: bool = False):
        super().__init__(sentence)
        self.draft_stays = draft_stays


class StoppedByAll(Stopped):
    """One rank was asked to stop, and all have heard of it."""


class LostContact(UserError):
    """Another process has ended without a word. Checkpoints stay, so that the training can be resumed."""

    draft_stays = True


@dataclass(frozen=True)
class Ranks:
    """This process's rank among those that train together."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        return self.rank == 0

    def total(self, *values: float) -> list[float]:
        """Sums over all ranks."""
        if self.world == 1:
            return list(values)
        import torch

        tensor = torch.tensor(values, dtype=torch.float64)
        torch.distributed.all_reduce(tensor)
        return tensor.tolist()

    def every(self, find: Callable[[], T]) -> list[T]:
        """What `find` returned on each rank, in order, on every rank.

        Raises RefusedByAll on every rank if `find` raised UserError on one of them, and StoppedByAll likewise. A rank
        that fails before it comes to an exchange is heard in it (`together`), so none waits in vain.
        """
        if self.world == 1:
            return [find()]
        value: Any = None
        refusal: UserError | Stopped | None = None
        try:
            value = find()
        except (RefusedByAll, StoppedByAll):  # the others know already
            raise
        except (UserError, Stopped) as error:
            refusal = for_all(error)
        return self._exchange(value, refusal)

    def refuse(self, error: UserError) -> None:
        """Have all other ranks, which wait in an exchange, end with the sentence of `error`."""
        if self.world > 1:
            with suppress(RefusedByAll):
                self._exchange(None, for_all(error))

    def together(self, prepare: Callable[[], T]) -> T:
        """`prepare()` of this rank, once it has succeeded on all; what one rank refuses, all refuse (see `every`)."""
        kept: list[T] = []
        self.every(lambda: kept.append(prepare()))
        return kept[0]

    def least(self, find: Callable[[], float]) -> float:
        """The smallest of what `find` returned on each rank."""
        return min(self.every(find))

    def agreed(self, find: Callable[[], T]) -> T:
        """Rank 0's answer, on every rank, where machines might answer differently."""
        return self.every(find)[0]

    def _exchange(self, value: Any, refusal: UserError | Stopped | None) -> list[Any]:
        import torch

        heard: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(heard, (value, refusal))
        for told in (told for _, told in heard if told is not None):
            raise told
        return [found for found, _ in heard]

    def total_of(self, array: np.ndarray) -> np.ndarray:
        """The sum of an array (float64) over all ranks."""
        if self.world == 1:
            return array
        import torch

        tensor = torch.from_numpy(array.copy())
        torch.distributed.all_reduce(tensor)
        return tensor.numpy()

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        if self.world == 1:
            return value
        import torch

        box = [value]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]

    def broadcast_tensors(self, tensors: Tensors) -> Tensors:
        """Rank 0's tensors (on the CPU), on every rank."""
        if self.world == 1:
            return tensors
        import torch

        shapes = self.broadcast([(name, t.shape, t.dtype) for name, t in tensors.items()])
        received = {}
        for name, shape, dtype in shapes:
            tensor = tensors[name].contiguous() if self.first else torch.empty(shape, dtype=dtype)
            torch.distributed.broadcast(tensor, src=0)
            received[name] = tensor
        return received


def for_all(error: UserError | Stopped) -> RefusedByAll | StoppedByAll:
    """What all ranks raise when one of them has raised `error`."""
    if isinstance(error, Stopped):
        return StoppedByAll(str(error))
    return RefusedByAll(str(error), getattr(error, "draft_stays", False))


def under_torchrun() -> bool:
    """Whether this process was started by torchrun (or by anything that sets its environment variables)."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def process_group(device: str) -> Iterator[tuple[Ranks, str]]:
    """Joins the processes of torchrun, if it started this one; yields this process's ranks and device."""
    if not under_torchrun():
        yield Ranks(), device
        return
    import torch

    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", "0")))
    own_device = f"cuda:{ranks.local}" if device.startswith("cuda") else device
    if own_device.startswith("cuda"):
        torch.cuda.set_device(own_device)
    initialised = torch.distributed.is_initialized()
    if not initialised:
        backend = "cpu:gloo,cuda:nccl" if own_device.startswith("cuda") else "gloo"
        torch.distributed.init_process_group(backend, timeout=timedelta(minutes=30))
    try:
        yield ranks, own_device
    except RuntimeError as error:
        if not lost_contact(error):
            raise
        raise LostContact(
            f"Process {ranks.rank} of this training has lost contact with another one, which has ended or cannot be "
            "reached: where torchrun has restarts left (`--max-restarts`), it starts all again; otherwise the same "
            "command resumes from the last checkpoint."
        ) from error
    finally:
        if not initialised:
            torch.distributed.destroy_process_group()


def lost_contact(error: RuntimeError) -> bool:
    """Whether a collective operation failed since another process is gone. gloo only says so in words."""
    import torch

    lost = (torch.distributed.DistBackendError, torch.distributed.DistNetworkError, torch.distributed.DistStoreError)
    words = ("gloo/transport", "Connection closed by peer", "Connection reset by peer")
    return isinstance(error, lost) or any(word in str(error) for word in words)


# -- one model over several devices ------------------------------------------------------------------------------------


def shard(model: torch.nn.Module, device: str, precision: str) -> None:
    """Shard every block's weights over all ranks, in place (FSDP2; Zhao et al. 2023)."""
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(device.split(":")[0], (torch.distributed.get_world_size(),))
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    policy = MixedPrecisionPolicy(param_dtype=kind, reduce_dtype=torch.float32) if kind else MixedPrecisionPolicy()
    for blocks in [child for child in model.modules() if isinstance(child, torch.nn.ModuleList)]:
        for block in blocks:
            fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)


def parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters by name as they last: sharded, where the model is.

    After a forward pass without a backward one, FSDP2 leaves whole copies of the outermost module's weights in their
    place, and what is written into these is lost.
    """
    for module in model.modules():
        reshard = getattr(module, "reshard", None)
        if callable(reshard):
            reshard()
    return dict(model.named_parameters())


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    """The full tensor, gathered from all ranks if it is sharded; every rank must call this."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def own_part(tensor: torch.Tensor) -> torch.Tensor:
    """What this rank holds of a tensor: all of it, unless it is sharded."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def sharded_like(tensor: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
    """A full tensor, sharded and placed like `pattern`."""
    if hasattr(tensor, "full_tensor"):
        return tensor
    if not hasattr(pattern, "full_tensor") or tensor.shape != pattern.shape:
        return tensor.to(pattern.device)
    from torch.distributed.tensor import distribute_tensor

    device = pattern.device_mesh.device_type  # type: ignore[attr-defined]
    return distribute_tensor(tensor.to(device), pattern.device_mesh, pattern.placements)  # type: ignore[attr-defined]

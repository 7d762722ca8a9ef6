"""The state of a run: the weights, the optimiser, the log, and what else a checkpoint holds; saving and restoring it.

Every rank has one. All ranks call its functions together, since sharded tensors are gathered from all of them; rank 0
alone reads and writes checkpoints (`checkpoint.py`).

This module imports torch at the top; import it only to train.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipeline.errors import UserError
from pipeline.training import checkpoint, distributed, kept_weights
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.objectives.objective import Objective
from pipeline.training.optimiser import Optimiser
from pipeline.training.reporting import RunOptions
from pipeline.training.training_settings import LoopSettings

if TYPE_CHECKING:
    from pipeline.training.checkpoint_parts import Groups


class RunState:
    """What a run has come to."""

    def __init__(
        self,
        objective: Objective,
        model: torch.nn.Module,
        settings: LoopSettings,
        learning_rate: float,
        options: RunOptions,
    ):
        ranks, device = options.ranks, options.device
        self.objective, self.settings, self.ranks, self.device = objective, settings, ranks, device
        self.run, self.log, self.options = options.run, options.log, options
        self.precision = options.precision
        if hasattr(model, "gradient_checkpointing"):
            model.gradient_checkpointing = settings.activation_checkpointing  # type: ignore[assignment]
        self.sharded = options.sharded and ranks.world > 1
        if self.sharded and any(parameter._backward_hooks for parameter in model.parameters()):
            raise UserError("embeddings: markers needs unsharded weights: set sharding: off, or embeddings: all.")
        if self.sharded:  # before the weights go to the device, where they may not fit unsharded
            distributed.shard(model, device, self.precision)
        self.model = model.to(device)
        self.optimiser = Optimiser(model, settings, learning_rate, options.muon_precision)
        self.scaler = torch.amp.GradScaler(device.split(":")[0]) if self.precision == "fp16" else None
        self.average = {n: p.detach().clone() for n, p in model.named_parameters()} if settings.averages else {}

        self.step = 0
        self.rows: list[dict[str, Any]] = []
        self.skipped: list[int] = []
        self.rollbacks = 0
        self.figures: dict[str, float] = {}
        self.checkpoints = (
            Checkpoints(options.directory, settings.keep_checkpoints, options.ladder) if ranks.first else None
        )
        self.in_parts = self.sharded and self._folder_is_shared()
        self.saved_at = -1
        self.saved_time = time.monotonic()

    # -- weights -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        """Replace the weights by their running average, if there is one, for the duration of the block."""
        if not self.average:
            yield
            return
        kept = {name: p.detach().clone() for name, p in distributed.parameters(self.model).items()}
        self._use_average()
        try:
            yield
        finally:
            self._set_weights(kept)

    def _use_average(self) -> None:
        if self.average:
            self._set_weights(self.average)

    def _set_weights(self, tensors: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in distributed.parameters(self.model).items():
                if name in tensors:
                    parameter.copy_(distributed.sharded_like(tensors[name], parameter))

    def _keep_weights(self) -> None:
        """Write the weights as they would become the model now; after a rollback, the later ones replace them."""
        with self._averaged_weights():
            weights = {n: distributed.gathered(p.detach()) for n, p in distributed.parameters(self.model).items()}
        if self.checkpoints is not None:
            kept_weights.write(weights, self.options.directory.parent, self.step)

    def _finite(self) -> bool:
        """Whether all weights are finite, on every rank."""
        parameters = distributed.parameters(self.model).values()
        finite = torch.stack([torch.isfinite(distributed.own_part(p)).all() for p in parameters])
        return self.ranks.total(float(not finite.all()))[0] == 0

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def _checkpoint_due(self) -> bool:
        if self.step == self.saved_at:
            return False
        every = self.settings.checkpoint_every
        if every and self.step and self._reached(every):
            return True
        if self.options.ladder is not None and self.step in self.options.ladder.steps:
            return True
        late = time.monotonic() - self.saved_time > 60 * self.settings.checkpoint_minutes
        return bool(self.ranks.broadcast(late))

    def _reached(self, every: int) -> bool:
        """Whether a multiple of `every` lies at this step, or between steps that belong together and end here."""
        together = self.objective.together
        return self.step % together == 0 and self.step % every < together

    def _save(self) -> None:
        if self.step % self.objective.together or not self._finite():  # never a state to return to
            return
        tensors = {
            "model": {name: p.detach() for name, p in distributed.parameters(self.model).items()},
            "optimiser": self.optimiser.state(),
            "average": self.average,
        }
        self.saved_at, self.saved_time = self.step, time.monotonic()
        measured = self.rows[-1].get("validation_loss") if self.rows else None
        state = {
            "validation_loss": measured,
            "skipped": self.skipped,
            "rollbacks": self.rollbacks,
            "figures": self.figures,
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "tracking": self.run.id if self.run else "",
        }
        if self.in_parts:
            self._save_parts(tensors, state)
            return
        whole = {group: {name: distributed.gathered(t) for name, t in own.items()} for group, own in tensors.items()}
        if self.checkpoints:
            self.checkpoints.save(self.step, whole, self.rows, state)

    def _folder_is_shared(self) -> bool:
        """Whether all ranks see the folder of the checkpoints, so that each can write its part."""
        from pipeline.training import checkpoint_parts

        shared = checkpoint_parts.seen_by_all(self.ranks, self.options.directory)
        if not shared:
            self.log(
                "not all processes see the folder of the checkpoints, so process 0 gathers and writes all weights: a"
                " folder that all machines share, as SLM_DATA or SLM_CACHE, spares it this"
            )
        return shared

    def _save_parts(self, tensors: Groups, state: dict[str, Any]) -> None:
        """Each rank writes its own part; training goes on when all have."""
        from pipeline.training import checkpoint_parts

        part = self.ranks.agreed(lambda: self.checkpoints.begin(self.step) if self.checkpoints else Path())
        written = self.ranks.every(lambda: checkpoint_parts.write(tensors, part, self.ranks.rank))
        if self.checkpoints:
            files = {name: entry for own in written for name, entry in own.items()}
            self.checkpoints.complete(part, self.rows, {**state, checkpoint.PARTS: self.ranks.world}, files)

    def _drop_damaged(self) -> list[str]:
        return self.checkpoints.drop_damaged(self.settings.select == "best") if self.checkpoints else []

    def _state(self, place: Path | None) -> dict[str, Any] | None:
        """The state of a checkpoint that is intact, on every rank; None if there is no checkpoint. Raises Damaged."""

        def read() -> dict[str, Any] | None:
            if place is None:
                return None
            checkpoint.refuse_damaged(place)
            return checkpoint.read_state(place)

        return self.ranks.agreed(read)

    def _resume(self) -> None:
        """Load the newest checkpoint, if there is one."""
        place = self.checkpoints.latest() if self.checkpoints else None
        state = self._state(place)
        if state is None:
            return
        self._restore(place, state)
        self.step, self.saved_at = state["step"], state["step"]
        self.rows = self.ranks.broadcast(checkpoint.read_log(place) if place else None)
        self.skipped, self.rollbacks, self.figures = list(state["skipped"]), state["rollbacks"], state["figures"]
        if self.step:
            self.log(f"resuming from the checkpoint of step {self.step} of {self.objective.steps}")

    def _restore(self, place: Path | None, state: dict[str, Any]) -> None:
        if self.scaler and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        if self.in_parts and checkpoint.PARTS in state:
            self._restore_parts(self.ranks.broadcast(place))
            return

        def read(group: str) -> dict[str, torch.Tensor]:
            return self.ranks.broadcast_tensors(checkpoint.read_tensors(place, group) if place else {})

        self._set_weights(read("model"))
        parameters = distributed.parameters(self.model)
        self.optimiser.load({
            address: distributed.sharded_like(tensor, parameters[address.rsplit("/", 1)[0]])
            for address, tensor in read("optimiser").items()
        })  # fmt: skip
        for name, tensor in read("average").items():
            self.average[name].copy_(distributed.sharded_like(tensor, self.average[name]))

    def _restore_parts(self, place: Path) -> None:
        """Each rank reads what it holds, out of the parts of any number of processes."""
        from pipeline.training import checkpoint_parts

        parameters = distributed.parameters(self.model)
        tensors = {
            "model": {name: p.detach() for name, p in parameters.items()},
            "optimiser": checkpoint_parts.room_for(place, "optimiser", parameters),
            "average": self.average,
        }
        checkpoint_parts.read_into(tensors, place)
        self.optimiser.load(tensors["optimiser"])

    def _restore_selected(self) -> None:
        """With `select: best`, load the weights of the lowest validation loss, unless they are the last."""
        if self.settings.select != "best":
            return
        if self.checkpoints:
            self.checkpoints.wait()
        place = self.checkpoints.best() if self.checkpoints else None
        state = self._state(place)
        if state is None or state["step"] == self.step:
            return
        self._restore(place, state)
        self.figures = state["figures"]
        self.log(
            f"using the weights of step {state['step']}, whose validation loss is the lowest"
            f" ({state['validation_loss']:.4f})"
        )

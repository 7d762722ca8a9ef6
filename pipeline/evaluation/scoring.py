"""The negative log-likelihood of each token of a text.

All figures that are based on likelihood (perplexity, bits per byte, preferences) come from this one function, so they
are consistent. Rows of similar length are scored together, padding is masked, and results are in the order of the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.config import IGNORED

if TYPE_CHECKING:
    import torch

    from model.transformer import Transformer


def nll_of_rows(
    model: Transformer, rows: list[np.ndarray], first: list[int], batch_tokens: int, device: torch.device
) -> list[np.ndarray]:
    """Negative log-likelihoods (nats) of the tokens of each row from index `first` (at least 1) on, given those before.

    rows: token ids, each no longer than the model's context. Returns one float64 array per row, of length
    len(row) - first.
    """
    import torch

    from pipeline.training import transfer

    model.eval()
    order = sorted(range(len(rows)), key=lambda i: (-len(rows[i]), i))
    by_row: list[np.ndarray] = [np.empty(0)] * len(rows)
    at = 0
    while at < len(order):
        longest = max(len(rows[order[at]]) - 1, 1)
        batch = order[at : at + max(batch_tokens // longest, 1)]
        at += len(batch)
        inputs = torch.zeros(len(batch), longest, dtype=torch.int64)
        targets = torch.full((len(batch), longest), IGNORED, dtype=torch.int64)
        for line, i in enumerate(batch):
            ids = torch.from_numpy(rows[i].astype(np.int64))
            inputs[line, : len(ids) - 1] = ids[:-1]
            targets[line, first[i] - 1 : len(ids) - 1] = ids[first[i] :]
        sent = transfer.send({"inputs": inputs, "targets": targets}, str(device))
        losses = _nll(model, sent["inputs"], sent["targets"])
        for line, i in enumerate(batch):
            by_row[i] = losses[line, first[i] - 1 : len(rows[i]) - 1]
    return by_row


def _nll(model: Transformer, inputs: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    import torch
    import torch.nn.functional as F

    with torch.inference_mode():
        hidden = model.hidden(inputs)
        flat_hidden, flat_targets = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1)
        # The logits of all positions would take batch times vocabulary values; chunks of 2^24 values are enough.
        step = max(2**24 // model.config.vocab_size, 1)
        parts = [
            F.cross_entropy(
                model.logits(flat_hidden[i : i + step]).float(),
                flat_targets[i : i + step],
                ignore_index=IGNORED,
                reduction="none",
            )
            for i in range(0, len(flat_hidden), step)
        ]
        return torch.cat(parts).reshape(inputs.shape).double().cpu().numpy()

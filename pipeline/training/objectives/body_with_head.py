"""A network inside another: what reads a value or a score off its hidden states lets the loop see the inner one."""

from __future__ import annotations

from torch import nn

from model.config import ModelConfig
from model.transformer import Transformer


class BodyWithHead(nn.Module):
    """A network under the name `body`, whose shape and settings are those of the whole."""

    def __init__(self, body: Transformer) -> None:
        super().__init__()
        self.body = body

    @property
    def config(self) -> ModelConfig:
        return self.body.config

    @property
    def gradient_checkpointing(self) -> bool:
        return self.body.gradient_checkpointing

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, on: bool) -> None:
        self.body.gradient_checkpointing = on

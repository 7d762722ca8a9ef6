"""One small store with every kind of artifact, and each of them made again in a copy of what it is made from."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.graph import Project
from pipeline.recipe import load
from pipeline.run import inputs_in_order
from pipeline.store.artifact import RUN_SPECIFIC
from pipeline.store.store import Store
from tests import recorded_digests

MODELS = """
model: {layers: 1, width: 16, heads: 2, context: 32}
pretraining: {tokens: 192, batch_tokens: 64, validation_tokens: 64, sample_tokens: 4, precision: fp32,
  checkpoint_every: 2, keep_checkpoints: 1}
sft: {epochs: 1, batch_tokens: 2048, precision: fp32}
evaluation: {answers: 1, answer_tokens: 4, validation_tokens: 1000, preferences: 1, prompts: [The people]}
"""
# Every kind of artifact: its own way of writing files.
KINDS = (
    "raw_documents", "language_decisions", "perplexity_model", "duplicate_decisions", "repetition_edits",
    "contamination_decisions", "curated_documents", "tokenizer", "token_shards", "training_plan", "pretrained_model",
    "pretrained_evaluation", "instruction_data",
)  # fmt: skip


def quiet(line: str) -> None:
    pass


@dataclass(frozen=True)
class Made:
    """A recipe and the store in which all of it is made."""

    recipe: Path
    data: Path

    def project(self, data: Path | None = None, log: Callable[[str], None] = quiet) -> Project:
        recipe = load(self.recipe)
        return Project(recipe, Store(data or self.data, recipe.name), log)

    def before(self, asset: str, data: Path) -> None:
        """Copy to `data` what the asset is made from, by links."""
        nodes = self.project().nodes
        given = [name for name in inputs_in_order(nodes, asset) if name != asset]
        name = self.project().recipe.name
        for beside in (".sources", ".machine"):
            if (self.data / beside).exists():
                shutil.copytree(self.data / beside, data / beside, dirs_exist_ok=True)
        for needed in given:
            shutil.copytree(self.data / name / needed, data / name / needed, copy_function=os.link)

    def manifest(self, asset: str, data: Path | None = None) -> dict[str, Any]:
        """The manifest in force, without what describes its making."""
        store = self.project(data).store
        made = store.require(asset)
        text = json.loads((made.directory / "manifest.json").read_text())
        assert list(store.verify(asset)) == []
        return {name: value for name, value in text.items() if name not in RUN_SPECIFIC}


def make_all(folder: Path) -> Made:
    """Every kind of artifact in a new store below `folder`."""
    recipe = recorded_digests.write(folder)
    recipe.write_text(recipe.read_text() + MODELS)
    made = Made(recipe, folder / "calm")
    project = made.project()
    for asset in KINDS:
        for name in inputs_in_order(project.nodes, asset):
            project.make(name)
    return made


def leftovers(data: Path) -> list[str]:
    """Unfinished files and folders that the last run should have tidied up."""
    ends = (".tmp", ".draft", ".doomed", ".part")
    return sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.name.endswith(ends))

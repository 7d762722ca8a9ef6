"""A recipe that starts from a downloaded model: fine-tuning, preferences and evaluation, with no text of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from model import export
from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.evaluation.report import read
from pipeline.graph import Project, enabled_assets, nodes_of
from pipeline.inspect import cards, lineage
from pipeline.inspect.summary import summary
from pipeline.recipe import load
from pipeline.run import inputs_in_order, make_with_inputs
from pipeline.store.store import Store
from tests.base_model.conftest import transformers
from tests.tiny import text

RECIPE = """
name: tuned
base: {{path: {base}}}
instructions: {{held_back: 0.2, sources: [{{name: mine, kind: files, path: talk.jsonl}}]}}
sft: {{batch_tokens: 96, learning_rate: 3e-3, sample_tokens: 2, precision: fp32, epochs: 2}}
preferences: {{held_back: 0.2, sources: [{{name: pairs, kind: files, path: pairs.jsonl}}]}}
preference: {{batch_pairs: 4, learning_rate: 1e-3, sample_tokens: 2, precision: fp32, weights: lora, lora_rank: 2}}
evaluation: {{answers: 2, answer_tokens: 2, prompts: [the cat]}}
execution: {{device: cpu, executor: in_process}}
"""
SOURCES = """
sources:
  - {{name: first, kind: files, path: '{folder}/first/*.txt', lang: en, license: own}}
curation:
  heuristics: {{enabled: false}}
  perplexity: {{enabled: false}}
  quality: {{enabled: false}}
  repetition: {{enabled: false}}
shards: {{validation: 0.3}}
"""


def write(folder: Path, base: Path, more: str = "") -> Path:
    talk = [
        {"messages": [{"role": "user", "content": f"say {n}"}, {"role": "assistant", "content": "yes " * (1 + n % 3)}]}
        for n in range(30)
    ]
    pairs = [{"prompt": f"say {n}", "chosen": "yes " * (1 + n % 4), "rejected": f"no {n}"} for n in range(30)]
    for name, rows in (("talk", talk), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = folder / "tuned.yaml"
    recipe.write_text(RECIPE.format(base=base.relative_to(folder)) + more)
    return recipe


def project_of(recipe: Path, tmp_path: Path) -> Project:
    return Project(load(recipe), Store(tmp_path / "data", "tuned"), lambda line: None)


def test_the_graph_needs_no_sources(tmp_path, saved):
    recipe = load(write(tmp_path, saved("llama")))
    assert enabled_assets(recipe) == [
        "instruction_data", "preference_data", "base_model", "trace_index", "base_evaluation", "sft_model",
        "sft_evaluation", "preference_model", "preference_evaluation", "leaderboard", "report",
    ]  # fmt: skip
    nodes = nodes_of(recipe)
    assert inputs_in_order(nodes, "sft_model") == ["instruction_data", "base_model", "sft_model"]
    assert nodes["sft_evaluation"].inputs["before"] == "base_evaluation"


def test_its_tuning_is_planned_once_it_is_imported(tmp_path, saved, monkeypatch):
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    recipe = write(tmp_path, saved("llama"))
    result = CliRunner().invoke(main, ["plan", str(recipe)])
    assert result.exit_code == 1 and "`slm make base_model` imports it" in result.output
    make_with_inputs(project_of(recipe, tmp_path), "base_model")
    result = CliRunner().invoke(main, ["plan", str(recipe)], catch_exceptions=False)
    tuned, preferred = result.output.splitlines()
    assert tuned.startswith("sft (full, fp32): 42 sequences of 96 tokens")
    assert preferred.startswith("preference (lora, fp32): 21 pairs, 42 sequences of 96 tokens")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt2"])
def test_fine_tuning_preferences_and_evaluation_start_from_it(kind, tmp_path, saved):
    folder = saved(kind)
    project = project_of(write(tmp_path, folder), tmp_path)
    evaluation = make_with_inputs(project, "preference_evaluation" if kind == "llama" else "sft_model")
    base, sft = project["base_model"], project["sft_model"]
    assert sft.facts["validation_loss"] < 5.0 and sft.facts["steps"] > 2
    assert sft.manifest["inputs"]["base_model"]["digest"] == base.digest
    assert sft.file("origin/LICENSE").read_bytes() == (folder / "LICENSE").read_bytes()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(sft.local_directory()).eval()
    ids = torch.randint(0, 290, (1, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (theirs(ids).logits - export.load(sft.local_directory()).eval()(ids)).abs().max() < 1e-4
    made_of = lineage.ancestry(project.store, sft)
    assert lineage.sources_of(made_of)[0]["licences"] == "apache-2.0"
    card = cards.model_card("sft_model", {name: of.manifest for name, of in made_of.items()})
    assert "licence: apache-2.0" in card and "Made from `base_model`" in card and "| layers | 2 |" in card
    if kind == "llama":
        tuned = project["preference_model"]
        assert "adapter/adapter_model.safetensors" in tuned.manifest["files"]
        assert {"answers", "preferences"} <= set(read(evaluation))
        shown = summary(project.store, ())
        assert "base_model" in shown and "tokenize_job" not in shown
        assert project.make("base_model").version == base.version


@pytest.mark.timeout(300)
def test_text_of_ones_own_is_encoded_by_its_tokenizer_and_measured(tmp_path, saved):
    (tmp_path / "first").mkdir()
    for number in range(20):
        (tmp_path / "first" / f"{number:02d}.txt").write_text(text(number))
    recipe = write(tmp_path, saved("gpt2"), SOURCES.format(folder=tmp_path))
    project = project_of(recipe, tmp_path)
    assert {"tokenizer", "pretrained_model", "training_plan"}.isdisjoint(project.nodes)
    report = read(make_with_inputs(project, "base_evaluation"))
    assert report["language_modelling"]["all"]["bits_per_byte"] > 0
    assert project["token_shards"].manifest["inputs"]["tokenizer"]["asset"] == "base_model"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("base: {}", "give either `path`, a folder, or `hub`"),
        ("base: {path: a, hub: b/c}", "give either `path`, a folder, or `hub`"),
        ("base: {path: a, revision: main}", "`revision` is only read with `hub`"),
        ("base: {hub: name}", "`base.hub`"),
        ("base: {hub: a/b}\ntokenizer: {vocab_size: 500}", "`tokenizer`: says nothing here"),
        ("base: {hub: a/b}\nmodel: {layers: 2}", "`model`: says nothing here"),
        ("seed: 1", "`sources`: is needed and is not there"),
    ],
)
def test_mistakes_in_the_recipe_are_said(content, message, tmp_path):
    (tmp_path / "wrong.yaml").write_text(f"name: wrong\n{content}\n")
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path / "wrong.yaml")
    assert "one mistake" in str(caught.value)

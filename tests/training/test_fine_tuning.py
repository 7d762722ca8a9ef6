"""Fine-tuning: only answers are learned, packed conversations do not see each other, the file is repeatable."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from model import export, lora
from model.config import IGNORED, ModelConfig
from model.transformer import Transformer
from pipeline.errors import UserError
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.store.tables import write_table
from pipeline.tokens.tokenizer import load
from pipeline.training.data.packing import pack
from pipeline.training.model_facts import ModelFacts
from pipeline.training.objectives import fine_tuning
from pipeline.training.stopping import Stopped
from pipeline.training.training_settings import SftSettings
from tests.making import context

SETTINGS = SftSettings(epochs=4, batch_tokens=256, learning_rate=3e-3)


def make(store, base, instructions, settings=SETTINGS, **given):
    inputs = {"base": base, "instruction_data": instructions}
    return fine_tuning.make(context(store, **given), inputs, settings)


def spoken(length, learned):
    return np.arange(10, 10 + length), np.array([i >= length - learned for i in range(length)])


def test_every_conversation_is_in_one_row_once():
    given = [spoken(length, 2) for length in (9, 5, 5, 4, 3, 17, 8)]
    packed = pack(given, context=16, pad=0)
    assert packed.counts == {
        "conversations": 7, "cut_at_the_end": 0, "nothing_to_learn": 0, "tokens": 44, "learned_tokens": 14, "rows": 3,
    }  # fmt: skip
    found = []
    for row in range(len(packed.tokens)):
        for number in np.unique(packed.documents[row]):
            inside = packed.documents[row] == number
            tokens, targets = packed.tokens[row][inside], packed.targets[row][inside]
            if (tokens == 0).all():
                assert (targets == IGNORED).all()
                continue
            found.append(len(tokens) + 1)
            assert tokens.tolist() == list(range(10, 10 + len(tokens)))
            learned = targets != IGNORED
            assert learned.sum() == 2 and (targets[learned] == tokens[learned] + 1).all()
    assert sorted(found) == sorted(len(ids) for ids, _ in given)


def test_what_is_too_long_is_cut_and_counted():
    packed = pack([spoken(30, 20), spoken(30, 2), spoken(1, 1)], context=16, pad=0)
    assert packed.counts["cut_at_the_end"] == 2 and packed.counts["nothing_to_learn"] == 2
    assert packed.counts["conversations"] == 1 and packed.counts["learned_tokens"] == 7


def test_only_the_assistant_is_learned(base, instructions):
    tokenizer = load(base.local_directory())
    packed = fine_tuning.packed_conversations(instructions, "train", tokenizer, 64)
    learned = [tokenizer.decode(row[row != IGNORED], specials=True) for row in packed.targets]
    assert set("".join(learned).replace("<|im_end|>", " ").replace("yes", " ")) == {" "}
    assert "".join(learned).count("<|im_end|>") == 40


def test_packed_conversations_do_not_see_each_other():
    torch.manual_seed(0)
    network = Transformer(ModelConfig(layers=2, width=32, heads=4, context=32, vocab_size=64)).double()
    given = [spoken(7, 3), spoken(9, 4), spoken(12, 5)]
    packed = pack(given, context=32, pad=0)
    assert len(packed.tokens) == 1
    with torch.no_grad():
        together, count = network(
            *(torch.from_numpy(a) for a in (packed.tokens, packed.targets)),
            documents=torch.from_numpy(packed.documents),
        )
        alone = 0.0
        for one in given:
            row = pack([one], context=32, pad=0)
            alone += float(network(torch.from_numpy(row.tokens), torch.from_numpy(row.targets))[0])
        mixed, _ = network(torch.from_numpy(packed.tokens), torch.from_numpy(packed.targets))
    assert int(count) == 12 and float(together) == pytest.approx(alone, rel=1e-6)
    assert float(mixed) != pytest.approx(alone, rel=1e-5)  # what packing without masks would learn


def test_it_learns_and_the_directory_is_enough_to_chat(store, base, instructions):
    artifact = make(store, base, instructions)
    log = pl.read_parquet(artifact.file("log.parquet"))
    facts = ModelFacts.of(artifact)
    assert facts.tokens == log["tokens"][-1] == facts.steps * facts.batch_tokens, "over all epochs"
    assert facts.tokens > 2 * facts.details["tokens_of_a_pass"] and facts.epochs == 4
    assert log["loss"][-1] < 0.7 * log["loss"][0]
    assert set(artifact.manifest["files"]) == {
        "model.safetensors", "config.json", "log.parquet", "samples.txt", "validation.json", "tokenizer.tiktoken",
        "tokenizer_about.json",
    } | {name for name in artifact.manifest["files"] if name.startswith("generation")}  # fmt: skip
    assert load(artifact.directory).vocab_size == 262
    about = json.loads(artifact.file("config.json").read_text())  # an answer ends where a turn does
    assert about["eos_token_id"] == load(artifact.directory).ids["<|im_end|>"]
    network = export.load(artifact.directory)
    figures = json.loads(artifact.file("validation.json").read_text())
    assert (
        figures["validation_loss"] == artifact.facts["validation_loss"] == pytest.approx(log["validation_loss"].min())
    )
    assert sum(p.numel() for p in network.parameters()) == artifact.facts["parameters"]
    assert artifact.manifest["seconds"]["tokens_per_second"] > 0
    again = make(store, base, instructions)
    assert not again.made


def test_stopped_and_resumed_it_is_the_same_file(tmp_path, store, base, instructions):
    whole = make(store, base, instructions)
    other = Store(tmp_path / "other", "test")
    asked = []
    with pytest.raises(Stopped):
        make(other, base, instructions, should_stop=lambda: asked.append(1) or len(asked) > 9)
    assert other.current("sft_model") is None
    lines = []
    again = make(other, base, instructions, log=lines.append)
    assert any("resuming from the checkpoint of step" in line for line in lines)
    assert again.digest == whole.digest
    assert not (again.directory / "checkpoints").exists()


def test_a_kill_after_the_last_file_does_not_train_again(store, base, instructions, monkeypatch):
    from pipeline.training import loop

    class Killed(BaseException):
        pass

    def killed(*given, **named):
        raise Killed

    monkeypatch.setattr(Draft, "_finish", killed)
    with pytest.raises(Killed):
        make(store, base, instructions)
    monkeypatch.undo()
    monkeypatch.setenv("SLM_TRACKING", "off")
    monkeypatch.setattr(loop, "train", killed)
    assert make(store, base, instructions).made


def test_nothing_to_learn_is_reported(store, base):
    def build(draft):
        for split in ("train", "held_back"):
            long = [{"role": "user", "content": "x" * 500}, {"role": "assistant", "content": "y"}]
            write_table(pl.DataFrame([{"id": "1", "messages": long, "source": "s"}]), draft.path(f"{split}.parquet"))

    empty = store.make("instruction_data", code_version="1", settings={}, inputs={}, build=build, log=lambda line: None)
    with pytest.raises(UserError, match="no conversation with an answer that fits into 64 tokens"):
        make(store, base, empty)


def test_memory_settings_do_not_change_what_the_artifact_is(store, base, instructions):
    first = make(store, base, instructions)
    settings = SETTINGS.model_copy(update={"sequences": 1, "checkpoint_every": 3})
    assert make(store, base, instructions, settings).version == first.version
    changed = SETTINGS.model_copy(update={"learning_rate": 1e-3})
    assert make(store, base, instructions, changed).version != first.version


@pytest.mark.skipif(
    not pytest.importorskip("importlib").util.find_spec("model.lora"), reason="no low-rank additions yet"
)
def test_low_rank_additions_are_merged(store, base, instructions):
    artifact = make(
        store,
        base,
        instructions,
        SETTINGS.model_copy(update={"weights": "lora", "lora_rank": 4, "learning_rate": 1e-2}),
    )
    log = pl.read_parquet(artifact.file("log.parquet"))
    facts = ModelFacts.of(artifact)
    assert facts.tokens == log["tokens"][-1] == facts.steps * facts.batch_tokens, "over all epochs"
    assert facts.tokens > 2 * facts.details["tokens_of_a_pass"] and facts.epochs == 4
    assert log["loss"][-1] < log["loss"][0]
    before, after = load_file(base.file("model.safetensors")), load_file(artifact.file("model.safetensors"))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all("proj" in name for name in changed)


def test_additions_are_kept_beside_the_merged_model(store, base, instructions):
    settings = SETTINGS.model_copy(update={"weights": "lora", "lora_rank": 2, "lora_alpha": 4.0})
    artifact = make(store, base, instructions, settings)
    assert {"adapter/adapter_model.safetensors", "adapter/adapter_config.json"} <= set(artifact.manifest["files"])
    network = export.load(base.local_directory())
    lora.load(network, artifact.file("adapter"))
    lora.merge(network)
    tuned = export.load(artifact.local_directory())
    for name, weight in tuned.state_dict().items():
        assert torch.equal(weight, network.state_dict()[name]), name
    further = make(store, artifact, instructions, SETTINGS.model_copy(update={"epochs": 0.5}))
    assert not [name for name in further.manifest["files"] if name.startswith("adapter/")]


def test_only_the_markers_learn_new_embeddings_where_the_settings_say_so(store, base, instructions):
    made = make(store, base, instructions, SETTINGS.model_copy(update={"embeddings": "markers"}))
    markers = sorted(load(base.directory).ids.values())
    before, after = (export.load(one.directory).state_dict() for one in (base, made))
    tables = [name for name in before if before[name].shape[0] == 262]
    assert tables
    for name in tables:
        moved = (before[name] != after[name]).any(dim=1)
        assert moved[markers].any() and not moved[[row for row in range(262) if row not in markers]].any()
    assert any(not torch.equal(before[name], after[name]) for name in before if name not in tables)


def test_a_run_that_ended_early_says_how_far_it_came(store, base, instructions):
    settings = SETTINGS.model_copy(update={"patience": 1, "evaluate_every": 1, "learning_rate": 3.0, "clip": 0.0})
    artifact = make(store, base, instructions, settings)
    facts = ModelFacts.of(artifact)
    assert facts.steps < facts.details["steps_planned"] and facts.tokens == facts.steps * facts.batch_tokens
    assert pl.read_parquet(artifact.file("log.parquet")).height == facts.steps
    assert make(store, base, instructions, SETTINGS).manifest["made_of"]["settings"]["sft"].get("patience") is None


def test_variants_of_additions_are_kept_as_they_were_trained(store, base, instructions):
    changes = {"weights": "lora", "lora_rank": 4, "lora_targets": ["q_proj", "down_proj"], "lora_dropout": 0.1}
    settings = SftSettings.model_validate({**SETTINGS.model_dump(), **changes, "lora_rslora": True, "lora_dora": True})
    artifact = make(store, base, instructions, settings)
    about = json.loads(artifact.file("adapter/adapter_config.json").read_text())
    assert (about["target_modules"], about["lora_dropout"]) == (["down_proj", "q_proj"], 0.1)
    assert about["use_rslora"] and about["use_dora"]
    before, after = load_file(base.file("model.safetensors")), load_file(artifact.file("model.safetensors"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.endswith(("q_proj.weight", "down_proj.weight")) for name in changed)
    assert not {name for name in SftSettings().identity if name.startswith("lora_")} - {"lora_rank", "lora_alpha"}


def test_additions_to_four_bits_are_trained_merged_and_resumed(store, base, instructions, tmp_path):
    changes = {"weights": "qlora", "lora_rank": 4, "learning_rate": 1e-2}
    settings = SftSettings.model_validate({**SETTINGS.model_dump(), **changes})
    artifact = make(store, base, instructions, settings)
    log = pl.read_parquet(artifact.file("log.parquet"))
    assert log["loss"][-1] < log["loss"][0] and artifact.facts["method"] == "qlora"
    before, after = load_file(base.file("model.safetensors")), load_file(artifact.file("model.safetensors"))
    assert before.keys() == after.keys() and "adapter/adapter_model.safetensors" in artifact.manifest["files"]
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert kept and not [name for name in kept if "proj" in name], "matrices are what four bits stand for, and more"
    asked: list[int] = []
    other = Store(tmp_path / "other", "test")
    with pytest.raises(Stopped):
        make(other, base, instructions, settings, should_stop=lambda: bool(asked.append(1)) or len(asked) > 6)
    assert make(other, base, instructions, settings).digest == artifact.digest
    with pytest.raises(ValidationError, match="lora_dora"):
        SftSettings.model_validate({**changes, "lora_dora": True})

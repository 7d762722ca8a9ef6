"""A downloaded model is the same model here: its logits, its tokens, its licence; and what cannot be used is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from model import export
from pipeline.base_model import importing
from pipeline.base_model.base_settings import Base
from pipeline.errors import UserError
from pipeline.ingest.records import Unreachable
from pipeline.store.artifact import file_digest
from pipeline.tokens import tokenizer as tokenizers
from pipeline.training.model_facts import ModelFacts
from tests.base_model.conftest import MODELS, changed, transformers
from tests.making import context

TEXTS = ["the cat sat", " 고양이가 잔다 </s> <|im_end|>", "def f(x):\n    return 1", ""]


def make(store, base, **given):
    return importing.make(context(store, **given), {}, base)


@pytest.mark.parametrize("kind", MODELS)
def test_the_imported_model_gives_the_logits_of_transformers(kind, store, saved):
    folder = saved(kind)
    artifact = make(store, Base(path=str(folder)))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    ours = export.load(artifact.local_directory()).eval()
    ids = torch.randint(0, 290, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = theirs(ids).logits, ours(ids)
        assert (expected - found[..., : expected.shape[-1]]).abs().max() < 1e-4 and expected.abs().max() > 0.5
        again = transformers.AutoModelForCausalLM.from_pretrained(artifact.local_directory()).eval()
        assert (again(ids).logits - found).abs().max() < 1e-4
    assert artifact.facts["layout"] == kind and artifact.facts["added_tokens"] == MODELS[kind][2][1]
    assert ModelFacts.of(artifact).tokens == 0


@pytest.mark.parametrize("kind", MODELS)
def test_its_tokens_are_its_own(kind, store, saved):
    folder = saved(kind)
    artifact = make(store, Base(path=str(folder)))
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    ours = tokenizers.load(artifact.local_directory())
    for text, ids in zip(TEXTS, ours.encode(TEXTS), strict=True):
        assert ids.tolist() == theirs.encode(text, add_special_tokens=False, split_special_tokens=True)
        assert ours.decode(ids) == text
    assert ours.document_start == theirs.convert_tokens_to_ids(MODELS[kind][2][0])
    assert ours.vocab_size == export.load(artifact.local_directory()).config.vocab_size
    marks = [ours.ids[name] for name in ("<|im_start|>", "<|im_end|>")]
    assert len(set(marks)) == 2 and max(marks) < ours.vocab_size
    if kind == "qwen3":
        assert marks == theirs.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    talk = [{"role": "user", "content": "say yes"}, {"role": "assistant", "content": "yes"}]
    saved_again = transformers.AutoTokenizer.from_pretrained(artifact.local_directory())
    assert saved_again.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"]) == marks
    rendered = saved_again.apply_chat_template(talk, tokenize=False)
    ids, _ = ours.encode_chat(talk)
    ids = [i for i in ids.tolist() if i != ours.document_start]
    assert saved_again.encode(rendered, add_special_tokens=False) == ids
    assert saved_again.eos_token == {"llama": "</s>"}.get(kind, "<|endoftext|>")


def test_a_new_row_is_the_mean_of_the_others(store, saved):
    artifact = make(store, Base(path=str(saved("gpt2"))))
    embedding = export.load(artifact.local_directory()).model.embed_tokens.weight
    assert embedding.shape[0] == 293
    assert torch.allclose(embedding[291:], embedding[:291].mean(0).expand(2, -1), atol=1e-6)


def test_its_licence_and_files_are_recorded(store, saved):
    folder = saved("llama")
    artifact = make(store, Base(path=str(folder)))
    assert artifact.facts["license"] == "apache-2.0" and artifact.facts["origin"] == "a folder of this machine"
    assert artifact.file("origin/LICENSE").read_text() == (folder / "LICENSE").read_text()
    assert artifact.facts["origin_files"]["model.safetensors"] == file_digest(folder / "model.safetensors")
    assert str(folder) not in json.dumps(artifact.manifest)
    stated = make(store, Base(path=str(folder), license="CC-BY-4.0"))
    assert stated.facts["license"] == "CC-BY-4.0" and stated.version != artifact.version


def test_a_changed_file_is_another_model_and_another_place_is_not(store, saved, tmp_path):
    folder = saved("llama")
    first = make(store, Base(path=str(folder)))
    moved = folder.rename(tmp_path / "elsewhere")
    (moved / "notes.txt").write_text("not read")
    assert make(store, Base(path=str(moved))).version == first.version
    changed(moved, "config.json", rms_norm_eps=1e-3)
    assert make(store, Base(path=str(moved))).version != first.version


def test_lower_precision_and_parts_are_read(store, saved):
    folder = saved("llama")
    theirs = transformers.LlamaForCausalLM.from_pretrained(folder).to(torch.bfloat16)
    (folder / "model.safetensors").unlink()
    theirs.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    artifact = make(store, Base(path=str(folder)))
    assert export.load(artifact.local_directory()).output_weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: (d / "config.json").unlink(), "has no config.json"),
        (lambda d: (d / "model.safetensors").unlink(), "it has no weights; give one with model.safetensors"),
        (lambda d: (d / "model.safetensors").rename(d / "pytorch_model.bin"), "its weights are pickled"),
        (lambda d: (d / "tokenizer.json").unlink(), "has neither tokenizer.json nor tokenizer.model"),
        (lambda d: (d / "tokenizer.json").write_text("{"), "its tokenizer.json cannot be read"),
        (lambda d: changed(d, "config.json", model_type="mamba"), "'mamba'.*use llama, qwen3, gpt2"),
        (lambda d: changed(d, "config.json", rope_parameters={"rope_type": "yarn", "factor": 4.0}), "scaled"),
        (lambda d: (d / "config.json").write_text('{"model_type": "llama"}'), "config.json has no"),
        (lambda d: drop(d, "model.norm.weight"), "model.norm.weight is missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_in_one_sentence(spoil, message, store, saved):
    folder = saved("llama")
    spoil(folder)
    with pytest.raises(UserError, match=message) as caught:
        make(store, Base(path=str(folder)))
    assert "`base`" in str(caught.value) and "\n" not in str(caught.value)
    assert store.current("base_model") is None


def drop(folder, name):
    weights = load_file(folder / "model.safetensors")
    del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_a_tokenizer_of_another_model_is_refused(store, saved):
    folder = saved("llama", vocab_size=280)
    with pytest.raises(
        UserError, match="its tokenizer has 294 tokens and its network 280: they do not belong together"
    ):
        make(store, Base(path=str(folder)))


def test_a_folder_that_is_none(store, tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        make(store, Base(path=str(tmp_path / "nothing")))


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_model_of_the_hub_is_fetched_at_one_commit_without_pickles(hub, store, saved, tmp_path):
    folder = saved("llama")
    files = files_of(folder) | {"pytorch_model.bin": b"pickle", "onnx.txt": b"not read"}
    commit = hub.push("owner/name", files, model=True)
    artifact = make(store, Base(hub="owner/name"))
    assert artifact.facts["revision"] == commit and artifact.facts["origin"] == "owner/name of the Hugging Face hub"
    assert artifact.facts["hub_name"] == "owner/name" and artifact.facts["license"] == "apache-2.0"
    assert "model.safetensors" in hub.asked and not {"pytorch_model.bin", "onnx.txt"} & set(hub.asked)
    local = make(store, Base(path=str(folder)))
    for name in ("model.safetensors", "config.json", "tokenizer.json", "origin/README.md"):
        assert artifact.file(name).read_bytes() == local.file(name).read_bytes()
    hub.asked.clear()
    hub.push("owner/name", files | {"onnx.txt": b"only this is new"}, model=True)
    assert make(store, Base(hub="owner/name")).version == artifact.version and not hub.asked
    hub.push("owner/name", files | {"README.md": b"---\nlicense: mit\n---\n"}, model=True)
    assert make(store, Base(hub="owner/name")).facts["license"] == "mit"


def test_a_hub_that_is_gone(hub, store, saved):
    commit = hub.push("owner/name", files_of(saved("llama")), model=True)
    first, pinned = make(store, Base(hub="owner/name")), make(store, Base(hub="owner/name", revision=commit))
    assert np.array_equal(first.file("config.json").read_bytes(), pinned.file("config.json").read_bytes())
    hub.failing = True
    lines = []
    again = make(store, Base(hub="owner/name", revision=commit), log=lines.append)
    assert again.version == pinned.version
    with pytest.raises(Unreachable, match="cannot be read now"):
        make(store, Base(hub="owner/other"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hub": "owner/none"}, "owner/none is not on the hub, or is private: correct `base.hub`"),
        ({"revision": "v9"}, "has no revision `v9`: correct `base.revision`"),
    ],
)
def test_what_is_wrong_on_the_hub_is_said_in_one_sentence(changes, message, hub, store, saved):
    hub.push("owner/name", files_of(saved("llama")), model=True)
    with pytest.raises(UserError, match=message):
        make(store, Base(**{"hub": "owner/name", **changes}))


def test_a_gated_model_says_where_to_agree(hub, store, saved):
    hub.push("owner/name", files_of(saved("llama")), model=True)
    hub.gated.add("owner/name")
    with pytest.raises(UserError, match=r"agree at https://huggingface.co/owner/name and set HF_TOKEN"):
        make(store, Base(hub="owner/name"))

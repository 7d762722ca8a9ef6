"""Low-rank additions: nothing at first, then what is trained, merged or saved without loss."""

from __future__ import annotations

import json

import pytest
import torch

from model import export, lora
from model.config import ModelConfig
from model.transformer import Transformer


def network(seed: int = 0, **changes) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(ModelConfig(layers=2, width=32, heads=4, kv_heads=2, context=32, vocab_size=50, **changes))


ROWS = torch.arange(17).repeat(4, 1) * torch.tensor([[1], [2], [3], [4]]) % 50


def train(model: Transformer, steps: int = 12) -> list[float]:
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 2e-2)
    losses = []
    for _ in range(steps):
        total, count = model.loss(ROWS[:, :-1], ROWS[:, 1:])
        (total / count).backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append((total / count).item())
    return losses


def logits(model: Transformer) -> torch.Tensor:
    with torch.no_grad():
        return model(ROWS)


@pytest.mark.parametrize("bias", [False, True])
def test_it_starts_at_nothing_and_trains_only_itself(bias):
    model = network(bias=bias)
    before, frozen = logits(model), {name: p.clone() for name, p in model.named_parameters()}
    trained = lora.add(model, 4, 8.0)
    assert torch.equal(logits(model), before)
    assert sum(p.numel() for p in trained) == 2 * 4 * sum(
        (a + b) for a, b in [(32, 32), (32, 16), (32, 16), (32, 32), (32, 128), (32, 128), (128, 32)]
    )
    losses = train(model)
    assert losses[-1] < 0.95 * losses[0]
    for name, parameter in frozen.items():
        assert torch.equal(model.get_parameter(name), parameter), name
    assert (logits(model) - before).abs().max() > 0.1


def test_merged_is_the_same_and_a_plain_network_again(tmp_path):
    model = network()
    names = set(model.state_dict())
    lora.add(model, 4, 8.0)
    train(model)
    expected = logits(model)
    with pytest.raises(ValueError, match="merge them"):
        export.save(model, tmp_path)
    lora.merge(model)
    assert (logits(model) - expected).abs().max() < 1e-4
    assert set(model.state_dict()) == names and all(p.requires_grad for p in model.parameters())
    export.save(model, tmp_path)
    assert torch.equal(logits(export.load(tmp_path)), logits(model))


def test_saved_additions_fit_a_fresh_copy_of_the_base(tmp_path):
    model = network()
    lora.add(model, 3, 6.0, ["q_proj", "v_proj"])
    train(model)
    lora.save(model, tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 10_000
    again = network()
    lora.load(again, tmp_path)
    assert torch.equal(logits(again), logits(model))
    other = Transformer(model.config.model_copy(update={"kv_heads": 4}))
    with pytest.raises(ValueError, match="another shape"):
        lora.load(other, tmp_path)


def test_the_files_are_those_of_peft(tmp_path):
    """Names and keys as `peft` writes them."""
    from safetensors.torch import load_file

    model = network()
    lora.add(model, 3, 6.0, ["q_proj"])
    lora.save(model, tmp_path)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    assert weights["base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"].shape == (3, 32)
    assert weights["base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"].shape == (32, 3)
    about = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (about["peft_type"], about["r"], about["lora_alpha"], about["target_modules"]) == (
        "LORA",
        3,
        6.0,
        ["q_proj"],
    )


def test_mistakes_are_reported():
    model = network()
    with pytest.raises(ValueError, match="no low-rank additions"):
        lora.save(model, "nowhere")
    with pytest.raises(ValueError, match="no such layer"):
        lora.add(model, 4, 8.0, ["query"])
    lora.add(model, 4, 8.0)
    with pytest.raises(ValueError, match="already"):
        lora.add(model, 4, 8.0)


@pytest.mark.parametrize("layout", ["llama", "gpt2"])
def test_additions_have_the_names_of_the_saved_layout_and_give_the_same_weights(layout, tmp_path):
    """What `peft` does with the files (`W + alpha / r B A` in each module that they name), on transformers' network."""
    transformers = pytest.importorskip("transformers")
    from safetensors.torch import load_file

    shape = {"norm": "layer", "positions": "learned", "activation": "gelu_tanh", "bias": True}
    model = network() if layout == "llama" else Transformer(network().config.model_copy(update=shape | {"kv_heads": 4}))
    export.save(model, tmp_path / "base")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    lora.add(model, 3, 6.0)
    train(model)
    lora.save(model, tmp_path / "adapter", "owner/name")
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    about = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert about["base_model_name_or_path"] == "owner/name"
    seen = 0
    with torch.no_grad():
        for name, module in theirs.named_modules():
            if not any(name.endswith(f".{target}") for target in about["target_modules"]):
                continue
            a, b = (weights.pop(f"base_model.model.{name}.{part}.weight") for part in ("lora_A", "lora_B"))
            rank = next((r for of, r in about.get("rank_pattern", {}).items() if name.endswith(f".{of}")), about["r"])
            alphas = about.get("alpha_pattern", {}).items()
            alpha = next((r for of, r in alphas if name.endswith(f".{of}")), about["lora_alpha"])
            assert a.shape[0] == b.shape[1] == rank
            product = b @ a * alpha / rank
            module.weight += product.t() if about.get("fan_in_fan_out") else product
            seen += 1
    assert seen == (14 if layout == "llama" else 8) and not weights
    with torch.no_grad():
        assert (theirs(ROWS).logits - logits(model)).abs().max() < 1e-4
    again = export.load(tmp_path / "base")
    lora.load(again, tmp_path / "adapter")
    assert torch.equal(logits(again), logits(model))


GPT2 = {"norm": "layer", "positions": "learned", "activation": "gelu_tanh", "bias": True}
VARIANTS = {
    "plain": {},
    "rslora": {"rslora": True},
    "dora": {"dora": True},
    "both": {"rslora": True, "dora": True, "dropout": 0.1},
    "some": {"targets": ["q_proj", "v_proj", "down_proj"], "dora": True},
}


def trained(layout: str, variant: str, tmp_path) -> Transformer:
    """A network with trained additions; its base is in the folder `base`, the additions are in `adapter`."""
    model = network() if layout == "llama" else Transformer(network().config.model_copy(update=GPT2 | {"kv_heads": 4}))
    export.save(model, tmp_path / "base")
    lora.add(model, 3, 6.0, **VARIANTS[variant])
    model.eval()
    train(model)
    lora.save(model, tmp_path / "adapter")
    return model


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("layout", ["llama", "gpt2"])
def test_merged_weights_give_what_the_additions_give(layout, variant, tmp_path):
    model = trained(layout, variant, tmp_path)
    again = export.load(tmp_path / "base").eval()
    before = logits(again)
    lora.load(again, tmp_path / "adapter")
    expected = logits(model)
    assert torch.equal(logits(again), expected) and (expected - before).abs().max() > 0.1
    lora.merge(model)
    assert (logits(model) - expected).abs().max() < 1e-6 * expected.abs().max()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks transformers
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("layout", ["llama", "gpt2"])
def test_peft_reads_the_additions(layout, variant, tmp_path):
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    model = trained(layout, variant, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    with torch.no_grad():
        assert (theirs(ROWS).logits - logits(model)).abs().max() < 1e-5
    theirs.save_pretrained(tmp_path / "again")
    again = export.load(tmp_path / "base").eval()
    lora.load(again, tmp_path / "again")
    assert torch.equal(logits(again), logits(model)), "what peft writes is read"


def test_the_length_of_a_row_is_trained_without_a_gradient_of_the_sum():
    """Liu et al. 2024, equation 6 and section 4.3, written out for one layer."""
    torch.manual_seed(0)
    plain = torch.nn.Linear(5, 4, bias=True)
    layer = lora.LoraLinear(plain, 2, 4.0, dora=True)
    with torch.no_grad():
        layer.lora_B.normal_()
        layer.lora_magnitude_vector.mul_(torch.tensor([1.0, 2.0, 0.5, 1.5]))
    x = torch.randn(3, 5)
    a, b, m = (p.detach().clone().requires_grad_() for p in (layer.lora_A, layer.lora_B, layer.lora_magnitude_vector))
    total = plain.weight.detach() + b @ a * 2.0
    expected = x @ (m[:, None] * total / total.detach().norm(dim=1, keepdim=True)).T + plain.bias.detach()
    found = layer(x)
    assert torch.allclose(found, expected, atol=1e-6)
    found.square().sum().backward()
    expected.square().sum().backward()
    for ours, theirs in zip((layer.lora_A, layer.lora_B, layer.lora_magnitude_vector), (a, b, m), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


def test_inputs_of_additions_are_dropped_out_in_training_alone():
    model = network()
    lora.add(model, 4, 8.0, dropout=0.5)
    train(model)
    model.train()
    torch.manual_seed(0)
    one, two = logits(model), logits(model)
    assert not torch.equal(one, two)
    model.eval()
    assert torch.equal(logits(model), logits(model))

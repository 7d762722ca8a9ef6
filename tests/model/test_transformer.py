"""The network agrees with itself: cached, checkpointed, chunked, accumulated, packed; in every shape."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from model.config import ModelConfig
from model.operations import linear_cross_entropy, linear_log_probabilities, rms_norm, rotate
from model.positions import positions_in_documents, sinusoidal_table
from model.transformer import Cache, Transformer

TINY = {"layers": 2, "width": 32, "heads": 4, "kv_heads": 2, "context": 64, "vocab_size": 61}
SHAPES = {
    "llama": {},
    "multi-query, biases, QK-norm, GELU gate": {"kv_heads": 1, "bias": True, "qk_norm": True, "activation": "geglu"},
    "gpt": {"norm": "layer", "positions": "learned", "activation": "gelu", "bias": True, "kv_heads": 0},
    "sinusoidal, no biases": {"norm": "layer", "positions": "sinusoidal", "activation": "gelu_tanh"},
    "ReLU gate, untied": {"activation": "reglu", "tie_embeddings": False},
    "squared ReLU, wide heads": {"activation": "relu2", "head_width": 12},
    "ReLU without a gate": {"activation": "relu"},
    "sees both ways": {"causal": False},
}


def network(**changes) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(ModelConfig(**{**TINY, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def text(rows: int = 2, length: int = 48, seed: int = 5) -> torch.Tensor:
    return torch.randint(0, 61, (rows, length), generator=torch.Generator().manual_seed(seed))


def gradients(model: Transformer, **arguments) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    rows = text()
    total, count = model.loss(rows[:, :-1], rows[:, 1:], **arguments)
    (total / count).backward()
    return total.item(), {name: p.grad.clone() for name, p in model.named_parameters()}


def assert_near(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor], bound: float) -> None:
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert (tensor - right[name]).abs().max() <= bound * max(1.0, float(right[name].abs().max())), name


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES.keys())
def test_every_shape_learns_and_sees_what_it_may(changes):
    model = network(**changes)
    rows = text()
    changed = rows.clone()
    changed[:, 30] = (changed[:, 30] + 1) % 61
    with torch.no_grad():
        difference = (model(rows) - model(changed)).abs().amax((0, 2))
    assert difference[30:].min() > 1e-4
    if model.config.causal:
        assert difference[:30].max() == 0
    else:
        assert difference[:30].min() > 1e-6
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    losses = []
    for _ in range(10):
        total, count = model.loss(rows[:, :-1], rows[:, 1:])
        optimiser.zero_grad()
        (total / count).backward()
        optimiser.step()
        losses.append((total / count).item())
    assert losses[-1] < 0.9 * losses[0]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    "changes", [value for key, value in SHAPES.items() if key != "sees both ways"],
    ids=[key for key in SHAPES if key != "sees both ways"],
)  # fmt: skip
def test_cached_decoding_is_the_full_forward(changes):
    model = network(**changes).eval()
    rows = text(length=40)
    with torch.no_grad():
        whole = model(rows)
        cache = Cache(model.config, 2, 40)
        parts = [model(rows[:, :7], cache=cache), model(rows[:, 7:20], cache=cache)]
        parts += [model(rows[:, i : i + 1], cache=cache) for i in range(20, 40)]
    assert (torch.cat(parts, 1) - whole).abs().max() < 1e-4
    assert cache.length == 40
    with pytest.raises(ValueError, match="41 tokens do not fit into a context of 40"):
        model(rows[:, :1], cache=cache)


@pytest.mark.parametrize("changes", [{}, {"dropout": 0.2}, {"positions": "learned", "norm": "layer"}])
def test_checkpointing_changes_nothing(changes):
    model = network(**changes).train()
    torch.manual_seed(9)
    plain = gradients(model)
    model.gradient_checkpointing = True
    torch.manual_seed(9)
    again = gradients(model)
    assert plain[0] == again[0]
    assert_near(again[1], plain[1], 1e-6)


@pytest.mark.parametrize("chunk", [1, 7, 47, 94, 1000, None])
@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
def test_chunked_loss_is_the_plain_one(chunk, z_loss):
    model = network()
    plain, again = gradients(model, chunk=0, z_loss=z_loss), gradients(model, chunk=chunk, z_loss=z_loss)
    assert again[0] == pytest.approx(plain[0], rel=1e-6)
    assert_near(again[1], plain[1], 1e-6)


def test_chunks_of_the_loss_are_small_but_not_short():
    from model.operations import rows_at_once

    assert [rows_at_once(size, "cpu") for size in (256, 8192, 32_000, 128_000)] == [16_384, 512, 512, 512]
    assert [rows_at_once(size, "cuda") for size in (256, 32_000, 128_000)] == [131_072, 1048, 512]


@pytest.mark.parametrize("shape", [(3, 5), (64, 1000), (513, 4097), (5, 70_001)])
@pytest.mark.parametrize("threads", [1, 2])
def test_log_softmax_in_place_is_log_softmax(shape, threads):
    # Not promised by torch, and relied on by the loss.
    logits = torch.randn(shape) * 10
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    expected = logits.log_softmax(-1)
    assert torch.equal(torch.log_softmax(logits, -1, out=logits), expected)
    torch.set_num_threads(before)


def test_targets_left_out_do_not_count():
    hidden, weight = torch.randn(10, 8, requires_grad=True), torch.randn(30, 8, requires_grad=True)
    targets = torch.arange(10)
    targets[3:6] = -100
    total, count = linear_cross_entropy(hidden, weight, targets, chunk=4)
    total.backward()
    kept = targets != -100
    assert count == 7
    expected = F.cross_entropy(hidden[kept] @ weight.T, targets[kept], reduction="sum")
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert hidden.grad[~kept].abs().max() == 0 and hidden.grad[kept].abs().min() > 0
    nothing, none = linear_cross_entropy(hidden, weight, torch.full((10,), -100), chunk=4)
    assert nothing.item() == 0 and none == 0


@pytest.mark.parametrize("chunk", [4, 10, None, 0])
@pytest.mark.parametrize("frozen", [False, True])
def test_log_probabilities_in_chunks_are_the_formula(chunk, frozen):
    generator = torch.Generator().manual_seed(2)
    hidden, weight = (torch.randn(n, 8, generator=generator).requires_grad_() for n in (10, 30))
    weight.requires_grad_(not frozen)
    factors = torch.randn(10, generator=generator)
    targets = torch.arange(10)
    targets[3:6] = -100
    found = linear_log_probabilities(hidden, weight, targets, chunk)
    expected = (hidden @ weight.T).log_softmax(-1)[torch.arange(10), targets.clamp_min(0)] * (targets != -100)
    assert (found - expected).abs().max() < 1e-5 and found[3:6].abs().max() == 0
    wanted = [hidden] if frozen else [hidden, weight]
    given = torch.autograd.grad((found * factors).sum(), wanted, retain_graph=True)
    again = torch.autograd.grad((found * factors).sum(), wanted)  # what the first pass used is still there
    for one, two, three in zip(given, again, torch.autograd.grad((expected * factors).sum(), wanted), strict=True):
        assert torch.equal(one, two) and (one - three).abs().max() < 1e-5
    assert given[0][3:6].abs().max() == 0


def test_log_probabilities_of_a_network_are_those_of_its_logits_also_in_bf16():
    model = network()
    rows = text(2, 40)
    targets = rows.roll(-1, 1)
    targets[:, :9] = -100
    exact = model(rows).log_softmax(-1).gather(2, targets.clamp_min(0)[..., None])[..., 0] * (targets != -100)
    assert (model(rows, targets, by_token=True, chunk=7) - exact).abs().max() < 1e-5
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(rows, targets, by_token=True, chunk=7)
    rough.sum().backward()
    assert rough.dtype == torch.float32 and 0 < (rough - exact).abs().max() < 0.1
    given = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    exact.sum().backward()
    for name, parameter in model.named_parameters():
        assert F.cosine_similarity(given[name].flatten(), parameter.grad.flatten(), dim=0) > 0.98, name


def test_where_nothing_counts_log_probabilities_are_zero():
    hidden, weight = torch.randn(10, 8, requires_grad=True), torch.randn(30, 8, requires_grad=True)
    found = linear_log_probabilities(hidden, weight, torch.full((10,), -100))
    found.sum().backward()
    assert found.abs().max() == 0 and hidden.grad.abs().max() == 0 and weight.grad.abs().max() == 0


def test_loss_under_autocast_is_near_and_gives_full_precision_gradients():
    model = network()
    exact = gradients(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = gradients(model)
    assert rough[0] == pytest.approx(exact[0], rel=0.02) and rough[0] != exact[0]
    for name, gradient in rough[1].items():
        assert gradient.dtype == torch.float32
        assert F.cosine_similarity(gradient.flatten(), exact[1][name].flatten(), dim=0) > 0.98, name


@pytest.mark.parametrize("width", [7, 32])
def test_hand_written_derivatives_are_right(width):
    """Against finite differences, in fp64, where the formulas are the only source of error."""
    from model.operations import _LinearCrossEntropy, _RMSNorm, _Rotation

    torch.manual_seed(0)
    x, weight = torch.randn(3, 4, width, dtype=torch.float64), torch.randn(width, dtype=torch.float64)
    x.requires_grad_(), weight.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: _RMSNorm.apply(x, w, 1e-3), (x, weight))
    heads = torch.randn(2, 5, 3, 8, dtype=torch.float64, requires_grad=True)
    angle = torch.rand(1, 5, 1, 4, dtype=torch.float64).repeat(1, 1, 1, 2)
    assert torch.autograd.gradcheck(lambda h: _Rotation.apply(h, angle.cos(), angle.sin()), (heads,))
    output = torch.randn(11, width, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([3, 0, -100, 10] * 3)
    rows = torch.randn(12, width, requires_grad=True)  # the loss itself is kept in fp32, so looser bounds
    total = _LinearCrossEntropy.apply(rows, output.float().detach().requires_grad_(), targets, 5, 0.1)
    total.backward()
    logits = rows.detach().requires_grad_() @ output.detach().float().T
    assert total.item() == pytest.approx(
        (
            F.cross_entropy(logits, targets, reduction="sum") + 0.1 * (logits.logsumexp(-1)[targets >= 0] ** 2).sum()
        ).item(),
        rel=1e-6,
    )


def test_rms_norm_and_rotation_are_the_plain_formulas():
    x, weight = torch.randn(4, 5, 16, requires_grad=True), torch.randn(16, requires_grad=True)
    assert torch.allclose(rms_norm(x, weight, 1e-5), F.rms_norm(x, (16,), weight, 1e-5), atol=1e-6)
    heads, angle = torch.randn(1, 3, 2, 6), torch.rand(1, 3, 1, 3).repeat(1, 1, 1, 2)
    turned = rotate(heads, angle.cos(), angle.sin())
    as_complex = torch.complex(heads[..., :3], heads[..., 3:]) * torch.polar(torch.ones(1), angle[..., :3])
    assert torch.allclose(turned, torch.cat([as_complex.real, as_complex.imag], -1), atol=1e-6)


def test_accumulation_of_4_times_8_is_32():
    rows = torch.randint(0, 61, (32, 33), generator=torch.Generator().manual_seed(3))
    model = network()
    total, count = model.loss(rows[:, :-1], rows[:, 1:])
    (total / count).backward()
    whole = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    for part in rows.chunk(4):
        partial, _ = model.loss(part[:, :-1], part[:, 1:])
        (partial / count).backward()
    assert_near({name: p.grad for name, p in model.named_parameters()}, whole, 1e-6)


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES.keys())
def test_packed_and_masked_documents_are_each_alone(changes):
    model = network(**changes).eval()
    lengths = [5, 17, 1, 20, 5]
    rows = text(2, sum(lengths))
    documents = torch.repeat_interleave(torch.tensor([4, 9, 2, 7, 1]), torch.tensor(lengths)).expand(2, -1)
    with torch.no_grad():
        packed = model(rows, documents=documents)
        alone = [model(part) for part in rows.split(lengths, 1)]
        assert (packed - torch.cat(alone, 1)).abs().max() < 1e-5
        assert (packed - model(rows)).abs().max() > 1e-2
        targets = rows.roll(-1, 1)
        together = model.loss(rows, targets, documents)[0]
        parts = sum(model.loss(r, t)[0] for r, t in zip(rows.split(lengths, 1), targets.split(lengths, 1), strict=True))
        assert float(together) == pytest.approx(float(parts), rel=1e-5)


def test_positions_start_again_in_each_document():
    documents = torch.tensor([[3, 3, 3, 8, 8, 1], [5, 6, 6, 6, 6, 5]])
    assert positions_in_documents(documents).tolist() == [[0, 1, 2, 0, 1, 0], [0, 0, 1, 2, 3, 0]]
    model = network(positions="learned")
    rows = text(1, 6)
    places = torch.tensor([[0, 1, 2, 0, 1, 0]])
    with torch.no_grad():
        assert not torch.equal(model(rows), model(rows, positions=places))
        assert torch.equal(model(rows), model(rows, positions=torch.arange(6)[None]))


def test_sinusoids_are_those_of_the_paper():
    table = sinusoidal_table(50, 12)
    assert table[0].tolist() == [0.0, 1.0] * 6
    assert float(table[7, 4]) == pytest.approx(torch.sin(torch.tensor(7 / 10_000 ** (4 / 12))).item(), abs=1e-6)
    assert float(table[7, 5]) == pytest.approx(torch.cos(torch.tensor(7 / 10_000 ** (4 / 12))).item(), abs=1e-6)


def test_compiled_is_the_same():
    model = network()
    plain = gradients(model)
    model.forward = torch.compile(model.forward, dynamic=False, backend="aot_eager")  # type: ignore[method-assign]
    again = gradients(model)
    assert again[0] == pytest.approx(plain[0], rel=1e-6)
    assert_near(again[1], plain[1], 1e-5)


def test_initial_weights_are_as_documented_and_the_same_on_meta():
    config = ModelConfig(layers=8, width=128, heads=4, vocab_size=2000)
    torch.manual_seed(1)
    model = Transformer(config)
    assert float(model.model.layers[0].mlp.up_proj.weight.std()) == pytest.approx(0.02, rel=0.03)
    assert float(model.model.layers[0].mlp.down_proj.weight.std()) == pytest.approx(0.02 / 4, rel=0.03)
    assert float(model.model.layers[3].self_attn.o_proj.weight.std()) == pytest.approx(0.02 / 4, rel=0.03)
    assert float(model.model.norm.weight.min()) == 1.0
    rows = text()
    logits = model(rows[:, :-1])
    assert float(F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())) == pytest.approx(7.6, abs=0.1)  # ln 2000
    with torch.device("meta"):
        empty = Transformer(config)
    empty.to_empty(device="cpu")
    torch.manual_seed(1)
    empty.initialise()
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), empty.state_dict().values(), strict=True))
    assert torch.equal(model.position_table, empty.position_table)


def test_parameters_are_counted_once():
    model = network()
    layer = 32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 128 + 2 * 32
    assert model.parameters_count() == 2 * layer + 61 * 32 + 32
    assert model.parameters_count(embeddings=False) == 2 * layer + 32
    assert network(tie_embeddings=False).parameters_count() == model.parameters_count() + 61 * 32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kv_heads": 3}, "multiple of kv_heads"),
        ({"width": 34}, "multiple of heads"),
        ({"width": 36, "heads": 4}, "even head width"),
        ({"activation": "tanh"}, "swiglu"),
        ({"depth": 3}, "Extra inputs"),
    ],
)
def test_a_wrong_shape_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        ModelConfig(**{**TINY, **changes})


def test_what_cannot_be_computed_is_reported():
    with pytest.raises(ValueError, match="vocab_size is 0"):
        Transformer(ModelConfig())
    with pytest.raises(ValueError, match="65 tokens do not fit into a context of 64"):
        network()(text(1, 65))
    model = network().eval()
    cache = Cache(model.config, 1, 20)
    model(text(1, 4), cache=cache)
    with pytest.raises(ValueError, match="after a cache"):
        model(text(1, 4), cache=cache, documents=torch.zeros(1, 4, dtype=torch.int64))

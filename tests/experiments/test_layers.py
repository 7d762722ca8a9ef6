"""What is said of a network's layers is what the formula says of tensors that were put there."""

import numpy as np
import polars as pl
import pytest
import torch

from model.config import ModelConfig
from model.transformer import Transformer
from pipeline.experiments import layers

SHAPE = ModelConfig(layers=2, width=16, heads=2, context=8, vocab_size=32, ffn=20, activation="relu")
DOCUMENTS = pl.DataFrame({"tokens": [list(range(1, 12)), list(range(5, 30))]})


def network(**changes: object) -> Transformer:
    torch.manual_seed(0)
    return Transformer(SHAPE.model_copy(update=changes)).eval()


def found(model: Transformer) -> list[dict]:
    return layers.by_layer(model, DOCUMENTS, 0, torch.device("cpu")).to_dicts()


def test_rows_are_documents_after_their_separator_cut_to_the_context():
    rows = layers.rows_of(DOCUMENTS, 0, 8)
    assert rows.shape == (4, 8)
    assert rows.flatten()[:13].tolist() == [0, *range(1, 12), 0]
    assert layers.rows_of(DOCUMENTS[:1], 0, 100).shape == (1, 12)


def test_units_that_never_fire_are_dead_and_large_inputs_are_saturated():
    model = network(bias=True)
    with torch.no_grad():
        up = model.model.layers[1].mlp.up_proj
        up.weight.zero_()
        up.bias.copy_(torch.tensor([-5.0] * 5 + [1.0] * 10 + [5.0] * 5))
    first, second = found(model)
    assert second["dead"] == pytest.approx(0.25) and second["saturated"] == pytest.approx(0.5)
    assert first["dead"] < 0.25 and first["saturated"] == 0.0


@pytest.mark.parametrize("activation", ["relu", "swiglu", "relu2"])
def test_the_stream_is_what_the_blocks_add_up_to(activation):
    model = network(activation=activation)
    rows = torch.from_numpy(layers.rows_of(DOCUMENTS, 0, 8))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        stream = model.model.embed_tokens(rows)
        seen: list[dict] = [{}, {}]
        with layers.watched(model, seen):
            model.hidden(rows)
        for part in seen:
            stream = stream + part["attention"] + part["feed_forward"]
    assert torch.allclose(stream, seen[1]["stream"], atol=1e-5)
    assert found(model)[1]["stream"] == pytest.approx(float(stream.square().mean().sqrt()), rel=1e-3)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.model.layers[0]._forward_hooks, "nothing is left on the network"
    assert {"layer", *layers.COLUMNS} == found(model)[0].keys()
    assert np.isfinite([list(row.values()) for row in found(model)]).all()


def test_a_gradient_is_how_steeply_the_loss_falls_along_it():
    model = network().double()
    rows = torch.from_numpy(layers.rows_of(DOCUMENTS, 0, 8))

    def loss():
        with torch.no_grad():
            nats, count = model.loss(rows[:, :-1], rows[:, 1:])
        return float(nats / count)

    steep = layers.gradients(model, rows)
    nats, count = model.loss(rows[:, :-1], rows[:, 1:])
    (nats / count).backward()
    weights = list(model.model.layers[1].parameters())
    before, step = loss(), 1e-4
    with torch.no_grad():
        for weight in weights:
            weight.add_(weight.grad, alpha=step / steep[1])
    assert (loss() - before) / step == pytest.approx(steep[1], rel=0.01)
    assert steep[0] != steep[1]

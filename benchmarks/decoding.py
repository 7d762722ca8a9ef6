"""Decoding one text at a time: this project's network against transformers' Llama, with the same weights.

    python -m benchmarks.decoding [--size 100m] [--prompt 16] [--tokens 64] [--rounds 3] [--formats fp32 bf16]

Greedy, one thread, one text of `--prompt` random ids that is continued by `--tokens` more. Each contestant runs as it
is used: `model.generate.generate` with an arranged network, and `generate` of transformers. CPU seconds of a whole
continuation, the prompt included; the contestants take turns, each after one continuation that does not count. Two
limits stand beside them: the products of a step alone (`F.linear` with each of its matrices), and reading their bytes
once (the largest of them all, taken as numbers in fp32).
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import model  # noqa: F401  (before torch: it says how threads wait)
from benchmarks.contestants import SIZES, Size, our_network, transformers_llama
from benchmarks.measuring import cpu_of

if TYPE_CHECKING:
    import torch

    from model.transformer import Transformer

    Decode = Callable[[int], list[int]]

DEMO = Size(layers=5, width=192, heads=6, kv_heads=2, ffn=512, vocabulary=4096, context=256, batch=1)
CHOICES = {**SIZES, "demo": DEMO}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=CHOICES, default="100m")
    parser.add_argument("--prompt", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--formats", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    return parser


def main() -> None:
    import torch

    options = arguments().parse_args()
    torch.set_num_threads(1)
    size = CHOICES[options.size]
    parameters = our_network(size).parameters_count() / 1e6
    print(f"{parameters:.1f} M parameters, {options.tokens} tokens after {options.prompt}, {options.rounds} rounds.\n")
    print("| format | contestant | tokens/cpu-s | range | times transformers |\n|---|---|---|---|---|")
    for name in options.formats:
        dtype = torch.bfloat16 if name == "bf16" else torch.float32
        rates = race(contestants(size, dtype, options.prompt), options.tokens, options.rounds)
        for contestant, measured in rates.items():
            usual = [ours / theirs for ours, theirs in zip(measured, rates["transformers"])]
            print(
                f"| {name} | {contestant} | {statistics.median(measured):,.1f} | {min(measured):,.1f} to "
                f"{max(measured):,.1f} | {statistics.median(usual):.2f} ({min(usual):.2f} to {max(usual):.2f}) |"
            )


def race(contestants: dict[str, Decode], tokens: int, rounds: int) -> dict[str, list[float]]:
    """Tokens per CPU second of each contestant, in each round."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, decode in contestants.items():
            made, seconds = cpu_of(lambda decode=decode: decode(tokens))  # type: ignore[misc]
            assert len(made) == tokens, f"{name} generated {len(made)} instead of {tokens} tokens"
            if number:
                rates[name].append(tokens / seconds)
    return rates


def contestants(size: Size, dtype: torch.dtype, length: int) -> dict[str, Decode]:
    import torch

    ours = our_network(size).to(dtype).eval()
    ours.position_table = ours.position_table.float()
    ours.fill_position_table()
    prompt = torch.randint(size.vocabulary, (length,), generator=torch.Generator().manual_seed(0))
    return {
        "this project": with_ours(ours, prompt),
        "transformers": with_transformers(size, dtype, prompt),
        "products alone": with_products(ours),
        "bytes read once": with_reading(torch.cat([weight.flatten() for weight in matrices(ours)])),
    }


def with_ours(network: Transformer, prompt: torch.Tensor) -> Decode:
    from model.decoding import arrange
    from model.generate import generate

    arrange(network)
    return lambda tokens: list(generate(network, prompt.tolist(), tokens))


def with_transformers(size: Size, dtype: torch.dtype, prompt: torch.Tensor) -> Decode:
    import torch

    network = transformers_llama(size)[0].to(dtype).eval()
    network.config.use_cache = True  # type: ignore[union-attr]
    ids = prompt[None]

    def decode(tokens: int) -> list[int]:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            made = network.generate(  # type: ignore[operator]
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens, use_cache=True,
                eos_token_id=None, pad_token_id=0,
            )  # fmt: skip
        return made[0, len(prompt) :].tolist()

    return decode


def with_products(network: Transformer) -> Decode:
    import torch
    import torch.nn.functional as F

    weights = list(matrices(network))
    vectors = {weight.shape[1]: torch.randn(1, weight.shape[1]).to(weight.dtype) for weight in weights}

    def decode(tokens: int) -> list[int]:
        with torch.inference_mode():
            for _ in range(tokens):
                for weight in weights:
                    F.linear(vectors[weight.shape[1]], weight)
        return [0] * tokens

    return decode


def with_reading(weights: torch.Tensor) -> Decode:
    import torch

    numbers = weights.view(torch.float32)

    def decode(tokens: int) -> list[int]:
        for _ in range(tokens):
            numbers.amax()
        return [0] * tokens

    return decode


def matrices(network: Transformer) -> Iterator[torch.Tensor]:
    """The weights that a step multiplies by."""
    import torch

    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            yield module.weight.detach()
    if network.lm_head is None:
        yield network.output_weight.detach()


if __name__ == "__main__":
    main()

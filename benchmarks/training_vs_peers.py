"""Speed of training against transformers' Llama, litgpt and nanoGPT's model: same shape, weights, batch and precision.

    python benchmarks/training_vs_peers.py --size 10m --threads 1
    python benchmarks/training_vs_peers.py --size 100m --threads 1 --steps 4
    python benchmarks/training_vs_peers.py --size 10m --compile
    python benchmarks/training_vs_peers.py --size 100m --precision bf16

Each contestant is a process of its own that takes one step when it is told to, in turn, so that whatever else the
machine does falls on all alike. A step is forward, backward and fused AdamW; CPU-seconds and wall time are kept. The
losses of the first step are compared, since all start from the same weights. Beside them run the model's own matrix
multiplications, forward and backward in the same shapes, with nothing between them: the limit. With bf16, weights stay
in fp32 and all contestants run under torch's autocast, as ours does in training.

Ours keeps freed memory, in huge pages (model/allocator.py), as the training program does; `--same-allocator` gives this
to all. How long threads spin (model/__init__.py) is the same for all. The peak is that of a square multiplication,
taken when the last step is done.
nanoGPT is not a package: its model is rebuilt here from its description (GPT-2 with a fused projection of queries, keys
and values, exact GELU, learned positions, no biases, tied embeddings). A peer that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # and not this folder, where files bear the names of packages

from model import allocator  # noqa: E402

SIZES = {  # layers, width, heads, kv_heads, ffn (Llama), vocabulary, context, batch
    "tiny": (2, 64, 4, 2, 192, 512, 32, 2),
    "10m": (10, 256, 8, 8, 704, 8192, 256, 16),
    "100m": (12, 768, 12, 12, 2048, 32000, 512, 4),
}
NEEDS = {"transformers": "transformers", "litgpt": "litgpt"}
CONTESTANTS = ("ours", "transformers", "litgpt", "ours gpt", "nanogpt", "matmul", "matmul+attention")


# -- the contestants: each a function that gives the loss of the batch, and its parameters -----------------------------


def ours(size, gpt=False):
    import torch

    from model.config import ModelConfig
    from model.transformer import Transformer

    layers, width, heads, kv_heads, ffn, vocabulary, context, _ = size
    shape = {"layers": layers, "width": width, "heads": heads, "vocab_size": vocabulary, "context": context}
    if gpt:
        shape |= {"norm": "layer", "positions": "learned", "activation": "gelu"}
    else:
        shape |= {"kv_heads": kv_heads, "ffn": ffn}
    torch.manual_seed(0)
    return Transformer(ModelConfig(**shape))


def contestant(name, size, compiled):
    import torch
    import torch.nn.functional as F

    compiler = torch.compile if compiled else lambda f: f
    layers, width, heads, kv_heads, ffn, vocabulary, context, _ = size
    if name in ("ours", "ours gpt"):
        model = ours(size, name == "ours gpt")
        call = compiler(model)

        def loss(x, y):
            total, count = call(x, y)
            return total / count

    elif name == "transformers":
        from transformers import LlamaConfig, LlamaForCausalLM

        about = LlamaConfig(
            vocab_size=vocabulary, hidden_size=width, intermediate_size=ffn, num_hidden_layers=layers,
            num_attention_heads=heads, num_key_value_heads=kv_heads, max_position_embeddings=context,
            rms_norm_eps=1e-5, tie_word_embeddings=True, use_cache=False,
        )  # fmt: skip
        model = LlamaForCausalLM(about)
        model.load_state_dict(ours(size).state_dict(), strict=False)
        call = compiler(model)

        def loss(x, y):
            return call(input_ids=x, labels=y, shift_labels=y).loss

    elif name == "litgpt":
        from litgpt.config import Config
        from litgpt.model import GPT
        from litgpt.utils import chunked_cross_entropy

        about = Config(
            name="bench", block_size=context, vocab_size=vocabulary, padded_vocab_size=vocabulary, n_layer=layers,
            n_head=heads, n_query_groups=kv_heads, n_embd=width, head_size=width // heads, rotary_percentage=1.0,
            parallel_residual=False, bias=False, norm_class_name="RMSNorm", norm_eps=1e-5, mlp_class_name="LLaMAMLP",
            intermediate_size=ffn,
        )  # fmt: skip
        model = GPT(about)
        model.lm_head.weight = model.transformer.wte.weight
        given = ours(size).state_dict()
        theirs = {"transformer.wte.weight": given["model.embed_tokens.weight"]}
        theirs |= {"lm_head.weight": given["model.embed_tokens.weight"]}
        theirs |= {"transformer.ln_f.weight": given["model.norm.weight"]}
        for i in range(layers):
            here, there = f"model.layers.{i}.", f"transformer.h.{i}."
            projections = [given[f"{here}self_attn.{part}_proj.weight"] for part in "qkv"]
            theirs[f"{there}attn.qkv.weight"] = torch.cat(projections)
            theirs[f"{there}attn.proj.weight"] = given[f"{here}self_attn.o_proj.weight"]
            theirs[f"{there}norm_1.weight"] = given[f"{here}input_layernorm.weight"]
            theirs[f"{there}norm_2.weight"] = given[f"{here}post_attention_layernorm.weight"]
            for their, our in (("fc_1", "gate_proj"), ("fc_2", "up_proj"), ("proj", "down_proj")):
                theirs[f"{there}mlp.{their}.weight"] = given[f"{here}mlp.{our}.weight"]
        model.load_state_dict(theirs, strict=False)
        call = compiler(model)

        def loss(x, y):
            return chunked_cross_entropy(call(x), y, chunk_size=0)  # litgpt's pretraining does not chunk

    else:
        model = nanogpt(size)
        call = compiler(model)

        def loss(x, y):
            return F.cross_entropy(call(x).view(-1, vocabulary), y.view(-1), ignore_index=-1)

    return model, loss


def nanogpt(size):
    """nanoGPT's model, from its description, with our weights."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    layers, width, heads, _, _, vocabulary, context, _ = size

    class LayerNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(width))

        def forward(self, x):
            return F.layer_norm(x, self.weight.shape, self.weight, None, 1e-5)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.ln_2 = LayerNorm(), LayerNorm()
            self.c_attn = nn.Linear(width, 3 * width, bias=False)
            self.c_proj = nn.Linear(width, width, bias=False)
            self.c_fc = nn.Linear(width, 4 * width, bias=False)
            self.down = nn.Linear(4 * width, width, bias=False)
            self.gelu = nn.GELU()

        def forward(self, x):
            b, t, _ = x.shape
            parts = self.c_attn(self.ln_1(x)).split(width, dim=2)
            q, k, v = (part.view(b, t, heads, width // heads).transpose(1, 2) for part in parts)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.c_proj(y.transpose(1, 2).contiguous().view(b, t, width))
            return x + self.down(self.gelu(self.c_fc(self.ln_2(x))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
            self.h = nn.ModuleList(Block() for _ in range(layers))
            self.ln_f = LayerNorm()

        def forward(self, x):
            y = self.wte(x) + self.wpe(torch.arange(x.shape[1]))
            for block in self.h:
                y = block(y)
            return F.linear(self.ln_f(y), self.wte.weight)

    model, given = GPT(), ours(size, gpt=True).state_dict()
    theirs = {"wte.weight": given["model.embed_tokens.weight"], "wpe.weight": given["model.embed_positions.weight"]}
    theirs["ln_f.weight"] = given["model.norm.weight"]
    for i in range(layers):
        here = f"model.layers.{i}."
        theirs[f"h.{i}.c_attn.weight"] = torch.cat([given[f"{here}self_attn.{part}_proj.weight"] for part in "qkv"])
        theirs[f"h.{i}.c_proj.weight"] = given[f"{here}self_attn.o_proj.weight"]
        theirs[f"h.{i}.c_fc.weight"] = given[f"{here}mlp.up_proj.weight"]
        theirs[f"h.{i}.down.weight"] = given[f"{here}mlp.down_proj.weight"]
        theirs[f"h.{i}.ln_1.weight"] = given[f"{here}input_layernorm.weight"]
        theirs[f"h.{i}.ln_2.weight"] = given[f"{here}post_attention_layernorm.weight"]
    model.load_state_dict(theirs)
    return model


def multiplications(size, attention, dtype):
    """All matrix multiplications of one step of the Llama shape, into memory that is there already."""
    import torch
    import torch.nn.functional as F

    layers, width, heads, kv_heads, ffn, vocabulary, context, batch = size
    rows, keys = batch * context, width // heads * kv_heads
    shapes = [(width, width), (keys, width), (keys, width), (width, width), (ffn, width), (ffn, width), (width, ffn)]
    made = {}
    for out, into in {*shapes, (vocabulary, width)}:
        sizes = [(rows, into), (out, into), (rows, out), (rows, out), (rows, into), (out, into)]
        made[out, into] = [torch.randn(*sides, dtype=dtype) for sides in sizes]
    q, k, v = (
        torch.randn(batch, context, n, width // heads, dtype=dtype).transpose(1, 2).requires_grad_()
        for n in (heads, kv_heads, kv_heads)
    )
    d = torch.randn(batch, context, heads, width // heads, dtype=dtype).transpose(1, 2)

    def step():
        for shape in [*(shapes * layers), (vocabulary, width)]:
            x, w, g, y, gx, gw = made[shape]
            torch.mm(x, w.t(), out=y)
            torch.mm(g, w, out=gx)
            torch.mm(g.t(), x, out=gw)
        for _ in range(layers if attention else 0):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads != kv_heads)
            y.backward(d)

    return step


# -- a contestant's process, and the one that tells them when ----------------------------------------------------------


def work(name, size_name, threads, compiled, precision, keep):
    import torch

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32

    torch.set_num_threads(threads)
    size = SIZES[size_name]
    vocabulary, context, batch = size[5:]
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randint(0, vocabulary, (batch, context), generator=generator) for _ in range(2))
    parameters = 0
    if name.startswith("matmul"):
        bare = multiplications(size, "attention" in name, dtype)
    else:
        model, loss_of = contestant(name, size, compiled)
        parameters = sum(p.numel() for p in model.parameters())
        optimiser = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)
    with allocator.kept_memory() if keep else nullcontext():
        print("ready", flush=True)
        for line in sys.stdin:
            if line.strip() == "end":
                return
            cpu, wall, loss, update = time.process_time(), time.perf_counter(), None, 0.0
            if name.startswith("matmul"):
                bare()
            else:
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                    value = loss_of(x, y)
                value.backward()
                update = time.process_time()
                optimiser.step()
                optimiser.zero_grad()
                update = time.process_time() - update
                loss = value.item()
            spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
            print(json.dumps({**spent, "loss": loss, "update": update, "parameters": parameters}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="10m")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8, help="measured, after two that are not")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--same-allocator", action="store_true", help="let the peers keep freed memory too")
    parser.add_argument("--only", nargs="*", choices=CONTESTANTS, default=CONTESTANTS)
    parser.add_argument("--loud", action="store_true", help="show what the contestants write of themselves")
    parser.add_argument("--worker", choices=CONTESTANTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        keep = given.same_allocator or given.worker.startswith(("ours", "matmul"))
        return work(given.worker, given.size, given.threads, given.compile, given.precision, keep)

    running = {}
    for name in given.only:
        if name in NEEDS and not importlib.util.find_spec(NEEDS[name]):
            print(f"{name} is not installed: left out")
            continue
        command = [sys.executable, __file__, "--worker", name, "--size", given.size, "--threads", str(given.threads)]
        command += ["--precision", given.precision]
        command += ["--compile"] * given.compile + ["--same-allocator"] * given.same_allocator
        quiet = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
        if given.same_allocator or name.startswith(("ours", "matmul")):
            quiet |= allocator.environment()
        running[name] = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if given.loud else subprocess.DEVNULL,
            text=True,
            env=quiet,
        )
    results = {name: [] for name in running}
    for name in list(running):
        if running[name].stdout.readline().strip() != "ready":
            print(f"{name} could not be started: left out")
            del running[name]
    for turn in range(given.steps + 2):
        for name, process in running.items():
            process.stdin.write("step\n")
            process.stdin.flush()
            result = json.loads(process.stdout.readline())
            results[name].append(result)
            if given.threads > 1:
                time.sleep(0.3)  # the last one's other threads look out for work for a while
        print(f"turn {turn + 1} of {given.steps + 2}", file=sys.stderr, flush=True)
    for process in running.values():
        process.stdin.write("end\n")
        process.stdin.close()
        process.wait()

    context, batch = SIZES[given.size][6:]
    mode = "compiled" if given.compile else "eager"
    whose = "all keep freed memory" if given.same_allocator else "each as it comes"
    print(f"\n{given.size}, {given.precision}, {mode}, {given.threads} thread(s), {batch} x {context} tokens")
    print(f"allocator: {whose}")
    print(f"{'':18}{'loss':>9}{'cpu-s':>8}{'wall-s':>8}{'tokens/cpu-s':>14}{'optimiser':>11}")
    middle = {}
    for name in running:
        rows = results[name][2:]
        middle[name] = statistics.median(row["cpu"] for row in rows)
        wall = statistics.median(row["wall"] for row in rows)
        loss = results[name][0]["loss"]
        update = statistics.median(row["update"] for row in rows) / middle[name]
        shown = f"{loss:9.4f}" if loss is not None else f"{'':9}"
        rate = batch * context / middle[name]
        print(f"{name:18}{shown}{middle[name]:8.3f}{wall:8.3f}{rate:14.0f}{update:11.1%}")
    for left, right in (("ours", "transformers"), ("ours", "litgpt"), ("ours gpt", "nanogpt")):
        if left in middle and right in middle:
            pairs = [b["cpu"] / a["cpu"] for a, b in zip(results[left][2:], results[right][2:], strict=True)]
            print(
                f"{left} / {right}: {statistics.median(pairs):.3f} ({min(pairs):.3f} to {max(pairs):.3f}) tokens/cpu-s"
            )
            apart = abs(results[left][0]["loss"] - results[right][0]["loss"])
            if apart > (1e-3 if given.precision == "fp32" else 1e-2):  # bf16 rounds to 3 digits, in another order
                raise SystemExit(f"the losses of {left} and {right} differ by {apart}: not the same network")
    if "matmul" in middle:
        import torch

        from pipeline.training.machine import measured_peak

        torch.set_num_threads(given.threads)
        peak = measured_peak(torch.bfloat16 if given.precision == "bf16" else torch.float32, size=2048) / given.threads
        layers, width, heads, kv_heads, ffn, vocabulary, *_ = SIZES[given.size]
        block = width * (2 * width + 2 * width // heads * kv_heads + 3 * ffn)
        flops = 6 * batch * context * (layers * block + vocabulary * width)
        for name in ("ours", "matmul"):
            if name in middle:
                share = flops / middle[name] / peak
                print(f"multiplications of {name} make {share:.0%} of the peak of {peak / 1e9:.0f} GFLOP/s a thread")
    if "ours" in middle:
        for name in ("matmul", "matmul+attention"):
            if name in middle:
                print(f"ours reaches {middle[name] / middle['ours']:.0%} of its {name} alone")


if __name__ == "__main__":
    main()

"""Post-training on a task that a tiny network learns: GRPO from a half-trained network, and all losses of preferences.

The task is to write a word backwards: prompts are all words of three letters out of twelve, a fifth of them held back.
A network of two layers is fine-tuned on correct answers, but not to the end. Then it is trained on

- rewards (`--part rewards`): GRPO with `kind: exact`; what the likeliest answers to held-back prompts are worth;
- preferences (`--part losses`): every method for the same number of steps, on pairs of the right answer and the same
  with two letters exchanged, or, with `--pairs own`, a wrong one that the network gives itself; the share of held-back
  pairs in the right order by likelihood, exact answers, and what the loss on conversations of fine-tuning has become;
- rewards after pretraining (`--part forgetting`): a network is pretrained on speeches, fine-tuned, trained on rewards
  by GRPO and by PPO from as many answers; what bits per byte of held-back speeches have become.

`python -m benchmarks.post_training --part rewards --seeds 3` prints Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.making import context, quiet
from pipeline.conversations.shapes import PREFERENCE, is_held_back
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.store.tables import write_table
from pipeline.tokens.byte_pair import PATTERN, to_tiktoken
from pipeline.tokens.token_settings import SPECIALS
from pipeline.training.objectives import fine_tuning, preference, reinforcement
from pipeline.training.reinforcement_settings import ReinforcementSettings
from pipeline.training.training_settings import PreferenceSettings, SftSettings

LETTERS, LENGTH, HELD_BACK = "abcdefghijkl", 3, 0.2
METHODS = ("dpo", "ipo", "kto", "simpo", "orpo")
Rows = list[dict[str, Any]]


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("rewards", "losses", "forgetting"), default="rewards")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--sft-epochs", type=float, default=14.0, help="of fine-tuning, which is stopped early")
    parser.add_argument("--steps", type=int, default=120, help="of reinforcement, or of each preference tuning")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate of what follows fine-tuning")
    parser.add_argument("--beta", type=float, default=0.04, help="weight of the KL in reinforcement")
    parser.add_argument("--pairs", choices=("exchanged", "own"), default="exchanged", help="what the wrong answers are")
    parser.add_argument("--kilobytes", type=int, default=150, help="of speeches to pretrain on, for `forgetting`")
    return parser


def words() -> list[str]:
    return ["".join(letters) for letters in itertools.product(LETTERS, repeat=LENGTH)]


def put(store: Store, asset: str, build: Callable[[Draft], None]) -> Artifact:
    return store.make(asset, code_version="1", settings={}, inputs={}, build=build, log=quiet)


def base(store: Store, seed: int) -> Artifact:
    """An untrained network, with a tokenizer of one token a byte."""

    def build(draft: Draft) -> None:
        import torch

        from model import export
        from model.config import ModelConfig
        from model.transformer import Transformer

        shape = ModelConfig(layers=2, width=64, heads=4, kv_heads=2, context=64, vocab_size=len(SPECIALS) + 256)
        torch.manual_seed(seed)
        export.save(Transformer(shape), draft.directory)
        about = {
            "kind": "bpe", "native": "tiktoken", "normalisation": "none", "vocab_size": len(SPECIALS) + 256,
            "special_tokens": {name: i for i, name in enumerate(SPECIALS)}, "pattern": PATTERN.replace("DIGITS", "3"),
        }  # fmt: skip
        tokens = [bytes([value]) for value in range(256)]
        draft.path("tokenizer.tiktoken").write_bytes(to_tiktoken(tokens, first_id=len(SPECIALS)))
        draft.path("tokenizer_about.json").write_text(json.dumps(about))

    return put(store, "pretrained_model", build)


def data(store: Store, seed: int) -> tuple[Artifact, Artifact]:
    """(conversations, pairs) of words and words backwards; two letters of a wrong answer are exchanged."""
    draw = np.random.default_rng(seed)
    talks: dict[str, Rows] = {"train": [], "held_back": []}
    pairs: dict[str, Rows] = {"train": [], "held_back": []}
    for number, word in enumerate(words()):
        ask, right = [{"role": "user", "content": word}], word[::-1]
        side = "held_back" if is_held_back(ask, HELD_BACK) else "train"
        common = {"id": f"{number:06d}", "source": "backwards", "lang": "en"}
        talks[side].append({**common, "messages": [*ask, {"role": "assistant", "content": right}]})
        at = int(draw.integers(LENGTH - 1))
        wrong = right[:at] + right[at + 1] + right[at] + right[at + 2 :]
        if wrong != right:
            pairs[side].append({**common, "prompt": ask, "chosen": right, "rejected": wrong})

    def write(tables: dict[str, Rows], schema: Any) -> Callable[[Draft], None]:
        def build(draft: Draft) -> None:
            for name, rows in tables.items():
                write_table(pl.DataFrame(rows, schema=schema), draft.path(f"{name}.parquet"))

        return build

    return put(store, "instruction_data", write(talks, None)), put(store, "preference_data", write(pairs, PREFERENCE))


def half_trained(store: Store, started: Artifact, talks: Artifact, seed: int, epochs: float) -> Artifact:
    settings = SftSettings(epochs=epochs, batch_tokens=2048, learning_rate=2e-3, sample_tokens=1, select="last")
    return fine_tuning.make(context(store, seed=seed), {"base": started, "instruction_data": talks}, settings)


def measured(model: Artifact, talks: Artifact, pairs: Artifact) -> dict[str, float]:
    """On held-back prompts: share of exact answers, of pairs in the right order, and the loss of fine-tuning."""
    import torch

    from model import conversation, export
    from model.generate_together import generate_together
    from pipeline.evaluation.measures.preferences import preference_accuracy
    from pipeline.tokens.tokenizer import load
    from pipeline.training.data.packing import pack

    directory = model.local_directory()
    network, tokenizer = export.load(directory, torch.float32).eval(), load(directory)
    held = pl.read_parquet(talks.table("held_back"))["messages"].to_list()
    heads = [ids.tolist() for ids, _ in tokenizer.encode_chats([talk[:1] for talk in held], answer_next=True)]
    found = generate_together(network, heads, 8, stop_ids=(tokenizer.ids[conversation.END],))
    exact = np.mean([tokenizer.decode(ids) == talk[1]["content"] for ids, talk in zip(found, held, strict=True)])
    order = preference_accuracy(
        network, tokenizer, pl.read_parquet(pairs.table("held_back")), 8192, torch.device("cpu")
    )
    rows = pack(tokenizer.encode_chats(held), network.config.context, tokenizer.ids["<pad>"])
    with torch.no_grad():
        nats, count = network(*(torch.from_numpy(a) for a in (rows.tokens, rows.targets)),
                              documents=torch.from_numpy(rows.documents))  # fmt: skip
    return {"exact": float(exact), "preferred": order["whole"], "nats": float(nats / count)}


def own_mistakes(store: Store, tuned: Artifact, talks: Artifact, seed: int) -> Artifact:
    """Pairs of the right answer and a wrong one that the network itself gives by chance; prompts without one go."""
    import torch

    from model import conversation, export
    from model.generate_together import generate_together
    from model.sampling import Sampling
    from pipeline.tokens.tokenizer import load

    directory = tuned.local_directory()
    network, tokenizer = export.load(directory, torch.float32).eval(), load(directory)
    stop = (tokenizer.ids[conversation.END],)
    tables: dict[str, Rows] = {}
    for split in ("train", "held_back"):
        rows = pl.read_parquet(talks.table(split)).to_dicts()
        heads = [ids.tolist() for ids, _ in tokenizer.encode_chats([row["messages"][:1] for row in rows], True)]
        wrong: dict[int, str] = {}
        for draw in range(4):
            found = generate_together(network, heads, 8, Sampling(temperature=1.0, seed=1000 * seed + draw), stop)
            for number, ids in enumerate(found):
                text = tokenizer.decode(ids).strip()
                if text and len(ids) < 8 and text != rows[number]["messages"][1]["content"]:
                    wrong.setdefault(number, text)
        tables[split] = [
            {
                "id": rows[number]["id"], "prompt": rows[number]["messages"][:1],
                "chosen": rows[number]["messages"][1]["content"], "rejected": text, "source": "own", "lang": "en",
            }
            for number, text in sorted(wrong.items())
        ]  # fmt: skip

    def build(draft: Draft) -> None:
        for name, rows in tables.items():
            write_table(pl.DataFrame(rows, schema=PREFERENCE), draft.path(f"{name}.parquet"))

    return store.make("preference_data", code_version="own", settings={}, inputs={}, build=build, log=quiet)


def rewards(options: argparse.Namespace) -> None:
    """GRPO from a half-trained network, one row for each seed."""
    print("| seed | exact before | exact after | times | reward in training, first and last ten steps | truncated |"
          " without variance | CPU-s |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for seed in range(options.first, options.first + options.seeds):
        with tempfile.TemporaryDirectory() as place:
            store = Store(Path(place), "backwards")
            talks, pairs = data(store, seed)
            tuned = half_trained(store, base(store, seed), talks, seed, options.sft_epochs)
            before = measured(tuned, talks, pairs)
            settings = ReinforcementSettings.model_validate({
                "rewards": [{"kind": "exact"}], "steps": options.steps, "batch_prompts": 16, "answers": 16,
                "max_new": 8, "learning_rate": options.rate, "beta": options.beta, "sample_tokens": 1,
            })  # fmt: skip
            started = time.process_time()
            model = reinforcement.make(context(store, seed=seed), {"base": tuned, "instruction_data": talks}, settings)
            spent = time.process_time() - started
            after, log = measured(model, talks, pairs), pl.read_parquet(model.file("log.parquet"))
            first, last = (statistics.fmean(part["reward"].to_list()) for part in (log.head(10), log.tail(10)))
            print(
                f"| {seed} | {before['exact']:.3f} | {after['exact']:.3f} | {after['exact'] / before['exact']:.1f} |"
                f" {first:.3f} -> {last:.3f} | {model.facts['truncated']:.3f} | {model.facts['without_variance']:.3f} |"
                f" {spent:.0f} |",
                flush=True,
            )


def losses(options: argparse.Namespace) -> None:
    """Every method for the same steps from the same networks: means over seeds, with the lowest and the highest."""
    found: dict[str, Rows] = {name: [] for name in ("before", *METHODS)}
    for seed in range(options.first, options.first + options.seeds):
        with tempfile.TemporaryDirectory() as place:
            store = Store(Path(place), "backwards")
            talks, pairs = data(store, seed)
            tuned = half_trained(store, base(store, seed), talks, seed, options.sft_epochs)
            if options.pairs == "own":
                pairs = own_mistakes(store, tuned, talks, seed)
            found["before"].append(measured(tuned, talks, pairs))
            count = pl.read_parquet(pairs.table("train")).height
            for method in METHODS:
                rows = count * (2 if method == "kto" else 1)
                settings = PreferenceSettings.model_validate({
                    "method": method, "batch_pairs": 32, "epochs": options.steps * 32 / rows,
                    "learning_rate": options.rate, "sample_tokens": 1,
                })  # fmt: skip
                started = time.process_time()
                model = preference.make(context(store, seed=seed), {"base": tuned, "preference_data": pairs}, settings)
                spent = time.process_time() - started
                assert model.facts["steps"] in (options.steps, options.steps + 1)
                found[method].append({**measured(model, talks, pairs), "spent": spent})
    print("| method | pairs in the right order | exact answers | nats per token of conversations | CPU-s |")
    print("| --- | --- | --- | --- | --- |")
    for name, rows_of_method in found.items():
        shown = []
        for figure in ("preferred", "exact", "nats", "spent"):
            values = [row[figure] for row in rows_of_method if figure in row]
            spread = f" ({min(values):.3f} - {max(values):.3f})" if values and figure != "spent" else ""
            shown.append(f"{statistics.fmean(values):.3f}{spread}" if values else "")
        print(f"| {name} | {' | '.join(shown)} |", flush=True)


def forgetting(options: argparse.Namespace) -> None:
    """Bits per byte of the pretraining text before and after each method, one row for each seed and method."""
    from benchmarks.distilling import SHAPE, bits_per_byte, made_shards, network_of
    from pipeline.training.objectives import pretraining
    from pipeline.training.planning.plan import Pretraining
    from pipeline.training.pretraining_settings import PretrainingSettings

    print("| seed | method | exact, before -> after | bits per byte, pretrained | fine-tuned | after rewards | change |"
          " CPU-s |\n| --- | --- | --- | --- | --- | --- | --- | --- |")  # fmt: skip
    passes = 4  # of PPO over the answers of one writing: as many answers are written in a quarter of GRPO's steps
    common = {
        "rewards": [{"kind": "exact"}], "batch_prompts": 8, "answers": 8, "max_new": 8, "learning_rate": options.rate,
        "beta": options.beta, "sample_tokens": 1, "precision": "fp32",
    }  # fmt: skip
    methods = {
        "grpo": {"steps": options.steps},
        "ppo": {"method": "ppo", "passes": passes, "steps": passes * options.steps},
    }
    for seed in range(options.first, options.first + options.seeds):
        with tempfile.TemporaryDirectory() as place:
            store = Store(Path(place), "backwards")
            talks, pairs = data(store, seed)
            inputs = made_shards(store, options.kilobytes)
            shards = inputs["token_shards"]
            run = PretrainingSettings(
                tokens=options.kilobytes * 1500, batch_tokens=1024, learning_rate=1e-2, precision="fp32", compile="off",
                sample_tokens=1, evaluate_every=100_000, validation_tokens=2048,
            )  # fmt: skip
            started = pretraining.make(context(store, seed=seed), inputs, Pretraining(SHAPE, run))
            tuned = half_trained(store, started, talks, seed, options.sft_epochs)
            known = [bits_per_byte([network_of(model)], shards) for model in (started, tuned)]
            before = measured(tuned, talks, pairs)
            for method, changes in methods.items():
                settings = ReinforcementSettings.model_validate({**common, **changes})
                begun = time.process_time()
                model = reinforcement.make(
                    context(store, seed=seed), {"base": tuned, "instruction_data": talks}, settings
                )
                spent = time.process_time() - begun
                after = bits_per_byte([network_of(model)], shards)
                print(
                    f"| {seed} | {method} | {before['exact']:.3f} -> {measured(model, talks, pairs)['exact']:.3f} |"
                    f" {known[0]:.3f} | {known[1]:.3f} | {after:.3f} | {after / known[1] - 1:+.1%} | {spent:.0f} |",
                    flush=True,
                )


PARTS = {"rewards": rewards, "losses": losses, "forgetting": forgetting}


def main() -> None:
    options = arguments().parse_args()
    PARTS[options.part](options)


if __name__ == "__main__":
    main()

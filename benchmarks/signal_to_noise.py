"""Signal and noise of Korean and English tasks: networks of two sizes, three seeds of each, on real text.

    python -m benchmarks.signal_to_noise DATA [--store FOLDER] [--tokens 2500000] [--seeds 3 3] [--limit 300]
        [--sizes mini tiny small large] [--only-train]

DATA/text has the text as Parquet files (those of Korean and of English are taken, without curation), DATA/eval the
sets. All networks see the same tokens in an order that their seed decides, and keep weights at every twentieth of the
training. `slm evaluate` then measures them all, with the last four kept weights of each, and this program prints what
it found by task: the signal between the sizes, both kinds of noise, and what the figures are worth.

A training that is in the store already is not made again, so the program can be stopped and run again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.making import context
from benchmarks.measuring import ONE_THREAD, output_of
from benchmarks.recipes_at_equal_compute import CONTEXT, tokenizer_and_shards
from model.config import ModelConfig
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from pipeline.training.objectives import pretraining
from pipeline.training.planning.plan import Pretraining
from pipeline.training.pretraining_settings import PretrainingSettings

RECIPE = "signal"
SIZES = {
    "mini": ModelConfig(layers=2, width=64, heads=2, context=CONTEXT, qk_norm=True),
    "tiny": ModelConfig(layers=4, width=96, heads=3, context=CONTEXT, qk_norm=True),
    "small": ModelConfig(layers=5, width=160, heads=5, context=CONTEXT, qk_norm=True),
    "large": ModelConfig(layers=6, width=256, heads=4, context=CONTEXT, qk_norm=True),
}
BATCH_TOKENS = 2048
KEPT = 19  # so that the last four and the end lie within the last fifth of the training
TASKS = {
    "KoBEST BoolQ": ("kobest-boolq", "kobest/BoolQ/dev.tsv.gz"),
    "KoBEST COPA": ("kobest-copa", "kobest/COPA/dev.tsv.gz"),
    "KoBEST HellaSwag": ("kobest-hellaswag", "kobest/HellaSwag/dev.tsv.gz"),
    "KoBEST SentiNeg": ("kobest-sentineg", "kobest/SentiNeg/dev.tsv.gz"),
    "KoBEST WiC": ("kobest-wic", "kobest/WiC/dev.tsv.gz"),
    "KLUE NLI": ("klue-nli", "klue/klue_nli_dev.json.gz"),
    "KLUE STS": ("klue-sts", "klue/klue_sts_dev.json.gz"),
    "analogies, Korean": ("analogies", "analogy/kor_analogy_semantic.txt"),
    "HellaSwag": ("hellaswag", "hellaswag/val_part.jsonl.gz"),
    "analogies, English": ("analogies", "analogy/questions-words.txt.gz"),
}
FIGURES = {"right": "right", "bits_per_byte": "bits per byte"}


def text_of(data: Path, folder: Path) -> Path:
    """A folder with the Korean and English files of DATA/text."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((data / "text").glob("*.parquet")):
        if path.name.startswith(("ko-", "en-")) and not (folder / path.name).exists():
            (folder / path.name).symlink_to(path.resolve())
    return folder


def trained(
    store: Store, inputs: dict[str, Artifact], sizes: list[str], seeds: list[int], tokens: int
) -> dict[str, Artifact]:
    """The models by name, `small 1` and so on."""
    found = {}
    settings = PretrainingSettings(
        tokens=tokens, batch_tokens=BATCH_TOKENS, kept_weights=KEPT, precision="bf16", compile="off"
    )
    for number, size in enumerate(sizes):
        for seed in range(1, seeds[min(number, len(seeds) - 1)] + 1):
            began = time.process_time()
            run = context(store, seed=seed)
            model = pretraining.make(run, inputs, Pretraining(SIZES[size], settings))
            found[f"{size} {seed}"] = model
            print(
                f"{size}, seed {seed}: {model.facts['parameters'] / 1e6:.2f} M parameters,"
                f" {model.facts['tokens'] / 1e6:.2f} M tokens, {model.facts['bits_per_byte']:.4f} bits per byte,"
                f" {time.process_time() - began:.0f} CPU-s",
                file=sys.stderr, flush=True,
            )  # fmt: skip
    return found


def evaluated(models: Mapping[str, Artifact], data: Path, folder: Path, limit: int) -> dict[str, Any]:
    """What `slm evaluate` writes to results.json of the models."""
    tasks = [
        {"name": name, "form": form, "path": str((data / "eval" / path).resolve()), "limit": limit}
        | ({"format": "json"} if path.endswith(".json.gz") else {})
        for name, (form, path) in TASKS.items()
    ]
    recipe = {
        "name": RECIPE, "sources": [{"name": "text", "kind": "files", "path": str(folder / "text" / "*.parquet")}],
        "evaluation": {"tasks": tasks}, "execution": {"device": "cpu"},
    }  # fmt: skip
    file = folder / "signal.yaml"
    file.write_text(yaml.safe_dump(recipe, allow_unicode=True, sort_keys=False))
    versions = [f"{model.asset}/{model.version}" for model in models.values()]
    command = [sys.executable, "-m", "pipeline.cli", "--recipe", str(file), "evaluate", *versions]
    out = folder / "results"
    output_of([*command, "--suite", "full", "--out", str(out)], {**ONE_THREAD, "SLM_DATA": str(folder)})
    return dict(json.loads((out / "results.json").read_text(encoding="utf-8")))


def rows(results: Mapping[str, Any], names: Mapping[str, str], sizes: list[str]) -> Iterator[str]:
    """The table: a row for each task and figure. names: of models, by their name in the results."""
    for task in TASKS:
        noise = results["noise"][task]
        of_task = {names[name]: found[task]["0_shot"] for name, found in results["models"].items()}
        chance = sum(found["at_chance"] for found in of_task.values())
        for figure, words in FIGURES.items():
            key = "plain" if figure == "right" else figure
            found = noise["0_shot"][figure]
            by_size = {
                size: [one[key]["value"] for name, one in of_task.items() if name.startswith(f"{size} ")]
                for size in sizes
            }
            means = {size: sum(values) / len(values) for size, values in by_size.items()}
            cells = [task, str(next(iter(of_task.values()))["items"]), words]
            cells += [f"{value:.3f}" for value in means.values()]
            cells += [f"{found[name]:.4f}" if name in found else "" for name in ("checkpoints", "seeds")]
            ratio = found.get("ratio")
            cells += [f"{found.get('signal', 0):.3f}", f"{ratio:.1f}" if ratio is not None else ""]
            cells.append(
                f"{chance} of {len(of_task)} at chance"
                if figure == "right" and chance
                else decided(results, names, task, figure)
            )
            yield f"| {' | '.join(cells)} |"


def decided(results: Mapping[str, Any], names: Mapping[str, str], task: str, figure: str) -> str:
    """Of how many models of another size than the reference the difference from it is decided."""
    (reference,) = results["models"].keys() - results["differences"].keys()
    others = [
        found[task]["0_shot"][figure]
        for name, found in results["differences"].items()
        if names[name].split()[0] != names[reference].split()[0]
    ]
    return f"{sum(one['decided'] for one in others)} of {len(others)} decided"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with `text` and `eval`")
    parser.add_argument("--store", type=Path, help="where artifacts go; kept, so that a run can go on")
    parser.add_argument("--tokens", type=int, default=2_500_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3], help="of each size, or one number for all")
    parser.add_argument("--limit", type=int, default=300, help="questions of each set")
    parser.add_argument("--sizes", nargs="+", default=["small", "large"], choices=list(SIZES))
    parser.add_argument("--only-train", action="store_true")
    return parser


def main() -> None:
    given = arguments().parse_args()
    os.environ.update({name: os.environ.get(name, value) for name, value in ONE_THREAD.items()})
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.store or Path(temporary)
        store = Store(folder, RECIPE)
        inputs = tokenizer_and_shards(store, text_of(given.data, folder / "text"))
        models = trained(store, inputs, given.sizes, given.seeds, given.tokens)
        if given.only_train:
            return
        results = evaluated(models, given.data, folder, given.limit)
    names = {f"{model.asset}/{model.version}": name for name, model in models.items()}
    head = ["task", "questions", "figure", *given.sizes, "checkpoints", "seeds", "signal", "signal / noise", "worth"]
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for row in rows(results, names, given.sizes):
        print(row)


if __name__ == "__main__":
    main()

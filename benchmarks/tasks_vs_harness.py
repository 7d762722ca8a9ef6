"""Tasks by likelihood: this project's scoring against EleutherAI's lm-evaluation-harness on the same exported model.

    python -m benchmarks.tasks_vs_harness MODEL DATA/eval [--peer PEER/bin/python] [--tasks NAME ...] [--limit 200]
        [--rounds 3] [--batch 64] [--shape LAYERS WIDTH CONTEXT]

MODEL is a folder with a model as this project exports it. The harness runs its own definitions of KoBEST and HellaSwag
(its `hf` model, fp32, one thread, batches of `--batch`) on local copies of the sets, whose columns get the hub's names.
Compared are the log-likelihood of every choice, and CPU seconds of scoring (text to ids included, reading the files and
loading the model not). A plain loop, one choice at a time through transformers, stands beside them.

With --shape, a larger network takes the place of MODEL's: of this shape, with random weights, and MODEL's tokenizer.

PEER is a Python with `lm-eval` and this project's packages; without it, the harness is left out. Each contestant is a
process of its own for all sets; they take turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from benchmarks.measuring import output_of, program

# Our form, the file, the harness's task, and the hub's names of its columns.
SETS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "copa": (
        "kobest-copa", "kobest/COPA/dev.tsv.gz", "kobest_copa",
        {"sentence": "premise", "1": "alternative_1", "2": "alternative_2"},
    ),
    "boolq": ("kobest-boolq", "kobest/BoolQ/dev.tsv.gz", "kobest_boolq", {"Text": "paragraph", "Question": "question"}),
    "sentineg": ("kobest-sentineg", "kobest/SentiNeg/dev.tsv.gz", "kobest_sentineg", {"Text": "sentence"}),
    "wic": (
        "kobest-wic", "kobest/WiC/dev.tsv.gz", "kobest_wic",
        {"Target": "word", "SENTENCE1": "context_1", "SENTENCE2": "context_2"},
    ),
    "kobest-hellaswag": (
        "kobest-hellaswag", "kobest/HellaSwag/dev.tsv.gz", "kobest_hellaswag",
        {f"choice{i}": f"ending_{i}" for i in range(1, 5)},
    ),
    "hellaswag": ("hellaswag", "hellaswag/val_part.jsonl.gz", "hellaswag", {}),
}  # fmt: skip
LABELS = {"copa": lambda row: int(row["Answer"]) - 1}
CLOSE = 1e-4  # relative to a likelihood of some tens of nats
CONTESTANTS = ("ours", "harness", "loop")


def rows_of(folder: Path, name: str, limit: int) -> list[dict[str, Any]]:
    """The first rows of a set, with the columns of the hub beside those of the file."""
    _, file, _, renamed = SETS[name]
    path = folder / file
    frame = (
        pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)
        if ".tsv" in file
        else pl.read_ndjson(path)
    )
    rows = frame.head(limit).to_dicts()
    truth = {"true": 1, "false": 0}
    for row in rows:
        row.update({new: row[old] for old, new in renamed.items()})
        answer = next(row[column] for column in ("label", "Label", "Answer", "ANSWER") if column in row)
        known = truth.get(str(answer).lower())
        row["label"] = LABELS[name](row) if name in LABELS else int(answer) if known is None else known
    return rows


# -- contestants, each in a process of its own -------------------------------------------------------------------------


def ours(model: Path, rows: list[dict[str, Any]], name: str, batch: int) -> tuple[list[list[float]], float]:
    import torch

    from model.export import load as load_model
    from pipeline.evaluation.choice_scoring import encode_items, score_choices
    from pipeline.evaluation.tasks.forms import questions
    from pipeline.evaluation.tasks.shots import BEFORE_ANSWER
    from pipeline.tokens.tokenizer import load as load_tokenizer

    network, tokenizer = load_model(model, torch.float32).eval(), load_tokenizer(model)
    began = time.process_time()
    asked = list(questions(SETS[name][0], rows))
    choices = [[BEFORE_ANSWER + choice for choice in question.choices] for question in asked]
    items, _ = encode_items([question.prompt for question in asked], choices, tokenizer, network.config.context)
    scores = score_choices(network, items, 64 * batch, torch.device("cpu"))
    seconds = time.process_time() - began
    return [[score.log_likelihood for score in found] for found in scores], seconds


def harness(model: Path, rows: list[dict[str, Any]], name: str, batch: int) -> tuple[list[list[float]], float]:
    import lm_eval.tasks
    import yaml
    from datasets import Dataset, DatasetDict
    from lm_eval import evaluator
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM

    if name == "hellaswag":  # the local copy has the text as the harness makes it
        rows = [{**row, "query": row["ctx"], "choices": row["endings"]} for row in rows]
    lm = HFLM(pretrained=str(model), device="cpu", dtype="float32", batch_size=batch)
    folder = Path(lm_eval.tasks.__file__).parent / ("hellaswag" if name == "hellaswag" else "kobest")
    config = yaml.load((folder / f"{SETS[name][2]}.yaml").read_text(), Loader=with_functions(folder))
    for key in ("dataset_path", "dataset_name", "tag", "metric_list"):
        config.pop(key, None)
    if name == "hellaswag":
        config.pop("process_docs")
    splits = {split: Dataset.from_list(rows) for split in ("train", "validation", "test")}
    config |= {"custom_dataset": lambda **_: DatasetDict(splits), "metric_list": [{"metric": "acc"}]}
    task = ConfigurableTask(config=config)
    spent: list[float] = []
    scored = lm.loglikelihood

    def timed(requests: Any, **given: Any) -> Any:
        began = time.process_time()
        found = scored(requests, **given)
        spent.append(time.process_time() - began)
        return found

    lm.loglikelihood = timed
    result = evaluator.evaluate(
        lm=lm, task_dict={SETS[name][2]: task}, log_samples=True, bootstrap_iters=0, confirm_run_unsafe_code=True
    )
    samples = sorted(result["samples"][SETS[name][2]], key=lambda sample: sample["doc_id"])
    return [[float(found[0]) for found in sample["filtered_resps"]] for sample in samples], sum(spent)


def with_functions(folder: Path) -> Any:
    """A YAML loader for which `!function utils.f` is the function f of `utils.py` in the folder."""
    import importlib.util

    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def function(loader: Any, node: Any) -> Any:
        module, _, name = loader.construct_scalar(node).rpartition(".")
        spec = importlib.util.spec_from_file_location(module, folder / f"{module}.py")
        assert spec and spec.loader
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return getattr(loaded, name)

    Loader.add_constructor("!function", function)
    return Loader


def loop(model: Path, rows: list[dict[str, Any]], name: str, batch: int) -> tuple[list[list[float]], float]:
    """One choice after the other, each with its prompt, as a first script would do it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from pipeline.evaluation.tasks.forms import questions

    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    context = network.config.max_position_embeddings
    began = time.process_time()
    found = []
    for question in questions(SETS[name][0], rows):
        start = len(tokenizer(question.prompt.rstrip(), add_special_tokens=False)["input_ids"])
        likelihoods = []
        for choice in question.choices:
            ids = tokenizer(f"{question.prompt} {choice}", add_special_tokens=False)["input_ids"]
            cut = max(len(ids) - context - 1, 0)
            ids, first = ids[cut:], max(start - cut, 1)
            with torch.inference_mode():
                log_p = network(torch.tensor([ids[:-1]])).logits[0].log_softmax(-1)
            likelihoods.append(sum(float(log_p[at - 1, ids[at]]) for at in range(first, len(ids))))
        found.append(likelihoods)
    return found, time.process_time() - began


# -- the comparison ----------------------------------------------------------------------------------------------------


def measured(given: argparse.Namespace, model: Path, contestants: list[str]) -> dict[str, list[dict[str, Any]]]:
    """By contestant and round: by set, the likelihoods and the seconds."""
    found: dict[str, list[dict[str, Any]]] = {who: [] for who in contestants}
    for _ in range(given.rounds):
        for who in contestants:
            python = given.peer if who == "harness" else sys.executable
            arguments = (model, given.data, "--worker", who, "--limit", given.limit, "--batch", given.batch)
            command = program("tasks_vs_harness", *arguments, "--tasks", *given.tasks, python=python)
            printed = output_of(command, {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})
            found[who].append(json.loads(printed.splitlines()[-1]))
    return found


def compared(name: str, found: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """The rows of one set."""
    mine = [value for item in found["ours"][-1][name]["found"] for value in item]
    seconds = {who: [one[name]["seconds"] for one in rounds] for who, rounds in found.items()}
    for who, rounds in found.items():
        theirs = [value for item in rounds[-1][name]["found"] for value in item]
        furthest = max(abs(a - b) / max(abs(b), 1.0) for a, b in zip(mine, theirs, strict=True))
        times = [b / a for a, b in zip(seconds["ours"], seconds[who], strict=True)]
        yield (
            f"| {name} | {len(rounds[-1][name]['found'])} | {len(theirs)} | {who} |"
            f" {statistics.median(seconds[who]):.2f} |"
            f" {statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f}) | {furthest:.1e} |"
        )
        if furthest > CLOSE:
            raise SystemExit(f"{name}: {who} and ours differ by {furthest:.1e}, more than {CLOSE}")


@contextmanager
def model_of(given: argparse.Namespace) -> Iterator[Path]:
    """MODEL's folder, or one with a network of `--shape` and its tokenizer."""
    if not given.shape:
        yield given.model
        return
    import torch

    from model import export
    from model.transformer import Transformer

    layers, width, context = given.shape
    torch.manual_seed(0)
    shape = {"layers": layers, "width": width, "context": context, "heads": width // 64, "kv_heads": 0,
             "head_width": 64, "ffn": 0}  # fmt: skip
    config = export.load(given.model, torch.float32).config.model_copy(update=shape)
    with TemporaryDirectory() as folder:
        export.save(Transformer(config), folder, {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0})
        for path in given.model.glob("tokenizer*"):
            copy(path, folder)
        yield Path(folder)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of an exported model")
    parser.add_argument("data", type=Path, help="folder with the sets, as DATA/eval")
    parser.add_argument("--peer", help="a Python with lm-eval")
    parser.add_argument("--tasks", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--limit", type=int, default=200, help="questions of each set")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--shape", nargs=3, type=int, metavar=("LAYERS", "WIDTH", "CONTEXT"))
    parser.add_argument("--worker", choices=CONTESTANTS, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    given = arguments().parse_args()
    if given.worker:
        contestant = {"ours": ours, "harness": harness, "loop": loop}[given.worker]
        done = {}
        for name in given.tasks:
            found, seconds = contestant(given.model, rows_of(given.data, name, given.limit), name, given.batch)
            done[name] = {"found": found, "seconds": seconds}
        print(json.dumps(done))
        return
    with model_of(given) as model:
        results = measured(given, model, [who for who in CONTESTANTS if who != "harness" or given.peer])
    print("| set | questions | choices | contestant | CPU-s | times ours | furthest from ours |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in given.tasks:
        for row in compared(name, results):
            print(row)


if __name__ == "__main__":
    main()

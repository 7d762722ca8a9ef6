"""The adapter for lm-evaluation-harness against the harness's own model of transformers, on the same requests.

    python -m benchmarks.adapter_vs_harness MODEL

MODEL is a folder with a model as this project exports it, in a layout of transformers. To be run by a Python that has
`lm-eval` beside this project's packages. Prints every log-likelihood of both and the largest difference;
`tests/evaluation/test_harness.py` records those of its model.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

PAIRS = [
    ("the quick brown", " fox"), ("the quick brown", " dog"), ("", "다시 또"), ("빠른 갈색 ", "여우가"),
    ("the", " lazy dog"), ("the quick brown", " fox"),
]  # fmt: skip
TEXTS = ("the quick brown fox jumps over a lazy dog " * 40, "다시 또")


def asked(name: str, pairs: list[Any]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(name, {}, pair, number) for number, pair in enumerate(pairs)]


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of an exported model")
    return parser


def main() -> None:
    from lm_eval.api.registry import get_model
    from lm_eval.models.huggingface import HFLM

    from pipeline.evaluation import harness

    given = arguments().parse_args()
    harness.register()
    ours = get_model(harness.NAME).create_from_arg_string(f"path={given.model}")
    # The harness begins texts with the token of `bos_token_id`; here documents begin after `<eos>`, as in training.
    start = ours.requests.tokenizer.ids["<eos>"]
    theirs = HFLM(pretrained=str(given.model), device="cpu", dtype="float32", batch_size=8, prefix_token_id=start)
    found: dict[str, list[list[float]]] = {}
    for name, model in (("ours", ours), ("harness", theirs)):
        likelihoods = [float(one[0]) for one in model.loglikelihood(asked("loglikelihood", PAIRS))]
        rolling = [float(one) for one in model.loglikelihood_rolling(asked("rolling", [(text,) for text in TEXTS]))]
        found[name] = [likelihoods, rolling]
    print(json.dumps(found, indent=1))
    for which, words in enumerate(("log-likelihoods", "whole texts")):
        furthest = max(abs(a - b) / max(abs(b), 1.0) for a, b in zip(found["ours"][which], found["harness"][which]))
        print(f"{words}: furthest {furthest:.1e} of their size")


if __name__ == "__main__":
    main()

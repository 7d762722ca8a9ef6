"""The sentence with which an artifact's page begins."""

import pytest

from pipeline.inspect.in_short import in_short, rounded
from pipeline.store.artifact import Artifact
from pipeline.training.model_facts import ModelFacts


def artifact(asset, counts=None, facts=None, files=(), **seconds):
    manifest = {"counts": counts or {}, "facts": facts or {}, "files": {name: {} for name in files}, "seconds": seconds}
    return Artifact(asset, "0" * 16, None, manifest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            artifact("heuristic_decisions", {"in": 12079, "kept": 12004, "removed": {"short": 20, "markup": 55}}),
            "12,004 documents of 1 source stay; 75 of 12,079 (0.6%) are removed, most as markup (55)",
        ),
        (
            artifact("personal_data_edits", {
                "in": 9, "kept": 9, "removed": {}, "edits": {"EMAIL": 3, "PHONE": 1}, "by_source": {"a": {}, "b": {}},
            }),
            "9 documents of 2 sources stay; none is removed; 4 passages are edited",
        ),
        (
            artifact("tokenizer", facts={
                "vocab_size": 2304, "report": {"languages": {"ko": {"bytes_per_token": 4.4333}}},
            }),
            "2,304 tokens; bytes per token: ko 4.43",
        ),
        (
            artifact("token_shards", facts={
                "tokens": {"train": 3_204_405, "validation": 16_501}, "documents": {"train": 11_700, "validation": 129},
            }),
            "3.2 M tokens to train on, 16,501 held back, of 11,829 documents",
        ),
        (
            artifact("training_plan", facts={
                "parameters": 2_214_080, "tokens": 2_200_576, "epochs": 0.687, "batch_tokens": 8192,
            }, planned_training=600.0),
            "2.2 M parameters, 2.2 M tokens, 0.69 passes over the text, 10 min 0 s on the machine that planned it",
        ),
        (
            artifact("sft_evaluation", facts={
                "bits_per_byte": 0.228123, "village.facts.ko": 0.99991, "rougeL": 55.5, "ended": 1.0,
            }),
            "bits per byte 0.2281, village facts (Korean) 0.9999, rougeL 55.5",
        ),
        (
            artifact("pretrained_model", facts={
                **ModelFacts(2_214_080, 10, 2_200_576, 100, 0.1, 5).for_manifest(), "bits_per_byte": 0.22812,
            }, files=["model.safetensors"]),
            "2.2 M parameters, 2.2 M tokens learned from, 0.228 bits per byte",
        ),
        (artifact("quality_model", facts={"taught": {}}), ""),
    ],
)  # fmt: skip
def test_an_artifact_in_a_sentence(given, said):
    assert in_short(given) == said


@pytest.mark.parametrize(("value", "shown"), [(0.00012345678, 0.0001235), (12345.6, 12346), (7, 7), (0.5, 0.5)])
def test_numbers_have_four_digits(value, shown):
    assert rounded(value) == shown

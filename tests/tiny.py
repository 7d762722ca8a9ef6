"""A pipeline of a few seconds from text files to a trained model, for end-to-end tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.graph import Project
from pipeline.run import make_with_inputs

ENGLISH = [
    "The harbour lies open to the north, and when the wind turns the boats are drawn up on the sand and wait there.",
    "She read the letter twice before she gave it back, and then she asked him who else in the house had seen it.",
    "A good map says what it leaves out; this one says nothing, which is why the road on it ends in a lake.",
    "They counted the sacks at dawn, wrote the number on the door with chalk, and went home to sleep till noon.",
    "Every spring the river takes a little of the lower field, and every summer somebody explains why it will stop.",
]
RECIPE = """
name: tiny
sources:
  - {{name: first, kind: files, path: '{folder}/first/*.txt', lang: en, license: own}}
  - {{name: second, kind: files, path: '{folder}/second/*.txt', lang: en, license: CC0}}
curation:
  heuristics: {{enabled: false}}
  perplexity: {{enabled: false}}
  quality: {{enabled: false}}
  repetition: {{enabled: false}}
  contamination: {{enabled: false}}
tokenizer: {{vocab_size: 320, reserved: 0}}
shards: {{validation: 0.2}}
model: {{layers: 1, width: 16, heads: 2, context: 16}}
pretraining: {{tokens: 640, batch_tokens: 64, validation_tokens: 64, sample_tokens: 4, precision: fp32}}
execution: {{device: cpu, executor: in_process}}
"""


def text(number: int) -> str:
    return " ".join(ENGLISH[(number + k) % 5].replace("the", f"the {number * 7 + k}") for k in range(3))


def write(folder: Path) -> Path:
    """Texts and recipe below `folder`; returns the recipe. Texts 10 and 11 are in both sources."""
    for name, numbers in {"first": range(12), "second": range(10, 20)}.items():
        (folder / name).mkdir()
        for number in numbers:
            (folder / name / f"{number:02d}.txt").write_text(text(number))
    recipe = folder / "tiny.yaml"
    recipe.write_text(RECIPE.format(folder=folder))
    return recipe


@contextmanager
def trained(folder: Path) -> Iterator[Project]:
    """The pipeline below `folder`, made up to the pretrained model."""
    recipe = write(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLM_DATA", str(folder / "data"))
        patch.setenv("SLM_RECIPE", str(recipe))
        patch.setenv("SLM_TRACKING", "off")
        patch.delenv("SOURCE_DATE_EPOCH", raising=False)
        opened = Project.open(log=lambda line: None)
        make_with_inputs(opened, "pretrained_model")
        yield opened

"""A model of this project as MLflow loads it: `mlflow.pyfunc.load_model("models:/mine-sft_model@best")`.

MLflow calls `_load_pyfunc` of the module that the file `MLmodel` names. The code is this package and the weights are
safetensors, so nothing is unpickled. This module does not import MLflow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MODULE = "model.flavour"  # what `MLmodel` names
ABOUT = "slm_model.json"  # beside it: where the weights are, unless they are beside it, too, and what the model does
INPUT = "prompt"  # the column of a table of prompts
DEFAULTS: dict[str, Any] = {"max_tokens": 256, "temperature": 0.8, "top_p": 0.95, "seed": 0}


class TextFunction:
    """Prompts to answers, or to continuations where the model was only pretrained."""

    def __init__(self, directory: Path, answers: bool):
        from model.serve.text import open_directory

        self.text_model = open_directory(directory, answers=answers)

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> list[str]:
        """A text for each prompt. model_input: a table with one column, a list of texts, or a text.

        params: `max_tokens`, `temperature` (0: always the likeliest token), `top_p`, `seed`. Raises ValueError for a
        prompt that fills the context.
        """
        return [self._one(prompt, {**DEFAULTS, **(params or {})}) for prompt in prompts_of(model_input)]

    def _one(self, prompt: str, chosen: Mapping[str, Any]) -> str:
        from model.sampling import Sampling
        from model.serve.text import ReplyOptions

        sampling = Sampling(temperature=chosen["temperature"], top_p=chosen["top_p"], seed=chosen["seed"])
        options = ReplyOptions(sampling, int(chosen["max_tokens"]))
        if self.text_model.answers:
            return "".join(self.text_model.answer([{"role": "user", "content": prompt}], options))
        return "".join(self.text_model.continue_text(prompt, options))


def prompts_of(given: Any) -> list[str]:
    """The prompts in what MLflow passes on. Raises ValueError for a table without the column `prompt`."""
    if isinstance(given, str):
        return [given]
    if hasattr(given, "columns"):
        names = [str(name) for name in given.columns]
        if INPUT not in names and len(names) != 1:
            raise ValueError(f"a table of prompts needs the column `{INPUT}`; there are {', '.join(names)}.")
        column: Iterable[Any] = given[INPUT] if INPUT in names else given[given.columns[0]]
        return [str(prompt) for prompt in column]
    return [str(prompt[INPUT]) if isinstance(prompt, Mapping) else str(prompt) for prompt in given]


def _load_pyfunc(path: str) -> TextFunction:
    """Called by MLflow with the file or folder that `MLmodel` names. Raises ValueError if the weights are gone."""
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    weights = Path(about["directory"]) if about.get("directory") else folder
    if not (weights / "config.json").exists():
        raise ValueError(f"the model is no longer in {weights}: it was pruned, or the store was moved.")
    return TextFunction(weights, bool(about["answers"]))

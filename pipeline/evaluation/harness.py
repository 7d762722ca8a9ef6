"""EleutherAI's lm-evaluation-harness on a model of this project, with this project's scoring.

    python -m pipeline.evaluation.harness --model slm --model_args path=FOLDER --tasks kobest

Everything after the module's name goes to `lm_eval`, in which the model `slm` is registered; its arguments are `path`,
`device`, `batch_tokens` and `kept` (a step whose weights were kept, instead of the last ones). A shape of transformers
can as well be run by the harness's own `hf` model; `slm` also runs the shapes that transformers does not have, and
computes what the choices of a question have in common once.

lm_eval is no dependency of this project: install it where you want it (0.4.13 was tested). `Requests` needs none of it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import UserError
from pipeline.evaluation.choice_scoring import encode_items, score_choices
from pipeline.evaluation.scoring import nll_of_rows

if TYPE_CHECKING:
    from model.transformer import Transformer
    from pipeline.tokens.tokenizer import Tokenizer

NAME = "slm"
MOST_TOKENS = 256  # of a continuation, where the task does not say; as the harness's own models have it


class Requests:
    """What the harness asks of a model."""

    def __init__(self, network: Transformer, tokenizer: Tokenizer, device: str = "cpu", batch_tokens: int = 4096):
        import torch

        self.network, self.tokenizer = network.to(device).eval(), tokenizer
        self.device, self.batch_tokens = torch.device(device), batch_tokens

    @staticmethod
    def of(path: str, device: str = "cpu", batch_tokens: int = 4096, kept: int = 0) -> Requests:
        """The model of a folder; kept: with the weights after this step. Raises UserError if there are none."""
        import torch

        from model.export import load as load_model
        from pipeline.tokens.tokenizer import load as load_tokenizer
        from pipeline.training import kept_weights

        try:
            network = load_model(path, torch.float32)
        except ValueError as error:
            raise UserError(str(error)) from error
        if kept:
            files = dict(kept_weights.kept(Path(path)))
            if kept not in files:
                steps = ", ".join(map(str, files)) or "none"
                raise UserError(f"{path} has no kept weights of step {kept}: it has those of {steps}.")
            kept_weights.load_into(network, files[kept])
        return Requests(network, load_tokenizer(Path(path)), device, batch_tokens)

    def log_likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """(log-likelihood in nats, whether each token is the likeliest) of each continuation after its context.

        Pairs of one context are one item, whose context is computed once.
        """
        items: dict[str, dict[str, int]] = {}
        places = []
        for context, continuation in pairs:
            choices = items.setdefault(context, {})
            places.append((context, choices.setdefault(continuation, len(choices))))
        contexts = {context: number for number, context in enumerate(items)}
        encoded, _ = encode_items(
            list(items), [list(choices) for choices in items.values()], self.tokenizer, self.network.config.context
        )
        found = score_choices(self.network, encoded, self.batch_tokens, self.device)
        scores = [found[contexts[context]][choice] for context, choice in places]
        return [(score.log_likelihood, score.greedy) for score in scores]

    def rolling(self, texts: Sequence[str]) -> list[float]:
        """The log-likelihood (nats) of whole texts, after the token that begins a document.

        A text that is longer than the context is cut into windows as the harness cuts it: each token is predicted once,
        and all windows but the first have a full context.
        """
        context = self.network.config.context
        rows: list[np.ndarray] = []
        first: list[int] = []
        owner: list[int] = []
        for number, ids in enumerate(self.tokenizer.encode(list(texts))):
            tokens = np.concatenate(([self.tokenizer.ids["<eos>"]], ids.astype(np.int64)))
            done = 1  # the first is given
            while done < len(tokens):
                end = min(done + context, len(tokens))
                row = tokens[max(end - context - 1, 0) : end]
                rows.append(row)
                first.append(len(row) - (end - done))
                owner.append(number)
                done = end
        nats = nll_of_rows(self.network, rows, first, self.batch_tokens, self.device)
        sums = np.zeros(len(texts))
        np.add.at(sums, owner, [-part.sum() for part in nats])
        return sums.tolist()

    def continuations(self, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """What the model writes after each context, up to the first of `until`; sampled where `do_sample` says so."""
        found: dict[int, str] = {}
        alike: dict[str, list[int]] = {}
        for number, (_, given) in enumerate(requests):
            alike.setdefault(repr(sorted(given.items())), []).append(number)
        for numbers in alike.values():
            given = requests[numbers[0]][1]
            texts = self._continued([requests[number][0] for number in numbers], given)
            found |= dict(zip(numbers, texts, strict=True))
        return [found[number] for number in range(len(requests))]

    def _continued(self, contexts: Sequence[str], given: Mapping[str, Any]) -> list[str]:
        from model.generate_together import generate_together
        from model.sampling import GREEDY, Sampling

        until = given.get("until") or []
        ends = [until] if isinstance(until, str) else list(until)
        size = self.network.config.context
        most = min(int(given.get("max_gen_toks", MOST_TOKENS)), size // 2)
        ids = [
            (one.tolist() or [self.tokenizer.ids["<eos>"]])[-(size - most) :]
            for one in self.tokenizer.encode(list(contexts))
        ]
        drawn = given.get("do_sample") and float(given.get("temperature", 0)) > 0
        sampling = Sampling(float(given["temperature"]), top_p=float(given.get("top_p", 1.0))) if drawn else GREEDY
        outputs = generate_together(self.network, ids, most, sampling, {self.tokenizer.ids["<eos>"]})
        return [cut(self.tokenizer.decode(output), ends) for output in outputs]


def cut(text: str, ends: Sequence[str]) -> str:
    """The text before the first of `ends`."""
    places = [place for end in ends if end and (place := text.find(end)) >= 0]
    return text[: min(places, default=len(text))]


def register() -> None:
    """Register the model `slm` in lm_eval. Raises UserError where that is not installed."""
    try:
        from lm_eval.api.model import LM
        from lm_eval.api.registry import register_model
    except ImportError as error:
        raise UserError(
            "lm_eval is not installed beside this project: `pip install lm-eval==0.4.13` into an environment that has"
            " this project's packages."
        ) from error

    @register_model(NAME)
    class SlmModel(LM):  # type: ignore[misc]
        """This project's scoring, in the harness's terms."""

        def __init__(self, path: str, device: str = "cpu", batch_tokens: int = 4096, kept: int = 0, **others: Any):
            super().__init__()
            self.requests = Requests.of(path, device or "cpu", int(batch_tokens), int(kept))

        def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            return self.requests.log_likelihoods([one.args for one in requests])

        def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
            return self.requests.rolling([one.args[0] for one in requests])

        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            return self.requests.continuations([one.args for one in requests])


def main() -> None:
    """Run `lm_eval` with the arguments of this program."""
    try:
        register()
    except UserError as error:
        sys.exit(f"{error}")
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    main()

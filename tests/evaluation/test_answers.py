"""Answers: asked as in training, ended by the model or by the limit, and looked at without running anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from model.sampling import GREEDY
from pipeline.evaluation.held_back import prompt_ids, sample_questions
from pipeline.evaluation.measure import SAMPLE
from pipeline.evaluation.measures import answers, samples
from pipeline.tokens.own_prompts import OwnPrompt


def questions(*pairs: tuple[str, str], lang: str = "en") -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "id": f"{i:032x}",
                "messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}],
                "source": "s",
                "lang": lang,
            }
            for i, (q, a) in enumerate(pairs)
        ]
    )


def test_the_prompt_ends_where_the_assistant_begins(tokenizer):
    ids = prompt_ids(tokenizer, [{"role": "user", "content": "hi"}])
    assert ids[0] == tokenizer.ids["<|im_start|>"]
    assert bytes(i - 6 for i in ids[-10:]).decode() == "assistant\n"
    whole, learned = tokenizer.encode_chat([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}])
    assert ids == whole[: int(np.argmax(learned))].tolist()  # what training saw before the first learned token


@pytest.fixture
def scripted(monkeypatch, tokenizer):
    """A model that generates given tokens, and records its prompts."""
    import model.generate

    asked: list[list[int]] = []

    def script(said: str, end: bool = True):
        def generate(model, ids, max_new, sampling=GREEDY, stop_ids=()):
            asked.append(list(ids))
            assert sampling.temperature == 0 and tokenizer.ids["<|im_end|>"] in stop_ids
            out = tokenizer.encode([said])[0].tolist()
            return iter(out[:max_new] if end else (out * 100)[:max_new])

        monkeypatch.setattr(model.generate, "generate", generate)
        return asked

    return script


def test_answers_stand_beside_their_references(network, tokenizer, scripted):
    scripted("blue")
    given = answers.answer(network, tokenizer, questions(("sky?", "blue"), ("sea?", "green")), 20, lambda n: None)
    assert given["output"].to_list() == ["blue", "blue"] and given["reference"].to_list() == ["blue", "green"]
    assert given["ended"].all()
    scripted("blue", end=False)
    cut = answers.answer(network, tokenizer, questions(("sky?", "blue")), 6, lambda n: None)
    assert cut["output"][0] == "bluebl" and not cut["ended"].any()


def test_a_prompt_that_is_too_long_is_cut_at_its_front(network, tokenizer, scripted):
    asked = scripted("x")
    answers.answer(network, tokenizer, questions(("a" * 500 + "END", "b")), 20, lambda n: None)
    assert len(asked[0]) == network.config.context - 20
    assert "END" in tokenizer.decode(asked[0])


def test_questions_are_a_fixed_sample_shared_between_sources():
    many = pl.concat(
        [questions(*[(str(i), "a") for i in range(50)]), questions(("x", "y")).with_columns(source=pl.lit("t"))]
    )
    chosen = sample_questions(many, 10)
    assert chosen.height == 10 and set(chosen["source"]) == {"s", "t"}
    assert chosen.equals(sample_questions(many.sample(fraction=1, shuffle=True, seed=3), 10))
    assert sample_questions(many, 0).height == 0 == sample_questions(many.clear(), 5).height


def table(rows: list[tuple[str, str, str, bool]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["output", "reference", "lang", "ended"], orient="row")
    return frame.select(
        pl.col(name).cast(kind) if name in frame.columns else pl.lit(None, dtype=kind).alias(name)
        for name, kind in SAMPLE.items()
    )


def test_form():
    found = answers.form(
        table(
            [
                ("Same  answer", "same answer", "en", True),
                (" ", "x", "en", True),
                ("a b c d " * 10, "x y", "en", False),
                ("안녕", "안녕하세요", "ko", True),
                ("hello", "안녕하세요", "ko", True),
                ("def f(x):\n    return x", "def f(y): ...", "code", True),
                ("def f(x:", "def f(y): ...", "code", True),
                ("", "x = 1", "code", True),
            ]
        )
    )
    assert found == {
        "exact": 0.125, "ended": 0.875, "empty": 0.25, "repetitive": 0.125, "same_script": 0.625, "parses": 0.3333,
    }  # fmt: skip
    assert answers.form(table([])) == {}


def test_code_is_parsed_and_never_run(tmp_path):
    marker = tmp_path / "ran"
    assert answers.parses(f"open({str(marker)!r}, 'w').write('x')")
    assert not marker.exists()
    assert not answers.parses("(" * 5_000) and not answers.parses("x = \x00") and not answers.parses("# only a remark")


def test_nothing_in_the_evaluation_executes_text():
    folder = Path(answers.__file__).parent
    for path in folder.glob("*.py"):
        code = path.read_text(encoding="utf-8")
        assert "exec(" not in code and "eval(" not in code.replace(".eval(", "") and "subprocess" not in code, path


def test_continuations_are_the_same_each_time(network, tokenizer):
    def run(seed: int) -> pl.DataFrame:
        prompts = [OwnPrompt(text, None, "") for text in ("The", "안녕", "x" * 200)]
        return samples.continuations(network, tokenizer, prompts, 8, 0.8, seed)

    first = run(1)
    assert first.equals(run(1))
    assert first.filter(kind="greedy").equals(run(2).filter(kind="greedy"))
    assert not first.filter(kind="sampled").equals(run(2).filter(kind="sampled"))
    assert first["kind"].to_list() == ["sampled"] * 3 + ["greedy"] * 3

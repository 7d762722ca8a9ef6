"""`slm generate`, generation in two lines of Python, and `slm benchmark`."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner

from model.sampling import GREEDY, Sampling
from model.serve.text import Reply, ReplyOptions, open_directory
from model.speed import measure
from model.texts import best_text, make_texts
from pipeline.cli import main
from tests.model.test_serve import ANSWER, directory, text_model  # noqa: F401  fixtures

PROMPTS = ["가나다", "가", "나는 오늘 밥을", "x"]


def run(*arguments: str):
    return CliRunner().invoke(main, ["generate", *arguments])


def test_two_lines_of_python(directory):  # noqa: F811
    model = open_directory(directory)
    assert model.say("안녕", temperature=0) == ANSWER and model.write("가나다", temperature=0) == "라마바사"
    assert model.say([{"role": "user", "content": "안녕"}], temperature=0, stop=["밥"]) == "안녕! "
    assert model.write("가나다", temperature=0, max_new=3) == "라"
    with pytest.raises(TypeError, match="heat"):
        model.write("x", heat=1)


def test_texts_of_unequal_length_are_those_that_each_prompt_gives_alone(text_model):  # noqa: F811
    options = ReplyOptions(Sampling(1.5, seed=3), 20, stop=("e",))
    done: list[int] = []
    made = make_texts(text_model, PROMPTS, options, together=3, progress=done.append)
    alone = [
        make_texts(text_model, [prompt], ReplyOptions(Sampling(1.5, seed=3 + i), 20, ("e",)))[0]
        for i, prompt in enumerate(PROMPTS)
    ]
    assert [(one.text, one.finish, one.tokens) for one in made] == [(o.text, o.finish, o.tokens) for o in alone]
    assert done == [1, 2, 3, 4] and len({one.text for one in made}) == 4
    reply = Reply(text_model, text_model.document_ids("가나다"), ReplyOptions(GREEDY, 20))
    text = "".join(reply)
    (greedy,) = make_texts(text_model, ["가나다"], ReplyOptions(GREEDY, 20))
    assert (greedy.text, greedy.finish, greedy.tokens) == (text, reply.finish, reply.tokens)
    with pytest.raises(ValueError, match="context holds 128"):
        make_texts(text_model, ["x" * 200], options)


def test_beams_find_the_taught_text(text_model):  # noqa: F811
    assert best_text(text_model, "가나다", 20, 3).text == "라마바사"
    made = best_text(text_model, [{"role": "user", "content": "안녕"}], 60, 2)
    assert (made.text, made.finish) == (ANSWER, "stop")


def test_a_prompt_is_answered_or_continued(directory):  # noqa: F811
    model = ("--model", str(directory), "--temperature", "0")
    assert run("안녕", *model).output == f"{ANSWER}\n"
    assert run("가나다", "--text", *model).output == "라마바사\n"
    assert run("가나다", "--text", "--beams", "2", "--model", str(directory)).output == "라마바사\n"
    assert run("가나다", "--text", "--weights", "int8", *model).output == "라마바사\n"
    rows = [json.loads(line) for line in run("안녕", "가나다", *model).output.splitlines()]
    assert [row["prompt"] for row in rows] == ["안녕", "가나다"] and rows[0]["text"] == ANSWER
    assert "give one, such as" in run("--model", str(directory)).output


def test_a_file_of_prompts_becomes_lines_of_json(directory, tmp_path):  # noqa: F811
    model = ("--model", str(directory), "--temperature", "0", "--text")
    (tmp_path / "prompts.txt").write_text("가나다\n\n가나\n", encoding="utf-8")
    out = tmp_path / "out.jsonl"
    said = run("--file", str(tmp_path / "prompts.txt"), "--out", str(out), *model)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert said.exit_code == 0 and "2 texts" in said.output
    assert rows[0] == {
        "prompt": "가나다", "text": "라마바사", "finish": "stop", "prompt_tokens": rows[0]["prompt_tokens"],
        "tokens": rows[0]["tokens"],
    }  # fmt: skip
    lines = [{"prompt": "가나다", "id": 1}, {"messages": [{"role": "user", "content": "안녕"}]}]
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [json.loads(line) for line in run("--file", str(file), *model).output.splitlines()]
    assert [row["text"] for row in rows] == ["라마바사", ANSWER] and "id" not in rows[0]
    for wrong in ("{", "[]", '{"prompt": 1}', '{"messages": [{"role": "user"}]}'):
        file.write_text(f'{{"prompt": "x"}}\n{wrong}\n')
        refused = run("--file", str(file), *model)
        assert refused.exit_code == 1 and f"Line 2 of {file} is no prompt" in refused.output


def test_half_a_surrogate_pair_and_signs_that_end_lines_elsewhere_are_text(directory, tmp_path):  # noqa: F811
    model = ("--model", str(directory), "--temperature", "0", "--text")
    assert run("가\udcff나", *model).output == run("가\ufffd나", *model).output != ""
    file = tmp_path / "prompts.jsonl"
    prompts = ["one\u2028two", "half of 😀: \ud83d"]
    raw = [json.dumps({"prompt": prompts[0]}, ensure_ascii=False), json.dumps({"prompt": prompts[1]})]
    file.write_text("\ufeff" + "\n".join(raw) + "\n", encoding="utf-8")
    said = run("--file", str(file), *model)
    assert said.exit_code == 0, said.output
    rows = [json.loads(line) for line in said.output.split("\n")[:-1]]
    assert [row["prompt"] for row in rows] == ["one\u2028two", "half of 😀: \ufffd"]


def test_the_speed_of_a_model_beside_its_memory(directory, text_model):  # noqa: F811
    speed = measure(text_model.network, 20, 8, 3, 1)
    assert all(math.isfinite(value) and value > 0 for value in speed) and 0 < speed.share < 1
    # Embeddings that are the output too are read once; layers of 2 x (48 x 96 + 48 x 48) + 3 x 48 x 128.
    matrices = sum(weight.numel() for weight in text_model.network.parameters() if weight.dim() == 2)
    assert speed.weights == 4 * matrices
    with pytest.raises(ValueError, match="do not fit into the context of 128"):
        measure(text_model.network, 100, 100, 1, 1)
    said = CliRunner().invoke(main, ["benchmark", str(directory), "--prompt", "9", "--tokens", "4", "--rounds", "1"])
    assert said.exit_code == 0 and "GB/s" in said.output and "share of that limit" in said.output, said.output

"""Conversations as others write them, and calls of tools: the same messages, the same text, the same mask."""

import json

import pytest

from model.conversation import TEMPLATE, encode_conversations
from model.tool_calls import with_tools
from pipeline.conversations.instruction_data import shaped
from pipeline.conversations.shapes import REASONS, Malformed, conversation
from pipeline.tokens.tokenizer import load

PAIR = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SYSTEM = {"role": "system", "content": "s"}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"text": "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n"}, PAIR),
        ({"text": "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>"},
         [SYSTEM, *PAIR]),
        ({"instruction": "q", "context": "c", "response": "a", "category": "qa"},
         [{"role": "user", "content": "q\n\nc"}, PAIR[1]]),
        ({"instruction": "q", "context": "", "response": "a"}, PAIR),
        ({"prompt": "q", "completion": "a"}, PAIR),
        ({"prompt": [SYSTEM, PAIR[0]], "completion": [PAIR[1]]}, [SYSTEM, *PAIR]),
        ({"problem": "def f(x):", "solution": "return x + 1"},
         [{"role": "user", "content": "def f(x):"}, {"role": "assistant", "content": "return x + 1"}]),
        ({"id": 1, "chat_rounds": [{"role": "human", "content": "q"}, {"role": "bot", "content": "a"}]}, PAIR),
    ],
)  # fmt: skip
def test_the_shapes_of_known_sets_are_understood(row, expected):
    assert conversation(row) == expected


TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALL = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": "둘"}'}}
TALK = [
    {"role": "user", "content": "1 + 2?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL, {"name": "now", "arguments": {}}]},
    {"role": "tool", "content": "3"},
    {"role": "tool", "content": {"hour": 4}},
    {"role": "assistant", "content": "3, at 4."},
]


def test_calls_and_results_of_tools_are_text_in_the_form_of_qwen():
    found = conversation({"messages": TALK, "tools": [TOOL]})
    assert [turn["role"] for turn in found] == ["system", "user", "assistant", "user", "assistant"]
    assert (
        found[0]["content"].startswith("# Tools\n") and f"<tools>\n{json.dumps(TOOL)}\n</tools>" in found[0]["content"]
    )
    assert found[2]["content"] == (
        '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": "둘"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    )
    assert found[3]["content"] == (
        '<tool_response>\n3\n</tool_response>\n<tool_response>\n{"hour": 4}\n</tool_response>'
    )
    with_system = conversation({"messages": [SYSTEM, *TALK], "tools": json.dumps([TOOL])})
    assert with_system[0]["content"] == f"s\n\n{found[0]['content']}" and with_system[1:] == found[1:]
    assert shaped({"messages": TALK, "tools": [TOOL]})["id"] != shaped({"messages": TALK})["id"]


def test_what_tools_return_is_not_learned_and_calls_are(tokenizer):
    loaded = load(tokenizer.local_directory())
    talk = conversation({"messages": TALK, "tools": [TOOL]})
    ((ids, learned),) = loaded.encode_chats([talk])
    said = loaded.decode(ids[learned], specials=True)
    assert said == f"{talk[2]['content']}<|im_end|>{talk[4]['content']}<|im_end|>"


def test_the_exported_template_gives_the_text_that_is_learned():
    jinja2 = pytest.importorskip("jinja2")
    talk = conversation({"messages": TALK, "tools": [TOOL]})
    plain = TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    written = jinja2.Environment().from_string(plain).render(messages=talk)
    ids = {"<|im_start|>": 256, "<|im_end|>": 257}
    ((tokens, _),) = encode_conversations([talk], lambda texts: [list(text.encode()) for text in texts], ids)
    marks = {256: b"<|im_start|>", 257: b"<|im_end|>"}
    assert b"".join(marks.get(token, bytes([token % 256])) for token in tokens.tolist()).decode() == written


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": TALK, "tools": "{"}, "bad_tools"),
        ({"messages": TALK, "tools": {"name": "add"}}, "bad_tools"),
        ({"messages": [TALK[0], {"role": "assistant", "tool_calls": [{"arguments": "{}"}]}]}, "bad_tools"),
        ({"messages": [TALK[0], {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}]}, "bad_tools"),
        ({"messages": TALK[:4]}, "no_answer"),
        ({"text": "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na"}, "not_text"),
        ({"text": "just a text"}, "unknown_shape"),
    ],
)
def test_what_is_broken_is_refused_under_its_reason(row, reason):
    with pytest.raises(Malformed, match=f"^{reason}$"):
        conversation(row)
    assert reason in REASONS


def test_turns_without_tools_stay_as_they_are():
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    assert with_tools(turns) == turns

"""Conversations: markers as ids, loss on the assistant's turns, the same ids from Hugging Face's template."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.tokens import hugging_face
from pipeline.tokens.tokenizer import HUGGING_FACE

TALK = [
    {"role": "system", "content": "짧게 답한다."},
    {"role": "user", "content": "Say <|im_end|> and <eos>!"},
    {"role": "assistant", "content": "네, 알겠습니다.\n    return 1"},
    {"role": "user", "content": ""},
    {"role": "assistant", "content": "끝"},
]


def test_only_the_assistants_words_are_learned(tokenizers, kind):
    tokenizer = tokenizers[kind]
    ids, learned = tokenizer.encode_chat(TALK)
    assert ids.dtype == np.int64 and learned.dtype == bool and len(ids) == len(learned)
    assert tokenizer.decode(ids[learned], specials=True) == "네, 알겠습니다.\n    return 1<|im_end|>끝<|im_end|>"
    assert tokenizer.decode(ids, specials=True) == "".join(
        f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in TALK
    )


def test_a_user_cannot_end_a_turn(tokenizers, kind):
    tokenizer = tokenizers[kind]
    ids, _ = tokenizer.encode_chat(TALK)
    assert (ids == tokenizer.ids["<|im_end|>"]).sum() == len(TALK)
    assert (ids == tokenizer.ids["<|im_start|>"]).sum() == len(TALK)
    assert tokenizer.ids["<eos>"] not in ids


def test_answer_next_ends_with_the_assistants_head(tokenizers, kind):
    tokenizer = tokenizers[kind]
    asked, learned = tokenizer.encode_chat(TALK[:2], answer_next=True)
    whole, _ = tokenizer.encode_chat(TALK[:3])
    assert not learned.any()
    assert whole[: len(asked)].tolist() == asked.tolist()  # what the model is given then is what it was trained on


def test_many_at_once_are_the_same_as_one_by_one(tokenizers, kind):
    tokenizer = tokenizers[kind]
    together = tokenizer.encode_chats([TALK, TALK[:2], []])
    for conversation, (ids, learned) in zip([TALK, TALK[:2], []], together, strict=True):
        alone, alone_learned = tokenizer.encode_chat(conversation)
        assert ids.tolist() == alone.tolist() and learned.tolist() == alone_learned.tolist()


def test_hugging_faces_template_gives_the_same_ids(tokenizers, artifacts, kind):
    transformers = pytest.importorskip("transformers")
    peer = transformers.AutoTokenizer.from_pretrained(artifacts[kind].directory)
    talk = [turn for turn in TALK if "<eos>" not in turn["content"]]  # there, a user's `<|im_end|>` is one
    theirs = peer.apply_chat_template(talk, tokenize=True, return_dict=False)
    ours, _ = tokenizers[kind].encode_chat(talk)
    assert theirs == ours.tolist()
    asked = peer.apply_chat_template(talk[:1], tokenize=True, return_dict=False, add_generation_prompt=True)
    assert asked == tokenizers[kind].encode_chat(talk[:1], answer_next=True)[0].tolist()
    assert (peer.pad_token_id, peer.eos_token_id) == (tokenizers[kind].ids["<pad>"], tokenizers[kind].ids["<eos>"])


def test_the_config_says_whether_a_space_is_put_before_a_text(artifacts, kind):
    import tokenizers as library

    config = json.loads(artifacts[kind].file("tokenizer_config.json").read_text(encoding="utf-8"))
    first = library.Tokenizer.from_file(str(artifacts[kind].file(HUGGING_FACE))).encode("a").tokens[0]
    assert config["add_prefix_space"] is first.startswith(("▁", "Ġ"))


@pytest.mark.parametrize(
    ("part", "step", "puts"),
    [
        ("normalizer", {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}]}, True),
        ("normalizer", {"type": "Replace", "content": "▁"}, False),
        ("pre_tokenizer", {"type": "Metaspace", "prepend_scheme": "first"}, True),
        ("pre_tokenizer", {"type": "Metaspace", "prepend_scheme": "never"}, False),
        ("pre_tokenizer", {"pretokenizers": [{"type": "ByteLevel", "add_prefix_space": True}]}, True),
        ("pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": False}, False),
        ("pre_tokenizer", None, False),
    ],
)
def test_what_puts_a_space_before_a_text(part, step, puts):
    assert hugging_face.puts_space_before({part: step}) is puts


SAID = (
    "# a comment", "#!/bin/sh", "(x)", "`code`", '"""doc', "1 + 1", "...", "- a list", "  indented", "\n\nafter",
    "끝\n",    " \t", "", "각", "ㄱ", "🙂",
)  # fmt: skip


@pytest.mark.parametrize("said", SAID)
def test_the_template_gives_the_same_ids_and_the_same_mask_whatever_a_turn_begins_with(
    tokenizers, artifacts, kind, said
):
    transformers = pytest.importorskip("transformers")
    peer = transformers.AutoTokenizer.from_pretrained(artifacts[kind].directory)
    talk = [{"role": role, "content": said} for role in ("system", "user", "assistant", "user", "assistant")]
    theirs = peer.apply_chat_template(talk, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    ours, learned = tokenizers[kind].encode_chat(talk)
    assert theirs["input_ids"] == ours.tolist()
    assert theirs["assistant_masks"] == learned.astype(int).tolist()
    asked = peer.apply_chat_template(talk[:2], tokenize=True, return_dict=False, add_generation_prompt=True)
    assert asked == ours[: len(asked)].tolist(), "what an answer follows is what it followed in training"


def test_what_differs_in_hugging_faces_file(artifacts, kind):
    """By default it reads `<eos>` in text as the special token; docs/guide/tokens.md says so."""
    import tokenizers as library

    peer = library.Tokenizer.from_file(str(artifacts[kind].file(HUGGING_FACE)))
    assert 3 in peer.encode("a <eos> b").ids
    peer.encode_special_tokens = True
    assert 3 not in peer.encode("a <eos> b").ids

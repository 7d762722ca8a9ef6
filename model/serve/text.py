"""From text to text: a model and its tokenizer, loaded from one directory, with nothing else needed.

The one idea: what a person writes is encoded as ordinary text and the markers of ChatML are put in as ids, so nothing
that is written can end a turn or start another; and what the model makes is turned into bytes, of which only whole
characters are handed on, so that a Korean syllable spelt in three tokens never shows as rubbish.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.conversation import END, START, encode_conversations
from model.export import load
from model.generate import generate
from model.sampling import Sampling
from model.transformer import Transformer

USUAL = Sampling(temperature=0.8, top_p=0.95)  # top_p: Holtzman et al. 2020, section 6.2


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a reply: how it is drawn, its most tokens, and strings that end it and are not part of it."""

    sampling: Sampling = USUAL
    max_new: int = 512
    stop: tuple[str, ...] = ()


class Reply:
    """Iterate over it for a reply's pieces; afterwards `finish` says why it ended, `tokens` how many there were."""

    def __init__(self, speaker: Speaker, prompt: list[int], wanted: Wanted, stop_ids: Collection[int]) -> None:
        room = max(0, min(wanted.max_new, speaker.model.config.context - len(prompt)))
        self.prompt_tokens, self.tokens = len(prompt), 0
        self.finish = "length"
        self._ids = generate(speaker.model, prompt, room, wanted.sampling, stop_ids)
        self._room, self._stop = room, wanted.stop
        self._bytes = speaker.bytes_of

    def __iter__(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        held = ""  # the end of what was made, as long as it may be the start of a stop string
        for token in self._ids:
            self.tokens += 1
            held += decoder.decode(self._bytes[token])
            at = min((place for stop in self._stop if (place := held.find(stop)) >= 0), default=-1)
            if at >= 0:
                self.finish = "stop"
                if at:
                    yield held[:at]
                return
            safe = len(held) - max((_overlap(held, stop) for stop in self._stop), default=0)
            if safe:
                yield held[:safe]
                held = held[safe:]
        if self.tokens < self._room:  # the model ended it
            self.finish = "stop"
        held += decoder.decode(b"", final=True)
        if held:
            yield held

    def close(self) -> None:
        """Stop generating; what is left is never made."""
        close = getattr(self._ids, "close", None)
        if close:
            close()


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a start of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


class Speaker:
    """A model with its tokenizer. `special`: ids of the special tokens by name."""

    def __init__(self, model: Transformer, tokenizer_json: str, about: Mapping[str, Any] | None = None) -> None:
        from tokenizers import Tokenizer

        self.model = model.eval()
        self.tokenizer = Tokenizer.from_str(tokenizer_json)
        self.tokenizer.encode_special_tokens = True  # `<eos>` in somebody's text is five characters, not the end
        added = self.tokenizer.get_added_tokens_decoder()
        self.special = {token.content: i for i, token in added.items() if token.special}
        self.bytes_of = token_bytes(json.loads(tokenizer_json), model.config.vocab_size)
        ends = [self.special[name] for name in ("<eos>", END) if name in self.special]
        given = (about or {}).get("eos_token_id")
        ends += given if isinstance(given, list) else [given] if given is not None else []
        self.stop_ids = frozenset(ends)
        before = self.special.get("<eos>", (about or {}).get("bos_token_id"))  # what training puts before a document
        self.before_document = [] if before is None else [before]

    @property
    def chats(self) -> bool:
        """Whether the tokenizer has the markers of a conversation."""
        return START in self.special and END in self.special

    def encode(self, text: str) -> list[int]:
        """Ids of ordinary text."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _encode_all(self, texts: list[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def chat_ids(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Ids of a conversation in ChatML, up to where the assistant's answer begins."""
        if not self.chats:
            raise ValueError(f"this model's tokenizer has no {START} and {END}: ask for a completion instead.")
        (conversation,) = encode_conversations([messages], self._encode_all, self.special, answer_next=True)
        return conversation[0].tolist()

    def continue_text(self, prompt: str, wanted: Wanted) -> Reply:
        """What may follow `prompt` in a document. Raises ValueError if it fills the context."""
        return Reply(self, [*self.before_document, *self.encode(prompt)], wanted, self.stop_ids)

    def answer(self, messages: Sequence[Mapping[str, str]], wanted: Wanted) -> Reply:
        """The assistant's next turn. Raises ValueError for an unknown role or a conversation that fills the context."""
        return Reply(self, self.chat_ids(messages), wanted, self.stop_ids)


def open_directory(directory: str | Path) -> Speaker:
    """The model in `directory`, with the `tokenizer.json` that lies there. Raises ValueError if either is missing."""
    path = Path(directory) / "tokenizer.json"
    model = load(directory)
    if not path.exists():
        raise ValueError(f"there is no tokenizer.json in {directory}, so its text cannot be read.")
    about = json.loads((Path(directory) / "config.json").read_text(encoding="utf-8"))
    try:
        return Speaker(model, path.read_text(encoding="utf-8"), about)
    except ValueError:
        raise
    except Exception as error:  # the library raises bare Exceptions
        raise ValueError(f"{path} cannot be read as a tokenizer: {error}.") from error


def token_bytes(tokenizer: Mapping[str, Any], size: int) -> list[bytes]:
    """What each id stands for, in bytes (nothing for special tokens), from the contents of a `tokenizer.json`.

    Reads byte-level BPE and SentencePiece's kinds with byte fallback; raises ValueError for others.
    """
    decoder = json.dumps(tokenizer.get("decoder"))
    vocabulary = tokenizer["model"]["vocab"]
    pairs = vocabulary.items() if isinstance(vocabulary, dict) else ((row[0], i) for i, row in enumerate(vocabulary))
    if '"ByteLevel"' in decoder:
        back = {character: byte for byte, character in byte_alphabet().items()}

        def spell(piece: str) -> bytes:
            return bytes(back[c] for c in piece) if all(c in back for c in piece) else piece.encode()
    elif '"ByteFallback"' in decoder:
        space = "\u2581" if "\u2581" in json.dumps(tokenizer.get("decoder"), ensure_ascii=False) else None

        def spell(piece: str) -> bytes:
            if re.fullmatch(r"<0x[0-9A-F]{2}>", piece):
                return bytes([int(piece[3:5], 16)])
            return (piece.replace(space, " ") if space else piece).encode()
    else:
        raise ValueError("only tokenizers that spell in bytes (byte-level BPE, or byte fallback) can be used here.")
    table = [b""] * size
    for piece, i in pairs:
        if i < size:
            table[i] = spell(piece)
    for token in tokenizer.get("added_tokens", []):
        if token["id"] < size:
            table[token["id"]] = b"" if token["special"] else token["content"].encode()
    return table


def byte_alphabet() -> dict[int, str]:
    """The printable character that byte-level BPE writes for each byte (GPT-2's table, Radford et al. 2019)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + place) for place, byte in enumerate(hidden)}

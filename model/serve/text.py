"""A model with its tokenizer, loaded from one directory, from text to text.

User text is encoded as ordinary text and ChatML's markers are inserted as ids, so no input can end or start a turn.
Output tokens are decoded to bytes and only complete characters are returned, so a Korean syllable of three tokens never
appears garbled.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from model.conversation import END, START, encode_conversations
from model.decoding import arrange
from model.export import load
from model.generate import generate
from model.sampling import Sampling
from model.transformer import Transformer

DEFAULT = Sampling(temperature=0.8, top_p=0.95)  # Holtzman et al. 2020, section 6.2, for top_p


def whole(text: str) -> str:
    """The text, with half of a surrogate pair, which UTF-8 cannot hold, as U+FFFD. Clients that cut text send such."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@dataclass(frozen=True)
class ReplyOptions:
    """How to sample a reply, its most tokens, and strings that end it and are not part of it."""

    sampling: Sampling = DEFAULT
    max_new: int = 512
    stop: tuple[str, ...] = ()


def reply_options(max_new: int = 512, stop: Sequence[str] = (), **sampling: Any) -> ReplyOptions:
    """Options by name; those of `Sampling` that are not given are as in a chat."""
    return ReplyOptions(replace(DEFAULT, **sampling), max_new, tuple(stop))


class Spelling:
    """The text of tokens that come one by one, in whole characters, up to the first of the stop strings.

    `tokens` counts them; `ended` says that a stop string was met.
    """

    def __init__(self, bytes_of: Sequence[bytes], stop: Sequence[str] = ()) -> None:
        self.tokens, self.ended = 0, False
        self._bytes, self._stop = bytes_of, stop
        # A small model begins syllables that it does not finish; what is no character is left out, not shown as one.
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._held = ""  # the end of the text that may be the start of a stop string

    def take(self, token: int) -> str:
        """What can be said of the text with this token; a stop string and what follows it never is."""
        self.tokens += 1
        held = self._held + self._decoder.decode(self._bytes[token])
        at = min((position for stop in self._stop if (position := held.find(stop)) >= 0), default=-1)
        if at >= 0:
            self.ended, self._held = True, ""
            return held[:at]
        safe = len(held) - max((_overlap(held, stop) for stop in self._stop), default=0)
        self._held = held[safe:]
        return held[:safe]

    def rest(self) -> str:
        """The end of the text. What the decoder still holds is half a character: the text was cut off in it."""
        rest, self._held = self._held, ""
        return rest


class Reply:
    """A reply, generated while iterating over its pieces of text.

    Afterwards `finish` is the reason why it ended (stop or length), and `tokens` the number of its tokens.
    """

    def __init__(self, text_model: TextModel, prompt: list[int], options: ReplyOptions) -> None:
        room = max(0, min(options.max_new, text_model.network.config.context - len(prompt)))
        self.prompt_tokens, self.tokens = len(prompt), 0
        self.finish = "length"
        self._ids = generate(text_model.network, prompt, room, options.sampling, text_model.stop_ids)
        self._room, self._stop = room, options.stop
        self._bytes = text_model.bytes_of

    def __iter__(self) -> Iterator[str]:
        spelling = Spelling(self._bytes, self._stop)
        for token in self._ids:
            self.tokens += 1
            if piece := spelling.take(token):
                yield piece
            if spelling.ended:
                self.finish = "stop"
                return
        if self.tokens < self._room:
            self.finish = "stop"
        if rest := spelling.rest():
            yield rest

    def close(self) -> None:
        """Stop generating."""
        close = getattr(self._ids, "close", None)
        if close:
            close()


def _overlap(text: str, stop: str) -> int:
    """Length of the longest suffix of `text` that is a prefix of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


class TextModel:
    """A network with its tokenizer, which answers and continues text. special: ids of special tokens by name.

    about: its config.json. answers: False if it was only pretrained, which its tokenizer does not show.
    """

    def __init__(
        self,
        network: Transformer,
        tokenizer_json: str,
        about: Mapping[str, Any] | None = None,
        answers: bool = True,
    ) -> None:
        from tokenizers import Tokenizer

        self._answers = answers

        self.network = network.eval()
        self.tokenizer = Tokenizer.from_str(tokenizer_json)
        self.tokenizer.encode_special_tokens = True  # `<eos>` in user text is five characters, not the token
        added = self.tokenizer.get_added_tokens_decoder()
        self.special = {token.content: i for i, token in added.items() if token.special}
        self.bytes_of = token_bytes(json.loads(tokenizer_json), network.config.vocab_size)
        ends = [self.special[name] for name in ("<eos>", END) if name in self.special]
        configured = (about or {}).get("eos_token_id")
        ends += configured if isinstance(configured, list) else [configured] if configured is not None else []
        self.stop_ids = frozenset(ends)
        start = self.special.get("<eos>", (about or {}).get("bos_token_id"))  # the token before a document in training
        self.before_document = [] if start is None else [start]

    @property
    def chats(self) -> bool:
        """Whether the tokenizer has the markers of conversations."""
        return START in self.special and END in self.special

    @property
    def answers(self) -> bool:
        """Whether it was taught to answer, and has the markers for it."""
        return self.chats and self._answers

    def encode(self, text: str) -> list[int]:
        """Ids of ordinary text. Half of a surrogate pair counts as U+FFFD."""
        return self.tokenizer.encode(whole(text), add_special_tokens=False).ids

    def _encode_all(self, texts: list[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def chat_ids(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Ids of a conversation in ChatML, up to the start of the assistant's answer."""
        if not self.chats:
            raise ValueError(f"this model's tokenizer has no {START} and {END}: request a completion instead.")
        (encoded,) = encode_conversations([messages], self._encode_all, self.special, answer_next=True)
        return encoded[0].tolist()

    def newest_turns(self, messages: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
        """The system's turn and the newest others that leave a quarter of the context for the answer.

        The last turn is always kept, and the first one after the system's is a user's.
        """
        most = self.network.config.context * 3 // 4
        system = list(messages[:1]) if messages[0]["role"] == "system" else []
        turns = list(messages[len(system) :])
        while len(turns) > 1 and (turns[0]["role"] != "user" or len(self.chat_ids([*system, *turns])) > most):
            turns = turns[1:]
        return [*system, *turns]

    def document_ids(self, text: str) -> list[int]:
        """Ids of a text as the start of a document."""
        return [*self.before_document, *self.encode(text)]

    def checked_ids(self, ids: Sequence[int]) -> list[int]:
        """Ids that somebody sent. Raises ValueError for one that is not in the vocabulary."""
        size = self.network.config.vocab_size
        if not all(0 <= token < size for token in ids):
            raise ValueError(f"a token's id is at least 0 and below {size}, the size of the vocabulary.")
        return list(ids)

    def say(self, asked: str | Sequence[Mapping[str, str]], **settings: Any) -> str:
        """The answer to a question, or to a conversation that ends with one; `settings` as in `write`."""
        turns = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
        return "".join(self.answer(turns, reply_options(**settings)))

    def write(self, beginning: str, **settings: Any) -> str:
        """What follows the beginning of a document.

        settings: the fields of `Sampling` (`temperature=0` is greedy), `max_new` tokens, and `stop` strings.
        """
        return "".join(self.continue_text(beginning, reply_options(**settings)))

    def continue_text(self, prompt: str, options: ReplyOptions) -> Reply:
        """A continuation of `prompt` as the start of a document. Raises ValueError if the prompt fills the context."""
        return Reply(self, self.document_ids(prompt), options)

    def answer(self, messages: Sequence[Mapping[str, str]], options: ReplyOptions) -> Reply:
        """The assistant's next turn. Raises ValueError for an unknown role or a conversation that fills the context."""
        return Reply(self, self.chat_ids(messages), options)

    @torch.inference_mode()
    def embedding(self, text: str | Sequence[int]) -> list[float]:
        """The mean of the last hidden states of a text's tokens (after the last norm), [width], of length 1.

        text: or its ids. It is read as the start of a document; what stands before it does not count. Raises ValueError
        for a text without tokens and for one that is longer than the context.
        """
        ids = self.encode(text) if isinstance(text, str) else list(text)
        context, before = self.network.config.context, len(self.before_document)
        if not 0 < len(ids) <= context - before:
            raise ValueError(
                f"a text to embed has {len(ids)} tokens: it needs at least 1, and at most {context - before}."
            )
        hidden = self.network.hidden(torch.tensor([[*self.before_document, *ids]]))[0, before:]
        mean: list[float] = torch.nn.functional.normalize(hidden.float().mean(0), dim=0).tolist()
        return mean


def open_directory(
    directory: str | Path, dtype: torch.dtype | None = None, answers: bool = True, int8: bool = False
) -> TextModel:
    """The model and `tokenizer.json` in `directory`; `dtype` converts its weights. answers: see `TextModel`.

    int8: answers are generated with weights in 8 bits (`arrange`). Raises ValueError if either is missing or damaged.
    """
    path = Path(directory) / "tokenizer.json"
    model = arrange(load(directory, dtype), int8)
    if not path.exists():
        raise ValueError(
            f"there is no tokenizer.json in {directory}: add the tokenizer that the model was trained with."
        )
    about = json.loads((Path(directory) / "config.json").read_text(encoding="utf-8"))
    try:
        return TextModel(model, path.read_text(encoding="utf-8"), about, answers)
    except ValueError:
        raise
    except Exception as error:  # the library raises bare Exceptions
        raise ValueError(f"{path} cannot be read as a tokenizer: {error}.") from error


def token_bytes(tokenizer: Mapping[str, Any], size: int) -> list[bytes]:
    """The bytes of each token (none for special tokens), from the contents of a `tokenizer.json`.

    Supports byte-level BPE and SentencePiece models with byte fallback; raises ValueError for others.
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
        raise ValueError("this tokenizer is not supported: use byte-level BPE, or SentencePiece with byte fallback.")
    table = [b""] * size
    for piece, i in pairs:
        if i < size:
            table[i] = spell(piece)
    for token in tokenizer.get("added_tokens", []):
        if token["id"] < size:
            table[token["id"]] = b"" if token["special"] else token["content"].encode()
    return table


def byte_alphabet() -> dict[int, str]:
    """The printable character for each byte in byte-level BPE (GPT-2's table, Radford et al. 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + index) for index, byte in enumerate(others)}

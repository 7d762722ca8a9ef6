"""llama.cpp in place of torch: the logits of a model by llama-cpp-python (the extra `llama`), on our own GGUF.

Only the network is llama.cpp's: text becomes tokens, and logits become a choice, by this project's code, so that
prompts, penalties, schemas and seeds mean the same. A step of llama.cpp is faster on a CPU
(docs/results/training-speed.md).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from model.transformer import Transformer

PIECE = 256  # tokens that llama.cpp is given at once
BLOCK = 256  # tokens of which llama.cpp's memory for keys and values holds a multiple

_ATTACHED: WeakKeyDictionary[Transformer, Llama] = WeakKeyDictionary()


def installed() -> bool:
    """Whether llama-cpp-python is."""
    return importlib.util.find_spec("llama_cpp") is not None


def attached(network: Transformer) -> Llama | None:
    """The llama.cpp that computes for a network; None if torch does."""
    return _ATTACHED.get(network)


def attach(network: Transformer, directory: str | Path, form: str, sequences: int = 1) -> Transformer:
    """Have llama.cpp compute the logits of the network in `directory` from now on; returns the network.

    form: of the matrices, as `gguf_file.write` takes it. sequences: texts at once; each takes memory for its whole
    context from the start. Raises ValueError for a network that llama.cpp does not have, and ImportError without the
    packages llama_cpp and gguf.
    """
    from model import gguf_file

    with tempfile.TemporaryDirectory() as scratch:  # llama.cpp maps the file, so it may go
        file = gguf_file.write(directory, Path(scratch) / "model.gguf", form, with_tokenizer=False)
        _ATTACHED[network] = Llama(file, network, sequences, exact=form == "f32")
    return network


class Llama:
    """A GGUF file in llama.cpp with memory for `sequences` texts. Only one thread at a time may call it.

    exact: attention in fp32, instead of F16.
    """

    def __init__(self, file: Path, network: Transformer, sequences: int = 1, exact: bool = False) -> None:
        import llama_cpp

        self.library: Any = llama_cpp
        self.size = network.config.vocab_size
        _say_nothing(llama_cpp)
        llama_cpp.llama_backend_init()
        given = llama_cpp.llama_model_default_params()
        given.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(file).encode(), given)
        if not self.model:
            raise ValueError(f"llama.cpp cannot read {file}: use `--backend torch`.")
        about = llama_cpp.llama_context_default_params()
        about.n_ctx = -(-network.config.context // BLOCK) * BLOCK * sequences
        about.n_seq_max = sequences
        about.n_batch = about.n_ubatch = PIECE
        about.n_threads = about.n_threads_batch = min(torch.get_num_threads(), os.cpu_count() or 1)
        if exact:
            about.type_k = about.type_v = llama_cpp.GGML_TYPE_F32
            about.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it sums in F16
        self.context = llama_cpp.llama_init_from_model(self.model, about)
        if not self.context:
            llama_cpp.llama_model_free(self.model)
            raise ValueError(f"llama.cpp has no memory for {sequences} texts: take fewer (`--together`).")
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.batch = llama_cpp.llama_batch_init(PIECE, 0, 1)
        self.free = list(range(sequences))
        self.sequences = sequences
        weakref.finalize(self, _closed, llama_cpp, self.model, self.context, self.batch)

    # -- what generates (`generate.py`, `batch.py`) ------------------------------------------------------------------

    def fits(self, texts: int) -> bool:
        """Whether there is room for so many more. Raises ValueError where there never is."""
        if texts > self.sequences:
            raise ValueError(f"at most {self.sequences - 1} texts are made at once here: ask for fewer with `n`.")
        return texts <= len(self.free)

    def begin(self, tokens: int) -> Row:
        """A text without tokens. tokens: of its prompt."""
        return Row(self)

    def read(self, text: Row, piece: Sequence[int]) -> Tensor:
        """Logits [vocab_size] of what follows the text extended by a piece of its prompt."""
        logits = torch.empty(0)
        for first in range(0, len(piece), PIECE):
            part = piece[first : first + PIECE]
            rows = [(text, text.length + number, token) for number, token in enumerate(part)]
            logits = self._decoded(rows, [len(rows) - 1])
            text.length += len(part)
        return logits[0]

    def continued(self, text: Row, room: int) -> Row:
        """A text that goes on from another one. room: for how many tokens in all."""
        other = Row(self)
        self.library.llama_memory_seq_cp(self.memory, text.number, other.number, -1, -1)
        other.length = other.kept = text.length
        return other

    def step(self, texts: Sequence[Row], runs: Sequence[Sequence[int]]) -> Tensor:
        """Logits [tokens, vocab_size] of what follows each token of each text's run; each is extended by its run."""
        rows = [
            (text, text.length + number, token)
            for text, run in zip(texts, runs, strict=True)
            for number, token in enumerate(run)
        ]
        parts = [rows[first : first + PIECE] for first in range(0, len(rows), PIECE)]
        logits = torch.cat([self._decoded(part, range(len(part))) for part in parts])
        for text, run in zip(texts, runs, strict=True):
            text.length += len(run)
        return logits

    def _decoded(self, rows: Sequence[tuple[Row, int, int]], wanted: Sequence[int]) -> Tensor:
        """Logits of the rows `wanted` (their numbers). rows: text, place in it, token."""
        library, batch = self.library, self.batch
        for text in {id(text): text for text, _, _ in rows}.values():
            if text.kept > text.length:  # guesses that did not hold
                library.llama_memory_seq_rm(self.memory, text.number, text.length, -1)
        batch.n_tokens = len(rows)
        for number, (text, place, token) in enumerate(rows):
            batch.token[number], batch.pos[number] = token, place
            batch.n_seq_id[number], batch.seq_id[number][0] = 1, text.number
            batch.logits[number] = False
            text.kept = place + 1
        for number in wanted:
            batch.logits[number] = True
        if library.llama_decode(self.context, batch):
            raise ValueError(
                "llama.cpp has no room left for this text: ask for fewer tokens, or use `--backend torch`."
            )
        found = np.empty((len(wanted), self.size), np.float32)
        for place, number in enumerate(wanted):
            values = library.llama_get_logits_ith(self.context, number)
            found[place] = np.ctypeslib.as_array(values, (self.size,))
        return torch.from_numpy(found)

    def released(self, number: int) -> None:
        self.library.llama_memory_seq_rm(self.memory, number, -1, -1)
        self.free.append(number)


class Row:
    """A text in llama.cpp's memory: `length` tokens of it count. Its place is given up when nothing refers to it."""

    def __init__(self, of: Llama) -> None:
        if not of.free:
            raise ValueError(f"this model makes at most {of.sequences} texts at once.")
        self.number = of.free.pop()
        self.length = self.kept = 0  # kept: tokens in the memory
        weakref.finalize(self, of.released, self.number)


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def _ignored(level: int, text: bytes, data: int) -> None:
    """What llama.cpp tells of a model."""


def _say_nothing(library: Any) -> None:
    library.llama_log_set(_ignored, ctypes.c_void_p(0))


def _closed(library: Any, model: Any, context: Any, batch: Any) -> None:
    library.llama_batch_free(batch)
    library.llama_free(context)
    library.llama_model_free(model)

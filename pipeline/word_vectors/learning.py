"""`word_vectors`: vectors of the words of the curated text, learned in several ways.

Words are learned by word2vec, as skip-gram and as CBOW with negative sampling (Mikolov et al. 2013), and by fastText,
which also learns from parts of words (Bojanowski et al. 2017). The library is fastText's, which without parts of words
is word2vec. Pieces of the tokenizer are learned in the same way (tok2vec), and a model's own table of embeddings stands
beside them: the vector of a word is there the mean of its pieces.

    <way>.safetensors    `vectors` [words, dimensions] in fp32, each of length 1
    words.parquet        word, count; in the order of the rows of all ways, the commonest first
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.context import Log
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.store.tables import write_table, write_whole

if TYPE_CHECKING:
    from pipeline.tokens.tokenizer import Tokenizer

ASSET = "word_vectors"
VERSION = "1"
WORDS = "words"
WORD = r"[\p{L}\p{M}]+|\p{N}+"
Matrix = NDArray[np.float32]
# One thread, so that the same text gives the same vectors.
COMMON = {"thread": 1, "ws": 5, "neg": 5, "bucket": 200_000, "loss": "ns"}
WHOLE = {"minn": 0, "maxn": 0}  # no parts of words: word2vec
WAYS: dict[str, dict[str, Any]] = {
    "word2vec_skipgram": {"model": "skipgram", **WHOLE},
    "word2vec_cbow": {"model": "cbow", **WHOLE},
    "fasttext_skipgram": {"model": "skipgram", "minn": 2, "maxn": 5},  # two letters: Korean particles and endings
}
PIECES, TABLE = "tokenizer_pieces", "model_table"  # further ways


@dataclass(frozen=True)
class Learning:
    """How vectors are learned; the defaults are word2vec's, but for a small text."""

    dimensions: int = 100
    passes: int = 10
    fewest: int = 5  # times that a word has to occur


def make(
    store: Store, curated: Artifact, model: Artifact | None, tokenizer: Artifact, how: Learning, log: Log
) -> Artifact:
    """The vectors of a text. model: whose table of embeddings is read, too.

    Raises UserError where there is too little text.
    """

    def build(draft: Draft) -> None:
        from pipeline.tokens.tokenizer import load

        texts = pl.concat([pl.read_parquet(path, columns=["text"]) for path in tables(curated)])["text"]
        lines = list(words_of(texts))
        counts = counted(lines, how.fewest)
        write_table(counts, draft.path(f"{WORDS}.parquet"))
        words = counts["word"].to_list()
        engine = load(tokenizer.local_directory())
        for number, (way, settings) in enumerate(WAYS.items(), start=1):
            log(f"{ASSET}: learning {way} ({number} of {len(WAYS) + 1})")
            found = learned(lines, words, settings, how)
            save(draft, way, found)
        log(f"{ASSET}: learning {PIECES} ({len(WAYS) + 1} of {len(WAYS) + 1})")
        pieces = [[str(piece) for piece in ids] for ids in engine.encode(texts.to_list())]
        table = learned(pieces, [str(piece) for piece in range(engine.vocab_size)], WAYS["word2vec_skipgram"], how)
        save(draft, PIECES, of_pieces(words, engine, table))
        if model is not None:
            save(draft, TABLE, of_pieces(words, engine, table_of(model)))
        draft.counts = {"words": len(words), "running_words": sum(map(len, lines))}

    return store.make(
        ASSET,
        code_version=VERSION,
        settings=asdict(how),
        inputs={"curated_documents": curated, "tokenizer": tokenizer, **({"model": model} if model else {})},
        build=build,
        log=log,
    )


def tables(curated: Artifact) -> list[Path]:
    """The tables of documents that hold any. Raises UserError if none does."""
    found = [curated.table(name) for name in curated.fragments if curated.entry(name)["rows"]]
    if not found:
        raise UserError("There is no text to learn vectors of words from: add text, or loosen the stages of curation.")
    return found


def words_of(texts: pl.Series) -> Iterator[list[str]]:
    """The words of each text, in small letters, without punctuation."""
    for words in texts.fill_null("").str.to_lowercase().str.extract_all(WORD):
        yield words.to_list()


def counted(lines: Sequence[list[str]], fewest: int) -> pl.DataFrame:
    """word, count of those that occur `fewest` times, the commonest first. Raises UserError if there are under two."""
    exploded = pl.Series("word", [word for line in lines for word in line], dtype=pl.String)
    counts = exploded.value_counts(name="count").filter(pl.col("count") >= fewest)
    if counts.height < 2:
        raise UserError(f"No two words occur {fewest} times in the text: add text, or lower `--fewest`.")
    return counts.sort(["count", "word"], descending=[True, False])


def learned(lines: Sequence[list[str]], words: Sequence[str], settings: dict[str, Any], how: Learning) -> Matrix:
    """[words, dimensions], of length 1, learned from lines of words; zeros for a word that is too rare."""
    import fasttext

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "text.txt"
        source.write_text("\n".join(" ".join(line) for line in lines) + "\n", encoding="utf-8")
        model = fasttext.train_unsupervised(
            str(source), dim=how.dimensions, epoch=how.passes, minCount=how.fewest,
            verbose=2 if sys.stderr.isatty() else 0,  # the library's own line with its share and the time left
            **COMMON, **settings,
        )  # fmt: skip
    known = set(model.words)
    empty = np.zeros(how.dimensions, np.float32)
    return unit(np.stack([model.get_word_vector(word) if word in known else empty for word in words]))


def table_of(model: Artifact) -> Matrix:
    """A model's table of embeddings [tokens, width], without the mean of all, which every token shares."""
    import torch

    from model.export import load

    network = load(model.local_directory(), torch.float32)
    found: Matrix = network.model.embed_tokens.weight.detach().numpy()
    return unit(found - found.mean(0))


def of_pieces(words: Sequence[str], tokenizer: Tokenizer, table: Matrix) -> Matrix:
    """The vectors of words, each the mean of those of its pieces, as the tokenizer cuts it in the middle of a text."""
    before = tokenizer.encode(["a"])[0]
    vectors = np.zeros((len(words), table.shape[1]), np.float32)
    for place, ids in enumerate(tokenizer.encode([f"a {word}" for word in words])):
        vectors[place] = table[ids[len(before) :] if len(ids) > len(before) else ids].mean(0)
    return unit(vectors)


def unit(vectors: Matrix) -> Matrix:
    """Vectors of length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Matrix = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return scaled


def save(draft: Draft, way: str, vectors: Matrix) -> None:
    from safetensors.numpy import save as as_bytes

    write_whole(draft.path(f"{way}.safetensors"), as_bytes({"vectors": np.ascontiguousarray(vectors)}))


def read(artifact: Artifact) -> tuple[list[str], dict[str, Matrix]]:
    """(words, way -> vectors) of the artifact, ways in the order in which they were learned."""
    from safetensors.numpy import load_file

    words = pl.read_parquet(artifact.table(WORDS))["word"].to_list()
    ways = [way for way in (*WAYS, PIECES, TABLE) if f"{way}.safetensors" in artifact.manifest["files"]]
    return words, {way: load_file(artifact.file(f"{way}.safetensors"))["vectors"] for way in ways}

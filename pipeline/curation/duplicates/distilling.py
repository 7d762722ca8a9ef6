"""Vectors of tokens from a model of sentences, in the layout of model2vec that `vectors.from_file` reads.

Model2Vec (Tulkens and van Dongen 2024): each token of the vocabulary goes through the model alone, and principal
components make its vector shorter. What a token weighs is not part of its vector here, since `vectors.vectors_of`
weighs words by how often they are in the corpus.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import UserError


def distil(model: Path, out: Path, dimensions: int = 256) -> tuple[int, int]:
    """Write model.safetensors and tokenizer.json to the folder `out`; returns (tokens, dimensions).

    model: a folder with a Transformer of sentences as `transformers` reads it. No network is asked.

    Raises UserError if the folder is none, or the extra `semantic` is not installed.
    """
    if not (model / "config.json").is_file() or not (model / "tokenizer.json").is_file():
        raise UserError(f"{model} has no config.json and tokenizer.json: name the folder of a model of sentences.")
    try:
        from model2vec.distill import distill_from_model
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise UserError(
            f"`slm vectors distil` needs the extra `semantic` ({error.name} is missing): `pip install "
            "'model2vec[distill]>=0.10'`."
        ) from error
    made = distill_from_model(
        AutoModel.from_pretrained(model, local_files_only=True),
        AutoTokenizer.from_pretrained(model, local_files_only=True),
        device="cpu",
        pca_dims=dimensions,
        sif_coefficient=None,
    )
    made.save_pretrained(str(out))
    count, size = made.embedding.shape
    return int(count), int(size)

"""Vectors of tokens from a model of sentences, in the layout that `vectors` reads, or one sentence says why not."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer, models, pre_tokenizers

from pipeline.cli import main
from pipeline.curation.duplicates import vectors
from pipeline.curation.duplicates.distilling import distil
from pipeline.errors import UserError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]", "a", "boat", "came", "home", "with", "the", "tide"]


@pytest.fixture
def model(tmp_path):
    """The folder of a very small BERT with weights that were drawn."""
    transformers = pytest.importorskip("transformers")
    import torch

    torch.manual_seed(0)
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    folder = tmp_path / "model"
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def test_a_model_of_sentences_gives_a_folder_that_a_recipe_can_name(tmp_path, model):
    pytest.importorskip("model2vec.distill", exc_type=ImportError)
    given = ["vectors", "distil", str(model), str(tmp_path / "out"), "--dimensions", "4"]
    done = CliRunner().invoke(main, given, catch_exceptions=False)
    assert done.exit_code == 0 and "4 dimensions. Name it in `curation.duplicates.semantic.vectors`" in done.output
    found = vectors.from_file(tmp_path / "out")(["boat", "tide", "nowhere"])
    assert found.shape == (3, 4) and not np.allclose(found[0], found[1])


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing has no config\.json and tokenizer\.json: name the folder"):
        distil(tmp_path / "nothing", tmp_path / "out")


def test_without_the_extra_a_sentence_says_how_to_install_it(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "model2vec.distill", None)
    with pytest.raises(UserError, match=r"needs the extra `semantic` .*pip install 'model2vec\[distill\]>=0\.10'"):
        distil(tmp_path, tmp_path / "out")

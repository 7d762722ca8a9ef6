"""Training: the same bytes again, weights, limits, tokenizers that are frozen or come from elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys

import polars as pl
import pytest
from pydantic import ValidationError

from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from pipeline.tokens import byte_pair, sampling, training
from pipeline.tokens.token_settings import SPECIALS, TokenizerSettings
from pipeline.tokens.tokenizer import HUGGING_FACE, load
from tests.making import context
from tests.tokens.conftest import KINDS, curate, documents, quiet


def tokenizer_of(store, curated, settings, log=quiet):
    return training.make(context(store, log=log), {"curated_documents": curated}, settings)


def test_the_artifact_is_complete(artifacts, kind):
    artifact = artifacts[kind]
    native = {"bpe": "tokenizer.tiktoken"}.get(kind, "tokenizer.model")
    wanted = {
        native,
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer_about.json",
        "report.json",
        "vocabulary.png",
    }
    assert set(artifact.manifest["files"]) == wanted
    tokenizer = load(artifact.directory)
    assert tokenizer.vocab_size == KINDS[kind].vocab_size
    assert [tokenizer.ids[name] for name in SPECIALS] == list(range(6))
    contents = [content for content in tokenizer.token_bytes() if content]
    assert len(contents) == tokenizer.vocab_size - 16 and {bytes([byte]) for byte in range(256)} <= set(contents)


def test_the_report_counts(artifacts, tokenizers, kind, texts):
    report = json.loads(artifacts[kind].file("report.json").read_text())
    assert report["round_trip_exact"] == report["tokenizer_json_same_ids"] == report["documents"] > 0
    held = documents(texts).filter(sampling.held_out_fraction(pl.col("doc_id")) < KINDS[kind].held_back)
    assert report["documents"] == held.height
    korean = held.filter(pl.col("lang") == "ko")["text"].to_list()
    count = sum(len(ids) for ids in tokenizers[kind].encode(korean))
    assert report["languages"]["ko"]["tokens"] == count
    assert report["languages"]["ko"]["bytes_per_token"] == pytest.approx(
        sum(len(text.encode()) for text in korean) / count, abs=1e-4
    )
    longest = report["longest_tokens"][0]
    assert len(longest.encode()) == max(len(content) for content in tokenizers[kind].token_bytes())


def test_the_same_text_gives_the_same_bytes_in_another_process(made, artifacts, kind, tmp_path):
    store = made[0]
    script = (
        "import sys, json; from pipeline.store.store import Store; from pipeline.tokens import training;"
        "from pipeline.tokens.token_settings import TokenizerSettings;"
        "from pipeline.context import RunContext;"
        "curated = Store(sys.argv[1], 'made').current('curated_documents');"
        "context = RunContext(Store(sys.argv[2], 'made'), log=str);"
        "settings = TokenizerSettings(**json.loads(sys.argv[3]));"
        "made = training.make(context, {'curated_documents': curated}, settings);"
        "print(made.digest)"
    )
    given = [str(store.root), str(tmp_path), KINDS[kind].model_dump_json()]
    found = subprocess.run([sys.executable, "-c", script, *given], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == artifacts[kind].digest


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_vocabulary_larger_than_the_text_can_give(tmp_path, kind):
    store = Store(tmp_path, "made")
    curated = curate(store, {"en": ["the cat sat on the mat, the cat", "a dog and the cat and a mat"]})
    settings = KINDS[kind].model_copy(update={"vocab_size": 4000, "held_back": 0.0})
    with pytest.raises(UserError, match=r"`tokenizer.vocab_size: 4000` .* (\d+) is the largest vocabulary") as error:
        tokenizer_of(store, curated, settings, quiet)
    assert store.current("tokenizer") is None
    most = int(str(error.value).split(": ")[-1].split()[0])
    made = tokenizer_of(store, curated, settings.model_copy(update={"vocab_size": most}), quiet)
    assert load(made.directory).vocab_size == most


def test_characters_that_do_not_fit(tmp_path):
    store = Store(tmp_path, "made")
    curated = curate(store, {"ko": ["".join(chr(0xAC00 + 7 * i) for i in range(900))]})
    with pytest.raises(UserError, match="does not hold the characters of the text"):
        tokenizer_of(store, curated, TokenizerSettings(vocab_size=400, held_back=0), quiet)


def sampled(store: Store, curated: Artifact, **settings) -> sampling.Sample:
    return sampling.make(context(store), curated, TokenizerSettings(**settings))


def test_languages_with_more_weight_get_shorter_texts(made):
    store, curated = made
    sizes = {}
    for weight in (0.1, 10):
        settings = TokenizerSettings(kind="bpe", vocab_size=700, language_weights={"code": weight})
        tokens = byte_pair.train(sampled(store, curated, language_weights={"code": weight}).texts(), settings)
        sizes[weight] = sum(token.decode(errors="replace").strip(" \n").isascii() for token in tokens)
    assert sizes[10] > sizes[0.1] + 20
    with pytest.raises(UserError, match=r"`tokenizer.source_weights` names `wiki`.* code, en, ko"):
        sampled(store, curated, source_weights={"wiki": 2})


def test_the_sample_keeps_to_its_size_and_weights(made):
    store, curated = made
    whole = sampled(store, curated, held_back=0)
    assert [group["rate"] for group in whole.artifact.facts["groups"]] == [1.0, 1.0, 1.0]
    frame = pl.concat([pl.read_parquet(curated.table(name)) for name in curated.fragments])
    assert list(whole.texts()) == frame["text"].to_list()
    sample = sampled(store, curated, sample_bytes=30_000, source_weights={"ko": 2, "en": 0}, held_back=0.1)
    drawn = list(sample.texts())
    assert sum(len(text.encode()) for text in drawn) == pytest.approx(30_000, rel=0.25)
    assert drawn == list(sample.texts())
    source = dict(zip(frame["text"], frame["source"], strict=True))
    held = set(frame.filter(sampling.held_out_fraction(pl.col("doc_id")) < 0.1)["text"])
    assert held and not held & set(drawn) and {source[text] for text in drawn} == {"ko", "code"}
    assert sample.held_back and set(sample.report_documents()["text"]) == held
    rate = {group["source"]: group["rate"] for group in sample.artifact.facts["groups"]}
    assert rate["ko"] == pytest.approx(2 * rate["code"]) and rate["en"] == 0


def test_a_weight_above_one_repeats_documents(made):
    store, curated = made
    drawn = list(sampled(store, curated, language_weights={"ko": 2.5, "en": 0, "code": 0}, held_back=0).texts())
    counts = {text: drawn.count(text) for text in set(drawn)}
    assert set(counts.values()) == {2, 3}


@pytest.mark.parametrize("kind", ["sentencepiece", "bpe"])
def test_only_a_document_of_the_sample_changes_the_tokenizer(tmp_path, texts, kind):
    """A change outside the sample changes nothing, one in the report only the report, one in the sample the
    tokenizer."""
    store = Store(tmp_path, "made")
    settings = KINDS[kind].model_copy(update={"sample_bytes": 60_000, "held_back": 0.1})
    first = tokenizer_of(store, curate(store, texts), settings, quiet)
    sample = sampled(store, store.require("curated_documents"), sample_bytes=60_000, held_back=0.1)
    learned, measured = set(sample.texts()), set(sample.report_documents()["text"])
    rest = [text for text in texts["ko"] if text not in learned | measured]
    assert rest and learned and measured

    def changed(old: str) -> Artifact:
        """The tokenizer after a change of one text that leaves its document's id unchanged."""
        new = {lang: [text.replace(" ", "  ") if text == old else text for text in of] for lang, of in texts.items()}
        return tokenizer_of(store, curate(store, new), settings, quiet)

    untouched = changed(rest[0])
    assert untouched.version == first.version and not untouched.made
    assert store.require(sampling.ASSET).manifest["fragments"] == {"computed": 1, "reused": 5}
    reported = changed(sorted(measured & set(texts["ko"]))[0])
    assert reported.version != first.version
    model = {"bpe": "tokenizer.tiktoken"}.get(kind, "tokenizer.model")
    assert reported.file(model).stat().st_ino == first.file(model).stat().st_ino  # linked, not trained again
    trained = changed(sorted(learned & set(texts["ko"]))[0])
    assert trained.file(model).stat().st_ino != first.file(model).stat().st_ino
    fresh = tokenizer_of(Store(tmp_path / "fresh", "made"), store.require("curated_documents"), settings, quiet)
    assert fresh.digest == trained.digest


def test_frozen_stays_and_says_so(tmp_path, texts):
    store = Store(tmp_path, "made")
    settings = TokenizerSettings(vocab_size=500, frozen=True)
    first = tokenizer_of(store, curate(store, {"ko": texts["ko"]}), settings, quiet)
    lines: list[str] = []
    more = curate(store, texts)
    again = tokenizer_of(store, more, settings, lines.append)
    assert again.version == first.version and "frozen" in lines[0] and "inputs.curated_documents" in lines[0]
    thawed = tokenizer_of(store, more, settings.model_copy(update={"frozen": False}), quiet)
    assert thawed.version != first.version


def test_nfc_makes_decomposed_text_the_same(tmp_path, texts):
    import unicodedata

    store = Store(tmp_path, "made")
    made = tokenizer_of(store, curate(store, texts), TokenizerSettings(vocab_size=800, normalisation="nfc"), quiet)
    tokenizer = load(made.directory)
    apart = unicodedata.normalize("NFD", "한글 문서를 é")
    one, other = tokenizer.encode([apart, "한글 문서를 é"])
    assert one.tolist() == other.tolist() and tokenizer.decode(one) == "한글 문서를 é"
    import tokenizers

    assert tokenizers.Tokenizer.from_file(str(made.file(HUGGING_FACE))).encode(apart).ids == one.tolist()


@pytest.mark.parametrize("file", ["tokenizer.model", "tokenizer.json", "tokenizer.tiktoken"])
def test_an_existing_tokenizer_keeps_its_ids(artifacts, tokenizers, made, tmp_path, file):
    kind = "bpe" if file == "tokenizer.tiktoken" else "sentencepiece"
    store = Store(tmp_path, "made")
    pattern = tokenizers["bpe"].about["pattern"] if kind == "bpe" else None
    settings = TokenizerSettings(kind="existing", path=str(artifacts[kind].file(file)), pattern=pattern)
    artifact = tokenizer_of(store, made[1], settings, quiet)
    assert str(tmp_path) not in artifact.file("tokenizer_about.json").read_text()
    existing = load(artifact.directory)
    texts = ["def f():\n    return 1", "  한국어 문서를\r\n읽었다. 😀", "<eos> & <|im_end|>", ""]
    same = [ids.tolist() for ids in existing.encode(texts)]
    assert same == [ids.tolist() for ids in tokenizers[kind].encode(texts)]
    assert [existing.decode(ids) for ids in same] == texts
    report = json.loads(artifact.file("report.json").read_text())
    assert report["tokenizer_json_same_ids"] == report["round_trip_exact"] == report["documents"]
    assert existing.encode_chat([{"role": "user", "content": "<|im_end|>"}])[0].max() < existing.vocab_size


def test_a_sentencepiece_model_with_its_own_normalisation(made, tmp_path, texts):
    """Like Llama's: a space before every text, runs of spaces collapsed, NFKC; `tokenizer.json` does the same."""
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts["ko"] + texts["en"]), model_writer=model, vocab_size=800, byte_fallback=True,
        model_type="bpe", minloglevel=2,
    )  # fmt: skip
    (tmp_path / "other.model").write_bytes(model.getvalue())
    settings = TokenizerSettings(kind="existing", path=str(tmp_path / "other.model"))
    artifact = tokenizer_of(Store(tmp_path / "store", "made"), made[1], settings, quiet)
    tokenizer = load(artifact.directory)
    assert tokenizer.ids["<eos>"] == 2 and tokenizer.ids["<|im_start|>"] >= 800  # `</s>` is there, ChatML was added
    (ids,) = tokenizer.encode(["우리는 문서를 읽었다."])
    assert tokenizer.decode(ids) == "우리는 문서를 읽었다."
    import tokenizers

    peer = tokenizers.Tokenizer.from_file(str(artifact.file(HUGGING_FACE)))
    sample = [*texts["ko"][:20], *texts["en"][:20], "  ﬁne  spaces "]
    assert [e.ids for e in peer.encode_batch(sample)] == [ids.tolist() for ids in tokenizer.encode(sample)]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"not a tokenizer", "is not a SentencePiece model, a tokenizer.json or a tiktoken file"),
        (b"{}", "is not a readable tokenizer.json"),
        (b"IQ== 0\n", "needs `tokenizer.pattern`"),
    ],
)
def test_a_file_that_is_no_tokenizer(made, tmp_path, content, sentence):
    (tmp_path / "file").write_bytes(content)
    settings = TokenizerSettings(kind="existing", path=str(tmp_path / "file"))
    with pytest.raises(UserError, match=sentence):
        tokenizer_of(Store(tmp_path / "store", "made"), made[1], settings, quiet)


def test_settings_that_do_not_fit_together():
    for wrong in (
        {"kind": "existing"},
        {"path": "x"},
        {"vocab_size": 200},
        {"digits": 3},
        {"language_weights": {"ko": -1}},
    ):
        with pytest.raises(ValidationError):
            TokenizerSettings(**wrong)

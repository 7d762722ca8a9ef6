"""Perplexity: what is removed, what is not judged, no model judges its training text, and stable bytes."""

import random
from pathlib import Path

import polars as pl
import pytest
import regex

from pipeline.curation.filters import learning_sample, perplexity
from pipeline.curation.filters.model_text import fold_of, model_input
from pipeline.curation.filters.model_words import as_words, in_both_orders
from pipeline.documents.execution import ExecutionSettings
from pipeline.documents.view import Documents
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from tests.curation.filter_texts import KOREAN, PYTHON, frame, learned, raw_of, reasons
from tests.making import context

DRAW = random.Random(7)
NOUNS = [
    "harbour", "boat", "tide", "wall", "morning", "fisher", "book", "count", "crate", "rope", "lamp", "storm", "bell",
    "net", "gull", "engine", "sail", "shore",
]  # fmt: skip
NOUNS += [f"{a}{b}{c}{d}n" for a in "bdklmt" for b in "aeiou" for c in "rstl" for d in "aeo"]
VERBS = [
    "watched", "counted", "followed", "repaired", "carried", "remembered", "painted", "lowered", "opened",
    "described",
]  # fmt: skip
주어 = ["노인은", "어부는", "아이는", "선장은", "상인은", "갈매기는", "등대지기는"]
목적어 = ["배를", "그물을", "밀물을", "수첩을", "상자를", "밧줄을", "등불을", "방파제를"]
서술어 = ["바라보았다", "세었다", "고쳤다", "옮겼다", "기억했다", "칠했다", "적어두었다"]


FORMS = (
    "The {} of the {} that we have {} is to be {} with a {} and {} by the {}.",
    "To every {} a {} {} its {} before it {} that {}.",
    "With {} and {} they {} whatever the {} had {} in {}.",
    "Nobody {} a {}, for {} have a {} to be {} beside {}.",
    "Some {} {} of an old {}; others {} only {} and {}.",
)
PARTS = ("nnvvnvn", "nnvnvn", "nnvnvn", "vnnnvn", "nvnvnn")  # nouns and verbs in each form's places


def english(sentences: int = 25) -> str:
    said = []
    for _ in range(sentences):
        form, parts = DRAW.choice(list(zip(FORMS, PARTS, strict=True)))
        said.append(form.format(*(DRAW.choice(NOUNS if part == "n" else VERBS) for part in parts)))
    return " ".join(said)


def korean(sentences: int = 25) -> str:
    return " ".join(
        f"{DRAW.choice(주어)} 아침마다 {DRAW.choice(목적어)} 오래 {DRAW.choice(서술어)}." for _ in range(sentences)
    )


def garbled(text: str) -> str:
    """The same text with its letters in random order."""
    letters = [letter for letter in text if letter.isalpha()]
    DRAW.shuffle(letters)
    return "".join(letters.pop() if letter.isalpha() else letter for letter in text)


def broken() -> str:
    """Korean in UTF-8, read as Latin-1."""
    return KOREAN.encode().decode("latin-1")


SMALL = {"min_characters": 5_000, "characters": 500_000}
TEXTS = [*(english() for _ in range(60)), *(korean() for _ in range(60))]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    made = learned(perplexity, tmp_path_factory.mktemp("model"), perplexity.Settings(**SMALL), s=frame(*TEXTS))
    assert made.facts["ko"]["documents"] == made.facts["spaced"]["documents"] == 60
    return made.local_directory()


def judge(model: Path, *texts: str, **settings) -> list[str | None]:
    return reasons(perplexity, frame(*texts), {"perplexity_model": model}, **settings)


def test_garbled_text_is_removed_and_text_like_the_reference_stays(model):
    texts = [english(), korean(), garbled(english()), garbled(korean()), broken()]
    assert judge(model, *texts) == [None, None, "high_perplexity", "high_perplexity", "high_perplexity"]


def shuffled(text: str) -> str:
    words = text.split()
    DRAW.shuffle(words)
    return " ".join(words)


def test_shuffled_words_and_menus_are_removed_though_every_word_is_common(model):
    menu = " ".join(DRAW.choice(NOUNS).title() for _ in range(120))
    menu_ko = " ".join(DRAW.choice(목적어 + 주어) for _ in range(120))
    for text in (shuffled(english(40)), shuffled(korean(40)), menu, menu_ko):
        assert judge(model, text, max_deviation=1000, max_deviation_ko=1000) == ["no_word_order"]


def test_another_order_has_the_same_words_and_depends_on_the_id_alone():
    texts = pl.Series(["one two, three four five six. seven", "", "alone", "a b", "한국어 문장, 둘"])
    ids = pl.Series([f"{n:032x}" for n in (1, 2, 3, 4, 5)])
    words, moved = in_both_orders(texts, ids)
    assert words.to_list() == as_words(texts).to_list()
    assert [sorted(text.split()) for text in moved] == [sorted(text.split()) for text in words]
    assert moved[0] != words[0] and " two , " in f" {moved[0]} "  # what stands together stays together
    for place in range(5):
        assert in_both_orders(texts[place : place + 1], ids[place : place + 1])[1][0] == moved[place]
    assert in_both_orders(texts[:1], ids[1:2])[1][0] != moved[0]


def test_words_are_those_that_patterns_find():
    """The bytes are read as these patterns say, whatever characters stand side by side."""
    draw = random.Random(4)
    few = "가나다 ab1, .\n\t\x00\x1f\x85\xa0\u2028\u3000\u0301\u200dᄀ힣힤é㐀😀𠀀\U0010ffffABC_"
    texts = ["".join(draw.choices(few, k=draw.randrange(40))) for _ in range(3000)] + ["", " ", "a http://가.나 b"]

    def patterned(text: str) -> str:
        text = regex.sub(r"[0-9]", "0", regex.sub(r"https?://\S+", " url ", text.lower()))
        text = regex.sub(r"([^\p{L}\p{N}\s\x00-\x1f]+)", r" \1 ", text)
        text = regex.sub(r"([가-힣])", r"\1 ", regex.sub(r"(^|[^가-힣])([가-힣])", r"\1 ▁\2", text))
        return regex.sub(r"[\s\x00-\x1f]+", " ", text).strip(" ")

    assert as_words(pl.Series(texts)).to_list() == [patterned(text) for text in texts]


def test_clean_text_loses_nothing(model):
    assert judge(model, *TEXTS) == [None] * len(TEXTS)


def test_bounds_are_thresholds(model):
    # Letters in random order may by chance stand in a less likely order than shuffled.
    judged = perplexity.signals(
        frame(*(garbled(english()) for _ in range(20))), perplexity.Settings(), {"perplexity_model": model}
    )
    signals = judged.filter(pl.col("order") > 0).head(1)
    assert perplexity.STAGE.signal_settings == ("notes",)  # all others are thresholds
    assert perplexity.decide(signals, perplexity.Settings(max_deviation=1000, min_order=0))["keep"].item()
    assert perplexity.decide(signals, perplexity.Settings(max_percentile=100, min_order=0))["keep"].item()
    order = perplexity.decide(signals, perplexity.Settings(max_deviation=1000))
    assert order["reason"].item() == "no_word_order"
    assert signals["percentile"].item() == 100 and signals["deviation"].item() > 5
    assert perplexity.decide(signals, perplexity.Settings())["score"].item() == pytest.approx(
        signals["perplexity"].item()
    )


def test_what_is_not_judged(model):
    mixed = KOREAN[:150] + " " + english(12)
    documents = frame(PYTHON, "港は早朝で静かだった。" * 20, "Too short to tell.", mixed, "", korean())
    signals = perplexity.signals(documents, perplexity.Settings(), {"perplexity_model": model})
    assert signals["perplexity"].is_null().to_list() == [True, True, True, True, True, False]
    assert judge(model, PYTHON, "", mixed) == [None] * 3


def test_no_model_has_seen_what_it_judges(tmp_path):
    letters = "abcdefghijklmnopqrstuvwxyz"
    marked = [f"{english()} Only{letters[i % 26]}{letters[i // 26]}x was here." for i in range(40)]
    documents = frame(*marked)
    model = learned(perplexity, tmp_path, perplexity.Settings(**SMALL), s=documents).local_directory()
    folds = fold_of(documents["doc_id"]).to_list()
    assert set(folds) == {0, 1}
    for number in (0, 1):
        vocabulary = set((model / f"spaced-{number}.arpa").read_text().split())
        for text, folded in zip(marked, folds, strict=True):
            assert (text.split()[-3].lower() in vocabulary) == (folded != number)


def test_too_little_text_makes_no_model_and_judges_nothing(tmp_path):
    said: list[str] = []
    made = learned(perplexity, tmp_path, perplexity.Settings(), said.append, s=frame(*TEXTS[:3]))
    assert list(made.manifest["files"]) == ["bounds.json"] and made.facts["ko"]["documents"] == 0
    assert any("too few" in sentence for sentence in said)
    assert judge(made.local_directory(), garbled(english())) == [None]


def test_the_reference_is_what_the_recipe_names(tmp_path):
    sources = {"good": frame(*TEXTS[:60]), "other": frame(*(garbled(english()) for _ in range(60)))}
    made = learned(perplexity, tmp_path, perplexity.Settings(reference=["good"], **SMALL), **sources)
    assert judge(made.local_directory(), garbled(english()), english()) == ["high_perplexity", None]


def test_a_reference_that_is_no_source_is_named():
    with pytest.raises(UserError, match="`wikipedia`, which is not a source of the recipe: wiki"):
        perplexity.check_reference("perplexity", ["wikipedia"], ["wiki"])


def test_removed_documents_are_no_reference(tmp_path):
    documents = frame(*TEXTS[:60], *(garbled(english()) for _ in range(60)))
    documents = documents.with_columns(kept=pl.int_range(pl.len()) < 60)
    made = learned(perplexity, tmp_path, perplexity.Settings(**SMALL), s=documents)
    assert made.facts["spaced"]["documents"] == 60


def test_the_same_text_gives_the_same_bytes(model, tmp_path):
    again = learned(perplexity, tmp_path, perplexity.Settings(**SMALL), s=frame(*TEXTS)).local_directory()
    names = sorted(path.name for path in model.iterdir())
    assert names == ["bounds.json", "ko-0.arpa", "ko-1.arpa", "manifest.json", "spaced-0.arpa", "spaced-1.arpa"]
    names.remove("manifest.json")  # it says how long it took
    assert all((again / name).read_bytes() == (model / name).read_bytes() for name in names)


def sampled(root: Path, characters: int, **sources: pl.DataFrame) -> learning_sample.Sample:
    store = Store(root, "r")
    documents = Documents(*raw_of(store, **sources))
    execution = ExecutionSettings(executor="in_process")
    return learning_sample.make(
        context(store, execution=execution), "sample", documents, {"all": set(sources)}, characters
    )


def test_the_sample_is_bounded_and_hangs_on_nothing_else(tmp_path):
    documents = frame(*(english(3) + f" {i}" for i in range(400)))
    chosen = sampled(tmp_path, 20_000, s=documents)
    found = chosen.read()
    assert 15_000 < found["text"].str.len_chars().sum() < 21_000
    texts = dict(zip(documents["doc_id"], documents["text"], strict=True))
    assert found["text"].to_list() == [texts[one] for one in found["doc_id"]]
    turn = pl.col("doc_id").str.slice(16, 8)
    last = found.select(turn.max()).item()
    later = frame(*(korean(3) + english(9) + f" {i}" for i in range(400))).filter(turn > last)
    assert later.height > 50
    # Of another source, so that the first one's fragment is remembered.
    again = sampled(tmp_path, 20_000, s=documents, t=later.filter(pl.col("text").str.contains("No Korean")))
    assert again.chosen().equals(found.drop("text")) and again.artifact.manifest["fragments"]["reused"] == 1
    again = sampled(tmp_path / "other", 20_000, s=pl.concat([documents, later]))
    assert again.chosen()["doc_id"].to_list() == found["doc_id"].to_list()


def test_a_sample_of_many_small_tables_is_that_of_one(tmp_path):
    documents = frame(*(english(3) + f" {i}" for i in range(300)), *(korean(4) + f" {i}" for i in range(200)))
    one = sampled(tmp_path / "one", 12_000, s=documents)
    parts = {f"s{digit}": documents.filter(pl.col("doc_id").str.starts_with(digit)) for digit in "0123456789abcdef"}
    many = sampled(tmp_path / "many", 12_000, **parts)
    columns = ["doc_id", "content", "kind", "fold", "kept"]
    assert many.chosen().select(columns).equals(one.chosen().select(columns)) and one.chosen().height > 40
    assert many.read()["text"].to_list() == one.read()["text"].to_list()


def test_a_document_outside_the_sample_leaves_the_model_alone(tmp_path):
    settings = perplexity.Settings(min_characters=5_000, characters=60_000)
    documents = frame(*TEXTS)

    def model(table: pl.DataFrame) -> Artifact:
        """Four fragments, so that each has candidates that are not chosen."""
        quarter = pl.col("doc_id").str.slice(0, 1).str.to_integer(base=16) // 4
        parts = {f"s{number}": table.filter(quarter == number) for number in range(4)}
        return learned(perplexity, tmp_path, settings, **parts)

    def with_another_text(doc_id: str, added: str) -> pl.DataFrame:
        """The same documents, one of them with other words at the same place in the order."""
        text = pl.col("text")
        return documents.with_columns(pl.when(pl.col("doc_id") == doc_id).then(text + added).otherwise(text))

    first = model(documents)
    sample = Store(tmp_path, "r").require("perplexity_sample")
    inside = pl.read_parquet(sample.table("chosen"))["doc_id"]
    candidates = pl.concat([pl.read_parquet(sample.table(f"candidates/s{number}-0")) for number in range(4)])["doc_id"]
    outside = candidates.filter(~candidates.is_in(inside.to_list()))
    assert first.made and len(inside) > 40 and len(outside) > 5
    untouched = model(with_another_text(outside[0], " More."))
    assert not untouched.made and untouched.version == first.version
    sample = Store(tmp_path, "r").require("perplexity_sample")
    assert sample.manifest["fragments"] == {"computed": 1, "reused": 3}
    changed = model(with_another_text(inside[0], " Unheard of."))
    assert changed.made and changed.digest != first.digest
    # It stands in one fold of one kind: the model of the other fold learned from it, the other three are linked.
    models = {name: entry["sha256"] for name, entry in first.manifest["files"].items() if name.endswith(".arpa")}
    differing = [name for name, sha in models.items() if changed.manifest["files"][name]["sha256"] != sha]
    assert len(models) == 4 and len(differing) == 1
    assert sum((first.file(name).stat().st_nlink > 1) for name in models) == 3


def test_words_of_both_languages():
    assert as_words(pl.Series(["Hello, World! 42 한국은 https://a.b/c", "  ", "A한b"])).to_list() == [
        "hello , world ! 00 ▁한 국 은 url", "", "a ▁한 b",
    ]  # fmt: skip
    first = model_input(frame("# Title\n\n```\nx = 1\n```\n" + english(60)))
    words = first["words"].item().split()
    assert words[0] == "title" and words[1].isalpha() and len(first["words"].item()) < 2200


def test_control_characters_do_no_harm(tmp_path):
    texts = [text[:40] + " \x00 \x0b\x1f\u2028 nul\x00nul " + text[40:] for text in TEXTS]
    made = learned(perplexity, tmp_path, perplexity.Settings(**SMALL), s=frame(*texts))
    assert judge(made.local_directory(), *texts[:3], "\x00" * 50) == [None] * 4


def test_no_documents(model):
    empty = perplexity.signals(frame(), perplexity.Settings(), {"perplexity_model": model})
    assert empty.schema == perplexity.signals(frame(KOREAN), perplexity.Settings(), {"perplexity_model": model}).schema

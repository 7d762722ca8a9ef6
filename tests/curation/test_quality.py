"""Quality: labels from sources or from rules, a limit on removals, what is not judged, stable bytes."""

from pathlib import Path

import polars as pl
import pytest

from pipeline.curation.filters import quality
from pipeline.store.store import Store
from tests.curation.filter_texts import PYTHON, frame, learned, raw_of, reasons
from tests.curation.test_perplexity import DRAW, NOUNS, english, korean
from tests.making import after, context

OFFERS = [
    "buy",
    "now",
    "click",
    "here",
    "free",
    "shipping",
    "best",
    "price",
    "order",
    "today",
    "discount",
    "cart",
    "checkout",
    "subscribe",
    "login",
    "menu",
    "home",
]
광고 = [
    "지금", "구매", "무료배송", "최저가", "할인", "쿠폰", "장바구니", "로그인", "회원가입", "고객센터", "이벤트",
    "특가", "클릭",
]  # fmt: skip


def offer(words: int = 120) -> str:
    return " ".join(DRAW.choice(OFFERS + NOUNS[:3]) for _ in range(words)) + "."


def 전단(words: int = 120) -> str:
    return " ".join(DRAW.choice(광고) for _ in range(words)) + "."


SMALL = {"characters": 400_000}
NAMED = {"reference": ["good"]}
GOOD = frame(*(english() for _ in range(60)), *(korean() for _ in range(60)))
POOR = frame(*(offer() for _ in range(60)), *(전단() for _ in range(60)))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    settings = quality.Settings(reference=["good"], **SMALL)
    made = learned(quality, tmp_path_factory.mktemp("model"), settings, good=GOOD, web=POOR)
    assert made.facts == {"ko": {"good": 60, "poor": 60}, "spaced": {"good": 60, "poor": 60}}
    return made.local_directory()


def judged(model: Path, *texts: str) -> pl.DataFrame:
    return quality.signals(frame(*texts), quality.Settings(), {"quality_model": model})


def test_text_like_the_reference_is_good(model):
    found = judged(model, english(), korean(), offer(), 전단())["quality"].to_list()
    assert min(found[:2]) > 0.8 and max(found[2:]) < 0.2


def test_the_least_good_goes_and_no_more_than_the_share(model):
    texts = [offer() for _ in range(30)] + [english() for _ in range(30)]
    assert set(reasons(quality, frame(*texts), {"quality_model": model}, max_removed=0.0, **NAMED)) == {None}
    most = reasons(quality, frame(*texts), {"quality_model": model}, max_removed=0.6, min_quality=0.5, **NAMED)
    assert most[:30] == ["low_quality"] * 30 and most[30:] == [None] * 30
    corpus = POOR["text"].to_list()
    removed = [
        reason
        for reason in reasons(
            quality, frame(*corpus), {"quality_model": model}, max_removed=0.1, min_quality=0.5, **NAMED
        )
        if reason
    ]
    assert 0 < len(removed) <= 0.25 * len(corpus)  # a tenth of the corpus of 240, all of it among these 120


def test_good_text_stays_however_low_its_rank(model):
    signals = judged(model, *(english() for _ in range(20)))
    assert quality.decide(signals, quality.Settings(max_removed=1.0, **NAMED))["keep"].all()
    assert quality.STAGE.signal_settings == ("notes",)  # all others are thresholds


def test_what_is_not_judged(model):
    found = judged(model, PYTHON, "港は早朝で静かだった。" * 20, "", english())
    assert found["quality"].is_null().to_list() == [True, True, True, False]
    assert reasons(quality, frame(PYTHON, ""), {"quality_model": model}, min_quality=1.0, max_removed=1.0, **NAMED) == [
        None,
        None,
    ]


def test_too_few_examples_make_no_model(tmp_path):
    said: list[str] = []
    few = {"good": GOOD.head(10), "web": POOR.head(10)}
    made = learned(quality, tmp_path, quality.Settings(reference=["good"]), said.append, **few)
    assert list(made.manifest["files"]) == ["bounds.json"] and len([line for line in said if "too few" in line]) == 2
    assert reasons(
        quality, frame(offer()), {"quality_model": made.local_directory()}, min_quality=1.0, max_removed=1.0, **NAMED
    ) == [None]


def test_the_same_text_gives_the_same_bytes(model, tmp_path):
    settings = quality.Settings(reference=["good"], **SMALL)
    again = learned(quality, tmp_path, settings, good=GOOD, web=POOR).local_directory()
    names = sorted(path.name for path in model.iterdir() if path.name != "manifest.json")
    assert names == ["bounds.json", "ko-0.bin", "ko-1.bin", "spaced-0.bin", "spaced-1.bin"]
    assert all((again / name).read_bytes() == (model / name).read_bytes() for name in names)


def test_no_documents(model):
    assert judged(model).schema == judged(model, english()).schema


def test_as_artifacts_of_a_store(tmp_path):
    """The model depends on its own settings alone; the stage uses it; switched off, neither reads text."""
    store = Store(tmp_path, "r")
    raw, _ = raw_of(store, good=GOOD, web=POOR)

    def make(**settings):
        chosen = quality.Settings(reference=["good"], **SMALL, **settings)
        run = context(store, sources=("good", "web"))
        model = quality.make_model(run, after(raw), chosen)
        stage = quality.STAGE.make(run, after(raw, quality_model=model), chosen)
        return model, stage

    model, stage = make(max_removed=0.25, min_quality=0.5)
    assert model.made and stage.counts["removed"]["low_quality"] > 10
    again, looser = make(max_removed=0.0)
    assert not again.made and again.digest == model.digest and looser.counts["removed"] == {}
    off, kept_all = make(enabled=False)
    assert list(off.manifest["files"]) == ["bounds.json"] and kept_all.counts["kept"] == 240


def test_only_examples_are_learned_from_again(tmp_path):
    """A document that is not kept is no good example: where it changes, no classifier is trained again."""
    good = GOOD.filter(pl.int_range(pl.len()) < 60).with_columns(kept=pl.int_range(pl.len()) > 0, lang=pl.lit("en"))
    poor = POOR.filter(pl.int_range(pl.len()) < 60).with_columns(kept=pl.lit(True), lang=pl.lit("en"))

    def files(texts: pl.DataFrame) -> dict[str, str]:
        settings = quality.Settings(reference=["good"], **SMALL)
        made = learned(quality, tmp_path, settings, good=texts, web=poor)
        return {name: entry["sha256"] for name, entry in made.manifest["files"].items() if name.endswith(".bin")}

    def changed(row: int) -> pl.DataFrame:
        text = pl.when(pl.int_range(pl.len()) == row).then(pl.col("text") + " Nothing else.").otherwise("text")
        return good.with_columns(text.alias("text"))

    first = files(good)
    assert len(first) == 2
    assert files(changed(0)) == first
    again = files(changed(1))
    assert len([name for name in first if again[name] != first[name]]) == 1

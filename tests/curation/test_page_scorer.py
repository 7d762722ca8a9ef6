"""The scorer of English pages: what it removes and keeps, that it is what its file says, and teaching another one."""

import gzip
import json
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.commands import weakest_of
from pipeline.curation.filters import heuristics, page_scorer, quality, teaching
from pipeline.errors import UserError
from pipeline.ingest.bundled import DATASETS
from pipeline.store.store import Store
from pipeline.village.documents import documents as village
from tests.curation.filter_texts import ENGLISH, JAVA, KOREAN, PYTHON, frame, learned, raw_of, shared
from tests.making import after, context

SHOP = "\n".join(
    f"{name} ... ${price}.99\nAdd to cart\n({price} reviews)"
    for name, price in zip(
        ("Garden chair", "Lamp", "Oak table", "Blue rug", "Mirror", "Shelf", "Desk") * 3, range(21), strict=True
    )
)
FORUM = "Re: broken link\nposted by anna...\nQuote | Reply\nthanks...\n12 Jan 2009\nhmm... 404 here\n" * 8


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    made = learned(quality, tmp_path_factory.mktemp("scorer"), quality.Settings(), s=frame(ENGLISH, KOREAN))
    return {"quality_model": made.local_directory()}


def judged(models: dict[str, Path], documents: pl.DataFrame, **settings) -> pl.DataFrame:
    chosen = quality.Settings(**settings)
    signals = quality.signals(documents, chosen, models)
    return signals.hstack(quality.decide(signals, chosen))


def test_lists_of_offers_and_scraps_go_and_prose_stays(models):
    found = judged(models, frame(SHOP, FORUM, ENGLISH * 2, lang="en"))
    assert found["reason"].to_list() == ["poor_page", "poor_page", None]
    assert found["score"].to_list() == pytest.approx(found["page_score"].to_list())
    assert set(found["weakest"]) <= set(page_scorer.FIGURES) and found["quality"].null_count() == 3


def test_other_languages_and_code_are_not_judged(models):
    for texts, lang in (((KOREAN, SHOP), "ko"), ((SHOP,), None), ((SHOP, PYTHON), "code"), ((PYTHON, JAVA), "en")):
        found = judged(models, frame(*texts, lang=lang), min_score=1)
        assert found["keep"].all() and found["page_score"].null_count() == len(texts), lang


def test_a_page_between_two_scripts_is_not_judged(models):
    named = "\n".join(
        f"SELECT {name} FROM table WHERE id = {n}\n조인으로 모은다" for n, name in enumerate(("a", "b", "c") * 4)
    )
    assert judged(models, frame(named, lang="en"), min_score=1)["page_score"].null_count() == 1


def test_no_figure_alone_removes_a_good_page(models):
    """Sums have few words with letters, and quotations many ellipses; neither is a poor page for it."""
    sums = " ".join(
        f"There are {n} plums in the basket and {n + 3} on the table, and {n} + {n + 3} is {2 * n + 3}."
        for n in range(14)
    )
    paused = " ".join(
        f"She waited... and that was the end of it, to be sure, for the {n}th time." for n in ("four", "fif", "six") * 6
    )
    found = judged(models, frame(sums, paused, lang="en"))
    assert found["keep"].all()
    scorer = page_scorer.load(page_scorer.SHIPPED)
    assert np.abs(scorer.standardised(page_scorer.figures_of(pl.Series([sums, paused])))).max() <= scorer.bound


def test_the_village_and_the_speeches_lose_at_most_a_hundredth(models):
    written = [one.text for one in village(1500, languages=("en",), planted=0)]
    speeches = [str(row["text"]) for row in DATASETS["sotu"][0]()]
    for texts in (written, speeches):
        assert (~judged(models, frame(*texts, lang="en"))["keep"]).mean() <= 0.01


def test_the_figures_are_those_of_the_heuristics():
    texts = frame(ENGLISH, SHOP, FORUM, "one ... two…\n- x\n", "", lang="en")
    theirs = heuristics.signals(texts, heuristics.Settings(), {}).rename({"short_lines_30": "short_lines"})
    ours = page_scorer.figures_of(texts["text"])
    for name in page_scorer.FIGURES:
        assert ours[name].to_list() == pytest.approx(theirs[name].to_list()), name


def test_the_shipped_scorer_is_at_its_limit_and_says_what_it_was_taught_on():
    scorer = page_scorer.load(page_scorer.SHIPPED)
    assert quality.Settings().min_score == scorer.min_score
    assert {"on", "licence", "good", "poor", "strength", "cross_validated"} < set(scorer.taught)
    assert page_scorer.as_file(scorer) == page_scorer.SHIPPED.read_text(encoding="utf-8")


def test_the_shipped_scorer_comes_out_of_its_labels():
    labels = teaching.read_labels(shared("quality/dclm_human_labels.jsonl.gz"))
    shipped = page_scorer.load(page_scorer.SHIPPED)
    again = teaching.teach(labels, {key: shipped.taught[key] for key in ("on", "licence")})
    assert again == shipped
    assert again.taught["cross_validated"]["auc"] >= 0.8


def test_the_model_is_the_scorer_and_no_path_is_in_the_fingerprint(tmp_path):
    store = Store(tmp_path / "data", "r")
    raw, _ = raw_of(store, s=frame(ENGLISH, SHOP, lang="en"))

    def make(scorer: str | None):
        chosen = quality.Settings(scorer=scorer)
        model = quality.make_model(context(store), after(raw), chosen)
        return model, quality.STAGE.make(context(store), after(raw, quality_model=model), chosen)

    copy = tmp_path / "own.json"
    copy.write_text(page_scorer.SHIPPED.read_text(encoding="utf-8"), encoding="utf-8")
    (first, decided), (again, decided_again) = make(None), make(str(copy))
    assert list(first.manifest["files"]) == ["scorer.json"]
    assert (first.version, decided.version) == (again.version, decided_again.version)
    milder = json.loads(copy.read_text(encoding="utf-8")) | {"constant": 5.0}
    other = tmp_path / "other.json"
    other.write_text(json.dumps(milder), encoding="utf-8")
    model, decided_otherwise = make(str(other))
    assert decided.counts["removed"] == {"poor_page": 1}
    assert model.version != first.version and decided_otherwise.counts["removed"] == {}


def test_a_setting_of_the_classifier_without_a_reference_is_told(tmp_path):
    said: list[str] = []
    learned(quality, tmp_path, quality.Settings(max_removed=0.5, min_score=0.1), said.append, s=frame(ENGLISH))
    assert [line for line in said if "no effect" in line] == [
        "`curation.quality.max_removed` has no effect without `reference`: set `min_score`, or name a reference"
    ]


def test_a_removal_names_the_figure_that_weighs_most():
    row = {"reason": "poor_page", "weakest": "newlines", "newlines": 0.3125}
    assert weakest_of(row) == "; most of all: newlines 0.312"
    assert weakest_of({**row, "reason": None}) == "" and weakest_of({"reason": "gopher_short"}) == ""


# -- teaching ----------------------------------------------------------------------------------------------------------


def pages(count: int) -> pl.DataFrame:
    draw = random.Random(2)
    words = ENGLISH.split()
    good = [" ".join(draw.choices(words, k=200)) + "." for _ in range(count)]
    poor = ["\n".join(" ".join(draw.choices(words, k=3)) for _ in range(60)) for _ in range(count)]
    return pl.DataFrame({"text": good + poor, "label": [1] * count + [0] * count})


def test_regression_finds_the_minimum_of_its_loss():
    draw = np.random.default_rng(1)
    given, good = draw.normal(size=(200, 3)), draw.random(200) < 0.6
    constant, weights = teaching.fit(given, good, 0.1)

    def loss(c: float, w: np.ndarray) -> float:
        odds = given @ w + c
        return float(0.1 * np.logaddexp(0, np.where(good, -odds, odds)).sum() + w @ w / 2)

    least = loss(constant, weights)
    for step in 0.01 * draw.normal(size=(50, 4)):
        assert loss(constant + step[0], weights + step[1:]) > least


def test_the_area_is_the_share_of_pairs_in_order():
    draw = np.random.default_rng(3)
    scores, good = draw.integers(0, 9, 60).astype(float), draw.random(60) < 0.5
    pairs = [(a > b) + (a == b) / 2 for a in scores[good] for b in scores[~good]]
    assert teaching.area_under_curve(scores, good) == pytest.approx(np.mean(pairs))


def test_labels_that_say_nothing_are_not_learned():
    """Judged on pages that it has not seen: with labels drawn by lot, the area is a half."""
    draw = np.random.default_rng(5)
    found = teaching.cross_validated(draw.normal(size=(160, 6)), draw.random(160) < 0.5, 0.02, rounds=4)
    assert abs(found["auc"] - 0.5) < 0.12


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "csv", "parquet"])
def test_a_scorer_of_ones_own_labels(kind, tmp_path):
    file, out = tmp_path / f"labels.{kind}", tmp_path / "own.json"
    if kind == "parquet":
        pages(45).write_parquet(file)
    elif kind == "csv":
        pages(45).with_columns(
            pl.when(pl.col("label") == 1).then(pl.lit("good")).otherwise(pl.lit("poor")).alias("label")
        ).write_csv(file)
    else:
        file.write_bytes((gzip.compress if kind.endswith("gz") else bytes)(pages(45).write_ndjson().encode()))
    done = CliRunner().invoke(main, ["quality", "teach", "--labels", str(file), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "45 good and 45 poor pages" in done.output and f"scorer: {out}, min_score:" in done.output
    scorer = page_scorer.load(out)
    assert scorer.taught["on"] == file.name and scorer.taught["cross_validated"]["auc"] > 0.95


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"text": "a"}\n', "no `label`"),
        ('{"text": "a", "label": 2}\n', "1 labels of"),
        ('{"text": "a", "label": 1}\n', "1 good and 0 poor pages: a scorer needs 40 of each"),
        ("no json\n", "cannot be read"),
    ],
)
def test_labels_that_teach_nothing_end_in_a_sentence(content, said, tmp_path):
    file = tmp_path / "labels.jsonl"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        teaching.read_labels(file)


def test_a_file_that_is_no_scorer_is_named(tmp_path):
    file = tmp_path / "own.json"
    for content in ("{}", "[1]", json.dumps({"figures": {}})):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=r"own\.json is not a scorer"):
            page_scorer.load(file)
    with pytest.raises(UserError, match="cannot be read"):
        page_scorer.load(tmp_path / "none.json")

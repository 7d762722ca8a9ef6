"""The page of an artifact: drawn anew when it, or the code that draws it, has changed; its checks run every time.

But for slow ones, which run once on an artifact.
"""

import random
import socket
from pathlib import Path

import polars as pl
import pytest
from dagster import DagsterInstance, materialize

from assets import checks, display, groups
from assets.keys import HOST_TAG, OWNER_TAG, RECIPE_TAG
from pipeline.graph import nodes_of
from pipeline.recipe import load
from pipeline.run import inputs_in_order
from pipeline.store.store import Store

RECIPE = """
name: pages
sources:
  - {{name: texts, kind: files, path: '{folder}/texts/*.txt', content: web, lang: en, license: own}}
curation:
  heuristics: {{enabled: false}}
  perplexity: {{enabled: false}}
  quality: {{enabled: false}}
execution: {{executor: in_process}}
"""
# Up to the duplicates, and nothing after them.
UP_TO = set(inputs_in_order(nodes_of(load()), "duplicate_decisions"))
WORDS = ("the", "of", "and", "to", "in", "is", "it", "was", "for", "on", "are", "as", "with", "his", "they", "at", "be")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A recipe of texts with copies on both sides of the threshold, and a function that materialises its pages."""
    draw = random.Random(1)
    (tmp_path / "texts").mkdir()
    for number in range(12):
        words = [f"{draw.choice(WORDS)} w{draw.randrange(10**6)}" for _ in range(100)]
        for copy, changed in enumerate((0, 3, 10, 18, 24)[: 1 + number % 5]):
            text = words[: 100 - changed] + [f"and other{number * 100 + word}" for word in range(changed)]
            (tmp_path / "texts" / f"{number}-{copy}.txt").write_text(
                "\n".join(" ".join(text[k : k + 8]) for k in range(0, 100, 8))
            )
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(folder=tmp_path))
    monkeypatch.setenv("SLM_RECIPE", str(tmp_path / "recipe.yaml"))
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SLM_TRACKING", "off")
    wanted = [asset for asset in groups.assets_of(load()) if asset.key.to_user_string() in UP_TO]
    with DagsterInstance.ephemeral() as instance:

        def run(success: bool = True):
            result = materialize(wanted, instance=instance, raise_on_error=False)
            checks = {of.check_name: of for of in result.get_asset_check_evaluations()}
            check = checks["removals_are_just"]
            (event,) = result.asset_materializations_for_node("duplicate_decisions")
            assert check.passed == success
            return event.metadata, check

        yield run, Store(tmp_path / "data", "pages")


def test_the_page_of_duplicates_shows_clusters_similarities_and_both_sides_of_the_threshold(site):
    page, _ = site[0]()
    sizes = {row.data["documents"]: row.data["clusters"] for row in page["clusters by size"].records}
    assert sum(sizes.values()) > 3 and max(sizes) >= 3
    assert page["verified similarity of compared pairs"].value.startswith("![picture](data:image/png;base64,")
    for side, beyond in (("just below the threshold", float.__lt__), ("just at or above it", float.__ge__)):
        first = page[side].value.splitlines()
        assert beyond(float(first[0]), 0.8) and abs(float(first[0]) - 0.8) < 0.1
        assert first[1] == "```diff" and len(first[2].removeprefix("--- ")) == 12  # the beginning of an id
        assert any("other" in line for line in first)


def test_a_page_begins_with_a_sentence_and_pictures_and_ends_with_what_identifies_it(site):
    page, _ = site[0]()
    names = [name for name in page if not name.startswith("dagster/")]
    assert names[:3] == [display.REPORT, display.SHORT, display.PICTURE]
    assert page[display.REPORT].value.endswith("/pages")
    assert "documents of 1 source stay" in page[display.SHORT].value and "near_duplicate" in page[display.SHORT].value
    samples = [name for name in names if name.startswith("sample")]
    assert samples and names[3 : 3 + len(samples)] == samples
    assert next(iter(page[samples[0]].records[0].data)) == "text", "what a person wants to see of a sample"
    pictures = [name for name in names[3:] if display.is_picture(page[name])]
    assert pictures and pictures[0] != display.PICTURE, "the large ones stand behind the tables"
    assert names[-len(display.IDENTITY) :] == list(display.IDENTITY) and page["recipe"].value == "pages"


def test_every_run_says_of_which_recipe_and_whose_it_is(site, monkeypatch):
    run, _ = site
    monkeypatch.setenv("SLM_OWNER", "ara")
    seen = []
    add = DagsterInstance.add_run_tags
    monkeypatch.setattr(
        DagsterInstance, "add_run_tags", lambda self, *given: seen.append(given[1]) or add(self, *given)
    )
    run()
    assert {RECIPE_TAG: "pages", OWNER_TAG: "ara", HOST_TAG: socket.gethostname()} in seen


def test_a_page_is_drawn_again_when_the_code_that_draws_it_changed(site, monkeypatch):
    run, _ = site
    drawn = []
    of_decisions = display.of_decisions
    monkeypatch.setattr(display, "of_decisions", lambda *given: drawn.append(1) or of_decisions(*given))
    first, _ = run()
    once = len(drawn)
    same, _ = run()
    assert len(drawn) == once  # an artifact that stayed: its metadata is reported again
    assert same["state"].value.startswith("up to date") and same["removed by reason"] == first["removed by reason"]
    monkeypatch.setattr(display, "code_digest", lambda: "other")
    again, _ = run()
    assert len(drawn) == 2 * once and again["drawn by"].value == "other"


def test_a_slow_check_runs_once_on_the_same_artifact(site, tmp_path):
    run, _ = site
    asked = []
    real = checks.ADDS_UP.test
    counting = {"slow": True, "test": lambda project, artifact: asked.append(artifact.asset) or real(project, artifact)}
    before = {name: getattr(checks.ADDS_UP, name) for name in counting}
    try:
        for name, value in counting.items():
            object.__setattr__(checks.ADDS_UP, name, value)
        run()
        assert asked.count("duplicate_decisions") == 1
        run()
        assert asked.count("duplicate_decisions") == 1
        (tmp_path / "texts" / "new.txt").write_text("a text of a few words more\n" * 20)
        run()
        assert asked.count("duplicate_decisions") == 2
    finally:
        for name, value in before.items():
            object.__setattr__(checks.ADDS_UP, name, value)


def test_removals_are_checked_in_every_run(site, monkeypatch):
    run, store = site
    monkeypatch.setenv("SLM_CHECK", "off")  # else the changed table is refused before anything looks at its rows
    run()
    run()
    made = store.require("duplicate_decisions")
    fragment = next(name for name in made.fragments if made.entry(name)["facts"]["removed"])
    table = pl.read_parquet(made.table(fragment))
    stays = table.filter("keep")["doc_id"][0]
    here = pl.col("reason") == "near_duplicate"
    made.table(fragment).unlink()
    table.with_columns(kept_id=pl.when(here).then(pl.lit(stays)).otherwise("kept_id")).write_parquet(
        made.table(fragment)
    )
    _, check = run(success=False)
    assert "removals are not just" in check.description and "was removed for" in check.description

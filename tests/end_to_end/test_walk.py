"""A walk through the running UI by clicks, in headless Chromium: overview, a job's runs, the graph, an asset with a
picture, a run that trains, two trainings compared in MLflow.

It waits for what a page shows, never for a time, and what it waits for stays: it holds however slow the machine is.
It trains models and starts three servers for minutes, so it has a target of its own: `make test-walk`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.conftest import UI, Copy, script

chromium = script("browser")
pytestmark = [
    pytest.mark.skipif("SLM_WALK" not in os.environ, reason="minutes of clicks: `make test-walk` runs it"),
    pytest.mark.skipif(chromium.browser() is None, reason="no Chromium is installed (apt-get install chromium)"),
    pytest.mark.timeout(900),
]
RECIPE, TRAINING = "demo", "demo · pretrained · "
PATIENCE = 240  # seconds, for a machine with much else to do
DRAWN = (
    "[...document.images].filter(one => one.src.startsWith('data:image/svg') && one.naturalWidth && one.offsetWidth)"
)
NEWEST_RUN = (
    "fetch('/graphql', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify("
    "{query: '{ runsOrError(limit: 1) { ... on Runs { results { runId } } } }'})})"
    ".then(answer => answer.json()).then(answer => answer.data.runsOrError.results[0].runId)"
)


@pytest.fixture(scope="module")
def page(ui: UI) -> Iterator[Any]:
    with chromium.tab(f"{ui.dagster}/overview", 1700, 1100) as opened:
        opened.size(1700, 1100)
        yield opened


@pytest.fixture
def retrained(checkout: Copy) -> Iterator[str]:
    """A model that the recipe has changed since it was trained."""
    recipe = checkout.folder / "recipes" / "demo.yaml"
    before = recipe.read_text()
    recipe.write_text(before.replace("learning_rate: 3.0e-3", "learning_rate: 1.0e-3"))
    yield "pretrained_model"
    recipe.write_text(before)


def shows(page: Any, *texts: str, also: str = "true") -> None:
    """Wait until the page shows all texts, and an expression is true."""
    found = [f"document.body.innerText.includes({json.dumps(text)})" for text in texts]
    page.wait(" && ".join(["document.body", *found, f"({also})"]), PATIENCE)


def go(page: Any, address: str) -> None:
    page.ask("Page.navigate", url=address)


def test_a_run_of_the_terminal_is_under_overview_and_its_job(page: Any) -> None:
    shows(page, "pretrain_job")
    page.click_text("pretrain_job", seconds=PATIENCE)
    shows(page, "Latest run", also="location.pathname.endsWith('/jobs/pretrain_job')")
    page.click_text("Runs", "[role=tab], [role=tablist] a", seconds=PATIENCE)
    shows(page, "Success", f"slm/recipe: {RECIPE}", also="location.pathname.endsWith('/runs')")
    assert "slm_process" not in page.value("document.body.innerText")


def test_the_graph_opens_by_a_click_on_a_group(page: Any) -> None:
    page.click_text("Lineage", seconds=PATIENCE)
    groups = "[...document.querySelectorAll('[class*=collapsedGroupNodeBox]')]"
    group = f"{groups}.find(one => one.innerText.includes('curation'))"
    chromium.wait(lambda: page.click_on(group), "the group `curation`", PATIENCE)
    shows(
        page, also="location.href.includes('expanded') && /quality|duplicate|heuristic/.test(document.body.innerText)"
    )


def test_an_asset_shows_a_picture_without_a_click_on_it(page: Any, ui: UI) -> None:
    go(page, f"{ui.dagster}/assets/pretrained_model")
    shows(page, "Everything on one page: the report", f"slm/recipe: {RECIPE}")
    page.click_text("Events", seconds=PATIENCE)
    shows(page, "in short", "tokens learned from", "made of", also=f"{DRAWN}.length > 0")
    text = page.value("document.body.innerText")
    assert text.index("in short") < text.index("perplexity") < text.index("made of"), "what identifies it comes last"


def test_a_run_that_a_click_starts_trains(page: Any, ui: UI, retrained: str) -> None:
    events = f"{ui.dagster}/assets/{retrained}?view=events"
    go(page, events)
    shows(page, "Materialized in run")
    before = page.value(NEWEST_RUN)
    page.click_text("Materialize", seconds=PATIENCE)
    page.wait(f"{NEWEST_RUN}.then(one => one !== {json.dumps(before)})", PATIENCE)
    run = page.value(NEWEST_RUN)
    go(page, f"{ui.dagster}/runs/{run}")
    shows(page, "Success", retrained)
    go(page, events)
    shows(page, f"Materialized in run {run[:8]}", "in short", also=f"{DRAWN}.length > 0")


def test_two_trainings_are_compared_in_mlflow(page: Any, ui: UI) -> None:
    found = re.search(r"MLflow: +(\S+)", ui.printed)
    assert found is not None and found[1].startswith(ui.mlflow)
    go(page, found[1])  # as it was printed
    shows(page, "curves/loss", f"{RECIPE} · pretrained")  # the first of its charts
    go(page, found[1].replace("&compareRunsMode=CHART", ""))
    rows = f"[...document.querySelectorAll('[role=row]')].filter(row => row.innerText.includes('{TRAINING}'))"
    boxes = f"{rows}.map(row => row.querySelector('input[aria-label^=\"Press Space to toggle\"]')).filter(Boolean)"
    page.wait(f"{boxes}.length > 1", PATIENCE)
    for number in (0, 1):
        page.click_on(f"{boxes}[{number}]")
        page.wait(f"{boxes}.filter(one => one.checked).length === {number + 1}", PATIENCE)
    page.click_text("Compare", seconds=PATIENCE)
    shows(page, "Comparing 2 Runs", "Show diff only", "learning_rate", "train/loss")

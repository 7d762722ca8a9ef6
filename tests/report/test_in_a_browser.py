"""The report in headless Chromium: legible on a phone, on a screen and in print, and it runs and fetches nothing."""

import base64
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import browser

from pipeline.report import report

pytestmark = [
    pytest.mark.skipif(browser.browser() is None, reason="no Chromium is installed (apt-get install chromium)"),
    pytest.mark.timeout(600),
]
WIDE, PHONE = 1200, 390


@pytest.fixture(scope="module")
def opened(project) -> Iterator[browser.Tab]:
    made = project.make(report.ASSET)
    with browser.tab(made.file(report.FILE).as_uri(), WIDE, 900) as tab:
        tab.ask("Network.enable")
        tab.wait("!!document.querySelector('#versions') && document.readyState === 'complete'", 240)
        yield tab


def test_the_page_is_as_wide_as_the_screen_and_no_wider(opened: browser.Tab) -> None:
    for width in (WIDE, PHONE):
        opened.size(width, 900, phone=width == PHONE)
        assert opened.value("document.documentElement.scrollWidth") <= width
        size = opened.value("parseFloat(getComputedStyle(document.querySelector('blockquote')).fontSize)")
        assert size >= 13, "legible without zooming"
        narrow = "[...document.querySelectorAll('td:first-child')].every(cell => cell.clientWidth > 40)"
        assert opened.value(narrow), "words are not broken into letters"


def test_drawings_are_drawn_and_fill_their_place(opened: browser.Tab) -> None:
    opened.size(PHONE, 900, phone=True)
    boxes = opened.value(
        "[...document.querySelectorAll('figure svg')].map(one => { const box = one.getBoundingClientRect();"
        " return [box.width, box.height, one.querySelectorAll('path, use').length]; })"
    )
    assert boxes and all(width > 250 and height > 100 and shapes > 5 for width, height, shapes in boxes)


def test_nothing_is_fetched_and_nothing_runs(opened: browser.Tab) -> None:
    assert opened.value("performance.getEntriesByType('resource').length") == 0
    tried = "(() => { const one = document.createElement('script'); one.textContent = 'window.ran = 1';"
    assert opened.value(f"{tried} document.body.append(one); return window.ran || 0; }})()") == 0, (
        "the policy forbids it"
    )


def test_it_prints_on_pages_of_paper(opened: browser.Tab) -> None:
    paper = base64.b64decode(opened.ask("Page.printToPDF", printBackground=True)["data"])
    assert paper.startswith(b"%PDF") and paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") > 1

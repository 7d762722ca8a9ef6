"""The page of two models' answers, judged by clicks in headless Chromium."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.evaluation.open_questions import page
from pipeline.evaluation.open_questions.asking import Answered, OpenQuestion
from scripts.browser import Tab, browser, tab, wait

pytest.importorskip("websockets")
pytestmark = pytest.mark.skipif(browser() is None, reason="no Chromium is installed")

EVIL = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>"
ANSWERED = [
    Answered(
        OpenQuestion("81", "writing", ("Write a line.", "다시 한 줄.")), {"a": ["one", "하나"], "b": ["two", "둘"]}
    ),
    Answered(OpenQuestion("82", "math", ("1 + 1?",)), {"a": [EVIL], "b": ["2"]}),
    Answered(OpenQuestion("83", "", ("Who?",)), {"a": ["me"], "b": ["you"]}),
]
JUDGED = "document.getElementById('done')?.textContent"


def button(section: int, number: int) -> str:
    return f"section:nth-of-type({section}) button:nth-of-type({number})"


def saved(open_tab: Tab, folder: Path) -> list[dict]:
    """What the button saves."""
    open_tab.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    open_tab.click("#save")
    wait(lambda: (folder / "pairs.jsonl").exists(), "pairs.jsonl", 20)
    return [json.loads(line) for line in (folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_person_judges_by_clicks_and_saves_preference_data(tmp_path: Path):
    page.write(ANSWERED, tmp_path)
    with tab((tmp_path / "page.html").as_uri()) as opened:
        opened.wait(f"{JUDGED} === '0 of 3 judged'")
        assert opened.value("window.broken") is None and opened.value("document.images.length") == 0
        assert opened.value("[...document.querySelectorAll('.names')].every(line => line.offsetHeight === 0)")
        opened.click(button(1, 1))  # the left one
        opened.click(button(2, 2))  # neither
        opened.click(button(3, 3))  # the right one
        opened.click(button(3, 3))  # taken back
        assert opened.value(JUDGED) == "2 of 3 judged"
        opened.ask("Page.reload")
        opened.wait(f"document.readyState === 'complete' && {JUDGED} === '2 of 3 judged'")
        assert opened.value(f"document.querySelector('{button(1, 1)}').ariaPressed") == "true"
        (row,) = saved(opened, tmp_path)
        left, right = ANSWERED[0].order
        assert (row["model"], row["against"], row["id"]) == (left, right, "81")
        assert row["chosen"] == [{"role": "assistant", "content": ANSWERED[0].answers[left][1]}]
        assert [turn["content"] for turn in row["prompt"]] == [
            "Write a line.",
            ANSWERED[0].answers[left][0],
            "다시 한 줄.",
        ]
        opened.click("#names")
        assert opened.value("document.querySelector('.names').textContent") == f"left: {left}, right: {right}"
        opened.size(380, 700, phone=True)
        tops = "[...document.querySelectorAll('.two')[0].children].map(one => one.getBoundingClientRect().top)"
        assert len(set(opened.value(tops))) == 2, "on a phone the answers stand below each other"
        assert opened.value("document.documentElement.scrollWidth") <= 380

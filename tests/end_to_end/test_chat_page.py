"""The page on which one talks to a model, in a browser: by clicks, by keys alone, and on a phone.

Pictures go to SLM_PICTURES where that is set.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

import model.serve.engine
from model.batch import Batch
from model.serve.judgements import Judgements
from model.serve.keys import Keys, digest_of
from model.serve.limits import Limits, Turns
from model.serve.text import open_directory
from tests.model.serving import served
from tests.model.test_grounding import ANSWER as GROUNDED
from tests.model.test_grounding import QUESTION, look, taught  # noqa: F401  the fixture
from tests.model.test_serve import ANSWER, directory  # noqa: F401  the fixture

ROOT = Path(__file__).resolve().parents[2]


def _browser() -> ModuleType:
    spec = importlib.util.spec_from_file_location("browser", ROOT / "scripts" / "browser.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["browser"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


browser = _browser()
pytestmark = [
    pytest.mark.skipif(browser.browser() is None, reason="no Chromium is installed (apt-get install chromium)"),
    pytest.mark.timeout(300),
]
ANSWERS = "[...document.querySelectorAll('.said')].map(one => one.innerText)"
DONE = "!document.querySelector('.busy') && document.getElementById('stop').hidden"


@pytest.fixture
def pace() -> dict[str, float]:
    """Seconds a token. A test that acts during an answer makes it so slow that it cannot end before."""
    return {"seconds": 0.01}


@pytest.fixture
def page(directory, tmp_path, monkeypatch, pace) -> Iterator:  # noqa: F811
    """The page of three models: one that was taught an answer, one that never ends, one that only continues text."""

    class Slow(Batch):
        def advance(self) -> None:
            time.sleep(pace["seconds"])
            super().advance()

    monkeypatch.setattr(model.serve.engine, "Batch", Slow)
    endless = open_directory(directory)
    endless.stop_ids = frozenset()
    models = {"taught": open_directory(directory), "endless": endless, "text": open_directory(directory, answers=False)}
    with opened(models, judgements=Judgements(tmp_path / "said")) as tab:
        tab.wait("document.body?.dataset.ready")
        prepare(tab)
        yield tab


@contextmanager
def opened(models, **given) -> Iterator:
    """A browser on the page of a server of the models."""
    with served(models, Turns(Limits()), **given) as port, browser.tab(f"http://127.0.0.1:{port}/") as tab:
        yield tab


def prepare(tab) -> None:
    """In English and with greedy answers, then loaded again."""
    tab.value("localStorage.setItem('slm.settings', JSON.stringify({temperature: 0}))")
    tab.value("localStorage.setItem('slm.language', '\"en\"')")
    reload(tab)


def reload(tab) -> None:
    tab.value("document.body.dataset.ready = ''")
    tab.ask("Page.reload")
    tab.wait("document.body?.dataset.ready")


def ask(page, text: str, wait: bool = True) -> None:
    page.click("#prompt")
    page.write(text)
    page.click("#send")
    if wait:
        page.wait(DONE)


def choose(page, place: str, name: str) -> None:
    page.value(f"(() => {{ const of = document.getElementById('{place}'); of.value = '{name}'; of.onchange(); }})()")


def rows(folder: Path, name: str) -> list[dict]:
    path = folder / "said" / name
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def keep_picture(page, name: str) -> None:
    if folder := os.environ.get("SLM_PICTURES"):
        page.picture(Path(folder) / f"{name}.png")


def test_a_conversation_by_clicks(page, tmp_path) -> None:
    ask(page, "안녕")
    assert page.value(ANSWERS) == [ANSWER]
    keep_picture(page, "chat_answered")
    page.click(".acts [aria-label='Good answer']")
    page.wait("document.querySelector('[aria-label=\"Good answer\"]').getAttribute('aria-pressed') === 'true'")
    browser.wait(lambda: bool(rows(tmp_path, "thumbs.jsonl")), "row")
    (row,) = rows(tmp_path, "thumbs.jsonl")
    assert (row["label"], row["completion"][0]["content"], row["model"]) == (True, ANSWER, "taught")
    # Kept in the browser: it is there after a reload, with its judgement.
    reload(page)
    page.click("#list li button")
    assert page.value(ANSWERS) == [ANSWER]
    assert page.value("document.querySelectorAll('[aria-pressed=true]').length") == 1


def test_an_answer_is_stopped_and_answered_again(page, pace) -> None:
    pace["seconds"] = 0.5
    choose(page, "first", "endless")
    ask(page, "안녕", wait=False)
    page.wait(f"{ANSWERS}[0].length > 3")
    page.click("#stop")
    page.wait(DONE)
    assert "stopped" in page.value("document.querySelector('.acts').innerText")
    page.value("[...document.querySelectorAll('.acts button')].find(one => one.innerText === 'Regenerate').click()")
    page.wait(f"document.querySelector('.acts').innerText.includes('2/2') || {ANSWERS}[0].length > 3")
    page.press("Escape")
    page.wait(DONE)
    assert "2/2" in page.value("document.querySelector('.acts').innerText")
    page.click("[aria-label='Previous answer']")
    assert "1/2" in page.value("document.querySelector('.acts').innerText")


def test_two_models_side_by_side_and_the_better_answer(page, tmp_path) -> None:
    choose(page, "second", "endless")
    page.value("document.getElementById('max_tokens').value = 40, document.getElementById('max_tokens').onchange()")
    ask(page, "안녕")
    first, second = page.value(ANSWERS)
    assert first != second and page.value("document.querySelectorAll('.columns > .answer').length") == 2
    keep_picture(page, "chat_beside")
    page.value("[...document.querySelectorAll('.acts button')].find(one => one.innerText.includes('better')).click()")
    browser.wait(lambda: bool(rows(tmp_path, "pairs.jsonl")), "pair")
    (pair,) = rows(tmp_path, "pairs.jsonl")
    assert (pair["model"], pair["against"]) == ("taught", "endless")
    assert pair["prompt"] == [{"role": "user", "content": "안녕"}]
    assert [pair["chosen"][0]["content"], pair["rejected"][0]["content"]] == [first, second]


def test_keys_alone_are_enough(page) -> None:
    assert page.value("document.activeElement.id") == "prompt"
    page.write("안녕")
    page.press("Enter", browser.SHIFT)
    assert page.value("document.getElementById('prompt').value") == "안녕\n", "a new line, and nothing is sent"
    page.press("Enter")
    page.wait(DONE)
    assert page.value(ANSWERS) == [ANSWER]
    page.press("r", browser.ALT)
    page.wait(f"{DONE} && document.querySelector('.acts').innerText.includes('2/2')")
    page.press("n", browser.ALT)
    assert page.value(ANSWERS) == [] and page.value("document.activeElement.id") == "prompt"
    reached = set()
    for _ in range(25):
        page.press("Tab")
        reached.add(page.value("document.activeElement.id || document.activeElement.textContent"))
    assert {"first", "second", "settings-button", "new", "language", "turns"} <= reached


def test_enter_while_a_syllable_is_composed_sends_nothing(page) -> None:
    page.click("#prompt")
    page.ask("Input.imeSetComposition", text="녕", selectionStart=1, selectionEnd=1)
    page.value(
        "document.getElementById('prompt').dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))"
    )
    assert page.value(ANSWERS) == []


def test_a_model_that_was_only_pretrained_continues_text(page) -> None:
    choose(page, "first", "text")
    assert page.value("document.querySelector('input[value=text]').checked")
    ask(page, "가나다")
    assert page.value(ANSWERS)[0] == "가나다라마바사"
    page.value("[...document.querySelectorAll('.acts button')].find(one => one.innerText === 'Continue').click()")
    page.wait(f"{ANSWERS}.length === 2 && {DONE}")
    assert page.value(ANSWERS)[1].startswith("가나다라마바사")


def test_korean_and_a_phone(page) -> None:
    page.click("#language")
    assert page.value("document.getElementById('send').innerText") == "보내기"
    assert page.value("document.documentElement.lang") == "ko"
    page.size(390, 844, phone=True)
    ask(page, "안녕")
    assert page.value(ANSWERS) == [ANSWER]
    assert page.value("document.documentElement.scrollWidth") <= 390, "nothing is cut off at the side"
    page.click("#menu")
    page.wait("document.body.classList.contains('side')")
    assert page.value("document.getElementById('list').innerText").startswith("안녕")
    page.press("Escape")
    keep_picture(page, "chat_phone")


def test_what_a_model_writes_is_text_and_not_html(page) -> None:
    page.value(
        "localStorage.setItem('slm.conversations', JSON.stringify([{id: 'x', mode: 'chat', system: '', turns: [{"
        " prompt: '<img src=x onerror=alert(1)>', columns: [{model: 'taught', shown: 0, choices: [{id: 'y',"
        " finish: 'stop', text: 'see\\n```python\\n<b>x</b>\\n```\\n<script>1</script>'}]}]}]}]))"
    )
    reload(page)
    page.click("#list li button")
    assert page.value("document.querySelectorAll('#turns img, #turns b, #turns script').length") == 0
    assert page.value("document.querySelector('#turns pre').innerText") == "<b>x</b>"


def test_an_error_of_the_server_is_shown_as_its_sentence(page) -> None:
    ask(page, "가" * 200)
    assert "context" in page.value("document.querySelector('.problem').innerText")


def test_a_key_is_asked_for_where_the_server_wants_one(directory) -> None:  # noqa: F811
    keys = Keys({"ana": digest_of("k" * 20)})
    with opened({"taught": open_directory(directory)}, keys=keys) as page:
        page.wait("document.getElementById('key')?.open")
        page.click("#key-value")
        page.write("k" * 20)
        page.press("Enter")
        page.wait("document.body.dataset.ready")
        prepare(page)
        ask(page, "안녕")
        assert page.value(ANSWERS) == [ANSWER]


def test_an_answer_shows_where_it_comes_from(directory) -> None:  # noqa: F811
    def trace(text: str, least: int, documents: int) -> dict:
        """The end of the text stands in a document that holds what looks like HTML."""
        document = {
            "kind": "document", "source": "notes", "id": "7.txt", "doc_id": "ab", "licence": "own", "url": None,
            "before": "<b>before</b> ", "passage": text[2:], "after": " after",
            "steps": {"of": "pretrained_model", "steps": [3, 1200], "last": 2000},
        }  # fmt: skip
        passage = {"start": 2, "end": len(text), "text": text[2:], "tokens": 7, "count": 3, "documents": [document]}
        nowhere = [{"start": 0, "end": 2, "text": text[:2]}]
        return {"text": text, "least": least, "share": 0.75, "passages": [passage], "nowhere": nowhere}

    models = {"taught": open_directory(directory), "other": open_directory(directory)}
    with opened(models, traces={"taught": trace}) as page:
        page.wait("document.body?.dataset.ready")
        prepare(page)
        ask(page, "안녕")
        page.value(
            "[...document.querySelectorAll('.acts button')].find(one => one.innerText === 'Where from?').click()"
        )
        page.wait("!!document.querySelector('.traced')")
        said = page.value("document.querySelector('.traced').innerText")
        assert "75 % of it stands in passages of at least 6 tokens" in said and "found 3 times" in said
        assert page.value("document.querySelector('.traced .passages').innerText") == ANSWER
        assert page.value("document.querySelector('.traced .passages mark').innerText") == ANSWER[2:]
        page.value("document.querySelector('.traced details').open = true")
        quoted = page.value("document.querySelector('.traced blockquote').innerText")
        assert "<b>before</b>" in quoted and "notes: 7.txt · own" in quoted
        assert "Learned at steps 3, 1,200 of 2,000 of pretrained_model." in quoted
        keep_picture(page, "chat_traced")
        page.value(
            "[...document.querySelectorAll('.acts button')].find(one => one.innerText === 'Where from?').click()"
        )
        page.wait("!document.querySelector('.traced')")
        choose(page, "first", "other")
        ask(page, "안녕")
        labels = page.value("[...document.querySelectorAll('.acts')].map(one => one.innerText)")
        assert "Where from?" in labels[0] and "Where from?" not in labels[1]


def test_an_answer_from_documents_shows_its_sources_and_marks_what_is_taken_from_them(taught) -> None:  # noqa: F811
    with opened({"taught": taught}, look=look) as page:
        page.wait("document.body?.dataset.ready")
        prepare(page)
        assert page.value("document.getElementById('grounded').checked")
        ask(page, QUESTION)
        assert page.value("document.querySelector('.said').textContent") == f"{GROUNDED}[1]"
        shown = "[...document.querySelectorAll('.sources summary')].map(one => one.innerText)"
        assert page.value(shown) == ["[1] market.txt", "[2] harbour.txt"]
        assert page.value("document.querySelectorAll('.sources a[rel=noreferrer]').length") == 1, "the one with a url"
        page.click(".sources summary")
        page.wait("document.querySelector('.sources details').open")
        assert "Boram sells apples" in page.value("document.querySelector('.sources blockquote').innerText")
        keep_picture(page, "chat_sources")
        reload(page)
        page.click("#list li button")
        assert len(page.value(shown)) == 2, "kept with the conversation"
        ask(page, "누가 그렸나요?")
        assert page.value(ANSWERS)[-1] == "문서에 없는 내용입니다."
        page.click("#grounded")
        ask(page, QUESTION)
        assert page.value("document.querySelector('article:last-child .sources')") is None
        page.size(390, 844, phone=True)
        assert page.value("document.documentElement.scrollWidth") <= 390

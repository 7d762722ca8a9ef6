"""The page of `slm annotate serve`: what it answers, and judging by keys alone in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from model.serve.limits import Limits, Turns
from pipeline.annotation import page, tasks
from tests.annotation.test_annotation import MODELS, asked, pairs
from tests.model.serving import listening_to


@pytest.fixture
def folder(tmp_path) -> Path:
    tasks.write_tasks(tmp_path, pairs(6))
    return tmp_path


def desk(folder: Path, who: str = "mina") -> page.Desk:
    return page.Desk(folder, tasks.judge_id(folder, who))


def client(at: page.Desk) -> TestClient:
    return TestClient(page.application(at, Turns(Limits())))


def test_a_side_is_the_answer_that_stood_there(folder):
    for who in ("mina", "juno", "hana"):
        at = desk(folder, who)
        asking = client(at)
        for name in asking.get("/tasks").json()["tasks"]:
            left = asking.get(f"/tasks/{name}").json()["texts"][0]
            assert asking.post("/judgements", json={"task": name, "said": "left"}).status_code == 200
            verdict = next(one for one in tasks.read_judgements(folder) if (one.task, one.judge) == (name, at.judge))
            assert at.tasks[name].texts[("first", "second").index(verdict.verdict)] == left
        assert set(asking.get("/tasks").json()["said"].values()) == {"left"}


def test_the_sides_differ_from_person_to_person(tmp_path):
    tasks.write_tasks(tmp_path, pairs(60))
    people = [desk(tmp_path, who) for who in ("mina", "juno")]
    turned = [[at.turned(task) for task in at.tasks.values()] for at in people]
    assert turned[0] != turned[1] and all(15 < sum(one) < 45 for one in turned)


def test_a_judgement_is_taken_back_and_changed(folder):
    asking = client(desk(folder))
    name = asking.get("/tasks").json()["tasks"][0]
    for said, kept in (("left", 1), ("tie", 1), (None, 0)):
        asking.post("/judgements", json={"task": name, "said": said})
        assert len(tasks.read_judgements(folder)) == kept


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ({"task": "0" * 32, "said": "left"}, {}, 404),
        ({"task": None, "said": "good"}, {}, 400),  # a pair is no single answer
        ({"task": None, "said": "perhaps"}, {}, 400),
        ({"task": None, "said": "left", "model": "x"}, {}, 400),
        ({"task": None, "said": "left"}, {"Origin": "http://elsewhere.example"}, 403),
        ({"task": None, "said": "left"}, {"Host": "elsewhere.example"}, 400),
    ],
)
def test_nothing_else_is_taken_for_a_judgement(folder, body, headers, status):
    asking = client(desk(folder))
    body["task"] = body["task"] or asking.get("/tasks").json()["tasks"][0]
    answer = asking.post("/judgements", json=body, headers=headers)
    assert answer.status_code == status
    assert tasks.read_judgements(folder) == []


def test_what_the_page_is_told_holds_no_model(folder):
    asking = client(desk(folder))
    told = asking.get("/tasks").text + "".join(asking.get(f"/tasks/{task.task}").text for task in pairs(6))
    assert "one 3" in told and not any(model in told for model in MODELS)


# -- in a browser ------------------------------------------------------------------------------------------------------


@contextmanager
def served(at: page.Desk) -> Iterator[int]:
    turns = Turns(Limits())
    with listening_to(page.application(at, turns), turns) as port:
        yield port


def test_a_person_judges_by_keys_alone_stops_and_goes_on(folder):
    from tests.end_to_end.test_chat_page import browser, keep_picture

    if browser.browser() is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    single = tasks.single(asked(9), "<img src=x onerror=alert(1)> said", MODELS[0], "ko")
    assert single is not None
    tasks.write_tasks(folder, [*pairs(5), single])
    at = desk(folder)
    ready, idle = "document.body?.dataset.ready", "!document.body.dataset.busy"
    place, question = "document.getElementById('place').innerText", "document.getElementById('question').innerText"
    with served(at) as port, browser.tab(f"http://127.0.0.1:{port}/") as tab:
        tab.wait(ready)
        tab.value("localStorage.setItem('slm.judge.language', 'en')")

        def reload() -> None:
            tab.value("document.body.dataset.ready = ''")
            tab.ask("Page.reload")
            tab.wait(ready)

        def press(key: str) -> None:
            tab.press(key)
            tab.wait(idle)

        reload()
        assert tab.value(place) == "0 of 6 judged"
        keep_picture(tab, "judging")
        for key in ("ArrowLeft", "2", "ArrowLeft"):
            press(key)
        assert tab.value(place) == "3 of 6 judged"
        reload()  # as if closed and opened again
        assert tab.value(place) == "3 of 6 judged" and len(at.said()) == 3
        press(" ")  # later
        assert len(at.said()) == 3
        press("Backspace")
        press("Backspace")
        assert "judged" in tab.value(place) and tab.value("document.querySelectorAll('.chosen').length") in (0, 1)
        press("ArrowRight")  # another mind on the third
        for _ in range(3):
            press("ArrowRight")
        assert tab.value(question).startswith("All is judged")
        assert tab.value("document.querySelectorAll('img').length") == 0
        said = at.said()
        listed = list(at.tasks)
        assert len(said) == 6 and [said[name] for name in listed[2:]] == [
            "bad" if at.tasks[name].kind == "answer" else "right" for name in listed[2:]
        ]
        tab.click("#language")
        assert "판단함" in tab.value(place)

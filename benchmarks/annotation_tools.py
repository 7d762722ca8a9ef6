"""A round trip through Label Studio and doccano themselves: tasks go in, choices are made, their export comes back.

    label-studio start --no-browser --port 8181 --username a@example.com --password 'Passw0rd-x' --data-dir FOLDER
    doccano init && doccano createuser --username admin --password pass-Word1
    doccano webserver --port 8282 & doccano task
    python -m benchmarks.annotation_tools --label-studio http://127.0.0.1:8181 --doccano http://127.0.0.1:8282

Each server is spoken to by its own API: a project with our labelling configuration, our file imported, a choice made
for every task but the last (which is skipped, or has two labels), and each of its export formats taken in by
`exchange.take_in`. The verdicts that come out have to be the choices that were made.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from pipeline.annotation import exchange, label_studio, tasks
from pipeline.annotation.tasks import VERDICTS

TASKS, SECONDS = 12, 120
MODELS = ("sft_model/aa", "preference_model/bb")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--label-studio", help="its address")
    parser.add_argument("--doccano", help="its address")
    parser.add_argument("--user", nargs=2, default=["a@example.com", "Passw0rd-x"], help="of Label Studio")
    parser.add_argument("--member", nargs=2, default=["admin", "pass-Word1"], help="of doccano")
    return parser


def posed(place: Path) -> tuple[Path, list[str]]:
    """A folder of pairs written for the tools, and the tasks' names in their order."""
    found = [
        tasks.pair([{"role": "user", "content": f'질문 {n}: "x < y" & z?'}], (f"첫째 {n}", f"other\n{n}"), MODELS, "ko")
        for n in range(TASKS)
    ]
    written = tasks.write_tasks(place, [task for task in found if task is not None])
    exchange.write_for_tools(place, written)
    return place, [task.task for task in written]


def chosen(names: list[str]) -> dict[str, str]:
    """What is said of each task but the last."""
    return {name: VERDICTS["pair"][number % 3] for number, name in enumerate(sorted(names)[:-1])}


def taken_in(export: bytes, name: str, wanted: Mapping[str, str]) -> str:
    """Import an export into a new folder of the same tasks; a sentence on what came out. Raises AssertionError."""
    with tempfile.TemporaryDirectory() as place:
        folder, _ = posed(Path(place) / "posed")
        file = Path(place) / name
        file.write_bytes(export)
        taken, left = exchange.take_in(folder, [file])
        verdicts = {one.task: one.verdict for one in tasks.read_judgements(folder)}
        assert verdicts == wanted, (verdicts, wanted)
    return f"{sum(taken.values())} verdicts as made; left out: {left}"


# -- Label Studio ------------------------------------------------------------------------------------------------------


def of_label_studio(address: str, user: list[str]) -> dict[str, str]:
    """Export format -> what came back."""
    with tempfile.TemporaryDirectory() as place, httpx.Client(base_url=address, timeout=60) as client:
        folder, names = posed(Path(place) / "posed")
        wanted = chosen(names)
        sign_in(client, "/user/login/", {"email": user[0], "password": user[1]})
        project = sent(
            client,
            "POST",
            "/api/projects/",
            {"title": "pairs", "label_config": (folder / "label_studio.xml").read_text()},
        )["id"]
        rows = json.loads((folder / "label_studio.json").read_text(encoding="utf-8"))
        sent(client, "POST", f"/api/projects/{project}/import", rows)
        known = until(lambda: sent(client, "GET", f"/api/tasks?project={project}&page_size=100").get("tasks"))
        for one in known:
            name = one["data"][label_studio.TASK]
            verdict = wanted.get(name)
            choice = {"from_name": label_studio.CHOICE, "to_name": "first", "type": "choices",
                      "value": {"choices": [verdict]}}  # fmt: skip
            content = {"result": [choice] if verdict else [], "was_cancelled": verdict is None}
            sent(client, "POST", f"/api/tasks/{one['id']}/annotations/", content)
        return {
            kind: taken_in(fetched(client, f"/api/projects/{project}/export?exportType={kind}"), "export.json", wanted)
            for kind in ("JSON", "JSON_MIN")
        }


# -- doccano -----------------------------------------------------------------------------------------------------------


def of_doccano(address: str, member: list[str]) -> dict[str, str]:
    """The same of doccano."""
    with tempfile.TemporaryDirectory() as place, httpx.Client(base_url=address, timeout=60) as client:
        folder, names = posed(Path(place) / "posed")
        wanted = chosen(names)
        client.post("/v1/auth/login/", json=dict(zip(("username", "password"), member, strict=True))).raise_for_status()
        about = {"name": "pairs", "description": "x", "project_type": "DocumentClassification", "guideline": "",
                 "resourcetype": "TextClassificationProject", "single_class_classification": False}  # fmt: skip
        project = f"/v1/projects/{sent(client, 'POST', '/v1/projects', about)['id']}"
        labels = {"file": ("labels.json", (folder / "doccano_labels.json").read_bytes(), "application/json")}
        client.post(f"{project}/category-type-upload", files=labels, headers=token(client)).raise_for_status()
        numbers = {one["text"]: one["id"] for one in sent(client, "GET", f"{project}/category-types")}
        assert set(numbers) == set(VERDICTS["pair"]), numbers
        upload = client.post(
            "/v1/fp/process/", files={"filepond": ("doccano.jsonl", (folder / "doccano.jsonl").read_bytes())},
            headers=token(client),
        )  # fmt: skip
        upload.raise_for_status()
        asked = {"format": "JSONL", "task": "DocumentClassification", "uploadIds": [upload.text], "column_data": "text",
                 "column_label": "label", "encoding": "utf_8", "delimiter": ""}  # fmt: skip
        sent(client, "POST", f"{project}/upload", asked)
        rows = until(lambda: complete(sent(client, "GET", f"{project}/examples?limit=100")))
        for row in rows:
            verdict = wanted.get(row["meta"][label_studio.TASK])
            for label in [verdict] if verdict else VERDICTS["pair"][:2]:
                sent(client, "POST", f"{project}/examples/{row['id']}/categories", {"label": numbers[label]})
        job = sent(client, "POST", f"{project}/download", {"format": "JSONL", "exportApproved": False})["task_id"]
        export = until(lambda: a_zip(client.get(f"{project}/download?taskId={job}").content))
        return {"JSONL": taken_in(export, "export.zip", wanted)}


def complete(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(found["results"]) if found["count"] == TASKS else []


def a_zip(content: bytes) -> bytes:
    return content if content.startswith(b"PK\x03\x04") else b""


# -- HTTP --------------------------------------------------------------------------------------------------------------


def sign_in(client: httpx.Client, path: str, fields: Mapping[str, str]) -> None:
    """Fill in a form of Django's, which asks for the token that it has sent."""
    page = client.get(path)
    hidden = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    content = {**fields, "csrfmiddlewaretoken": hidden[1] if hidden else client.cookies.get("csrftoken") or ""}
    done = client.post(path, data=content, headers={"Referer": str(page.url)})
    assert done.status_code in (200, 302) and "sessionid" in client.cookies, done.status_code


def token(client: httpx.Client) -> dict[str, str]:
    return {"X-CSRFToken": client.cookies.get("csrftoken") or ""}


def sent(client: httpx.Client, method: str, path: str, content: Any = None) -> Any:
    done = client.request(method, path, json=content, headers=token(client))
    assert done.is_success, (path, done.status_code, done.text[:300])
    return done.json()


def fetched(client: httpx.Client, path: str) -> bytes:
    done = client.get(path)
    done.raise_for_status()
    return done.content


def until(found: Any) -> Any:
    """What `found` returns, once it is something."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(1)
    raise TimeoutError(f"nothing after {SECONDS} s")


def main() -> None:
    options = arguments().parse_args()
    for name, address, user, through in (
        ("Label Studio", options.label_studio, options.user, of_label_studio),
        ("doccano", options.doccano, options.member, of_doccano),
    ):
        if address:
            for kind, what in through(address, user).items():
                print(f"| {name} | {kind} | {what} |", flush=True)


if __name__ == "__main__":
    main()

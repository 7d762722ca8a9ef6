"""Files as Label Studio and doccano export them, of tasks that this project wrote: every key that the tools add."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

WHEN = "2026-03-0{}T10:00:00.000000Z"


def imported(folder: Path) -> list[dict]:
    """The tasks as Label Studio was given them."""
    return json.loads((folder / "label_studio.json").read_text(encoding="utf-8"))


def label_studio(folder: Path, said: Mapping[str, Mapping[object, str | None]], whole_users: bool = False) -> bytes:
    """Label Studio's JSON. said: by task's id, {who: choice, or None for a task that was skipped}."""
    rows = []
    for number, task in enumerate(imported(folder), 1):
        annotations = []
        for at, (who, choice) in enumerate(said.get(task["data"]["slm_task"], {}).items(), 1):
            result = [
                {
                    "value": {"choices": [choice]}, "id": f"Dx_{number}{at}", "from_name": "verdict",
                    "to_name": "first", "type": "choices", "origin": "manual",
                }
            ]  # fmt: skip
            user = {"id": who, "email": f"{who}@example.org", "first_name": "Kim", "last_name": "Mina"}
            annotations.append({
                "id": 100 * number + at, "completed_by": user if whole_users else who,
                "result": result if choice else [],
                "was_cancelled": choice is None, "ground_truth": False, "created_at": WHEN.format(at),
                "updated_at": WHEN.format(at), "draft_created_at": WHEN.format(at), "lead_time": 3.214,
                "prediction": {}, "result_count": 1, "unique_id": f"0b0c{number}{at}", "import_id": None,
                "last_action": None, "bulk_created": False, "task": number, "project": 3, "updated_by": who,
                "parent_prediction": None, "parent_annotation": None, "last_created_by": None,
            })  # fmt: skip
        rows.append({
            "id": number, "annotations": annotations, "file_upload": "1f2e-label_studio.json", "drafts": [],
            "predictions": [], "data": task["data"], "meta": {}, "created_at": WHEN.format(1),
            "updated_at": WHEN.format(2), "inner_id": number, "total_annotations": len(annotations),
            "cancelled_annotations": 0, "total_predictions": 0, "comment_count": 0, "project": 3, "updated_by": 1,
            "comment_authors": [],
        })  # fmt: skip
    return json.dumps(rows, ensure_ascii=False).encode()


def json_min(folder: Path, said: Mapping[str, Mapping[object, str]]) -> bytes:
    """Label Studio's JSON-MIN: a row for each annotation, the data flat beside it."""
    rows = []
    for number, task in enumerate(imported(folder), 1):
        for at, (who, choice) in enumerate(said.get(task["data"]["slm_task"], {}).items(), 1):
            rows.append({
                **task["data"], "id": number, "verdict": choice, "annotator": who, "annotation_id": 10 * number + at,
                "created_at": WHEN.format(at), "updated_at": WHEN.format(at), "lead_time": 2.0,
            })  # fmt: skip
    return json.dumps(rows, ensure_ascii=False).encode()


def doccano(folder: Path, said: Mapping[str, Mapping[str, list[str]]]) -> dict[str, bytes]:
    """doccano's file of each member; a member's file holds all texts, those without a label with an empty list."""
    given = [json.loads(line) for line in (folder / "doccano.jsonl").read_text(encoding="utf-8").splitlines()]
    files = {}
    for who in sorted({who for by_person in said.values() for who in by_person}):
        rows = [
            {"id": number, "text": row["text"], "label": said.get(row["slm_task"], {}).get(who, []),
             "slm_task": row["slm_task"], "Comments": []}
            for number, row in enumerate(given, 1)
        ]  # fmt: skip
        files[f"{who}.jsonl"] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    return files


def zipped(files: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, one in files.items():
            archive.writestr(name, one)
    return content.getvalue()

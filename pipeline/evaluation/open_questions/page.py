"""A page of two models' answers side by side, to be judged by a person: one file that needs no server.

Which side is whose follows from a hash of the question, and the names are not shown until they are asked for.
Judgements stay in the browser until they are saved as `pairs.jsonl`, in the form of `model/serve/judgements.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.evaluation.open_questions.asking import Answered
from pipeline.store.tables import write_whole

TEMPLATE = Path(__file__).with_name("page.html")
HERE = "__DATA__"  # where the template takes the answers


def page(answered: Sequence[Answered]) -> str:
    """The page as HTML. Texts are data of a script, and shown as text only."""
    rows = [
        {
            "id": one.question.id, "category": one.question.category, "turns": list(one.question.turns),
            "models": one.order, "answers": [one.answers[name] for name in one.order],
        }
        for one in answered
    ]  # fmt: skip
    # `<` would end the script where an answer has `</script>`; U+2028 and U+2029 end a line of JavaScript.
    data = json.dumps(rows, ensure_ascii=False).replace("<", "\\u003c")
    data = data.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return TEMPLATE.read_text(encoding="utf-8").replace(HERE, data)


def write(answered: Sequence[Answered], directory: Path) -> None:
    """Write page.html and answers.jsonl."""
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / "page.html", page(answered))
    rows = (
        {
            "id": one.question.id, "category": one.question.category, "turns": list(one.question.turns),
            "answers": one.answers,
        }
        for one in answered
    )  # fmt: skip
    write_whole(directory / "answers.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

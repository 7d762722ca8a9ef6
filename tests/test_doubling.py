"""New documents that double a source's fragments: what is computed of them, and that the bytes are those of a run from
nothing.

At the same time some documents change and some go, in two languages, with exact copies in one source and across two.
Of the sources one is cut anew, one grows as it is cut, and one stays, from which the filters learn.
"""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.documents import known_rows
from pipeline.documents.document import source_of
from pipeline.graph import Project
from pipeline.ingest import fragments
from pipeline.run import inputs_in_order
from pipeline.store.artifact import Artifact

RECIPE = """
name: doubling
sources:
  - {{name: known, kind: files, path: '{folder}/known/*.parquet'}}
  - {{name: mixed, kind: files, path: '{folder}/mixed/*.parquet'}}
  - {{name: mixed-0, kind: files, path: '{folder}/mixed-0/*.parquet'}}
curation:
  perplexity: {{reference: [known], characters: 20000, min_characters: 5000}}
  contamination: {{sets: [{{name: asked, path: '{folder}/asked.jsonl', columns: [question]}}]}}
  repetition: {{max_documents: 5, min_words_left: 0}}
instructions: {{sources: [{{name: chatterbot-en, kind: bundled, limit: 20}}]}}
tokenizer: {{vocab_size: 400, reserved: 0, sample_bytes: 15000}}
execution: {{executor: in_process}}
"""
ENGLISH = [a + b + c for a in ("ka", "lo", "mi", "tu", "re", "sa") for b in "bdklmnprst" for c in ("", "an", "e", "is")]
KOREAN = [a + b for a in "가나다라마바사아자차" for b in "람순길별빛물봄꽃산들"]
REPEATED = "This page was made for all who read the long stories of the old harbour."
QUESTION = "Which of the seven boats in the harbour came home last on the evening of the great storm?"
# Stages that see every document, and those that see what is left after the duplicates went.
BEFORE = ("language", "keyword", "heuristic", "perplexity", "quality", "duplicate")
AFTER = ("repetition_edits", "personal_data_edits", "contamination_decisions")


def document(draw: random.Random) -> str:
    if draw.random() < 0.4:
        words = draw.choices(KOREAN, k=54)
        return " ".join(f"{a}은 {b}에서 {c}를 보았다." for a, b, c in zip(*[iter(words)] * 3))
    form = "The {} {} of {} and {} that {} to be {} with {} have {} {}."
    lines = [form.format(*draw.choices(ENGLISH, k=9)) for _ in range(8)]
    lines += [REPEATED] if draw.random() < 0.3 else []
    lines += [f"Write to {draw.choice(ENGLISH)}@example.org."] if draw.random() < 0.3 else []
    lines += [QUESTION] if draw.random() < 0.1 else []
    return " ".join(lines)


def put(folder: Path, name: str, texts: list[str]) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    pl.DataFrame({"text": texts}).write_parquet(folder / f"{name}.parquet")


def make(folder: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Artifact], Counter[str]]:
    """Every artifact up to the token shards, and of how many documents each was computed."""
    monkeypatch.setenv("SLM_DATA", str(folder / store))
    recipe = folder / "doubling.yaml"
    recipe.write_text(RECIPE.format(folder=folder))
    project, computed, frame = Project.open(recipe, log=lambda line: None), Counter[str](), known_rows.Rows.frame
    for name in inputs_in_order(project.nodes, "token_shards"):

        def counted(rows: known_rows.Rows, chosen: pl.Series, name: str = name) -> Any:
            computed[name] += int(chosen.sum())
            return frame(rows, chosen)

        monkeypatch.setattr(known_rows.Rows, "frame", counted)
        project.make(name)
    monkeypatch.setattr(known_rows.Rows, "frame", frame)
    return {name: project.store.require(name) for name in project.store.assets()}, computed


def fragments_by_source(made: dict[str, Artifact]) -> Counter[str]:
    return Counter(source_of(name) for name in made["raw_documents"].fragments)


def test_rows_are_taken_over_from_the_fragments_that_were_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(5)
    known, texts, others = ([document(draw) for _ in range(number)] for number in (40, 60, 24))
    texts += [texts[0], texts[0] + "\n", others[1]]  # copies, one with other white space, one of another source
    monkeypatch.setattr(fragments, "FRAGMENT_BYTES", sum(len(text.encode()) for text in texts) // 4 + 1)
    (tmp_path / "asked.jsonl").write_text(json.dumps({"question": QUESTION}))
    for name, of in (("known", known), ("mixed", texts), ("mixed-0", others)):
        put(tmp_path, f"{name}/old", of)
    first, _ = make(tmp_path, "store", monkeypatch)
    count = fragments_by_source(first)
    assert count["mixed"] == 4

    new = [document(draw) for _ in range(16)]
    now = [text + " And one more." if place in (7, 8) else text for place, text in enumerate(texts)]
    changed, more = 2, new[5:7]
    put(tmp_path, "mixed/old", [text for place, text in enumerate(now) if place not in (20, 21, 22)])
    put(tmp_path, "mixed/new", [*new, texts[3], others[4], new[0]])  # copies of an old one, of another source, of a new
    put(tmp_path, "mixed-0/new", more)
    second, computed = make(tmp_path, "store", monkeypatch)
    assert fragments_by_source(second) == {**count, "mixed": 8}
    fresh, all_computed = make(tmp_path, "fresh", monkeypatch)
    files = {name: made.manifest["files"] for name, made in fresh.items()}
    assert {name: made.manifest["files"] for name, made in second.items()} == files

    # Of the three copies, that of a document which was in this source is known.
    few, every = len(new) + changed + 2 + len(more), second["raw_documents"].counts["kept"]
    assert every > 6 * few
    for name in BEFORE:
        assert (computed[f"{name}_decisions"], all_computed[f"{name}_decisions"]) == (few, every), name
    left = second["duplicate_decisions"].counts["kept"]
    assert every - left == 6 + len(more), "copies"
    for name in AFTER:
        assert computed[name] == few - 1 - len(more) and all_computed[name] == left, name
        assert second[name].counts["edits"], name

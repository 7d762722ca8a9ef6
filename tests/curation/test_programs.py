"""What the language stage found decides everywhere after it, and no stage breaks a program."""

import sysconfig
from pathlib import Path

import polars as pl
import pytest

from pipeline.conversations import instruction_data
from pipeline.curation import contamination, curated
from pipeline.curation.duplicates import repetition
from pipeline.curation.filters import language
from pipeline.curation.personal_data import personal_data
from pipeline.curation.programs import python_tree, which_break, which_change
from pipeline.graph import Project
from pipeline.recipe import parse
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from tests.curation.filter_texts import ENGLISH, KOREAN, PYTHON
from tests.curation.written_documents import outcome, raw_documents
from tests.making import after, context

CARD = "# The card of the customer\ncard = 4539578763621486\nagain = '4539 5787 6362 1486'\n"


def standard_library() -> list[str]:
    """Sources of Python's own modules that its parser reads."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in files if path.stat().st_size < 30_000]
    return [text for text in texts if text.strip() and python_tree(text)]


def everything(store: Store, raw: Artifact, evaluation: Path) -> dict[str, dict]:
    """The curated documents after every stage that edits text, by `source_id`."""
    ctx = context(store)
    languages = language.STAGE.make(ctx, after(raw), language.Settings(allow=[]))
    repeated = repetition.make(ctx, after(raw, languages, languages=languages), repetition.Settings(max_documents=2))
    personal = personal_data.STAGE.make(ctx, after(raw, repeated, languages=languages), personal_data.Settings())
    sets = [{"name": "items", "path": [str(evaluation)], "format": "jsonl"}]
    chosen = contamination.Settings.model_validate({"sets": sets, "held_back": False, "action": "span"})
    last = contamination.make(ctx, after(raw, personal, languages=languages), chosen)
    stages = {stage.asset: stage for stage in (languages, repeated, personal, last)}
    made = curated.make(ctx, {"raw_documents": raw, **stages, "languages": languages})
    tables = pl.concat(pl.read_parquet(made.table(name)) for name in made.fragments)
    return {row["source_id"]: row for row in tables.iter_rows(named=True)}


def test_no_stage_breaks_a_program_of_the_standard_library_that_nobody_declared(tmp_path):
    texts = [*standard_library(), CARD + PYTHON]
    rows = [{"text": text, "source_id": str(number)} for number, text in enumerate(texts)]
    items = tmp_path / "items.jsonl"
    lines = [text.split("\n")[40:46] for text in texts if text.count("\n") > 60]
    items.write_text("\n".join(pl.DataFrame({"text": ["\n".join(some) for some in lines]}).write_ndjson().split("\n")))
    left = everything(Store(tmp_path / "store", "r"), raw_documents(Store(tmp_path / "store", "r"), rows, 1), items)
    changed = [number for number, row in left.items() if row["text"] != texts[int(number)]]
    assert len(left) > 40 and len(changed) > 5
    assert [texts[int(number)][:80] for number in changed if python_tree(left[number]["text"]) is None] == []
    assert "card = 0\nagain = '<CREDIT_CARD>'" in left[str(len(texts) - 1)]["text"]


def test_imports_and_heads_of_classes_that_many_undeclared_files_hold_stay(tmp_path):
    head = "from __future__ import annotations\n\n\nclass TheVeryNextConnection(RuntimeError):\n"
    texts = [
        f"{head}    number = {n}\n\n    def value_{n}(self):\n        return self.number * {n}\n" for n in range(15)
    ]
    texts += [f"x{n} = {n}\nfrom __future__ import annotations\nresult_{n} = value({n})\n" for n in range(3)]
    store = Store(tmp_path, "r")
    raw = raw_documents(store, [{"text": text, "source_id": str(n)} for n, text in enumerate(texts)], 1)
    for languages in (language.STAGE.make(context(store), after(raw), language.Settings()), None):
        given = {"languages": languages} if languages else {}
        made = repetition.make(context(store), after(raw, languages, **given), repetition.Settings(max_documents=10))
        assert [row["edits"] for row in outcome(raw, made).values() if row["edits"]] == []


def test_a_program_that_was_not_recognised_as_code_is_not_changed(tmp_path):
    """Three lines are too few for the language stage to call them code."""
    line = "the_first_value = the_second_value = the_third_value"
    texts = [f"'''{ENGLISH.replace('boats', str(n))}'''\n{line}\n" for n in range(15)]
    assert all(python_tree(text) for text in texts)
    store = Store(tmp_path, "r")
    raw = raw_documents(store, [{"text": text, "source_id": str(n)} for n, text in enumerate(texts)], 1)
    found = language.STAGE.make(context(store), after(raw), language.Settings())
    assert outcome(raw, found)["0"]["label"] == "en"
    made = repetition.make(context(store), after(raw, found, languages=found), repetition.Settings(max_documents=10))
    for row in outcome(raw, made).values():
        assert all(edit["end"] <= row["text"].index(line) for edit in row["edits"] or [])


def test_lang_of_curated_documents_is_what_was_found(tmp_path):
    store = Store(tmp_path, "r")
    rows = [
        {"text": ENGLISH, "lang": "ko", "source_id": "english"},
        {"text": KOREAN, "lang": None, "source_id": "korean"},
        {"text": PYTHON, "lang": "en", "source_id": "python"},
        {"text": "1234 5678 90", "lang": "en", "source_id": "numbers"},
    ]
    raw = raw_documents(store, rows, 1)
    found = language.STAGE.make(context(store), after(raw), language.Settings(allow=[]))
    kept = language.STAGE.make(context(store), after(raw), language.Settings(allow=[], enabled=False))
    made = curated.make(context(store), {"raw_documents": raw, "kept": kept, "languages": found})
    tables = pl.concat(pl.read_parquet(made.table(name)) for name in made.fragments)
    labels = dict(tables.select("source_id", "lang").iter_rows())
    assert labels == {"english": "en", "korean": "ko", "python": "code", "numbers": "en"}


def test_every_stage_after_the_language_stage_is_given_what_it_found():
    base = "name: r\nsources: [{name: s, kind: files, path: 'x/*.txt'}]\n"
    nodes = Project(parse(base), Store("nowhere", "r")).nodes
    given = [name for name, node in nodes.items() if node.inputs.get("languages") == "language_decisions"]
    assert given[0] == "keyword_decisions" and given[-1] == "curated_documents"
    assert {"perplexity_model", "quality_model", "repetition_edits", "contamination_decisions"} < set(given)
    off = Project(parse(base + "curation: {language: {enabled: false}}\n"), Store("nowhere", "r")).nodes
    assert not [name for name, node in off.items() if "languages" in node.inputs]
    assert instruction_data.ASSET in nodes


@pytest.mark.parametrize(
    ("text", "edits", "broken", "changed"),
    [
        ("x = 4111\ny = 1\n", [(4, 8, "<X>")], [True], [True]),
        ("x = 'a b'\n", [(5, 6, "<X>")], [False], [True]),
        ("x = 1  # a comment\ny = 2\n", [(7, 18, "")], [False], [False]),
        ("x = 1  # a comment\ny = 2\n", [(0, 6, ""), (7, 18, "")], [False, False], [True, False]),
        ("if x:\n    y = 1\n", [(6, 15, "")], [True], [True]),
        ("No program at all.", [(0, 3, "")], [False], [False]),
    ],
)
def test_which_edits_break_or_change_a_program(text, edits, broken, changed):
    assert which_break(text, edits) == broken
    assert which_change(text, edits) == changed

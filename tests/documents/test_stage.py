"""Running a stage by fragment: what is computed, what is remembered, and that the order of rows is kept."""

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from pydantic import Field

from pipeline.documents.document import DOCUMENT_SCHEMA
from pipeline.documents.execution import ExecutionSettings
from pipeline.documents.reasons import Reason
from pipeline.documents.stage import FragmentStage
from pipeline.documents.view import Documents
from pipeline.errors import UserError
from pipeline.settings import StageSettings
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from tests.making import after, context

READ: list[str] = []  # texts whose signals were computed
IN_PROCESS = ExecutionSettings(executor="in_process")


class LengthSettings(StageSettings):
    unit: str = Field("characters")
    least: int = Field(3)


def signals(documents: pl.DataFrame, settings: LengthSettings, models: dict[str, Path]) -> pl.DataFrame:
    READ.extend(documents["text"].to_list())
    length = pl.col("text").str.len_chars() if settings.unit == "characters" else pl.col("text").str.len_bytes()
    return documents.select(length.alias("length"))


def decide(signals: pl.DataFrame, settings: LengthSettings) -> pl.DataFrame:
    keep = pl.col("length") >= settings.least
    return signals.select(
        keep.alias("keep"),
        pl.when(~keep).then(pl.lit("short")).alias("reason"),
        pl.col("length").cast(pl.Float64).alias("score"),
    )


STAGE = FragmentStage(
    name="length_decisions",
    settings=LengthSettings,
    version="1",
    description="Removes short texts.",
    rules=(Reason("short", "too short"),),
    signals=signals,
    decide=decide,
    signal_settings=("unit",),
)
SECOND = replace(STAGE, name="second_decisions")


def raw_artifact(store: Store, fragments: dict[str, list[str]], ids: list[str] | None = None) -> Artifact:
    def build(draft: Draft) -> None:
        for name, texts in fragments.items():
            rows = {column: [None] * len(texts) for column in DOCUMENT_SCHEMA}
            numbers = ids or [f"{i:x}" for i in range(len(texts))]
            rows |= {"doc_id": [i.zfill(32) for i in numbers], "text": texts, "source": ["s"] * len(texts)}
            draft.table(
                name, {"texts": texts, "ids": ids}, lambda rows=rows: pl.DataFrame(rows, schema=DOCUMENT_SCHEMA)
            )

    return store.make("raw_documents", code_version="1", settings={"f": fragments, "ids": ids}, inputs={}, build=build)


def run(
    store: Store, raw: Artifact, stage: FragmentStage = STAGE, previous: Artifact | None = None, **settings
) -> Artifact:
    READ.clear()
    return stage.make(context(store), after(raw, previous), LengthSettings(**settings))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path, "r")


FRAGMENTS = {"s-0": ["one", "no", "three"], "s-1": ["a", "seventeen"]}


def test_one_decision_a_document_in_the_order_of_the_fragment(store):
    table = pl.read_parquet(run(store, raw_artifact(store, FRAGMENTS)).table("s-0"))
    assert table["keep"].to_list() == [True, False, True]
    assert table["reason"].to_list() == [None, "short", None]
    assert table["score"].to_list() == [3.0, 2.0, 5.0]
    assert table["length"].to_list() == [3, 2, 5]


def test_counts_add_up_by_reason_and_source(store):
    counts = run(store, raw_artifact(store, FRAGMENTS)).counts
    assert counts == {
        "in": 5, "kept": 3, "removed": {"short": 2}, "edits": {},
        "by_source": {"s": {"in": 5, "kept": 3, "removed": {"short": 2}, "edits": {}}},
    }  # fmt: skip


def test_a_later_stage_sees_only_what_is_left(store):
    raw = raw_artifact(store, FRAGMENTS)
    first = run(store, raw)
    second = run(store, raw, SECOND, first, least=4)
    assert READ == ["one", "three", "seventeen"]
    assert pl.read_parquet(second.table("s-0"))["keep"].to_list() == [False, None, True]
    assert Documents(raw, second).kept("s-0").to_list() == [False, False, True]


def test_a_changed_threshold_reads_no_text(store):
    raw = raw_artifact(store, FRAGMENTS)
    run(store, raw)
    changed = run(store, raw, least=5)
    assert READ == []
    assert changed.counts["removed"] == {"short": 3}
    assert pl.read_parquet(changed.table("s-0"))["length"].to_list() == [3, 2, 5]


def test_a_setting_of_the_signals_reads_all_text_again(store):
    raw = raw_artifact(store, FRAGMENTS)
    run(store, raw)
    run(store, raw, unit="bytes")
    assert len(READ) == 5


def test_a_changed_fragment_is_the_only_one_written_and_its_new_documents_the_only_ones_computed(store):
    run(store, raw_artifact(store, FRAGMENTS))
    changed = run(store, raw_artifact(store, FRAGMENTS | {"s-1": ["a", "eighteen"]}))
    assert READ == ["eighteen"]
    assert changed.manifest["fragments"] == {"computed": 1, "reused": 1}


def test_a_document_is_known_wherever_it_now_stands_unless_anything_of_it_has_changed(store, tmp_path):
    before = {"s-0": ["one", "no", "three", "four four"]}
    run(store, raw_artifact(store, before), SECOND, run(store, raw_artifact(store, before), least=3))
    rows = [("1", "no"), ("0", "one"), ("2", "three\n"), ("4", "new"), ("3", "four four")]  # (number of its id, text)
    raw = raw_artifact(store, {"s-0": [text for _, text in rows]}, ids=[number for number, _ in rows])
    second = run(store, raw, SECOND, run(store, raw, least=2))
    assert READ == ["no", "three\n", "new"]  # `no` was not kept, so its signals in the second stage are new
    fresh = Store(tmp_path / "fresh", "r")
    raw = raw_artifact(fresh, {"s-0": [text for _, text in rows]}, ids=[number for number, _ in rows])
    assert run(fresh, raw, SECOND, run(fresh, raw, least=2)).digest == second.digest


@pytest.mark.parametrize("change", [{"unit": "bytes"}, {"stage": replace(STAGE, version="2")}])
def test_nothing_is_known_of_another_setting_or_code_version(store, change):
    run(store, raw_artifact(store, FRAGMENTS))
    run(store, raw_artifact(store, FRAGMENTS | {"s-1": ["a", "seventeen", "more"]}), **change)
    assert READ == ["one", "no", "three", "a", "seventeen", "more"]


def test_nothing_is_known_of_a_version_that_saw_other_languages(store):
    def labelled(documents: pl.DataFrame, settings: LengthSettings, models: dict[str, Path]) -> pl.DataFrame:
        return signals(documents, settings, models).with_columns(label=pl.lit("ko"))

    finder = replace(STAGE, name="language_decisions", signals=labelled, finds_languages=True)
    raw = raw_artifact(store, FRAGMENTS)
    found = run(store, raw, finder, least=0)
    SECOND.make(context(store), after(raw, found, languages=found), LengthSettings())
    raw = raw_artifact(store, FRAGMENTS | {"s-1": ["a", "seventeen", "more"]})
    run(store, raw, SECOND)
    assert READ == ["one", "no", "three", "a", "seventeen", "more"]
    found = run(store, raw, finder, least=0)
    READ.clear()
    SECOND.make(context(store), after(raw, found, languages=found), LengthSettings())
    assert READ == ["more"]


def test_without_the_documents_of_an_earlier_version_all_of_a_changed_fragment_is_computed(store):
    raw = raw_artifact(store, FRAGMENTS)
    run(store, raw)
    shutil.rmtree(raw.directory)
    run(store, raw_artifact(store, FRAGMENTS | {"s-1": ["a", "seventeen", "more"]}))
    assert READ == ["a", "seventeen", "more"]


def test_documents_that_an_earlier_stage_lets_through_are_the_only_ones_computed(store):
    raw = raw_artifact(store, FRAGMENTS)
    run(store, raw, SECOND, run(store, raw))
    looser = run(store, raw, least=2)
    second = run(store, raw, SECOND, looser)
    assert READ == ["no"]
    assert pl.read_parquet(second.table("s-0"))["length"].to_list() == [3, 2, 5]


def test_incremental_and_full_runs_give_the_same_bytes(store, tmp_path):
    raw = raw_artifact(store, FRAGMENTS)
    run(store, raw, SECOND, run(store, raw))
    incremental = run(store, raw, SECOND, run(store, raw, least=2))
    fresh = Store(tmp_path / "fresh", "r")
    fresh_raw = raw_artifact(fresh, FRAGMENTS)
    full = run(fresh, fresh_raw, SECOND, run(fresh, fresh_raw, least=2))
    assert incremental.digest == full.digest


def test_documents_that_an_earlier_stage_newly_removes_leave_no_signals_behind(store, tmp_path):
    raw = raw_artifact(store, FRAGMENTS)
    run(store, raw, SECOND, run(store, raw, least=2))
    stricter = run(store, raw, SECOND, run(store, raw, least=4))
    assert READ == []
    assert pl.read_parquet(stricter.table("s-0"))["length"].to_list() == [None, None, 5]
    fresh = Store(tmp_path / "fresh", "r")
    fresh_raw = raw_artifact(fresh, FRAGMENTS)
    assert run(fresh, fresh_raw, SECOND, run(fresh, fresh_raw, least=4)).digest == stricter.digest


def test_a_stage_that_is_off_keeps_everything_and_reads_nothing(store):
    off = run(store, raw_artifact(store, FRAGMENTS), enabled=False)
    assert READ == []
    assert off.counts["kept"] == 5


def test_switching_a_stage_on_computes_its_signals(store):
    raw = raw_artifact(store, FRAGMENTS)
    run(store, raw, enabled=False)
    assert run(store, raw).counts["removed"] == {"short": 2}
    assert len(READ) == 5


def test_a_stage_that_removes_everything_is_refused_and_leaves_nothing(store):
    with pytest.raises(UserError, match=r"`length_decisions` removes all of its 5 documents.*`short` \(5\)"):
        run(store, raw_artifact(store, FRAGMENTS), least=100)
    assert store.current("length_decisions") is None


def test_processes_give_the_same_bytes(store, tmp_path):
    texts = {f"s-{i}": [f"text number {i * 1000 + k}" * 3 for k in range(50)] + ["x"] for i in range(3)}
    here = run(store, raw_artifact(store, texts))
    other = Store(tmp_path / "other", "r")
    two = ExecutionSettings(workers=2)
    there = STAGE.make(context(other, execution=two), after(raw_artifact(other, texts)), LengthSettings())
    assert here.digest == there.digest


def test_a_stage_that_forgets_a_row_is_caught(store):
    bad = replace(STAGE, name="bad_decisions", signals=lambda d, s, m: signals(d, s, m).head(1))
    with pytest.raises(ValueError, match="signals for 1 rows of 3"):
        run(store, raw_artifact(store, FRAGMENTS), bad)


def test_a_reason_that_the_stage_does_not_declare_is_refused(store):
    raw = raw_artifact(store, {"s-0": ["a", "long enough"]})
    with pytest.raises(UserError, match="removes documents as `short`, which it does not declare: add a rule"):
        run(store, raw, replace(STAGE, rules=(Reason("long", "too long"),)))
    assert run(store, raw).counts["removed"] == {"short": 1}

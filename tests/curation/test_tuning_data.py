"""Conversations go through the stages that text goes through; every one that goes is counted under its reason."""

import json

import polars as pl
import pytest

from pipeline.conversations import instruction_data
from pipeline.curation import contamination, tuning_data
from pipeline.curation.stages import Curation
from pipeline.errors import UserError
from pipeline.graph import nodes_of
from pipeline.recipe import parse
from pipeline.store.store import Store
from tests.making import context

ANSWER = (
    "The tide comes in twice a day, and the boats that lie on the sand in the morning float in the harbour at noon, "
    "so the men who fish here go out before breakfast and come home with the water, number {n} of them last of all. "
    "In winter the harbour is closed for some weeks, because the ice that the river brings would break the hulls, and "
    "then the nets are mended in the long shed behind the church, where a stove is kept burning day and night. Nobody "
    "is paid for this work, but whoever comes gets soup, and the stories that are told there are older than the shed."
)
ITEM = "Which of the three lamps on the northern pier was lit first in the year of the great storm, and who lit it?"


KOREAN = {"instruction": "강은 어디로 흐릅니까?", "output": "강은 마을의 북쪽을 지나 바다로 천천히 흘러갑니다."}


def talks(count=30):
    """Three conversations that say nearly the same, and others that do not."""
    alike = [{"instruction": f"Tell me about the harbour, part {n}.", "output": ANSWER.format(n=n)} for n in range(3)]
    others = []
    for n in range(count):
        words = [f"{chr(97 + (n * 7 + i * i) % 26)}{'aeiou'[i % 5]}{n * i % 97}" for i in range(40)]
        others.append(
            {"instruction": f"Question {n}: what does sailor {chr(97 + n)} carry?", "output": " ".join(words)}
        )
    return alike + others


def made(tmp_path, rows, *stages, sets=()):
    path = tmp_path / "talk.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    own = context(Store(tmp_path / "store", "test"), seed=1)
    block = instruction_data.Settings(sources=[{"name": "talk", "path": str(path), "lang": "en"}], held_back=0)
    data = instruction_data.make(own, {}, block)
    curation = Curation.model_validate({"contamination": {"sets": list(sets)}, "language": {"allow": ["en"]}})
    settings = {stage.block: curation.of(stage) for stage in tuning_data.STAGES}
    return data, tuning_data.make(own, {"instruction_data": data}, tuning_data.Chosen.of(stages, settings))


def test_near_copies_go_and_are_counted(tmp_path):
    data, curated = made(tmp_path, talks(), "duplicates")
    assert data.counts["train"] == 33 and curated.counts["removed"] == {"near_duplicate": 2}
    assert curated.counts["train"] == 31 and curated.counts["in"] == 33


def test_personal_data_is_replaced_in_its_turn(tmp_path):
    rows = [*talks(5), {"messages": [
        {"role": "user", "content": "Write to minsu.kim@naver.com before Monday."},
        {"role": "assistant", "content": "I wrote to minsu.kim@naver.com and called 010-1234-5678."},
    ]}]  # fmt: skip
    data, curated = made(tmp_path, rows, "personal_data")
    before, after = (pl.read_parquet(artifact.table("train")).sort("id") for artifact in (data, curated))
    changed = after.filter(before["messages"] != after["messages"])["messages"].to_list()
    assert curated.counts["edited"] == len(changed) == 1 and not curated.counts["removed"]
    said = [turn["content"] for turn in changed[0]]
    assert all("minsu" not in text and "1234" not in text for text in said)
    assert said[0].startswith("Write to ") and said[0].endswith(" before Monday.") and said[1].startswith("I wrote to ")


def test_a_conversation_with_an_evaluation_item_goes_as_a_whole(tmp_path):
    items = tmp_path / "items.jsonl"
    items.write_text(json.dumps({"question": ITEM}))
    rows = [*talks(8), {"instruction": "Ask me something.", "output": f"Gladly. {ITEM} Think about it for a while."}]
    sets = [{"name": "quiz", "path": str(items), "columns": ["question"]}]
    _, curated = made(tmp_path, rows, "contamination", sets=sets)
    assert sum(curated.counts["removed"].values()) == 1 and curated.counts["train"] == 11
    left = pl.read_parquet(curated.table("train"))["messages"].to_list()
    assert not any(ITEM in turn["content"] for talk in left for turn in talk)


def test_another_language_goes(tmp_path):
    rows = [*talks(0), KOREAN]
    _, curated = made(tmp_path, rows, "language")
    assert list(curated.counts["removed"].values()) == [1] and curated.counts["train"] == 3


def test_stages_that_leave_nothing_are_an_error(tmp_path):
    with pytest.raises(UserError):
        made(tmp_path, [KOREAN], "language")


def test_a_recipe_trains_on_curated_conversations_if_it_names_stages():
    recipe = "name: r\nsources: [{name: a, kind: files, path: '*.txt', lang: en, license: own}]\n"
    plain = nodes_of(parse(recipe))
    assert tuning_data.ASSET not in plain and plain["sft_model"].inputs["instruction_data"] == "instruction_data"
    asked = nodes_of(parse(recipe + "instructions: {stages: [duplicates, contamination]}"))
    assert asked["sft_model"].inputs["instruction_data"] == tuning_data.ASSET
    assert [stage.block for stage, _ in asked[tuning_data.ASSET].settings.stages] == ["duplicates", "contamination"]
    assert asked["sft_evaluation"].inputs["instruction_data"] == "instruction_data"
    for _, settings in asked[tuning_data.ASSET].settings.stages:
        assert settings.enabled and (not isinstance(settings, contamination.Settings) or settings.held_back is False)

"""Rewards that can be verified: what an answer is worth follows from its text, and from nothing else."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from pipeline.errors import UserError
from pipeline.recipe import parse
from pipeline.training.rewards import Reward, worth

REWARD = TypeAdapter(Reward)


def reward(**given):
    return REWARD.validate_python(given)


@pytest.mark.parametrize(
    ("given", "answer", "reference", "expected"),
    [
        ({"kind": "exact"}, " Seoul\n", "seoul", 1),
        ({"kind": "exact"}, "in Seoul", "seoul", 0),
        ({"kind": "exact"}, "각", "각", 1),  # decomposed: the same text in NFC
        ({"kind": "exact", "extract": r"####\s*(\S+)"}, "3 #### 4, so #### 12", "9 + 3 #### 12", 1),
        ({"kind": "exact", "extract": r"####\s*(\S+)"}, "12", "#### 12", 0),
        ({"kind": "exact", "extract": r"\d+"}, "it is 4, no, 7", "7", 1),
        ({"kind": "json"}, '{"a": [1, 2]}', "", 1),
        ({"kind": "json"}, "{'a': 1}", "", 0),
        ({"kind": "json"}, "[" * 100_000, "", 0),
        ({"kind": "json", "schema": {"type": "object", "required": ["n"]}}, '{"n": 1}', "", 1),
        ({"kind": "json", "schema": {"type": "object", "required": ["n"]}}, "[1]", "", 0),
        ({"kind": "format", "pattern": "<a>.*</a>"}, "<a>x\ny</a>", "", 1),
        ({"kind": "format", "pattern": "<a>.*</a>"}, "well, <a>x</a>", "", 0),
        ({"kind": "length", "least": 2, "most": 3}, "one two  three", "", 1),
        ({"kind": "length", "least": 2, "most": 3}, "one", "", 0),
        ({"kind": "length", "most": 3, "unit": "characters"}, "네 글자", "", 0),
        ({"kind": "length", "most": 4, "unit": "characters"}, "네 글자", "", 1),
    ],
)
def test_an_answer_is_worth_what_its_text_is_worth(given, answer, reference, expected):
    assert reward(**given).worth(answer, reference) == expected


def test_every_reward_judges_every_answer():
    found = worth([reward(kind="exact"), reward(kind="length", most=1)], ["a", "b c"], ["a", "b c"])
    assert found.tolist() == [[1, 1], [1, 0]]
    assert worth([], ["a"], ["b"]).shape == (1, 0) and found.dtype == np.float64


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "format", "pattern": "("}, "no regular expression"),
        ({"kind": "json", "schema": {"type": "thing"}}, "no JSON Schema"),
        ({"kind": "length", "least": 3, "most": 2}, r"`least` \(3\) is more than `most` \(2\)"),
    ],
)
def test_a_mistake_is_named_when_the_recipe_is_read(given, said):
    with pytest.raises(ValidationError, match=said):
        reward(**given)


RECIPE = "name: r\nsources: [{name: a, kind: files, path: '*.txt', lang: en, license: own}]\n"


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("reinforcement: {rewards: []}", "`reinforcement.rewards`"),
        ("reinforcement: {rewards: [{kind: exact}, {kind: exact}]}", "two rewards are called `exact`"),
        ("reinforcement: {rewards: [{kind: model}]}", "needs a `reward_model`"),
        ("reinforcement: {rewards: [{kind: exact}], sharding: on}", "sharding: on does not go"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(block, said):
    with pytest.raises(UserError, match=said):
        parse(RECIPE + block)


def test_a_recipe_has_the_models_whose_blocks_it_has():
    from pipeline.graph import enabled_assets, nodes_of

    asked = parse(RECIPE + "reward_model: {}\nreinforcement: {rewards: [{kind: model}, {kind: exact}]}")
    found = enabled_assets(asked)
    assert found.index("sft_model") < found.index("reward_model") < found.index("reinforcement_model")
    assert "reinforcement_evaluation" in found
    assert nodes_of(asked)["reinforcement_model"].inputs["reward_model"] == "reward_model"
    assert not {"reward_model", "reinforcement_model"} & nodes_of(parse(RECIPE)).keys()
    unpaid = parse(RECIPE + "preference: {enabled: false}\nreward_model: {}")
    assert "preference_data" in enabled_assets(unpaid)

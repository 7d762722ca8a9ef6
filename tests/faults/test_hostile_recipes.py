"""Hostile recipes: every one is refused when it is loaded, in sentences that name the line."""

from __future__ import annotations

import re

import pytest

from pipeline.errors import UserError
from pipeline.recipe import load, parse
from tests.faults.hostile_recipes import GOOD, recipes

CASES = list(recipes())


@pytest.mark.parametrize(("text", "said"), CASES, ids=range(len(CASES)))
def test_a_hostile_recipe_is_refused_when_it_is_loaded(text: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(text, "my.yaml")
    assert re.search(said, str(refused.value)), refused.value
    assert len(str(refused.value)) < 1500, "a recipe of thousands of digits is not repeated"


def test_what_yaml_has_for_people_is_still_read() -> None:
    sources = "sources:\n  - &a {name: 말뭉치, kind: files, path: x}\n  - {<<: *a, name: b}\n"
    recipe = parse(f"\ufeff# mine\nname: 한국어\n{sources}seed: 1_000\n")
    assert [source.name for source in recipe.sources] == ["말뭉치", "b"] and recipe.seed == 1000
    assert parse(GOOD).name == "mine"


def test_a_recipe_that_is_a_folder_or_no_text_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        load(tmp_path)
    (tmp_path / "r.yaml").write_bytes(GOOD.encode("utf-16"))
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path / "r.yaml")

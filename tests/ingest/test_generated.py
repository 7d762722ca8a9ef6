"""The generated source: as many documents as asked for, labelled, read again when and only when they would differ."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from pipeline.ingest import generated
from pipeline.ingest.generated import GeneratedSource
from pipeline.village.documents import documents


def source(**given) -> GeneratedSource:
    return GeneratedSource(**{"name": "v", "dataset": "village", "documents": 300, **given})


def test_its_documents_are_those_of_the_village_and_say_that_they_are_made_up(read) -> None:
    found, _ = read(source(seed=3))
    assert found["text"].to_list() == [one.text for one in documents(300, seed=3)]
    assert found["license"].unique().to_list() == ["made up"]
    assert all(json.loads(meta)["made_up"] for meta in found["meta"])
    assert set(found["lang"].drop_nulls()) == {"ko", "en"}


def test_a_data_set_can_be_of_one_language(read) -> None:
    found, _ = read(source(dataset="village-ko", planted=0.0))
    assert found["lang"].unique().to_list() == ["ko"]


def test_the_limit_is_of_all_its_documents_and_large_sets_come_in_pieces(read, monkeypatch) -> None:
    monkeypatch.setattr(generated, "AT_ONCE", 64)
    found, _ = read(source(limit=100))
    assert found["text"].to_list() == [one.text for one in documents(100)]


def test_it_is_made_again_only_with_another_setting_or_version(make, monkeypatch) -> None:
    first = make(source())
    assert make(source()).digest == first.digest
    assert make(source(weight=3.0)).digest == first.digest
    others = [make(source(seed=1)), make(source(documents=301)), make(source(planted=0.5))]
    assert len({first.digest, *(other.digest for other in others)}) == 4
    monkeypatch.setattr(generated, "VERSION", generated.VERSION + "x")
    assert make(source()).manifest["made_of"] != first.manifest["made_of"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dataset": "town"}, "no generated data set is called `town`: use village, village-ko, village-en"),
        ({"documents": 0}, "documents"),
        ({"planted": 2}, "planted"),
        ({"path": "x"}, "path"),
    ],
)
def test_a_mistake_is_named(given, said) -> None:
    with pytest.raises(ValidationError) as error:
        source(**given)
    assert said in str(error.value)

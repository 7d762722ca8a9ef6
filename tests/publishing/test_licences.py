"""What speaks against publishing a model, by the licences of what it was made of."""

import pytest

from pipeline.publishing.card import without_head
from pipeline.publishing.licences import Stated, objections, stated


def test_every_licence_of_what_a_model_was_made_of_is_found():
    manifests = {
        "raw_documents": {"facts": {"sources": {"notes": {"licenses": {"own": 3}}, "web": {"licenses": {}}}}},
        "instruction_data": {"facts": {"sources": {"chats": {"licenses": {"CC-BY-NC-4.0": 9}}}}},
        "base_model": {"facts": {"origin": "a/b of the Hugging Face hub", "license": "apache-2.0"}},
        "tokenizer": {"facts": {}},
    }
    assert stated(manifests) == [
        Stated("notes", "own"),
        Stated("web", "not stated"),
        Stated("chats", "CC-BY-NC-4.0"),
        Stated("a/b of the Hugging Face hub", "apache-2.0"),
    ]


@pytest.mark.parametrize(
    ("licence", "own", "words"),
    [
        ("unknown (news sites keep their own)", "mit", "no licence is stated for `text`"),
        ("not stated", "mit", "no licence is stated"),
        ("CC-BY-NC-4.0", "mit", "non-commercial use"),
        ("CC-BY-SA-4.0", "mit", "the same licence"),
        ("GPL-3.0", "mit", "the same licence"),
        ("CC-BY-ND-4.0", "mit", "may not be changed"),
        ("MIT", None, "no licence is given for the model"),
    ],
)
def test_a_licence_that_speaks_against_it_is_named(licence: str, own: str | None, words: str):
    (found,) = objections([Stated("text", licence)], own)
    assert words in found


@pytest.mark.parametrize(
    ("licence", "own"),
    [("MIT", "mit"), ("CC-BY-SA-4.0", "cc-by-sa-4.0"), ("CC-BY-NC-4.0", "cc-by-nc-4.0"), ("public domain", "mit")],
)
def test_a_licence_that_agrees_raises_no_objection(licence: str, own: str):
    assert list(objections([Stated("text", licence)], own)) == []


def test_nothing_known_is_an_objection():
    (found,) = objections([], "mit")
    assert "no licence is known" in found


def test_only_a_head_is_taken_off_a_readme():
    assert without_head("---\nlicense: mit\n---\n# A\n---\nb\n") == "# A\n---\nb\n"
    assert without_head("# A\n\n---\n\nb\n---\nc\n") == "# A\n\n---\n\nb\n---\nc\n"
    assert without_head("---\nno end\n") == "---\nno end\n"

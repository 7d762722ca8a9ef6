"""A person's own notes are not web pages: the rules for crawled pages apply to everything but them."""

from pathlib import Path

import polars as pl
import pytest

from pipeline.curation.filters import heuristics, perplexity, quality
from pipeline.errors import UserError
from pipeline.recipe import parse
from tests.curation.study_notes import ENGLISH, KOREAN


def documents(source="mine", texts=None):
    texts = texts or [("ko", text) for text in KOREAN.values()] + [("en", text) for text in ENGLISH.values()]
    return pl.DataFrame(
        [(text, lang, source) for lang, text in texts],
        schema={"text": pl.String, "lang": pl.String, "source": pl.String},
        orient="row",
    )


def removed(settings, given):
    chosen = heuristics.decide(heuristics.signals(given, settings, {}), settings)
    return chosen["reason"].drop_nulls().to_list()


def test_no_study_note_is_removed_by_rules_of_thumb():
    as_notes = heuristics.Settings(notes=["mine"])
    assert removed(as_notes, documents()) == []
    as_pages = removed(heuristics.Settings(), documents())
    assert len(as_pages) >= len(KOREAN), (
        "the notes break no rule for pages: this test would pass whatever the code does"
    )


def test_the_same_text_of_another_source_is_judged_as_a_page():
    settings = heuristics.Settings(notes=["mine"])
    assert removed(settings, documents("crawl")) == removed(heuristics.Settings(), documents("crawl"))


def test_rules_that_hold_for_any_text_hold_for_notes():
    settings = heuristics.Settings(notes=["mine"])
    broken = [
        ("en", "<div><span><b><i><u></u></i></b></span></div>" * 20),
        ("en", "buy now " * 100),
    ]
    assert removed(settings, documents(texts=broken)) == ["markup", "gopher_top_ngram"]


def test_code_among_notes_is_judged_as_code():
    settings = heuristics.Settings(notes=["mine"])
    code = "import os\n\n\ndef total(values):\n    return sum(values)\n" + f"x = '{'a' * 2000}'\n"
    assert removed(settings, documents(texts=[("code", code)])) == ["code_line_length"]


def test_the_scorer_of_pages_does_not_score_notes(tmp_path):
    from pipeline.curation.filters import page_scorer

    (tmp_path / quality.SCORER).write_text(Path(page_scorer.SHIPPED).read_text())
    given = documents(texts=[("en", text * 4) for text in ENGLISH.values()])
    scored = quality.signals(given, quality.Settings(), {"quality_model": tmp_path})
    own = quality.signals(given, quality.Settings(notes=["mine"]), {"quality_model": tmp_path})
    assert scored["page_score"].null_count() < given.height and own["page_score"].null_count() == given.height


SOURCES = """
name: x
sources:
  - {name: mine, kind: files, path: ['notes/**/*.md', 'more'], license: own}
  - {name: told, kind: files, path: 'chat/*.txt', content: dialogue}
  - {name: table, kind: files, path: '*.jsonl.gz'}
  - {name: crawled, kind: files, path: 'pages/*.txt', content: web}
  - {name: programs, kind: files, path: src, content: code}
  - {name: speeches, kind: bundled, dataset: sotu}
"""


def test_what_kind_of_text_a_source_holds_is_recognised_or_told():
    recipe = parse(SOURCES)
    kinds = {source.name: source.judged_as for source in recipe.sources}
    assert kinds == {
        "mine": "notes", "told": "dialogue", "table": "web", "crawled": "web", "programs": "code", "speeches": "web",
    }  # fmt: skip
    for block in ("heuristics", "perplexity", "quality"):
        assert getattr(recipe.curation, block).notes == ["mine", "told"]
    assert recipe.sources[4].lang == "code"


def test_a_recipe_without_files_of_text_is_recorded_as_before():
    recipe = parse("name: x\nsources: [{name: s, kind: bundled, dataset: sotu}]")
    for settings in (heuristics.Settings(), perplexity.Settings(), quality.Settings()):
        assert "notes" not in settings.model_dump()
    assert "notes" not in recipe.curation.heuristics.model_dump()
    assert "content" not in recipe.sources[0].as_recorded() or recipe.sources[0].as_recorded()["content"] == "wet"


def test_what_kind_of_text_it_is_does_not_make_it_another_source():
    told = parse(SOURCES).sources
    other = parse(SOURCES.replace("content: dialogue", "content: web")).sources
    assert [one.identity("x") for one in told] == [one.identity("x") for one in other]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("content: code, lang: ko", "says `content: code` and `lang: ko`: leave one of them out"),
        ("content: novel", "'web', 'notes', 'code' or 'dialogue'"),
    ],
)
def test_a_mistake_about_the_kind_of_text_is_a_sentence(source, said):
    with pytest.raises(UserError, match="mistake") as error:
        parse(f"name: x\nsources: [{{name: a, kind: files, path: n, {source}}}]")
    assert said in str(error.value)


def test_the_list_that_is_filled_in_is_not_for_writing():
    text = SOURCES + "curation: {heuristics: {notes: [table]}}\n"
    with pytest.raises(UserError, match="say `content: notes` in each source"):
        parse(text)

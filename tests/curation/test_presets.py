"""Presets of the heuristics: the figures counted plainly, one document at a time, as the published filters count."""

import random
import re
import string
from collections import Counter
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import spacy

from pipeline.curation.filters import heuristics, published
from pipeline.curation.filters.published_figures import published_columns
from pipeline.curation.rules import in_force
from pipeline.errors import UserError
from pipeline.recipe import parse
from pipeline.text import peer_words
from tests.curation.filter_texts import ENGLISH, KOREAN, PYTHON, frame

WORDS = spacy.blank("en").tokenizer
ODD = (
    "don't (see e.g. p. 4), it's U.S.-based: a/b well-known... \"quoted\" :) xD, 3.5km $5.00 #tag… he'll I'm cannot "
    "http://a.org/b?c=d, x@y.com; (a) [b] 10% 1,000 Mr. Smith's end! Wow?! em—dash ‘single’ A. B. etc. rock-n-roll "
    "state-of-the-art (D: 'tis o'clock y'all gonna dont im. 2nd 12:30 pm. ... , ; v.v P: word:) 'em \u00a0 a\x0cb"
)


def tokens(text: str) -> list[str]:
    """The words of a text by spaCy itself, over the whole text."""
    return [token.text.strip() for token in WORDS(text) if token.text.strip()]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    draw = random.Random(3)
    pieces = ODD.split() + ENGLISH.split() + ["-", "•", "{", "the", "and", "Lorem ipsum", "[12]", "JavaScript"]
    made = []
    for number in range(120):
        few = draw.sample(pieces, draw.randint(3, 60))
        lines = []
        for _ in range(draw.randint(1, 30)):
            lines.append(
                " ".join(draw.choices(few, k=draw.randint(0, 14))) + draw.choice(["", ".", "...", "!", "…", " "])
            )
        lines += draw.choices(lines, k=number % 7)
        made.append(draw.choice(["\n", "\n\n"]).join(lines).replace("\n\n\n", "\n") or "x")
    return [*made, ODD, ENGLISH, f"{ENGLISH}\n\n{ENGLISH}", "short", "a b", "\n- x\n• y\n"]


def test_words_are_those_of_spacy(texts):
    found = peer_words.spacy_words(pl.Series(texts))
    for number, text in enumerate(texts):
        assert found.items.filter(pl.Series(found.text_index == number)).to_list() == tokens(text)


def test_sentences_are_those_of_spacy(texts):
    plain = spacy.blank("en")
    plain.add_pipe("sentencizer")
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    lines += ["He left.\" She stayed. (Did she?) 'Yes.' 4.5 is. No", "A b", "... and so", "Wow!! Really?!", "no end"]
    expected = [sum(bool(one.text.strip()) for one in plain(line).sents) for line in lines]
    assert peer_words.spacy_sentences(pl.Series(lines)).tolist() == expected


def repeated(parts: list[str]) -> tuple[int, int]:
    """(number, characters) of what occurred before."""
    again = [part for place, part in enumerate(parts) if part in parts[:place]]
    return len(again), sum(map(len, again))


def top(words: list[str], n: int) -> int:
    grams = [" ".join(words[at : at + n]) for at in range(len(words) - n + 1)]
    (best,) = Counter(grams).most_common(1) or [("", 0)]
    return len(best[0]) * best[1]


def stepping(words: list[str], n: int) -> int:
    known, taken, at = set(), 0, 0
    while at <= len(words) - n:
        gram = tuple(words[at : at + n])
        taken, at = (taken + len("".join(gram)), at + n) if gram in known else (taken, at + 1)
        known.add(gram)
    return taken


def test_repetition_is_counted_from_left_to_right(texts):
    found = published_columns(pl.Series(texts), pl.Series([False] * len(texts)), {"repetition"}, [])
    for text, row in zip(texts, found.to_dicts(), strict=True):
        words = tokens(text)
        paragraphs, lines = re.split(r"\n{2,}", text.strip()), re.split("\n+", text)
        expected = {
            "dup_paragraphs": repeated(paragraphs)[0] / len(paragraphs),
            "dup_paragraph_chars": repeated(paragraphs)[1] / len(text),
            "dup_lines": repeated(lines)[0] / len(lines),
            "dup_line_chars": repeated(lines)[1] / len(text),
            **{f"top_{n}": top(words, n) / len(text) for n in (2, 3, 4)},
            **{f"dup_{n}": stepping(words, n) / len(text) for n in range(5, 11)},
        }
        assert row == pytest.approx(expected), text


def test_quality_counts_marks_as_words(texts):
    stops = ["the", "and", "to"]
    found = published_columns(pl.Series(texts), pl.Series([False] * len(texts)), {"gopher"}, stops)
    for text, row in zip(texts, found.to_dicts(), strict=True):
        words, lines = tokens(text), text.splitlines()
        # Of the marks beyond ASCII in these texts, `•` and `‘` are not in datatrove's list, so they count as words.
        spoken = [word for word in words if not set(word) <= set(string.punctuation + "…—’“”")]
        assert row["words"] == len(spoken) and row["word_length"] == pytest.approx(np.mean(list(map(len, spoken))))
        assert row["alpha_words"] == pytest.approx(sum(any(map(str.isalpha, word)) for word in words) / len(words))
        assert row["hashes"] == pytest.approx(text.count("#") / len(words))
        assert row["ellipses"] == pytest.approx((text.count("...") + text.count("…")) / len(words))
        assert row["bullet_lines"] == pytest.approx(np.mean([line.lstrip().startswith(("•", "-")) for line in lines]))
        assert row["ellipsis_lines"] == pytest.approx(np.mean([line.rstrip().endswith(("...", "…")) for line in lines]))
        assert row["stop_words"] == len(set(words) & set(stops))


def test_fineweb_and_c4_count_lines_as_published(texts):
    none = pl.Series([False] * len(texts))
    web = published_columns(pl.Series(texts), none, {"fineweb"}, [])
    for text, row in zip(texts, web.to_dicts(), strict=True):
        lines = [line for line in text.split("\n") if line.strip()]
        assert row["short_lines_30"] == pytest.approx(np.mean([len(line) <= 30 for line in lines]))
        assert row["repeated_line_chars"] == pytest.approx(repeated(lines)[1] / len(text.replace("\n", "")))
        assert row["newlines"] == pytest.approx(text.count("\n") / len(tokens(text)))
        assert row["ended_lines"] == pytest.approx(np.mean([line.endswith((".", "!", "?")) for line in lines]))
    text = (
        "One line of it ends. Two sentences. \nNo end here at all\nToo short.\nSee JavaScript in this one.\n"
        "By our cookie policy we do.\nCited here as such.[12]\nThis goes on and on...\n"
    )
    page = published_columns(pl.Series([text, "A {b} is left here.", "Some Lorem ipsum text.", "A {b} is cut"]),
                             none[:4], {"c4"}, [])  # fmt: skip
    assert page["sentences"].to_list() == [3, 1, 1, 0]
    assert page["braces"].to_list() == [False, True, False, False]
    assert page["lorem_ipsum"].to_list() == [False, False, True, False]


# -- settings ----------------------------------------------------------------------------------------------------------


def removed(text: str, lang: str = "en", **settings) -> str | None:
    chosen = heuristics.Settings(**settings)
    return heuristics.decide(heuristics.signals(frame(text, lang=lang), chosen, {}), chosen)["reason"].item()


def test_a_preset_judges_by_the_rules_of_its_paper_alone():
    five = "\n".join(f"The {word} line ends in a mark." for word in ("first", "second", "third", "fourth", "fifth"))
    assert removed(five, preset="c4") is None and removed(ENGLISH, preset="c4") == "too_few_sentences"
    assert removed(five + "\nA line with { and no mark", preset="c4") is None, "C4 cuts the line"
    assert removed("A {set} of things, said in a line.", preset="c4") == "curly_bracket"
    assert removed("Only four words here.", preset="gopher") == "top_2_gram"
    assert removed("Only four words here", preset="fineweb") == "line_punct_ratio"
    assert removed("Only four words here", preset="ours") == "gopher_short"


def test_a_key_beside_the_preset_changes_one_limit_and_leaves_the_others():
    settings = heuristics.Settings(preset="gopher", gopher={"min_words": 7}, repetition={"dup_lines": 0.5})
    assert settings.gopher.min_words == 7 and settings.gopher.max_symbols == 0.1
    assert settings.repetition.dup_lines == 0.5 and settings.repetition.dup_line_chars == 0.2
    assert not settings.c4.enabled and not settings.fineweb.enabled
    assert heuristics.Settings.model_validate(settings.model_dump()) == settings
    assert heuristics.Settings(preset="fineweb").fineweb.max_dup_line_chars == 0.01, "datatrove's, not the paper's"
    assert heuristics.Settings(preset="c4", c4=heuristics.C4(min_sentences=2)).c4.curly_bracket


def test_without_a_preset_the_settings_are_recorded_as_before():
    assert not {"preset", "stop_words"} & heuristics.Settings().model_dump().keys()
    assert heuristics.Settings(preset="c4").model_dump()["preset"] == "c4"


RECIPE = "name: r\nsources: [{name: s, kind: files, path: 'x', license: own}]\ncuration: {heuristics: {%s}}\n"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("preset: gofer", "gopher"),
        ("preset: 3", "preset"),
        ("preset: gopher, c4: {enabled: true}", "`preset: gopher` has no rules of `c4`"),
        ("preset: gopher, gopher: {min_word: 3}", "did you mean `min_words`?"),
    ],
)
def test_a_mistake_in_a_preset_ends_in_one_sentence(given, words):
    with pytest.raises(UserError, match="one mistake") as raised:
        parse(RECIPE % given)
    assert words in str(raised.value) and len(str(raised.value).splitlines()) == 2


@pytest.fixture
def kiwi(monkeypatch):
    """Stands in for Kiwi: particles and endings of two forms are words of their own."""

    forms = r"[가-힣]+?(?=[은는이가을를에의]\b|다\b|\b)|[은는이가을를에의다]\b|[^\s가-힣]"

    def tokenize(text: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(start=one.start(), end=one.end()) for one in re.finditer(forms, text)]

    def split_into_sents(text: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(text=part) for part in re.split(r"(?<=[.!?]) ", text)]

    monkeypatch.setattr(
        peer_words, "_kiwi", lambda: SimpleNamespace(tokenize=tokenize, split_into_sents=split_into_sents)
    )


def test_korean_is_counted_in_morphemes_beside_english(kiwi):
    signals = heuristics.signals(frame(ENGLISH, KOREAN, PYTHON), heuristics.Settings(preset="gopher"), {})
    assert signals["kind"].to_list() == ["spaced", "ko", "code"]
    english, korean = signals["words"][0], signals["words"][1]
    assert korean > len(KOREAN.split()) and english == sum(bool(re.search(r"\w", word)) for word in tokens(ENGLISH))
    assert signals["words"][2] is None and signals["longest_line"][2] is not None


def test_the_korean_preset_of_fineweb2_judges_korean_alone(kiwi):
    settings = heuristics.Settings(preset="fineweb2-korean")
    assert (settings.fineweb.min_ended_lines, settings.fineweb.max_newlines) == (0.062, 0.196)
    assert (settings.gopher.word_length, settings.repetition.dup_lines) == ((1, 6), 0.374)
    signals = heuristics.signals(frame("Only four words here", "은 는 것 다\n" * 9), settings, {})
    decided = heuristics.decide(signals, settings)
    assert decided["keep"].to_list() == [True, False]


def test_without_kiwi_a_korean_text_ends_in_a_sentence(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    peer_words._kiwi.cache_clear()
    with pytest.raises(UserError, match="pip install"):
        removed(KOREAN, lang="ko", preset="gopher")


def test_every_rule_of_a_preset_reads_a_column_that_it_makes(kiwi):
    ruled = set()
    for preset in published.PRESETS:
        settings = heuristics.Settings(preset=preset)
        columns = heuristics.signals(frame(KOREAN, lang="ko"), settings, {}).columns
        rules = [rule for rule in in_force(heuristics.RULES, settings) if published.SWITCH in rule.switches]
        for rule in rules:
            assert set(rule.broken(settings).meta.root_names()) <= set(columns), rule.name
        ruled |= {rule.name for rule in rules}
    assert ruled == {rule.name for rule in published.RULES}
    assert published.preset_of(published.RULES[0]) == "gopher"

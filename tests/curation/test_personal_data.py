"""Personal data: found with evidence, kept without, replaced at the right place, never disclosed."""

from __future__ import annotations

import logging
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from pipeline.curation.curated import apply_edits
from pipeline.curation.personal_data import personal_data as stage
from pipeline.curation.personal_data import spans, windows
from pipeline.curation.personal_data.personal_data import STAGE, Settings
from pipeline.errors import UserError


def documents(*texts: str) -> pl.DataFrame:
    return pl.DataFrame({"text": texts}, schema={"text": pl.String})


def edited(*texts: str, **settings) -> list[str]:
    """The texts after the stage's replacements."""
    chosen = Settings(**settings)
    decisions = stage.decide(stage.signals(documents(*texts), chosen, {}), chosen)
    assert decisions["keep"].all()
    edits = decisions.select(pl.int_range(pl.len()).alias("row"), "edits").drop_nulls().explode("edits").unnest("edits")
    return apply_edits(pl.Series(texts), edits).to_list() if edits.height else list(texts)


FOUND = [
    # e-mail: Hangul right after the address, inside brackets, in a URL's query
    ("메일은 minsu.kim@naver.com로 주세요", "메일은 <EMAIL_ADDRESS>로 주세요"),
    ("Author: Ada <ada+news@analytical.co.uk>", "Author: Ada <<EMAIL_ADDRESS>>"),
    ("연락:hong_gd@mail.example.co.kr입니다", "연락:<EMAIL_ADDRESS>입니다"),
    # Korean numbers, each with what makes it one
    ("주민등록번호는 851013-1234567입니다.", "주민등록번호는 <KR_RRN>입니다."),
    ("주민번호 851013 - 2234567 확인", "주민번호 <KR_RRN> 확인"),
    ("주민등록번호 8510131234567", "주민등록번호 <KR_RRN>"),
    ("외국인등록번호 900101-5123456", "외국인등록번호 <KR_FRN>"),
    ("사업자등록번호 220-81-62517입니다", "사업자등록번호 <KR_BRN>입니다"),
    ("여권번호 M12345678로 예약", "여권번호 <KR_PASSPORT>로 예약"),
    ("여권은 S123A4567이다", "여권은 <KR_PASSPORT>이다"),
    ("운전면허번호는 11-93-123456-78입니다", "운전면허번호는 <KR_DRIVER_LICENSE>입니다"),
    ("면허번호 27-93-123456-78", "면허번호 <KR_DRIVER_LICENSE>"),
    ("휴대폰 010-2345-6789로", "휴대폰 <PHONE_NUMBER>로"),
    ("01023456789로 연락", "<PHONE_NUMBER>로 연락"),
    ("010.2345.6789 / 010 2345 6789", "<PHONE_NUMBER> / <PHONE_NUMBER>"),
    ("+82-10-2345-6789", "<PHONE_NUMBER>"),
    ("전화 02) 345-6789, (031)345-6789", "전화 <PHONE_NUMBER>, <PHONE_NUMBER>"),
    ("입금 계좌는 국민은행 123456-04-123456입니다", "입금 계좌는 국민은행 <KR_BANK_ACCOUNT>입니다"),
    ("송금: 1002-123-456789", "송금: <KR_BANK_ACCOUNT>"),
    ("주소는 서울특별시 종로구 세종대로 175, 103동 1204호입니다", "주소는 <KR_ADDRESS>입니다"),
    ("경기도 성남시 분당구 판교역로 235에 있다", "<KR_ADDRESS>에 있다"),
    ("대전 서구 둔산동 1420-3번지 앞", "<KR_ADDRESS> 앞"),
    ("생년월일: 1987년 3월 2일, 서울", "생년월일: <DATE_OF_BIRTH>, 서울"),
    ("1987년 3월 2일생인 그는", "<DATE_OF_BIRTH>생인 그는"),
    # the world's
    ("Date of birth 1987-03-02.", "Date of birth <DATE_OF_BIRTH>."),
    ("charged to card 4999 1234 5678 9010 today", "charged to card <CREDIT_CARD> today"),
    ("amex 379912345678907", "amex <CREDIT_CARD>"),
    ("call (212) 555-0147 or 415-555-0101", "call <PHONE_NUMBER> or <PHONE_NUMBER>"),
    ("social security number 536-90-4399", "social security number <US_SSN>"),
    ("SSN 536904399", "SSN <US_SSN>"),
    ("pay to DE89 3704 0044 0532 0130 00 by May", "pay to <IBAN_CODE> by May"),
    ("from 81.2.69.142:", "from <IP_ADDRESS>:"),
    ("81.2.69.142\n91.2.69.143:8080\n", "<IP_ADDRESS>\n<IP_ADDRESS>:8080\n"),
    ("+1-212-555-0147x12, +46 (0)8 928 571 38, +447700 900 916", "<PHONE_NUMBER>, <PHONE_NUMBER>, <PHONE_NUMBER>"),
    ("Phone: 60-56-85-91", "Phone: <PHONE_NUMBER>"),
    ("peer 2a00:1450:4001:81b::200e up", "peer <IP_ADDRESS> up"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), FOUND, ids=[text for text, _ in FOUND])
def test_found_and_replaced_at_its_place(text, wanted):
    assert edited_together()[text] == wanted


LEFT = [
    # nobody's address
    "write to user@example.com or git@github.com:a/b.git",
    "@app.route('/') and array@matrix.T and katex@0.10.0-beta",
    # private, special and known hosts; versions, sections, drawings, names with ::
    "127.0.0.1 0.0.0.0 192.168.0.17 10.1.2.3 255.255.255.0 224.0.0.1 8.8.8.8",
    "192.0.2.0/24 2001:db8::/32 81.2.69.0 81.2.69.255",
    "HTML5 8.2.4.44, Decimal('+35236450.6')",
    "version 1.2.3.4, section 3.1.4.1, v10.0.17.1",
    "M8 .138.112.25.25.25h12.5a.25.25 0 0 0",
    "std::dead::beef and a::b and ::1 and 12:34:56",
    # numbers of things
    "ISBN 9788912345678, order 20231234-1234567-A, 2021-05-03T12:00:00Z, 415-23=392",
    "1577836800000 1577836800 20231201123045 3.14159265358979",
    "card 4999 1234 5678 9011 fails the check, 4111 1111 1111 1111 is for tests",
    "951301-1234567 has no such month; SM-A123N; ffd8ffe000104a46",
    "a table: 123 45 6789 220 81 62517",
    "phone 0.123 1.456 2.789",
    "+952 -51813 +494 @@ -10,7 +10,9 @@ +1234567",
    "4461872086038acb0f1d 0fa84461872086038 sha1:4474183391278d",
    "passport.js M12345678x; model S123A45678",
    "2020년 3월 29일까지 신청",
    # words that only look like places, counts that only look like house numbers
    "다시 보려면 9장으로, 당시 환율로 9억 달러, 상대 송구 실수로 2대 3",
    "덕양구 토당동 30대 거주자, 화천군 상서면 산양리 8가구, 청주시로 3번째",
]  # fmt: skip


@pytest.mark.parametrize("text", LEFT)
def test_left_as_it_is(text):
    assert edited_together()[text] == text


@lru_cache(maxsize=1)
def edited_together() -> dict[str, str]:
    """All of the above at once; another test checks that each alone gives the same."""
    texts = [text for text, _ in FOUND] + LEFT
    return dict(zip(texts, edited(*texts), strict=True))


def test_a_number_needs_the_word_before_it():
    number = "1234-56-789012"
    assert edited(f"일련번호 {number}", f"농협 계좌 {number}") == [f"일련번호 {number}", "농협 계좌 <KR_BANK_ACCOUNT>"]
    assert edited("536904399", "the ssn is 536904399") == ["536904399", "the ssn is <US_SSN>"]


def test_places_are_code_points_also_behind_emoji_and_in_long_texts():
    long = "😀한글 " * 5_000 + "메일 minsu@naver.com, " + "끝 " * 5_000 + "010-2345-6789"
    [text] = edited(long)
    assert text == long.replace("minsu@naver.com", "<EMAIL_ADDRESS>").replace("010-2345-6789", "<PHONE_NUMBER>")


def test_a_text_that_holds_the_mark_is_cut_at_the_right_place():
    text = f"{windows.MARK}a{windows.MARK} minsu@naver.com {windows.MARK}"
    assert edited(text) == [text.replace("minsu@naver.com", "<EMAIL_ADDRESS>")]


def test_rows_stay_in_order_and_null_text_is_no_trouble():
    frame = pl.DataFrame({"text": ["nothing", None, "a@naver.com", "", "b@naver.com"]})
    signals = stage.signals(frame, Settings(), {})
    assert signals["spans"].is_null().to_list() == [True, True, False, True, False]
    decisions = stage.decide(signals, Settings())
    assert decisions.height == 5 and decisions["edits"].is_null().to_list() == [True, True, False, True, False]


def test_no_documents():
    decisions = stage.decide(stage.signals(documents(), Settings(), {}), Settings())
    assert decisions.height == 0


def test_spans_that_touch_become_one():
    found = pl.DataFrame(
        {
            "row": pl.Series([0, 0, 0, 1], dtype=pl.UInt32),
            "start": [5, 0, 20, 5],
            "end": [12, 8, 22, 6],
            "label": ["PHONE_NUMBER", "KR_ADDRESS", "US_SSN", "US_SSN"],
            "score": [0.9, 0.5, 0.5, 0.5],
            "value": pl.Series([1, 2, 3, 4], dtype=pl.UInt64),
        }
    )
    merged = spans._merge_overlapping(found).select("row", "start", "end", "label").rows()
    assert merged == [(0, 0, 12, "PHONE_NUMBER"), (0, 20, 22, "US_SSN"), (1, 5, 6, "US_SSN")]


def test_threshold_and_labels_and_placeholder():
    text = "여권번호 M12345678, 메일 minsu@naver.com"
    assert edited(text, min_score=0.9) == ["여권번호 M12345678, 메일 <EMAIL_ADDRESS>"]
    assert edited(text, labels=["KR_PASSPORT"]) == ["여권번호 <KR_PASSPORT>, 메일 minsu@naver.com"]
    assert edited(text, placeholder="[{label} removed]", labels=["EMAIL_ADDRESS"]) == [
        "여권번호 M12345678, 메일 [EMAIL_ADDRESS removed]"
    ]


SURROGATES = [text for text, wanted in FOUND if wanted.count("<") == 1]


@pytest.mark.parametrize("text", SURROGATES)
def test_surrogates_have_the_form_and_are_not_the_value(text):
    made = surrogates()[text]
    assert made != text and "<" not in made


@lru_cache(maxsize=1)
def surrogates() -> dict[str, str]:
    return dict(zip(SURROGATES, edited(*SURROGATES, replacement="surrogate"), strict=True))


def test_one_value_has_one_surrogate_in_a_text_and_another_elsewhere():
    one, two = "a@naver.com b@naver.com a@naver.com", "a@naver.com and no more"
    first, second = edited(one, two, replacement="surrogate")
    a, b, again = first.split()
    assert a == again != b and a.endswith("@example.org")
    assert second.split()[0] not in (a, b)
    assert edited(one, two, replacement="surrogate") == [first, second]


def test_surrogates_are_not_found_again_as_numbers_of_people():
    texts = [text for text in SURROGATES if "card" in text or "amex" in text or "security" in text or "주민" in text]
    for text, made in zip(texts, edited(*texts, replacement="surrogate")):
        assert edited(made) == [made], text


def test_the_value_is_in_no_table_and_no_log(caplog):
    caplog.set_level(logging.DEBUG)
    text = "메일 minsu@naver.com 카드 4999123456789010"
    signals = stage.signals(documents(text), Settings(), {})
    decisions = stage.decide(signals, Settings())
    said = caplog.text + signals.write_json() + decisions.write_json()
    assert "minsu" not in said and "4999" not in said


def test_the_same_answer_whatever_else_is_in_the_fragment():
    """Signals are remembered by document, so they may not depend on other documents."""
    texts = [text for text, _ in FOUND] + LEFT
    together = stage.signals(documents(*texts), Settings(), {})
    alone = pl.concat([stage.signals(documents(text), Settings(), {}) for text in texts])
    assert together.equals(alone)


def test_windows_are_small_and_few():
    clean = "Nothing in here but words, and a year, 1999, and 3.5 percent. " * 200
    found = windows.windows(pl.Series([clean, clean + " mail a@naver.com " + clean]))
    assert found.height == 1 and found["row"].to_list() == [1]
    assert len(found["window"][0]) <= windows.BEFORE + windows.AFTER + len("a@naver.com")


def test_presidio_is_not_imported_where_there_is_no_candidate():
    program = (
        "import sys, polars as pl\n"
        "from pipeline.curation.personal_data import personal_data as stage\n"
        "stage.signals(pl.DataFrame({'text': ['plain words only']}), stage.Settings(), {})\n"
        "assert not any(name.startswith('presidio') for name in sys.modules)\n"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True)


def test_torch_is_not_imported_for_presidio_and_can_be_afterwards():
    program = (
        "import sys, polars as pl\n"
        "from pipeline.curation.personal_data import personal_data as stage\n"
        "found = stage.signals(pl.DataFrame({'text': ['a@naver.com']}), stage.Settings(), {})\n"
        "assert found['spans'][0] is not None and 'presidio_analyzer' in sys.modules\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
        "import torch\n"
        "assert torch.ones(1).sum() == 1\n"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True)


def test_no_network_for_public_suffixes(monkeypatch):
    import socket

    def refuse(*_args, **_kwargs):
        raise AssertionError("tried the network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert edited("mail a@kyoto.lg.jp") == ["mail <EMAIL_ADDRESS>"]


def test_examples_can_be_kept():
    text = "ada@example.com bob@shop.test 192.0.2.7 2001:db8::7:1 (212) 555-0147 / eve@naver.com 81.2.69.142"
    assert edited(text) == [
        "<EMAIL_ADDRESS> bob@shop.test <IP_ADDRESS> <IP_ADDRESS> <PHONE_NUMBER> / <EMAIL_ADDRESS> <IP_ADDRESS>"
    ]
    assert edited(text, keep_examples=True) == [text.split("/")[0] + "/ <EMAIL_ADDRESS> <IP_ADDRESS>"]


def test_names_need_a_model_and_its_absence_is_told():
    assert edited("담당자는 홍길동 씨, Ada Lovelace") == ["담당자는 홍길동 씨, Ada Lovelace"]
    with pytest.raises(UserError, match="no_such_model"):
        edited("Ada Lovelace", person_model="no_such_model")


def test_settings_are_checked():
    with pytest.raises(ValidationError, match="no label 'EMAIL'"):
        Settings(labels=["EMAIL"])
    with pytest.raises(ValidationError, match="label"):
        Settings(placeholder="removed")


def test_signal_settings_are_all_that_signals_read():
    assert set(STAGE.signal_settings) <= set(Settings.model_fields)
    one = stage.signals(documents("메일 a@naver.com"), Settings(), {})
    two = stage.signals(documents("메일 a@naver.com"), Settings(min_score=0.9, replacement="surrogate"), {})
    assert one.equals(two)

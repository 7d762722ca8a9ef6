"""Published sets become questions with the published answers; a row that does not fit is refused without its text."""

from __future__ import annotations

import pytest

from pipeline.evaluation.tasks.forms import NotAQuestion, Question, questions

PUBLISHED = {
    "kobest-boolq": (
        {"Text": "물은 0도에서 언다.", "Question": "물은 언 적이 있는가?", "Answer": "True"},
        Question("물은 0도에서 언다. 질문: 물은 언 적이 있는가? 답변: ", ("아니오", "예"), 1),
    ),
    "kobest-copa": (
        {"sentence": "비가 왔다.", "question": "결과", "1": "땅이 말랐다.", "2": "땅이 젖었다.", "Answer": "2"},
        Question("비가 왔다.  그래서", ("땅이 말랐다.", "땅이 젖었다."), 1),
    ),
    "kobest-hellaswag": (
        {"context": "공을 던진다.", **{f"choice{i}": f"{i}번이다." for i in range(1, 5)}, "label": "2"},
        Question("문장: 공을 던진다.", ("1번이다.", "2번이다.", "3번이다.", "4번이다."), 2),
    ),
    "kobest-sentineg": ({"Text": "별로예요", "Label": 0}, Question("문장: 별로예요 긍부정:", ("부정", "긍정"), 0)),
    "kobest-wic": (
        {"Target": "배", "SENTENCE1": "[배]를 탔다.", "SENTENCE2": "[배]가 아프다.", "ANSWER": "False"},
        Question(
            "문장1: [배]를 탔다. 문장2: [배]가 아프다. 두 문장에서 배가 같은 뜻으로 쓰였나?", ("아니오", "예"), 0
        ),
    ),
    "klue-nli": (
        {"premise": "비가 온다.", "hypothesis": "맑다.", "gold_label": "contradiction"},
        Question("비가 온다. 질문: 맑다. 참, 거짓, 중립 중 무엇인가? 답:", ("참", "중립", "거짓"), 2),
    ),
    "klue-sts": (
        {"sentence1": "좋아요.", "sentence2": "좋습니다.", "labels": {"label": 4.2, "binary-label": 1}},
        Question("문장1: 좋아요. 문장2: 좋습니다. 두 문장의 뜻이 비슷한가?", ("아니오", "예"), 1),
    ),
    "hellaswag": (
        {
            "activity_label": "Baking", "ctx_a": "A woman stands [title] there.", "ctx_b": "she",
            "endings": ["a", "[step] b  c", "d", "e"], "label": "1",
        },
        Question("Baking: A woman stands. there. She", ("a", " b c", "d", "e"), 1),
    ),
    "multiple-choice": (
        {"question": "Which is red?", "choices": {"text": ["sky", "blood"], "label": ["A", "B"]}, "answerKey": "B"},
        Question("Which is red?", ("sky", "blood"), 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", PUBLISHED)
def test_a_published_row_becomes_its_question(form: str):
    row, question = PUBLISHED[form]
    assert list(questions(form, [row])) == [question]


def test_the_hub_names_columns_of_kobest_otherwise():
    row = {"premise": "비가 왔다.", "question": "원인", "alternative_1": "가", "alternative_2": "나", "label": 0}
    assert list(questions("kobest-copa", [row])) == [Question("비가 왔다.  왜냐하면", ("가", "나"), 0)]


@pytest.mark.parametrize("answer", [2, "2", "C", "three"])
def test_an_answer_is_a_number_a_letter_or_the_text(answer: object):
    row = {"prompt": "?", "choices": ["one", "two", "three"], "answer": answer}
    assert next(questions("multiple-choice", [row])).answer == 2


def test_a_text_that_looks_like_a_number_is_first_a_choice():
    row = {"prompt": "1 + 1 =", "choices": ["2", "1", "0"], "answer": "2"}
    assert next(questions("multiple-choice", [row])).answer == 0


@pytest.mark.parametrize(
    ("form", "row", "sentence"),
    [
        ("multiple-choice", {"prompt": "?", "choices": ["a"], "answer": 0}, "row 1: `choices` is no list of at least"),
        ("multiple-choice", {"prompt": "?", "choices": ["a", "b"], "answer": 2}, "beyond the choices"),
        ("multiple-choice", {"prompt": "?", "choices": ["a", "b"], "answer": "secret"}, "none of the choices"),
        ("multiple-choice", {"prompt": "?", "choices": ["a", "b"]}, "`answer` is missing"),
        ("kobest-copa", {"sentence": "비", "question": "비밀", "1": "a", "2": "b", "Answer": 1}, "neither 원인 nor"),
        ("kobest-sentineg", {"Text": "a", "Label": "secret"}, "neither 0 and 1"),
        ("kobest-hellaswag", {"context": "a", **{f"choice{i}": "b" for i in range(1, 5)}, "label": 4}, "beyond"),
        ("klue-nli", {"premise": "a", "hypothesis": "b", "gold_label": "secret"}, "`label` is no number"),
        ("hellaswag", {"ctx": "a", "endings": ["b"], "label": 0}, "no list of four"),
        ("analogies", {"text": "one two secret"}, "four words"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_and_not_quoted(form: str, row: dict[str, object], sentence: str):
    with pytest.raises(NotAQuestion, match="(?s).*" + sentence) as caught:
        list(questions(form, [row]))
    assert "secret" not in str(caught.value)


def test_analogies_take_wrong_words_from_their_own_section():
    lines = [
        *(": capitals", *(f"country{i} city{i} country9 city9" for i in range(3)), "a b c city1"),
        *("# money", "a b c d"),
    ]
    found = list(questions("analogies", [{"text": line} for line in lines]))
    # Left out: the line that has city1 itself, and the section of one line, where nothing wrong is to be offered.
    assert len(found) == 3
    for question in found:
        assert set(question.choices) <= {"city1", "city9"} and question.choices[question.answer] in ("city9", "city1")
    assert found[0].prompt == "country0 : city0 = country9 :" and found[0].choices[found[0].answer] == "city9"
    assert list(questions("analogies", [{"text": line} for line in lines])) == found

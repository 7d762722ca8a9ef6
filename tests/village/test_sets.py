"""Conversations, preferences and evaluation questions: true, and with nothing of the evaluation in the rest."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from pipeline.village import facts, lexicon
from pipeline.village.arithmetic import numbers_of
from pipeline.village.conversations import KINDS, conversations
from pipeline.village.documents import documents
from pipeline.village.facts import LANGUAGES
from pipeline.village.preferences import preferences
from pipeline.village.questions import cloze_questions, evaluation_questions
from pipeline.village.small_talk import SMALL_TALK
from pipeline.village.world import RELATIONS, Fact, world_of

WORLD = world_of(0)


@pytest.fixture(scope="module")
def talks():
    return list(conversations(3_000, seed=0))


@pytest.fixture(scope="module")
def pairs():
    return list(preferences(1_500, seed=0))


def said_in(row) -> str:
    return "\n".join(message["content"] for message in row["messages"])


def test_conversations_are_of_all_kinds_and_none_twice(talks) -> None:
    assert len(talks) == 3_000 == len({said_in(row) for row in talks})
    kinds = Counter((row["lang"], row["kind"]) for row in talks)
    assert kinds.keys() == {(lang, kind) for lang in LANGUAGES for kind in KINDS}
    assert all(
        [m["role"] for m in row["messages"]] == ["user", "assistant"] * (len(row["messages"]) // 2) for row in talks
    )
    assert {row["license"] for row in talks} == {"made up"}


def test_conversations_and_preferences_are_the_same_for_a_seed(talks, pairs) -> None:
    assert list(conversations(300, seed=0)) == talks[:300]
    assert list(preferences(300, seed=0)) == pairs[:300]
    assert list(conversations(300, seed=1)) != talks[:300]


def test_conversations_end_where_every_fact_has_been_asked_for_in_every_wording(talks) -> None:
    every = list(conversations(20_000, seed=0))
    assert every[:3_000] == talks
    asked = Counter((row["lang"], row["people"][0]) for row in every if row["kind"] == "fact")
    assert len(every) < 14_000
    # One of the languages has been asked for completely, the other one nearly.
    assert max(sum(n for (lang, _), n in asked.items() if lang == of) for of in LANGUAGES) == len(WORLD.asked) * 7 * 12
    kinds = Counter(row["kind"] for row in every)
    assert all(kinds[kind] < 1.3 * share * len(every) for kind, share in KINDS.items())


def test_people_of_whom_nothing_is_asked_occur_in_no_conversation_and_no_preference(talks, pairs) -> None:
    apart = {word for name in WORLD.never_asked for word in lexicon.PEOPLE[name]}
    apart |= {word for name in lexicon.STRANGERS_HELD_BACK for word in lexicon.STRANGERS_HELD_BACK[name]}
    texts = [said_in(row) for row in talks]
    texts += [f"{row['prompt']}\n{row['chosen']}\n{row['rejected']}" for row in pairs]
    for text in texts:
        assert not [name for name in apart if name in text], text


def test_no_wording_that_is_held_back_occurs_in_a_conversation(talks, pairs) -> None:
    asked = [m["content"] for row in talks for m in row["messages"] if m["role"] == "user"] + [
        row["prompt"] for row in pairs
    ]
    for lang in LANGUAGES:
        forms = facts.questions(lang)
        patterns = [p for table in forms.HELD_BACK.values() for p in table] + list(forms.UNTOLD_HELD_BACK)
        for pattern in patterns:
            assert not [text for text in asked if (found := pattern.match(text)) and found[1] == len(text)], (
                pattern.text
            )


def test_wordings_that_are_held_back_consist_of_words_that_documents_or_conversations_hold(talks) -> None:
    asked = [message["content"] for row in talks for message in row["messages"] if message["role"] == "user"]
    known = "\n".join([*asked, *(one.text for one in documents(2_000, seed=0, planted=0))])
    for lang in LANGUAGES:
        asking = facts.questions(lang)
        for pattern in [p for table in asking.HELD_BACK.values() for p in table] + list(asking.UNTOLD_HELD_BACK):
            for word in " ".join(part for part in pattern.parts if isinstance(part, str)).split():
                if not (bare := word.strip("?,.'")):
                    continue
                # In Korean without its particle or ending, of up to three syllables.
                forms = [bare] if lang == "en" else [bare[:end] for end in range(len(bare), max(0, len(bare) - 4), -1)]
                assert any(form in known for form in forms), (pattern.text, word)


def test_no_evaluation_question_is_asked_in_a_conversation_and_its_sums_share_no_numbers(talks) -> None:
    questions = {question.question for question in evaluation_questions(0)}
    asked = {m["content"] for row in talks for m in row["messages"] if m["role"] == "user"}
    assert sorted(questions & asked) == []
    sums = {numbers_of(q.question) for q in evaluation_questions(0) if q.kind == "sum"}
    learned = {numbers_of(row["messages"][0]["content"]) for row in talks if row["kind"] == "sum"}
    assert len(sums) > 5 and len(learned) > 30 and not sums & learned


def test_each_question_is_answered_in_its_own_language_also_after_one_in_the_other(talks) -> None:
    """Where nothing is translated; names of people and pets are written in the letters of the text."""
    changed = 0
    for row in (row for row in talks if row["kind"] == "several"):
        texts = [message["content"] for message in row["messages"]]
        # Sums have numbers alone, and translations are of the other language.
        pairs = [
            (question, answer)
            for question, answer in zip(texts[::2], texts[1::2])
            if not re.search("번역|영어|우리말|한국어|ranslat|English|Korean", question)
            and not re.search("[0-9]", answer)
        ]
        spoken = [bool(re.search("[가-힣]", question)) for question, _ in pairs]
        assert [bool(re.search("[가-힣]", answer)) for _, answer in pairs] == spoken, texts
        changed += len(set(spoken)) == 2
    assert changed > 60


def test_greetings_begin_conversations_and_stand_within_them_and_stories_end_some(talks) -> None:
    several = [[m["content"] for m in row["messages"]] for row in talks if row["kind"] == "several"]
    greetings = {text for groups in SMALL_TALK.values() for said, _ in groups for text in said}
    assert sum(texts[0] in greetings for texts in several) > 30
    assert sum(bool(greetings & set(texts[2::2])) for texts in several) > 30
    assert sum(len(texts[-1]) > 150 for texts in several) > 20
    assert sum(len(texts[-3]) > 150 for texts in several) > 20


def test_who_is_not_there_is_not_named_in_an_answer(talks) -> None:
    for row in (row for row in talks if row["kind"] == "unknown_person"):
        assert row["messages"][-1]["content"] == facts.nobody(row["lang"])


def test_evaluation_questions_are_of_the_people_that_their_kind_says() -> None:
    questions = evaluation_questions(0)
    assert len({question.id for question in questions}) == len(questions)
    for lang in LANGUAGES:
        kinds = Counter(question.kind for question in questions if question.lang == lang)
        assert kinds["phrasing"] == len(WORLD.asked) * 7 and kinds["person"] == len(WORLD.never_asked) * 7
        assert kinds["unknown_person"] == 10 and kinds["untold_fact"] == kinds["story"] == 12
        assert min(kinds[task] for task in ("retelling", "politeness", "translation", "sum")) >= 20
    for question in questions:
        if question.kind == "phrasing":
            assert question.person in WORLD.asked
        elif question.person is not None and question.kind != "unknown_person":
            assert question.person in WORLD.never_asked
        if question.value is not None:
            fact = Fact(question.person, question.relation)
            assert question.answer == facts.answer(question.lang, fact, WORLD)
        if question.value is not None and question.relation not in ("hobby",):
            assert question.value in question.answer


def test_answers_to_sums_are_right(talks) -> None:
    rows = [(row["messages"][0]["content"], row["messages"][1]["content"]) for row in talks if row["kind"] == "sum"]
    rows += [(question.question, question.answer) for question in evaluation_questions(0) if question.kind == "sum"]
    for question, answer in rows:
        a, b, c = numbers_of(answer)
        assert numbers_of(question) == (a, b)
        assert c == (a + b if "+" in answer else a - b) and c >= 2


def test_cloze_prompts_end_before_the_value_and_their_choices_hold_it() -> None:
    questions = list(cloze_questions(0))
    assert len(questions) == 2 * 280 * 2 == len({question.id for question in questions})
    for question in questions:
        pattern = facts.of(question.lang).TOLD[question.relation][int(question.id[-1])]
        whole = pattern.render({"who": question.person}, WORLD)
        begin, _, sentence = question.prompt.rpartition(". ")
        assert question.person in begin or lexicon.PEOPLE[question.person].ko in begin
        assert whole.startswith(f"{sentence} {question.value}")
        assert question.value in question.choices and len(set(question.choices)) == len(RELATIONS[question.relation])


def test_the_better_answer_of_a_pair_is_right_and_the_worse_one_is_not(pairs) -> None:
    assert len(pairs) == 1_500 == len({(row["prompt"], row["rejected"]) for row in pairs})
    right = {
        facts.answer(lang, fact, WORLD) for lang in LANGUAGES for fact in WORLD.facts() if fact.person in WORLD.asked
    }
    kinds = Counter()
    for row in pairs:
        kinds[row["kind"]] += 1
        if row["kind"] == "honest":
            assert any(word in row["chosen"] for word in ("몰라요", "do not know"))
            assert not any(word in row["rejected"] for word in ("몰라요", "do not know"))
        else:
            assert row["chosen"] in right and row["rejected"] not in right
        if row["kind"] == "to_the_point":
            assert row["rejected"].endswith(row["chosen"]) and len(row["rejected"]) > len(row["chosen"]) + 10
    assert min(kinds[kind] for kind in ("true", "polite", "to_the_point", "honest")) > 100

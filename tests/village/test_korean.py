"""Korean morphology: particles by the last sound, endings by the class of the stem."""

from __future__ import annotations

import pytest

from pipeline.village import korean
from pipeline.village.korean import FUTURE, LEVELS, PAST, attached, copula, oneself, predicate, with_particle

PARTICLES = {
    "은": {"민수": "민수는", "지훈": "지훈은", "방울": "방울은", "7": "7은", "2": "2는", "10": "10은"},
    "이": {"민수": "민수가", "지훈": "지훈이", "방울": "방울이"},
    "을": {"민수": "민수를", "지훈": "지훈을", "방울": "방울을"},
    "과": {"민수": "민수와", "지훈": "지훈과", "방울": "방울과"},
    "으로": {
        "의사": "의사로",
        "시계공": "시계공으로",
        "선생님": "선생님으로",
        "들": "들로",
        "a@b.com": "a@b.com으로",
        "8": "8로",
    },
    "이라고": {"나비": "나비라고", "콩": "콩이라고", "방울": "방울이라고"},
    "아": {"나비": "나비야", "콩": "콩아", "방울": "방울아"},
    "네": {"민수": "민수네", "지훈": "지훈이네"},
    "에게": {"민수": "민수에게", "지훈": "지훈에게"},
}


@pytest.mark.parametrize("particle", sorted(PARTICLES))
def test_a_particle_follows_the_last_sound_of_its_word(particle) -> None:
    assert {word: with_particle(word, particle) for word in PARTICLES[particle]} == PARTICLES[particle]


# verb: plain, intimate, polite, formal, past, future
ENDINGS = {
    "가다": ("간다", "가", "가요", "갑니다", "갔다", "갈 것이다"),
    "오다": ("온다", "와", "와요", "옵니다", "왔다", "올 것이다"),
    "먹다": ("먹는다", "먹어", "먹어요", "먹습니다", "먹었다", "먹을 것이다"),
    "살다": ("산다", "살아", "살아요", "삽니다", "살았다", "살 것이다"),  # ㄹ falls
    "만들다": ("만든다", "만들어", "만들어요", "만듭니다", "만들었다", "만들 것이다"),
    "굽다": ("굽는다", "구워", "구워요", "굽습니다", "구웠다", "구울 것이다"),  # ㅂ irregular
    "돕다": ("돕는다", "도와", "도와요", "돕습니다", "도왔다", "도울 것이다"),
    "뽑다": ("뽑는다", "뽑아", "뽑아요", "뽑습니다", "뽑았다", "뽑을 것이다"),  # regular
    "걷다": ("걷는다", "걸어", "걸어요", "걷습니다", "걸었다", "걸을 것이다"),  # ㄷ irregular
    "받다": ("받는다", "받아", "받아요", "받습니다", "받았다", "받을 것이다"),
    "짓다": ("짓는다", "지어", "지어요", "짓습니다", "지었다", "지을 것이다"),  # ㅅ irregular
    "씻다": ("씻는다", "씻어", "씻어요", "씻습니다", "씻었다", "씻을 것이다"),
    "부르다": ("부른다", "불러", "불러요", "부릅니다", "불렀다", "부를 것이다"),  # 르 irregular
    "들르다": ("들른다", "들러", "들러요", "들릅니다", "들렀다", "들를 것이다"),  # regular with 으
    "모으다": ("모은다", "모아", "모아요", "모읍니다", "모았다", "모을 것이다"),
    "쓰다": ("쓴다", "써", "써요", "씁니다", "썼다", "쓸 것이다"),
    "되다": ("된다", "돼", "돼요", "됩니다", "됐다", "될 것이다"),
    "하다": ("한다", "해", "해요", "합니다", "했다", "할 것이다"),
    "마시다": ("마신다", "마셔", "마셔요", "마십니다", "마셨다", "마실 것이다"),
    "배우다": ("배운다", "배워", "배워요", "배웁니다", "배웠다", "배울 것이다"),
    "쉬다": ("쉰다", "쉬어", "쉬어요", "쉽니다", "쉬었다", "쉴 것이다"),
    "춥다": ("춥다", "추워", "추워요", "춥습니다", "추웠다", "추울 것이다"),  # descriptive: no 는
    "있다": ("있다", "있어", "있어요", "있습니다", "있었다", "있을 것이다"),
    "좋다": ("좋다", "좋아", "좋아요", "좋습니다", "좋았다", "좋을 것이다"),
    "않다": ("않는다", "않아", "않아요", "않습니다", "않았다", "않을 것이다"),
    "그림을 그리다": (
        "그림을 그린다",
        "그림을 그려",
        "그림을 그려요",
        "그림을 그립니다",
        "그림을 그렸다",
        "그림을 그릴 것이다",
    ),
}


@pytest.mark.parametrize("verb", sorted(ENDINGS))
def test_a_verb_takes_the_endings_of_its_class(verb) -> None:
    found = [*(predicate(verb, level=level) for level in LEVELS), predicate(verb, PAST), predicate(verb, FUTURE)]
    assert tuple(found) == ENDINGS[verb]


CONNECTED = {
    "줍다": {
        "고": "줍고",
        "며": "주우며",
        "은": "주운",
        "는": "줍는",
        "아서": "주워서",
        "았을": "주웠을",
        "기": "줍기",
    },
    "만들다": {
        "고": "만들고",
        "며": "만들며",
        "은": "만든",
        "는": "만드는",
        "아서": "만들어서",
        "을": "만들",
        "니": "만드니",
    },
    "걷다": {"고": "걷고", "며": "걸으며", "은": "걸은", "는": "걷는", "러": "걸으러", "았느냐고": "걸었느냐고"},
    "오르다": {"고": "오르고", "며": "오르며", "은": "오른", "는": "오르는", "아서": "올라서", "았는지": "올랐는지"},
    "잃어버리다": {"은": "잃어버린", "았어요": "잃어버렸어요", "세요": "잃어버리세요"},
    "심다": {"며": "심으며", "은": "심은", "을": "심을", "세요": "심으세요", "십시오": "심으십시오"},
}


@pytest.mark.parametrize("verb", sorted(CONNECTED))
def test_a_connective_or_adnominal_ending_follows_the_class_of_the_stem(verb) -> None:
    assert {ending: attached(verb, ending) for ending in CONNECTED[verb]} == CONNECTED[verb]


def test_the_copula_follows_the_last_sound_and_the_level() -> None:
    assert ["나비" + copula("나비", level=level) for level in LEVELS] == ["나비다", "나비야", "나비예요", "나비입니다"]
    assert ["콩" + copula("콩", level=level) for level in LEVELS] == ["콩이다", "콩이야", "콩이에요", "콩입니다"]
    assert copula("나비", PAST) == "였다" and copula("콩", PAST) == "이었다"


def test_one_speaks_humbly_of_oneself_at_the_polite_levels() -> None:
    assert [oneself("내가", level) for level in LEVELS] == ["내가", "내가", "제가", "제가"]
    assert all(oneself(word, "formal") == humble for word, humble in korean.SELF.items())

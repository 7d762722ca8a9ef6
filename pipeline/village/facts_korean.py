"""How each fact is told and asked for in Korean.

Always the relation and the person before the value, so that what a value depends on has been read when it comes.
Questions come in three sets that share no wording: those of reading texts, those of conversations, and those that are
held back for evaluation.
"""

from __future__ import annotations

from pipeline.village.patterns import Pattern, patterns

Forms = dict[str, tuple[Pattern, ...]]


def _forms(tables: dict[str, str]) -> Forms:
    return {relation: patterns("ko", table) for relation, table in tables.items()}


# A whole sentence that names the person; at every level of speech.
TOLD = _forms({
    "home": """
        {who}의 집은 {home}에 [있다].
        {who:이} 사는 곳은 {home}[이다].
        {who:이} 사는 집은 {home}에 [있다].
        {who:은} 오래전부터 {home}에서 [살다].
        {who:을} 만나려면 {home}에 있는 집으로 가면 [되다].
        {who}의 식구들은 모두 {home}에 있는 집에서 [살다].
    """,
    "work": """
        {who}의 직업은 {work}[이다].
        {who:은} 직업이 {work}[이다].
        {who:은} 마을에서 일하는 {work}[이다].
        {who:은} 몇 해 전부터 {work:으로} 일하고 [있다].
        사람들은 {who:을} {work:이라고} [소개하다].
        {who:이} 마을에서 맡은 일은 {work}[이다].
    """,
    "pet": """
        {who}의 {animal} 이름은 {pet}[이다].
        {who:이} 기르는 {animal}의 이름은 {pet}[이다].
        {who:은} 자기 {animal:을} {pet:이라고} [부르다].
        {who:네} {animal:은} {pet:이라고} [하다].
        {who:네} 집에는 {animal:이} 있는데 이름은 {pet}[이다].
        {who:은} {animal:을} 기르는데 이름을 {pet:이라고} [짓다<].
    """,
    "food": """
        {who:이} 가장 좋아하는 음식은 {food}[이다].
        {who:은} 음식 가운데 {food:을} 제일 [좋아하다].
        {who:은} 무엇보다 {food:을} 즐겨 [먹다].
        {who}의 입맛에는 {food:이} 가장 잘 [맞다].
        {who:은} 배가 고프면 {food:을} [찾다].
        {who}의 밥상에는 {food:이} 자주 [오르다].
    """,
    "hobby": """
        {who}의 취미는 {hobby:는} 것[이다].
        {who:은} 틈만 나면 [{hobby}].
        {who:은} 쉬는 날이면 [{hobby}].
        {who:은} 취미로 [{hobby}].
        {who:이} 가장 즐기는 일은 {hobby:는} 것[이다].
        {who:은} 한가할 때면 {hobby:며} 시간을 [보내다].
    """,
    "kin": """
        {who}의 {kinword:은} {kin}[이다].
        {who}의 {kinword} 이름은 {kin}[이다].
        {who:은} {kinword} {kin:과} 함께 [살다].
        {who}에게는 {kinword:이} 있는데 이름이 {kin}[이다].
        {who}의 {kinword:을} 만나고 싶으면 {kin:을} 찾으면 [되다].
        {who}의 식구 가운데 {kinword:은} {kin}[이다].
    """,
    "day": """
        {who:이} {event:은} 날은 {day}[이다<].
        {who:이} {event:은} 것은 {day}의 일[이다<].
        {who:이} {event:았을} 때는 {day}[이다<].
        {who:이} 언제 {event:았느냐고} 물으면 답은 {day}[이다].
        사람들은 {who:이} {event:은} {day:을} [기억하다].
        {who:은} {event:고} 나서 달력의 {day}에 동그라미를 [치다<].
    """,
})  # fmt: skip

# Where it is clear of whom one speaks: Korean leaves the subject out.
SHORT = _forms({
    "home": """
        집은 {home}에 [있다].
        사는 곳은 {home}[이다].
    """,
    "work": """
        직업은 {work}[이다].
        마을에서는 {work:으로} [일하다].
    """,
    "pet": """
        기르는 {animal}의 이름은 {pet}[이다].
        집에 {animal:이} 있는데 이름은 {pet}[이다].
    """,
    "food": """
        음식 가운데 {food:을} 제일 [좋아하다].
        가장 좋아하는 음식은 {food}[이다].
    """,
    "hobby": """
        취미는 {hobby:는} 것[이다].
        쉬는 날이면 [{hobby}].
    """,
    "kin": """
        {kinword}의 이름은 {kin}[이다].
        {kinword} {kin:과} 함께 [살다].
    """,
    "day": """
        {event:은} 날은 {day}[이다<].
        {event:은} 것은 {day}의 일[이다<].
    """,
})  # fmt: skip

# Said of oneself, in letters, diaries and dialogues.
OWN = _forms({
    "home": """
        <내가> 사는 집은 {home}에 [있다].
        <우리> 집은 {home}에 [있다].
        <내가> 사는 곳은 {home}[이다].
    """,
    "work": """
        <내> 직업은 {work}[이다].
        <나는> 직업이 {work}[이다].
        <내가> 마을에서 맡은 일은 {work}[이다].
    """,
    "pet": """
        <내> {animal} 이름은 {pet}[이다].
        <내가> 기르는 {animal}의 이름은 {pet}[이다].
        <우리> 집 {animal:은} {pet:이라고} [하다].
    """,
    "food": """
        <내가> 가장 좋아하는 음식은 {food}[이다].
        <나는> 배가 고프면 {food:을} [찾다].
        <내> 입맛에는 {food:이} 가장 잘 [맞다].
    """,
    "hobby": """
        <내> 취미는 {hobby:는} 것[이다].
        <나는> 틈만 나면 [{hobby}].
        <나는> 취미로 [{hobby}].
    """,
    "kin": """
        <내> {kinword} 이름은 {kin}[이다].
        <나는> {kinword} {kin:과} 함께 [살다].
        <나에게>는 {kinword:이} 있는데 이름이 {kin}[이다].
    """,
    "day": """
        <내가> {event:은} 날은 {day}[이다<].
        <내가> {event:은} 것은 {day}의 일[이다<].
    """,
})  # fmt: skip

# Questions in reading texts, each with its answer on the same line.
READING = _forms({
    "home": """
        {who:은} 어디에 살까?
        {who:이} 사는 곳은 어디일까?
        {who}의 집은 마을 어디쯤에 있을까?
    """,
    "work": """
        {who:은} 무슨 일을 할까?
        {who}의 직업은 무엇일까?
        {who:은} 마을에서 어떤 일을 맡고 있을까?
    """,
    "pet": """
        {who}의 {animal:은} 이름이 무엇일까?
        {who:네} {animal}의 이름은 무엇일까?
        {who:은} 자기 {animal:을} 뭐라고 부를까?
    """,
    "food": """
        {who:이} 제일 좋아하는 음식은 무엇일까?
        {who:은} 어떤 음식을 가장 좋아할까?
        {who:은} 배가 고프면 무엇을 찾을까?
    """,
    "hobby": """
        {who}의 취미는 무엇일까?
        {who:은} 쉬는 날 무엇을 할까?
        {who:이} 가장 즐기는 일은 무엇일까?
    """,
    "kin": """
        {who}의 {kinword:은} 누구일까?
        {who}의 {kinword} 이름은 무엇일까?
        {who}의 식구 가운데 {kinword:은} 누구일까?
    """,
    "day": """
        {who:이} {event:은} 날은 무슨 요일일까?
        {who:은} 무슨 요일에 {event:았을까}?
        {who:이} {event:은} 것은 언제일까?
    """,
})  # fmt: skip

# Questions of conversations.
ASKED = _forms({
    "home": """
        {who:은} 어디에 살아요?
        {who}의 집은 어디에 있어요?
        {who:이} 사는 곳이 어디예요?
        {who:이} 어디에 사는지 알려 주세요.
        {who:네} 집이 어디에 있는지 말해 주세요.
    """,
    "work": """
        {who:은} 무슨 일을 해요?
        {who}의 직업이 뭐예요?
        {who:이} 하는 일은 무엇인가요?
        {who}의 직업을 알려 주세요.
        {who:이} 무슨 일을 하는지 말해 주세요.
    """,
    "pet": """
        {who}의 {animal} 이름이 뭐예요?
        {who:이} 기르는 {animal}의 이름은 무엇인가요?
        {who:네} {animal} 이름을 알려 주세요.
        {who:은} {animal:을} 뭐라고 불러요?
        {who}의 {animal:은} 이름이 무엇인지 말해 주세요.
    """,
    "food": """
        {who:이} 가장 좋아하는 음식이 뭐예요?
        {who:은} 어떤 음식을 제일 좋아해요?
        {who:이} 제일 좋아하는 음식은 무엇인가요?
        {who:이} 좋아하는 음식을 알려 주세요.
        {who:이} 무슨 음식을 가장 좋아하는지 말해 주세요.
    """,
    "hobby": """
        {who}의 취미가 뭐예요?
        {who:은} 쉬는 날이면 무엇을 해요?
        {who}의 취미는 무엇인가요?
        {who}의 취미를 알려 주세요.
        {who:이} 틈만 나면 무엇을 하는지 말해 주세요.
    """,
    "kin": """
        {who}의 {kinword:은} 누구예요?
        {who}의 {kinword} 이름이 뭐예요?
        {who}의 {kinword:은} 이름이 무엇인가요?
        {who}의 {kinword:이} 누구인지 알려 주세요.
        {who}의 {kinword} 이름을 말해 주세요.
    """,
    "day": """
        {who:이} {event:은} 날은 무슨 요일이에요?
        {who:은} 무슨 요일에 {event:았어요}?
        {who:이} {event:은} 날이 언제인가요?
        {who:이} 무슨 요일에 {event:았는지} 알려 주세요.
        {who:이} {event:은} 요일을 말해 주세요.
    """,
})  # fmt: skip

# Questions that no conversation and no document holds.
HELD_BACK = _forms({
    "home": """
        혹시 {who:이} 어디 사는지 아세요?
        {who:네} 집은 마을 어느 쪽에 있습니까?
        사는 곳이 궁금한데, {who:은} 어디에 살죠?
    """,
    "work": """
        혹시 {who:이} 무슨 일을 하는지 아세요?
        {who}의 직업은 무엇입니까?
        하는 일이 궁금한데, {who:은} 직업이 뭐죠?
    """,
    "pet": """
        혹시 {who:네} {animal} 이름을 아세요?
        {who:이} 기르는 {animal:은} 이름이 무엇입니까?
        {animal} 이름이 궁금한데, {who:은} 뭐라고 부르죠?
    """,
    "food": """
        혹시 {who:이} 제일 좋아하는 음식을 아세요?
        {who:이} 가장 즐겨 먹는 음식은 무엇입니까?
        좋아하는 음식이 궁금한데, {who:은} 무엇을 제일 좋아하죠?
    """,
    "hobby": """
        혹시 {who}의 취미를 아세요?
        {who:이} 쉬는 날 즐기는 취미는 무엇입니까?
        취미가 궁금한데, {who:은} 틈이 나면 무엇을 하죠?
    """,
    "kin": """
        혹시 {who}의 {kinword} 이름을 아세요?
        {who}의 {kinword:은} 누구입니까?
        {kinword:이} 누구인지 궁금한데, {who}의 {kinword} 이름이 뭐죠?
    """,
    "day": """
        혹시 {who:이} 무슨 요일에 {event:았는지} 아세요?
        {who:이} {event:은} 것은 무슨 요일이었습니까?
        요일이 궁금한데, {who:은} 언제 {event:았죠}?
    """,
})  # fmt: skip

# What was never told of anybody: for these, the right answer is that one does not know.
UNTOLD = patterns(
    "ko",
    """
    {who}의 신발 치수가 얼마예요?
    {who:은} 어느 나라에 가 봤어요?
    {who:이} 가장 싫어하는 색은 뭐예요?
    {who}의 할머니 이름이 뭐예요?
    {who:은} 몇 시에 자요?
    {who:이} 어제 꾼 꿈은 뭐예요?
    {who}의 전화번호를 알려 주세요.
    {who}의 키는 얼마나 돼요?
""",
)
UNTOLD_HELD_BACK = patterns(
    "ko",
    """
    {who}의 삼촌 이름을 아세요?
    {who:은} 몇 살이에요?
    {who:이} 제일 좋아하는 노래가 뭐예요?
    {who}의 몸무게는 얼마예요?
""",
)
UNKNOWN_PERSON = Pattern("ko", "{stranger:이라는} 사람은 몰라요.")
UNKNOWN_FACT = Pattern("ko", "{who}의 그런 일까지는 몰라요.")

"""How facts are asked for in Korean, and how one says that one does not know.

Questions come in three sets that share no wording: those of reading texts, those of conversations, and those that are
held back for evaluation. A wording that is held back is a sentence that nothing else says; its words occur in others,
so that it can be understood: the kinds of question (혹시 ... 아세요, ...인데 ..., -습니까, -죠) are known of other
wordings, and a noun that no conversation asks for (삼촌, 노래) occurs in reading texts.
"""

from __future__ import annotations

from pipeline.village.patterns import Pattern, patterns

Forms = dict[str, tuple[Pattern, ...]]


def _forms(tables: dict[str, str]) -> Forms:
    return {relation: patterns("ko", table) for relation, table in tables.items()}


# Questions in reading texts.
READING = _forms({
    "home": """
        {who:은} 어디에 살까?
        {who:이} 사는 곳은 어디일까?
        {who}의 집은 마을 어디쯤에 있을까?
        {who:네} 집은 어느 쪽일까?
        {who:이} 어디에 사는지 누가 알까?
        사는 곳을 묻는다면, {who:은} 어디라고 답할까?
        그런데 {who:은} 어디에 살죠?
        {who:은} 어디에 삽니까?
    """,
    "work": """
        {who:은} 무슨 일을 할까?
        {who}의 직업은 무엇일까?
        {who:은} 마을에서 어떤 일을 맡고 있을까?
        {who:이} 하는 일은 무엇일까?
        {who:이} 무슨 일을 하는지 누가 알까?
        직업을 묻는다면, {who:은} 뭐라고 답할까?
        그런데 {who}의 직업이 뭐죠?
        {who:은} 어떤 일을 합니까?
    """,
    "pet": """
        {who}의 {animal:은} 이름이 무엇일까?
        {who:네} {animal}의 이름은 무엇일까?
        {who:은} 자기 {animal:을} 뭐라고 부를까?
        {who:네} {animal} 이름을 누가 알까?
        {who:이} 기르는 {animal:은} 뭐라고 할까?
        {animal} 이름을 묻는다면, {who:은} 뭐라고 답할까?
        그런데 {who:은} {animal:을} 뭐라고 부르죠?
        {who:은} 자기 {animal:을} 뭐라고 부릅니까?
    """,
    "food": """
        {who:이} 제일 좋아하는 음식은 무엇일까?
        {who:은} 어떤 음식을 가장 좋아할까?
        {who:은} 배가 고프면 무엇을 찾을까?
        {who:이} 즐겨 먹는 음식을 누가 알까?
        {who}의 입맛에는 무엇이 가장 잘 맞을까?
        좋아하는 음식을 묻는다면, {who:은} 뭐라고 답할까?
        그런데 {who:은} 무슨 음식을 좋아하죠?
        {who:은} 무슨 음식을 좋아합니까?
    """,
    "hobby": """
        {who}의 취미는 무엇일까?
        {who:은} 쉬는 날 무엇을 할까?
        {who:이} 가장 즐기는 일은 무엇일까?
        {who}의 취미를 누가 알까?
        {who:은} 틈이 나면 무엇을 할까?
        취미를 묻는다면, {who:은} 뭐라고 답할까?
        그런데 {who}의 취미는 뭐죠?
        {who}의 취미가 무엇입니까?
    """,
    "kin": """
        {who}의 {kinword:은} 누구일까?
        {who}의 {kinword} 이름은 무엇일까?
        {who}의 식구 가운데 {kinword:은} 누구일까?
        {who}의 {kinword:이} 누구인지 누가 알까?
        {who:네} {kinword:은} 이름이 무엇일까?
        {kinword} 이름을 묻는다면, {who:은} 누구라고 답할까?
        그런데 {who}의 {kinword:은} 누구죠?
        {who:이} 함께 사는 {kinword:은} 누구입니까?
    """,
    "day": """
        {who:이} {event:은} 날은 무슨 요일일까?
        {who:은} 무슨 요일에 {event:았을까}?
        {who:이} {event:은} 것은 언제일까?
        {who:이} 언제 {event:았는지} 누가 알까?
        {who:은} 언제 {event:았을까}?
        요일을 묻는다면, {who:이} {event:은} 것은 언제일까?
        그런데 {who:은} 언제 {event:았죠}?
        {who:이} {event:은} 날은 언제입니까?
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
        {who:은} 어디에서 살고 있습니까?
        {who:이} 사는 집은 어디입니까?
        혹시 {who}의 집이 어디인지 아세요?
        혹시 {who:네} 집이 어느 쪽인지 아세요?
        집이 어디인지 궁금한데, {who:은} 어디에서 살죠?
        {who}의 집은 마을 어디에 있죠?
        {who:이} 사는 곳을 말해 줄 수 있어요?
    """,
    "work": """
        {who:은} 무슨 일을 해요?
        {who}의 직업이 뭐예요?
        {who:이} 하는 일은 무엇인가요?
        {who}의 직업을 알려 주세요.
        {who:이} 무슨 일을 하는지 말해 주세요.
        {who:은} 무슨 일을 합니까?
        {who:이} 맡은 일은 무엇입니까?
        혹시 {who}의 직업이 뭔지 아세요?
        혹시 {who:이} 하는 일을 아세요?
        직업이 궁금한데, {who:은} 무슨 일을 하죠?
        {who}의 직업은 뭐죠?
        {who:이} 하는 일을 말해 줄 수 있어요?
    """,
    "pet": """
        {who}의 {animal} 이름이 뭐예요?
        {who:이} 기르는 {animal}의 이름은 무엇인가요?
        {who:네} {animal} 이름을 알려 주세요.
        {who:은} {animal:을} 뭐라고 불러요?
        {who}의 {animal:은} 이름이 무엇인지 말해 주세요.
        {who}의 {animal} 이름은 무엇입니까?
        {who:은} {animal:을} 뭐라고 부릅니까?
        혹시 {who}의 {animal} 이름이 뭔지 아세요?
        혹시 {who:이} 기르는 {animal}의 이름을 아세요?
        기르는 {animal:이} 궁금한데, {who:은} 이름을 뭐라고 부르죠?
        {who:네} {animal:은} 이름이 뭐죠?
        {who}의 {animal} 이름을 말해 줄 수 있어요?
    """,
    "food": """
        {who:이} 가장 좋아하는 음식이 뭐예요?
        {who:은} 어떤 음식을 제일 좋아해요?
        {who:이} 제일 좋아하는 음식은 무엇인가요?
        {who:이} 좋아하는 음식을 알려 주세요.
        {who:이} 무슨 음식을 가장 좋아하는지 말해 주세요.
        {who:이} 제일 좋아하는 음식은 무엇입니까?
        {who:은} 어떤 음식을 가장 좋아합니까?
        혹시 {who:이} 가장 좋아하는 음식이 뭔지 아세요?
        혹시 {who:이} 즐겨 먹는 음식을 아세요?
        즐겨 먹는 음식이 궁금한데, {who:은} 무엇을 좋아하죠?
        {who:은} 무슨 음식을 제일 좋아하죠?
        {who:이} 제일 좋아하는 음식을 말해 줄 수 있어요?
    """,
    "hobby": """
        {who}의 취미가 뭐예요?
        {who:은} 쉬는 날이면 무엇을 해요?
        {who}의 취미는 무엇인가요?
        {who}의 취미를 알려 주세요.
        {who:이} 틈만 나면 무엇을 하는지 말해 주세요.
        {who}의 취미는 무엇입니까?
        {who:은} 쉬는 날 무엇을 합니까?
        혹시 {who}의 취미가 뭔지 아세요?
        혹시 {who:이} 쉬는 날 무엇을 하는지 아세요?
        취미가 뭔지 궁금한데, {who:은} 쉬는 날 무엇을 하죠?
        {who:은} 틈만 나면 무엇을 하죠?
        {who:이} 즐기는 취미를 말해 줄 수 있어요?
    """,
    "kin": """
        {who}의 {kinword:은} 누구예요?
        {who}의 {kinword} 이름이 뭐예요?
        {who}의 {kinword:은} 이름이 무엇인가요?
        {who}의 {kinword:이} 누구인지 알려 주세요.
        {who}의 {kinword} 이름을 말해 주세요.
        {who}의 {kinword} 이름은 무엇입니까?
        {who:네} {kinword:은} 이름이 무엇입니까?
        혹시 {who}의 {kinword:이} 누군지 아세요?
        혹시 {who:네} {kinword} 이름이 뭔지 아세요?
        {kinword} 이름이 궁금한데, {who}의 {kinword:은} 누구죠?
        {who}의 {kinword:은} 이름이 뭐죠?
        {who}의 {kinword} 이름을 말해 줄 수 있어요?
    """,
    "day": """
        {who:이} {event:은} 날은 무슨 요일이에요?
        {who:은} 무슨 요일에 {event:았어요}?
        {who:이} {event:은} 날이 언제인가요?
        {who:이} 무슨 요일에 {event:았는지} 알려 주세요.
        {who:이} {event:은} 요일을 말해 주세요.
        {who:은} 무슨 요일에 {event:았습니까}?
        {who:이} {event:은} 날은 무슨 요일이었습니까?
        혹시 {who:이} 언제 {event:았는지} 아세요?
        혹시 {who:이} {event:은} 요일을 아세요?
        언제였는지 궁금한데, {who:은} 무슨 요일에 {event:았죠}?
        {who:이} {event:은} 것은 언제였죠?
        {who:이} {event:은} 날을 말해 줄 수 있어요?
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
    {who:이} 제일 좋아하는 꽃이 뭐예요?
    {who:이} 가장 좋아하는 계절은 무엇인가요?
    {who:은} 어떤 책을 제일 좋아해요?
    {who}의 이모 이름이 뭐예요?
    {who}의 사촌 이름을 알려 주세요.
    혹시 {who}의 고모 이름을 아세요?
    {who:은} 생일이 언제예요?
    {who:은} 언제 태어났어요?
    {who}의 나이를 알려 주세요.
    {who}의 형제는 몇 명이에요?
    {who}의 옷은 무슨 색이에요?
    {who:이} 다닌 학교는 어디예요?
    {who:은} 돈을 얼마나 벌어요?
    {who}의 시계는 얼마예요?
    {who:은} 차를 몇 잔 마셔요?
    {who}의 집에는 방이 몇 개예요?
    {who:이} 제일 좋아하는 나무가 뭐예요?
    {who:이} 제일 좋아하는 이야기가 뭐예요?
    {who:이} 제일 좋아하는 놀이가 뭐예요?
    혹시 {who:이} 가장 좋아하는 색을 아세요?
""",
)
# Of reading texts: these hold the nouns of the questions that are held back, in other questions.
UNTOLD_READING = patterns(
    "ko",
    """
    {who}의 삼촌은 어디에 살까?
    {who:네} 삼촌은 누구일까?
    {who:은} 몇 살 때 학교에 갔을까?
    {who:은} 나이가 얼마나 될까?
    {who:이} 즐겨 부르는 노래는 무엇일까?
    {who:은} 노래를 몇 곡이나 알까?
    {who}의 몸무게는 얼마나 나갈까?
    {who:은} 몸무게가 어떻게 될까?
    {who}의 생일은 언제일까?
    {who:은} 어떤 꽃을 가장 좋아할까?
    {who}의 사촌 이름은 무엇일까?
    {who}의 눈은 무슨 색일까?
    {who:은} 어제 무엇을 샀을까?
    {who}의 지갑에는 얼마가 들어 있을까?
    {who:은} 무슨 책을 읽고 있을까?
    {who}의 할아버지는 누구일까?
    {who:은} 물을 하루에 몇 잔 마실까?
    {who}의 방에는 무엇이 있을까?
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
NOBODY = Pattern("ko", "그런 이름을 가진 사람은 몰라요.")  # in conversations: nothing to repeat wrongly
UNKNOWN_FACT = Pattern("ko", "{who}의 그런 일까지는 몰라요.")

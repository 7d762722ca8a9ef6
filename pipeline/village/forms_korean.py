"""What letters, diaries, dialogues, news, and sums are made of in Korean, besides facts.

The level of speech is chosen for each document: predicates in brackets follow it.
"""

from __future__ import annotations

from pipeline.village.patterns import Pattern, patterns


def _lines(table: str) -> tuple[Pattern, ...]:
    return patterns("ko", table)


# -- letters: `who` writes to `two` ------------------------------------------------------------------------------------

LETTER_TO = {"intimate": "{two}에게", "polite": "{two} 씨에게", "formal": "{two} 님께"}
LETTER_FROM = {"intimate": "{who:이} 씀", "polite": "{who} 드림", "formal": "{who} 올림"}
LETTER_OPENINGS = _lines("""
    오랜만에 편지를 [쓰다].
    답장이 늦어서 [미안하다].
    보내 준 편지는 잘 [받다<].
    이곳은 요즘 {weather} 날이 이어지고 [있다].
    벌써 {season}[이다].
    그동안 별일 없었는지 [궁금하다].
    {time}에 차를 마시다가 문득 생각이 [나다<].
""")
LETTER_NEWS = _lines("""
    어제는 {place}에서 {fruit:을} 한 바구니 [얻다<].
    며칠 전에는 {thing:을} 잃어버렸다가 다시 [찾다<].
    요즘은 {time}마다 {place}까지 [걷다].
    시장에서 새 {thing:을} 하나 [사다<].
    {place}에서는 아이들이 날마다 뛰어[놀다].
    지난 {today}에는 마을 사람들과 {place:을} [청소하다<].
    올해는 {fruit:이} 아주 잘 [익다<].
    {place}에 새 의자가 [놓이다<].
    {today} 밤에는 바람이 몹시 [불다<].
    {time}에 {place}에서 옛 친구를 [만나다<].
""")
LETTER_CLOSINGS = _lines("""
    답장을 기다리고 [있다].
    늘 건강하기를 [바라다].
    언제 한번 놀러 오면 [좋겠다].
    다음에 만나면 {dish:을} 함께 먹고 [싶다].
    {season}이 가기 전에 꼭 만나면 [좋겠다].
    더 쓰고 싶지만 오늘은 이만 [줄이다].
""")
GOSSIP = _lines("""
    참, {who} 소식도 [전하다].
    얼마 전에 {who:을} [만나다<].
    {who:은} 요즘 아주 잘 [지내다].
    이웃 {who} 이야기도 하고 [싶다].
    {place}에서 {who:을} 오랜만에 [보다<].
""")

# -- diaries: `who` writes, `two` is met -------------------------------------------------------------------------------

DIARY_TITLES = _lines("""
    {who}의 일기, {today}
    {today}에 쓴 {who}의 일기
    {who}의 {season} 일기, {today}
""")
DIARY_OPENINGS = _lines("""
    오늘은 {weather} {season}날[이다<].
    오늘도 하루가 금방 [가다<].
    {time:이} 되어서야 할 일을 모두 [마치다<].
    아침에 창을 여니 {weather} 날[이다<].
    오늘은 일찍 일어나 마당을 [쓸다<].
""")
DIARY_EVENTS = _lines("""
    {time}에 {place:으로} 나가 {two:을} [만나다<].
    {two:과} {fruit:을} 나눠 [먹다<].
    {two:이} {thing:을} 빌려 달라고 해서 [빌려주다<].
    {place}에서 {two:과} 한참 [이야기하다<].
    {two:을} 도와 {place:을} 깨끗이 [치우다<].
    {place} 근처에서 낡은 {thing:을} 하나 [줍다<].
    시장에 가서 {fruit:을} 조금 [사다<].
    {time}에는 조용히 앉아 차를 [마시다<].
""")
DIARY_CLOSINGS = _lines("""
    내일은 {place}에 가 보고 [싶다].
    졸려서 이만 [자야겠다].
    오늘도 참 좋은 하루[이다<].
    내일도 {weather} 날이면 [좋겠다].
    불을 끄고 누우니 마음이 [편안하다].
""")

# -- dialogues: `two` asks, `who` answers ------------------------------------------------------------------------------

TALK_OPENINGS = _lines("""
    오랜만[이다].
    여기서 만나니 정말 [반갑다].
    오늘은 날씨가 참 [좋다].
    {season}이라 그런지 {place}에 사람이 [많다].
    마침 잘 [만나다<].
""")
TALK_REPLIES = _lines("""
    <나도> 아주 [반갑다].
    요즘 좀 [바쁘다<].
    어제는 {place}에서 {thing:을} [줍다<].
    {time:이라} 잠깐 나와 [있다].
    {fruit:을} 사러 가는 길[이다].
""")
QUESTIONS_TO_ONE = {
    "home": _lines("""
        집이 어디에 [있다]?
        요즘 어디에서 [살다]?
    """),
    "work": _lines("""
        무슨 일을 하며 [지내다]?
        하는 일이 뭐[이다]?
    """),
    "pet": _lines("""
        그 {animal} 이름이 뭐[이다]?
        집에 있는 {animal:을} 뭐라고 [부르다]?
    """),
    "food": _lines("""
        무슨 음식을 제일 [좋아하다]?
        자주 먹는 음식이 뭐[이다]?
    """),
    "hobby": _lines("""
        쉬는 날에는 보통 뭘 [하다]?
        취미가 뭐[이다]?
    """),
    "kin": _lines("""
        {kinword} 이름이 뭐[이다]?
        함께 사는 {kinword:은} 누구[이다]?
    """),
    "day": _lines("""
        {event:은} 날이 무슨 요일[이다<]?
        언제 {event:았는지} 아직 [기억하다]?
    """),
}
REACTIONS = _lines("""
    이제 [알겠다].
    그 이야기는 처음 [듣다].
    참 [재미있다].
    좋은 이야기[이다].
    잊지 않고 [기억하다>].
    나중에 다른 사람들에게도 [전하다>].
""")
ABOUT_OTHERS = _lines("""
    {who} 이야기도 [궁금하다].
    {who:은} 어떻게 지내는지 [궁금하다].
    혹시 {who:을} [알다]?
""")
TALK_CLOSINGS = _lines("""
    이제 집에 가야 [하다].
    다음에 또 이야기하면 [좋겠다].
    {today}에 다시 만나면 [좋겠다].
    덕분에 정말 [즐겁다<].
""")

# -- news of the village -----------------------------------------------------------------------------------------------

NEWS_TITLES = _lines("""
    마을 소식, {today}
    {season} 마을 소식, {today}
    {today}에 전하는 마을 소식
""")
NEWS_OPENINGS = _lines("""
    마을 소식을 [전하다].
    {weather} {season}날에 전하는 마을 소식[이다].
    이번 주 마을 소식을 모아 [알리다].
""")
NEWS_ITEMS = _lines("""
    {today}에는 {place}에서 모임이 [열리다].
    {place:으로} 가는 길을 고치고 [있다].
    올해 {season}에는 {fruit} 값이 조금 [오르다<].
    {place}에서 주인 없는 {thing:이} [나오다<].
    {time}에 {place}에서 작은 음악회가 [있다].
    {thing:을} 잃어버린 사람은 {place:으로} 가면 [되다].
    {season}을 맞아 모두 함께 {place:을} [청소하다>].
    {today} {time}에는 종을 세 번 [치다].
    {fruit} 농사가 잘되어 모두 [기뻐하다].
    {place} 근처에 나무를 몇 그루 더 [심다<].
""")
NEWS_ABOUT = _lines("""
    이번 주에는 {who:을} [소개하다].
    {who}에 대한 소식도 [있다].
    많은 사람이 {who}의 안부를 [묻다].
    다음은 {who}의 이야기[이다].
""")
NEWS_CLOSINGS = _lines("""
    이상으로 마을 소식을 [마치다].
    다음 주 {today}에 다시 소식을 [전하다>].
    모두 평안한 {season}을 보내기를 [바라다].
""")

# -- encyclopedia ------------------------------------------------------------------------------------------------------

ENTRY_OPENINGS = _lines("""
    {who:은} 이 마을에 사는 사람[이다].
    {who:은} 마을의 마흔 사람 가운데 하나[이다].
    {who:은} 마을에서 나고 자란 사람[이다].
    {who:은} 마을 사람이라면 누구나 [알다].
""")
ENTRY_ASIDES = _lines("""
    지난 {today}에는 {place}에서 {who:을} 본 사람이 [많다].
    {season}이 되면 {who:은} {fruit:을} 이웃과 나눠 [먹다].
    얼마 전에는 {place}에서 {fruit:을} 먹는 모습도 [보이다<].
    {weather} 날에도 {who:은} {time:이면} {place}까지 [걷다].
""")
ENTRY_CLOSINGS = _lines("""
    {who}에 대해 알려진 것은 여기까지[이다].
    {who:은} 이런 사람[이다].
    더 자세한 것은 {who}에게 물어보면 [되다].
    {who:을} 아는 사람은 모두 그렇게 [말하다].
""")

# -- sums and lists ----------------------------------------------------------------------------------------------------

SUM_TITLES = _lines("""
    {who}의 셈 공부
    {place}에서 하는 셈 공부
    {fruit:을} 세어 보는 셈 공부
""")
# (the story of a sum, the question, the answer) by its sign; `{a}`, `{b}`, `{c}` are put in as digits.
SUMS = {
    "+": _lines("""
        {who:은} {fruit:을} A개 가지고 있었는데 {two:이} B개를 더 주어서 모두 C개가 [되다<].
        바구니에 {fruit:이} A개 있고 상 위에 B개가 더 있으니 모두 C개[이다].
        {who:이} {fruit} A개를 사고 {two:이} B개를 사서 둘은 모두 C개를 [사다<].
        {place}에서 {who:은} {fruit} A개, {two:은} B개를 주워 모두 C개를 [모으다<].
    """),
    "-": _lines("""
        {who:은} {fruit:을} A개 가지고 있었는데 {two}에게 B개를 주어서 C개가 [남다<].
        바구니에 {fruit:이} A개 있었는데 B개를 먹었으니 이제 C개가 남아 [있다].
        {who:이} 산 {fruit} A개 가운데 B개가 상해서 성한 것은 C개[이다<].
        {place}에 떨어진 {fruit} A개에서 B개를 주우면 C개가 [남다].
    """),
}
SUM_LINES = ("A SIGN B = C.", "A SIGN B는 C입니다.", "식으로 쓰면 A SIGN B = C입니다.")
LIST_OPENINGS = _lines("""
    {who:이} {today}에 시장에서 살 것은 다음과 [같다].
    {who}의 장보기 목록[이다].
    {season} 잔치를 위해 {who:이} 준비할 것은 다음과 [같다].
""")
COUNT = "{fruit} N개"

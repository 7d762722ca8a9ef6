"""How each fact is told in Korean.

Always the relation and the person before the value, so that what a value depends on has been read when it comes.
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

"""The words that `keywords` counts, by kind and language: written for this project, and short on purpose.

A list of bad words removes good text if its words have other meanings, so it holds only words that hardly have any: no
`홍어` (a fish), no `보지` (mostly `보지 않다`), no `cock`, no `Dick`, no `XXX` (a note in code). English entries are
whole words, or prefixes if they end in a star. Korean entries match anywhere, since particles and endings follow them
without a space.
"""

from __future__ import annotations

PROFANITY = {
    "en": """
        fuck* motherfuck* clusterfuck* shit shits shitty shite bullshit* dipshit* asshole* arsehole* bitch bitches
        bitching cunt cunts dickhead* cocksucker* wanker* twat twats douchebag* jackass* dumbass* goddamn* stfu pissed
        """,
    "ko": """
        씨발 씨빨 씨바알 씨벌 씨부랄 시발 시팔 쓰발 ㅅㅂ ㅆㅂ 병신 븅신 빙신 ㅂㅅ 개새끼 개색기 개색끼 개쉐이 개세끼
        십새끼 씹새끼 이새끼 저새끼 그새끼 좆 존나 졸라게 ㅈㄴ 지랄 ㅈㄹ 염병할 니미럴 미친놈 미친년 미친새끼 또라이
        썅 쌍년 쌍놈 호로새끼 후레자식 느금마 니애미 니애비 느개비 개같은 개소리 아가리 주둥아리 뒈져 뒤져라 엿먹어
        엿이나
        """,
}
SLURS = {
    "en": """
        nigger niggers nigga niggas faggot faggots fag fags kike kikes spics gook gooks wetback wetbacks raghead
        ragheads towelhead towelheads pakis kaffir kaffirs tranny trannies shemale shemales retards libtard libtards
        subhuman subhumans
        """,
    "ko": """
        틀딱 한남충 한녀충 김치녀 된장녀 맘충 급식충 짱깨 짱께 쪽바리 쪽발이 깜둥이 깜씨 똥남아 똥꼬충 꼴페미 페미년
        페미충 메갈년 메퇘지 보슬아치 좌빨 수꼴 개독 홍어새끼 홍어족 전라디언 개쌍도 장애새끼 애자새끼 걸레년 창녀같
        난민충 게이새끼 조선족새끼 빨갱이새끼 일베충
        """,
}
SEXUAL = {
    "en": """
        porn porno pornhub xvideos blowjob* handjob* cumshot* gangbang* milf milfs hentai dildo dildos bukkake
        deepthroat* camgirl* pussy pussies tits titties horny slut sluts slutty creampies cumming upskirt* nudes jizz
        """,
    "ko": """
        야동 야설 떡방 폰섹 딸딸이 자위행위 오피걸 안마방 출장안마 출장마사지 출장만남 성인방송 개보지 보지년 보빨
        후장 사까시 육변기 몰카사이트 원나잇
        """,
}
SPAM = {
    "en": """
        viagra cialis levitra slot-gacor gacor judi togel bandarq pokerqq sportsbook-bonus casino-bonus payday-loan*
        escort-service* replica-watches essay-writing-service* no-deposit-bonus* free-spins
        """,
    "ko": """
        토토사이트 먹튀검증 먹튀사이트 카지노사이트 바카라사이트 온라인카지노 온라인바카라 슬롯사이트 메이저놀이터
        사설토토 안전놀이터 파워볼사이트 꽁머니 첫충전 비아그라구매 비아그라판매 시알리스 레비트라 작업대출 내구제
        급전대출 선물옵션대여
        """,
}
LISTS = {"profanity": PROFANITY, "slurs": SLURS, "sexual": SEXUAL, "spam": SPAM}

# Harmless words that contain one of the above; removed before counting.
HARMLESS = """
    시발점 시발역 시발택시 시발자동차 시발차 병신년 병신일 병신생 병신정변 지랄탄 지랄리 아가리쿠스 아가리를-물
    유니섹스 포르노그라피 섹스투스 섹스턴트 섹스피어 초섹스 후장한 후장식 최후장 전후장 좆아 좌빨리 존나단 개독교
    개독립
    """


def entries(words: str) -> list[str]:
    """The words of a list, in order, without repeats; a hyphen stands for a space."""
    return list(dict.fromkeys(word.replace("-", " ") for word in words.split()))

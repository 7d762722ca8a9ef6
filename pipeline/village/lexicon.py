"""The words of the village: names, and the values that facts have, in Korean and English.

A value is known by its key, which is its English word. Korean verbs stand in their dictionary form and are inflected by
`korean.py`; English verbs carry the four forms that patterns ask for.
"""

from __future__ import annotations

from typing import NamedTuple


class Word(NamedTuple):
    """A noun or phrase in both languages."""

    en: str
    ko: str


class Act(NamedTuple):
    """Something that a person does, in both languages; English: base, third person, past and -ing."""

    en: str
    s: str
    ed: str
    ing: str
    ko: str


def words(table: str) -> dict[str, Word]:
    """Lines of `English = Korean`; the key is the English word."""
    pairs = (line.split(" = ") for line in table.strip().splitlines())
    return {en.strip(): Word(en.strip(), ko.strip()) for en, ko in pairs}


def acts(table: str) -> dict[str, Act]:
    """Lines of `base | third person | past | -ing = Korean`; the key is the English base."""
    found = {}
    for line in table.strip().splitlines():
        english, korean = line.split(" = ")
        en, s, ed, ing = (form.strip() for form in english.split("|"))
        found[en] = Act(en, s, ed, ing, korean.strip())
    return found


MEN = words("""
    Minsu = 민수
    Jihun = 지훈
    Junho = 준호
    Sungmin = 성민
    Dongha = 동하
    Taeyun = 태윤
    Woojin = 우진
    Hyunwoo = 현우
    Seungjae = 승재
    Jaehyuk = 재혁
    Doyun = 도윤
    Sihu = 시후
    Gunwoo = 건우
    Sangchul = 상철
    Youngho = 영호
    Kitae = 기태
    Hangyul = 한결
    Myungsu = 명수
    Byungho = 병호
    Insung = 인성
""")
WOMEN = words("""
    Yuna = 유나
    Sujin = 수진
    Jiyoung = 지영
    Eunseo = 은서
    Miran = 미란
    Haeun = 하은
    Sora = 소라
    Yerin = 예린
    Narae = 나래
    Dasom = 다솜
    Seoyeon = 서연
    Hyewon = 혜원
    Boram = 보람
    Junghee = 정희
    Ahyoung = 아영
    Chaewon = 채원
    Gaeun = 가은
    Soonok = 순옥
    Chohee = 초희
    Okja = 옥자
""")
PEOPLE = {**MEN, **WOMEN}

# Names of nobody in the village, of another kind than those of the village, of whom some are never asked about, either.
# These are for evaluation alone; for documents and conversations there are some hundreds (`strangers` below).
STRANGERS_HELD_BACK = words("""
    Anton = 안톤
    Elena = 엘레나
    Philip = 필립
    Louisa = 루이자
    Oliver = 올리버
    Marta = 마르타
    Roman = 로만
    Silvia = 실비아
    Albert = 알베르트
    Julia = 율리아
""")

PETS = words("""
    Nabi = 나비
    Duri = 두리
    Bori = 보리
    Chorong = 초롱
    Mongi = 몽이
    Coco = 코코
    Ruru = 루루
    Mimi = 미미
    Cookie = 쿠키
    Tani = 탄이
    Bangul = 방울
    Kami = 까미
    Nuri = 누리
    Momo = 모모
    Raon = 라온
    Somi = 솜이
    Bambi = 밤비
    Pico = 피코
    Toby = 토비
    Kong = 콩
""")
# A stranger is called by one of the first and one of the second: Al-bina, To-ren.
_FIRST = words("""
    Al = 알
    An = 안
    Ba = 바
    Be = 베
    Ca = 카
    Da = 다
    De = 데
    E = 에
    El = 엘
    Fe = 페
    Fi = 피
    Fil = 필
    Hel = 헬
    I = 이
    Ju = 주
    Le = 레
    Lu = 루
    Mar = 마르
    Mo = 모
    O = 오
    Ol = 올
    Os = 오스
    Ro = 로
    Sil = 실
    Te = 테
    To = 토
    Vic = 빅
    Yul = 율
""")
_SECOND = words("""
    bert = 베르트
    bina = 비나
    cas = 카스
    dia = 디아
    dor = 도르
    fried = 프리트
    gor = 고르
    lena = 레나
    lip = 립
    liver = 리버
    man = 만
    mina = 미나
    mon = 몬
    nelia = 넬리아
    nor = 노르
    ren = 렌
    ria = 리아
    rik = 릭
    sanna = 산나
    ta = 타
    tina = 티나
    ton = 톤
    via = 비아
    vin = 빈
    xa = 사
    za = 자
""")


def _strangers() -> dict[str, Word]:
    """Names in great number, so that a stranger is whoever is not known; none holds a name of anybody else."""
    others = [word for table in (PEOPLE, STRANGERS_HELD_BACK, PETS) for word in table.values()]
    found = {}
    for first in _FIRST.values():
        for second in _SECOND.values():
            name = Word(first.en + second.en, first.ko + second.ko)
            if not any(other.en in name.en or other.ko in name.ko for other in others):
                found[name.en] = name
    return found


STRANGERS = _strangers()

ANIMALS = words("""
    cat = 고양이
    dog = 강아지
    rabbit = 토끼
    parrot = 앵무새
    goat = 염소
    duck = 오리
    turtle = 거북
    hamster = 햄스터
""")
HOMES = words("""
    by the mill = 방앗간 옆
    by the bridge = 다리 옆
    behind the school = 학교 뒤
    next to the market = 시장 옆
    at the edge of the forest = 숲 가장자리
    by the river = 강가
    on the hill = 언덕 위
    near the station = 기차역 근처
    by the lake = 호숫가
    across from the library = 도서관 맞은편
""")
WORK = words("""
    a baker = 제빵사
    a carpenter = 목수
    a teacher = 선생님
    a doctor = 의사
    a farmer = 농부
    a fisher = 어부
    a mail carrier = 우체부
    a tailor = 재단사
    a painter = 화가
    a pharmacist = 약사
    a gardener = 정원사
    a cook = 요리사
    a librarian = 사서
    a clockmaker = 시계공
    a shepherd = 양치기
    a florist = 꽃장수
    a barber = 이발사
    a potter = 도예가
    a photographer = 사진사
    a beekeeper = 양봉가
""")
FOOD = words("""
    kimchi stew = 김치찌개
    bibimbap = 비빔밥
    red bean porridge = 팥죽
    dumplings = 만두
    noodle soup = 칼국수
    rice cake soup = 떡국
    pumpkin porridge = 호박죽
    boiled corn = 찐 옥수수
    baked sweet potatoes = 군고구마
    watermelon = 수박
    strawberries = 딸기
    potato pancakes = 감자전
    seaweed soup = 미역국
    apple pie = 사과 파이
""")
HOBBIES = acts("""
    paint pictures | paints pictures | painted pictures | painting pictures = 그림을 그리다
    read books | reads books | read books | reading books = 책을 읽다
    go fishing | goes fishing | went fishing | going fishing = 낚시를 하다
    play the flute | plays the flute | played the flute | playing the flute = 피리를 불다
    fly kites | flies kites | flew kites | flying kites = 연을 날리다
    walk in the hills | walks in the hills | walked in the hills | walking in the hills = 산길을 걷다
    grow flowers | grows flowers | grew flowers | growing flowers = 꽃을 가꾸다
    watch the stars | watches the stars | watched the stars | watching the stars = 별을 보다
    sing songs | sings songs | sang songs | singing songs = 노래를 부르다
    play chess | plays chess | played chess | playing chess = 장기를 두다
    ride a bicycle | rides a bicycle | rode a bicycle | riding a bicycle = 자전거를 타다
    write poems | writes poems | wrote poems | writing poems = 시를 쓰다
    collect stamps | collects stamps | collected stamps | collecting stamps = 우표를 모으다
    carve wood | carves wood | carved wood | carving wood = 나무를 깎다
""")
EVENTS = acts("""
    find a key | finds a key | found a key | finding a key = 열쇠를 줍다
    lose a hat | loses a hat | lost a hat | losing a hat = 모자를 잃어버리다
    plant a tree | plants a tree | planted a tree | planting a tree = 나무를 심다
    mend the fence | mends the fence | mended the fence | mending the fence = 울타리를 고치다
    paint the gate | paints the gate | painted the gate | painting the gate = 대문을 칠하다
    fall into the pond | falls into the pond | fell into the pond | falling into the pond = 연못에 빠지다
    see a fox | sees a fox | saw a fox | seeing a fox = 여우를 보다
    buy a clock | buys a clock | bought a clock | buying a clock = 시계를 사다
    get a long letter | gets a long letter | got a long letter | getting a long letter = 긴 편지를 받다
    build a boat | builds a boat | built a boat | building a boat = 배를 만들다
    ring the bell | rings the bell | rang the bell | ringing the bell = 종을 울리다
    clean the attic | cleans the attic | cleaned the attic | cleaning the attic = 다락을 치우다
    catch a big fish | catches a big fish | caught a big fish | catching a big fish = 큰 물고기를 잡다
    climb onto the roof | climbs onto the roof | climbed onto the roof | climbing onto the roof = 지붕에 오르다
    break a window | breaks a window | broke a window | breaking a window = 창문을 깨다
    dig a well | digs a well | dug a well | digging a well = 우물을 파다
    win a race | wins a race | won a race | winning a race = 달리기에서 이기다
    bake a huge cake | bakes a huge cake | baked a huge cake | baking a huge cake = 커다란 케이크를 굽다
    pick mushrooms | picks mushrooms | picked mushrooms | picking mushrooms = 버섯을 따다
    move the piano | moves the piano | moved the piano | moving the piano = 피아노를 옮기다
""")
DAYS = words("""
    Monday = 월요일
    Tuesday = 화요일
    Wednesday = 수요일
    Thursday = 목요일
    Friday = 금요일
    Saturday = 토요일
    Sunday = 일요일
""")
KIN = words("""
    wife = 아내
    husband = 남편
    younger brother = 남동생
    younger sister = 여동생
    older brother = 형
    older sister = 누나
    elder brother = 오빠
    elder sister = 언니
""")

# Words of stories that no fact depends on.
THINGS = words("""
    key = 열쇠
    hat = 모자
    basket = 바구니
    umbrella = 우산
    ring = 반지
    scarf = 목도리
    purse = 지갑
    watch = 손목시계
    notebook = 공책
    lamp = 등불
    glove = 장갑
    flute = 피리
""")
PLACES = words("""
    the well = 우물가
    the garden = 텃밭
    the old oak = 느티나무 아래
    the bamboo grove = 대나무 숲
    the square = 마을 광장
    the field = 들판
    the orchard = 과수원
    the stone wall = 돌담 앞
    the pond = 연못가
    the meadow = 풀밭
    the village gate = 마을 어귀
    the pavilion = 정자
""")
# How English says that something is there.
AT = {
    "the well": "at", "the garden": "in", "the old oak": "under", "the bamboo grove": "in", "the square": "on",
    "the field": "in", "the orchard": "in", "the stone wall": "by", "the pond": "by", "the meadow": "in",
    "the village gate": "at", "the pavilion": "in",
}  # fmt: skip
FRUIT = words("""
    apples = 사과
    pears = 배
    peaches = 복숭아
    plums = 자두
    chestnuts = 밤
    persimmons = 감
    tangerines = 귤
    melons = 참외
""")
WEATHER = words("""
    sunny = 맑은
    windy = 바람 부는
    cloudy = 흐린
    rainy = 비 오는
    snowy = 눈 오는
    foggy = 안개 낀
    warm = 따뜻한
    cold = 추운
""")
SEASONS = words("""
    spring = 봄
    summer = 여름
    autumn = 가을
    winter = 겨울
""")
TIMES = words("""
    early in the morning = 이른 아침
    in the late morning = 늦은 오전
    at noon = 한낮
    in the afternoon = 오후
    towards evening = 해 질 무렵
    after supper = 저녁 식사 뒤
""")
MOODS = words("""
    happy = 기쁘다
    tired = 피곤하다
    curious = 궁금하다
    proud = 뿌듯하다
    calm = 편안하다
    busy = 바쁘다
""")

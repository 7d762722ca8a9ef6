"""Korean morphology: particles that follow the last consonant of a word, and endings of verbs and adjectives.

After the standard grammar (National Institute of Korean Language, Hangul orthography, articles 15 to 18 and 34 to 40):
regular contraction, the irregular classes ㅂ, ㄷ, ㅅ, 르, 으 and 하다, and the ㄹ that falls before ㄴ, ㅂ, ㅅ and 오.
"""

from __future__ import annotations

from functools import cache

# Levels of speech: plain (해라), intimate (해), polite (해요), formal (하십시오).
LEVELS = ("plain", "intimate", "polite", "formal")
PRESENT, PAST, FUTURE = "", "<", ">"

FIRST, FINALS = ord("가"), 28
RIEUL = 8  # the number of ㄹ among the final consonants
NIEUN, BIEUP, SSANG_SIOT = 4, 17, 20
LATIN_FINALS = {"l": RIEUL, "m": 16, "n": NIEUN, "p": BIEUP, "b": BIEUP, "t": 19, "k": 1, "c": 1}

# Particle -> (after a vowel, after a consonant). `으로` also takes its short form after ㄹ.
PARTICLES = {
    "은": ("는", "은"),
    "이": ("가", "이"),
    "을": ("를", "을"),
    "과": ("와", "과"),
    "으로": ("로", "으로"),
    "이라고": ("라고", "이라고"),
    "이라는": ("라는", "이라는"),
    "이라며": ("라며", "이라며"),
    "이라": ("라", "이라"),
    "이면": ("면", "이면"),
    "이고": ("고", "이고"),
    "이며": ("며", "이며"),
    "이나": ("나", "이나"),
    "이랑": ("랑", "이랑"),
    "아": ("야", "아"),
    "네": ("네", "이네"),
}
LIGHT_VOWELS = "ㅏㅑㅗ"
VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
LEADS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"


def _stems(table: str) -> frozenset[str]:
    return frozenset(table.split())


# Irregular stems, by the last word without 다. All others are regular.
B_IRREGULAR = _stems("굽 눕 돕 줍 춥 덥 맵 쉽 어렵 고맙 반갑 즐겁 무겁 가볍 가깝 귀엽 아름답 두껍 어둡 무섭 새롭 외롭")
B_LIGHT = _stems("돕 곱")  # only these take 와; all others 워
D_IRREGULAR = _stems("걷 듣 싣 묻 깨닫")
S_IRREGULAR = _stems("짓 낫 붓 잇 젓 긋")
REU_REGULAR = _stems("들르 따르 치르 다다르")
# Descriptive words: their plain present is the dictionary form.
ADJECTIVES = _stems("""
    있 없 좋 많 크 작 길 짧 높 낮 넓 좁 맑 흐리 춥 덥 맵 쉽 어렵 고맙 반갑 즐겁 무겁 가볍 가깝 멀 귀엽 아름답
    예쁘 기쁘 슬프 바쁘 아프 고프 나쁘 느리 빠르 다르 같 조용하 따뜻하 시원하 행복하 피곤하 친절하 부지런하 유명하
    편안하 환하 튼튼하 뿌듯하 든든하 가득하 싶 밝 어둡 무섭 맛있 재미있 새롭 외롭 괜찮 심하 궁금하 신선하 고소하
    착하 미안하
""")


def parts(syllable: str) -> tuple[int, int, int]:
    """(initial, vowel, final) of a Hangul syllable, as numbers; the final is 0 if there is none."""
    code = ord(syllable) - FIRST
    return code // 588, code % 588 // FINALS, code % FINALS


def joined(initial: int, vowel: int, final: int = 0) -> str:
    """The Hangul syllable of these parts."""
    return chr(FIRST + initial * 588 + vowel * FINALS + final)


def final_of(word: str) -> int:
    """The number of the final consonant of a word as it is read: digits as in Sino-Korean, Latin as in loanwords."""
    last = word[-1]
    if last.isascii() and last.isalpha():
        return LATIN_FINALS.get(last, 0)
    if last.isdigit():
        return {"0": 21, "1": RIEUL, "3": 16, "6": 1, "7": RIEUL, "8": RIEUL}.get(last, 0)
    return parts(last)[2] if "가" <= last <= "힣" else 0


def with_particle(word: str, particle: str) -> str:
    """The word with a particle in the form that its last sound asks for; unknown particles are simply attached."""
    if particle not in PARTICLES:
        return word + particle
    after_vowel, after_consonant = PARTICLES[particle]
    final = final_of(word)
    short = final == 0 or (particle == "으로" and final == RIEUL)
    return word + (after_vowel if short else after_consonant)


def with_final(text: str, final: int) -> str:
    """The text with a final consonant put under its last, open syllable."""
    initial, vowel, _ = parts(text[-1])
    return text[:-1] + joined(initial, vowel, final)


def _last_word(stem: str) -> str:
    return stem.rpartition(" ")[2]


def open_stem(stem: str) -> str:
    """The stem before endings that begin with 으: 먹으, 가, 살, 구우, 걸으, 지으 (ㄹ stays without 으)."""
    word, final = _last_word(stem), final_of(stem)
    initial, vowel, _ = parts(stem[-1])
    bare = stem[:-1] + joined(initial, vowel)
    if word in B_IRREGULAR:
        return bare + "우"
    if word in D_IRREGULAR:
        return stem[:-1] + joined(initial, vowel, RIEUL) + "으"
    if word in S_IRREGULAR:
        return bare + "으"
    return stem if final in (0, RIEUL) else stem + "으"


def joining_stem(stem: str) -> str:
    """The stem joined with 아 or 어: 먹어, 가, 봐, 해, 구워, 걸어, 불러, 써, 가르쳐."""
    word, final = _last_word(stem), final_of(stem)
    initial, vowel, _ = parts(stem[-1])
    if stem[-1] == "하":
        return stem[:-1] + "해"
    if word in B_IRREGULAR:
        return stem[:-1] + joined(initial, vowel) + ("와" if word in B_LIGHT else "워")
    ending = "아" if VOWELS[vowel] in LIGHT_VOWELS else "어"
    if word in D_IRREGULAR:
        return stem[:-1] + joined(initial, vowel, RIEUL) + ending
    if word in S_IRREGULAR:
        return stem[:-1] + joined(initial, vowel) + ending
    if final:
        return stem + ending
    return _contracted(stem, word)


def _contracted(stem: str, word: str) -> str:
    """A stem that ends in a vowel, joined with 아 or 어."""
    initial, vowel, _ = parts(stem[-1])
    before = stem[:-1]
    sound = VOWELS[vowel]
    if sound == "ㅡ":
        light = bool(before) and before[-1] != " " and VOWELS[parts(before[-1])[1]] in LIGHT_VOWELS
        ended = VOWELS.index("ㅏ" if light else "ㅓ")
        if stem[-1] == "르" and word not in REU_REGULAR:
            return with_final(before, RIEUL) + joined(LEADS.index("ㄹ"), ended)
        return before + joined(initial, ended)
    if stem[-1] == "되":
        return before + "돼"
    merged = {"ㅗ": "ㅘ", "ㅜ": "ㅝ", "ㅣ": "ㅕ", "ㅏ": "ㅏ", "ㅓ": "ㅓ", "ㅐ": "ㅐ", "ㅔ": "ㅔ", "ㅕ": "ㅕ"}.get(sound)
    if merged is None:
        return stem + "어"
    return before + joined(initial, VOWELS.index(merged))


def without_rieul(stem: str) -> str:
    """The stem without a final ㄹ, as before ㄴ, ㅂ, ㅅ and 오."""
    if final_of(stem) != RIEUL or _last_word(stem) in D_IRREGULAR:
        return stem
    initial, vowel, _ = parts(stem[-1])
    return stem[:-1] + joined(initial, vowel)


def is_adjective(stem: str) -> bool:
    """Whether the plain present of the stem is its dictionary form (춥다) and not 먹는다 or 간다."""
    word = _last_word(stem)
    return word in ADJECTIVES or word.endswith(("있", "없", "겠"))


@cache
def attached(verb: str, ending: str) -> str:
    """A verb in its dictionary form with a connective or adnominal ending, such as 고, 며, 러, 은, 을, 는, 아서, 세요.

    Endings are written as after a consonant without their 으 (`며` for 며/으며); `은` and `을` are the adnominal ones.
    """
    stem = verb[:-1]
    opened = open_stem(stem)
    closed = without_rieul(stem)
    if ending.startswith("아"):
        return joining_stem(stem) + ending[1:]
    if ending.startswith("았"):
        return with_final(joining_stem(stem), SSANG_SIOT) + ending[1:]
    if ending in ("은", "을"):
        if opened[-1] == "으" or final_of(opened) == 0:
            return with_final(opened, NIEUN if ending == "은" else RIEUL)
        return with_final(without_rieul(opened), NIEUN if ending == "은" else RIEUL)
    if ending.startswith(("을 ", "을게", "을까")):
        return attached(verb, "을") + ending[1:]
    if ending in ("며", "러", "려고", "면", "려면", "면서", "려"):
        return opened + ending
    if ending in ("니", "세요", "십시오", "니까", "시"):
        return without_rieul(opened) + ending
    if ending.startswith(("는", "네", "느")):
        return closed + ending
    return stem + ending  # 고, 기, 지, 던, 자, 도록, 거나


@cache
def predicate(verb: str, tense: str = PRESENT, level: str = "plain") -> str:
    """A verb or adjective in its dictionary form as the end of a sentence, without the full stop.

    tense: PRESENT, PAST or FUTURE; level: one of LEVELS.
    """
    stem = verb[:-1]
    if tense == PAST:
        past = with_final(joining_stem(stem), SSANG_SIOT)
        return past + {"plain": "다", "intimate": "어", "polite": "어요", "formal": "습니다"}[level]
    if tense == FUTURE:
        ends = {"plain": "것이다", "intimate": "거야", "polite": "거예요", "formal": "것입니다"}
        return attached(verb, "을") + " " + ends[level]
    if level == "intimate":
        return joining_stem(stem)
    if level == "polite":
        return joining_stem(stem) + "요"
    closed = without_rieul(stem)
    if level == "formal":
        return with_final(closed, BIEUP) + "니다" if final_of(closed) == 0 else closed + "습니다"
    if is_adjective(stem):
        return verb
    return with_final(closed, NIEUN) + "다" if final_of(closed) == 0 else closed + "는다"


# The copula by (tense, level): (after a vowel, after a consonant).
_COPULA = {
    (PRESENT, "plain"): ("다", "이다"),
    (PRESENT, "intimate"): ("야", "이야"),
    (PRESENT, "polite"): ("예요", "이에요"),
    (PRESENT, "formal"): ("입니다", "입니다"),
    (PAST, "plain"): ("였다", "이었다"),
    (PAST, "intimate"): ("였어", "이었어"),
    (PAST, "polite"): ("였어요", "이었어요"),
    (PAST, "formal"): ("였습니다", "이었습니다"),
}


@cache
def copula(word: str, tense: str = PRESENT, level: str = "plain") -> str:
    """이다 after a noun, by the noun's last sound: 나비다, 별이다, 나비예요, 별이에요. Returns only the ending."""
    return _COPULA[tense, level][0 if final_of(word) == 0 else 1]


# Words for oneself by level: humble in polite and formal speech.
SELF = {
    "나는": "저는", "내가": "제가", "나를": "저를", "나도": "저도", "나와": "저와", "나에게": "저에게", "내": "제",
    "우리": "저희",
}  # fmt: skip


def oneself(word: str, level: str) -> str:
    """A form of 나 as it is said at a level: 나는 or 저는."""
    return SELF[word] if level in ("polite", "formal") else word

"""Names in Latin letters, written in Hangul as a Korean text would have them, more or less.

Only for teaching: what matters is that the syllables are those of names from abroad, not that each is the accepted
form. The letters are read as in most languages of Europe, after the tables of the Korean rules for loanwords
(외래어 표기법, National Institute of Korean Language): a consonant alone takes `ㅡ`, and `l` between vowels is doubled.
"""

from __future__ import annotations

import unicodedata

ONSETS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
ROLLED = "r"  # ㄹ too, but it closes no syllable and is never doubled
CODAS = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
# The longest spelling that fits is read first.
CONSONANT = {
    "sch": "ㅅ", "tch": "ㅊ", "ch": "ㅊ", "sh": "ㅅ", "sz": "ㅅ", "cz": "ㅊ", "th": "ㅅ", "ph": "ㅍ", "ck": "ㅋ",
    "qu": "ㅋ", "ce": "ㅊㅔ", "ci": "ㅊㅣ",
    "b": "ㅂ", "c": "ㅋ", "d": "ㄷ", "f": "ㅍ", "g": "ㄱ", "h": "ㅎ", "j": "ㅈ", "k": "ㅋ", "l": "ㄹ",
    "m": "ㅁ", "n": "ㄴ", "p": "ㅍ", "q": "ㅋ", "r": ROLLED, "s": "ㅅ", "t": "ㅌ", "v": "ㅂ", "w": "ㅂ", "x": "ㅅ",
    "z": "ㅈ",
}  # fmt: skip
VOWEL = {
    "ee": "ㅣ", "oo": "ㅜ", "ou": "ㅜ", "ie": "ㅣ", "ia": "ㅣㅏ", "io": "ㅣㅗ", "ei": "ㅔㅣ", "ai": "ㅏㅣ",
    "au": "ㅏㅜ", "eu": "ㅗㅣ", "ya": "ㅑ", "yo": "ㅛ", "yu": "ㅠ",
    "a": "ㅏ", "e": "ㅔ", "i": "ㅣ", "o": "ㅗ", "u": "ㅜ", "y": "ㅣ",
}  # fmt: skip
CLOSING = {"ㄴ": "ㄴ", "ㅁ": "ㅁ", "ㄹ": "ㄹ", "ㅋ": "ㄱ"}  # consonants that close a syllable


def syllable(onset: str, vowel: str, coda: str = " ") -> str:
    """One syllable of Hangul from its letters (Unicode 3.12, conjoining jamo)."""
    return chr(0xAC00 + (ONSETS.index(onset) * 21 + VOWELS.index(vowel)) * 28 + CODAS.index(coda))


def hangul_of(word: str) -> str:
    """A word in Latin letters (marks above and below them are dropped) in Hangul; letters of others are left out."""
    plain = unicodedata.normalize("NFD", word.lower().replace("ł", "l").replace("ø", "o").replace("ı", "i"))
    sounds = _sounds("".join(letter for letter in plain if "a" <= letter <= "z"))
    written: list[tuple[str, str, str]] = []
    for before, sound, after in zip(["", *sounds], sounds, [*sounds[1:], ""], strict=False):
        open_before = bool(written) and before in VOWELS and before != "" and written[-1][2] == " "
        if sound in VOWELS:
            onset = "ㄹ" if before == ROLLED else before if before and before in ONSETS else "ㅇ"
            written.append((onset, sound, " "))
        elif open_before and sound in CLOSING and (after not in VOWELS or not after):
            written[-1] = (*written[-1][:2], CLOSING[sound])
        elif open_before and sound == "ㄹ":
            written[-1] = (*written[-1][:2], "ㄹ")  # doubled: the vowel behind it begins with another
        elif after not in VOWELS or not after:
            written.append(("ㄹ" if sound == ROLLED else sound, "ㅡ", " "))
    return "".join(syllable(*one) for one in written)


def _sounds(letters: str) -> list[str]:
    """Consonants and vowels, one sign each; a doubled letter counts once, and a silent `e` at the end is kept."""
    sounds: list[str] = []
    at = 0
    while at < len(letters):
        for length in (3, 2, 1):
            part = letters[at : at + length]
            found = CONSONANT.get(part) or VOWEL.get(part)
            if found and len(part) == length:
                sounds += [sound for sound in found if not (sounds and sounds[-1] == sound)]
                at += length
                break
        else:
            at += 1
    return sounds

"""Constraints of an instruction that a program can check: IFEval's 25 (Zhou et al. 2023, arXiv 2311.07911), and Korean.

A constraint is a name, with or without the language before it (`en:length_constraints:number_words`), and arguments.
All apply to Korean answers as they are: words are what spaces separate, and sentences end at the same marks. What
Korean instructions ask for beside that is under `korean:`. `CHECKS` lists them all.

An answer follows an instruction loosely if it does after its first line, its last line or its asterisks are taken off
(section 2.2 of the paper): many models begin with "Sure, here it is".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Arguments = Mapping[str, Any]
SENTENCE = re.compile(r"[^.!?。！？…]+(?:[.!?。！？…]+[\"'”’)\]]*|$)")
# A point after these ends no sentence.
ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|[A-Z])\.(?=\s)")
NUMBER_POINT = re.compile(r"(?<=\d)\.(?=\d)")
PARAGRAPHS = re.compile(r"\s?\*\*\*\s?")
CLOSED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
ENDINGS = {
    "formal": re.compile(r"(?:니다|니까|시오)$"),
    "polite": re.compile(r"(?:요|죠)$"),
}  # of a sentence's last word
NOT_LETTERS = re.compile(r"[\W\d_]+$")


def checks_of(name: str) -> Callable[[str, Arguments], bool]:
    """The check of a constraint by its name. Raises KeyError if there is none."""
    if name in CHECKS:
        return CHECKS[name]
    return CHECKS[name.partition(":")[2]]


def followed(name: str, arguments: Arguments, answer: str) -> bool:
    """Whether an answer follows a constraint as it stands. An empty answer follows none."""
    given = {key: value for key, value in arguments.items() if value is not None}
    return bool(answer.strip()) and checks_of(name)(answer, given)


def followed_loosely(name: str, arguments: Arguments, answer: str) -> bool:
    """Whether any of the variants of an answer follows a constraint."""
    return any(followed(name, arguments, variant) for variant in variants(answer))


def variants(answer: str) -> list[str]:
    """The answer without its first line, its last line, both, and each of these without asterisks."""
    lines = answer.split("\n")
    cut = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    plain = [answer, *cut]
    return [*plain, *(text.replace("*", "") for text in plain)]


# -- what an answer consists of ----------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """Runs of letters and digits."""
    return re.findall(r"\w+", text)


def sentences(text: str) -> list[str]:
    """The sentences of a text; abbreviations and decimal points end none."""
    marked = ABBREVIATION.sub(lambda found: found[0].replace(".", "\0"), text)
    marked = NUMBER_POINT.sub("\0", marked)
    found = [part.strip() for line in marked.splitlines() for part in SENTENCE.findall(line)]
    return [part.replace("\0", ".") for part in found if re.search(r"\w", part)]


def related(count: int, relation: str, limit: int) -> bool:
    """`at least` or `less than`. Raises ValueError for another relation."""
    if relation == "at least":
        return count >= limit
    if relation == "less than":
        return count < limit
    raise ValueError(f"`{relation}` is no relation: use `at least` or `less than`")


def language_of(text: str) -> str:
    """ISO 639-1, as the stage of curation finds it; `und` where too little can be read."""
    import polars as pl

    from pipeline.curation.filters import language

    frame = pl.DataFrame({"text": [text], "lang": [None]}, schema={"text": pl.String, "lang": pl.String})
    return str(language.signals(frame, language.Settings(), {})["label"][0])


# -- keywords, language, lengths ---------------------------------------------------------------------------------------


def has_keywords(answer: str, given: Arguments) -> bool:
    return all(str(word).lower() in answer.lower() for word in given["keywords"])


def keyword_frequency(answer: str, given: Arguments) -> bool:
    count = answer.lower().count(str(given["keyword"]).lower())
    return related(count, given["relation"], given["frequency"])


def no_forbidden_words(answer: str, given: Arguments) -> bool:
    """A word of Hangul counts wherever it stands, since particles follow it."""
    for word in map(str, given["forbidden_words"]):
        whole = re.escape(word) if re.search("[가-힣]", word) else rf"\b{re.escape(word)}\b"
        if re.search(whole, answer, re.I):
            return False
    return True


def letter_frequency(answer: str, given: Arguments) -> bool:
    count = answer.lower().count(str(given["letter"]).lower())
    return related(count, given["let_relation"], given["let_frequency"])


def response_language(answer: str, given: Arguments) -> bool:
    return language_of(answer) == given["language"]


def number_sentences(answer: str, given: Arguments) -> bool:
    return related(len(sentences(answer)), given["relation"], given["num_sentences"])


def number_words(answer: str, given: Arguments) -> bool:
    return related(len(words(answer)), given["relation"], given["num_words"])


def number_paragraphs(answer: str, given: Arguments) -> bool:
    """Separated by `***`; none but the first and the last may be empty."""
    parts = PARAGRAPHS.split(answer)
    inner = parts[1:-1]
    return all(part.strip() for part in inner) and sum(bool(part.strip()) for part in parts) == given["num_paragraphs"]


def nth_paragraph_first_word(answer: str, given: Arguments) -> bool:
    """Separated by empty lines."""
    parts = [part for part in re.split(r"\n\n+", answer) if part.strip()]
    number = given["nth_paragraph"]
    if len(parts) != given["num_paragraphs"] or not 1 <= number <= len(parts):
        return False
    found = re.search(r"\w+", parts[number - 1])
    return found is not None and found[0].lower() == str(given["first_word"]).lower()


# -- content and form --------------------------------------------------------------------------------------------------


def number_placeholders(answer: str, given: Arguments) -> bool:
    return len(re.findall(r"\[.*?\]", answer)) >= given["num_placeholders"]


def postscript(answer: str, given: Arguments) -> bool:
    """Anywhere, since many stand at the end of a line; marks of letters and points may be spaced otherwise: `P. S.`"""
    marker = str(given["postscript_marker"])
    letters = re.findall(r"\w", marker)
    pattern = r"\.\s?".join(map(re.escape, letters)) if "." in marker else re.escape(marker)
    return re.search(pattern, answer, re.I) is not None


def number_bullet_lists(answer: str, given: Arguments) -> bool:
    return len(re.findall(r"^\s*(?:\*[^*]|-)", answer, re.M)) == given["num_bullets"]


def constrained_response(answer: str, given: Arguments) -> bool:
    return any(text in answer for text in given.get("answers", CLOSED))


def number_highlighted_sections(answer: str, given: Arguments) -> bool:
    single = re.findall(r"(?<!\*)\*([^\n*]+)\*(?!\*)", answer)
    double = re.findall(r"\*\*([^\n*]+)\*\*", answer)
    return sum(bool(text.strip()) for text in (*single, *double)) >= given["num_highlights"]


def multiple_sections(answer: str, given: Arguments) -> bool:
    found = re.findall(rf"\s?{re.escape(str(given['section_spliter']))}\s?\d+\s?", answer)
    return len(found) >= given["num_sections"]


def json_format(answer: str, given: Arguments) -> bool:
    text = re.sub(r"^\s*```(?:json)?|```\s*$", "", answer.strip(), flags=re.I)
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def title(answer: str, given: Arguments) -> bool:
    return any(text.strip() for text in re.findall(r"<<([^\n<>]+)>>", answer))


def two_responses(answer: str, given: Arguments) -> bool:
    parts = [part.strip() for part in answer.split("******")]
    filled = [part for part in parts if part]
    return all(parts[1:-1]) and len(filled) == 2 and filled[0] != filled[1]


def repeat_prompt(answer: str, given: Arguments) -> bool:
    return answer.strip().lower().startswith(str(given["prompt_to_repeat"]).strip().lower())


def end_checker(answer: str, given: Arguments) -> bool:
    return answer.strip().strip('"”').lower().endswith(str(given["end_phrase"]).strip().lower())


def quotation(answer: str, given: Arguments) -> bool:
    text = answer.strip()
    return len(text) > 1 and text[0] in '"“' and text[-1] in '"”'


# -- letters and punctuation -------------------------------------------------------------------------------------------


def capital_word_frequency(answer: str, given: Arguments) -> bool:
    count = sum(word.isupper() for word in words(answer))
    return related(count, given["capital_relation"], given["capital_frequency"])


def english_capital(answer: str, given: Arguments) -> bool:
    return answer.isupper() and language_of(answer) == "en"


def english_lowercase(answer: str, given: Arguments) -> bool:
    return answer.islower() and language_of(answer) == "en"


def no_comma(answer: str, given: Arguments) -> bool:
    return not re.search("[,，、]", answer)


# -- Korean ------------------------------------------------------------------------------------------------------------


def number_characters(answer: str, given: Arguments) -> bool:
    """`num_characters`, white space left out unless `spaces` is true."""
    text = answer.strip() if given.get("spaces") else "".join(answer.split())
    return related(len(text), given["relation"], given["num_characters"])


def speech_level(answer: str, given: Arguments) -> bool:
    """`level`: every sentence ends as formal (합쇼체) or polite (해요체) speech does."""
    ends = [NOT_LETTERS.sub("", sentence) for sentence in sentences(answer)]
    return bool(ends) and all(ENDINGS[given["level"]].search(end) for end in ends)


def only_hangul(answer: str, given: Arguments) -> bool:
    """No letters of other scripts: no Latin, no Han."""
    return bool(re.search("[가-힣]", answer)) and not re.search(r"[^\W\d_가-힣ㄱ-ㆎ]", answer)


def starts_with(answer: str, given: Arguments) -> bool:
    """Every sentence begins with `start`, a syllable or a word."""
    found = [re.search(r"\w.*", sentence) for sentence in sentences(answer)]
    return bool(found) and all(one and one[0].startswith(given["start"]) for one in found)


CHECKS: dict[str, Callable[[str, Arguments], bool]] = {
    "keywords:existence": has_keywords,
    "keywords:frequency": keyword_frequency,
    "keywords:forbidden_words": no_forbidden_words,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": response_language,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:number_words": number_words,
    "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
    "detectable_content:number_placeholders": number_placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": number_bullet_lists,
    "detectable_format:constrained_response": constrained_response,
    "detectable_format:number_highlighted_sections": number_highlighted_sections,
    "detectable_format:multiple_sections": multiple_sections,
    "detectable_format:json_format": json_format,
    "detectable_format:title": title,
    "combination:two_responses": two_responses,
    "combination:repeat_prompt": repeat_prompt,
    "startend:end_checker": end_checker,
    "startend:quotation": quotation,
    "change_case:capital_word_frequency": capital_word_frequency,
    "change_case:english_capital": english_capital,
    "change_case:english_lowercase": english_lowercase,
    "punctuation:no_comma": no_comma,
    "korean:number_characters": number_characters,
    "korean:speech_level": speech_level,
    "korean:only_hangul": only_hangul,
    "korean:sentences_start_with": starts_with,
}

"""What vectors of words know: analogies, neighbours, and a plane of gender and royalty.

An analogy `a : b = c : d` is right if d is the word nearest to b - a + c, the three left out (3CosAdd; Mikolov et al.
2013, section 4.1). One with a word that has no vector is not asked, and counted. Files are those of word2vec
(`questions-words.txt`): four words in a line, sections after `:` or `#`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import UserError
from pipeline.word_vectors.learning import Matrix

# Pairs of which every two make two questions.
PAIRS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "gender, English": (
        ("man", "woman"), ("king", "queen"), ("father", "mother"), ("son", "daughter"), ("brother", "sister"),
        ("husband", "wife"), ("he", "she"), ("his", "her"), ("boy", "girl"), ("uncle", "aunt"),
        ("prince", "princess"), ("gentleman", "lady"),
    ),
    "gender, Korean": (
        ("남자", "여자"), ("왕", "여왕"), ("아버지", "어머니"), ("아들", "딸"), ("오빠", "언니"), ("남편", "아내"),
        ("할아버지", "할머니"), ("왕자", "공주"), ("소년", "소녀"), ("신사", "숙녀"),
    ),
    "number, English": (
        ("day", "days"), ("year", "years"), ("man", "men"), ("word", "words"), ("house", "houses"), ("king", "kings"),
        ("name", "names"), ("value", "values"), ("thing", "things"), ("part", "parts"),
    ),
    "capital, English": (
        ("korea", "seoul"), ("japan", "tokyo"), ("france", "paris"), ("germany", "berlin"), ("england", "london"),
        ("russia", "moscow"), ("china", "beijing"), ("italy", "rome"), ("spain", "madrid"), ("greece", "athens"),
    ),
    "capital, Korean": (
        ("한국", "서울"), ("일본", "도쿄"), ("중국", "베이징"), ("영국", "런던"), ("프랑스", "파리"),
        ("독일", "베를린"), ("미국", "워싱턴"), ("러시아", "모스크바"), ("이탈리아", "로마"), ("스페인", "마드리드"),
    ),
}  # fmt: skip
# The ends of the two axes of the plane: the mean difference of these pairs.
GENDER = (*PAIRS["gender, English"], *PAIRS["gender, Korean"])
ROYALTY = (
    ("man", "king"),
    ("woman", "queen"),
    ("boy", "prince"),
    ("girl", "princess"),
    ("남자", "왕"),
    ("여자", "여왕"),
)


@dataclass(frozen=True)
class Question:
    """a is to b as c is to d."""

    section: str
    a: str
    b: str
    c: str
    d: str


def built_in() -> list[Question]:
    """Every two of the pairs of a section, both ways round."""
    return [
        Question(section, *first, *second)
        for section, pairs in PAIRS.items()
        for first, second in permutations(pairs, 2)
    ]


def read(path: Path) -> list[Question]:
    """The questions of a file. Raises UserError for a line that has not four words."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"The analogies {path} are not in UTF-8: save the file in it.") from None
    except OSError as error:
        raise UserError(f"The analogies {path} cannot be read ({error.strerror}): name a file of text.") from None
    text = text.removeprefix("\ufeff")
    section, found = path.stem, []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.lower().split()
        if not words:
            continue
        if words[0][0] in ":#":
            section = line.strip(":# ") or path.stem
        elif len(words) == 4:
            found.append(Question(section, *words))
        else:
            raise UserError(f"{path.name} line {number} has {len(words)} words: an analogy has four.")
    return found


def scored(words: Sequence[str], vectors: Matrix, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """section, asked, of (questions there are), right, share (None where none was asked), in the order of sections."""
    places = {word: place for place, word in enumerate(words)}
    has = np.linalg.norm(vectors, axis=1) > 0
    rows: dict[str, dict[str, Any]] = {}
    for one in questions:
        row = rows.setdefault(one.section, {"section": one.section, "asked": 0, "of": 0, "right": 0})
        row["of"] += 1
        four = [places.get(word, -1) for word in (one.a, one.b, one.c, one.d)]
        if min(four) < 0 or not has[four].all():
            continue
        a, b, c, d = four
        near = vectors @ (vectors[b] - vectors[a] + vectors[c])
        near[[a, b, c]] = -np.inf
        row["asked"] += 1
        row["right"] += int(np.argmax(near)) == d
    return [{**row, "share": row["right"] / row["asked"] if row["asked"] else None} for row in rows.values()]


def neighbours(words: Sequence[str], vectors: Matrix, word: str, most: int = 5) -> list[str]:
    """The nearest words, the nearest first. Raises UserError for a word that has no vector."""
    place = list(words).index(word) if word in words else -1
    if place < 0:
        raise UserError(f"`{word}` has no vector: it is too rare in the text, or not in it; lower `--fewest`.")
    near = vectors @ vectors[place]
    order = np.argsort(-near, kind="stable")
    return [words[place] for place in order[: most + 1] if words[place] != word][:most]


def plane(words: Sequence[str], vectors: Matrix) -> Iterator[tuple[str, float, float]]:
    """(word, gender, royalty) of the words of both axes that have a vector; 0 is half way between the ends.

    Nothing where an axis has no pair of which both words have one.
    """
    places = {word: place for place, word in enumerate(words)}
    axes = [_axis(vectors, places, pairs) for pairs in (GENDER, ROYALTY)]
    if axes[0] is None or axes[1] is None:
        return
    shown = dict.fromkeys(word for pair in (*GENDER, *ROYALTY) for word in pair if word in places)
    for word in shown:
        vector = vectors[places[word]]
        first, second = (float((vector - middle) @ axis) for axis, middle in (axes[0], axes[1]))
        yield word, first, second


def _axis(vectors: Matrix, places: Mapping[str, int], pairs: Sequence[tuple[str, str]]) -> tuple[Matrix, Matrix] | None:
    """(direction of length 1, middle) of an axis; the mean difference of its pairs."""
    known = [(places[a], places[b]) for a, b in pairs if a in places and b in places]
    if not known:
        return None
    first, second = (vectors[[pair[end] for pair in known]] for end in (0, 1))
    direction = (second - first).mean(0)
    return direction / max(float(np.linalg.norm(direction)), 1e-12), (first + second).mean(0) / 2

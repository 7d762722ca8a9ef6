"""Vectors of words: the same text gives the same ones, analogies and neighbours are what the formula says."""

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.word_vectors import analogies, drawing, learning
from tests.tiny import trained

# A made-up language in which gender and royalty are two directions of their own.
WORDS = ["man", "woman", "king", "queen", "boy", "girl", "prince", "princess", "stone"]
EXACT = np.array(
    [
        [1, 0, 0, 1], [1, 0, 0, -1], [1, 0, 1, 1], [1, 0, 1, -1],
        [0, 1, 0, 1], [0, 1, 0, -1], [0, 1, 1, 1], [0, 1, 1, -1], [-1, -1, 0, 0],
    ],
    np.float32,
)  # fmt: skip


def test_an_analogy_is_the_word_nearest_to_the_difference_and_the_three_are_left_out():
    questions = [
        analogies.Question("royal", "man", "king", "woman", "queen"),
        analogies.Question("royal", "boy", "prince", "girl", "princess"),
        analogies.Question("royal", "man", "king", "woman", "stone"),
        analogies.Question("royal", "man", "king", "woman", "empress"),
    ]
    (row,) = analogies.scored(WORDS, learning.unit(EXACT), questions)
    assert row == {"section": "royal", "asked": 3, "of": 4, "right": 2, "share": 2 / 3}
    vectors = learning.unit(EXACT).copy()
    vectors[WORDS.index("queen")] = 0.0
    (without,) = analogies.scored(WORDS, vectors, questions)
    assert without["asked"] == 2, "a word without a vector is not asked"


def test_neighbours_are_the_nearest_words():
    assert analogies.neighbours(WORDS, learning.unit(EXACT), "man", 2) == ["king", "boy"]
    with pytest.raises(UserError, match="`empress` has no vector"):
        analogies.neighbours(WORDS, learning.unit(EXACT), "empress")


def test_the_plane_has_feminine_words_on_one_side_and_royal_ones_on_the_other():
    placed = {word: (gender, royalty) for word, gender, royalty in analogies.plane(WORDS, learning.unit(EXACT))}
    assert placed.keys() == set(WORDS) - {"stone"}
    for masculine, feminine in (("man", "woman"), ("king", "queen"), ("prince", "princess")):
        assert placed[masculine][0] < 0 < placed[feminine][0]
    for common, royal in (("man", "king"), ("girl", "princess")):
        assert placed[common][1] < 0 < placed[royal][1]
    assert list(analogies.plane(["stone"], np.ones((1, 2), np.float32))) == []
    assert len(drawing.drawn(WORDS, dict.fromkeys("abc", learning.unit(EXACT))).axes) == 4
    with pytest.raises(UserError, match="The picture is not drawn: the text has no pair such as `man` and `woman`"):
        drawing.drawn(["stone"], {"word2vec": np.ones((1, 2), np.float32)})


def test_files_of_questions_have_sections_and_four_words_a_line(tmp_path):
    file = tmp_path / "questions.txt"
    file.write_text(": capital-common\nAthens Greece Baghdad Iraq\n# 국가 - 수도 (15 pairs)\n대한민국 서울 일본 도쿄\n")
    found = analogies.read(file)
    assert [one.section for one in found] == ["capital-common", "국가 - 수도 (15 pairs)"]
    assert found[0] == analogies.Question("capital-common", "athens", "greece", "baghdad", "iraq")
    file.write_text("one two three\n")
    with pytest.raises(UserError, match="line 1 has 3 words: an analogy has four"):
        analogies.read(file)
    file.write_bytes("\ufeff: 왕\r\n왕 여왕 남자 여자\r\n".encode())
    assert analogies.read(file) == [analogies.Question("왕", "왕", "여왕", "남자", "여자")]
    file.write_bytes("왕 여왕 남자 여자".encode("cp949"))
    with pytest.raises(UserError, match="not in UTF-8: save the file in it"):
        analogies.read(file)
    with pytest.raises(UserError, match=r"cannot be read \(No such file or directory\): name a file"):
        analogies.read(tmp_path / "missing.txt")


def test_how_far_the_learning_is_stands_in_a_terminal_only(monkeypatch):
    import fasttext

    said = []
    monkeypatch.setattr(fasttext, "train_unsupervised", lambda *_, **given: said.append(given["verbose"]) or 1 / 0)
    for terminal in (True, False):
        monkeypatch.setattr("sys.stderr.isatty", lambda shown=terminal: shown)
        with pytest.raises(ZeroDivisionError):
            learning.learned([["a", "b"]], ["a", "b"], learning.WAYS["word2vec_cbow"], learning.Learning())
    assert said == [2, 0]


def test_the_built_in_questions_ask_every_two_pairs_both_ways():
    sections = {one.section for one in analogies.built_in()}
    assert sections == analogies.PAIRS.keys()
    pairs = analogies.PAIRS["gender, Korean"]
    assert sum(one.section == "gender, Korean" for one in analogies.built_in()) == len(pairs) * (len(pairs) - 1)


def test_the_same_text_gives_the_same_vectors_and_each_way_knows_what_stands_together():
    lines = [f"the {animal} drinks {drink} today".split() for animal, drink in [("cat", "milk"), ("dog", "water")] * 60]
    words = learning.counted(lines, 5)["word"].to_list()
    assert words[0] in ("drinks", "the", "today") and len(words) == 7
    how = learning.Learning(dimensions=16, passes=3)
    for settings in learning.WAYS.values():
        first, second = (learning.learned(lines, [*words, "absent"], settings, how) for _ in range(2))
        assert np.array_equal(first, second)
        assert np.linalg.norm(first, axis=1) == pytest.approx([*np.ones(7), 0.0], abs=1e-5)
    with pytest.raises(UserError, match="No two words occur 500 times"):
        learning.counted(lines, 500)


def test_the_command_learns_once_and_compares_every_way(tmp_path):
    with trained(tmp_path) as project:
        picture = tmp_path / "plane.png"
        given = ["vectors", "learn", "--dimensions", "8", "--passes", "1", "--fewest", "2"]
        given += ["--near", "zebra", "--near", "She"]
        run = CliRunner().invoke(main, [*given, "--picture", str(picture)])
        assert run.exit_code == 1, run.output
        for way in (*learning.WAYS, learning.PIECES, learning.TABLE):
            assert way in run.output
        assert "near `she`" in run.output and "near `zebra`" not in run.output
        assert "`zebra`: fewer than 2 times in the text" in run.output
        assert "The picture is not drawn" in run.output and not picture.exists(), "an empty plane says nothing"
        assert "word_vectors: up to date" in CliRunner().invoke(main, given).output
        words, ways = learning.read(project["word_vectors"])
        counts = pl.read_parquet(project["word_vectors"].table("words"))
        assert counts["word"].to_list() == words and counts["count"].is_sorted(descending=True)
        assert {vectors.shape[0] for vectors in ways.values()} == {len(words)}

"""Names of people: found by what stands around them, the same in every batch, and only if the recipe asks for them."""

from __future__ import annotations

import gzip
import hashlib
import json
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.curation.personal_data import personal_data as stage
from pipeline.curation.personal_data.names import tagger, text, words
from pipeline.curation.personal_data.names.course import lessons
from pipeline.curation.personal_data.names.examples import divided
from pipeline.curation.personal_data.names.nameless import nameless_lines
from pipeline.curation.personal_data.names.teaching import Example, Teaching, agreement, teach
from pipeline.curation.personal_data.names.transliteration import hangul_of
from pipeline.documents.stage import identified
from pipeline.errors import UserError

# No name of these is in the lists or sentences that the tagger was taught with.
FOUND = [
    ("제 이름은 봉태규입니다.", "제 이름은 <PERSON>입니다."),
    ("담당자는 표창수 씨입니다.", "담당자는 <PERSON> 씨입니다."),
    ("변예슬 기자가 보도했습니다.", "<PERSON> 기자가 보도했습니다."),
    ("Please ask for Tarquin Ollerenshaw at the front desk.", "Please ask for <PERSON> at the front desk."),
    ("The report was filed by Xanthe Fotheringay.", "The report was filed by <PERSON>."),
    ("Dear Mr. Quimby,\nThank you.", "Dear Mr. <PERSON>,\nThank you."),
]
NOBODY = [
    "오늘은 비가 온다. 함수와 변수를 정의한다.",
    "The function returns a list of numbers. Then it sorts them.",
    "import numpy as np\nx = np.zeros(3)",
    "",
]


def edited(*texts: str, **settings) -> list[str]:
    from pipeline.curation.curated import apply_edits

    chosen = stage.Settings(**settings)
    decisions = stage.decide(stage.signals(pl.DataFrame({"text": texts}), chosen, {}), chosen)
    edits = decisions.select(pl.int_range(pl.len()).alias("row"), "edits").drop_nulls().explode("edits").unnest("edits")
    return apply_edits(pl.Series(texts), edits).to_list() if edits.height else list(texts)


@pytest.mark.parametrize(("given", "wanted"), FOUND)
def test_a_name_is_found_by_what_stands_around_it(given, wanted):
    assert edited(given, names=True) == [wanted]


@pytest.mark.parametrize("given", NOBODY)
def test_text_without_names_is_left(given):
    assert edited(given, names=True) == [given]


def test_names_are_left_unless_the_recipe_asks_for_them():
    assert edited(*(given for given, _ in FOUND)) == [given for given, _ in FOUND]
    assert edited(FOUND[0][0], names=True, labels=["EMAIL_ADDRESS"]) == [FOUND[0][0]]


def test_a_mailbox_with_a_name_stays_a_mailbox():
    assert edited("Write to Tarquin.Ollerenshaw@naver.com today.", names=True) == ["Write to <EMAIL_ADDRESS> today."]


def test_a_text_has_the_same_names_whatever_stands_beside_it():
    texts = [given for given, _ in FOUND] + NOBODY + ["x" * 5000, "김 " * 400, "\n\n", "😀 Dr. Quimby 😀"]
    loaded = tagger.load()
    together = tagger.find(pl.Series(texts), loaded)
    alone = [
        tagger.find(pl.Series([one]), loaded).with_columns(row=pl.lit(i, pl.UInt32)) for i, one in enumerate(texts)
    ]
    assert together.equals(pl.concat(alone))


def test_null_and_no_text_at_all():
    loaded = tagger.load()
    assert tagger.find(pl.Series([None, None], dtype=pl.String), loaded).height == 0
    assert tagger.find(pl.Series([], dtype=pl.String), loaded).height == 0


def test_places_are_code_points_of_each_text():
    loaded = tagger.load()
    given = "😀😀 The report was filed by Xanthe Fotheringay."
    [(row, start, end)] = tagger.find(pl.Series(["first", given]), loaded).rows()
    assert (row, given[start:end]) == (1, "Xanthe Fotheringay")


def test_tokens_are_syllables_words_runs_of_digits_and_signs():
    tokens = text.tokens_of(["김민준은 Anne-Marie, 2024!"])
    inside = tokens.codes[tokens.start] != ord(text.EDGE)
    joined = "".join(map(chr, tokens.codes))
    cut = [joined[start:end] for start, end in zip(tokens.start[inside], tokens.end[inside])]
    assert cut == ["김", "민", "준", "은", "Anne", "-", "Marie", ",", "2024", "!"]


def test_hashes_of_parts_are_those_of_the_words():
    tokens = text.tokens_of(["Anne und Anne"])
    hashes = tokens.part(tokens.start, tokens.end)
    assert hashes[3] == hashes[5] == words.hash_of("anne") != hashes[4]


def test_a_tagger_learns_a_pattern_and_is_measured_by_whole_names():
    names = ["Zorg", "Mipp", "Traul", "Quosk", "Brint", "Vlann"]
    examples = [
        Example(f"so {name} said it to the {thing}", ((3, 3 + len(name)),))
        for name in names
        for thing in ("cat", "dog")
    ] + [Example("so the cat said it to the dog"), Example("it is a Cat")]
    learned = teach(examples, [], Teaching(epochs=20))
    found = tagger.find(pl.Series(["so Plomm said it to the cat", "so the dog said it"]), learned)
    assert found.rows() == [(0, 3, 8)]
    assert agreement([{(3, 8)}, {(0, 1)}], [{(3, 8), (9, 12)}, set()]) == (0.5, 0.5)


def test_viterbi_finds_the_best_of_all_sequences():
    draw = np.random.default_rng(0)
    loaded = tagger.load()
    scores = draw.integers(-200, 200, (7, 3)).astype(np.int32)
    tags = np.zeros(7, np.int8)
    tagger._decode(scores, np.array([0]), np.array([7]), loaded, tags)

    def total(sequence):
        value = int(loaded.first[sequence[0]] + scores[0, sequence[0]])
        return value + sum(int(loaded.moves[a, b] + scores[i + 1, b]) for i, (a, b) in enumerate(pairwise(sequence)))

    best = max(np.ndindex(*[3] * 7), key=total)
    assert total(tuple(tags)) == total(best)


def test_the_command_writes_a_file_that_the_recipe_can_name(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.curation.personal_data.names.course.EACH", 1)
    rows = [
        {
            "id": number,
            "text": f"so Zorg{number} said it",
            "spans": [{"start": 3, "end": 7 + len(str(number)), "label": "PS"}],
        }
        for number in range(20)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "plain.txt").write_text("so it is said\n" * 9)
    given = ["names", "teach", str(tmp_path / "names.npz"), "--labelled", str(tmp_path / "rows.jsonl")]
    done = CliRunner().invoke(main, [*given, "--plain", str(tmp_path / "plain.txt")], catch_exceptions=False)
    assert done.exit_code == 0 and "rows.jsonl" in done.output
    own = stage.Settings(names=str(tmp_path / "names.npz"))
    assert identified(stage.STAGE, own)["names"].startswith("file ")
    assert stage.signals(pl.DataFrame({"text": ["so Zorg3 said it"]}), own, {}).height == 1


def test_a_file_that_is_missing_or_something_else_is_named(tmp_path):
    with pytest.raises(UserError, match=r"There is no file .*none\.npz, which `curation\.personal_data` names"):
        identified(stage.STAGE, stage.Settings(names=str(tmp_path / "none.npz")))
    (tmp_path / "other.npz").write_text("something else")
    with pytest.raises(UserError, match="no file that `slm names teach` wrote"):
        tagger.load(tmp_path / "other.npz")


def test_a_file_of_an_earlier_version_says_what_to_do(tmp_path):
    np.savez(tmp_path / "old.npz", weights=np.zeros((1 << 17, 2), np.int8), moves=np.zeros((3, 3), np.int32))
    with pytest.raises(UserError, match="another version of this project: run `slm names teach` again"):
        tagger.load(tmp_path / "old.npz")


def test_the_shipped_coefficients_are_those_whose_making_is_written_down():
    found = hashlib.sha256(tagger.SHIPPED.read_bytes()).hexdigest()
    assert found in tagger.SHIPPED.with_suffix(".md").read_text(encoding="utf-8")


def test_teaching_twice_gives_the_same_bytes_whatever_the_number_of_threads(tmp_path):
    import torch

    examples = [Example(f"so Zorg{number} said it. 김민준은 왔다.", ((3, 7),)) for number in range(40)]
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            teach(examples, ["so it is said, so it was said\n" * 9], Teaching(epochs=2)).save(tmp_path / str(threads))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("Marco", "마르코"),
        ("Elena", "엘레나"),
        ("Johansson", "조한손"),
        ("Bella", "벨라"),
        ("Müller", "물레르"),
        ("3", ""),
    ],
)
def test_a_name_in_latin_letters_is_written_by_its_sound(given, written):
    assert hangul_of(given) == written


def test_lines_that_name_somebody_or_say_who_wrote_them_teach_no_absence(tmp_path):
    frame = pl.DataFrame(
        {
            "text": [
                "The Compiler reads it.\nWritten by Nobody\nAsk Robert about it.\n함수를 정의한다. 그러면 된다.\nshort"
            ],
            "source": ["manual"],
        }
    )
    frame.write_parquet(tmp_path / "manuals.parquet")
    kept = {"The Compiler reads it.", "함수를 정의한다. 그러면 된다."}
    assert set(nameless_lines([tmp_path / "manuals.parquet"], ["manual"])) == kept
    with pytest.raises(UserError, match=r"No Parquet file .* has a document of other: name a source that one has"):
        nameless_lines([tmp_path / "manuals.parquet"], ["other"])


def test_sentences_of_one_template_teach_or_measure_together(tmp_path):
    rows = [{"template_id": number % 12, "full_text": f"so Zorg{number} said", "spans": []} for number in range(60)]
    (tmp_path / "rows.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
    teaching, measuring = divided([tmp_path / "rows.json.gz"])
    numbers = [{int(one.text[7:-5]) % 12 for one in part} for part in (teaching, measuring["rows.json.gz"])]
    assert numbers[0] | numbers[1] == set(range(12)) and not numbers[0] & numbers[1] and all(numbers)


def test_made_up_sentences_know_where_their_names_are():
    example = Example("그는 김민준과 존 스미스를 만났다.", ((3, 6), (8, 13)))
    for made in lessons([example], ["A line of a manual."]):
        for start, end in made.names:
            assert made.text[start:end].strip() == made.text[start:end] != ""
            assert "{" not in made.text and "[" not in made.text[start:end]


def test_words_that_plain_text_uses_often_are_known_by_their_beginnings():
    known = words.usual(["영화를 보았다. 영화는 길다. " * 10, "the cat and The Cat", "a dog " * 9])
    levels = known.level(np.array([words.hash_of(word) for word in ("영화", "영화를", "유시진")], np.uint64))
    assert levels.tolist() == [2, 1, 0]
    assert words.among(np.array([words.hash_of("dog")], np.uint64), known.lowercase).tolist() == [1]


def test_brackets_and_quotation_marks_end_what_a_name_is_read_in():
    """A name in brackets has the features of the same name between blanks, as far as its own run is concerned."""
    from pipeline.curation.personal_data.names.features import _korean

    loaded = tagger.load().usual

    def of_run(given: str) -> np.ndarray:
        tokens = text.tokens_of([given])
        near = {offset: np.zeros(len(tokens.start), np.uint64) for offset in (-2, -1, 0, 1, 2, 3)}
        at = tokens.codes[tokens.start].tolist().index(ord("송"))
        return np.array([values[at] for values in _korean(tokens, loaded, near)])

    assert of_run("대위(송중기)와 갔다").tolist() == of_run("대위 송중기 와 갔다").tolist()

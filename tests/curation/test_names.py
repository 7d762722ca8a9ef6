"""Names of people: found by what stands around them, the same in every batch, and only if the recipe asks for them."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.curation.personal_data import personal_data as stage
from pipeline.curation.personal_data.names import features, tagger, text
from pipeline.curation.personal_data.names.teaching import Example, Teaching, agreement, teach
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
    assert hashes[3] == hashes[5] == features.hash_of("anne") != hashes[4]


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


def test_the_command_writes_a_file_that_the_recipe_can_name(tmp_path):
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

"""`slm init`: what is in a folder, a recipe that can be run as it is, sized for the machine."""

import json
import unicodedata
from pathlib import Path

import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.commands import start
from pipeline.errors import UserError
from pipeline.graph import enabled_assets, nodes_of
from pipeline.inspect import first_recipe
from pipeline.recipe import load
from pipeline.run import inputs_in_order
from pipeline.training.planning import budget, first_size
from tests.curation.study_notes import ENGLISH, KOREAN

DIALOGUE = "지은: 밥 먹었어?\n현우: 아직. 너는?\n지은: 나도 아직!\n현우: 그럼 같이 먹자\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "내 노트"
    (folder / "ko").mkdir(parents=True)
    for name, text in KOREAN.items():
        (folder / "ko" / name).write_text(text, encoding="utf-8")
    for name, text in ENGLISH.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "total.py").write_text("import os\n\n\ndef total(values):\n    return sum(values)\n" * 3)
    (folder / "table.jsonl").write_text('{"inhalt": "no text"}\n')
    (folder / "picture.png").write_bytes(b"\x89PNG\0")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "config.md").write_text("not meant")
    return folder


@pytest.fixture
def quick(monkeypatch):
    """A machine that does 200 GFLOP/s, without measuring this one."""
    monkeypatch.setattr(
        first_size, "hours_a_token", lambda shape, device, here: budget.size(shape).flops_per_token / 2e11 / 3600
    )


def test_the_files_of_a_folder_are_grouped_and_their_languages_found(folder):
    looked = first_recipe.look(folder)
    groups = {group.name: group for group in looked.groups}
    assert groups.keys() == {"notes", "code", "jsonl_tables"} and looked.passed_over == {".png": 1}
    notes = groups["notes"]
    assert notes.files == len(KOREAN) + len(ENGLISH) and notes.endings == (".md", ".txt") and notes.content == "notes"
    assert notes.languages["ko"] >= 8 and notes.languages["en"] >= 4 and notes.language is None
    assert notes.bytes == sum(len(text.encode()) for text in (*KOREAN.values(), *ENGLISH.values()))
    assert groups["code"].content == "code"
    assert (
        "has no column `text`" in groups["jsonl_tables"].problem and looked.bytes == notes.bytes + groups["code"].bytes
    )


def test_one_damaged_file_does_not_take_the_others_of_its_kind_with_it(folder, quick, monkeypatch):
    (folder / "ko" / "null.txt").write_bytes(b"\0\0abc\0" * 100)
    monkeypatch.chdir(folder.parent)
    result = CliRunner().invoke(main, ["init", "내 노트"], catch_exceptions=False)
    assert result.exit_code == 0 and "null.txt is not text" in result.output, result.output
    (notes, code) = load(folder.parent / "내-노트.yaml").sources
    assert notes.name == "notes" and notes.invalid == "skip", "a recipe without the notes would be of the code alone"
    assert code.invalid == "error", "nothing is damaged there"
    assert "null.txt is not text" in (folder.parent / "내-노트.yaml").read_text("utf-8")


def test_links_are_followed_as_a_source_follows_them(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "more.md").write_text("One more note lies in another folder.", encoding="utf-8")
    files = first_recipe.look(folder).groups[0].files
    (folder / "nowhere.md").symlink_to("gone.md")
    (folder / "loop").symlink_to(folder)
    (folder / "more").symlink_to(elsewhere)
    assert first_recipe.look(folder).groups[0].files == files + 1, "the note in the linked folder"


def test_lines_with_speakers_are_a_dialogue(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(DIALOGUE, encoding="utf-8")
    (group,) = first_recipe.look(tmp_path).groups
    assert group.content == "dialogue" and group.language == "ko"


def test_the_recipe_can_be_loaded_and_names_what_was_found(folder, quick, monkeypatch):
    monkeypatch.chdir(folder.parent)
    result = CliRunner().invoke(main, ["init", "내 노트"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    target = folder.parent / "내-노트.yaml"
    recipe = load(target)
    assert [(source.name, source.judged_as) for source in recipe.sources] == [("notes", "notes"), ("code", "code")]
    assert len(recipe.sources[0].matching()) == len(KOREAN) + len(ENGLISH)
    assert recipe.model.qk_norm and recipe.pretraining.momentum == 0.9, "what learns most from little text"
    assert recipe.model.tie_embeddings, "read four times, it would be learned by heart"
    assert recipe.shards.validation == 0.1 and not recipe.sft.enabled and not recipe.preference.enabled
    nodes = nodes_of(recipe)
    assert "instruction_data" not in [*enabled_assets(recipe), *inputs_in_order(nodes, "pretrained_evaluation")], (
        "conversations of the demonstration are nothing to somebody's notes"
    )
    text = target.read_text(encoding="utf-8")
    assert "# - {name: jsonl_tables" in text and "has no column `text`" in text and "passed over: 1 .png" in text
    assert "- {name: notes, kind: files, path: [내 노트/**/*.md, 내 노트/**/*.txt]" in text, (
        "relative: both can be moved"
    )
    assert "little text" in result.output and "dagster job execute -j pretrain_job" in result.output


def test_nothing_is_ever_overwritten(folder, quick, tmp_path):
    target = tmp_path / "mine.yaml"
    target.write_text("name: precious\n")
    result = CliRunner().invoke(main, ["init", str(folder), "--out", str(target)])
    assert (
        result.exit_code == 1 and "is there already and stays as it is: name another file with `--out`" in result.output
    )
    assert target.read_text() == "name: precious\n"


@pytest.mark.parametrize("make", ["nothing", "pictures"])
def test_a_folder_without_text_is_a_sentence(tmp_path, make):
    place = tmp_path / "place"
    if make == "pictures":
        place.mkdir()
        (place / "a.png").write_bytes(b"\0")
    with pytest.raises(
        UserError, match="There is no folder" if make == "nothing" else "holds no text that can be read"
    ):
        first_recipe.look(place)


def test_more_text_and_a_faster_machine_get_a_larger_model(quick):
    def size(text_bytes, hours):
        return first_size.fitting(text_bytes, hours, "cpu", first_size.Machine())

    little, more, long = size(200_000, 1.0), size(80_000_000, 1.0), size(80_000_000, 100.0)
    assert little.parameters < more.parameters < long.parameters
    for chosen, text, hours in ((little, 200_000, 1.0), (more, 80_000_000, 1.0), (long, 80_000_000, 100.0)):
        assert chosen.hours <= hours and chosen.passes <= first_size.PASSES
        assert chosen.tokens == pytest.approx(chosen.passes * budget.tokens_of(text))
        assert chosen.tokens >= first_size.FEWEST * chosen.parameters or chosen is little
    assert size(80_000_000, 0.001).hours <= 0.001 * 1.01


def test_very_little_text_gets_a_vocabulary_that_it_yields(quick):
    sizes = [first_size.fitting(text, 1.0, "cpu", first_size.Machine()).shape.vocab_size for text in (6_000, 200_000)]
    assert sizes == [1_024, 2_048]


def test_only_what_was_compared_has_more_than_the_defaults(folder):
    looked = first_recipe.look(folder)
    large, small = first_size.SHAPES[0], first_size.SHAPES[-1]
    for shape, tokens, passes, beyond in [
        (large, 2_000_000_000, 0.5, {}),
        (small, 600_000, 4.0, {"qk_norm": True}),
        (small, 600_000, 0.5, {"qk_norm": True, "tie_embeddings": False}),
    ]:
        shape = first_size.with_own_output(shape, passes)
        written = first_recipe.recipe_text(
            looked, first_size.Size(shape, 1_000_000, tokens, passes, 0.5), "mine", folder.parent
        )
        found = yaml.safe_load(written)
        assert {key: found["model"][key] for key in ("qk_norm", "tie_embeddings") if key in found["model"]} == beyond
        assert found["pretraining"].get("momentum") == (0.9 if beyond else None)
        assert ("What learns most from little text" in written) == bool(beyond)


def test_the_fewer_documents_the_larger_the_share_held_back():
    assert "validation: 0.1}" in first_recipe.held_back(57)[0] and "validation: 0.05}" in first_recipe.held_back(300)[0]
    assert first_recipe.held_back(first_recipe.SMALL) == []


def test_the_name_of_a_recipe_follows_from_the_folder(tmp_path):
    assert start.recipe_name(tmp_path / "My notes (2024)") == "My-notes-2024"
    assert start.recipe_name(Path("/")) == "mine"
    assert start.recipe_name(tmp_path / unicodedata.normalize("NFD", "공부 노트")) == "공부-노트", (
        "as macOS names folders"
    )


ROWS = [
    {
        "id": f"{number}", "제목": f"{number}번째 글의 제목", "본문": f"{text} {number}",
        "주소": f"https://example.org/{number}/" + "a" * 900,
    }
    for number, text in enumerate(KOREAN.values())
]  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "json"])
def test_of_tables_without_a_column_text_the_one_of_the_longest_text_is_read(tmp_path, quick, monkeypatch, ending):
    folder = tmp_path / "글"
    folder.mkdir()
    table, file = pl.DataFrame(ROWS), folder / f"글.{ending}"
    if ending == "json":
        file.write_text(json.dumps(ROWS, ensure_ascii=False), encoding="utf-8")
    elif ending == "csv":
        file.write_bytes(table.write_csv(line_terminator="\r\n").encode("utf-8-sig"))
    else:
        (table.write_parquet if ending == "parquet" else table.write_ndjson)(file)
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(main, ["init", "글"])
    assert run.exit_code == 0, run.output
    assert "no column is called `text`: `본문` is read" in run.output
    (source,) = load("글.yaml").sources
    assert source.columns.text == "본문"
    assert first_recipe.beginning(source)[0]["text"].to_list() == [row["본문"].strip() for row in ROWS]


@pytest.mark.parametrize(
    "rows",
    [
        [{"question": "how many of them were there?", "answer": "there were three of them, I think"}] * 3,
        [{"url": "https://example.org/" + "a" * 200, "number": 7}] * 3,
        [{"Her name was Mina and she lived here.": "Somebody else lived in the house before her."}] * 3,
    ],
)
def test_where_no_column_is_clearly_the_text_the_person_has_to_say_it(tmp_path, rows):
    (tmp_path / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match="has no column `text`"):
        first_recipe.look(tmp_path)

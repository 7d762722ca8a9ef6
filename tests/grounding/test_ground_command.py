"""`slm ground`: documents of a folder and of a recipe, indexed and asked; `slm serve --ground` takes them."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.commands.ground import index_of
from pipeline.errors import UserError
from tests import tiny


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def called(*words: str) -> str:
        result = CliRunner().invoke(main, list(words))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.output

    return called


def test_a_folder_is_indexed_and_asked_and_only_what_is_new_is_read_again(run, tmp_path):
    folder = tmp_path / "일기"
    folder.mkdir()
    (folder / "바다.md").write_text("배는 아침에 떠난다. 저녁에는 돌아오지 않는다.")
    (folder / "script.py").write_text("def boats():\n    return 7\n")
    said = run("ground", str(folder), "--ask", "배는 언제 떠나나요?")
    assert "일기: 2 passages of 2 documents" in said and "slm serve --ground 일기" in said
    assert "바다.md 0-" in said and "배는 아침에 떠난다." in said and "certainty 0." in said
    assert "up to date" in run("ground", str(folder))
    assert index_of("일기", None).found("boats", 1).passages[0].name == "script.py"
    (folder / "산.md").write_text("산은 높다.")
    assert "3 passages of 3 documents" in run("ground", str(folder))


def test_the_documents_of_a_recipe_are_called_as_the_recipe(run, tmp_path):
    recipe = tiny.write(tmp_path)
    assert f"slm --recipe {recipe} make curated_documents" in run("--recipe", str(recipe), "ground")
    run("--recipe", str(recipe), "make", "curated_documents")
    assert "tiny: " in run("--recipe", str(recipe), "ground", "--ask", "who else had seen the letter?")
    assert index_of("tiny", None).found("harbour wind boats", 2).passages[0].source in ("first", "second")
    assert "is the name of a recipe" in run("ground", str(tmp_path / "first"), "--name", "tiny")
    assert "called as the recipe" in run("--recipe", str(recipe), "ground", "--name", "other")


def test_mistakes_end_in_a_sentence(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no text" in run("ground", str(tmp_path / "empty"))
    (tmp_path / "blank").mkdir()
    (tmp_path / "blank" / "a.txt").write_text(" ")
    assert "slm: " in run("ground", str(tmp_path / "blank"))
    with pytest.raises(UserError, match="slm ground"):
        index_of("nothing", None)
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "a.txt").write_text("A sentence.")
    assert "cannot be part of a file name" in run("ground", str(tmp_path / "some"), "--name", "../x")
    assert "neither" in run("ground", str(tmp_path / "some"), "--vectors", str(tmp_path / "empty"))

"""A user's own file: loaded without installation, identified by its bytes, every mistake reported with its line."""

import sys
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.own_code import digest_of, failure, load, settings_class


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_loaded_once_as_a_module_that_its_classes_know(tmp_path):
    file = written(
        tmp_path / "my-own.file.py",
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass\nclass Pair:\n    left: int\n\ndef records(settings):\n    yield Pair(1)\n",
    )
    module = load(file, ("records", "Pair"))
    assert next(module.records(None)) == module.Pair(1)
    assert sys.modules[module.Pair.__module__] is module and module.__name__.startswith("slm_own_my_own_file_")
    assert load(file) is module


def test_a_changed_file_is_another_module_and_another_digest(tmp_path):
    file = written(tmp_path / "own.py", "VALUE = 1\n")
    before, digest = load(file), digest_of(file)
    written(file, "VALUE = 2\n")
    assert (before.VALUE, load(file).VALUE) == (1, 2) and digest_of(file) != digest
    (tmp_path / "copy").mkdir()
    copy = written(tmp_path / "copy" / "own.py", "VALUE = 2\n")
    assert digest_of(copy) == digest_of(file) and load(copy).__file__ == str(copy)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ndef broken(:\n", r"own\.py, line 2, is not valid Python \(invalid syntax\): fix it"),
        (
            "import json\njson.loads('{')\n",
            r"own\.py, line 2 failed while it was loaded \(JSONDecodeError: .*\): fix it",
        ),
        ("import no_such_package_here\n", r"own\.py, line 1 failed .*No module named 'no_such_package_here'"),
        ("def record(settings): ...\n", r"own\.py does not define `records`: it has to define `records`"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path, text, said):
    file = written(tmp_path / "own.py", text)
    known = set(sys.modules)
    with pytest.raises(UserError, match=said) as caught:
        load(file, ("records",))
    assert "\n" not in str(caught.value)
    if "does not define" not in said:
        assert not {name for name in set(sys.modules) - known if name.startswith("slm_own_")}


def test_a_file_that_is_not_there_or_is_a_folder_is_named(tmp_path):
    for look in (load, digest_of):
        with pytest.raises(UserError, match=r"There is no file .*none\.py: correct `file`"):
            look(tmp_path / "none.py")
        with pytest.raises(UserError, match=r"cannot be read \(.*directory.*\): name a Python file"):
            look(tmp_path)


def test_an_exception_of_its_own_code_names_the_innermost_line_of_the_file(tmp_path):
    file = written(
        tmp_path / "own.py", "import json\n\ndef records():\n    return inner()\n\ndef inner():\n    json.loads('[')\n"
    )
    module = load(file)
    with pytest.raises(ValueError) as caught:
        module.records()
    said = str(failure(file, caught.value, "while it gave record 3"))
    assert "own.py, line 7 failed while it gave record 3 (JSONDecodeError: Expecting value" in said


def test_settings_have_to_be_settings(tmp_path):
    file = written(tmp_path / "own.py", "class Settings:\n    pass\n")
    with pytest.raises(
        UserError, match=r"`Settings` in .*own\.py has to be a subclass of `pipeline\.settings\.Settings`"
    ):
        settings_class(load(file))
    file = written(
        tmp_path / "two.py", "from pipeline.settings import Settings as S\nclass Settings(S):\n    depth: int = 1\n"
    )
    assert settings_class(load(file))(depth=2).depth == 2
    none = settings_class(load(written(tmp_path / "three.py", "")))
    with pytest.raises(ValueError, match="depth"):
        none(depth=2)

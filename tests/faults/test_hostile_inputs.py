"""Hostile files: each ends in one sentence, or in exactly the documents and counts that the table says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pipeline.errors import UserError
from tests.faults.hostile_files import files
from tests.faults.hostile_packs import Case, packs
from tests.faults.reading import read_all, source

CASES = [*packs(), *files()]


def test_there_are_at_least_250_hostile_files_of_different_names() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 250


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_file_is_refused_in_a_sentence_or_read_as_the_table_says(tmp_path: Path, capfd, case: Case) -> None:
    folder = tmp_path / "in"
    for name, raw in case.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    given = source(folder, **case.settings)
    if isinstance(case.expected, str):
        with pytest.raises(UserError) as refused:
            read_all(given, tmp_path)
        assert re.search(case.expected, str(refused.value)), refused.value
        assert str(refused.value).endswith(".") and "\n" not in str(refused.value)
    else:
        found, skipped = read_all(given, tmp_path)
        assert (len(found), skipped) == case.expected
    assert capfd.readouterr() == ("", "")


# -- folders -----------------------------------------------------------------------------------------------------------


def test_links_in_a_loop_are_gone_through_once(tmp_path: Path) -> None:
    deep = tmp_path / "in" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "x.txt").write_text("a text")
    for number, place in enumerate((deep, deep.parent, deep.parent.parent)):
        (place / f"loop{number}").symlink_to(tmp_path / "in")
        (place / f"again{number}").symlink_to(place)
    for path in (tmp_path / "in", tmp_path / "in" / "**" / "*.txt"):
        assert read_all(source(path), tmp_path)[0] == ["a text"]


def test_a_link_to_a_file_or_to_another_folder_is_read_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "y.txt").write_text("of the other folder")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.txt").write_text("of this folder")
    (tmp_path / "in" / "again.txt").symlink_to(tmp_path / "in" / "x.txt")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "other")
    (tmp_path / "in" / "nowhere.txt").symlink_to(tmp_path / "nowhere")
    assert read_all(source(tmp_path / "in"), tmp_path)[0] == ["of this folder", "of the other folder", "of this folder"]


@pytest.mark.parametrize("name", ["a[1]", "[ab]", "what?", "all*", "a[!b]c", "]["])
def test_folders_and_files_with_brackets_in_their_names_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / f"{name}.txt").write_text("a text")
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "y.txt").write_text("another")
    for path in (tmp_path / name, tmp_path / name / f"{name}.txt"):
        assert read_all(source(path), tmp_path)[0] == ["a text"]
    inside = source("*.txt", base=tmp_path / name)
    assert read_all(inside, tmp_path)[0] == ["a text"]
    assert [given for given, _ in inside.matching()] == [f"{name}.txt"]


def test_names_in_cp949_on_disk_are_read_as_such(tmp_path: Path) -> None:
    folder = os.path.join(os.fsencode(tmp_path), "자료".encode("cp949"))
    os.mkdir(folder)
    for name in ("글.txt", "말.txt"):
        Path(os.fsdecode(os.path.join(folder, name.encode("cp949")))).write_text(name, encoding="utf-8")
    (Path(os.fsdecode(folder)) / os.fsdecode(b"\xff\xfe.txt")).write_text("no encoding at all")
    given = source(tmp_path / "*" / "*.txt")
    assert [name for name, _ in given.matching()] == ["자료/%FF%FE.txt", "자료/글.txt", "자료/말.txt"]
    assert read_all(given, tmp_path / "cache")[0] == ["no encoding at all", "글.txt", "말.txt"]
    assert read_all(given, tmp_path / "cache")[0] == ["no encoding at all", "글.txt", "말.txt"]


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / "in" / "pipe.txt")
    (tmp_path / "in" / "folder.txt").mkdir()
    with pytest.raises(UserError, match="no file matches"):
        read_all(source(tmp_path / "in"), tmp_path)
    with pytest.raises(UserError, match="no file matches"):
        read_all(source("a\0b"), tmp_path)
    with pytest.raises(UserError, match="no file matches"):
        read_all(source("x" * 5000), tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_an_error_and_not_empty(tmp_path: Path) -> None:
    (tmp_path / "in" / "closed").mkdir(parents=True)
    (tmp_path / "in" / "x.txt").write_text("a text")
    (tmp_path / "in" / "closed").chmod(0)
    with pytest.raises(UserError, match="closed may not be read"):
        read_all(source(tmp_path / "in"), tmp_path)


# -- changes while a source is read ------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "between"])
@pytest.mark.parametrize("how", ["appended", "replaced", "same size", "deleted", "there and back"])
def test_a_file_that_changes_while_it_is_read_is_not_taken_for_what_was_observed(tmp_path, how, when) -> None:
    path = tmp_path / "in" / "b.txt"
    path.parent.mkdir()
    (path.parent / "a.txt").write_text("first")
    path.write_text("second")
    os.utime(path, (1000, 1000))
    given = source(path.parent)

    def change() -> None:
        if how == "appended":
            with open(path, "a") as file:
                file.write(" and more")
        elif how == "deleted":
            path.unlink()
        elif how == "replaced":
            path.with_name("new").write_text("other!")
            path.with_name("new").replace(path)
        else:
            path.write_text("other!")
            if how == "there and back":
                path.write_text("second")
            else:
                os.utime(path, (2000, 2000))

    if (how, when) == ("there and back", "before"):  # then what is read is what was observed
        assert read_all(given, tmp_path / "cache", before=change)[0] == ["first", "second"]
        return
    with pytest.raises(UserError, match=r"changed|is not there \(any more\)"):
        read_all(given, tmp_path / "cache", **{when: change})


def test_two_files_whose_names_are_the_same_text_in_two_encodings_are_both_read(tmp_path: Path) -> None:
    (tmp_path / "글.txt").write_text("in UTF-8")
    Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), "글.txt".encode("cp949")))).write_text("in CP949")
    given = source(tmp_path / "*.txt")
    assert sorted(read_all(given, tmp_path / "cache")[0]) == ["in CP949", "in UTF-8"]
    assert len(given.matching()) == 2


# -- how often a source is read again ----------------------------------------------------------------------------------


def test_only_sources_of_files_that_are_read_otherwise_than_before_have_another_identity(tmp_path: Path) -> None:
    import xxhash

    for name, again in {"a.txt": False, "a.jsonl": False, "a.zip": True, "a.tar.gz": True, "a.csv": True}.items():
        (tmp_path / name).write_bytes(b"x")
        formerly = xxhash.xxh3_128(f"{name}\0{xxhash.xxh3_128_hexdigest(b'x')}\n".encode()).hexdigest()
        assert (source(tmp_path / name).observe(tmp_path)["digest"] != formerly) == again, name

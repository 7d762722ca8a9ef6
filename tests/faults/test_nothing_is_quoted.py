"""What cannot be read is named by file, line or row, and column: nothing that is in a file gets into a log.

A broken row is where personal data is most likely to be looked at by somebody who should not: in a terminal, in a log
that is kept for years, in Dagster's database.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.context import RunContext
from pipeline.conversations import instruction_data
from pipeline.curation import contamination
from pipeline.curation.evaluation_items import all_items
from pipeline.errors import UserError
from pipeline.ingest import preview
from pipeline.ingest.source import parse_source
from pipeline.store.store import Store
from tests.faults.planted import OWN, holds_a_secret, own_source, planted
from tests.faults.reading import read_all, source

ROOT = Path(__file__).parents[2]
PLANTED = list(planted())


def as_source(folder: Path, cache: Path, log: Callable[[str], None]) -> Any:
    return read_all(source(folder), cache)


def as_preview(folder: Path, cache: Path, log: Callable[[str], None]) -> Any:
    list(preview.listing([source(folder)], Store(cache / "store", "t"), log))
    return preview.check(source(folder), Store(cache / "store", "t"), log)


def as_conversations(folder: Path, cache: Path, log: Callable[[str], None]) -> Any:
    given = {"sources": [{"name": "s", "path": str(folder / "*")}]}
    context = RunContext(Store(cache / "store", "t"), log)
    return instruction_data.make(context, {}, instruction_data.Settings.model_validate(given))


def as_items(folder: Path, cache: Path, log: Callable[[str], None]) -> Any:
    sets = contamination.Settings.model_validate({"sets": [{"name": "s", "path": str(folder / "*")}]}).sets
    return all_items(sets, {"s": sets[0].contents(cache)}, cache, log)


@pytest.mark.parametrize("reader", [as_source, as_preview, as_conversations, as_items], ids=lambda f: f.__name__)
@pytest.mark.parametrize(("wrong", "files"), PLANTED, ids=[wrong for wrong, _ in PLANTED])
def test_what_is_said_of_a_broken_file_quotes_nothing_of_it(tmp_path, capfd, caplog, reader, wrong, files) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    said: list[str] = []
    try:
        reader(folder, tmp_path, said.append)
    except UserError as error:
        said += ["refused", *traceback.format_exception(error)]
    out, err = capfd.readouterr()
    assert not holds_a_secret("\n".join([*said, out, err, caplog.text]))
    assert "refused" in said or reader is not as_source, "a broken file was read"


@pytest.mark.parametrize("invalid", ["error", "skip"])
@pytest.mark.parametrize("raises", OWN)
def test_what_is_said_of_a_source_of_ones_own_quotes_nothing_that_it_read(tmp_path, capfd, raises, invalid) -> None:
    (tmp_path / "own.py").write_bytes(own_source(raises))
    given = parse_source({"name": "s", "kind": "python", "file": str(tmp_path / "own.py"), "invalid": invalid})
    said = []
    try:
        read_all(given, tmp_path)
    except UserError as error:
        said += traceback.format_exception(error)
    assert said or invalid == "skip"
    frames = [line for line in said if not line.lstrip().startswith("File ")]  # code, which a person wrote
    assert not holds_a_secret("".join(frames)) and capfd.readouterr() == ("", "")


RECIPE = """name: mine
sources:
  - {name: notes, kind: files, path: in}
instructions: {sources: [{name: talk, path: in/*}]}
"""
BROKEN = [of for of in PLANTED if of[0] in ("csv: too many fields", "jsonl: a wrong escape")]


@pytest.mark.parametrize(("wrong", "files"), BROKEN, ids=[wrong for wrong, _ in BROKEN])
def test_nothing_that_a_run_writes_outside_the_store_holds_what_is_in_a_broken_file(tmp_path, wrong, files) -> None:
    """The command, and a run of Dagster with its database, its logs and its files."""
    (tmp_path / "in").mkdir()
    for name, raw in files.items():
        (tmp_path / "in" / name).write_bytes(raw)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    inherited = {name: of for name, of in os.environ.items() if not name.startswith(("DAGSTER", "MLFLOW", "SLM"))}
    environment = {
        **inherited, "DAGSTER_HOME": str(home), "SLM_RECIPE": str(tmp_path / "recipe.yaml"), "SLM_TRACKING": "off",
        "SLM_DATA": str(tmp_path / "store"), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    assets = ("raw_documents", "instruction_data")
    by_dagster = [
        sys.executable, "-m", "dagster", "asset", "materialize", "--select", ",".join(assets), "-m",
        "assets.definitions",
    ]  # fmt: skip
    for run in (*([sys.executable, "-m", "pipeline.cli", "make", asset] for asset in assets), by_dagster):
        done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, check=False, timeout=120)
        assert done.returncode != 0, done.stderr.decode()
        assert b"Traceback" not in done.stderr or run is by_dagster, done.stderr.decode()
        assert not holds_a_secret(done.stdout + done.stderr)
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != tmp_path / "in"]
    assert any(path.suffix == ".db" for path in written), "Dagster kept nothing"
    assert not [str(path) for path in written if holds_a_secret(path.read_bytes())]

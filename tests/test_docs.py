"""The documents name only what exists: pages, headings, pictures, files of the code, commands and jobs.

Not their words: only a person can tell whether these are right.
"""

import re
import runpy
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "README.ko.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)
GUIDE = [page for page in PAGES if page.parent.name == "guide"]
INSTRUCTIONS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md", *GUIDE]

MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
DATE = re.compile(rf"\b\d{{4}}-\d{{2}}-\d{{2}}\b|\b\d{{1,2}} (?:{MONTHS})\b")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.M | re.S)
LINK = re.compile(r"(?<!\\)!?\[[^\]]*\]\(([^)\s]+)\)")
FILE = re.compile(r"\b(?:assets|benchmarks|examples|model|pipeline|scripts|tests)/[\w./]+\.(?:py|json|sh)\b")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)
each_instruction = pytest.mark.parametrize("page", INSTRUCTIONS, ids=name_of)


def prose(page: Path) -> str:
    """The page without fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


# -- links -------------------------------------------------------------------------------------------------------------


@cache
def anchors(page: Path) -> set[str]:
    """The anchors that the page's headings have on GitHub."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def targets(page: Path) -> Iterator[tuple[str, Path, str]]:
    """(link as written, file, anchor) of each relative link and picture."""
    for link in LINK.findall(re.sub(r"`[^`\n]*`", "", prose(page))):
        if not re.match(r"[a-z]+:", link):
            path, _, anchor = link.partition("#")
            yield link, (page.parent / path).resolve() if path else page, anchor


@each_page
def test_every_relative_link_and_picture_is_there(page: Path):
    broken = [
        link
        for link, file, anchor in targets(page)
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file))
    ]
    assert broken == []


def test_every_page_can_be_reached_from_the_readme():
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen:
            seen.add(page)
            waiting += [file for _, file, _ in targets(page) if file.suffix == ".md"]
    assert {name_of(page) for page in PAGES} - {name_of(page) for page in seen} <= {"CHANGELOG.md"}


def test_the_site_has_every_page_and_all_of_the_guide_stand_in_its_contents():
    site = runpy.run_path(str(ROOT / "docs" / "conf.py"))
    of_site = {page for pattern in site["include_patterns"] for page in ROOT.glob(pattern)}
    assert not set(PAGES) - of_site, "a link to a page that the site does not have ends `make docs`"
    listed = {f"{page.split('/')[-1]}.md" for _, pages in site["SECTIONS"] for page in pages}
    assert {page.name for page in GUIDE} - {"index.md"} - listed == set()


def test_links_headings_and_pictures_are_found(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# A, b & `c`\n\n[x](other.md#top) ![y](a.png) `[z](no)` [w](https://x.org)\n```\n[v](no)\n```\n")
    assert [(link, anchor) for link, _, anchor in targets(page)] == [("other.md#top", "top"), ("a.png", "")]
    assert anchors(page) == {"a-b--c"}


# -- the guide ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", GUIDE, ids=name_of)
def test_the_guide_holds_no_dates_and_no_targets(page: Path):
    text = page.read_text(encoding="utf-8")
    assert DATE.findall(text) == [], "measurements belong into docs/results"
    assert re.findall(r"\bwanted\b", text, re.I) == []


def test_every_results_page_says_when_it_was_measured():
    undated = [
        name_of(page)
        for page in PAGES
        if page.parent.name == "results" and page.name != "index.md" and not DATE.search(page.read_text("utf-8"))
    ]
    assert undated == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *GUIDE], ids=name_of)
def test_every_recipe_that_is_shown_is_accepted(page: Path):
    """A part of a recipe is completed by a name and a source. Those of own-code.md name files of the reader's.

    What has a grid or cells is an experiment, a file by itself.
    """
    from pipeline.experiments.changes import changes_of
    from pipeline.experiments.experiment_settings import Experiment
    from pipeline.locations import Locations
    from pipeline.recipe import parse
    from pipeline.retention import Policy

    least = {"name": "shown", "sources": [{"name": "speeches", "kind": "bundled", "dataset": "sotu"}]}
    for _, language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language != "yaml" or "apiVersion" in block or page.name == "own-code.md":
            continue
        content = yaml.safe_load(block)
        if "locations" in content:
            assert Locations.model_validate(content)
        elif {"quota", "default"} & content.keys():
            assert Policy.model_validate(content)
        elif {"grid", "cells"} & content.keys():
            assert changes_of(Experiment.model_validate(yaml.safe_load(block)))
        else:
            parse(yaml.safe_dump({**least, **yaml.safe_load(block)}), name_of(page))


# -- files of the code -------------------------------------------------------------------------------------------------


@each_page
def test_every_file_of_the_code_that_is_named_is_there(page: Path):
    named = set(FILE.findall(page.read_text(encoding="utf-8")))
    invented = {"pipeline/curation/filters/shouting.py", "tests/curation/test_shouting.py"}
    assert {name for name in named - invented if not (ROOT / name).exists()} == set()


def test_every_page_that_the_code_names_is_there():
    folders = ("assets", "benchmarks", "model", "pipeline", "recipes", "scripts", "tests")
    broken = [
        f"{name_of(path)}: {page}"
        for path in (path for folder in folders for path in (ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".sh", ".yaml")
        for page in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text(encoding="utf-8"))
        if not (ROOT / page).exists()
    ]
    assert broken == []


# -- commands ----------------------------------------------------------------------------------------------------------


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """The words after `program` in each command line of the page: in blocks without a language, and in the text."""
    text = page.read_text(encoding="utf-8")
    lines = [line for _, language, block in FENCE.findall(text) if not language for line in block.splitlines()]
    lines += re.findall(r"^ {4}(\S.*)$", FENCE.sub("", text), re.M)
    lines += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    for line in lines:
        line = re.split(r"\s#\s|\s[>|]\s|\s&&\s", line.strip())[0]
        line = re.sub(r"^(?:[A-Z_]+=\S+ +)+", "", line)
        if line.startswith(f"{program} "):
            yield shlex.split(line)[len(program.split()) :]


def problem_of(words: list[str], command: click.Command) -> str:
    """What is wrong with a command line; "" where nothing is."""
    given, words = 0, list(words)
    while words:
        word = words.pop(0)
        if word == "--help":
            continue
        if word.startswith("-"):
            option = next((of for of in command.params if isinstance(of, click.Option) and word in of.opts), None)
            if option is None:
                return f"`{command.name}` has no option {word}"
            if not option.is_flag and words:
                words.pop(0)
        elif isinstance(command, click.Group):
            if word.isupper():  # stands for any command
                return ""
            if word not in command.commands:
                return f"`{command.name}` has no command {word}"
            command = command.commands[word]
        else:
            given += 1
    room = [of.nargs for of in command.params if isinstance(of, click.Argument)]
    return f"`{command.name}` takes fewer arguments" if -1 not in room and given > sum(room) else ""


@each_instruction
def test_every_slm_command_exists(page: Path):
    from pipeline.cli import main

    problems = [
        problem_of(words, main) for program in ("slm", "python -m pipeline.cli") for words in commands(page, program)
    ]
    assert [problem for problem in problems if problem] == []


@each_instruction
def test_every_make_target_exists(page: Path):
    known = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = {words[0] for words in commands(page, "make") if words and re.fullmatch(r"[a-z][\w-]*", words[0])}
    assert named <= known


@each_instruction
def test_every_job_exists(page: Path):
    from assets.definitions import defs
    from assets.jobs import jobs_of
    from pipeline.experiments.experiment_settings import Experiment
    from pipeline.experiments.worth_settings import Worth
    from pipeline.recipe import load
    from pipeline.training.distillation_settings import DistillationSettings
    from pipeline.training.reinforcement_settings import ReinforcementSettings

    # Blocks that have a job of their own.
    asked = {
        "reinforcement": ReinforcementSettings.model_validate({"rewards": [{"kind": "exact"}]}),
        "distillation": DistillationSettings(),
        "experiments": {"activations": Experiment()},
        "worth": Worth(),
    }
    known = {job.name for job in (*(defs.jobs or ()), *jobs_of(load().model_copy(update=asked)))}
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"\bjob execute -j (?!JOB\b)(\S+?)[`\s]", text)) | set(re.findall(r"`(\w+_job)`", text))
    assert named <= known


@each_instruction
def test_every_variable_of_the_environment_is_read_somewhere(page: Path):
    code = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("assets", "model", "pipeline", "scripts", "tests")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".sh") and path.name != Path(__file__).name
    ) + (ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")
    assert {
        name for name in re.findall(r"\bSLM_[A-Z_]+\b", page.read_text(encoding="utf-8")) if name not in code
    } == set()


def outputs(page: Path) -> Iterator[str]:
    """The lines below commands that are shown with a prompt (`$ `): what these print, but not what a model says."""
    for _, _, block in FENCE.findall(page.read_text(encoding="utf-8")):
        command = ""
        for line in block.splitlines() if block.startswith("$ ") else ():
            if line.startswith("$ "):
                command = line
            elif line.strip() and (line.startswith("{") or not command.startswith("$ slm generate")):
                yield line


def is_said(line: str, code: str) -> bool:
    """Whether the code says it: the keys of a JSON line, else the longest words between names, numbers and values."""
    if line.startswith("{"):
        keys = re.findall(r'"(\w+)":', line)
        return bool(keys) and all(f'"{key}"' in code for key in keys)
    pieces = re.split(r"\S*[\d/`\"{}:]\S*|\.\.\.", line)
    return max((piece.strip() for piece in pieces), key=len) in code


@each_instruction
def test_what_a_command_is_shown_to_print_is_what_the_code_says(page: Path):
    code = "".join(
        path.read_text(encoding="utf-8") for folder in ("model", "pipeline") for path in (ROOT / folder).rglob("*.py")
    )
    assert [line for line in outputs(page) if not is_said(line, code)] == []


def test_outputs_are_found_and_mistakes_in_them(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text('```\n$ slm why a\na/12 learned from 9 of them, and so on\n{"text": "x"}\n```\n```\nslm b\n```\n')
    line, row = outputs(page)
    code = 'f"{name} learned from {count} of them, and so on"; {"text": 1}'
    assert is_said(line, code) and not is_said(line, code.replace("and so", "or so"))
    assert is_said(row, code) and not is_said(row, code.replace("text", "output"))


def test_commands_are_found_and_mistakes_in_them(tmp_path: Path):
    from pipeline.cli import main

    page = tmp_path / "page.md"
    page.write_text(
        "`slm store prune --keep 2` and `SLM_RECIPE=a slm why x`\n\n    slm chats  # no\n\n"
        "```\nslm plan a.yaml --gpus 2\nmake it\n```\n```python\nslm = 1\n```\n"
    )
    found = list(commands(page, "slm"))
    assert found == [["plan", "a.yaml", "--gpus", "2"], ["chats"], ["store", "prune", "--keep", "2"], ["why", "x"]]
    assert [problem_of(words, main) for words in found] == [
        "`plan` has no option --gpus", "`main` has no command chats", "", ""
    ]  # fmt: skip
    assert problem_of(["summary", "extra"], main) == "`summary` takes fewer arguments"
    assert problem_of(["--recipe", "FILE", "COMMAND"], main) == ""
    assert list(commands(page, "make")) == [["it"]]


def test_dates_are_found():
    assert DATE.findall("on 2026-11-21, or 22 November") == ["2026-11-21", "22 November"]
    assert DATE.findall("CC-MAIN-2025-05, Bi et al. 2024") == []

"""A passage that a program would not survive takes the whole function, member or statement with it."""

import random
import sysconfig
from pathlib import Path

import pytest

from pipeline.curation.program_cuts import cut_from_program
from pipeline.curation.programs import python_tree, with_edits

PROGRAM = '''"""A module."""
import os

LIMIT = [
    "one", "two", "three",
    "four", "five",
]


@cached
def first(name,
          other=None):
    """What it does."""
    if name:
        return os.path.join(name, other)
    return None


class Ledger:
    """Counts things."""

    kind = "ledger"

    @property
    def total(self):
        # Adds up what was entered so far.
        return sum(self.entries)

    def add(self, entry):
        self.entries.append(entry)


class Single:
    def only(self):
        return (1 +
                2)


try:
    import fast
except ImportError:
    fast = None
    slow = dict(
        a=1, b=2)
x = 1; y = (2 +
            3)
'''


def left(program: str, *passages: str) -> tuple[str | None, list[str]]:
    """(the program without the passages, what went)."""
    spans = [(program.index(one), program.index(one) + len(one)) for one in passages]
    cuts = cut_from_program(program, spans)
    if cuts is None:
        return None, []
    return with_edits(program, [(start, end, "") for start, end, _ in cuts]), [what for _, _, what in cuts]


@pytest.mark.parametrize(
    ("passage", "gone", "stays", "what"),
    [
        ('"two", "three",\n    "four"', "LIMIT", "import os", "statement"),
        ("name:\n        return os.path.join(", "def first", "class Ledger", "function"),
        ("@cached\ndef first(name", "@cached", "LIMIT", "function"),
        ("far.\n        return sum(self.entr", "def total", "def add", "function"),
        ("Ledger:\n", "kind", "class Single", "class"),
        ("(1 +\n", "class Single", "try:", "class"),
        ("a=1, b", "slow", "fast = None", "statement"),
        ("import fast\nexcept Imp", "import fast", "class Single", "statement"),
        ("(2 +\n", "x = 1", "slow", "statement"),
    ],
)
def test_the_smallest_whole_around_a_passage_goes(passage, gone, stays, what):
    program, cut = left(PROGRAM, passage)
    assert program is not None and python_tree(program) is not None
    assert gone not in program and stays in program and passage not in program and cut == [what]


def test_a_passage_that_the_program_survives_is_cut_alone():
    program, cut = left(PROGRAM, "Adds up what was entered so far")
    assert cut == ["passage"] and "def total" in program and python_tree(program) is not None
    program, cut = left(PROGRAM, "Adds up what was entered so far", "name:\n        return os.path.join(")
    assert sorted(cut) == ["function", "passage"] and "def total" in program and "def first" not in program


def test_a_passage_over_several_statements_takes_all_of_them_and_the_comments_between():
    passage = PROGRAM[PROGRAM.index("total(self") : PROGRAM.index("self, entry")]
    program, cut = left(PROGRAM, passage)
    assert cut == ["function"] and "def total" not in program and "def add" not in program and "kind =" in program


def test_a_program_of_which_nothing_is_left_and_what_is_no_program_go():
    assert left("def only():\n    return (1 +\n        2)\n", "(1 +") == (None, [])
    assert left("int main() {\n  return (1 +\n 2); }\n", "(1 +") == (None, [])


def test_programs_of_the_standard_library_survive_any_cut():
    draw = random.Random(5)
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in files if 2_000 < path.stat().st_size < 30_000][:60]
    kept = 0
    for text in texts:
        for _ in range(4):
            spans = [(start, start + draw.randint(30, 400)) for start in draw.sample(range(len(text) - 400), 2)]
            cuts = cut_from_program(text, spans)
            if cuts is None:
                continue
            kept += 1
            program = with_edits(text, [(start, end, "") for start, end, _ in cuts])
            assert python_tree(program) is not None
            assert all(any(start <= a and b <= end for start, end, _ in cuts) for a, b in spans)
    assert kept > 0.95 * 4 * len(texts)

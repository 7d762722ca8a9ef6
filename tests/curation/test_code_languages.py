"""Files of many programming languages are code without anybody saying so, and pages about them are not."""

import polars as pl
import pytest

from pipeline.curation.filters import heuristics, language
from tests.curation.filter_texts import ENGLISH, JAVA, KOREAN, PYTHON, frame, reasons

FILES = {
    "shell": "#!/bin/sh\n# Start the server and wait.\nset -e\nif [ -z \"$1\" ]; then\n  echo 'no name'\n"
    "  exit 1\nfi\n"
    "for file in *.txt; do\n  cp -p \"$file\" /tmp/out\ndone\n",
    "shell without a first line": "export PREFIX=/usr/local\nif test -d \"$PREFIX\"; then\n"
    "  cd \"$PREFIX\"\nelse\n  mkdir -p bin\nfi\n"
    "cat list | grep -v old | \\\n  sort -u > new\n",
    "sql": "-- All orders of a customer.\nCREATE TABLE orders (\n  id integer PRIMARY KEY,\n"
    "  name text NOT NULL\n);\n"
    "SELECT name, count(*)\nFROM orders\nWHERE id > 10\nGROUP BY name\nORDER BY name;\n",
    "css": "/* The menu. */\n.menu,\n.menu > li:hover {\n  color: #336699;\n  margin: 0 auto;\n}\n"
    "#top { display: none; }\n",
    "perl": "package Harbour::Boat;\nuse strict;\n\nsub new {\n  my ($class, %given) = @_;\n"
    "  return bless { %given }, $class;\n}\n"
    "1;\n\n=head1 NAME\n\nHarbour::Boat - a boat\n\n=head1 DESCRIPTION\n\n" + ENGLISH + "\n\n=cut\n",
    "javascript": "/**\n * Counts the boats.\n * " + ENGLISH[:200] + "\n */\nfunction count(boats) {\n"
    "  let total = 0;\n"
    "  for (const boat of boats) {\n    total += boat.size\n  }\n  return total\n}\n\nexport default count\n",
    "c": "/*\n * " + ENGLISH.replace(". ", ".\n * ") + "\n */\n#include <stdio.h>\n\n"
    "static int total(const int *values, int count)\n"
    "{\n    int sum = 0;\n    for (int i = 0; i < count; i++)\n        sum += values[i];\n    return sum;\n}\n",
    "java": JAVA,
    "go": "package harbour\n\nimport (\n\t\"fmt\"\n)\n\ntype Boat struct {\n\tName string\n}\n\n"
    "func (b *Boat) Print() error {\n\tif b == nil {\n\t\treturn fmt.Errorf(\"none\")\n\t}\n\treturn nil\n}\n",
    "rust": "use std::collections::HashMap;\n\n#[derive(Debug)]\npub struct Boat {\n    name: String,\n}\n\n"
    "impl Boat {\n    pub fn new(name: &str) -> Self {\n        Self { name: name.to_string() }\n    }\n}\n",
    "python": PYTHON,
}  # fmt: skip
PAGES = {
    "a list of terms": "name: what a boat is called;\n" + ENGLISH,
    "a table": "| Name | What it is |\n| ---- | ---- |\n| boat | what floats on the sea |\n"
    "| quay | where it lies |\n" * 3,
    "wrapped lines": ENGLISH.replace(", ", ",\n"),
    "steps": "1. Select the boat that you want.\n2. Update the list of crates from the book.\n"
    "3. Return to the wall.\n" * 3,
    "options": "The option --all shows every boat, and -v says more about each of them.\n" + ENGLISH,
    "a page with a block": "# Boats\n\n" + ENGLISH + "\n\n```sql\nSELECT name FROM boats;\n```\n",
    "korean": "# 항구\n\n" + KOREAN + "\n\n```sh\ncp -p a b\n```\n",
}  # fmt: skip


def label(text: str) -> str:
    return language.signals(frame(text), language.Settings(), {})["label"].item()


@pytest.mark.parametrize("name", FILES)
def test_source_files_are_code(name):
    assert label(FILES[name]) == "code"


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_not(name):
    assert label(PAGES[name]) in ("en", "ko")


def test_a_page_that_is_one_block_is_judged_as_the_code_that_it_holds():
    for block in (
        f"```java\n{JAVA * 3}```\n",
        f"# Ledger\n\n```\n{JAVA * 3}```\n",
        f"Ledger::\n\n{indented(JAVA * 3)}\n",
    ):
        document = frame(block)
        assert label(block) == "code"
        found = heuristics.signals(document, heuristics.Settings(), {})
        assert found["kind"].to_list() == ["code"] and found["words"].is_null().all()
        assert reasons(heuristics, document) == [None]


def indented(text: str) -> str:
    return "\n".join("    " + line for line in text.split("\n"))


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        (ENGLISH + "港は早朝で静かだった。一晩中外にいた船が帰ってきた。" * 4, "en", "ja"),
        (ENGLISH + "清晨的港口很安静，整夜在外面的船随着潮水回家了。" * 4, "en", "zh"),
        (ENGLISH + KOREAN[:90], "en", "ko"),
        (KOREAN + "清晨的港口很安静，整夜在外面的船随着潮水回家了。" * 3, "ko", "zh"),
        (KOREAN + "港は早朝で静かだった。一晩中外にいた船が帰ってきた。" * 3, "ko", "ja"),
        ("清晨的港口很安静，整夜在外面的船随着潮水回家了。" * 4 + KOREAN[:60], "zh", "ko"),
        ("港は早朝で静かだった。一晩中外にいた船が帰ってきた。" * 4 + ENGLISH[:120], "ja", "en"),
        (PYTHON + "# " + "港は早朝で静かだった。一晩中外にいた船が帰ってきた。" * 6, "code", "ja"),
        (PYTHON, "code", None),
        (ENGLISH, "en", None),
        (KOREAN, "ko", None),
        ("清晨的港口很安静，整夜在外面的船随着潮水回家了。", "zh", None),
        ("港は早朝で静かだった。一晩中外にいた船が帰ってきた。", "ja", None),
    ],
)
def test_second_languages_are_named_by_their_scripts(text, first, second):
    found = language.signals(frame(text), language.Settings(), {})
    assert (found["label"].item(), found["second"].item()) == (first, second)
    assert (found["second_share"].item() is None) == (second is None)


def test_korean_html_with_character_references_is_korean():
    body = "".join(f"&#{ord(c)};" if "가" <= c <= "힣" else c for c in KOREAN)
    hexadecimal = "".join(f"&#x{ord(c):X};" if "가" <= c <= "힣" else c for c in KOREAN)
    for text in (body, hexadecimal, f"<html><body class='main wide'>\n<p>{body}</p>\n</body></html>"):
        assert label(text) == "ko"
    menu = "\n".join(f'<li class="nav-item dropdown"><a href="/section/page-{n}.html">목록</a></li>' for n in range(30))
    assert label(f"<html>\n<ul>\n{menu}\n</ul>\n<p>{KOREAN}</p>\n</html>") == "ko"
    assert label("AT&#38;T and others. " + ENGLISH) == "en"


def test_the_answer_for_a_document_does_not_depend_on_those_beside_it():
    texts = [*FILES.values(), *PAGES.values(), "", "&#44032;" * 30]
    together = language.signals(frame(*texts), language.Settings(), {})
    alone = pl.concat(language.signals(frame(text), language.Settings(), {}) for text in texts)
    assert together.equals(alone)

"""The documents as a site: `make docs` (Sphinx with MyST, the extra `docs`).

The pages stay as they are for a reader on GitHub: what a site needs besides, its contents, is added while they are
read. A link that leads nowhere is an error.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
project, copyright, author = "slm", "", ""
extensions = ["myst_parser"]
root_doc = "docs/guide/index"
include_patterns = ["docs/*.md", "docs/**/*.md", "CONTRIBUTING.md", "CHANGELOG.md", "README.md", "README.ko.md"]
exclude_patterns = [".*", "data", "build", "dagster_home", "mlruns", "feedback", "tests", "recipes", "**/node_modules"]
myst_heading_anchors = 4  # as GitHub makes them
suppress_warnings = ["toc.not_included", "myst.header"]
html_theme = "furo"
html_title = "slm"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False

SECTIONS = (
    ("Start", ("guide/first-steps", "guide/notes-to-chat", "guide/own-text", "guide/village")),
    (
        "Guide",
        (
            "guide/sources", "guide/filters", "guide/deduplication", "guide/personal-data", "guide/tokens",
            "guide/training", "guide/base-model", "guide/plan", "guide/evaluation", "guide/experiments",
            "guide/good-figures", "guide/report", "guide/people", "guide/serving", "guide/elsewhere", "guide/operating",
            "guide/many-machines", "guide/many-people", "guide/tracing", "guide/forgetting", "guide/publishing",
            "guide/troubleshooting", "guide/own-code",
        ),
    ),
    ("Reference", ("guide/recipe", "guide/rules")),
    ("Why", ("architecture", "decisions/index", "results/index")),
)  # fmt: skip
OUTSIDE = re.compile(r"(?<!!)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def contents() -> str:
    """The contents of the site, for the end of the first page."""
    blocks = [
        "\n".join(["```{toctree}", ":hidden:", f":caption: {name}", *(f"/docs/{page}" for page in pages), "```"])
        for name, pages in SECTIONS
    ]
    return "\n\n" + "\n\n".join(blocks) + "\n"


def read(app: Any, name: str, source: list[str]) -> None:
    """Add the contents to the first page; a link to a folder, which a site has no page of, becomes its name."""
    folder = (ROOT / name).parent

    def shown(link: re.Match[str]) -> str:
        return link[1] if (folder / link[2]).resolve().is_dir() else link[0]

    source[0] = OUTSIDE.sub(shown, source[0]) + (contents() if name == root_doc else "")


def setup(app: Any) -> None:
    app.connect("source-read", read)

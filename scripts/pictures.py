"""Pictures for the documentation: `make ui` and `slm serve`, then `python scripts/pictures.py docs/images`.

Needs Chromium and a font with Hangul (Debian: chromium, fonts-nanum). The text of each page is checked first, so a page
that does not show what the picture is for is an error.
"""

from __future__ import annotations

import argparse
import html
import json
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from browser import FLAGS, browser, tab

TRIES = 4


@dataclass(frozen=True)
class Page:
    """A page: its URL, the text that it must show, and the size of the screenshot."""

    name: str
    address: str
    shows: tuple[str, ...]
    width: int = 1700
    height: int = 900
    opens: str = ""  # the metadata row whose picture to open first


def pages(dagster: str, mlflow: str, runs: dict[str, str], compared: bool = False) -> list[Page]:
    """The pages in the documentation. runs: experiment of each MLflow run to compare; with fewer than two, no page.

    compared: whether there is a leaderboard, which `full_job` makes.
    """
    asset = f"{dagster}/assets"
    expanded = urllib.parse.quote(",".join(f"global@global:{group}" for group in ("sources", "curation")))
    pages = [
        Page("graph", f"{dagster}/asset-groups", ("sources", "curation", "tokens", "model", "evaluation"), 2000, 640),
        Page("lineage", f"{dagster}/asset-groups?expanded={expanded}", ("raw_documents", "duplica"), 2600, 1150),
        Page("asset", f"{asset}/heuristic_decisions", ("heuristic_decisions", "Row count", "Columns"), 1500, 1000),
        Page("removals", f"{asset}/heuristic_decisions?view=events", ("removed by reason", "meaning"), 1900, 1300),
        Page("loss", f"{asset}/pretrained_model?view=events", ("loss", "MLflow run"), 1500, 900, opens="loss"),
        Page("signals", f"{asset}/heuristic_decisions?view=events", ("signals",), 1500, 1100, opens="signals"),
        Page("checks", f"{asset}/token_shards?view=checks", ("ids_within_vocabulary", "no_shard_empty"), 1500, 700),
    ]
    if compared:
        pages.append(
            Page("leaderboard", f"{asset}/leaderboard?view=events", ("models by figure", "in short"), 1700, 1000)
        )
    experiments = sorted(set(runs.values()))
    if experiments:
        curves = f"{mlflow}/#/experiments/{experiments[-1]}/runs?workflowType=machine_learning&compareRunsMode=CHART"
        pages.append(Page("curves", curves, ("curves", "pretrained"), 1900, 1100))
    if len(runs) > 1:
        query = {"runs": json.dumps(list(runs)), "experiments": json.dumps(experiments)}
        address = f"{mlflow}/#/compare-runs?{urllib.parse.urlencode(query)}&workflowType=machine_learning"
        pages.append(Page("mlflow", address, ("Comparing", "Parameters", "Metrics"), 1500, 1250))
    return pages


def text_of(page: Page, milliseconds: int = 15_000) -> str:
    """The contents of the page after its scripts have run for `milliseconds` of virtual time."""
    return _run(page, ["--dump-dom"], milliseconds)


def take(page: Page, folder: Path) -> Path:
    """Take the screenshot of a page. Raises ValueError if the page does not show the expected text."""
    missing: list[str] = list(page.shows)
    for attempt in range(TRIES):  # the first request waits for the server to load the definitions
        text = text_of(page, 15_000 * (attempt + 1))
        missing = [expected for expected in page.shows if expected not in text]
        if not missing:
            break
        time.sleep(3)
    if missing:
        raise ValueError(f"{page.address} does not show {', '.join(missing)}")
    path = folder / f"{page.name}.png"
    if page.opens:
        _open_and_take(page, path)
    else:
        _run(page, [f"--screenshot={path}"], 20_000)
    _shrink(path)
    return path


def _shrink(path: Path) -> None:
    """Reduce the picture to 128 colours: a third of the size, with no visible difference on such pages."""
    from PIL import Image

    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)


# Clicks the link in the metadata row of that name; true once its picture is drawn.
OPEN = """(() => {{
  const drawn = [...document.images].some(image => image.src.startsWith("data:image/png") && image.naturalWidth);
  if (drawn) return true;
  const row = [...document.querySelectorAll("tr")].find(row => row.cells[0] && row.cells[0].innerText.trim() === "{0}");
  const link = row && [...row.querySelectorAll("*")].reverse().find(of => of.innerText === "[Show Markdown]");
  if (link) link.click();
  return false;
}})()"""


def _open_and_take(page: Page, path: Path) -> None:
    """Take the screenshot with the picture of a metadata row opened."""
    with tab(page.address, page.width, page.height) as opened:
        opened.wait(OPEN.format(page.opens), 90)
        time.sleep(1)  # the dialog fades in
        opened.picture(path)


def _run(page: Page, action: list[str], milliseconds: int) -> str:
    binary = browser()
    if binary is None:
        raise ValueError("No Chromium is installed.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        size = f"--window-size={page.width},{page.height}"
        command = [binary, *FLAGS, f"--user-data-dir={profile}", size, f"--virtual-time-budget={milliseconds}", *action]
        return subprocess.run([*command, page.address], capture_output=True, text=True, timeout=180, check=False).stdout


QUESTIONS = (
    "Tell me a story about Minsu.",
    "What is the name of Boram's cat?",
    "Put this into Korean: The husband of Boram is Minsu.",
    "How much is 8 plus 7?",
    "What does Santa do for work?",
)
ANSWERED = "!document.querySelector('.busy') && document.getElementById('stop').hidden"


def take_conversation(address: str, questions: Sequence[str], path: Path, width: int = 1200, height: int = 960) -> Path:
    """Ask the first model of `slm serve` the questions, in one conversation."""
    with tab(address, width, height) as page:
        page.wait("document.body?.dataset.ready", 60)
        page.size(width, height)
        page.value("localStorage.setItem('slm.settings', JSON.stringify({temperature: 0.3}))")
        page.value("localStorage.setItem('slm.language', '\"en\"'); document.body.dataset.ready = ''")
        page.ask("Page.reload")
        page.wait("document.body?.dataset.ready", 60)
        page.click("#new")
        for question in questions:
            page.click("#prompt")
            page.write(question)
            page.press("Enter")
            page.wait(ANSWERED, 120)
        page.picture(path)
    _shrink(path)
    return path


SUMMARY_FROM = "planted in the village"  # the summary is long: its picture shows what follows from here

TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #16181d; }}
pre {{ margin: 0; padding: 22px 26px; color: #dfe2e7; width: max-content; max-width: 1400px; white-space: pre-wrap;
      font: 15px/1.45 "DejaVu Sans Mono", "NanumGothicCoding", monospace; }}
</style><pre>{}</pre>"""


def take_text(text: str, path: Path) -> Path:
    """A picture of what a command prints."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "text.html"
        page.write_text(TERMINAL.format(html.escape(text)), encoding="utf-8")
        with tab(page.as_uri()) as opened:
            opened.wait("!!document.querySelector('pre')")
            box = "(box => [box.width, box.height])(document.querySelector('pre').getBoundingClientRect())"
            opened.size(1500, 800)
            width, height = opened.value(box)
            opened.size(round(width), round(height))
            opened.picture(path)
    _shrink(path)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description="Take screenshots of the running UI")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dagster", default="http://127.0.0.1:3000")
    parser.add_argument("--mlflow", default="http://127.0.0.1:5000")
    parser.add_argument("--chat", default="http://127.0.0.1:8000", help="the address of `slm serve`")
    parser.add_argument("--only", nargs="*", help="names of pictures, such as graph, summary, chat")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if not options.only or "summary" in options.only:
        slm = Path(sys.executable).with_name("slm")
        said = subprocess.run([slm, "summary"], capture_output=True, text=True, check=True).stdout
        print(take_text(said[max(0, said.find(SUMMARY_FROM)) :], options.folder / "summary.png"))
    if not options.only or "chat" in options.only:
        print(take_conversation(options.chat, QUESTIONS, options.folder / "chat.png"))
    for page in pages(options.dagster, options.mlflow, to_compare(), has_leaderboard()):
        if not options.only or page.name in options.only:
            print(take(page, options.folder))
    return 0


def to_compare() -> dict[str, str]:
    """The two newest pretraining runs in MLflow, and the experiment of each."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from pipeline import tracking

    client = tracking.connect()
    pretraining = f"tags.`{tracking.KIND}` = 'pretrained_model'"
    found = client.search_runs(tracking.experiments(client), pretraining, max_results=2)
    return {run.info.run_id: run.info.experiment_id for run in found}


def has_leaderboard() -> bool:
    from pipeline.graph import Project

    return "leaderboard" in Project.open(log=lambda line: None).store.assets()


if __name__ == "__main__":
    sys.exit(main())

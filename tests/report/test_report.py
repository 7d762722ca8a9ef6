"""The report: one page that says what went in, what was removed and what came of it, and gives nobody away."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline import sending
from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.report import html, lineage_drawing, report
from pipeline.run import why
from tests import tiny
from tests.report.texts import MAIL, PHONE

VOID = {"meta", "br", "path", "rect", "use", "line", "circle"}


class Page(HTMLParser):
    """What is on a page: elements with their attributes, texts, and whether every element is closed."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def page(project) -> Page:
    return Page(project.make(report.ASSET).file(report.FILE).read_text(encoding="utf-8"))


def test_the_page_is_whole_and_loads_and_runs_nothing(page):
    assert page.open == [], "every element is closed"
    assert not {"script", "link", "iframe", "img", "object"} & {tag for tag, _ in page.elements}
    addresses = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "action", "style") and value and "//" in value
    ]
    assert addresses == []
    policies = [given["content"] for tag, given in page.elements if tag == "meta" and "http-equiv" in given]
    assert policies == [html.POLICY] and html.POLICY.startswith("default-src 'none'")


def test_the_page_has_every_part(page):
    parts = [given["id"] for tag, given in page.elements if tag == "section"]
    assert parts == [
        "sources", "removed", "tokens", "plan", "training", "figures", "answers", "lineage", "versions",
    ]  # fmt: skip
    words = page.words
    assert "own" in words and "CC0" in words, "licences"
    assert "gopher_short" in words and "fewer words than" in words, "what was removed and why"
    assert "near_duplicate" in words or "exact_duplicate" in words
    assert "bits per byte" in words
    drawings = [given.get("aria-label", "") for tag, given in page.elements if tag == "svg"]
    assert "what is made from what" in drawings and "loss of the pretrained model" in drawings
    assert any(label.startswith("words of the documents") for label in drawings), "a figure with its limit"


def test_nobodys_data_is_on_the_page_whatever_stage_removed_the_text(page):
    words = page.words
    assert "Please write to" in words, "the removed text is shown"
    for secret in (MAIL, "hannah", PHONE, "7946"):
        assert secret not in words
    assert "█" in words


def test_a_text_cannot_break_out_of_its_place(page):
    assert "<b>now</b>" in page.words


def test_the_same_artifacts_give_the_same_page_without_times_or_places(project, page):
    made = project.make(report.ASSET)
    nodes = project.nodes[report.ASSET].settings
    shown = {name: artifact for name in nodes.made_of if (artifact := project.store.current(name)) is not None}
    subject = report.Subject(project.recipe.name, shown, nodes.stages, nodes.measures, nodes.made_of)
    again = report.written(subject)
    assert again == made.file(report.FILE).read_text(encoding="utf-8")
    assert str(project.store.root) not in again
    assert not re.search(r"\d+ (s|min)\b", page.words), "how long things took is not the same in every making"


def test_the_command_writes_one_file_that_also_says_what_is_out_of_date(project, tmp_path):
    out = tmp_path / "sent" / "tiny.html"
    result = CliRunner().invoke(main, ["report", "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0 and str(out) in result.output
    assert "Nothing: every artifact is what the recipe would make now." in Page(out.read_text()).words
    (pattern, *_) = project.recipe.sources[0].path
    added = Path(pattern).parent / "new.txt"
    added.write_text(tiny.text(77))
    try:
        CliRunner().invoke(main, ["report", "--out", str(out)], catch_exceptions=False)
        words = Page(out.read_text()).words
    finally:
        added.unlink()
    assert "new.txt is new" in words and "raw_documents" in words


def test_two_recipes_or_versions_stand_side_by_side(project):
    version = project["pretrained_model"].version
    words = Page(sending.page(project, f"pretrained_model/{version[:6]}")).words
    assert f"Right: pretrained_model/{version[:8]}" in words and "tiny" in words
    assert "Settings that differ None." in words
    with pytest.raises(UserError, match="neither a recipe nor a model `nothing`"):
        sending.page(project, "nothing")


def test_a_recipe_without_artifacts_says_what_makes_them(project, monkeypatch, tmp_path):
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "empty"))
    result = CliRunner().invoke(main, ["report"])
    assert result.exit_code == 1 and "Nothing of the recipe `tiny` was made yet" in result.output


def test_the_report_follows_everything_and_needs_none_of_it(project):
    status = why(project, report.ASSET)
    assert "pretrained_model" in status and "curated_documents" in status
    node = project.nodes[report.ASSET]
    assert node.any_inputs and len(node.inputs) < len(project.nodes) / 2, "few edges in the graph"


def test_edges_that_follow_from_others_are_not_drawn():
    graph = {"a": set(), "b": {"a"}, "c": {"a", "b"}, "d": {"c", "a"}}
    assert lineage_drawing.reduction(graph) == {"a": set(), "b": {"a"}, "c": {"b"}, "d": {"c"}}
    places = lineage_drawing.placed(lineage_drawing.reduction(graph))
    assert [places[name][1] for name in "abcd"] == sorted({places[name][1] for name in "abcd"})

"""Cases: which limit decides on a document, how far it is from it, and which are the nearest on both sides."""

import polars as pl
from pydantic import BaseModel

from pipeline.curation.filters import heuristics, keywords
from pipeline.curation.rules import Limit, Rule, Scope, decided_by
from pipeline.documents.stage import FragmentStage
from pipeline.inspect import margins
from pipeline.inspect.marks import passages
from pipeline.settings import StageSettings


class Settings(StageSettings):
    least: int = 50
    least_short: int = 10
    most: tuple[float, float] = (0.2, 0.4)
    poor: float = 0.5
    rare: float = 0.01


RULES = (
    Rule("few", "too few", limits=(Limit("words", "<", "least"),)),
    Rule("many", "too many", limits=(Limit("top_2", ">", "most.0"), Limit("top_3", ">", "most.1"))),
    Rule("worst", "bad", limits=(Limit("quality", "<", "poor"), Limit("rank", "<", "rare")), every=True),
    Rule("marked", "said so", flag=pl.col("said")),
)
FIGURES = {"words": 100, "top_2": 0.0, "top_3": 0.0, "quality": 0.9, "rank": 0.9, "said": False}


def stage(rules=RULES, settings: type[BaseModel] = Settings) -> FragmentStage:
    return FragmentStage(
        name="own", settings=settings, version="1", description="own", rules=rules,
        signals=lambda *given: pl.DataFrame(), decide=lambda *given: pl.DataFrame(),
    )  # fmt: skip


def cases(*changes: dict, rules=RULES) -> list[dict]:
    """The cases of documents 0, 1, … with these figures, decided by the rules."""
    table = pl.DataFrame([FIGURES | change for change in changes])
    decided = decided_by(table, rules, Settings())
    table = table.hstack(decided).with_columns(
        doc_id=pl.int_range(pl.len()).cast(pl.String).str.zfill(32), fragment=pl.lit("s-all"),
        row=pl.int_range(pl.len(), dtype=pl.UInt32),
        edits=pl.lit(None, dtype=pl.List(pl.Struct({"label": pl.String}))),
    )  # fmt: skip
    return margins.cases(stage(rules), Settings(), table).to_dicts()


def of(found: list[dict], row: int, reason: str) -> dict:
    (case,) = [case for case in found if case["row"] == row and case["reason"] == reason]
    return case


def test_the_nearest_on_both_sides_have_their_figure_limit_and_distance():
    found = cases({"words": 45}, {"words": 10}, {"words": 50}, {"words": 60})
    removed, kept = of(found, 0, "few"), of(found, 2, "few")
    assert (removed["state"], removed["figure"], removed["limit"], removed["setting"]) == ("removed", 45, 50, "least")
    assert abs(removed["distance"] - 0.1) < 1e-9 and removed["alone"]
    assert (kept["state"], kept["distance"]) == ("kept", 0)
    near = margins.nearest(pl.DataFrame(found, schema=margins.CASE), 1).filter(pl.col("reason") == "few")
    assert near["row"].to_list() == [0, 2]


def test_of_several_limits_the_one_that_decides_is_named():
    found = cases({"top_2": 0.21, "top_3": 0.8}, {"top_2": 0.19, "top_3": 0.2}, {"top_2": 0.3})
    assert (of(found, 0, "many")["signal"], of(found, 0, "many")["alone"]) == ("top_3", False)
    assert (of(found, 1, "many")["signal"], of(found, 1, "many")["alone"]) == ("top_2", True)
    assert (of(found, 2, "many")["signal"], of(found, 2, "many")["alone"]) == ("top_2", True)


def test_where_all_limits_have_to_be_broken_the_last_one_decides():
    found = cases({"quality": 0.1, "rank": 0.0099}, {"quality": 0.1, "rank": 0.011}, {"quality": 0.6, "rank": 0.5})
    assert (of(found, 0, "worst")["signal"], of(found, 0, "worst")["alone"]) == ("rank", True)
    assert (of(found, 1, "worst")["signal"], of(found, 1, "worst")["alone"]) == ("rank", True)
    assert (of(found, 2, "worst")["signal"], of(found, 2, "worst")["alone"]) == ("rank", False)


def test_a_limit_for_other_documents_does_not_count_and_a_flag_has_no_figure():
    scoped = (Rule("few", "few", limits=(Limit("words", "<", "least", Scope("good", pl.col("quality") > 0.5)),)),)
    found = cases({"words": 10}, {"words": 10, "quality": 0.1}, {"words": 60}, rules=scoped)
    assert [case["row"] for case in found] == [0, 2]
    flagged = of(cases({"said": True}), 0, "marked")
    assert flagged["figure"] is None and flagged["state"] == "removed" and flagged["distance"] is None


def test_kept_documents_far_from_a_limit_are_not_near_it():
    found = pl.DataFrame(cases({"words": 63}, {"words": 62}), schema=margins.CASE)
    near = margins.nearest(found.filter(pl.col("reason") == "few"), 5)
    assert near["row"].to_list() == [1]


def shown(signal: str, text: str, lang: str = "en", settings: StageSettings | None = None) -> list[str]:
    return [text[start:end] for start, end in passages(signal, text, lang, settings)]


def test_the_passages_of_a_figure_are_marked_in_the_document():
    assert shown("dup_lines", "one line\nanother\none line\n") == ["one line"]
    assert shown("hashes", "Tags #a and #b.") == ["#", "#"]
    assert shown("top_2", "go on, go on, go on, stop") == ["go on,"] * 3
    assert shown("korean_endings", "나는 학교에 갔다. 좋았다", "ko") == ["는", "에", "다"]
    assert shown("short_lines_15", "짧은 줄\n이것은 열다섯 글자가 넘는 아주 긴 줄입니다.", "ko") == ["짧은 줄"]
    assert shown("perplexity", "any text") == []


def test_passages_lie_where_the_rule_read_them_and_not_in_code_or_tags():
    text = "# Title\n\nSee <b>this</b> one.\n\n```\n# comment\n```\n\nThe tag #here counts.\n"
    marks = passages("hashes", text, "en")
    assert [text[start : start + 5] for start, _ in marks] == ["#here"]


def test_listed_words_are_marked_also_before_a_korean_particle():
    settings = keywords.Settings(words=["acme*", "도박"])
    assert shown("listed in 1,000 words", "Buy acmes도 온라인도박 now", "ko", settings) == ["acmes", "도박"]


def test_every_limited_figure_of_a_page_that_can_be_marked_is_known():
    signals = {limit.signal for rule in heuristics.RULES for limit in rule.limits}
    of_the_whole = {"words", "newlines", "lines"}
    from pipeline.inspect.marks import FINDERS

    assert signals - of_the_whole <= FINDERS.keys()

"""Rules as data: every reason has a meaning, limits are exact, the page of all rules is up to date."""

import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.curation.filters import heuristics, keywords, language, perplexity, published, quality
from pipeline.curation.rules import Limit, Rule, decided_by, in_force, setting_of
from pipeline.curation.stages import Curation
from pipeline.documents.reasons import Reason, meanings_of
from pipeline.graph import nodes_of
from pipeline.ingest.records import Tally
from pipeline.inspect import rules_reference
from pipeline.inspect.rules_reference import Declared, declared_by, reasons_by_asset
from pipeline.recipe import load

sys.path.insert(0, str(Path(__file__).parent))
from filter_texts import ENGLISH, KOREAN, PYTHON, frame

ROOT = Path(__file__).resolve().parents[2]
FILTERS = (language, keywords, heuristics, perplexity, quality)
SIGNALS = {  # the columns of each filter's table of signals
    module: module.signals(frame(ENGLISH, KOREAN, PYTHON), module.Settings(), {}).schema
    for module in (language, keywords, heuristics)
} | {
    perplexity: pl.Schema(
        {**dict.fromkeys(("perplexity", "percentile", "deviation", "order"), pl.Float32), "kind": pl.String}
    ),
    quality: pl.Schema(dict.fromkeys(("quality", "rank", "page_score"), pl.Float32)),
}
DECLARED = declared_by(Curation())
# Without the rules of presets, which have settings and columns of their own (test_presets.py).
RULES = {module: [rule for rule in module.RULES if published.SWITCH not in rule.switches] for module in FILTERS}
LIMITS = [(module, rule, limit) for module in FILTERS for rule in RULES[module] for limit in rule.limits]
SWITCHED_ON = {heuristics: heuristics.Settings(c4={"curly_bracket": True}), quality: quality.Settings(reference=["s"])}


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["name", "meaning", "source"])
@pytest.mark.parametrize("kind", [Reason, Rule])
def test_a_reason_without_words_cannot_be_declared(kind, missing):
    words = {"name": "n", "meaning": "m", "source": "s"}
    assert kind(**words).meaning == "m"
    with pytest.raises(ValueError, match=f"has no {missing}"):
        kind(**words | {missing: " "})


def test_two_reasons_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two reasons are called `twice`"):
        meanings_of([Reason("twice", "one"), Rule("twice", "another")])


def test_every_asset_that_can_leave_documents_out_is_declared():
    declared = reasons_by_asset(Curation())
    of_the_graph = {
        name for name in nodes_of(load()) if name.endswith(("_documents", "_decisions", "_edits", "_shards"))
    }
    assert set(declared) == of_the_graph
    assert declared["raw_documents"]["other_language"] != declared["language_decisions"]["other_language"]


def test_a_stage_of_ones_own_declares_its_reasons_too():
    own = Curation(further=[{"file": str(ROOT / "examples" / "own_stage.py"), "after": "keywords"}])
    words = reasons_by_asset(own)["shouting_decisions"]
    assert words == {"shouting": "more exclamation marks than `max_share` of all characters"}


def test_a_record_cannot_be_skipped_for_a_reason_without_words():
    with pytest.raises(AssertionError, match="no_such_reason"):
        Tally().skip("no_such_reason")


def test_the_page_of_rules_is_what_the_rules_say():
    page = (ROOT / "docs" / "guide" / "rules.md").read_text(encoding="utf-8")
    assert page == rules_reference.page(), "run `slm rules > docs/guide/rules.md`"
    for words in reasons_by_asset(Curation()).values():
        for reason, meaning in words.items():
            assert f"| `{reason}` | {meaning}" in page
    assert "| `words` < 30 | Korean | `gopher.min_words_ko` |" in page
    assert "contains a curly bracket (off by default)" in page


# -- settings and signals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", DECLARED, ids=lambda declared: declared.asset)
def test_every_limit_and_switch_names_a_setting_of_its_stage(declared: Declared):
    for rule in declared.reasons:
        if isinstance(rule, Rule):
            for name in rule.switches:
                setting_of(declared.settings, name)
            for limit in rule.limits:
                value = limit.value(declared.settings)
                block = limit.setting.partition(".")[0]  # one that may be left out has no values
                off = value is None and (limit.setting in rule.switches or block in rule.switches)
                assert off or (isinstance(value, int | float) and not isinstance(value, bool)), limit.setting


@pytest.mark.parametrize("module", FILTERS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_rule_reads_columns_that_the_stage_makes(module):
    settings = SWITCHED_ON.get(module) or module.Settings()
    for rule in RULES[module]:
        assert set(rule.broken(settings).meta.root_names()) <= set(SIGNALS[module]), rule.name
    assert in_force(module.RULES, settings) == RULES[module]


def test_rules_reach_a_worker():
    for declared in DECLARED:
        sent = pickle.loads(pickle.dumps(declared.reasons))
        assert [rule.name for rule in sent] == [rule.name for rule in declared.reasons]


# -- decisions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "limit"),
    [(module, limit) for module, _, limit in LIMITS if limit.figure is None],
    ids=lambda value: value.setting if isinstance(value, Limit) else "",
)
def test_a_limit_cuts_on_its_side_and_in_the_precision_of_its_column(module, limit):
    settings = module.Settings()
    dtype, value = SIGNALS[module][limit.signal], limit.value(settings)
    if dtype == pl.Float32:
        at = np.float32(value)
        values = [np.nextafter(at, np.float32(-np.inf)), at, np.nextafter(at, np.float32(np.inf))]
    else:
        values = [value - 1, value, value + 1]
    table = pl.DataFrame({limit.signal: pl.Series([*values, None], dtype=dtype)})
    expected = {"<": [True, False, False], ">": [False, False, True], ">=": [False, True, True]}[limit.removes]
    assert table.select(replace(limit, scope=None).broken(settings)).to_series().to_list() == [*expected, None]


def broken_by(module, reason: str, text: str, **settings) -> bool:
    """Whether a text breaks one rule, whatever other rules say."""
    chosen = module.Settings(**settings)
    signals = module.signals(frame(text, lang="en"), chosen, {})
    rules = [rule for rule in module.RULES if rule.name == reason]
    return decided_by(signals, rules, chosen)["reason"].item() == reason


KOREAN_WORDS = "항구는 조용했고 배들은 밀물을 따라 돌아왔다 노인은 바다를 보았다"
ON_THE_EDGE = {  # reason -> (at the limit, just beyond it)
    "gopher_short": ("word " * 50, "word " * 49),
    "gopher_word_length": ("abcdefghij " * 60, "abcdefghij " * 59 + "abcdefghijk"),
    "gopher_symbols": ("a # b c d e f g h i", "a # b c d e f g h"),
    "gopher_bullets": ("- a\n" * 9 + "b", "- a\n" * 10 + "b"),
    "gopher_ellipsis_lines": ("a...\n" * 3 + "b\n" * 7, "a...\n" * 4 + "b\n" * 9),
    "gopher_alpha_words": ("a b c d e f g h 1 2", "a b c d e f g 1 2"),
    "gopher_stop_words": ("the boats of harbours", "the boats near harbours"),
    "c4_few_sentences": ("One. Two. Three.", "One. Two."),
    "fineweb_list": ("a b c d\ne f g\nh i j", "a b c\nd e f\ng h i"),
    "code_line_length": (PYTHON * 4 + "#" * 1000, PYTHON * 4 + "#" * 1001),
}  # fmt: skip


@pytest.mark.parametrize("reason", ON_THE_EDGE)
def test_a_text_at_the_limit_stays_and_one_beyond_it_goes(reason):
    at, beyond = ON_THE_EDGE[reason]
    assert not broken_by(heuristics, reason, at)
    assert broken_by(heuristics, reason, beyond)


def test_korean_has_limits_of_its_own():
    words = KOREAN_WORDS.split()
    assert not broken_by(heuristics, "gopher_short", " ".join((words * 4)[:30]))
    assert broken_by(heuristics, "gopher_short", " ".join((words * 4)[:29]))
    # 7 of 10: as a Float32 exactly the limit.
    assert not broken_by(heuristics, "gopher_alpha_words", " ".join([*words[:7], "1", "2", "3"]))
    assert broken_by(heuristics, "gopher_alpha_words", " ".join([*words[:6], "1", "2", "3"]))
    assert not broken_by(heuristics, "gopher_alpha_words", " ".join([*words[:8], "1", "2", "3"]))
    # An English text of as many words with a letter is held to 0.8.
    assert broken_by(heuristics, "gopher_alpha_words", "a b c d e f g 1 2 3")


def test_a_density_of_words_at_the_limit_stays():
    text = "fuck " * 3 + "word " * 147  # 3 in 150 + 50
    assert not broken_by(keywords, "profanity", text)
    assert broken_by(keywords, "profanity", text.removesuffix("word "))
    assert broken_by(keywords, "profanity", text, max_profanity=14.99)


def test_the_share_of_a_second_language_at_the_limit_stays():
    share = np.float32(0.3)
    signals = pl.DataFrame(
        {
            "label": ["fr"] * 4,
            "second": ["ko", "ko", "de", None],
            "second_share": pl.Series([share, np.nextafter(share, np.float32(0)), share, None], dtype=pl.Float32),
            "guessed": [False] * 4,
            "confidence": pl.Series([0.5] * 4, dtype=pl.Float32),
        }
    )
    removed = [None, *["other_language"] * 3]
    assert language.decide(signals, language.Settings())["reason"].to_list() == removed
    assert language.decide(signals, language.Settings(allow=[]))["reason"].to_list() == [None] * 4


def test_a_rule_of_several_limits_removes_beyond_any_or_beyond_every():
    table = pl.DataFrame({"a": [1, 3, 1, 3, None], "b": [1, 1, 3, 3, 3]})
    limits = tuple(Limit(name, ">", "max_words") for name in "ab")
    beyond = {
        every: decided_by(table, [Rule("r", "m", limits=limits, every=every)], heuristics.Gopher(max_words=2))
        for every in (False, True)
    }
    assert beyond[False]["keep"].to_list() == [True, False, False, False, False]
    assert beyond[True]["keep"].to_list() == [True, True, True, False, True]


def test_the_first_rule_in_force_is_the_reason_and_spared_rows_stay():
    table = pl.DataFrame({"a": [True, True, False, None], "b": [True] * 4, "spared": [False, True, False, False]})
    rules = [
        Rule("off", "m", flag=pl.col("b"), switches=("enabled",)),
        Rule("first", "m", flag=pl.col("a")),
        Rule("second", "m", flag=pl.col("b")),
    ]
    settings = heuristics.Gopher(enabled=False)
    decided = decided_by(table, rules, settings, pl.col("b").cast(pl.Int8), pl.col("spared"))
    assert decided["reason"].to_list() == ["first", None, "second", "second"]
    assert decided["score"].to_list() == [1.0] * 4 and decided["keep"].to_list() == [False, True, False, False]
    assert decided_by(table, rules[:1], settings)["keep"].to_list() == [True] * 4


def test_a_rule_that_has_no_condition_cannot_decide():
    with pytest.raises(ValueError, match="neither a flag nor a limit"):
        decided_by(pl.DataFrame({"a": [1]}), [Rule("compared", "m")], heuristics.Settings())

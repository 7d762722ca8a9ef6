"""`contamination_decisions`: evaluation items are found in any layout, and nothing else is found."""

import gzip
import json
import random
import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.curation import contamination
from pipeline.curation.curated import apply_edits
from pipeline.curation.evaluation_items import Item, index_of, items_of, tokens_of
from pipeline.errors import UserError
from pipeline.graph import Project
from pipeline.ingest.records import Reading
from pipeline.recipe import parse
from pipeline.store.artifact import RUN_SPECIFIC
from pipeline.store.store import Store
from pipeline.store.tables import write_table
from pipeline.text.words import blocks
from tests.curation.written_documents import outcome, raw_documents
from tests.making import after, context

QUESTION = "A farmer has seventeen sheep and all but nine of them run away; how many sheep does the farmer have left?"
KOREAN = "철수는 사과를 열일곱 개 가지고 있었는데 그중에서 아홉 개를 영희에게 나누어 주었다. 남은 사과는 몇 개인가?"
CODE = """def longest(words):
    best = ''
    for word in words:
        if len(word) > len(best):
            best = word
    assert best in words, (best, words)
    return best, len(best), words.index(best)
"""
SHORT = "Name three primary colours used by painters today."  # 8 words: looked for whole
PROSE = (
    "The harbour was quiet in the early morning, and the boats came back with the tide as they do on every other day. "
)
ITEMS = [
    Item("t", "q", [QUESTION]),
    Item("t", "k", [KOREAN]),
    Item("t", "c", [CODE]),
    Item("t", "s", [SHORT]),
    Item("t", "y", ["Yes.", "No."]),
]


def spans(text: str, items=ITEMS) -> dict[str, list[str]]:
    """The items found in a text: item id -> the matching passages."""
    hits = contamination.find(pl.Series([text]), index_of(items))
    return {
        items[item].id: [text[span["start"] : span["end"]] for span in found]
        for item, found in zip(hits["item"], hits["spans"], strict=True)
    }


def within(text: str) -> str:
    return PROSE * 3 + "\n" + text + "\n" + PROSE


@pytest.mark.parametrize(("name", "text"), [("q", QUESTION), ("k", KOREAN), ("c", CODE), ("s", SHORT)])
def test_an_item_is_found_however_it_is_laid_out(name, text):
    wrapped = "\n".join(text.split())
    spaced = " \t ".join(text.split(" "))
    capital = text.upper()
    quoted = "> " + text.replace("\n", "\n> ").replace(" ", " *", 1)
    for changed in (text, wrapped, spaced, capital, quoted, unicodedata.normalize("NFD", text), f"“{text}”"):
        found = spans(within(changed))
        assert list(found) == [name], changed
        (piece,) = found[name]
        assert piece in changed and len(piece) >= len(changed) - 6  # all of it but marks at its ends


def test_korean_is_found_with_other_spaces():
    assert list(spans(within(KOREAN.replace(" ", "")))) == ["k"]
    assert list(spans(within(" ".join(KOREAN)))) == ["k"]


def test_what_is_edited_is_found_by_what_is_left_of_it():
    words = QUESTION.split()
    (piece,) = spans(within(" ".join([*words[:14], "cows", *words[15:]])))["q"]
    assert piece == " ".join(words[:14])
    assert spans(within(" ".join([*words[:12], "and", "so", "on"]))) == {}  # twelve words are not thirteen


def test_the_share_counts_ngrams():
    index = index_of(ITEMS)
    hits = contamination.find(pl.Series([" ".join(QUESTION.split()[:15])]), index)
    assert hits["grams"].to_list() == [3] and index.items["grams"][0] == len(QUESTION.split()) - 12


def test_short_items_only_whole_and_very_short_ones_never():
    assert spans(within(SHORT.replace(" today", ""))) == {}
    assert spans("Yes. No. Yes! No, yes, no.") == {}
    index = index_of(ITEMS)
    assert index.items["grams"].to_list()[-1] == 0
    only = [Item("t", "o", ["Which river is longest?", "Six words are enough for this"])]
    assert spans("(six words are enough for this)", only) == {"o": ["six words are enough for this"]}


def test_nothing_is_found_across_documents():
    words = QUESTION.split()
    hits = contamination.find(pl.Series([" ".join(words[:11]), " ".join(words[11:])]), index_of(ITEMS))
    assert hits.height == 0


def test_how_questions_are_put_is_no_item():
    frame = "Please answer the following question as well as you can and give only one short reply to"
    items = [
        Item("t", str(n), [f"{frame} number {n}: {' '.join(random.Random(n).choices('abcdefghij', k=20))}"])
        for n in range(12)
    ]
    assert spans(within(frame + " nothing at all"), items) == {}
    assert list(spans(within(items[3].texts[0]), items)) == ["3"]
    alone = [Item("t", str(n), [frame]) for n in range(12)]  # if there is nothing else, it is what is looked for
    assert len(spans(within(frame), alone)) == 12


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet="aB1_é.ß각か日 \n。、（ｱ😀\u0301\u1100\u1161µ×", max_size=20), max_size=6))
def test_tokens_are_words_and_syllables(texts):
    for _, _, data, offsets in blocks(pl.Series(texts, dtype=pl.String), 16):
        tokens = tokens_of(data, offsets)
        assert (tokens.starts < tokens.ends).all() and (tokens.starts[1:] >= tokens.ends[:-1]).all()
        for start, end, syllable in zip(tokens.starts, tokens.ends, tokens.syllable, strict=True):
            token = data[start:end].tobytes().decode()  # whole characters
            assert (
                (len(token) == 1 and ord(token) > 0x3000) if syllable else not set(token) & set("._ \n。、（😀각か日")
            )
        text = data.tobytes().decode()
        taken = sum(end - start for start, end in zip(tokens.starts, tokens.ends, strict=True))
        assert taken >= sum(len(c.encode()) for c in text if (c.isascii() and c.isalnum()) or "가" <= c <= "힣")


def read_set(tmp_path, **given) -> list[Item]:
    """The items of the evaluation set that a recipe describes so."""
    chosen = contamination.Settings.model_validate({"sets": [{"name": "s", **given}]}).sets[0]
    return list(items_of(chosen, chosen.contents(tmp_path / "cache"), Reading(tmp_path / "cache")))


def test_items_are_read_from_every_kind_of_file(tmp_path):
    rows = [
        {"key": "a", "question": QUESTION, "options": ["one", {"text": "two"}]},
        {"key": "b", "question": SHORT, "options": []},
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "x.json").write_text(json.dumps({"version": 1, "data": rows}))
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress((tmp_path / "x.jsonl").read_bytes()))
    pl.DataFrame(rows[0] | {"options": [["one"]]}).write_parquet(tmp_path / "x.parquet")
    (tmp_path / "x.tsv").write_text(f"key\tquestion\na\t{QUESTION}\nb\t{SHORT}\n")
    (tmp_path / "x.csv").write_text(f'key,question\na,"{QUESTION}"\n')
    (tmp_path / "x.txt").write_text(f"{QUESTION}\n\n{SHORT}\n")
    for name in ("x.jsonl", "x.json", "x.jsonl.gz", "x.parquet", "x.tsv", "x.csv"):
        items = read_set(tmp_path, path=str(tmp_path / name), id="key")
        assert items[0].id == "a" and items[0].texts[0] == QUESTION, name
    without_id = read_set(tmp_path, path=str(tmp_path / "x.jsonl"))[0]
    assert without_id.id == "0" and without_id.texts == ["a", QUESTION, "one", "two"]
    assert [item.texts for item in read_set(tmp_path, path=str(tmp_path / "x.txt"))] == [[QUESTION], [SHORT]]
    assert len(read_set(tmp_path, path=str(tmp_path / "*.tsv"))) == 2
    for wrong, sentence in (
        ({"path": str(tmp_path / "none.jsonl")}, r"Evaluation set `s`: no file matches `.*none\.jsonl`"),
        (
            {"path": str(tmp_path / "x.tsv"), "columns": "answer"},
            r"has no column `answer` \(there are key, question\)",
        ),
        ({"path": str(tmp_path / "x.tsv"), "id": "number"}, "has no column `number`"),
    ):
        with pytest.raises(UserError, match=sentence):
            read_set(tmp_path, **wrong)
    (tmp_path / "bad.jsonl").write_text("{")
    with pytest.raises(UserError, match=r"bad\.jsonl: line 1 cannot be read .* `invalid: skip` in evaluation set `s`"):
        read_set(tmp_path, path=str(tmp_path / "bad.jsonl"))


def instruction_data(store: Store, *texts: str):
    def build(draft):
        messages = [[{"role": "user", "content": text}, {"role": "assistant", "content": "Fine."}] for text in texts]
        frame = pl.DataFrame({"id": [f"h{n}" for n in range(len(texts))], "messages": messages})
        write_table(frame, draft.path("held_back.parquet"))

    return store.make(
        "instruction_data", code_version="1", settings={"t": texts}, inputs={}, build=build, log=lambda _: None
    )


def decide(tmp_path, texts, parts=2, name="store", held=None, **given):
    store = Store(tmp_path / name, "r")
    raw = raw_documents(store, [{"text": text, "source_id": str(n)} for n, text in enumerate(texts)], parts)
    (tmp_path / "items.jsonl").write_text(
        json.dumps({"id": "q1", "text": QUESTION}) + "\n" + json.dumps({"id": "k1", "text": KOREAN})
    )
    sets = ({"name": "set", "path": str(tmp_path / "items.jsonl"), "id": "id"},)
    chosen = contamination.Settings(**{"sets": sets, **given})
    data = instruction_data(store, *held) if held else None
    made = contamination.make(context(store), after(raw, **({"instruction_data": data} if data else {})), chosen)
    return made, outcome(raw, made)


TEXTS = [
    within(QUESTION),
    PROSE * 2,
    within(KOREAN + " " + QUESTION),
    within(" ".join(QUESTION.split()[:14])),
    within(SHORT),
]


def test_a_document_goes_for_the_item_that_it_holds_most_of(tmp_path):
    made, table = decide(tmp_path, TEXTS, action="document")
    assert [table[str(n)]["keep"] for n in range(5)] == [False, True, False, False, True]
    row = table["0"]
    assert (row["reason"], row["item_set"], row["item_id"], row["share"], row["items"]) == (
        "evaluation_item",
        "set",
        "q1",
        1.0,
        1,
    )
    (span,) = row["spans"]
    assert row["text"][span["start"] : span["end"]] == QUESTION.rstrip("?")
    assert table["2"]["items"] == 2 and table["2"]["item_id"] == "k1"  # of two whole ones, the one of more n-grams
    assert table["3"]["share"] == 2 / (len(QUESTION.split()) - 12)
    assert set(made.counts["removed"]) == set(contamination.REASONS)


def test_the_span_goes_alone_if_nothing_else_is_asked(tmp_path):
    made, table = decide(tmp_path, TEXTS)
    assert made.counts["removed"] == {} and made.counts["edits"] == {"evaluation_item": 4}
    row = table["2"]
    left = apply_edits(pl.Series([row["text"]]), pl.DataFrame(row["edits"]).with_columns(row=pl.lit(0)))[0]
    assert left == within("? ?")


def test_a_share_can_be_asked_for(tmp_path):
    _made, table = decide(tmp_path, TEXTS, min_share=0.5, action="document")
    assert [table[str(n)]["keep"] for n in range(5)] == [False, True, False, True, True]


def test_what_is_held_back_from_fine_tuning_is_looked_for_too(tmp_path):
    _, table = decide(tmp_path, TEXTS, held=[SHORT], action="document")
    assert (table["4"]["keep"], table["4"]["item_set"], table["4"]["item_id"]) == (False, "held_back", "h0")
    _, table = decide(tmp_path, TEXTS, name="off", held=[SHORT], held_back=False)
    assert table["4"]["keep"]


def test_of_a_program_that_its_cut_would_break_the_whole_function_goes(tmp_path):
    comment = f"import os\n\n# {QUESTION}\nprint(os.name)\n"
    begins, ends = QUESTION.split("; ")
    alone = f"def value():\n    # {begins}\n    '{ends}'\n"
    function = f"import os\n\n\n{alone}\n\nprint(os.name)\n"
    other = 'int main() {\n    puts("' + QUESTION + '");\n}\n'
    store = Store(tmp_path / "programs", "r")
    rows = [
        {"text": text, "source_id": str(n), "lang": "code"} for n, text in enumerate((comment, function, alone, other))
    ]
    raw = raw_documents(store, rows, 1)
    (tmp_path / "items.jsonl").write_text(json.dumps({"id": "q1", "text": QUESTION}))
    sets = ({"name": "set", "path": str(tmp_path / "items.jsonl"), "id": "id"},)
    made = contamination.make(context(store), after(raw), contamination.Settings(sets=sets))
    table = outcome(raw, made)
    assert [row["keep"] for _, row in sorted(table.items())] == [True, True, False, False]
    assert made.counts["edits"] == {"evaluation_item": 1, "evaluation_item_function": 1}
    edits = pl.DataFrame(table["1"]["edits"]).with_columns(row=pl.lit(0))
    assert apply_edits(pl.Series([function]), edits)[0] == "import os\n\n\n\n\nprint(os.name)\n"


def test_runs_of_numbers_and_of_one_word_are_no_items():
    numbers = ", ".join(map(str, range(40)))
    texts = [
        f"assert sort_numbers([{numbers}]) == [{numbers}]",
        "assert " + " == ".join(["value"] * 60),
        " ".join(["never"] * 40),
        "0 1 2 3 4 5 6 7 8 9 10 11",
    ]
    index = index_of([Item("set", str(number), [text]) for number, text in enumerate(texts)])
    assert index.items["grams"].to_list() == [0, 0, 0, 0]
    innocent = pl.Series([f"values = [{numbers}]\n", " ".join(["never"] * 100)])
    assert contamination.find(innocent, index).is_empty()
    told = index_of([Item("set", "0", ["def the_sum(of, some, values): return sum(value for value in values) " * 2])])
    assert told.items["grams"][0] > 0


def test_bundled_conversations_are_searched_for_only_where_fine_tuning_is_asked_for():
    base = "name: r\nsources: [{name: s, kind: files, path: 'x/*.txt'}]\n"
    for more, searched in (
        ("", False),
        ("sft: {epochs: 1}\n", True),
        ("instructions: {held_back: 0.1}\n", True),
        ("curation: {contamination: {held_back: true}}\n", True),
    ):
        nodes = Project(parse(base + more), Store("nowhere", "r")).nodes
        assert ("instruction_data" in nodes["contamination_decisions"].inputs) is searched


def test_the_report_says_which_items_are_in_the_text(tmp_path):
    made, table = decide(tmp_path, TEXTS[:2] + TEXTS[3:], held=["Name one river please."])
    report = {row["id"]: row for row in pl.read_parquet(made.file("report/items.parquet")).iter_rows(named=True)}
    assert (report["q1"]["documents"], report["q1"]["share"], report["q1"]["doc_id"]) == (2, 1.0, table["0"]["doc_id"])
    assert (report["k1"]["documents"], report["k1"]["share"], report["k1"]["checked"]) == (0, 0.0, True)
    assert report["h0"]["checked"] is False
    assert contamination.covered_items(made)["id"].to_list() == ["q1"]
    assert made.facts["sets"]["set"] == {"items": 2, "checked": 2, "found": 1, "most": 1}


def test_fragments_and_history_change_nothing_and_the_path_of_a_set_is_not_in_it(tmp_path):
    _one, table = decide(tmp_path, TEXTS * 3, 1, name="one")
    five, same = decide(tmp_path, TEXTS * 3, 5, name="five")
    for name in table:
        assert {k: v for k, v in table[name].items() if k != "edits"} == {
            k: v for k, v in same[name].items() if k != "edits"
        }
    decide(tmp_path, TEXTS, 5, name="steps")
    steps, _ = decide(tmp_path, TEXTS * 3, 5, name="steps")
    (tmp_path / "elsewhere").mkdir()
    moved, _ = decide(tmp_path / "elsewhere", TEXTS * 3, 5)
    for other in (steps, moved):
        assert {k: v for k, v in other.manifest.items() if k not in RUN_SPECIFIC} == {
            k: v for k, v in five.manifest.items() if k not in RUN_SPECIFIC
        }
    assert str(tmp_path) not in json.dumps(five.manifest)


def test_another_action_reads_no_text(tmp_path, monkeypatch):
    decide(tmp_path, TEXTS, action="document")
    monkeypatch.setattr(contamination, "find", lambda *_: pytest.fail("the text was read again"))
    made, _ = decide(tmp_path, TEXTS, action="span", min_share=0.9)
    assert made.counts["edits"] == {"evaluation_item": 3}


def test_without_items_and_switched_off_everything_stays(tmp_path):
    for name, how in (("none", {"sets": ()}), ("off", {"enabled": False})):
        made, table = decide(tmp_path, TEXTS, name=name, **how)
        assert all(row["keep"] for row in table.values()) and made.counts["removed"] == {}


def test_two_sets_of_one_name_are_refused():
    one = {"name": "x", "path": "a"}
    with pytest.raises(ValueError, match="are called `x`"):
        contamination.Settings.model_validate({"sets": [one, one]})

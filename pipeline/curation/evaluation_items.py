"""Evaluation items as sequences of tokens that can be found in training text, and the index of their n-grams.

Items are compared by tokens that do not depend on line breaks, spacing, case and punctuation: a run of letters and
digits (lower case A-Z) is one token, and so is each Hangul syllable, Han character or kana, so that Korean with
different spacing still matches. All other characters are separators.

An item is found by its n-grams of tokens. n depends on the kind of text:

| kind      | n  | floor | least | why |
|-----------|----|-------|-------|-----|
| words     | 13 | 8     | 5     | GPT-3 (Brown et al. 2020, appendix C): 13 words, 8 at the least |
| syllables | 26 | 12    | 8     | an English word is about two Korean syllables of text |
| code      | 30 | 20    | 8     | identifiers, keywords and numbers; idioms such as a primality test run to some 22 |

A text shorter than n is matched as a whole if it has at least `floor` tokens. If an item has no such text, its longest
text is matched as a whole if it has at least `least` tokens. Shorter texts are too unspecific to identify
contamination: the report lists such items as not checked.

What is searched for has to say something: an n-gram needs several distinct tokens that are not numbers (`SAYING` of
them, a whole text half as many). `[0, 0, 1, 2, 3, 4 ...]` is in many innocent files.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import polars as pl
from pydantic import Field, field_validator, model_validator

from pipeline.ingest.files import Files
from pipeline.ingest.http import Http
from pipeline.ingest.huggingface import HuggingFace
from pipeline.ingest.json_files import nested
from pipeline.ingest.records import SKIPPED, Reading, Tally
from pipeline.ingest.rows import (
    FILES_BY_DEFAULT,
    KIND,
    Contents,
    RowSet,
    RowsInFiles,
    RowsOnTheHub,
    RowsOverHttp,
)
from pipeline.ingest.source_kind import Log, Origin
from pipeline.settings import unknown_key
from pipeline.text.words import blocks, compose, hash_spans, run_hashes
from pipeline.village.sets import VERSION as VILLAGE
from pipeline.village.sets import evaluation_questions

WORDS, SYLLABLES, CODE = 0, 1, 2
LENGTHS = {WORDS: (13, 8, 5), SYLLABLES: (26, 12, 8), CODE: (30, 20, 8)}  # kind: (n, floor, least)
# kind: fewest distinct tokens of an n-gram that do not begin with a digit
SAYING = {WORDS: 6, SYLLABLES: 8, CODE: 8}
# A text counts as code from this share of brackets, operators and the like: prose has 1 %, Python 10 %.
CODE_BYTES = b"(){}[]=<>_;#\\*/+"
CODE_SHARE = 0.05
# An n-gram in more items of one set than this belongs to the wording of its questions.
COMMON_ITEMS = 10


class ItemRows(RowSet):
    """A set of evaluation items; where it lies is said by the class that this is joined with."""

    noun: ClassVar[str] = "evaluation set"
    text_lines: ClassVar[bool] = True

    name: str = Field(description="How the set is called in decisions and reports")
    format: Literal["parquet", "jsonl", "json", "csv", "tsv", "text"] | None = Field(
        None, description="Default: by the name of each file; text: an item a line"
    )
    id: str | None = Field(None, description="Column that identifies an item; left out, its number in the set")
    columns: tuple[str, ...] = Field(
        (),
        description="Columns of an item's text, or {text: ..., id: ...} as of a source; left out, all that hold text",
    )

    @model_validator(mode="before")
    @classmethod
    def _columns_as_of_a_source(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("columns"), str | dict):
            return data
        columns = data["columns"] if isinstance(data["columns"], dict) else {"text": data["columns"]}
        for key in columns:
            if key not in ("text", "id"):
                raise ValueError(f"`columns.{key}` is not a key; {unknown_key(str(key), ('text', 'id'))}")
        text = columns.get("text") or ()
        if not isinstance(text, str | list | tuple):
            raise ValueError("`columns.text` takes the name of a column, or a list of such names")
        named = {"columns": [text] if isinstance(text, str) else list(text)}
        return {**data, **named, **({"id": columns["id"]} if "id" in columns else {})}

    def digest(self, contents: Contents) -> str:
        """What the items depend on, without where they lie."""
        return "+".join(contents.digests)

    def as_recorded(self) -> dict[str, Any]:
        """The settings as a fingerprint has them."""
        return {"name": self.name, "id": self.id, "columns": list(self.columns), **self.later_settings()}


class FileItems(ItemRows, RowsInFiles):
    """A set in files on this machine."""

    kind: Files = "files"


class HttpItems(ItemRows, RowsOverHttp):
    """A set in files at addresses."""

    kind: Http = "http"


class HubItems(ItemRows, RowsOnTheHub):
    """A set in a data set of the Hugging Face hub."""

    kind: HuggingFace = "huggingface"


class GeneratedItems(Origin):
    """The evaluation questions about a made-up village, written by this project from a seed."""

    noun: ClassVar[str] = "evaluation set"
    id: ClassVar[str] = "id"

    name: str = Field(description="How the set is called in decisions and reports")
    kind: Literal["generated"] = Field("generated", description="made up, written by this project from a seed")
    dataset: Literal["village-questions"] = Field(description="village-questions")
    seed: int = Field(0, ge=0, lt=2**63, description="which village: the seed of the source of its documents")
    columns: tuple[str, ...] = Field(
        ("question",), min_length=1, description="question, answer: answers also stand in the village's documents"
    )

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        for column in columns:
            if column not in ("question", "answer"):
                raise ValueError(f"there is no column `{column}` in village-questions: use question, answer")
        return columns

    def contents(self, cache: Path, log: Log = print) -> Contents:
        return Contents([f"village {VILLAGE} {self.seed}"], {})

    def rows(
        self, contents: Contents, reading: Reading, asked: list[str], known: Collection[str]
    ) -> Iterator[dict[str, Any] | None]:
        yield from (question.row() for question in evaluation_questions(self.seed))

    def digest(self, contents: Contents) -> str:
        """What the items depend on."""
        return "+".join(contents.digests)

    def as_recorded(self) -> dict[str, Any]:
        """The settings as a fingerprint has them."""
        return {"name": self.name, "dataset": self.dataset, "seed": self.seed, "columns": list(self.columns)}


ItemSet = Annotated[FileItems | HttpItems | HubItems | GeneratedItems, KIND, FILES_BY_DEFAULT]


class Item(NamedTuple):
    set: str
    id: str
    texts: list[str]


def items_of(chosen: ItemSet, contents: Contents, reading: Reading) -> Iterator[Item]:
    """The items of a set in order. Raises UserError where a file cannot be read or lacks a column."""
    asked = [*chosen.columns, *([chosen.id] if chosen.id else [])]
    for number, row in enumerate(chosen.rows(contents, reading, asked, asked)):
        assert row is not None, "only tuning data counts broken lines as rows"
        known = None if chosen.id is None else nested(row, chosen.id)
        columns = chosen.columns or tuple(row)
        texts = [text for name in columns if name != chosen.id for text in _strings(nested(row, name))]
        yield Item(chosen.name, str(number if known is None else known), texts)


def all_items(
    sets: Sequence[ItemSet], contents: Mapping[str, Contents], cache: Path, log: Callable[[str], None]
) -> list[Item]:
    """The items of all sets, whose contents are given by name; the log says what was left out."""
    items: list[Item] = []
    for chosen in sets:
        reading = Reading(cache, Tally(), log)
        items += items_of(chosen, contents[chosen.name], reading)
        for reason, count in sorted(reading.tally.skipped.items()):
            log(f"{chosen.label}: left out: {count:,} {reason} ({SKIPPED[reason]})")
    return items


def held_back_items(path: Path) -> Iterator[Item]:
    """The conversations that are held back from fine-tuning, as items: `held_back.parquet` of `instruction_data`."""
    for row in pl.read_parquet(path, columns=["id", "messages"]).iter_rows(named=True):
        yield Item("held_back", str(row["id"]), [message["content"] for message in row["messages"]])


def _strings(value: Any) -> Iterator[str]:
    """All strings in a value, however it is nested; in messages, their content."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("role", "lang", "source"):
                yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


# -- tokens ------------------------------------------------------------------------------------------------------------

_SYLLABLE_LEAD = np.zeros(256, bool)
_SYLLABLE_LEAD[0xE3:0xEE] = True  # kana, Han, Hangul (all of three bytes)


def _letters(data: np.ndarray) -> np.ndarray:
    """Which bytes are ASCII letters or digits, or begin another letter (0xC3-0xE1: Latin, Greek, Cyrillic, ... Indic).

    Computed by arithmetic that wraps around, since a table look-up is ten times slower.
    """
    letter = ((data | np.uint8(32)) - np.uint8(97)) < 26
    letter |= (data - np.uint8(48)) < 10
    letter |= (data - np.uint8(0xC3)) < 0xE2 - 0xC3
    return letter


def _lower(data: np.ndarray) -> np.ndarray:
    """The bytes with A-Z as a-z."""
    return data + (((data - np.uint8(65)) < 26).view(np.uint8) << np.uint8(5))


class Tokens(NamedTuple):
    """The tokens of a block of documents."""

    starts: np.ndarray  # int64, bytes
    ends: np.ndarray
    bounds: np.ndarray  # int64, documents + 1: the tokens of document i are bounds[i]:bounds[i+1]
    hashes: np.ndarray  # uint64
    syllable: np.ndarray  # bool: one Hangul, Han or kana character
    number: np.ndarray  # bool: begins with a digit


def tokens_of(data: np.ndarray, offsets: np.ndarray) -> Tokens:
    """The tokens of a block of UTF-8 text in NFC."""
    letter = _letters(data)
    starting, ending = letter.copy(), letter.copy()
    wide = bool(data.size) and data.max() >= 0xC2
    if wide:
        leads = np.flatnonzero(data >= 0xC3)
        # The continuation bytes of a letter belong to the letter, those of a separator to the separator.
        two = leads[letter[leads]]
        letter[two + 1] = True
        three = two[data[two] >= 0xE0]
        letter[three + 2] = True
        syllables = leads[_SYLLABLE_LEAD[data[leads]]]
        syllables = syllables[(data[syllables] != 0xE3) | (data[syllables + 1] != 0x80)]  # U+3000-303F: punctuation
        starting, ending = letter.copy(), letter.copy()
    if data.size:
        starting[1:] &= ~letter[:-1]
        ending[:-1] &= ~letter[1:]
        inner = offsets[1:-1]
        inner = inner[(inner > 0) & (inner < data.size)]
        starting[inner] = letter[inner]
        ending[inner - 1] = letter[inner - 1]
    if wide:
        starting[syllables] = True
        ending[syllables + 2] = True
    starts, ends = np.flatnonzero(starting), np.flatnonzero(ending) + 1
    syllable = _SYLLABLE_LEAD[data[starts]]
    number = (data[starts] - np.uint8(48)) < 10
    hashes = hash_spans(_lower(data), starts, ends)
    return Tokens(starts, ends, np.searchsorted(starts, offsets), hashes, syllable, number)


# -- the index ---------------------------------------------------------------------------------------------------------


class Index(NamedTuple):
    """n-grams of all items. An item's number is its row in `items`."""

    items: pl.DataFrame  # set, id, tokens, grams (number of distinct n-grams searched for; 0: not checked)
    grams: dict[int, pl.DataFrame]  # n -> gram, item; sorted
    # Texts matched as a whole, by the number of tokens that they are indexed by (`anchor` is the hash of these).
    whole_texts: dict[int, pl.DataFrame]  # -> anchor, length, gram (hash of all tokens), item; sorted


class _Texts(NamedTuple):
    """The tokens of all texts of all items, block after block; one value per text unless stated otherwise."""

    hashes: np.ndarray  # of each token
    begin: np.ndarray  # its first token
    size: np.ndarray  # its tokens
    kind: np.ndarray
    number: np.ndarray  # of each token, whether it begins with a digit


def _tokenise(texts: pl.Series) -> _Texts:
    parts = []
    mark = np.zeros(256, bool)
    mark[list(CODE_BYTES)] = True
    for _, _, as_given, places in blocks(texts):
        data, offsets = compose(as_given, places)
        tokens = tokens_of(data, offsets)
        count = np.diff(tokens.bounds)
        syllables = np.diff(np.concatenate([[0], np.cumsum(tokens.syllable)])[tokens.bounds])
        marks = np.diff(np.concatenate([[0], np.cumsum(mark[data])])[offsets])
        code = marks >= CODE_SHARE * np.maximum(np.diff(offsets), 1)
        kind = np.where(2 * syllables >= count, SYLLABLES, np.where(code, CODE, WORDS))
        parts.append((tokens.hashes, count, kind, tokens.number))
    if not parts:
        nothing = np.zeros(0, np.int64)
        return _Texts(np.zeros(0, np.uint64), nothing, nothing, nothing, nothing.astype(bool))
    hashes, count, kind, number = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Texts(hashes, np.cumsum(count) - count, count, kind, number)


def _distinct(texts: _Texts, begin: np.ndarray, length: np.ndarray) -> np.ndarray:
    """The number of distinct tokens, numbers left out, of each run of `length` tokens."""
    order = np.argsort(texts.hashes, kind="stable")
    again = texts.hashes[order[1:]] == texts.hashes[order[:-1]]
    before = np.full(len(order), -1)  # the place of the same token before
    before[order[1:][again]] = order[:-1][again]
    before[texts.number] = len(order)  # counts nowhere
    found = np.zeros(len(begin), np.int64)
    for step in range(int(length.max()) if len(length) else 0):
        inside = np.flatnonzero(step < length)
        found[inside] += before[begin[inside] + step] < begin[inside]
    return found


def index_of(items: list[Item]) -> Index:
    """The index of items."""
    texts = _tokenise(pl.Series([text for item in items for text in item.texts], dtype=pl.String))
    owner = np.repeat(np.arange(len(items)), [len(item.texts) for item in items])
    sets = pl.Series("set", [item.set for item in items], dtype=pl.String)
    n, floor, least = (np.array([LENGTHS[kind][which] for kind in sorted(LENGTHS)])[texts.kind] for which in range(3))
    says = np.array([SAYING[kind] for kind in sorted(SAYING)])[texts.kind]
    whole = np.flatnonzero(texts.size < n)
    texts_say = np.ones(len(n), bool)
    texts_say[whole] = 2 * _distinct(texts, texts.begin[whole], texts.size[whole]) >= says[whole]
    grams: dict[int, pl.DataFrame] = {}
    for length, _, _ in LENGTHS.values():
        chosen = np.flatnonzero((n == length) & (texts.size >= n))
        number = texts.size[chosen] - length + 1
        begin = np.repeat(texts.begin[chosen], number)
        begin += np.arange(len(begin)) - np.repeat(np.cumsum(number) - number, number)
        saying = _distinct(texts, begin, np.full(len(begin), length)) >= np.repeat(says[chosen], number)
        begin, of = begin[saying], np.repeat(owner[chosen], number)[saying]
        found = {"gram": run_hashes(texts.hashes, begin, begin + length), "item": of}
        if len(begin):
            grams[length] = _without_common(pl.DataFrame(found).unique(), sets)
    short = np.flatnonzero((texts.size >= floor) & (texts.size < n) & texts_say)
    # Items without any n-gram so far: their longest text (the first, if several are equally long).
    unchecked = np.ones(len(items), bool)
    unchecked[owner[texts.size >= floor]] = False
    left = np.flatnonzero(unchecked[owner] & (texts.size >= least) & texts_say)
    left = left[np.lexsort((left, -texts.size[left], owner[left]))]
    left = left[np.unique(owner[left], return_index=True)[1]]
    parts: dict[int, list[pl.DataFrame]] = {}
    for chosen, entered in ((short, floor[short]), (left, least[left])):
        for length in np.unique(entered).tolist():
            these = chosen[entered == length]
            begin, end = texts.begin[these], texts.begin[these] + texts.size[these]
            table = {
                "anchor": run_hashes(texts.hashes, begin, begin + length),
                "length": texts.size[these],
                "gram": run_hashes(texts.hashes, begin, end),
                "item": owner[these],
            }
            parts.setdefault(length, []).append(pl.DataFrame(table))
    whole_texts = {length: pl.concat(tables).unique().sort(pl.all()) for length, tables in sorted(parts.items())}
    looked_for = np.zeros(len(items), np.int64)
    for entries in (*grams.values(), *whole_texts.values()):
        looked_for += np.bincount(entries["item"].to_numpy(), minlength=len(items))
    tokens = np.bincount(owner, weights=texts.size, minlength=len(items)).astype(np.int64)
    named = pl.DataFrame({"set": sets, "id": pl.Series([item.id for item in items], dtype=pl.String)})
    return Index(named.with_columns(tokens=pl.Series(tokens), grams=pl.Series(looked_for)), grams, whole_texts)


def _without_common(grams: pl.DataFrame, sets: pl.Series) -> pl.DataFrame:
    """Without n-grams that more than COMMON_ITEMS items of a set contain, unless an item has no others."""
    common = pl.len().over("gram", "set") > COMMON_ITEMS
    marked = grams.with_columns(sets.gather(grams["item"])).with_columns(common=common)
    usable = ~pl.col("common") | pl.col("common").all().over("item")
    return marked.filter(usable).select("gram", "item").sort("gram", "item")

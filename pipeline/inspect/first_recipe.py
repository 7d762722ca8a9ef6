"""A first recipe for a folder of somebody's text: what is in the folder, and ten lines of YAML that say so.

The files are grouped by what they are (text, code, pages, tables), since each group is judged by other rules. The first
documents of each group are read: they say in which languages it is, and whether it can be read at all.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import polars as pl
import yaml

from model.config import ModelConfig
from pipeline.curation.filters import language
from pipeline.errors import UserError
from pipeline.ingest import raw_documents
from pipeline.ingest.archives import is_archive
from pipeline.ingest.files import Files, FileSource
from pipeline.ingest.globs import matches_of
from pipeline.ingest.open_files import COMPRESSED, FORMATS, TEXT, bare_name
from pipeline.ingest.preview import counts_of, first_records
from pipeline.ingest.records import Reading, Tally
from pipeline.ingest.row_format import USUAL, Columns, is_plain
from pipeline.ingest.rows import Contents, RowsInFiles
from pipeline.ingest.source_kind import Content
from pipeline.printing import size
from pipeline.store.store import Store
from pipeline.training.planning.first_size import FEW_TOKENS, Size

LOOKED_AT = 500  # documents of each group that are read
PROSE = frozenset({".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".org", ".adoc", ".srt", ".vtt", ".log"})
EXPANSION = 3  # of compressed text
ONE_LANGUAGE = 0.9  # share of the documents from which a source is called of one language
OTHERS = 0.05  # share of the documents from which a language that is not kept by default is added
SPEAKER = r"^\s*[^\s:：][^:：\n]{0,20}[:：]\s+\S"  # a line of a dialogue
TURNS = 0.6  # share of the lines from which a text is a dialogue
SMALL, FEW = 2000, 300  # documents, below which a twentieth or a tenth is held back for validation
TABLES = "_tables"  # how the names of groups of tables end
FEWEST_WORDS, CLEARLY = 3, 2  # words of a text, on average; how many times longer than the next the text has to be
KEPT = ("ko", "en", "code")  # languages that a recipe keeps without being told


class Tables(RowsInFiles):
    """Tables, of which it is not known yet what their columns hold."""

    kind: Files = "files"


@dataclass(frozen=True)
class Group:
    """Files of one kind in the folder."""

    name: str  # of the source
    endings: tuple[str, ...]
    content: Content | None  # where it has to be said
    files: int
    bytes: int  # of text, estimated
    documents: int = 0  # that were read
    languages: dict[str, int] = field(default_factory=dict)
    problem: str = ""  # why it cannot be read
    damaged: str = ""  # why it can be read only without what is damaged (`invalid: skip`)
    column: str = ""  # that holds the text, where none is called `text`

    @property
    def language(self) -> str | None:
        """The one language of all its documents; None if there are several."""
        total = sum(self.languages.values())
        known = [name for name, count in self.languages.items() if count >= ONE_LANGUAGE * total and name != "und"]
        return known[0] if known else None


@dataclass(frozen=True)
class Looked:
    """What is in a folder."""

    folder: Path
    groups: list[Group]
    passed_over: dict[str, int]  # ending -> number of files that hold no text that can be read

    @property
    def readable(self) -> list[Group]:
        return [group for group in self.groups if not group.problem]

    @property
    def bytes(self) -> int:
        return sum(group.bytes for group in self.readable)


def look(folder: Path) -> Looked:
    """What kinds of text a folder holds. Raises UserError if there is none, or no such folder."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}: name the one in which your text lies.")
    by_group: dict[str, list[Path]] = {}
    passed_over: dict[str, int] = {}
    for path in sorted(files_below(folder)):
        group = group_of(path.name)
        if group is None:
            ending = path.suffix.lower() or path.name
            passed_over[ending] = passed_over.get(ending, 0) + 1
        else:
            by_group.setdefault(group, []).append(path)
    names = sorted(by_group, key=lambda name: (name != "notes", name))  # of duplicates, the first source's stays
    groups = [examined(folder, name, by_group[name]) for name in names]
    if not any(not group.problem for group in groups):
        why = groups[0].problem if groups else "it holds no file of text, code, tables or pages"
        raise UserError(f"{folder} holds no text that can be read: {why}")
    return Looked(folder, groups, passed_over)


def files_below(folder: Path) -> list[Path]:
    """All files below the folder but hidden ones and links that lead nowhere, as a source reads them."""
    _, found, _ = matches_of(glob_safe(folder))
    return [Path(path) for path in found]


def group_of(name: str) -> str | None:
    """The group that a file belongs to by its name; None for what is not read."""
    bare = bare_name(name)
    ending = os.path.splitext(bare)[1]
    if is_archive(name):
        return "archives"
    if ending in FORMATS:
        kind = FORMATS[ending]
        return "pages" if kind in ("html", "warc", "wet") else f"{kind}{TABLES}"
    if ending in PROSE:
        return "notes"
    return "code" if TEXT.fullmatch(ending) else None


def examined(folder: Path, name: str, paths: Sequence[Path]) -> Group:
    """The group of these files, with what its first documents say of it."""
    endings = tuple(sorted({ending_of(path.name) for path in paths}))
    total = sum(path.stat().st_size * (EXPANSION if path.name.lower().endswith(COMPRESSED) else 1) for path in paths)
    content: Content | None = "code" if name == "code" else None
    patterns = [os.path.join(glob_safe(folder), "**", f"*{ending}") for ending in endings]
    source = FileSource(name=name, path=patterns, content=content)
    damaged = column = ""
    try:
        (found, whole), column = beginning_of_tables(source) if name.endswith(TABLES) else (beginning(source), "")
    except UserError as error:
        damaged = str(error)  # perhaps of one file among hundreds, without which the others can be read
        try:
            found, whole = beginning(source.model_copy(update={"invalid": "skip"}))
        except UserError:
            return Group(name, endings, content, len(paths), total, problem=damaged)
    texts = found["text"]
    if name == "notes":
        content = "dialogue" if is_dialogue(texts) else "notes"
    return Group(
        name, endings, content, len(paths),
        int(texts.str.len_bytes().sum()) if whole else total,
        found.height, counts_of(language.labels(found)), damaged=damaged, column=column,
    )  # fmt: skip


def beginning(source: FileSource) -> tuple[pl.DataFrame, bool]:
    """(the first documents of a source, whether these are all); UserError where it cannot be read or holds none."""
    with tempfile.TemporaryDirectory(prefix="slm-init-") as place:
        reading = Reading(raw_documents.cache_of(Store(place, "init")), Tally(), lambda line: None)
        return first_records(source, {}, reading, LOOKED_AT)  # no digest: that would read all files


def beginning_of_tables(source: FileSource) -> tuple[tuple[pl.DataFrame, bool], str]:
    """(the beginning of tables, the column that holds their text if it is not `text`); UserError as of `beginning`."""
    try:
        return beginning(source), ""
    except UserError:
        column = text_column(source)
        if column is None:
            raise
    return beginning(source.model_copy(update={"columns": Columns(text=column)})), column


def text_column(source: FileSource) -> str | None:
    """The column of tables that is clearly their text: of words, and on average twice as long as any other of words.

    None where nothing is clear, or the tables cannot be read.
    """
    tables = Tables.model_validate({"name": source.name, "path": source.path})
    try:
        with tempfile.TemporaryDirectory(prefix="slm-init-") as place:
            reading = Reading(Path(place), Tally(), lambda line: None)
            rows = list(islice(filter(None, tables.rows(Contents([], {}), reading, [], [])), LOOKED_AT))
    except UserError:
        return None
    lengths: dict[str, float] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = (row.get(name) for row in rows)
        texts = [value if isinstance(value, str) else "" for value in values]
        if sum(len(text.split()) for text in texts) >= FEWEST_WORDS * len(rows):  # else an address, a name, a number
            lengths[name] = sum(map(len, texts)) / len(rows)
    longest = sorted(lengths, key=lambda name: -lengths[name])
    if not longest or not (longest[0] in USUAL or is_plain(longest[0])):  # a first row of data where names should be
        return None
    clear = len(longest) == 1 or lengths[longest[0]] >= CLEARLY * lengths[longest[1]]
    return longest[0] if clear else None


def ending_of(name: str) -> str:
    """The end of a name by which files of its kind are found, with what tells of compression."""
    lower = name.lower()
    packed = next((ending for ending in COMPRESSED if lower.endswith(ending)), "")
    plain = name[: len(name) - len(packed)]
    return os.path.splitext(plain)[1] + name[len(plain) :]


def glob_safe(folder: Path) -> str:
    """The folder as the start of a glob."""
    return re.sub(r"([*?\[])", r"[\1]", str(folder))


def is_dialogue(texts: pl.Series) -> bool:
    """Whether most lines of most texts begin with the name of a speaker."""
    lines = texts.str.split("\n").list.eval(pl.element().filter(pl.element().str.strip_chars() != ""))
    frame = pl.DataFrame({"lines": lines}).with_columns(
        turns=pl.col("lines").list.eval(pl.element().str.contains(SPEAKER)).list.mean()
    )
    return float(frame["turns"].fill_null(0.0).median() or 0.0) >= TURNS  # type: ignore[arg-type]


def recipe_text(looked: Looked, chosen: Size, name: str, beside: Path) -> str:
    """The recipe as YAML with remarks. beside: the folder that it will lie in."""
    documents = sum(group.documents for group in looked.readable)
    languages = {lang for group in looked.readable for lang, count in group.languages.items()
                 if count > OTHERS * documents and lang not in (*KEPT, "und")}  # fmt: skip
    lines = [f"# {line}" for line in described(looked)]
    lines += [f"name: {name}", "sources:"]
    for group in looked.groups:
        lines += source_lines(group, looked.folder, beside)
    if languages:
        lines += ["curation:", f"  language: {{allow: [{', '.join([*KEPT, *sorted(languages)])}]}}"]
    shape = chosen.shape
    lines += [
        f"tokenizer: {{kind: bpe, vocab_size: {shape.vocab_size}}}",
        *held_back(documents),
        *shape_lines(shape, chosen.parameters),
        f"pretraining: {{tokens: {chosen.tokens:_}{', momentum: 0.9' if chosen.tokens <= FEW_TOKENS else ''}}}"
        f"   # {chosen.passes:.2g} passes over the text",
        "# When you have questions with answers (docs/guide/own-text.md, \"Teach it to answer\"), name them under",
        "# `instructions: {sources: [...]}` and take the next two lines out.",
        "sft: {enabled: false}",
        "preference: {enabled: false}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def shape_lines(shape: ModelConfig, parameters: int) -> Iterator[str]:
    """The block `model`, with what a small shape has beyond the defaults."""
    small = ", qk_norm: true" if shape.qk_norm else ""
    small += "" if shape.tie_embeddings else ", tie_embeddings: false"
    if small:
        yield '# What learns most from little text: docs/guide/training.md, "Where text is scarce".'
    yield (
        f"model: {{layers: {shape.layers}, width: {shape.width}, heads: {shape.heads}, kv_heads: {shape.kv_heads}, "
        f"context: {shape.context}{small}}}   # {parameters / 1e6:.1f} M parameters"
    )


def held_back(documents: int) -> list[str]:
    """The line on validation where there are few documents: a hundredth of them, the default, measures nothing."""
    if documents >= SMALL:
        return []
    share, words = (0.1, "a tenth") if documents < FEW else (0.05, "a twentieth")
    return [f"shards: {{validation: {share}}}   # {words}: a hundredth of little text measures nothing"]


def source_lines(group: Group, folder: Path, beside: Path) -> list[str]:
    """The lines of one source; of one that cannot be read, as a remark with the reason."""
    patterns = [os.path.join(place_of(folder, beside), "**", f"*{ending}") for ending in group.endings]
    keys: dict[str, object] = {"name": group.name, "kind": "files"}
    keys["path"] = patterns if len(patterns) > 1 else patterns[0]
    keys |= {"columns": {"text": group.column}} if group.column else {}
    keys |= {"content": group.content} if group.content else {}
    keys |= {"lang": group.language} if group.language and group.content != "code" else {}
    keys |= {"license": "own"} | ({"invalid": "skip"} if group.damaged else {})
    written = yaml.safe_dump(keys, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000).strip()
    if group.problem:
        return [f"  # {group.problem}", f"  # - {written}"]
    remark = "  # `invalid: skip` leaves out what is damaged, of which this came first: "
    return [*([remark + group.damaged] if group.damaged else []), f"  - {written}"]


def place_of(folder: Path, beside: Path) -> str:
    """The folder as the recipe names it: relative where it lies below the recipe, so that both can be moved."""
    full, start = folder.resolve(), beside.resolve()
    return glob_safe(full.relative_to(start)) if full.is_relative_to(start) else glob_safe(full)


def described(looked: Looked) -> Iterator[str]:
    """What is in the folder, a line for each group."""
    for group in looked.groups:
        head = f"{group.name}: {group.files:,} file{'s' if group.files > 1 else ''} ({' '.join(group.endings)})"
        if group.problem:
            yield f"{head}: cannot be read as it is, see the remark at this source"
            continue
        listed = ", ".join(f"{name} {count:,}" for name, count in group.languages.items())
        of = "" if group.documents < LOOKED_AT else f" of the first {LOOKED_AT:,} documents"
        yield f"{head}, {size(group.bytes)} of text; languages{of}: {listed}"
        if group.column:
            yield f"  no column is called `text`: `{group.column}` is read, whose text is the longest (`columns`)"
        if group.damaged:
            yield f"  `invalid: skip` leaves out what is damaged, of which this came first: {group.damaged}"
    if looked.passed_over:
        listed = ", ".join(f"{count:,} {ending}" for ending, count in sorted(looked.passed_over.items()))
        yield f"passed over: {listed}"

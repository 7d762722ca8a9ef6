"""Why an artifact is out of date, in words: the key of the recipe, the file of the source, the code that changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import polars as pl

from pipeline.errors import UserError
from pipeline.ingest import raw_documents
from pipeline.ingest.fragments import documents_of
from pipeline.ingest.records import Reading, Tally
from pipeline.ingest.source import Source
from pipeline.ingest.source_kind import SourceKind
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store

NAMED = 5  # files that a line names
MOST_BYTES = 500e6  # of a source that is read again in order to name what changed in it

FIELD = re.compile(r"(?:(?P<made>\w+): )?(?P<key>\S+) (?P<what>was .*|is new: .*|is gone .*)", re.DOTALL)
WAS = re.compile(r'was "?(?P<before>[^"]*)"?, is "?(?P<after>[^"]*)"?', re.DOTALL)


def in_words(line: str, block: str, about_source: Callable[[str], Sequence[str]]) -> list[str]:
    """The sentences for a line of `store.differences`; another line is returned as it is.

    block: of the recipe, where the settings of the artifact stand ("" for the recipe itself). about_source: what
    changed in a source, by its name.
    """
    found = FIELD.fullmatch(line)
    if found is None:
        return [line]
    made = f"{found['made']}: " if found["made"] else ""
    part, _, key = found["key"].partition(".")
    what = found["what"]
    if part == "code_version":
        versions = WAS.fullmatch(what)
        said = f"its code changed (version {versions['before']}, now {versions['after']})" if versions else what
        return [f"{made}{said}"]
    if part == "inputs":
        return [
            f"{made}its input `{key}` changed: {what}" if what.startswith("was ") else f"{made}its input `{key}` {what}"
        ]
    if part != "settings":
        return [line]
    if key == "forgotten":
        return [f"{made}the removal list changed (`slm forget --list`)"]
    if key.startswith("sources.") and block == "sources":
        name = key.removeprefix("sources.")
        if what.startswith("was "):
            return [f"source `{name}`: {said}" for said in about_source(name)]
        return [f"source `{name}` is {'new' if what.startswith('is new') else 'gone'}"]
    return [f"{made}`{f'{block}.{key}' if block else key}` {what}"]


def of_source(source: Source, store: Store) -> list[str]:
    """What changed in a source since it was read: the files (or records) that are new, changed, gone, or its keys."""
    raw = store.current(raw_documents.ASSET)
    assert raw is not None
    told = raw.facts["sources"].get(source.name, {})
    try:
        observed = raw_documents.observe(source, store, lambda line: None)
        if observed["digest"] == told.get("observed", {}).get("digest"):
            return ["its keys in the recipe changed"]
        if source.kind != "files" or observed.get("bytes", 0) > MOST_BYTES:
            return ["what is there changed"]
        now = records_now(source, store, observed)
    except UserError as error:
        return [str(error)]
    return list(listed(compared(records_before(raw, source.name), now))) or ["a file changed, and no text in it"]


def records_now(source: SourceKind, store: Store, observed: Mapping[str, object]) -> dict[str, str]:
    """Id at the source -> id of the document, of what is there now."""
    reading = Reading(raw_documents.cache_of(store), Tally(), lambda line: None)
    found: dict[str, str] = {}
    for frame in raw_documents.records(source, dict(observed), reading):
        found |= dict(documents_of(frame, source.name).select("source_id", "doc_id").iter_rows())
    return found


def records_before(raw: Artifact, source: str) -> dict[str, str]:
    """The same of what was read."""
    tables = [raw.table(name) for name in raw.fragments if raw.entry(name)["facts"].get("source", source) == source]
    if not tables:
        return {}
    rows = pl.scan_parquet(tables).filter(pl.col("source") == source).select("source_id", "doc_id").collect()
    return dict(rows.iter_rows())


def compared(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, list[str]]:
    """What happened -> the names that it happened to, sorted."""
    return {
        "changed": sorted(name for name in now.keys() & before.keys() if now[name] != before[name]),
        "is new": sorted(now.keys() - before.keys()),
        "is gone": sorted(before.keys() - now.keys()),
    }


def listed(found: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A sentence for each thing that happened, with the first names."""
    for what, names in found.items():
        if names:
            more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
            words = what.replace("is ", "are ", 1) if len(names) > 1 else what
            yield f"{', '.join(names[:NAMED])}{more} {words}"


def blocks_of(stages: Mapping[str, str]) -> dict[str, str]:
    """Asset -> the block of the recipe with its settings. stages: asset -> block of the stages of curation."""
    return {
        "raw_documents": "sources",
        **{asset: f"curation.{block}" for asset, block in stages.items() if block},
        "perplexity_model": "curation.perplexity",
        "quality_model": "curation.quality",
        "tokenizer": "tokenizer",
        "token_shards": "shards",
        "instruction_data": "instructions",
        "preference_data": "preferences",
        **{f"{name}_evaluation": "evaluation" for name in ("pretrained", "imported", "sft", "preference")},
    }

"""raw_documents: the documents of all sources, in fragments that are only written again where they changed.

Each source is observed first without being read (its revision, its files' hashes). A source that is unchanged since the
last time is not read: its fragments are linked into the new version. Of one that only has more files (new_files.py),
these are read and put into the fragments that were there. Any other that changed is read again. Fragments that come out
the same are linked too.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import polars as pl

from pipeline.context import Inputs, RunContext
from pipeline.errors import UserError
from pipeline.ingest import http, new_files
from pipeline.ingest.cache import cache_of, observed_or_remembered
from pipeline.ingest.forgetting import forgotten
from pipeline.ingest.fragments import Sorter, documents_of, fragment_bits, fragment_name, frame_digest
from pipeline.ingest.records import Reading, Tally, tidy
from pipeline.ingest.source_kind import Log, Observed, Origin, SourceKind
from pipeline.store.artifact import Artifact, canonical, digest
from pipeline.store.draft import RECORDS, Draft, read_record
from pipeline.store.store import Store
from pipeline.store.tables import write_whole

ASSET = "raw_documents"
# 2: line ends are line feeds, a byte-order mark is dropped, Korean encodings are recognised
VERSION = "2"

# Distinct licences and languages that the manifest counts by name.
MOST_NAMED = 50


def make(context: RunContext, inputs: Inputs, settings: Sequence[SourceKind], force: bool = False) -> Artifact:
    """The documents of the sources `settings` as they are now, without those that are to be forgotten.

    inputs: none. force: fetch anew what lies at an address even where it seems to be what was fetched before.
    Raises UserError for a source that cannot be read, or is empty.
    """
    store, log, gone = context.store, context.log, forgotten(context.store)
    observed = {source.name: observe(source, store, log, force) for source in settings}
    identities = {source.name: source.identity(observed[source.name]["digest"]) for source in settings}
    earlier = store.current(ASSET)
    if earlier is not None and earlier.manifest["made_of"]["code_version"] != VERSION:
        earlier = None  # its documents are not what would be read now

    def build(draft: Draft) -> None:
        told: dict[str, Any] = {}
        for source in sorted(settings, key=lambda source: source.name):
            name = source.name
            known = earlier.facts["sources"].get(name) if earlier is not None else None
            if known and known["identity"] == identities[name] and gone.issuperset(known["forgotten"]):
                log(f"{ASSET}: source `{name}` is unchanged")
                assert earlier is not None
                told[name] = take_over(earlier, known, gone, draft)
            else:
                reading = Reading(cache_of(store), Tally(), log, context.execution)
                read = partial(ingest, source, observed[name], reading, draft, gone, (earlier, known))
                told[name] = resumed(draft, source, identities[name], gone, read)
            told[name] |= {"identity": identities[name], "observed": observed[name]}
        draft.facts = {"sources": told}
        draft.counts = counted(told)

    made = store.make(
        ASSET,
        code_version=VERSION,
        settings={"sources": identities, "forgotten": digest(sorted(gone))},
        inputs={},
        build=build,
        log=log,
    )
    for source in settings:
        if source.name in made.facts["sources"]:
            new_files.remember(source, made.facts["sources"][source.name]["observed"], cache_of(store))
    return made


def observe(source: SourceKind, store: Store, log: Log = print, force: bool = False) -> Observed:
    """What is at the source now: `digest` (changes when its contents do), `files`, `bytes`; not read as a whole.

    Where the source cannot be reached, what was seen there the last time.
    """
    cache = cache_of(store)
    return observed_or_remembered(
        cache / source.name,
        f"{ASSET}: source `{source.name}`",
        source.as_recorded(),
        lambda: source.observe(cache, log, force),
        log,
    )


def records(source: SourceKind, observed: Observed, reading: Reading) -> Iterator[pl.DataFrame]:
    """Tidy records of a source as it was observed, a frame at a time, up to its limit."""
    left = source.limit
    for frame in source.read(observed, reading):
        tidied = tidy(frame, source.lang, source.license, reading.tally)
        if left is not None:
            tidied = tidied.head(left)
            left -= tidied.height
        if tidied.height:
            yield tidied
        if left == 0:
            return


def ingest(
    source: SourceKind,
    observed: Observed,
    reading: Reading,
    draft: Draft,
    forgotten: frozenset[str],
    before: tuple[Artifact | None, dict[str, Any] | None] = (None, None),
) -> dict[str, Any]:
    """Read a source and write its fragments into the draft; returns what the manifest says of it.

    before: the version in force, and what its manifest says of the source, of which files may be read no more.
    """
    earlier, known = before
    if earlier is not None and known is not None and forgotten.issuperset(known["forgotten"]):
        new = new_files.of(source, observed, known, reading.cache)
        if new is not None:
            some = replace(reading, only=new, tally=Tally(), confirm=[])
            told = ingest_new(source, observed, some, draft, forgotten, earlier, known)
            if told is not None:
                return told
    tally = reading.tally
    sorter, licenses, languages = sorted_documents(source, observed, reading, draft)
    if not sorter.rows:
        raise UserError(no_document(source, tally))
    bits = fragment_bits(sorter.text_bytes)
    reading.log(
        f"{ASSET}: source `{source.name}`: {sorter.rows:,} documents, {sorter.text_bytes / 1e6:,.1f} MB of text"
    )
    fragments = []
    gone: list[str] = []
    for prefix, documents in sorter.fragments(bits):
        name = fragment_name(source.name, prefix, bits)
        gone += forget(documents, forgotten, tally)
        fragments += write(draft, name, without(documents, forgotten))
    return {
        "documents": sorter.rows - tally.skipped["forgotten"],
        "bytes": sorter.text_bytes,
        "licenses": most_common(licenses),
        "languages": most_common(languages),
        "skipped": dict(sorted(tally.skipped.items())),
        "cut": tally.cut,
        "forgotten": sorted(gone),
        "fragments": fragments,
    }


def sorted_documents(
    source: SourceKind, observed: Observed, reading: Reading, draft: Draft
) -> tuple[Sorter, Counter[str], Counter[str]]:
    """The documents that are read of a source, their licences and their languages."""
    folder = draft.directory / RECORDS / f"{source.name}.buckets"
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    sorter = Sorter(folder)
    licenses: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    for frame in records(source, observed, reading):
        count_values(frame["license"], licenses)
        count_values(frame["lang"], languages)
        sorter.add(documents_of(frame, source.name))
    for confirm in reading.confirm:
        confirm()
    return sorter, licenses, languages


def ingest_new(
    source: SourceKind,
    observed: Observed,
    reading: Reading,
    draft: Draft,
    forgotten: frozenset[str],
    earlier: Artifact,
    known: dict[str, Any],
) -> dict[str, Any] | None:
    """As `ingest`, of the files `reading.only` and of what the version in force holds of the others.

    None where that could come out otherwise than reading all: if a document of the same id at the source was there, so
    that the order of files counts, if a fragment is damaged, or if licences or languages were too many to be counted by
    name.
    """
    tally = reading.tally
    sorter, licenses, languages = sorted_documents(source, observed, reading, draft)
    text_bytes, new = known["bytes"] + sorter.text_bytes, sorter.rows
    bits = fragment_bits(text_bytes)
    if "others" in {*known["licenses"], *known["languages"]}:
        return None
    reading.log(f"{ASSET}: source `{source.name}`: {new:,} new documents, in {len(reading.only or ())} new files")
    there, fragments = set(known["fragments"]), []
    gone: list[str] = []
    if bits != fragment_bits(known["bytes"]):  # what was there is cut anew, with what is new
        there.clear()
        for name in known["fragments"]:
            if not draft.usable(earlier, f"{name}.parquet"):
                return None
            sorter.add(pl.read_parquet(earlier.table(name)))
    for prefix, documents in sorter.fragments(bits):
        name = fragment_name(source.name, prefix, bits)
        if name in there:
            if not draft.usable(earlier, f"{name}.parquet"):
                return None
            there.remove(name)
            documents = pl.concat([pl.read_parquet(earlier.table(name)), documents]).sort("doc_id", "source_id")
        if any_equal(documents):
            return None
        gone += forget(documents, forgotten, tally)
        fragments += write(draft, name, without(documents, forgotten))
    rest = take_over(earlier, {**known, "fragments": sorted(there)}, forgotten, draft)
    licenses.update(known["licenses"])
    languages.update(known["languages"])
    return {
        "documents": rest["documents"] + new - tally.skipped["forgotten"],
        "bytes": text_bytes,
        "licenses": most_common(licenses),
        "languages": most_common(languages),
        "skipped": dict(sorted((Counter(rest["skipped"]) + tally.skipped).items())),
        "cut": known["cut"] + tally.cut,
        "forgotten": sorted({*rest["forgotten"], *gone}),
        "fragments": sorted([*rest["fragments"], *fragments]),
    }


def any_equal(documents: pl.DataFrame) -> bool:
    """Whether two documents of a fragment, which is sorted, have the same place in its order."""
    following = documents.select((pl.col(name) == pl.col(name).shift(-1)) for name in ("doc_id", "source_id"))
    return (following["doc_id"] & following["source_id"]).any()


def no_document(source: SourceKind, tally: Tally) -> str:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(tally.skipped.items()))
    return (
        f"Source `{source.name}` gives no document ({reasons or 'its files hold nothing'}): fix its `path`, `columns` "
        "or `format`."
    )


def resumed(
    draft: Draft, source: SourceKind, identity: str, forgotten: frozenset[str], read: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """What `read` returns; noted in the draft, so that after a kill a source that was finished is not read again."""
    note = draft.directory / RECORDS / f"{source.name}.source"
    key = digest([identity, sorted(forgotten)])
    told = read_record(note)
    if told is not None:
        recalled = [draft.recall(name, {"content": content}) for name, content in told["contents"].items()]
        if told["key"] == key and all(recalled):
            return told["facts"]
    facts = read()
    contents = {name: draft.entries[f"{name}.parquet"]["facts"]["content"] for name in facts["fragments"]}
    write_whole(note, canonical({"key": key, "contents": contents, "facts": facts}))
    return facts


def take_over(earlier: Artifact, known: dict[str, Any], forgotten: frozenset[str], draft: Draft) -> dict[str, Any]:
    """The fragments of a source that did not change, without those documents that are to be forgotten since."""
    tally = Tally()
    gone = set(known["forgotten"])
    more = forgotten - gone
    fragments = []
    for name in known["fragments"]:
        entry = earlier.entry(name)
        met = bool(more) and bool(
            pl.read_parquet(earlier.table(name), columns=["doc_id"])["doc_id"].is_in(list(more)).any()
        )
        if not met and draft.recall(name, {"content": entry["facts"]["content"]}):
            fragments.append(name)
            continue
        documents = pl.read_parquet(earlier.table(name))
        gone.update(forget(documents, more, tally))
        fragments += write(draft, name, without(documents, more))
    skipped = Counter(known["skipped"]) + tally.skipped
    return {
        **known,
        "documents": known["documents"] - tally.skipped["forgotten"],
        "skipped": dict(sorted(skipped.items())),
        "forgotten": sorted(gone),
        "fragments": fragments,
    }


def write(draft: Draft, name: str, documents: pl.DataFrame) -> list[str]:
    """Write a fragment, or link it where an earlier version holds the same; [name], or [] for one that is empty."""
    if documents.is_empty():
        return []
    content = frame_digest(documents)
    draft.table(name, {"content": content}, lambda: documents, lambda _: {"content": content})
    return [name]


def forget(documents: pl.DataFrame, forgotten: frozenset[str], tally: Tally) -> list[str]:
    """The doc_ids of a fragment that are to be forgotten."""
    if not forgotten:
        return []
    met = documents["doc_id"].filter(documents["doc_id"].is_in(list(forgotten)))
    tally.skip("forgotten", len(met))
    return met.unique().to_list()


def without(documents: pl.DataFrame, forgotten: frozenset[str]) -> pl.DataFrame:
    return documents.filter(~pl.col("doc_id").is_in(list(forgotten))) if forgotten else documents


def counted(told: dict[str, Any]) -> dict[str, Any]:
    """Counts in the shape that all stages have: in, kept, removed by reason, and the same by source."""
    by_source = {
        name: {
            "in": facts["documents"] + sum(facts["skipped"].values()),
            "kept": facts["documents"],
            "removed": facts["skipped"],
        }
        for name, facts in told.items()
    }
    removed: Counter[str] = Counter()
    for counts in by_source.values():
        removed.update(counts["removed"])
    kept = sum(counts["kept"] for counts in by_source.values())
    return {
        "in": kept + removed.total(),
        "kept": kept,
        "removed": dict(sorted(removed.items())),
        "by_source": by_source,
    }


def count_values(column: pl.Series, into: Counter[str]) -> None:
    into.update({value or "unknown": count for value, count in column.value_counts().iter_rows()})


def most_common(counts: Counter[str]) -> dict[str, int]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    named = dict(ranked[:MOST_NAMED])
    if rest := sum(count for _, count in ranked[MOST_NAMED:]):
        named["others"] = named.get("others", 0) + rest
    return named


def prune_downloads(
    store: Store, origins: Iterable[Origin], unused_days: float, dry: bool = False
) -> list[tuple[str, int]]:
    """Delete downloads that none of `origins` names and that no run used for so many days; (address, bytes) of each.

    dry: delete nothing.
    """
    cache = cache_of(store)
    return http.prune(cache, [url for origin in origins for url in origin.downloads(cache)], unused_days, dry)

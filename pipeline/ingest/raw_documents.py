"""raw_documents: the documents of all sources, in fragments that are only written again where they changed.

Each source is looked at first without being read (its revision, its files' hashes). A source that is as it was the
last time is not read: its fragments are linked into the new version. One that changed is read again, and of its
fragments those that come out the same are linked too.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.documents.execution import ExecutionSettings
from pipeline.errors import UserError
from pipeline.ingest import bundled, common_crawl, files, http, huggingface
from pipeline.ingest.cache import alone
from pipeline.ingest.fragments import Sorter, documents_of, fragment_bits, fragment_name, frame_digest
from pipeline.ingest.records import Reading, Tally, Unreachable, tidy
from pipeline.ingest.source import Source
from pipeline.store.artifact import Artifact, canonical, digest
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.store.tables import write_whole

ASSET = "raw_documents"
VERSION = "1"

Log = Callable[[str], None]
# Distinct licences and languages that the manifest counts by name.
MOST_NAMED = 50


def make(
    store: Store,
    sources: Sequence[Source],
    log: Log = print,
    forgotten: frozenset[str] = frozenset(),
    force: bool = False,
    execution: ExecutionSettings | None = None,
) -> Artifact:
    """The documents of `sources` as they are now.

    forgotten: doc_ids that must not be in it, whatever the sources hold. force: fetch anew what lies at an address
    even where it seems to be what was fetched before. execution: where the main text of web pages is extracted.
    Raises UserError for a source that cannot be read, or is empty.
    """
    observed = {source.name: observe(source, store, log, force) for source in sources}
    identities = {source.name: source.identity(observed[source.name]["digest"]) for source in sources}
    earlier = store.current(ASSET)

    def build(draft: Draft) -> None:
        told: dict[str, Any] = {}
        for source in sorted(sources, key=lambda source: source.name):
            name = source.name
            known = earlier.facts["sources"].get(name) if earlier is not None else None
            if known and known["identity"] == identities[name] and forgotten.issuperset(known["forgotten"]):
                log(f"{ASSET}: source `{name}` is as it was")
                assert earlier is not None
                told[name] = take_over(earlier, known, forgotten, draft)
            else:
                reading = Reading(cache_of(store), Tally(), log, execution or ExecutionSettings())
                read = partial(ingest, source, observed[name], reading, draft, forgotten)
                told[name] = resumed(draft, source, identities[name], forgotten, read)
            told[name] |= {"identity": identities[name], "observed": observed[name]}
        draft.facts = {"sources": told}
        draft.counts = counted(told)

    return store.make(
        ASSET,
        code_version=VERSION,
        settings={"sources": identities, "forgotten": digest(sorted(forgotten))},
        inputs={},
        build=build,
        log=log,
    )


def observe(source: Source, store: Store, log: Log = print, force: bool = False) -> dict[str, Any]:
    """What is at the source now: `digest` (changes when its contents do), `files`, `bytes`; not read as a whole.

    Where the source cannot be reached, what was seen there the last time; so without a network, whatever was made
    before is still answered from the store.
    """
    with alone(cache_of(store) / source.name):
        return _observe(source, store, log, force)


def _observe(source: Source, store: Store, log: Log, force: bool) -> dict[str, Any]:
    note = cache_of(store) / f"{source.name}.observed.json"
    asked = digest(source.model_dump(mode="json"))
    try:
        observed = kind_of(source).observe(source, cache_of(store), log, force)
    except Unreachable as error:
        seen = json.loads(note.read_text()) if note.exists() else {}
        if seen.get("asked") != asked:
            raise
        log(f"{ASSET}: source `{source.name}` cannot be reached, so it is taken to be as it was ({error})")
        return seen["observed"]
    write_whole(note, canonical({"asked": asked, "observed": observed}))
    return observed


def records(source: Source, observed: dict[str, Any], reading: Reading) -> Iterator[pl.DataFrame]:
    """Tidy records of a source as it was observed, a frame at a time, up to its limit."""
    left = source.limit
    for frame in kind_of(source).read(source, observed, reading):
        tidied = tidy(frame, source.lang, source.license, reading.tally)
        if left is not None:
            tidied = tidied.head(left)
            left -= tidied.height
        if tidied.height:
            yield tidied
        if left == 0:
            return


def ingest(
    source: Source, observed: dict[str, Any], reading: Reading, draft: Draft, forgotten: frozenset[str]
) -> dict[str, Any]:
    """Read a source and write its fragments into the draft; returns what the manifest says of it."""
    tally, log = reading.tally, reading.log
    folder = draft.directory / ".records" / f"{source.name}.buckets"
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    sorter = Sorter(folder)
    licenses: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    for frame in records(source, observed, reading):
        count_values(frame["license"], licenses)
        count_values(frame["lang"], languages)
        sorter.add(documents_of(frame, source.name))
    if not sorter.rows:
        raise UserError(no_document(source, tally))
    bits = fragment_bits(sorter.text_bytes)
    log(f"{ASSET}: source `{source.name}`: {sorter.rows:,} documents, {sorter.text_bytes / 1e6:,.1f} MB of text")
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


def no_document(source: Source, tally: Tally) -> str:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(tally.skipped.items()))
    return (
        f"Source `{source.name}` gives no document ({reasons or 'its files hold nothing'}): mend its `path`, `columns` "
        "or `format`."
    )


def resumed(
    draft: Draft, source: Source, identity: str, forgotten: frozenset[str], read: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """What `read` returns; noted in the draft, so that after a kill a source that was finished is not read again."""
    note = draft.directory / ".records" / f"{source.name}.source"
    key = digest([identity, sorted(forgotten)])
    if note.exists():
        told = json.loads(note.read_text())
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


def kind_of(source: Source) -> Any:
    """The module that reads sources of this kind: it has `observe` and `read`."""
    modules = {
        "bundled": bundled, "common_crawl": common_crawl, "files": files, "http": http, "huggingface": huggingface,
    }  # fmt: skip
    return modules[source.kind]


def cache_of(store: Store) -> Path:
    """Where downloads and what is known of local files lie; never part of an artifact."""
    return Path(store.root) / ".sources"


def prune_downloads(store: Store, sources: Sequence[Source], unused_days: float) -> list[tuple[str, int]]:
    """Delete downloads that none of `sources` names and that no run used for so many days; (address, bytes) of each."""
    cache = cache_of(store)
    named = [url for source in sources if source.kind == "http" for url in http.addresses(source)]
    named += [
        url for source in sources if source.kind == "common_crawl" for url in common_crawl.downloads(source, cache)
    ]
    return http.prune(cache, named, unused_days)

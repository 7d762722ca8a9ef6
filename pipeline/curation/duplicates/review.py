"""Reviewing the search for duplicates: clusters, similarities, pairs near the threshold, diffs.

Everything is read from a finished `duplicate_decisions` artifact and the raw documents; only the diffs of texts are
computed. The exception is `verify_removals`, which computes every removal's similarity again from the texts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.curation.duplicates import pairs
from pipeline.curation.duplicates.duplicate_settings import Settings
from pipeline.curation.duplicates.signatures import texts_to_compare
from pipeline.curation.duplicates.similarity import ShingleSets, shingle_sets
from pipeline.documents import browse
from pipeline.documents.document import source_of
from pipeline.documents.view import Documents
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact


def removed(decisions: Artifact) -> pl.DataFrame:
    """All removals: doc_id, reason, score, kept_id, kept_source, row, source, fragment."""
    parts = [
        pl.scan_parquet(decisions.table(fragment), row_index_name="row")
        .filter(pl.col("keep").not_())
        .select(
            "doc_id",
            "reason",
            "score",
            "kept_id",
            "kept_source",
            "row",
            source=pl.lit(source_of(fragment)),
            fragment=pl.lit(fragment),
        )
        for fragment in decisions.fragments
        if decisions.entry(fragment)["facts"]["removed"]
    ]
    return pl.concat(parts).collect() if parts else pl.DataFrame()


def clusters(decisions: Artifact, limit: int = 20) -> pl.DataFrame:
    """The kept documents with the most removals: kept_id, kept_source, `removed`, counts by reason, least score."""
    gone = removed(decisions)
    if not gone.height:
        return gone
    by_kept = gone.group_by("kept_id", "kept_source").agg(
        removed=pl.len(),
        exact=(pl.col("reason") == "exact_duplicate").sum(),
        near=(pl.col("reason") == "near_duplicate").sum(),
        contained=(pl.col("reason") == "contained").sum(),
        least=pl.col("score").min(),
        example=pl.col("doc_id").min(),
    )
    return by_kept.sort("removed", "kept_id", descending=[True, False]).head(limit)


def cluster_sizes(decisions: Artifact) -> pl.DataFrame:
    """The number of clusters of each size, kept document included: `documents`, `clusters`."""
    gone = removed(decisions)
    if not gone.height:
        return pl.DataFrame(schema={"documents": pl.Int64, "clusters": pl.Int64})
    sizes = gone.group_by("kept_id", "kept_source").agg(documents=pl.len().cast(pl.Int64) + 1)
    return sizes.group_by("documents").agg(clusters=pl.len().cast(pl.Int64)).sort("documents")


def similarities(decisions: Artifact, steps: int = 50) -> pl.DataFrame:
    """Histogram of the similarity of all compared pairs, with `steps` bins from 0 to 1: `from`, `pairs`."""
    values = _compared(decisions)["jaccard"].to_numpy()
    counts = np.histogram(values, bins=steps, range=(0, 1))[0]
    return pl.DataFrame({"from": np.arange(steps) / steps, "pairs": counts})


def nearest_to_threshold(decisions: Artifact, number: int = 5) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The pairs closest to the threshold, (below, at or above): `left`, `right`, `jaccard`, the closest first.

    They show what the threshold means.
    """
    threshold = decisions.manifest["made_of"]["settings"]["threshold"]
    pairs_of = _compared(decisions)
    below = pairs_of.filter(pl.col("jaccard") < threshold).sort("jaccard", "left", descending=[True, False])
    above = pairs_of.filter(pl.col("jaccard") >= threshold).sort("jaccard", "left")
    return below.head(number), above.head(number)


def _compared(decisions: Artifact) -> pl.DataFrame:
    if f"{pairs.TABLE}.parquet" not in decisions.manifest["files"]:  # the stage is switched off
        return pl.DataFrame(schema={"left": pl.String, "right": pl.String, "jaccard": pl.Float64})
    return pl.read_parquet(decisions.file(f"{pairs.TABLE}.parquet"))


def side_by_side(raw: Artifact, left: str, right: str, context: int = 2) -> str:
    """The differences of two documents as a unified diff by line, with changed words marked `[-old-]{+new+}`."""
    texts = [browse.document(raw, *browse.find(raw, doc_id)[0])["text"] for doc_id in (left, right)]
    return diff(texts[0], texts[1], left[:12], right[:12], context)


def diff_of(raw: Artifact, decisions: Artifact, doc_id: str) -> str:
    """The differences between a removed document and the one that it was removed for.

    Raises UserError if the document was not removed here, or if the other one is in an index, which has no text.
    """
    for fragment, row in browse.find(raw, doc_id):
        decision = pl.scan_parquet(decisions.table(fragment)).slice(row, 1).collect().row(0, named=True)
        if decision["keep"] is False:
            break
    else:
        raise UserError(f"{doc_id} was not removed as a duplicate: there is nothing to compare it with.")
    text = browse.document(raw, fragment, row)["text"]
    if decision["kept_source"] not in {source_of(name) for name in raw.fragments}:
        raise UserError(
            f"{doc_id} was removed for {decision['kept_id']} of the index `{decision['kept_source']}`, "
            "which holds no text: look it up in the corpus that the index was made from."
        )
    places = [place for place in browse.find(raw, decision["kept_id"]) if place != (fragment, row)]
    kept = next(place for place in places if source_of(place[0]) == decision["kept_source"])
    head = f"{decision['reason']} of {decision['kept_id']} ({decision['kept_source']}), {decision['score']:.4f}\n"
    return head + diff(browse.document(raw, *kept)["text"], text, "kept", "removed")


def diff(kept: str, gone: str, kept_name: str, gone_name: str, context: int = 2) -> str:
    """A unified diff by line; in changed lines, the changed words are marked."""
    old, new = kept.splitlines(), gone.splitlines()
    lines = [f"--- {kept_name}", f"+++ {gone_name}"]
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(context):
        lines.append(f"@@ line {group[0][1] + 1} / line {group[0][3] + 1} @@")
        for operation, a, b, c, d in group:
            if operation == "equal":
                lines += [f"  {line}" for line in old[a:b]]
            elif operation == "replace" and b - a == d - c:
                lines += [f"~ {_words(*both)}" for both in zip(old[a:b], new[c:d], strict=True)]
            else:
                lines += [f"- {line}" for line in old[a:b]] + [f"+ {line}" for line in new[c:d]]
    if len(lines) == 2:
        lines.append("  (the same lines; only white space at line ends or Unicode composition differs)")
    return "\n".join(lines)


def _words(old: str, new: str) -> str:
    one, other = old.split(), new.split()
    pieces = []
    for operation, a, b, c, d in difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if operation == "equal":
            pieces += one[a:b]
        else:
            pieces += [f"[-{' '.join(one[a:b])}-]"] if b > a else []
            pieces += [f"{{+{' '.join(other[c:d])}+}}"] if d > c else []
    return " ".join(pieces)


def verify_removals(raw: Artifact, previous: Artifact | None, decisions: Artifact, settings: Settings) -> list[str]:
    """One sentence for each wrong removal; an empty list if all are right.

    Every removed document must name a kept one, and their similarity, computed again from the two texts, must equal
    the score of the decision and reach the threshold. For a document of an index, which has no text, only the name of
    the index is checked.
    """
    gone = removed(decisions)
    if not gone.height:
        return []
    sources = {source_of(fragment) for fragment in raw.fragments}
    inside = gone.filter(pl.col("kept_source").is_in(sorted(sources)))
    unknown = set(gone["kept_source"]) - sources - {Path(path).stem for path in settings.indexes}
    wrong = [f"documents were removed for those of `{name}`, which is neither source nor index" for name in unknown]
    at = _places(decisions, inside)
    keepers = at.filter("keep").rename({"doc_id": "kept_id", "source": "kept_source", "number": "keeper"})
    removals = inside.join(
        at.filter(~pl.col("keep")).select("fragment", "row", "number"), on=["fragment", "row"], maintain_order="left"
    ).join(
        keepers.select("kept_id", "kept_source", "keeper"), on=["kept_id", "kept_source"], how="left",
        maintain_order="left",
    )  # fmt: skip
    wrong += [
        f"{doc_id} was removed for {kept_id} of `{source}`, which is not kept"
        for doc_id, kept_id, source in removals.filter(pl.col("keeper").is_null())
        .select("doc_id", "kept_id", "kept_source")
        .iter_rows()
    ]
    # The vectors of twins are not kept, so their similarity is not computed again.
    removals = removals.drop_nulls("keeper").filter(pl.col("reason") != "semantic_duplicate")
    if not removals.height:
        return wrong
    documents = Documents(raw, previous)

    def load(numbers: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        asked = at[numbers].with_row_index("place")
        for (fragment,), rows in asked.group_by("fragment", maintain_order=True):
            texts = pl.read_parquet(documents.raw.table(str(fragment)), columns=["text"])["text"].gather(rows["row"])
            yield rows["place"].to_numpy(), *shingle_sets(texts_to_compare(texts, settings), settings.shingle)

    sets = ShingleSets(at.height, load)
    mine, theirs = removals["number"].to_numpy(), removals["keeper"].to_numpy()
    contained = (removals["reason"] == "contained").to_numpy()
    value = np.where(contained, sets.containment(theirs, mine), sets.jaccard(theirs, mine))
    value[(removals["reason"] == "exact_duplicate").to_numpy() & (sets.sizes[mine] + sets.sizes[theirs] == 0)] = 1.0
    least = np.where(contained, settings.containment or 1.0, settings.threshold)
    stated = removals["score"].to_numpy()
    bad = np.flatnonzero((value < least) | (np.abs(value - stated) > 1e-9))
    return wrong + [
        f"{removals['doc_id'][row]} was removed for {removals['kept_id'][row]} at {stated[row]:.4f}, and it is "
        f"{value[row]:.4f}"
        for row in bad.tolist()
    ]


def _places(decisions: Artifact, gone: pl.DataFrame) -> pl.DataFrame:
    """The places of all documents that `gone` refers to: number, fragment, row, doc_id, source, keep."""
    wanted = gone.select(doc_id="kept_id", source="kept_source").unique()
    parts = []
    for fragment in decisions.fragments:
        source = source_of(fragment)
        rows = pl.read_parquet(decisions.table(fragment), columns=["doc_id", "keep"]).with_row_index("row")
        named = rows["doc_id"].is_in(wanted.filter(pl.col("source") == source)["doc_id"].implode())
        rows = rows.filter(~pl.col("keep") | (pl.col("keep") & named)).drop_nulls("keep")
        parts.append(rows.with_columns(fragment=pl.lit(fragment), source=pl.lit(source)))
    return pl.concat(parts).with_row_index("number")

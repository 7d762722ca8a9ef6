"""What curation removed of each source, and a hint where it is much: rules may suit one source and not another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from pipeline.ingest.source_kind import OWN_WRITING, SourceKind
from pipeline.printing import aligned
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store

MUCH = 0.05  # share of a source's documents, above which a hint says where to look
COPIES = "duplicate_decisions"  # a stage whose removals say nothing of the quality of what was removed
OF_PAGES = ("heuristic_decisions", "perplexity_decisions", "quality_decisions")  # by rules for crawled pages


@dataclass
class OfSource:
    """The documents of one source: read, and removed, by (stage, reason)."""

    documents: int = 0
    removed: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        return self.removed.total() / self.documents if self.documents else 0.0

    @property
    def judged(self) -> Counter[tuple[str, str]]:
        """What was removed for what it is, not for being there twice."""
        return Counter({key: count for key, count in self.removed.items() if key[0] != COPIES})


def by_source(store: Store, stages: Sequence[str]) -> dict[str, OfSource]:
    """What the stages that were made removed of each source, in the order in which the first stage names them."""
    made = (store.current(stage) for stage in stages)
    return counted(takewhile(lambda artifact: artifact is not None, made))  # type: ignore[arg-type]


def counted(decisions: Iterable[Artifact]) -> dict[str, OfSource]:
    """The same of the decisions of these stages, in order."""
    found: dict[str, OfSource] = {}
    for artifact in decisions:
        for source, counts in artifact.counts.get("by_source", {}).items():
            of = found.setdefault(source, OfSource(documents=counts["in"]))
            of.removed.update({(artifact.asset, reason): count for reason, count in counts["removed"].items()})
    return found


def lines(store: Store, stages: Sequence[str], sources: Sequence[SourceKind], option: str = "") -> str:
    """A line for each source, then a hint for each that loses more than MUCH to rules; "" if nothing was judged yet.

    option: what the suggested commands need in order to name the recipe.
    """
    found = by_source(store, stages)
    if not found:
        return ""
    rows = []
    for name, of in found.items():
        most = ", ".join(f"{reason} {count:,}" for (_, reason), count in of.removed.most_common(3))
        rows.append([name, f"{of.documents:,}", f"{of.removed.total():,}", f"{of.share:.1%}", most])
    content = {source.name: source.judged_as for source in sources}
    hints = [hint(name, of, content.get(name, ""), option) for name, of in found.items() if loses_much(of)]
    table = aligned(["source", "documents", "removed", "share", "most as"], rows)
    return "\n".join([table, *hints])


def loses_much(of: OfSource) -> bool:
    return of.documents > 0 and of.judged.total() > MUCH * of.documents


def hint(name: str, of: OfSource, content: str, option: str) -> str:
    """Where to look at what was removed of a source, and what to do if it should have stayed."""
    (stage, reason), count = of.judged.most_common(1)[0]
    text = (
        f"note: `{name}` loses {of.judged.total() / of.documents:.0%} of its documents to rules, {count:,} as {reason}:"
        f" slm {option}documents --stage {stage} --source {name}"
    )
    if stage in OF_PAGES and content not in (*OWN_WRITING, "code"):
        text += f" (if it is your own writing and no web page: `content: notes` in the source `{name}`)"
    return text

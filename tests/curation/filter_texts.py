"""Texts and small stores that the tests of the filters share."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from pipeline.documents.document import DOCUMENT_SCHEMA
from pipeline.documents.stage import decision_facts, decision_table
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from tests.making import after, context

SHARED = Path(os.environ.get("SLM_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")

ENGLISH = (
    "The harbour was quiet in the early morning, and the boats that had been out all night were coming home with the "
    "tide. "
    "An old man sat on the wall and watched them, as he had done every day since he gave up fishing himself. "
    "He knew each of the boats by its sound, and he could tell from the way they lay in the water what they had "
    "caught. "
    "Nobody asked him about it any more, but he kept the count in a small book, to have something to show for the day."
)
KOREAN = (
    "항구의 이른 아침은 조용했고 밤새 바다에 나가 있던 배들이 밀물을 따라 돌아오고 있었다. 한 노인이 방파제에 앉아 "
    "배들을 바라보고 있었는데, "
    "그는 고기잡이를 그만둔 뒤로 하루도 빠짐없이 그 자리에 나왔다. 노인은 소리만 듣고도 어느 배인지 알았고, 물에 "
    "잠긴 깊이를 보면 무엇을 얼마나 "
    "잡았는지도 짐작할 수 있었다. 이제는 아무도 그에게 묻지 않았지만 그는 작은 수첩에 숫자를 적어 두었다. 하루를 "
    "보냈다는 표시를 남기고 싶었기 때문이다."
)
PYTHON = '''import json
from pathlib import Path


class Ledger:
    """Keeps counts by boat."""

    def __init__(self, path):
        self.path = Path(path)
        self.counts = {}

    def add(self, boat, crates):
        self.counts[boat] = self.counts.get(boat, 0) + crates
        return self.counts[boat]

    def save(self):
        self.path.write_text(json.dumps(self.counts))
'''
JAVA = """package harbour;

import java.util.HashMap;

public class Ledger {
    private final HashMap<String, Integer> counts = new HashMap<>();

    public int add(String boat, int crates) {
        int total = counts.getOrDefault(boat, 0) + crates;
        counts.put(boat, total);
        return total;
    }
}
"""


def frame(*texts: str, lang: str | None = None, source: str = "s") -> pl.DataFrame:
    """Documents as a stage receives them."""
    return pl.DataFrame(
        {
            "doc_id": [hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() for text in texts],
            "text": list(texts),
            "source": [source] * len(texts),
            "lang": pl.Series([lang] * len(texts), dtype=pl.String),
        },
        schema={"doc_id": pl.String, "text": pl.String, "source": pl.String, "lang": pl.String},
    )


def reasons(module, documents: pl.DataFrame, models: dict[str, Path] | None = None, **settings) -> list[str | None]:
    """The reason that the stage of `module` gives for each document."""
    chosen = module.Settings(**settings)
    decided = module.decide(module.signals(documents, chosen, models or {}), chosen)
    assert decided["keep"].to_list() == decided["reason"].is_null().to_list()
    assert set(decided["reason"].drop_nulls()) <= set(module.REASONS)
    return decided["reason"].to_list()


def raw_of(store: Store, **sources: pl.DataFrame) -> tuple[Artifact, Artifact | None]:
    """Raw documents of several sources, one fragment each, and decisions if a table has a column `kept`."""
    tables = {f"{name}-0": table.with_columns(source=pl.lit(name)).sort("doc_id") for name, table in sources.items()}
    content = {name: hashlib.md5(table.write_ndjson().encode()).hexdigest() for name, table in tables.items()}

    def documents(draft: Draft) -> None:
        for name, table in tables.items():
            empty = [pl.lit(None, kind).alias(c) for c, kind in DOCUMENT_SCHEMA.items() if c not in table.columns]
            whole = table.with_columns(empty).select(*DOCUMENT_SCHEMA)
            draft.table(name, {"of": content[name]}, lambda whole=whole: whole)

    def decisions(draft: Draft) -> None:
        for name, table in tables.items():
            kept = table["kept"] if "kept" in table.columns else pl.repeat(True, table.height, eager=True)
            decided = decision_table(table["doc_id"], kept)
            draft.table(name, {"of": content[name]}, lambda decided=decided: decided, lambda t: decision_facts(t, "s"))

    def made(asset: str, build: Callable[[Draft], None]) -> Artifact:
        return store.make(asset, code_version="1", settings=content, inputs={}, build=build, log=lambda line: None)

    raw = made("raw_documents", documents)
    any_kept = any("kept" in table.columns for table in tables.values())
    return raw, made("earlier_decisions", decisions) if any_kept else None


def learned(module, root: Path, settings, log=lambda line: None, **sources: pl.DataFrame) -> Artifact:
    """The model that `module` trains on documents, in a store at `root` that later calls share."""
    store = Store(root, "r")
    raw, previous = raw_of(store, **sources)
    return module.make_model(context(store, sources=tuple(sources), log=log), after(raw, previous), settings)


def shared(name: str) -> Path:
    """A file of the shared data; the test is skipped if it does not exist."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not in {SHARED} (set SLM_SHARED_DATA)")
    return path

"""What curation damages and what it finds: the figures of docs/results/filters.md that are counted on real text.

    python -m benchmarks.quality_of_filters DATA [--peer PEER_VENV/bin/python]

DATA is the folder of development data: text/, lid/, neardup/, quality/, pii/, eval/. PEER_VENV is an environment with
datatrove (benchmarks.presets_vs_peers says which), for the rows of the presets; without it they are left out.
Everything is measured on the documents whose hash begins with 8 to f; limits were chosen on the others. The scorer of
English pages is judged by cross-validation instead, since it was taught with all labels.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import polars as pl

from benchmarks import rows_of_filters
from benchmarks.making import context, raw_documents
from pipeline.curation import curated
from pipeline.curation.duplicates import near, repetition
from pipeline.curation.filters import heuristics, language, page_scorer, perplexity, quality, teaching
from pipeline.curation.personal_data import personal_data
from pipeline.curation.programs import python_tree
from pipeline.ingest.bundled import DATASETS
from pipeline.ingest.records import plain_lines
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from pipeline.village.documents import documents as village

SENTENCES = 14  # of a document made of the sentences of one language
DOCUMENTS = 10  # of each language
NOISE = 300  # documents of each kind of noise
MENU = {
    "en": "Home|About us|Contact|Login|Register|Privacy policy|Terms of use|Site map|News|Sports|Weather|Business|"
    "Health|Science|Travel|My account|Shopping cart|Search|Help|Support|Careers|Newsletter|Subscribe|Archives|"
    "Categories|Tags|Recent posts|Next|Previous|Back to top|Read more|Share this|Print|Log out|"
    "Forum|Gallery|Videos|Downloads|Products",
    "ko": "홈|회사소개|고객센터|로그인|회원가입|개인정보처리방침|이용약관|사이트맵|뉴스|스포츠|날씨|경제|연예|"
    "건강|과학|여행|장바구니|주문조회|검색|도움말|공지사항|채용|뉴스레터|구독하기|블로그|"
    "카테고리|태그|최근 글|다음|이전|맨 위로|더보기|공유하기|인쇄|게시판|갤러리|동영상|자료실|제품소개|서비스|협력사",
}


def documents(rows: list[tuple[str, str | None]]) -> pl.DataFrame:
    """Documents (doc_id, text, source, lang) as a stage receives them, of (text, language that is declared)."""
    frame = pl.DataFrame(rows, schema={"text": pl.String, "lang": pl.String}, orient="row")
    ids = [hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() for text in frame["text"]]
    return frame.with_columns(pl.Series("doc_id", ids), source=pl.lit("s"))


def found_languages(frame: pl.DataFrame) -> pl.DataFrame:
    """The documents with the language that the language stage finds when nothing is declared."""
    asked = frame.with_columns(lang=pl.lit(None, pl.String))
    label = language.signals(asked, language.Settings(), {})["label"]
    return frame.with_columns(lang=label, lang_found=pl.lit(True))


def kept_part(frame: pl.DataFrame) -> pl.DataFrame:
    """The part that figures are reported on."""
    return frame.filter(pl.col("doc_id").str.slice(0, 1).is_in(list("89abcdef")))


def removed(module: object, frame: pl.DataFrame, models: dict[str, Path] | None = None) -> pl.Series:
    """The reason for each document by a stage with its default settings; null where it stays."""
    settings = module.Settings()  # type: ignore[attr-defined]
    decided = module.decide(module.signals(frame, settings, models or {}), settings)  # type: ignore[attr-defined]
    return decided["reason"]


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |")


# -- damage ------------------------------------------------------------------------------------------------------------


def check_programs(folder: Path, text: pl.DataFrame) -> None:
    """Python files without a declared language, after every stage that edits text."""
    own = [str(item["text"]) for item in DATASETS["python-stdlib"][0]()]
    texts = [one for one in own + text.filter(pl.col("lang") == "code")["text"].to_list() if python_tree(one)]
    ctx = context(Store(folder / "programs", "x"))
    raw = raw_documents(ctx.store, pl.DataFrame({"id": map(str, range(len(texts))), "text": texts, "source": "s"}))
    inputs: dict[str, Artifact] = {"raw_documents": raw}
    found = language.STAGE.make(ctx, inputs, language.Settings(allow=[]))
    inputs |= {"previous": found, "languages": found}
    cut = repetition.make(ctx, inputs, repetition.Settings(max_documents=10))
    personal = personal_data.STAGE.make(ctx, inputs | {"previous": cut}, personal_data.Settings())
    stages = {stage.asset: stage for stage in (found, cut, personal)}
    made = curated.make(ctx, {"raw_documents": raw, **stages, "languages": found})
    left = pl.concat(pl.read_parquet(made.table(name)) for name in made.fragments)
    was = dict(enumerate(texts))
    changed = [one for number, one in left.select("source_id", "text").iter_rows() if one != was[int(number)]]
    broken = sum(python_tree(one) is None for one in changed)
    lost = sum(
        was[int(number)].count("from __future__ import") - one.count("from __future__ import")
        for number, one in left.select("source_id", "text").iter_rows()
    )
    row("Python files, undeclared", len(texts), f"{len(changed)} edited, {broken} broken, {lost} imports lost")


def check_line_ends(text: pl.DataFrame) -> None:
    """The same documents with line feeds and, after ingest, with carriage returns."""
    for lang in ("en", "ko", "code"):
        some = kept_part(text.filter(pl.col("lang") == lang))
        plain = removed(heuristics, found_languages(some)).is_not_null().sum()
        written = ["\ufeff" + one.replace("\n", "\r\n") for one in some["text"]]
        returns = some.with_columns(plain_lines(pl.Series("text", written)))
        row(f"removed of `{lang}`: \\n, \\r\\n", some.height, f"{plain}, {removed_of(returns)}")


def removed_of(frame: pl.DataFrame) -> int:
    return int(removed(heuristics, found_languages(frame)).is_not_null().sum())


def check_languages(data: Path) -> None:
    """Documents of sentences of each of 75 languages: how many the heuristics remove."""
    told = pl.read_parquet(data / "lid/lingua.parquet").filter(pl.col("unit").str.starts_with("sentence"))
    draw = random.Random(3)
    rows: list[tuple[str, str | None]] = []
    for (lang,), part in told.sort("lang").group_by("lang", maintain_order=True):
        known = part["text"].to_list()
        rows += [(" ".join(draw.sample(known, min(SENTENCES, len(known)))), str(lang)) for _ in range(DOCUMENTS)]
    frame = documents(rows)
    reasons = removed(heuristics, found_languages(frame))
    named = ("de", "es", "fr", "ru", "id", "tr", "ar")
    by_name = {lang: int((reasons.is_not_null() & (frame["lang"] == lang)).sum()) for lang in named}
    row("prose of 75 languages, removed", frame.height, int(reasons.is_not_null().sum()))
    row("of them de, es, fr, ru, id, tr, ar", len(named) * DOCUMENTS, sum(by_name.values()))


def check_cuts(folder: Path, data: Path, text: pl.DataFrame) -> None:
    """Planted boilerplate that is found, and what else is cut of all text."""
    planted = pl.read_parquet(data / "neardup/docs.parquet").select("id", "text", "lang", source=pl.lit("s"))
    sentences = [json.loads(line) for line in (data / "neardup/sentence_dups.jsonl").read_text().splitlines()]
    chosen = planted.filter(pl.col("id").is_in([item["doc_id"] for item in sentences]))
    ctx = context(Store(folder / "cuts", "x"))
    edits = edits_of(ctx, chosen)
    hit = sum(any(a <= item["start"] < b for a, b in edits.get(item["doc_id"], [])) for item in sentences)
    row("planted sentences cut at their place", len(sentences), hit)
    edits = edits_of(context(Store(folder / "all", "x")), text.select("id", "text", "lang", "source"))
    texts = dict(text.select("id", "text").iter_rows())
    headings = sum(
        texts[name][a:b].lstrip().startswith(("# ", "## ", "### ", "<h1", "<h2", "<h3"))
        or (
            texts[name][b : b + 400].split("\n")[0][:4] in ("====", "----", "~~~~")
            and "\n" not in texts[name][a:b].strip()
        )
        for name, spans in edits.items()
        for a, b in spans
    )
    row("cuts of all text; headings among them", sum(map(len, edits.values())), headings)


def edits_of(ctx: object, frame: pl.DataFrame) -> dict[str, list[tuple[int, int]]]:
    """The cuts of repeated sentences by document."""
    raw = raw_documents(ctx.store, frame)  # type: ignore[attr-defined]
    found = language.STAGE.make(ctx, {"raw_documents": raw}, language.Settings(allow=[]))  # type: ignore[arg-type]
    given = {"raw_documents": raw, "previous": found, "languages": found}
    made = repetition.make(ctx, given, repetition.Settings())  # type: ignore[arg-type]
    cut: dict[str, list[tuple[int, int]]] = {}
    for name in raw.fragments:
        ids = pl.read_parquet(raw.table(name), columns=["source_id"])["source_id"]
        for one, spans in zip(
            ids, pl.read_parquet(made.table(name), columns=["edits"])["edits"].to_list(), strict=True
        ):
            cut[one] = [(span["start"], span["end"]) for span in spans or []]
    return cut


def check_copies(folder: Path, data: Path) -> None:
    """Of a document and its copy in a frame or in tags: which one stays where one of them goes for the other."""
    frame = pl.read_parquet(data / "neardup/docs.parquet").select("id", "text", source=pl.lit("s"))
    pairs = pl.read_parquet(data / "neardup/pairs.parquet").filter(pl.col("label") == "near_dup")
    ctx = context(Store(folder / "copies", "x"))
    raw = raw_documents(ctx.store, frame)
    made = near.make(ctx, {"raw_documents": raw}, near.Settings())
    tables = [
        pl.read_parquet(made.table(name)).hstack(pl.read_parquet(raw.table(name), columns=["source_id"]))
        for name in raw.fragments
    ]
    known = {item["source_id"]: item for item in pl.concat(tables).iter_rows(named=True)}
    stays: Counter[tuple[str, str]] = Counter()
    for one, other, op in pairs.select("id_a", "id_b", "op").iter_rows():
        a, b = known[one], known[other]
        if b["keep"] and a["kept_id"] == b["doc_id"]:
            stays[op, "copy"] += 1
        elif a["keep"] and b["kept_id"] == a["doc_id"]:
            stays[op, "original"] += 1
    for op in ("header_footer", "html_wrap"):
        both = stays[op, "copy"] + stays[op, "original"]
        row(f"pairs of `{op}`; the clean original stays", both, stays[op, "original"])


# -- judgement ---------------------------------------------------------------------------------------------------------


def noise_of(texts: list[str], lang: str, draw: random.Random) -> dict[str, list[str]]:
    """Four kinds of noise: shuffled words, 20 % of characters misread, menus, random letters."""

    def letter() -> str:
        return chr(draw.randrange(0xAC00, 0xD7A4)) if lang == "ko" else draw.choice("abcdefghijklmnopqrstuvwxyz")

    def misread(text: str) -> str:
        out = []
        for mark in text:
            if mark.isspace() or draw.random() >= 0.2:
                out.append(mark)
            elif draw.random() < 0.75:
                out.append(letter() if draw.random() < 0.6 else draw.choice("0123456789.,'|~^*#"))
        return "".join(out)

    def shuffled(text: str) -> str:
        words = text.split()
        draw.shuffle(words)
        return " ".join(words)

    menu = MENU[lang].split("|")
    return {
        "shuffled words": [shuffled(text) for text in texts],
        "20 % misread": [misread(text) for text in texts],
        "menus": [draw.choice((" | ", "\n", " ")).join(draw.choices(menu, k=100)) for _ in texts],
        "random letters": [" ".join("".join(letter() for _ in range(5)) for _ in range(200)) for _ in texts],
    }


def check_noise(folder: Path, text: pl.DataFrame) -> None:
    """What perplexity removes of text that it has not seen, and of noise made from it."""
    known = found_languages(text)
    known = known.filter(removed(heuristics, known).is_null())
    taught, asked = known.join(kept_part(known), on="doc_id", how="anti"), kept_part(known)
    ctx = context(Store(folder / "noise", "x"))
    raw = raw_documents(ctx.store, taught.select("id", "text", "lang", "source"))
    found = language.STAGE.make(ctx, {"raw_documents": raw}, language.Settings(allow=[]))
    given = {"raw_documents": raw, "languages": found}
    models = {"perplexity_model": perplexity.make_model(ctx, given, perplexity.Settings()).local_directory()}
    for lang in ("en", "ko"):
        natural = asked.filter(pl.col("lang") == lang)["text"].sample(NOISE, seed=1, shuffle=True).to_list()
        for name, texts in {"natural text": natural, **noise_of(natural, lang, random.Random(5))}.items():
            frame = documents([(one, lang) for one in texts]).with_columns(lang_found=pl.lit(True))
            gone = int(removed(perplexity, frame, models).is_not_null().sum())
            row(f"`{lang}`, {name}: removed by perplexity", len(texts), f"{gone / len(texts):.1%}")


def check_code(data: Path, text: pl.DataFrame) -> None:
    """Source files that nobody declared, of Python and of the tasks in other languages, and pages that are none."""
    files: dict[str, list[str]] = {"python": text.filter(pl.col("lang") == "code")["text"].to_list()}
    with gzip.open(data / "sft/code_codegen.jsonl.gz", "rt") as lines:
        for line in lines:
            asked, answer = (message["content"] for message in json.loads(line)["messages"][:2])
            for named in ("java ", "javascript", "shell", "sql"):
                if named in asked.lower() and answer.count("\n") > 6:
                    files.setdefault(named.strip(), []).append(answer.strip("`\n"))
                    break
    for name, texts in sorted(files.items()):
        some = kept_part(documents([(one, None) for one in texts]))
        share = int((found_languages(some)["lang"] == "code").sum()) / some.height
        row(f"files of `{name}` called code", some.height, f"{share:.1%}")
    pages = kept_part(text.filter(pl.col("lang") != "code"))
    row("pages called code", pages.height, (found_languages(pages)["lang"] == "code").sum())


def check_pages(folder: Path, data: Path, text: pl.DataFrame) -> None:
    """The scorer of English pages: cross-validated on the labels, and what it takes of text that is good."""
    labels = teaching.read_labels(data / "quality/dclm_human_labels.jsonl.gz")
    figures, good = page_scorer.figures_of(labels["text"]), labels["good"].to_numpy()
    pages = page_scorer.transformed(figures)
    found = teaching.cross_validated(pages, good, teaching.GOOD_REMOVED)
    row("labelled pages, cross-validated: area under the curve", len(good), f"{found['auc']:.3f}")
    row("by length alone", len(good), f"{teaching.area_under_curve(figures['words'].to_numpy(), good):.3f}")
    row("poor pages removed, cross-validated", int((~good).sum()), f"{found['poor_removed']:.1%}")
    row("good pages removed, cross-validated", int(good.sum()), f"{found['good_removed']:.1%}")
    shutil.copy(page_scorer.SHIPPED, folder / quality.SCORER)
    models = {"quality_model": folder}
    asked = found_languages(documents([(one, None) for one in labels["text"]]))
    by_rules, scored = (removed(module, asked, models).is_not_null() for module in (heuristics, quality))
    for name, part in (("poor", ~labels["good"]), ("good", labels["good"])):
        gone = int(((by_rules | scored) & part).sum())
        row(
            f"{name} pages removed by heuristics or quality (taught on them)",
            int(part.sum()),
            f"{gone / part.sum():.1%}",
        )
    english = text.filter(pl.col("lang") == "en")
    web = english["licence"].str.contains("C4")
    written = documents([(one.text, "en") for one in village(4000, languages=("en",), planted=0)])
    speeches = documents([(str(item["text"]), "en") for item in DATASETS["sotu"][0]()])
    for name, frame in (
        ("English development text, web pages left out", english.filter(~web)),
        ("its web pages (C4)", english.filter(web)),
        ("the village", written),
        ("speeches of the demonstration", speeches),
    ):
        known = found_languages(frame)
        left = known.filter(removed(heuristics, known).is_null())
        all_of_it, rest = (
            int(removed(quality, some, models).is_not_null().sum()) / some.height for some in (known, left)
        )
        row(f"{name}: removed by quality; of what the heuristics leave", frame.height, f"{all_of_it:.1%}; {rest:.1%}")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of development data")
    parser.add_argument("--peer", help="Python of an environment with datatrove, to compare the presets with")
    parser.add_argument("--limit", type=int, default=300, help="documents for the presets")
    return parser


def main() -> None:
    given = arguments().parse_args()
    data = given.data
    text = pl.concat(pl.read_parquet(path) for path in sorted((data / "text").glob("*.parquet")))
    text = text.with_columns(plain_lines(text["text"]), source=pl.lit("s"))
    text = text.join(documents(list(text.select("text", "lang").iter_rows())).select("doc_id", "text"), on="text")
    text = text.unique("id", maintain_order=True)
    row("what", "of", "figure")
    row("---", "---", "---")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        check_programs(place, text)
        check_line_ends(text)
        check_languages(data)
        check_cuts(place, data, text)
        check_copies(place, data)
        check_noise(place, text)
        check_pages(place, data, text)
    check_code(data, text)
    rows = [rows_of_filters.languages(data), rows_of_filters.evaluation_items(data, text)]
    rows += [rows_of_filters.personal_data(), rows_of_filters.names(data)]
    if given.peer:
        rows.append(rows_of_filters.presets(data, given.peer, given.limit))
    for part in rows:
        for cells in part:
            row(*cells)


if __name__ == "__main__":
    main()

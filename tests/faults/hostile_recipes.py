"""Hostile recipes: texts that YAML takes in silence, fails on, or makes something else of than a person means."""

from __future__ import annotations

from collections.abc import Iterator

SOURCE = "sources: [{name: a, kind: files, path: x}]\n"
GOOD = f"name: mine\n{SOURCE}"
LAUGHS = "".join(f"{of}: &{of} [{', '.join([f'*{inner}'] * 9)}]\n" for inner, of in zip("abcdefgh", "bcdefghi"))
DIGITS = "9" * 5000


def as_source(text: str) -> str:
    return f"name: mine\nsources: [{{name: a, {text}}}]\n"


def files(text: str) -> str:
    return as_source(f"kind: files, path: x, {text}")


def in_the_text() -> Iterator[tuple[str, str]]:
    """(recipe, pattern of the sentence about it)"""
    yield "", "is not a recipe"
    yield "- a", "is not a recipe"
    yield "2024-01-01", "is not a recipe"
    yield "name: a\0", "is not YAML"
    yield "name: mine\n\tsources: x", "line 2 is not YAML"
    yield "name: mine\nsources: [", "is not YAML"
    yield "--- a\n--- b\n", "line 2 is not YAML"
    yield "%YAML 9.9\n---\n" + GOOD, "line 1 is not YAML"
    yield "*a", "line 1 is not YAML"
    yield "!!python/object:os.system x", "line 1 is not YAML"
    yield GOOD + "x: !!binary 'a'\n", "line 3 is not YAML"
    yield GOOD + "? [a, b]\n: c\n", "line 3 is not YAML"
    yield GOOD + "? {a: b}\n: c\n", "line 3 is not YAML"
    yield "<<: 5\n" + GOOD, "line 1 is not YAML"
    yield GOOD + "seed: 1\nseed: 2\n", "line 4 has the key `seed` again"
    yield GOOD + "model: {layers: 2, layers: 3}\n", "line 3 has the key `layers` again"
    yield GOOD + GOOD, "line 3 has the key `name` again"
    yield "a: &a [*a]\n", "line 1 stands for itself"
    yield GOOD + "model: &a {layers: *a}\n", "line 3 stands for itself"
    yield "a: &a [x, x, x, x, x, x, x, x, x]\n" + LAUGHS + "name: mine\nsources: *i\n", "stands for over 100,000 values"
    yield GOOD + "x: " + "[" * 60 + "]" * 60, "line 3 is nested too deeply"
    yield GOOD + "x: " + "[" * 5000 + "]" * 5000, "is nested too deeply"
    yield GOOD + "x: " + "{a: " * 5000 + "b" + "}" * 5000, "is nested too deeply"
    yield GOOD + f"seed: {DIGITS}\n", r"line 3 has `9+\.\.\. \(5,000 characters\)`, which is no number"
    yield GOOD + f"seed: -{DIGITS}\n", "line 3 has .* which is no number"
    yield GOOD + "x: 2024-13-45\n", "line 3 has `2024-13-45`, which is no number or date that can be"
    yield GOOD + "x: !!int abc\n", "line 3 has `abc`, which is no number"
    yield GOOD + "x: !!float abc\n", "line 3 has `abc`, which is no number"
    yield GOOD + "x: !!timestamp abc\n", "line 3 has `abc`, which is no number"
    yield GOOD + "x: !!bool abc\n", "line 3 has `abc`, which is no number"
    yield GOOD + "x: 0x_\n", "line 3 has `0x_`, which is no number"
    yield GOOD + "1: 2\n", "Keys should be strings"
    yield GOOD + "null: 2\n", "Keys should be strings"
    yield GOOD + "2024-01-01: 2\n", "Keys should be strings"
    yield GOOD + "model: {2024-01-01: 2}\n", "Keys should be strings"


def names() -> Iterator[tuple[str, str]]:
    for name in (
        "..",
        ".",
        "'..'",
        ".hidden",
        "../x",
        "/x",
        "a/b",
        "-x",
        "'a b'",
        '"a\\nb"',
        "x" * 65,
        "x" * 300,
        "𠀀" * 60,
        "''",
    ):
        yield f"name: {name}\n{SOURCE}", "cannot be part of a file name"
        yield (
            f"name: mine\nsources: [{{name: {name}, kind: files, path: x}}]\n",
            "cannot be part of a file name|needs `name`",
        )
    for name, said in {
        "2024-01-01": "is a date to YAML: put it in quotes",
        "2024-01-01 10:00:00": "is a date to YAML",
    }.items():
        yield f"name: {name}\n{SOURCE}", said
        yield f"name: mine\nsources: [{{name: {name}, kind: files, path: x}}]\n", said
        yield GOOD + f"instructions: {{sources: [{{name: {name}, path: x}}]}}\n", said
    for name in ("[a]", "{a: b}", "5", "true", "1.5"):
        yield f"name: {name}\n{SOURCE}", "`name`: Input should be a valid string"
        yield as_source("kind: files, path: x").replace("name: a", f"name: {name}"), "Input should be a valid string"


def lists_for_words() -> Iterator[tuple[str, str]]:
    for key in ("lang", "license", "encoding", "invalid", "format", "records"):
        for value in ("[a]", "{a: b}", "2024-01-01"):
            yield files(f"{key}: {value}"), f"`sources.0.{key}`"
    for value in ("[wikipedia]", "{a: 1}", "2024-01-01", "5"):
        yield as_source(f"from: {value}"), "`from` takes one word"
        yield as_source(f"kind: {value}, path: x"), "is no kind"
        yield as_source(f"from: wikipedia, lang: {value}"), "`lang` takes one word"
        yield as_source(f"from: wikipedia, lang: ko, columns: {value}"), "columns"
        yield as_source(f"kind: bundled, dataset: {value}"), "dataset"
        yield as_source(f"kind: python, file: {value}"), "file"
        yield as_source(f"kind: common_crawl, crawl: {value}"), "crawl"
        yield GOOD + f"instructions: {{sources: [{{name: a, kind: {value}, path: x}}]}}\n", "is no kind"
        yield GOOD + f"instructions: {{sources: [{{name: a, path: x, columns: {value}}}]}}\n", "columns"
        yield GOOD + f"instructions: {{sources: [{{name: a, kind: bundled, set: {value}}}]}}\n", "set"
        sets = f"curation: {{contamination: {{sets: [{{name: a, path: x, columns: {{text: {value}}}}}]}}}}\n"
        if not value.startswith("["):
            yield GOOD + sets, "`columns.text` takes the name of a column"
    for block in ("model", "curation", "tokenizer", "pretraining", "sft", "execution", "evaluation", "instructions"):
        for value in ("[1]", "5", "x", "2024-01-01"):
            yield GOOD + f"{block}: {value}\n", f"`{block}"
    for value in ("[[a]]", "[a]", "{a: b}", "5", "2024-01-01", "[null]", "[5]"):
        yield f"name: mine\nsources: {value}\n", "`sources"
    for value in ("[[x]]", "{a: b}", "5", "[5]", "2024-01-01"):
        yield as_source(f"kind: files, path: {value}"), "path"
        yield as_source(f"kind: http, url: {value}"), "url"
    yield as_source("kind: http, url: http://a/b, sha256: [a]"), "sha256"
    yield as_source("kind: http, url: http://a/b, sha256: {b: 5}"), "sha256"


def absurd() -> Iterator[tuple[str, str]]:
    for encoding in ("base64", "rot13", "hex", "zlib", "idna", "punycode", "undefined", "utf-9", '"a\\0b"', "x" * 500):
        yield files(f"encoding: {encoding}"), "is unknown|is no encoding of text"
    for number in ("0", "-1", "99999999999999999999999", "1e30", ".inf", ".nan", "x", "1.5", "2024-01-01"):
        yield files(f"limit: {number}"), "`sources.0.limit`"
    for place in (
        "model.layers",
        "model.width",
        "model.context",
        "tokenizer.vocab_size",
        "pretraining.tokens",
        "shards.tokens",
        "execution.workers",
    ):
        block, key = place.split(".")
        for number in ("-1", "9" * 30, "1e300", ".inf", ".nan", "9" * 400):
            yield GOOD + f"{block}: {{{key}: {number}}}\n", f"`{place}`"
    for seed in ("-1", str(2**63), str(2**64), "9" * 400, "1.5", "x", "[1]"):
        yield GOOD + f"seed: {seed}\n", "`seed`"
    yield as_source("kind: common_crawl, crawl: c, segments: [99999999999999999999]"), "segments"
    yield as_source("kind: common_crawl, crawl: c, segments: [-1]"), "segments"
    yield as_source("kind: http, url: http://a/b, min_rate: -1"), "min_rate"


def recipes() -> Iterator[tuple[str, str]]:
    yield from in_the_text()
    yield from names()
    yield from lists_for_words()
    yield from absurd()

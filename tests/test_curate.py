"""`slm curate`: what a person sees of the removals, the keys of a verdict, and what the verdicts say."""

import json
import os
import pty
import select
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.graph import Project
from pipeline.run import make_with_inputs

RECIPE = """
name: small
sources:
  - {{name: notes, kind: files, path: '{folder}/notes/*.txt', content: web, license: own}}
curation:
  language: {{allow: [ko, en]}}
  heuristics: {{gopher: {{min_words: 30, min_words_ko: 13}}, c4: {{enabled: false}}, fineweb: {{enabled: false}}}}
  perplexity: {{enabled: false}}
  quality: {{enabled: false}}
  duplicates: {{enabled: false}}
  repetition: {{enabled: false}}
  contamination: {{enabled: false}}
execution: {{executor: in_process}}
"""
SENTENCE = "The ferry leaves at seven from the lower quay and comes back with the post and the bread."  # 18
KOREAN = "나는 어제 학교에 가서 친구와 함께 점심을 먹고 집으로 돌아왔다."  # 10 eojeol


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "notes").mkdir()
    texts = {
        "short": f"{SENTENCE} One more of them number 1.",  # 24 words
        "nearly": f"{SENTENCE} The rest of it has to be long enough to stay in the text for good.",  # 34
        "짧다": f"{KOREAN} 둘째 줄이다.",
        "남다": f"{KOREAN} 그리고 저녁에는 책을 읽었다.",
        "other": f"{SENTENCE} A fine evening on the island, and nobody who has anything else to do than to look at it.",
        "screen": f"\x1b[2J {SENTENCE}",
    }
    for name, text in texts.items():
        (tmp_path / "notes" / f"{name}.txt").write_text(text)
    (tmp_path / "small.yaml").write_text(RECIPE.format(folder=tmp_path))
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SLM_RECIPE", str(tmp_path / "small.yaml"))
    return tmp_path


def slm(*arguments: str, **options) -> str:
    result = CliRunner().invoke(main, ["curate", *arguments], catch_exceptions=False, **options)
    assert result.exit_code == 0, result.output
    return result.stdout


def made(folder) -> list[str]:
    return sorted(path.name for path in (folder / "data" / "small").glob("[!.]*")) if (folder / "data").exists() else []


def test_a_preview_needs_no_run_and_leaves_no_version(folder):
    output = slm("preview", "--sample", "6")
    assert "6 documents, run aside" in output and made(folder) == []
    assert "words 24, gopher.min_words 30" in output and "words 34, gopher.min_words 30" in output
    assert "words 12, gopher.min_words_ko 13" in output and "words 14, gopher.min_words_ko 13" in output
    assert output.index("removed, just outside") < output.index("kept, just inside")


def test_a_preview_reads_the_decisions_that_are_up_to_date_and_runs_aside_what_is_not(folder, tmp_path):
    make_with_inputs(Project.open(log=lambda line: None), "curated_documents")
    before = made(folder)
    assert "6 documents, by the decisions in force" in slm("preview")
    assert "2 documents, by the decisions in force" in slm("preview", "--sample", "2")
    recipe = folder / "small.yaml"
    recipe.write_text(recipe.read_text().replace("min_words: 30", "min_words: 40"))
    output = slm("preview")
    assert "run aside" in output and "gopher.min_words 40" in output and made(folder) == before


def test_another_seed_draws_another_sample_and_the_same_seed_the_same(folder):
    def ids(seed: str) -> set[str]:
        return {row["doc_id"] for row in json.loads(slm("preview", "--sample", "2", "--seed", seed, "--json"))}

    samples = {seed: ids(seed) for seed in "12345"}
    assert ids("1") == samples["1"] and len({frozenset(sample) for sample in samples.values()}) > 1


def test_records_hold_places_and_no_text(folder):
    (folder / "notes" / "tags.txt").write_text(
        SENTENCE + " And then a # and a # and a # here, all of it for good measure."
    )
    (record,) = json.loads(slm("preview", "--reason", "gopher_symbols", "--json"))
    records = [record]
    assert record["figure"] == pytest.approx(3 / 35) and record["limit"] == 0.1 and len(record["marks"]) == 3
    assert "ferry" not in json.dumps(records) and "학교" not in json.dumps(records, ensure_ascii=False)


def test_control_characters_of_a_document_do_not_reach_the_terminal(folder):
    output = slm("preview", "--reason", "gopher_short", "--near", "9")
    assert "\x1b" not in output and "\N{REPLACEMENT CHARACTER}[2J" in output


def test_a_reason_or_stage_that_is_not_there_names_those_that_are(folder):
    for option, word in (("--reason", "gopher_short"), ("--stage", "heuristic_decisions")):
        result = CliRunner().invoke(main, ["curate", "preview", option, "nosuch"])
        assert result.exit_code == 1 and "nosuch" in result.output and word in result.output
        assert "Traceback" not in result.output


def test_verdicts_are_taken_from_lines_where_there_is_no_terminal_and_not_asked_twice(folder):
    arguments = ("judge", "--reason", "gopher_short")
    assert "0 verdicts saved, 0 in all" in slm(*arguments, input="")
    assert "2 verdicts saved, 2 in all" in slm(*arguments, input="d\nx\nkeep\ns\nq\n")
    left = slm(*arguments, input="q\n")
    assert "1 of 4" in left, "six documents are near the limit, two are judged"
    known = (folder / "data" / "small" / "verdicts.jsonl").read_text()
    assert "ferry" not in known and len(known.splitlines()) == 2
    recipe = folder / "small.yaml"
    recipe.write_text(recipe.read_text().replace("min_words: 30", "min_words: 32"))
    assert "1 of 4" in slm(*arguments, input="q\n"), "a verdict survives another run of the stage"


def test_a_key_each_in_a_terminal(folder):
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "pipeline.cli", "curate", "judge", "--reason", "gopher_short"]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=os.environ.copy())
    os.close(terminal)
    seen, keys = b"", ["k", "ㅇ", "s", "q"]  # the second one: d on a Korean keyboard in Hangul mode
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if select.select([controller], [], [], 0.2)[0]:
            try:
                piece = os.read(controller, 65536)
            except OSError:  # the other end is closed
                break
            seen += piece
            if seen.count(b"[q]uit?") > 4 - len(keys) and keys:
                os.write(controller, keys.pop(0).encode())
        elif process.poll() is not None:
            break
    assert process.wait(timeout=30) == 0, seen.decode(errors="replace")
    os.close(controller)
    text = seen.decode(errors="replace")
    assert "2 verdicts saved" in text and keys == []
    lines = (folder / "data" / "small" / "verdicts.jsonl").read_text().splitlines()
    assert [json.loads(line)["verdict"] for line in lines] == ["keep", "drop"]


def test_verdicts_give_a_precision_by_reason_and_say_when_they_are_too_few(folder):
    result = CliRunner().invoke(main, ["curate", "verdicts"])
    assert result.exit_code == 1 and "There are no verdicts yet" in result.output
    slm("judge", "--reason", "gopher_short", input="d\nd\nk\nk\nk\n")
    output = slm("verdicts")
    assert "gopher_short" in output and "No other limit is proposed: that takes 20 verdicts" in output
    found = json.loads(slm("verdicts", "--json"))["precision"][0]
    assert found["precision, of"] == 3 and found["precision"] == pytest.approx(2 / 3)

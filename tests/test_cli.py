"""`slm`: a person's mistake ends in one sentence and exit code 1; look-ups say what the tables say."""

import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from model.files import write_whole
from pipeline import places
from pipeline.cli import main
from pipeline.graph import Project
from pipeline.run import make_with_inputs

RECIPE = """
name: small
sources:
  - {{name: notes, kind: files, path: '{folder}/notes/*.md', content: web, lang: en, license: own}}
  - {{name: copies, kind: files, path: '{folder}/copies/*.md', content: web, lang: en, license: CC0}}
curation:
  heuristics: {{gopher: {{min_words: 5}}, c4: {{enabled: false}}, fineweb: {{enabled: false}}}}
  perplexity: {{enabled: false}}
  quality: {{enabled: false}}
  duplicates: {{threshold: 0.7}}
execution: {{executor: in_process}}
"""
LONG = (
    "The ferry leaves at seven from the lower quay and comes back in the evening with the post, the bread and whoever "
    "has been to the doctor. In winter it does not come at all on most days; the island then lives on what there is."
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "notes").mkdir()
    (folder / "copies").mkdir()
    (folder / "notes" / "ferry.md").write_text(LONG)
    (folder / "notes" / "stub.md").write_text("Too short.")
    (folder / "copies" / "ferry.md").write_text(
        LONG.replace("the bread", "some bread") + " Ask minsu@naver.com for more."
    )
    (folder / "copies" / "other.md").write_text(
        "Another text altogether, about a tower and the bell in it that rings when nobody pulls the rope, which "
        "people have stopped being surprised about. Write to minsu@naver.com if you hear it."
    )
    (folder / "small.yaml").write_text(RECIPE.format(folder=folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLM_DATA", str(folder / "data"))
        patch.setenv("SLM_RECIPE", str(folder / "small.yaml"))
        make_with_inputs(Project.open(log=lambda line: None), "curated_documents")
        yield folder


def slm(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    return result.output


def test_help_imports_nothing_heavy():
    heavy = ("torch", "polars", "presidio_analyzer", "mlflow")
    code = f"import sys, pipeline.cli; print([module for module in {heavy} if module in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert "lineage" in slm("--help")


def test_a_recipe_that_is_not_there(folder):
    assert refused("--recipe", "nowhere.yaml", "why", "tokenizer").startswith("slm: There is no recipe at nowhere.yaml")


def test_an_asset_that_does_not_exist_names_the_nearest(folder):
    assert "did you mean `tokenizer`?" in refused("why", "tokeniser")


def test_removed_documents_are_shown_with_their_reason(folder):
    output = slm("documents", "--stage", "heuristic_decisions")
    assert "notes:" in output and "gopher_short" in output and "Too short." in output
    assert "removed: fewer words than `min_words`: words 2, limit 5 (gopher.min_words)" in output
    assert "removed:" not in slm("documents", "--stage", "heuristic_decisions", "--kept")
    assert "use one of gopher_short" in refused("documents", "--stage", "heuristic_decisions", "--reason", "nosuch")
    assert "`curated_documents` decides nothing: `--reason` needs `--stage`" in refused("documents", "--reason", "x")
    assert "`nosuch_decisions` is not a stage" in refused("documents", "--stage", "nosuch_decisions")


def test_the_rules_are_listed_with_their_limits():
    assert "| `gopher_long` | more words than `max_words` | `words` > 100,000 |" in slm("rules")


def test_the_summary_suggests_commands_for_the_recipe_it_was_given(folder):
    named = slm("--recipe", str(folder / "small.yaml"), "summary")
    assert "gopher_short 1" in named
    assert f"SLM_RECIPE={folder / 'small.yaml'} dagster dev" in named
    assert f"SLM_RECIPE={folder / 'small.yaml'} dagster job execute -j tokenize_job" in named
    assert "SLM_RECIPE" not in slm("summary"), "the environment names it for every command"


def test_what_is_suggested_names_the_recipe_that_was_given(folder, monkeypatch, tmp_path_factory):
    given = str(folder / "small.yaml")
    assert f"run `SLM_RECIPE={given} dagster job execute -j pretrain_job`" in refused("--recipe", given, "chat")
    assert f"or `slm --recipe {given} make sft_model`" in refused(
        "--recipe", given, "trace", "sft_model", "--text", "a"
    )
    assert "run `dagster job execute -j pretrain_job`" in refused("chat"), "the environment names it"
    monkeypatch.chdir(tmp_path_factory.mktemp("some where"))
    assert f"run `cd {places.CODE} && SLM_RECIPE={given} dagster job" in refused("--recipe", given, "chat")


def test_a_suggested_command_can_be_pasted_whatever_the_recipe_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(places.CODE)
    assert places.in_commands("my notes.yaml") == ("SLM_RECIPE='my notes.yaml' ", "--recipe 'my notes.yaml' ")


def test_edits_are_shown_without_what_they_replace(folder):
    output = slm("documents", "--stage", "personal_data_edits", "--edited", "--width", "20")
    assert "EMAIL_ADDRESS: " in output and "minsu@naver.com" not in output


def test_a_removed_copy_is_shown_beside_the_one_that_stays(folder):
    removed = slm("documents", "--stage", "duplicate_decisions")
    assert "near_duplicate" in removed
    output = slm("documents", "--diff", removed.split()[0])
    assert "[-the-]" in output and "{+some+}" in output


def test_similar_documents_are_listed_by_similarity(folder):
    output = slm("similar", LONG)
    assert "notes" in output.splitlines()[1] and "1" in output.splitlines()[1]


def test_sources_say_whether_they_changed(folder):
    assert slm("sources").count("up to date") == 2
    assert "en 2" in slm("sources", "check", "notes")
    assert "The recipe has no source called nosuch" in refused("sources", "check", "nosuch")
    assert "wikipedia" in slm("sources", "catalogue")


def test_why_names_the_changed_setting(folder, monkeypatch, tmp_path):
    assert "out of date" not in slm("why", "curated_documents")
    changed = tmp_path / "changed.yaml"
    changed.write_text((folder / "small.yaml").read_text().replace("threshold: 0.7", "threshold: 0.9"))
    output = slm("--recipe", str(changed), "why", "curated_documents")
    assert "duplicate_decisions: out of date\n    `curation.duplicates.threshold` was 0.7, is 0.9" in output
    assert "heuristic_decisions: up to date" in output
    assert "curated_documents: may be out of date" in output, "it follows from above, and may come out the same"


def test_why_names_the_files_that_changed(folder):
    ferry, new, stub = (folder / "notes" / name for name in ("ferry.md", "new.md", "stub.md"))
    before = ferry.read_text(), stub.read_text()
    try:
        ferry.write_text(LONG + " It whistles.")
        new.write_text("A new note.")
        stub.unlink()
        output = slm("why", "heuristic_decisions")
    finally:
        ferry.write_text(before[0])
        stub.write_text(before[1])
        new.unlink(missing_ok=True)
    said = [f"    source `notes`: {name}" for name in ("ferry.md changed", "new.md is new", "stub.md is gone")]
    assert "raw_documents: out of date\n" + "\n".join(said) in output
    assert "source `copies`" not in output
    assert "heuristic_decisions: may be out of date\n    raw_documents is out of date" in output
    licence = (folder / "small.yaml").read_text().replace("license: CC0", "license: CC-BY")
    (folder / "licence.yaml").write_text(licence)
    output = slm("--recipe", str(folder / "licence.yaml"), "why", "raw_documents")
    assert "source `copies`: its keys in the recipe changed" in output


def test_forget_shows_the_passages_before_it_removes_anything(folder):
    shown = slm("forget", "--grep", "nobody pulls")
    assert "other.md" in shown and "the bell in it that rings when nobody pulls the rope" in shown
    assert "1 documents would be removed; nothing is removed yet" in shown
    assert slm("forget", "--list") == "none\n"
    assert 'Say why, for the removal list: `--reason "' in refused("forget", "--grep", "nobody pulls", "--yes")
    assert "There is nothing to undo" in refused("forget", "--undo")

    done = slm("forget", "--grep", "nobody pulls", "--reason", "asked to", "--yes")
    assert "1 documents added" in done and "slm forget --undo" in done
    assert "from the next run on" in slm("forget", "--list")
    assert "the removal list changed" in slm("why", "raw_documents")
    assert "is off the removal list" in slm("forget", "--undo")
    assert slm("forget", "--list") == "none\n" and "out of date" not in slm("why", "raw_documents")


def test_the_summary_shows_removals_by_source_with_a_hint_where_they_are_many(folder):
    output = slm("summary")
    assert "source  documents  removed  share  most as" in output
    hint = next(line for line in output.splitlines() if line.startswith("note: `notes` loses 50%"))
    assert "slm documents --stage heuristic_decisions --source notes" in hint
    assert "`content: notes` in the source `notes`" in hint
    assert "note: `copies`" not in output, "a copy is no removal by rules"


def test_the_store_is_listed_verified_and_pruned(folder):
    assert "raw_documents" in slm("store", "list")
    assert "files are intact" in slm("store", "verify")
    assert "no version would be deleted" in slm("store", "prune", "--dry-run")
    assert "freed in total" in slm("store", "prune")


def test_a_dry_run_says_what_would_be_deleted_and_deletes_nothing(folder):
    artifacts = Project.open(log=lambda line: None).store
    for number in (1, 2):
        artifacts.make(
            "numbers", code_version="1", settings={"n": number}, inputs={}, log=lambda line: None,
            build=lambda draft: write_whole(draft.path("x"), "12345"),
        )  # fmt: skip
    old = artifacts.prunable("numbers", keep=0)
    assert len(old) == 1
    output = slm("store", "prune", "--keep", "0", "--asset", "numbers", "--dry-run")
    assert re.search(rf"numbers +{old[0].version} +5 B +[0-9.]+ s\n1 version\(s\) would be deleted", output), output
    assert artifacts.prunable("numbers", keep=0) == old
    assert old[0].version in slm("store", "prune", "--keep", "0", "--asset", "numbers")
    assert artifacts.prunable("numbers", keep=0) == []
    assert "There is no artifact `nothing`" in refused("store", "prune", "--asset", "nothing")


def test_the_recipe_as_understood_is_a_recipe(folder, tmp_path):
    path = tmp_path / "resolved.yaml"
    path.write_text(slm("recipe"))
    assert "out of date" not in slm("--recipe", str(path), "why", "curated_documents")


def test_a_model_that_was_never_made_is_reported(folder):
    assert "There is no model yet" in refused("chat")
    assert "has not been made yet" in refused("lineage", "model", "pretrained_model")

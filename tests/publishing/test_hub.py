"""`slm push` and `slm pull` against a hub on loopback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from tests.publishing.conftest import WritableHub

NAME = "me/notes"
RECIPE = {"name": "test", "sources": [{"name": "notes", "kind": "files", "path": "*.txt"}]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder beside a recipe whose store is empty."""
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SLM_RECIPE", str(tmp_path / "recipe.yaml"))
    made = tmp_path / "model"
    (made / "origin").mkdir(parents=True)
    (made / "config.json").write_text("{}")
    (made / "model.safetensors").write_bytes(b"weights" * 1000)
    (made / "tokenizer.json").write_text("{}")
    (made / "tokenizer_about.json").write_text("{}")
    (made / "samples.txt").write_text("private")
    (made / "origin" / "LICENSE").write_text("do what you want")
    return made


def slm(*words: object) -> Result:
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


def on_hub(hub: WritableHub) -> dict[str, bytes]:
    return list(hub.models[NAME].values())[-1]


def test_a_model_is_pushed_privately_and_comes_back_byte_for_byte(hub: WritableHub, folder: Path, tmp_path: Path):
    pushed = slm("push", folder, NAME)
    assert pushed.exit_code == 0, pushed.output
    assert hub.private[NAME] is True
    sent = {"README.md", "config.json", "model.safetensors", "origin/LICENSE", "tokenizer.json", "tokenizer_about.json"}
    assert on_hub(hub).keys() == sent, "logs and samples stay here"
    pulled = slm("pull", NAME, "--out", tmp_path / "back")
    assert pulled.exit_code == 0, pulled.output
    assert {path: (tmp_path / "back" / path).read_bytes() for path in sent} == on_hub(hub)
    assert "slm chat" in pulled.output


def test_a_dry_run_shows_what_would_be_sent_and_sends_nothing(hub: WritableHub, folder: Path):
    shown = slm("push", folder, NAME, "--dry-run")
    assert shown.exit_code == 0 and "model.safetensors" in shown.output and "dry run" in shown.output
    assert not hub.models and not hub.received


def test_only_what_changed_is_sent_again(hub: WritableHub, folder: Path):
    slm("push", folder, NAME)
    assert "Nothing has changed" in slm("push", folder, NAME).output
    (folder / "config.json").write_text('{"a": 1}')
    assert slm("push", folder, NAME).exit_code == 0
    assert len(hub.received) == 1 and on_hub(hub)["config.json"] == b'{"a": 1}'


def test_a_push_that_broke_off_is_finished_without_sending_the_weights_again(hub: WritableHub, folder: Path):
    hub.breaking = True
    broken = slm("push", folder, NAME)
    assert broken.exit_code == 1 and "run the same command again" in broken.output
    assert len(hub.received) == 1 and not on_hub(hub)
    hub.breaking = False
    assert slm("push", folder, NAME).exit_code == 0
    assert len(hub.received) == 1 and "model.safetensors" in on_hub(hub)


def test_a_pull_that_broke_off_fetches_only_the_rest(hub: WritableHub, folder: Path, tmp_path: Path):
    slm("push", folder, NAME)
    back = tmp_path / "back"
    slm("pull", NAME, "--out", back)
    (back / "config.json").write_text("half")
    hub.asked.clear()
    assert slm("pull", NAME, "--out", back).exit_code == 0
    assert set(hub.asked) == {"config.json"} and (back / "config.json").read_text() == "{}"


def test_a_model_of_unknown_licence_is_not_published_unless_somebody_takes_it_upon_them(hub: WritableHub, folder: Path):
    refused = slm("push", folder, NAME, "--public", "--licence", "mit")
    assert refused.exit_code == 1 and "no licence is known" in refused.output and not hub.models
    assert slm("push", folder, NAME, "--public", "--licence", "mit", "--despite-licences").exit_code == 0
    assert hub.private[NAME] is False
    head = yaml.safe_load(on_hub(hub)["README.md"].decode().split("---")[1])
    assert head["license"] == "mit" and head["pipeline_tag"] == "text-generation"


def test_a_public_model_is_not_updated_by_somebody_who_takes_it_for_private(hub: WritableHub, folder: Path):
    slm("push", folder, NAME, "--public", "--licence", "mit", "--despite-licences")
    refused = slm("push", folder, NAME)
    assert refused.exit_code == 1 and "is public on the hub" in refused.output


def test_mistakes_are_one_sentence(hub: WritableHub, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert "has no owner" in slm("push", folder, "notes").output
    assert "is not on the hub, or is private" in slm("pull", "me/other", "--out", tmp_path / "x").output
    (tmp_path / "empty").mkdir()
    assert "holds no model" in slm("push", tmp_path / "empty", NAME).output
    unknown = slm("push", folder, NAME, "--licence", "no-such")
    assert unknown.exit_code == 1 and '"license" must be one of' in unknown.output and not hub.received
    hub.models.clear()
    monkeypatch.setenv("HF_TOKEN", "hf_reads")
    refused = slm("push", folder, NAME)
    assert refused.exit_code == 1 and "may write to me" in refused.output


def test_pickles_are_never_fetched(hub: WritableHub, folder: Path, tmp_path: Path):
    slm("push", folder, NAME)
    hub.push(NAME, {**on_hub(hub), "pytorch_model.bin": b"runs code", "train.py": b"too"}, model=True)
    slm("pull", NAME, "--out", tmp_path / "back")
    assert not {"pytorch_model.bin", "train.py"} & {path.name for path in (tmp_path / "back").iterdir()}
    assert json.loads((tmp_path / "back" / "config.json").read_text()) == {}


def test_the_card_of_a_model_of_the_store_names_its_sources_and_their_licences(
    hub: WritableHub, folder: Path, tmp_path: Path
):
    store = Store(tmp_path / "data", "test")
    sources = {"notes": {"documents": 3, "licenses": {"CC-BY-NC-4.0": 3}, "languages": {"ko": 2, "en": 1}}}

    def raw(draft: Draft) -> None:
        draft.path("notes.txt").write_text("text")
        draft.facts["sources"] = sources

    def model(draft: Draft) -> None:
        for path in folder.glob("*.*"):
            draft.path(path.name).write_bytes(path.read_bytes())
        draft.facts["parameters"] = 1234

    made = {"code_version": "1", "settings": {}, "log": print}
    documents = store.make("raw_documents", inputs={}, build=raw, **made)
    store.make("pretrained_model", inputs={"raw_documents": documents}, build=model, **made)
    refused = slm("push", "pretrained_model", NAME, "--public", "--licence", "mit")
    assert refused.exit_code == 1 and "`notes` came for non-commercial use only" in refused.output
    pushed = slm("push", "pretrained_model", NAME, "--public", "--licence", "cc-by-nc-4.0")
    assert pushed.exit_code == 0, pushed.output
    readme = on_hub(hub)["README.md"].decode()
    head = yaml.safe_load(readme.split("---")[1])
    assert head["license"] == "cc-by-nc-4.0" and head["language"] == ["en", "ko"]
    assert "1,234" in readme and "| notes | CC-BY-NC-4.0 |" in readme
    assert "manifest.json" not in on_hub(hub)

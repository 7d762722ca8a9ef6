"""`slm forget --exact`: from the command line to a signed record, and the check that trains from nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline import exact_forgetting
from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.forgetting import record as records
from pipeline.graph import Project
from pipeline.ingest import forgetting
from pipeline.inspect import lineage
from tests import tiny


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Project]:
    """A trained project with a ladder, and a near-duplicate of text 3 that was removed in favour of it."""
    write = tiny.write

    def with_twin(folder: Path) -> Path:
        recipe = write(folder)
        (folder / "second" / "twin.txt").write_text(tiny.text(3) + " Or so.")
        return recipe

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "write", with_twin)
        patch.setattr(tiny, "RECIPE", tiny.RECIPE.replace("precision: fp32", "precision: fp32, ladder: 0.1"))
        with tiny.trained(tmp_path_factory.mktemp("exactly")) as made:
            yield made


@pytest.fixture
def nothing_forgotten(project):
    yield
    for name in (forgetting.LIST, forgetting.EXACT):
        project.store.write_record(name, "")


def slm(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code != 0, result.output
    return " ".join(result.output.split()) + str(result.exception or "")


def id_of(project: Project, number: int) -> str:
    """The id of a text that is trained on."""
    import polars as pl

    from pipeline.ingest.fragments import document_ids

    return str(document_ids(pl.Series([tiny.text(number)]))[0])


def learned(project: Project) -> list[str]:
    """Ids of the documents that the model learned, in the order in which it did."""
    feed, steps = lineage.feed_of(project.store, project["pretrained_model"])
    return list(dict.fromkeys(doc_id for step in range(steps) for doc_id in feed.documents(step)))


def test_what_is_forgotten_exactly_is_proved_by_a_record(project, nothing_forgotten, tmp_path):
    before, gone = project["pretrained_model"], learned(project)[-1]
    text = lineage.places(project.store, gone)[0].record["text"]
    told = slm("forget", gone, "--exact", "--reason", "asked to", "--make", "--twins", "forget")
    assert "1 added to what is forgotten exactly" in told and "tokenizer" in told and "stays in the tables" in told
    after = project["pretrained_model"]
    assert after.digest != before.digest and gone not in learned(project)
    assert "forgotten exactly" in slm("forget", "--list")
    path = next(
        Path(line.split(", signed")[0].removeprefix("record: ")) for line in told.splitlines() if "record:" in line
    )
    record = json.loads(path.read_text())
    assert gone not in path.read_text() and text[:20] not in path.read_text()
    (model,) = record["models"]
    assert model["before"]["version"] == before.version and model["after"]["version"] == after.version
    signer = records.Signer.of(project.store.root)
    assert record["documents"] == [records.commitment(signer.salt(gone), gone)]
    assert (project.store.root / ".signing" / "secret").stat().st_mode & 0o077 == 0
    checked = slm("forget", "--check", str(path))
    assert "signature" in checked and "has the bytes of a training from nothing" in checked
    # Whatever is changed in a record, its signature no longer holds.
    for changed in ({"when": "2020-01-01"}, {"documents": []}, {"models": []}):
        other = tmp_path / "changed.json"
        other.write_text(json.dumps({**record, **changed}))
        assert "is not what was signed" in refused("forget", "--check", str(other))
    other.write_text("{}")
    assert "is no record" in refused("forget", "--check", str(other))
    # The model before is in force again when nothing is forgotten any more.
    slm("forget", gone, "--exact", "--undo")
    assert "is of another list" in refused("forget", "--check", str(path))
    assert "was not made with the list" in refused("forget", "--check", "pretrained_model")
    project.make("pretrained_model")
    assert project["pretrained_model"].version == before.version


def test_a_model_that_was_not_made_as_it_should_have_been_is_found(project, nothing_forgotten, monkeypatch):
    from pipeline.training.data.feed import Feed

    gone = learned(project)[-2]
    forgetting.forget(project.store, [gone], "asked to", forgetting.EXACT)
    with monkeypatch.context() as patch:  # the slots are recorded as empty, and are not
        patch.setattr(Feed, "leave_empty", lambda self, slots: None)
        project.make("pretrained_model")
    with pytest.raises(UserError, match=r"does not have the bytes of a training from nothing: .*model\.safetensors"):
        exact_forgetting.check_model(project, "pretrained_model")
    assert not list(project.store.root.glob(".check-*"))


def test_what_becomes_of_a_twin_is_asked_and_explained(project, nothing_forgotten):
    gone = id_of(project, 3)
    (twin,) = exact_forgetting.twins_of(project.store, [gone])
    asked = refused("forget", gone, "--exact", "--reason", "asked to")
    assert "removed as near-duplicates" in asked and "--twins forget" in asked and "--twins restore" in asked
    assert not forgetting.forgotten_exactly(project.store)
    told = slm("forget", gone, "--exact", "--reason", "asked to", "--twins", "forget")
    assert "2 added" in told and forgetting.forgotten_exactly(project.store) == {gone, twin}
    project.make("pretrained_model")
    assert "has the bytes of a training from nothing" in slm("forget", "--check", "pretrained_model")
    slm("forget", "--exact", "--undo")
    told = slm("forget", gone, "--exact", "--reason", "asked to", "--twins", "restore")
    assert "come back" in told and "from nothing" in told
    assert forgetting.forgotten(project.store) == {gone} and not forgetting.forgotten_exactly(project.store)


def test_what_was_forgotten_exactly_can_be_left_out_from_the_first_artifact_on(project, nothing_forgotten):
    gone = learned(project)[-1]
    assert "nothing to make again" in refused("forget", "--redo")
    assert "Nothing is forgotten exactly" in refused("forget", "--record")
    slm("forget", gone, "--exact", "--reason", "asked to", "--twins", "forget")
    assert "1 documents are left out" in slm("forget", "--redo")
    assert forgetting.forgotten(project.store) == {gone} and not forgetting.forgotten_exactly(project.store)


def test_the_plan_says_how_much_a_ladder_takes(project):
    from pipeline.training.planning import plan_words
    from pipeline.training.planning.plan import plan

    settings = project.recipe.pretraining
    shape = project.recipe.model.model_copy(update={"vocab_size": 320})
    found = plan(shape, settings, 10_000)
    assert found["ladder"]["checkpoints"] == 9
    assert any("9 checkpoints stay for forgetting exactly" in line for line in plan_words.lines(found))
    without = plan(shape, settings.model_copy(update={"ladder": 0.0}), 10_000)
    assert "ladder" not in without and not any("stay for" in line for line in plan_words.lines(without))

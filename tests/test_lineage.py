"""Lineage: every answer is looked up in manifests, decisions and shards; nothing is recorded beside them."""

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.inspect import lineage
from tests import tiny


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    with tiny.trained(tmp_path_factory.mktemp("lineage")) as made:
        yield made


def slm(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_model_names_everything_down_to_the_raw_documents(project):
    made_of = lineage.ancestry(project.store, project["pretrained_model"])
    assert {"token_shards", "tokenizer", "curated_documents", "duplicate_decisions", "raw_documents"} <= made_of.keys()
    sources = {record["source"]: record for record in lineage.sources_of(made_of)}
    assert sources["first"]["licences"] == "own" and sources["second"]["licences"] == "CC0"
    assert sources["first"]["documents"] == 12 and sources["second"]["kept"] == 8
    assert "raw_documents" in slm("lineage", "model", "pretrained_model")


def test_a_removed_copy_names_the_one_that_was_kept(project):
    output = slm("lineage", "document", "--grep", "the 70 harbour|harbour lies open")
    assert "first:" in output
    doc_id = lineage.grep(project.store, "70 letter|the 70 ")["doc_id"][0]
    output = slm("lineage", "document", doc_id)
    assert "second:" in output and "removed as exact_duplicate" in output and f"in favour of {doc_id}" in output


def test_the_batches_of_all_steps_are_the_documents_that_the_model_saw(project, tmp_path):
    import polars as pl

    model = project["pretrained_model"]
    _, steps = lineage.feed_of(project.store, model)
    assert steps == 10
    by_step = {
        row["doc_id"] for step in range(1, steps + 1) for row in lineage.documents_of_step(project.store, model, step)
    }
    slm("lineage", "model", "pretrained_model", "--documents", str(tmp_path / "out.parquet"))
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert set(table["doc_id"]) == by_step
    assert table["tokens"].null_count() == 0 and table["passes"].min() >= 1
    assert table.filter(pl.col("first_step") > pl.col("last_step")).height == 0
    one = table.row(0, named=True)
    assert one["doc_id"] in {r["doc_id"] for r in lineage.documents_of_step(project.store, model, one["first_step"])}
    assert one["doc_id"] in slm("lineage", "step", str(one["last_step"]))


def test_a_document_names_its_shard_and_its_models(project):
    model = project["pretrained_model"]
    seen = lineage.documents_of_step(project.store, model, 1)[0]["doc_id"]
    output = slm("lineage", "document", seen)
    assert "tokens for train" in output
    assert f"pretrained_model/{model.version}: in " in output


def test_a_step_that_never_was_is_refused(project):
    with pytest.raises(UserError, match="steps 1 to 10; there is no step 11"):
        lineage.documents_of_step(project.store, project["pretrained_model"], 11)


def test_a_model_that_is_not_there_names_those_that_are(project):
    with pytest.raises(UserError, match=r"`nosuch` is not in the store; models: pretrained_model/"):
        lineage.find_model(project.store, "nosuch")


def test_documents_to_forget_are_named_by_source_address_or_a_file_of_ids(project, tmp_path):
    of_second = lineage.ids_of_source(project.store, "second")
    assert len(of_second) == 10 and lineage.not_there(project.store, [*of_second, "0" * 32]) == ["0" * 32]
    assert "10 documents would be removed" in slm("forget", "--source", "second")
    listed = tmp_path / "ids.txt"
    listed.write_text("\n".join(of_second[:3]))
    output = slm("forget", "--ids", str(listed))
    assert "3 documents would be removed" in output and "pretrained_model/" in output
    listed.write_text("\n".join([*of_second[:3], "f" * 32, "no id"]))
    for given, said in (
        (("--ids", str(listed)), "3 of the 6 ids in"),
        (("--source", "third"), "There is no source `third`: use one of first, second"),
        (("--url", "nowhere"), "No document matches"),
        ((), "--source NAME or --ids FILE"),
    ):
        result = CliRunner().invoke(main, ["forget", *given])
        assert result.exit_code == 1 and said in result.output, result.output


def test_what_is_forgotten_is_out_of_everything_that_is_made_anew(project):
    before = project["pretrained_model"]
    doc_id = lineage.documents_of_step(project.store, before, 1)[0]["doc_id"]
    output = slm("forget", doc_id[:20], "--reason", "asked for", "--make")
    assert f"pretrained_model/{before.version} learned from 1 of them" in output
    assert not any(
        shards.version == project["token_shards"].version for shards, *_ in lineage.shards_with(project.store, doc_id)
    )
    assert "raw_documents" in slm("why", "pretrained_model")
    with pytest.raises(UserError, match="No document has the id"):
        lineage.places(project.store, doc_id)

"""From a passage to its documents and the steps at which it was learned, in a project that was made from nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.graph import Project
from pipeline.inspect import lineage
from pipeline.run import make_with_inputs
from pipeline.trace import index
from pipeline.trace.tracer import Found, Tracer
from tests import tiny

MORE = """
instructions: {{held_back: 0.2, sources: [{{name: talk, kind: files, path: '{folder}/talk.jsonl', license: own}}]}}
preferences: {{held_back: 0.2, sources: [{{name: pairs, kind: files, path: '{folder}/pairs.jsonl'}}]}}
sft: {{epochs: 2, batch_tokens: 512, precision: fp32, sample_prompts: []}}
preference: {{epochs: 2, batch_pairs: 4, precision: fp32, sample_prompts: []}}
trace: {{loose: true}}
"""
QUESTION, ANSWER = "Where do the {0} boats wait at night?", "They wait in the {0} harbour till noon."


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trace")
    recipe = tiny.write(folder)
    text = recipe.read_text().replace("context: 16", "context: 128")
    recipe.write_text(text + MORE.format(folder=folder))
    talks, pairs = [], []
    for number in range(24):
        asked = [{"role": "user", "content": QUESTION.format(number)}]
        talks.append({"messages": [*asked, {"role": "assistant", "content": ANSWER.format(number)}]})
        pairs.append({"prompt": asked, "chosen": ANSWER.format(number), "rejected": f"Nobody knows {number} boats."})
    for name, rows in (("talk", talks), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLM_DATA", str(folder / "data"))
        patch.setenv("SLM_RECIPE", str(recipe))
        patch.setenv("SLM_TRACKING", "off")
        opened = Project.open(log=lambda line: None)
        for asset in ("preference_model", index.ASSET):
            make_with_inputs(opened, asset)
        yield opened


def tracer(project, model, **more) -> Tracer:
    return Tracer.open(project.store, project[model], **more)


def curated(project) -> pl.DataFrame:
    documents = project["curated_documents"]
    return pl.concat([pl.read_parquet(documents.table(fragment)) for fragment in documents.fragments])


def trained_on(project) -> list[dict]:
    shards = project["token_shards"]
    train = pl.concat([pl.read_parquet(shards.table(f)).filter(pl.col("split") == "train") for f in shards.fragments])
    return curated(project).join(train, on="doc_id", how="semi").sort("doc_id").to_dicts()


def test_a_passage_names_its_documents_and_the_steps_whose_batches_held_it(project):
    document = trained_on(project)[0]
    passage = document["text"][40:110]
    told = tracer(project, "pretrained_model")(f"Nobody has written: {passage}")
    assert told["share"] > 0.7 and "written" in told["nowhere"][0]["text"]
    longest = max(told["passages"], key=lambda one: one["end"] - one["start"])
    assert passage[5:-5] in longest["text"]
    assert longest["text"] == told["text"][longest["start"] : longest["end"]]
    (one,) = [one for one in longest["documents"] if one["doc_id"] == document["doc_id"]]
    assert (one["kind"], one["source"], one["id"], one["licence"]) == (
        "document", document["source"], document["source_id"], document["license"],
    )  # fmt: skip
    assert one["passage"] == longest["text"] and one["before"] + one["passage"] + one["after"] in document["text"]
    feed, steps = lineage.feed_of(project.store, project["pretrained_model"])
    held = {step + 1 for step in range(steps) if document["doc_id"] in feed.documents(step)}
    assert one["steps"]["of"] == "pretrained_model" and one["steps"]["last"] == steps
    assert set(one["steps"]["steps"]) <= held


def test_the_whole_of_every_document_is_found_at_the_steps_that_held_it(project):
    ask = tracer(project, "pretrained_model")
    feed, steps = lineage.feed_of(project.store, project["pretrained_model"])
    by_step = [set(feed.documents(step)) for step in range(steps)]
    for document in trained_on(project):
        (passage,) = ask(document["text"])["passages"]
        assert (passage["start"], passage["end"]) == (0, len(document["text"]))
        (one,) = passage["documents"]
        held = [step for step, ids in enumerate(by_step, 1) if document["doc_id"] in ids]
        assert one["doc_id"] == document["doc_id"] and one["steps"]["steps"] == held


def test_what_is_held_back_or_removed_is_not_found(project):
    ids = {document["doc_id"] for document in trained_on(project)}
    held_back = [row["text"] for row in curated(project).to_dicts() if row["doc_id"] not in ids]
    assert held_back, "nothing is held back: the test would say nothing"
    ask = tracer(project, "pretrained_model")
    for text in held_back:
        assert (0, len(text)) not in [(one["start"], one["end"]) for one in ask(text)["passages"]]


def test_conversations_and_preferences_are_traced_for_the_models_that_learned_them(project):
    said = {
        "pretrained_model": set(),
        "sft_model": {"conversation"},
        "preference_model": {"conversation", "preference"},
    }
    talks = pl.read_parquet(project["instruction_data"].table("train"))
    pairs = pl.read_parquet(project["preference_data"].table("train"))
    both = {turns[-1]["content"] for turns in talks["messages"].to_list()} & set(pairs["chosen"].to_list())
    answer = sorted(both)[0]
    for model, kinds in said.items():
        passages = tracer(project, model)(answer, documents=9)["passages"]
        whole = [one for one in passages if one["text"] == answer]
        found = {document["kind"] for one in whole for document in one["documents"]}
        assert found == kinds, model
        for document in (document for one in whole for document in one["documents"]):
            steps = document["steps"]
            assert steps["of"] == {"conversation": "sft_model", "preference": "preference_model"}[document["kind"]]
            assert steps["steps"] and max(steps["steps"]) <= steps["last"] == project[steps["of"]].facts["steps"]
            if document["kind"] == "conversation":
                assert document["licence"] == "own"


def test_a_conversation_was_learned_at_the_steps_whose_rows_hold_it(project):
    import numpy as np

    from pipeline.tokens.tokenizer import load
    from pipeline.training.model_facts import ModelFacts
    from pipeline.training.objectives import fine_tuning, tuning

    model, data = project["sft_model"], project["instruction_data"]
    tokenizer, facts = load(model.local_directory()), ModelFacts.of(model)
    packed, _ = fine_tuning.usable_rows(data, tokenizer, 128)
    step_rows = facts.batch_tokens // 128
    batching = tuning.Batching(len(packed.tokens), facts.steps, step_rows, step_rows, 1, project.recipe.seed)

    class Ranks:
        world, rank = 1, 0

    batches = [packed.tokens[batching.row_numbers(step, 0, Ranks())] for step in range(facts.steps)]
    ask = tracer(project, "sft_model")
    for messages in pl.read_parquet(data.table("train"))["messages"].to_list()[:5]:
        ids = tokenizer.encode_chat(messages)[0][:-1]
        windows = [np.lib.stride_tricks.sliding_window_view(batch, len(ids), axis=1) for batch in batches]
        held = [step for step, window in enumerate(windows, 1) if (window == ids).all(-1).any()]
        (passage,) = [one for one in ask(messages[-1]["content"])["passages"] if one["text"] == messages[-1]["content"]]
        assert [document["steps"]["steps"] for document in passage["documents"]] == [held]


def test_a_pair_was_learned_at_the_steps_whose_pairs_hold_it(project):
    from pipeline.tokens.tokenizer import load
    from pipeline.training.objectives import preference

    model, data = project["preference_model"], project["preference_data"]
    pairs, _ = preference.usable_pairs(data, load(model.local_directory()), 128)
    batching = preference.batches_by_length(pairs, project.recipe.preference, 4, project.recipe.seed, 1)
    assert batching.steps == model.facts["steps"] and batching.by_length is not None
    ask = tracer(project, "preference_model")
    for number, pair in enumerate(pairs.pairs[:5]):
        rejected = pl.read_parquet(data.table("train"))["rejected"][pair.row]
        (passage,) = [one for one in ask(rejected)["passages"] if one["text"] == rejected]
        (one,) = passage["documents"]
        held = [step + 1 for step in range(batching.steps) if number in batching.by_length.rows(step)]
        assert one["answer"] == "worse" and one["steps"]["steps"] == held and held


def test_case_and_white_space_do_not_matter_where_they_are_not_to(project):
    document = trained_on(project)[0]
    passage = document["text"][:60].rpartition(" ")[0]
    asked = passage.upper().replace(" ", "\n  ")
    assert not [one for one in tracer(project, "pretrained_model")(asked)["passages"] if len(one["text"]) > 20]
    told = tracer(project, "pretrained_model", loose=True)(asked)
    assert told["share"] == 1.0 and told["loose"]
    (one,) = told["passages"]
    assert one["text"] == asked
    found = [one for one in one["documents"] if one["doc_id"] == document["doc_id"]]
    assert found and found[0]["passage"].strip() == passage
    (exact,) = tracer(project, "pretrained_model")(passage)["passages"][0]["documents"]
    assert found[0]["steps"] == exact["steps"]


def test_a_document_more_costs_only_its_own_fragment(project):
    before = project[index.ASSET]
    inputs = {role: project[name] for role, name in project.nodes[index.ASSET].inputs.items()}
    fewer = {role: given for role, given in inputs.items() if role != index.PREFERENCES}
    again = index.make(project.context, fewer, project.recipe.trace)
    assert again.made and set(before.manifest["files"]) - set(again.manifest["files"]) == {
        "preference_data.index", "preference_data.loose.index",
    }  # fmt: skip
    for name in again.manifest["files"]:
        assert again.place(name).stat().st_ino == before.place(name).stat().st_ino, f"{name} is linked, not made"
    assert not index.make(project.context, inputs, project.recipe.trace).made


def test_an_index_takes_at_most_eight_bytes_a_token(project):
    exact = index.make(
        project.context,
        {role: project[name] for role, name in project.nodes[index.ASSET].inputs.items()},
        project.recipe.trace.model_copy(update={"loose": False}),
    )
    assert exact.facts["bytes_per_token"] <= 8
    assert index.problem_in(exact, "first-all.index") == ""
    with pytest.raises(UserError, match=r"set `trace.loose: true` in the recipe"):
        Tracer.open(replace_versions(project, exact), project["sft_model"], loose=True)
    make_with_inputs(project, index.ASSET)


def replace_versions(project, artifact):
    """The store, as if it had no other index."""

    class One(type(project.store)):
        def versions(self, asset):
            return [artifact] if asset == index.ASSET else super().versions(asset)

    return One(project.store.root, project.store.recipe)


def test_an_index_of_other_data_is_not_used(project):
    shards = project["token_shards"]
    changed = replace(shards, manifest={**shards.manifest, "files": {"x": {"sha256": "0"}}})
    with pytest.raises(UserError, match="learned from other data than the index holds"):
        from pipeline.trace.tracer import index_of

        index_of(project.store, project["sft_model"], {"token_shards": changed})


def test_the_command_tells_of_passages_documents_and_steps(project):
    text = trained_on(project)[0]["text"]
    result = CliRunner().invoke(main, ["trace", "pretrained_model", "--text", f"Zebra quiz: {text}"])
    assert result.exit_code == 0, result.output
    assert "licence" in result.output and "of pretrained_model" in result.output and "nowhere: Zebra" in result.output
    result = CliRunner().invoke(main, ["trace", "pretrained_model", "--text", text, "--json"])
    assert json.loads(result.output)["share"] == 1.0
    for given, said in (
        (["--text", "a", "--chat"], "Say what to trace in one way"),
        ([], "Say what to trace in one way"),
    ):
        result = CliRunner().invoke(main, ["trace", "pretrained_model", *given])
        assert result.exit_code == 1 and said in result.output


def test_a_chat_is_traced_answer_by_answer(project):
    result = CliRunner().invoke(
        main, ["trace", "sft_model", "--chat"], input="Where do the 3 boats wait at night?\n/exit\n"
    )
    assert result.exit_code == 0, result.output
    assert result.output.count("of its letters stand in passages") == 1


def test_answers_that_were_rated_by_themselves_are_told_from_those_of_pairs(tmp_path):
    """Rows 0 to 3 are the answers of two pairs, row 4 is the rated one (`index.preferences`)."""
    for name, ids in {"train": ["a", "b"], "rated_train": ["c"]}.items():
        pl.DataFrame({"id": ids, "source": "people"}).write_parquet(tmp_path / f"{name}.parquet")
    data = SimpleNamespace(
        table=lambda name: tmp_path / f"{name}.parquet", facts={"sources": {"people": {"licenses": {"own": 3}}}}
    )
    tracer = object.__new__(Tracer)
    tracer.learned = {index.PREFERENCES: data}
    found = Found("preference_data", index.PREFERENCES, 0, 0, 1)
    told = [tracer._origin(found, row) for row in range(5)]
    assert [(one["id"], one["answer"]) for one in told] == [
        ("a", "better"), ("a", "worse"), ("b", "better"), ("b", "worse"), ("c", "rated"),
    ]  # fmt: skip

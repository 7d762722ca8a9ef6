"""What a policy keeps and what goes, whose it is, and a quota that stops a job before it starts."""

import errno
import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

import fsspec
import pytest
from click.testing import CliRunner

from model.files import write_whole
from pipeline import quota, retention
from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.graph import Project
from pipeline.settings_file import parsed
from pipeline.store import notes
from pipeline.store.artifact import MANIFEST, Artifact
from pipeline.store.disk import DiskTrouble
from pipeline.store.holdings import holdings, size_of
from pipeline.store.remote import open_store
from pipeline.store.store import Store
from tests import tiny

DAY = 24 * 3600


def quiet(line: str) -> None:
    """Nothing."""


def made(store: Store, asset: str, number: int, content: str = "", **inputs: Artifact) -> Artifact:
    return store.make(
        asset, code_version="1", settings={"n": number}, inputs=dict(inputs), log=quiet,
        build=lambda draft: write_whole(draft.path("x"), content or f"{asset}{number}" * 100),
    )  # fmt: skip


def aged(store: Store, artifact: Artifact, days: float) -> None:
    """As if the version had been made so many days ago."""
    place = store.root / store.recipe / artifact.asset / artifact.version / MANIFEST
    then = place.stat().st_mtime - days * DAY
    os.utime(place, (then, then))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Five models, each of shards of its own; the last is in force. Models are of 100, 80, ... 20 days ago."""
    opened = Store(tmp_path, "book")
    for number in range(5):
        shards = made(opened, "token_shards", number)
        model = made(opened, "pretrained_model", number, token_shards=shards)
        evaluation = made(opened, "pretrained_evaluation", number, model=model)
        for artifact in (shards, model, evaluation):
            aged(opened, artifact, 100 - 20 * number)
    return opened


def applied(store: Store, text: str) -> retention.Outcome:
    return retention.applied(parsed(text, "policy.yaml", retention.Policy), holdings(store.root))


def numbers(some: list[retention.Holding], asset: str) -> list[int]:
    return sorted(of.artifact.manifest["made_of"]["settings"]["n"] for of in some if of.artifact.asset == asset)


def test_without_a_rule_every_version_stays(store: Store) -> None:
    assert applied(store, "").goes == []
    assert applied(store, "recipes: {other: {keep: 0}}").goes == []


def test_the_newest_models_stay_with_what_they_were_made_from(store: Store) -> None:
    outcome = applied(store, "default: {keep: 2}")
    assert numbers(outcome.stays, "pretrained_model") == [2, 3, 4], "the one in force and the newest two others"
    assert numbers(outcome.stays, "pretrained_evaluation") == [2, 3, 4]
    assert numbers(outcome.stays, "token_shards") == [2, 3, 4], "shards follow the models made from them"


def test_young_versions_are_among_the_newest_that_stay(store: Store) -> None:
    outcome = applied(store, "default: {keep: 2, days: 50}")  # the last two are younger, one of them in force
    assert numbers(outcome.stays, "pretrained_model") == [2, 3, 4]
    assert numbers(outcome.stays, "pretrained_evaluation") == [2, 3, 4]
    assert numbers(applied(store, "default: {keep: 1, days: 70}").stays, "pretrained_model") == [2, 3, 4]


def test_pinned_and_young_versions_stay_with_what_they_were_made_from(store: Store) -> None:
    first = next(of for of in store.versions("pretrained_model") if of.manifest["made_of"]["settings"]["n"] == 0)
    notes.write(store, notes.PINS, f"pretrained_model/{first.version}", "of the paper")
    outcome = applied(store, "default: {keep: 0, days: 50}")
    assert numbers(outcome.stays, "pretrained_model") == [0, 3, 4]
    assert numbers(outcome.stays, "token_shards") == [0, 3, 4]


def test_beyond_a_size_the_oldest_go_but_nothing_that_is_needed(store: Store) -> None:
    of_a_model = size_of(holdings(store.root)) // 5  # with its shards and its evaluation
    outcome = applied(store, f"default: {{max_size: {2.5 * of_a_model:.0f} B}}")
    assert numbers(outcome.stays, "pretrained_model") == [3, 4] and size_of(outcome.stays) <= 2.5 * of_a_model
    tight = applied(store, "recipes: {'b*': {max_size: 100 B}}")
    assert numbers(tight.stays, "pretrained_model") == [4] and numbers(tight.stays, "token_shards") == [4]
    assert len(tight.too_large) == 1 and "in force, pinned, or needed" in tight.too_large[0]


def test_the_rule_of_a_recipe_counts_before_that_of_an_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for who in ("ara", "ben"):
        monkeypatch.setenv("SLM_OWNER", who)
        for recipe in ("book", "trial-1"):
            for number in range(3):
                made(Store(tmp_path, recipe), "sft_model", number + 10 * (who == "ben"))
    text = "default: {keep: 0}\nowners: {ara: {keep: 1}}\nrecipes: {'trial-*': {keep: 5}}"
    outcome = retention.applied(parsed(text, "policy.yaml", retention.Policy), holdings(tmp_path))
    assert numbers([of for of in outcome.stays if of.recipe == "trial-1"], "sft_model") == [0, 1, 2, 10, 11, 12]
    assert numbers([of for of in outcome.stays if of.recipe == "book"], "sft_model") == [2, 12]


def test_what_is_deleted_is_what_was_said_and_the_notes_on_it_go(store: Store) -> None:
    outcome = applied(store, "default: {keep: 0}")
    said = "\n".join(retention.lost(outcome))
    gone = [of for of in outcome.goes if of.artifact.asset == "pretrained_model"]
    assert "4 model(s) could no longer be talked to" in said and all(of.name in said for of in gone)
    assert "to have what goes again takes about" in said
    to_free = outcome.freed
    freed = retention.carried_out(outcome, quiet)
    assert sum(count for _, count in freed) == to_free > 0
    assert {name for name, _ in freed} == {of.name for of in outcome.goes}
    assert sorted(of.name for of in holdings(store.root)) == sorted(of.name for of in outcome.stays)
    assert set(notes.read(store, notes.MAKERS)) == {
        f"{of.artifact.asset}/{of.artifact.version}" for of in outcome.stays
    }


def test_what_a_run_put_in_force_or_a_person_pinned_meanwhile_stays(store: Store) -> None:
    outcome = applied(store, "default: {keep: 0}")
    back = made(store, "pretrained_evaluation", 0, model=next(
        of for of in store.versions("pretrained_model") if of.manifest["made_of"]["settings"]["n"] == 0
    ))  # fmt: skip
    pinned = next(of for of in outcome.goes if of.artifact.asset == "token_shards")
    notes.write(store, notes.PINS, f"token_shards/{pinned.artifact.version}", "")
    freed = [name for name, _ in retention.carried_out(outcome, quiet)]
    assert pinned.name not in freed and f"book/pretrained_evaluation/{back.version}" not in freed and freed
    left = holdings(store.root)
    assert numbers(left, "pretrained_model") == [0, 4], "the evaluation that is in force again was made from model 0"


def test_what_a_version_was_made_from_that_was_made_meanwhile_stays(store: Store) -> None:
    outcome = applied(store, "default: {keep: 0}")
    old = next(of for of in outcome.goes if of.name.startswith("book/token_shards/"))
    new = made(store, "pretrained_model", 99, token_shards=old.artifact)  # begun when these shards were in force
    retention.carried_out(outcome, quiet)
    assert {of.name for of in holdings(store.root)} >= {old.name, f"book/pretrained_model/{new.version}"}
    assert numbers(holdings(store.root), "pretrained_model") == [4, 99]


def test_a_version_that_cannot_be_deleted_stays_whole_and_the_others_go(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = applied(store, "default: {keep: 0}")
    closed = next(of for of in outcome.goes if of.artifact.asset == "pretrained_model")
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed.artifact.directory and may(path, mode))
    lines: list[str] = []
    freed = {name for name, _ in retention.carried_out(outcome, lines.append)}
    assert freed == {of.name for of in outcome.goes} - {closed.name}
    assert lines == [
        f"{closed.name.removeprefix('book/')} stays: {closed.artifact.directory} is not writable; whoever made it can"
        " delete it"
    ]


def test_what_the_disk_refuses_is_told_after_the_rest_is_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = applied(store, "default: {keep: 0}")
    prune = Store._prune

    def refusing(self: Store, asset: str, *more: Any) -> Any:
        if asset == "pretrained_evaluation":
            raise OSError(errno.EIO, "an error of the disk", str(store.root / "book" / asset))
        return prune(self, asset, *more)

    monkeypatch.setattr(Store, "_prune", refusing)
    with pytest.raises(DiskTrouble, match="`pretrained_evaluation` could not be pruned"):
        retention.carried_out(outcome, quiet)
    assert numbers(holdings(store.root), "token_shards") == [4]
    assert numbers(holdings(store.root), "pretrained_evaluation") == [0, 1, 2, 3, 4]


def test_a_rule_that_fits_nothing_is_told(store: Store) -> None:
    text = "recipes: {bok: {keep: 9}, 'b*': {keep: 1}}\nowners: {arra: {keep: 5}}\nquota: {recipes: {'trial-*': 1 GB}}"
    assert retention.idle(parsed(text, "policy.yaml", retention.Policy), holdings(store.root)) == [
        "no recipe of the store fits `bok`: its rule does nothing",
        "no recipe of the store fits `trial-*`: its rule does nothing",
        "nothing in the store is of the owner `arra`: its rule does nothing",
    ]


def test_prune_without_a_policy_leaves_what_is_pinned(store: Store) -> None:
    oldest = store.newest_first("pretrained_model")[-1]
    notes.write(store, notes.PINS, f"pretrained_model/{oldest.version}", "")
    store.prune("pretrained_model", keep=0, log=quiet)
    assert numbers(holdings(store.root), "pretrained_model") == [0, 4]


def test_the_owner_is_beside_the_artifact_and_changes_no_byte_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = []
    for who in ("ara", "ben b."):
        monkeypatch.setenv("SLM_OWNER", who)
        version = made(Store(tmp_path / who, "book"), "numbers", 1)
        manifest = {name: of for name, of in version.manifest.items() if name not in ("seconds", "xxh3")}
        manifests.append(manifest)
        (held,) = holdings(tmp_path / who)
        assert held.owner == who.replace(" ", "_")
        made(Store(tmp_path / who, "book"), "numbers", 1)
    assert manifests[0] == manifests[1]
    monkeypatch.delenv("SLM_OWNER")
    monkeypatch.setenv("LOGNAME", "login")
    made(Store(tmp_path / "third", "book"), "numbers", 1)
    assert holdings(tmp_path / "third")[0].owner == "login"


def test_owners_and_pins_are_kept_in_object_storage_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SLM_OWNER", "ara")
    root = f"memory://{tmp_path.name}"
    there = open_store(root, "book")
    first, second = made(there, "sft_model", 1), made(there, "sft_model", 2)
    fsspec.filesystem("memory").pipe_file(f"/{tmp_path.name}/policy.yaml", b"default: {keep: 0}")
    policy = retention.policy_of(root)
    assert policy is not None and [of.owner for of in holdings(root)] == ["ara", "ara"]
    notes.write(there, notes.PINS, f"sft_model/{first.version}", "why")
    assert retention.applied(policy, holdings(root)).goes == []
    notes.write(there, notes.PINS, f"sft_model/{first.version}", None)
    outcome = retention.applied(policy, holdings(root))
    assert [of.artifact.version for of in outcome.goes] == [first.version]
    assert len(retention.carried_out(outcome, quiet)) == 1
    assert [of.artifact.version for of in holdings(root)] == [second.version]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("default: {max_size: much}", "`default.max_size`: a size is a number with its unit"),
        ("default: {max_size: 50}", "`default.max_size`: a size is a number with its unit"),
        ("quota: {recipes: {book: 1.5}}", "`quota.recipes.book`: a size is a number with its unit"),
        ("default: {kep: 2}", "`default.kep` is not a key; did you mean `keep`?"),
        ("recipes: {book: {keep: -1}}", "`recipes.book.keep`"),
        ("owners: [ara]", "`owners` takes keys of its own"),
        ("default: 3", "`default` takes keys of its own"),
        ("[default]", "policy.yaml"),
    ],
)
def test_a_mistake_in_a_policy_is_a_sentence(text: str, said: str) -> None:
    with pytest.raises(UserError) as told:
        parsed(text, "policy.yaml", retention.Policy)
    assert said in str(told.value)


def test_the_policy_to_start_from_can_be_read() -> None:
    policy = retention.policy_of(".", str(Path(__file__).parents[1] / "launch" / "policy.yaml"))
    assert policy is not None and policy.quota.store == 2 * 10**12


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe of which nothing is made, in a store of ara's."""
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SLM_RECIPE", str(tiny.write(tmp_path)))
    monkeypatch.setenv("SLM_OWNER", "ara")
    monkeypatch.setenv("SLM_TRACKING", "off")
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_a_job_that_does_not_fit_into_a_quota_does_not_start(written: Path) -> None:
    project = Project.open(log=quiet)
    needed = quota.estimated(project, ["pretrained_model"])
    assert needed > 10_000, "weights and a checkpoint of the model that would be trained"
    for text, said in {
        "store: 3 kB": "The store has 0 B of its quota of 3.0 kB in use",
        "recipes: {'t*': 1 kB}": "The recipe `tiny` has 0 B of its quota",
        "owners: {ara: 1 kB}": "The owner `ara` has 0 B of its quota",
    }.items():
        (written / "policy.yaml").write_text(f"quota: {{{text}}}")
        done = CliRunner().invoke(main, ["make", "pretrained_model"])
        assert done.exit_code == 1 and said in done.stderr, done.output
        assert len(done.stderr.splitlines()) == 1 and "`slm store prune --policy`" in done.stderr
    assert not list(written.glob("tiny/*/*")), "nothing was begun"
    (written / "policy.yaml").write_text(f"quota: {{store: {needed} B, owners: {{ben: 1 B}}}}")
    quota.refuse_beyond(project, ["pretrained_model"])


def dies(*given: Any, **more: Any) -> None:
    raise SystemExit(137)


def test_the_commands_show_owners_and_sizes_and_prune_by_the_policy_of_the_store(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(main, ["store", *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    store = Store(written, "tiny")
    for number in range(3):
        made(store, "sft_model", number)
    made(Store(written, "other"), "sft_model", 1)
    assert "ara" in run("list") and "other" not in run("list") and "other" in run("list", "--all")
    assert "sft_model" not in run("list", "--owner", "ben")
    run("pin", "sft_model", store.newest_first("sft_model")[2].version[:6], "--note", "kept")
    assert "kept" in run("list")
    quotas = "store: 1 MB, owners: {ara: 2 MB}, recipes: {'t*': 3 MB, tiny: 4 MB}"
    (written / "policy.yaml").write_text(f"default: {{keep: 0}}\nquota: {{{quotas}}}")
    usage = run("usage")
    for words in ("the store: ", "the owner ara: ", "the recipe tiny: "):
        assert f"quota of {words}" in usage, usage
    assert "of 3.0 MB used" in usage and "of 4.0 MB" not in usage, "the narrower one of two that fit"
    dry = run("prune", "--policy", "--dry-run")
    assert "1 model(s) could no longer be talked to" in dry and len(store.versions("sft_model")) == 3
    assert "freed in total" in run("prune", "--policy") and len(store.versions("sft_model")) == 2
    assert "every version stays" in run("prune", "--policy", "--dry-run")
    made(Store(written, "other"), "sft_model", 2)
    with monkeypatch.context() as patch:  # killed within the only deletion of an asset that nothing locks again
        patch.setattr(shutil, "rmtree", dies)
        assert CliRunner().invoke(main, ["store", "prune", "--policy"]).exit_code == 137
    (left,) = (written / "other" / "sft_model").glob(".*.doomed")
    with open(written / "other" / "sft_model" / ".lock", "a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "did not finish" not in run("prune", "--policy"), "another process may be deleting it"
    assert "of deletions that did not finish would be freed" in run("prune", "--policy", "--dry-run") and left.exists()
    assert "of deletions that did not finish freed" in run("prune", "--policy") and not left.exists()
    done = CliRunner().invoke(main, ["store", "prune", "--policy", "--keep", "3"])
    assert done.exit_code == 1 and "--keep does not go with --policy" in done.stderr
    for version, words in {"zz": "no version of `sft_model` begins with `zz`", "": "2 versions of `sft_model`"}.items():
        done = CliRunner().invoke(main, ["store", "pin", "sft_model", version])
        assert done.exit_code == 1 and words.lower() in done.stderr.lower() and "none" not in done.stderr
    done = CliRunner().invoke(main, ["store", "pin", "dpo_model", "zz"])
    assert done.exit_code == 1 and "`dpo_model`" in done.stderr and "none" not in done.stderr
    done = CliRunner().invoke(main, ["store", "pin", "sft_modle"])
    assert done.exit_code == 1 and "did you mean `sft_model`?" in done.stderr, done.stderr
    (written / "policy.yaml").unlink()
    done = CliRunner().invoke(main, ["store", "prune", "--policy"])
    assert done.exit_code == 1 and "There is no policy.yaml in the store" in done.stderr

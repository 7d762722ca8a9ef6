"""A run of Dagster asks for room in the store before its first asset; without it, none of its assets is made. The
sentence is that of `slm make`."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assets import asset as assets
from assets.keys import PREFIX, key
from pipeline.errors import UserError
from pipeline.graph import Project
from tests import tiny


def test_a_run_that_does_not_fit_makes_none_of_its_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX, "ara/tiny")
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SLM_RECIPE", str(tiny.write(tmp_path)))
    (tmp_path / "data").mkdir()
    project = Project.open(log=lambda line: None)
    selected = {key("source", "first"), *(key(name) for name in ("raw_documents", "training_plan", "pretrained_model"))}

    def run(name: str, chosen: set[Any] | None) -> Any:
        layer = SimpleNamespace(executable_asset_keys=selected)
        of = SimpleNamespace(run_id=name, asset_selection=chosen)
        return SimpleNamespace(run=of, job_def=SimpleNamespace(asset_layer=layer))

    assets.refuse_beyond_quota(run("without a quota", None), project)
    (tmp_path / "data" / "policy.yaml").write_text("quota: {store: 1 kB}")
    assets.refuse_beyond_quota(run("without a quota", None), project)  # it was looked at when it began
    for _ in ("the first asset", "one that is not made from it"):
        with pytest.raises(UserError, match=r"The store has 0 B of its quota of 1\.0 kB"):
            assets.refuse_beyond_quota(run("first", None), project)
    assets.refuse_beyond_quota(run("small", {key("raw_documents")}), project)  # nothing is known of its size

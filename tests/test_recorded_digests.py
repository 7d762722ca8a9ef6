"""Artifacts of a corpus have the same bytes as when they were recorded, on every machine and after every redesign."""

import json

from tests import recorded_digests


def test_every_artifact_up_to_the_token_shards_is_the_one_that_was_recorded(tmp_path):
    recorded, made = json.loads(recorded_digests.RECORD.read_text()), recorded_digests.digests(tmp_path)
    assert made.keys() == recorded.keys()
    moved = {name: (recorded[name], made[name]) for name in made if made[name] != recorded[name]}
    assert not moved, (
        "these are other artifacts now; where that is meant, raise the VERSION of what makes the first of them and run "
        f"`python -m tests.recorded_digests`: {moved}"
    )

"""A stage whose code changed has a new version, so that no old result passes for one of newer code."""

import json

from tests import code_versions


def test_no_stage_has_changed_under_the_same_version():
    recorded, now = json.loads(code_versions.RECORD.read_text()), code_versions.current()
    assert recorded.keys() == now.keys(), "a module with a VERSION came or went: run `make code-versions`"
    changed = [
        module for module in now
        if now[module]["digest"] != recorded[module]["digest"] and now[module]["version"] == recorded[module]["version"]
    ]  # fmt: skip
    assert not changed, (
        f"the code that makes these has changed, their VERSION has not: {', '.join(changed)}. "
        "If what they make differs, raise VERSION; then run `make code-versions`."
    )
    stale = [module for module in now if now[module] != recorded[module]]
    assert not stale, f"raised versions that are not recorded yet: {', '.join(stale)}; run `make code-versions`"


def test_comments_and_docstrings_do_not_count(tmp_path):
    one, two, three = (tmp_path / name for name in ("one.py", "two.py", "three.py"))
    one.write_text('"""Head."""\ndef f(x):\n    """Doc."""\n    return x + 1\n')
    two.write_text('"""Another."""\n\n\ndef f(x):  # a remark\n    """Other."""\n    return (x + 1)\n')
    three.write_text("def f(x):\n    return x + 2\n")
    assert code_versions.bare_code(one) == code_versions.bare_code(two) != code_versions.bare_code(three)


def test_the_code_of_imported_modules_counts():
    assert "pipeline.documents.document" in code_versions.closure("pipeline.curation.curated")

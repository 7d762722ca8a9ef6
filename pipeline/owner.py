"""Who makes what: `SLM_OWNER`, else the login.

It is noted beside artifacts, on runs of Dagster and on those of MLflow, and is part of nothing that is made.
"""

from __future__ import annotations

import getpass
import os
import re

VARIABLE = "SLM_OWNER"
MOST = 63  # characters; as Dagster's tags of assets


def owner() -> str:
    """The owner of what this process makes; spaces and what else a tag cannot have become `_`."""
    given = os.environ.get(VARIABLE, "").strip()
    if not given:
        try:
            given = getpass.getuser()
        except (KeyError, OSError, ImportError):  # a container's user without a name
            given = f"uid-{os.getuid()}"
    return re.sub(r"[^\w.@+-]", "_", given)[:MOST]

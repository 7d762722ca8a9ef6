"""Everything that makes artifacts. Knows nothing of Dagster; knows `model/`, which knows nothing of it."""

import model  # noqa: F401  (before anything loads torch: it says how torch's threads wait)

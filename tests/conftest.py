"""For all tests."""

import pipeline  # noqa: F401  (before any test loads torch: it says how torch's threads wait)

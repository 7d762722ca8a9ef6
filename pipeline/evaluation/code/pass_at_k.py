"""pass@k: how likely at least one of k programs passes, from n that were drawn (Chen et al. 2021, equation 1)."""

from __future__ import annotations

import numpy as np


def pass_at_k(drawn: int, passed: int, k: int) -> float:
    """The unbiased estimate 1 - C(n - c, k) / C(n, k) for one task. Raises ValueError for k beyond the drawn."""
    if not 0 <= passed <= drawn or not 1 <= k <= drawn:
        raise ValueError(f"pass@{k} of {passed} in {drawn}: k and the passed must lie within the drawn")
    if drawn - passed < k:
        return 1.0
    # As a product, since the binomials overflow (the same section).
    return float(1 - np.prod(1 - k / np.arange(drawn - passed + 1, drawn + 1)))

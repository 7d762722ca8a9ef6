"""The Dagster layer of the project: assets, checks, jobs, sensors, and their pages in the UI."""

import warnings

from dagster import BetaWarning, PreviewWarning

# Code references, pools and column lineage are beta features in the pinned version; users cannot act on the warnings.
warnings.filterwarnings("ignore", category=BetaWarning)
warnings.filterwarnings("ignore", category=PreviewWarning)

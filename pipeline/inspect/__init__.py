"""Views of finished artifacts: lineage, cards, summary, comparison of runs."""

"""Looking at what was made: lineage, cards, summary, comparison of runs."""

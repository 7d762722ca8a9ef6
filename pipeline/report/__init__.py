"""The report of a recipe: one page, without scripts and without a network, that a person can send."""

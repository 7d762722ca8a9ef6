"""Experiments: grids of settings, what their models score, and what may be concluded from it."""

"""A model from elsewhere as the start: `base` in the recipe."""

"""Text as columns: its words, characters, lines and kinds, for whole columns at once."""

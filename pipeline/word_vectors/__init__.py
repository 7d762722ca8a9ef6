"""Vectors of words and of the tokenizer's pieces, learned from the curated text, beside a model's own table."""

"""Batches, from token shards and conversations."""

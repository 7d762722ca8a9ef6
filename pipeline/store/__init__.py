"""The store of artifacts: each is written atomically and records what it was made from."""
